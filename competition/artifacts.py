"""Read and write the files in which the stages meet.

A stage writes into a scratch folder beside its own and renames the whole folder at the end, so that what stands under
``data/<stage>/`` is always complete. Small files are checked for their columns where they are read.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from competition.errors import CompetitionError
from competition.layout import CONTRACT, SAMPLES

SMALL_FILES_BYTES = 1_000_000  # of a stage's tables and pictures, roughly; without that much no stage begins
FLOAT_FORMAT = "%.9g"  # nine digits bring every float32 back exactly


@contextmanager
def stage_folder(folder: Path) -> Iterator[Path]:
    """Give a scratch folder that becomes ``folder`` when the block ends without an error.

    Refuses to begin on a disk that has no room even for small files. An error removes the scratch folder and leaves an
    earlier ``folder`` as it was; what a killed run left is removed at the next start.
    """
    scratch = folder.with_name(f".{folder.name}.partial")
    replaced = folder.with_name(f".{folder.name}.old")
    # Killed between the two renames; without the scratch folder it was killed while the old one was removed.
    if replaced.exists() and scratch.exists() and not folder.exists():
        replaced.rename(folder)
    for stale in filter(Path.exists, (scratch, replaced)):
        shutil.rmtree(stale)  # a disk that cannot be written to is told
    scratch.mkdir(parents=True)
    try:
        check_space(scratch, SMALL_FILES_BYTES)
        yield scratch
        if folder.exists():
            folder.rename(replaced)
        scratch.rename(folder)
    except BaseException:
        if replaced.exists() and not folder.exists():
            replaced.rename(folder)
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write to that will be at ``path`` whole or not at all, also after a power cut."""
    scratch = path.with_name(f".{path.name}.partial")
    with scratch.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())  # a rename that outlives its bytes would leave an empty file
    scratch.replace(path)


def check_space(folder: Path, wanted_bytes: int) -> None:
    """Refuse to begin what cannot fit on the disk of an existing ``folder``.

    Raises:
        CompetitionError: fewer than ``wanted_bytes`` are free.
    """
    free_bytes = shutil.disk_usage(folder).free
    if wanted_bytes > free_bytes:
        raise CompetitionError(
            f"{folder.parent}: {wanted_bytes / 1e6:,.1f} MB are to be written and no space is left for them, only for "
            f"{free_bytes / 1e6:,.1f} MB; make room, or ask for less (augment.views, prepare.image_size_px)"
        )


def require(path: Path, command: str) -> Path:
    """Return ``path``, or say which command makes it."""
    if not path.exists():
        raise CompetitionError(f"{path} is missing; run '{command}' first")
    return path


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CompetitionError(f"{path} is not valid JSON ({error}); run the stage that writes it again") from None


def write_csv(path: Path, table: pd.DataFrame, delimiter: str = ",", header: bool = True) -> None:
    table.to_csv(path, sep=delimiter, header=header, index=False, lineterminator="\n", float_format=FLOAT_FORMAT,
                 encoding="utf-8")  # fmt: skip


def read_csv(path: Path, columns: list[str]) -> pd.DataFrame:
    """Read a table of the project's own; every cell a string, exactly as written.

    Raises:
        CompetitionError: a column is missing.
    """
    # The only options that keep `007`, `1e5`, `NA`, `None` and empty cells as they are.
    table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8")
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise CompetitionError(
            f"{path} has the columns {list(table.columns)}; {missing} are missing; run the stage that writes it again"
        )
    return table


def read_samples(prepared: Path) -> pd.DataFrame:
    """Read ``samples.csv`` with ``row`` and ``fold`` as whole numbers (``fold`` -1 in the test split)."""
    path = require(prepared / SAMPLES, "compete prepare")
    samples = read_csv(path, ["sample_id", "split", "row", "label", "fold", "weight", "file", "problem"])
    return samples.astype({"row": "int64", "fold": "int64"})


def fingerprint(prepared: Path) -> str:
    """Tell one data/prepare from another by its samples, their rows and its training images."""
    contract = read_json(require(prepared / CONTRACT, "compete prepare"))
    digest = hashlib.blake2b((prepared / SAMPLES).read_bytes(), digest_size=16)
    if "pixels" not in contract:
        raise CompetitionError(f"{prepared / CONTRACT} has no hash of the images; run 'compete prepare' again")
    digest.update(contract["pixels"].encode())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Hash a file, at about a gigabyte a second."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
