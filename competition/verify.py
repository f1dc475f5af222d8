"""Run the pipeline again, aside, and compare its outputs byte for byte: are they equal, and if not, where?"""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from competition import backend, environment
from competition.arrays import open_array
from competition.artifacts import SMALL_FILES_BYTES, check_space, read_json
from competition.console import say
from competition.errors import CompetitionError, MistakesError
from competition.layout import ENV, STAGES, STATE, pixels

if TYPE_CHECKING:
    from competition.recipes import Params

SCRATCH = "verify-"  # in the project's state: beside the data, on their disk, and git and DVC do not look there
STAGE = "from competition.cli import app; app()"
CHUNK_BYTES = 1 << 24
CHUNK_ELEMENTS = 1 << 22
SHOWN_LETTERS = 60  # of a text, around the place where it differs
STATE_COPIES = 4  # of the weights in the state of a fit: they, two moments, the best
TIMES = ("started", "fold_seconds")  # of env.json, that differ from run to run


def verify(read: "Params", *, params: Path, data: Path, once: bool) -> None:
    """Run the stages twice and compare their outputs, or once and compare these with what stands in ``data``.

    Every run has a folder and a state of its own, and every stage a process of its own. The first stage that differs
    ends it. ``env.json`` is not compared: it records time and machine.

    Args:
        read: what the parameters are.
        params: the file that they were read from.
        data: the folder of the outputs; it is not written to, but room is wanted beside it.
        once: whether to compare with what stands there. A stage that does not is told and not compared.

    A healthy run:
        On the bundled digits: a line for each of five stages that ends in "equal", and then "equal".

    Raises:
        CompetitionError: outputs differ, a stage fails, or there is no room.
    """
    there = [stage for stage in STAGES if (data / stage).is_dir()]
    if once and not there:
        raise CompetitionError(f"{data} holds no outputs to compare with; run 'dvc repro' first, or leave out --once")
    state = data.absolute().parent / STATE
    for stale in state.glob(f"{SCRATCH}*"):  # of a run that was killed
        shutil.rmtree(stale, ignore_errors=True)
    state.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix=SCRATCH, dir=state, ignore_cleanup_errors=True) as scratch:
        names = ("new",) if once else ("first", "second")
        runs = [(f"the {name} run", Path(scratch, name, "data")) for name in names]
        sides = [(str(data), data), *runs][-2:]
        check_space(Path(scratch), len(runs) * run_bytes(read, data))
        for stage in STAGES[: STAGES.index(there[-1]) + 1] if once else STAGES:
            for name, folder in runs:
                print(f"verify: {stage}, {name}", file=sys.stderr, flush=True)
                _run(stage, params, folder)
                if stage == "prepare" and stage not in there:  # only now is it known how much there is
                    check_space(Path(scratch), len(runs) * run_bytes(read, folder))
            if once and stage not in there:
                say(f"{stage}: not in {data}, so there is nothing to compare with")
            else:
                _check(stage, read, sides, once)
    say(f"equal, as far as {data} goes: {', '.join(there)}" if once and len(there) < len(STAGES) else "equal")


def _run(stage: str, params: Path, data: Path) -> None:
    """Run a stage as its command does; what it says is progress here, and goes to stderr."""
    command = [sys.executable, "-P", "-c", STAGE, stage, "--params", str(params), "--data", str(data)]
    code = subprocess.run(command, stdout=2).returncode
    if code:
        raise CompetitionError(f"'compete {stage}' ended with code {code}, so there is nothing to compare")


def _check(stage: str, read: "Params", sides: list[tuple[str, Path]], once: bool) -> None:
    """Say that a stage is equal on both sides, of each of which there is a name and a data folder.

    Raises:
        CompetitionError: it is not; with what is known of why.
    """
    (name, data), (other_name, other_data) = sides
    found = first_difference(data / stage, other_data / stage)
    if not found:
        sizes = _sizes(data / stage)
        say(f"{stage}: {len(sizes)} file{'s' if len(sizes) != 1 else ''}, {sum(sizes) / 1e6:,.1f} MB, equal")
        return
    heading = f"{stage} differs between {name} and {other_name}: {found}"
    reasons = []
    if once:
        reasons += _machine(data / "train" / ENV, read.threads, read.train.deterministic)
        reasons.append("'dvc status' tells whether parameters or files have changed since these outputs were made")
    if not read.train.deterministic and stage in ("tune", "train", "predict"):
        reasons.append("train.deterministic is false: repeats may differ in their last bits")
    if read.tune.minutes and stage in ("tune", "train", "predict"):
        reasons.append("tune.minutes is not 0: how many trials there are depends on the time that they take")
    raise MistakesError(heading, reasons) if reasons else CompetitionError(heading)


def _machine(env: Path, threads: int | str, deterministic: bool) -> list[str]:
    """Tell in what this machine differs from the one that an env.json describes."""
    if not env.exists():
        return [f"{env} is missing, which would say with what versions and on what machine it was made"]
    backend.start(threads, deterministic)
    now = json.loads(json.dumps(environment.describe(threads)))
    then = {key: value for key, value in read_json(env).items() if key not in TIMES}
    found = list(value_differences(then, now))
    return [f"{env} and here: {each}" for each in found] or [f"{env} names the versions and the machine that are here"]


def run_bytes(read: "Params", data: Path) -> int:
    """Estimate what one run of all stages writes, as far as the outputs of an earlier one tell."""
    train, test = ((data / "prepare" / pixels(split)) for split in ("train", "test"))
    arrays = [path.stat().st_size if path.exists() else 0 for path in (train, test)]
    others = {stage: sum(_sizes(data / stage)) for stage in STAGES}
    views = (1 + read.augment.views) * arrays[0] + read.predict.views * arrays[1]
    return views + (1 + STATE_COPIES) * others["train"] + others["tune"] + others["predict"] + SMALL_FILES_BYTES


def first_difference(one: Path, other: Path) -> str | None:
    """Name the first file, in the order of names, in which two folders differ, and how; None if they are equal.

    ``A and B`` in the answer is what one and what the other has.
    """
    theirs = [set(_files(folder)) for folder in (one, other)]
    for name in sorted(theirs[0] | theirs[1]):
        sizes = [f"{(folder / name).stat().st_size:,} bytes" if name in names else "no such file"
                 for folder, names in zip((one, other), theirs, strict=True)]  # fmt: skip
        found = difference(one / name, other / name) if name in theirs[0] & theirs[1] else " and ".join(sizes)
        if found:
            return f"{name}: {found}"
    return None


def _files(folder: Path) -> list[str]:
    """List the files of a folder, but the one that differs from run to run."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name != ENV)


def _sizes(folder: Path) -> list[int]:
    return [(folder / name).stat().st_size for name in _files(folder)]


def difference(one: Path, other: Path) -> str | None:
    """Say where and how two files of the same kind first differ; None if their bytes are equal.

    By kind: the row and column of a CSV (row 1 follows the header), the dotted path of a JSON or YAML, the index in a
    .npy, the weight in a .weights.h5, the pixel of a PNG. Else, and where these are equal and only written in another
    way, the byte, from 0.
    """
    offset = _first_byte(one, other)
    if offset is None:
        return None
    told = ""
    if one.suffix in KINDS:
        try:
            found = KINDS[one.suffix](one, other)
        except (OSError, RuntimeError, ValueError, KeyError, csv.Error, YAMLError):
            pass  # one of them is cut short, say
        else:
            if found:
                return found
            told = "the contents are equal, and only written in another way; "
    return told + _bytes(one, other, offset)


def _first_byte(one: Path, other: Path) -> int | None:
    """Return the offset of the first byte that differs, or that one of them has no more; None if there is none."""
    offset = 0
    with one.open("rb") as left, other.open("rb") as right:
        while True:
            pieces = left.read(CHUNK_BYTES), right.read(CHUNK_BYTES)
            if pieces[0] != pieces[1]:
                length = min(map(len, pieces))
                first, second = (np.frombuffer(piece[:length], np.uint8) for piece in pieces)
                differ = np.flatnonzero(first != second)
                return offset + int(differ[0] if len(differ) else length)
            if not pieces[0]:
                return None
            offset += len(pieces[0])


def _bytes(one: Path, other: Path, offset: int) -> str:
    found = []
    for path in (one, other):
        with path.open("rb") as file:
            file.seek(offset)
            byte = file.read(1)
        found.append(f"0x{byte.hex()}" if byte else "the end")
    return f"byte {offset:,}: {' and '.join(found)}"


def _csv(one: Path, other: Path) -> str | None:
    with one.open(encoding="utf-8", newline="") as left, other.open(encoding="utf-8", newline="") as right:
        header: list[str] = []
        for number, (first, second) in enumerate(zip_longest(csv.reader(left), csv.reader(right))):
            if number == 0:
                header = first or []
            if first == second:
                continue
            if first is None or second is None:
                rows = ["nothing" if row is None else ",".join(row)[:SHOWN_LETTERS] for row in (first, second)]
                return f"row {number}: {' and '.join(rows)}"
            if len(first) != len(second):
                return f"row {number}: {len(first)} and {len(second)} cells"
            column = next(place for place, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1])
            cells = _texts(first[column], second[column])
            if number == 0:
                return f"the header, column {column + 1}: {cells}"
            name = header[column] if column < len(header) else column + 1
            row = f"row {number} ({header[0]} {first[0]})" if column and header else f"row {number}"
            return f"{row}, column {name}: {cells}"
    return None


def _json(one: Path, other: Path) -> str | None:
    first, second = (json.loads(path.read_text(encoding="utf-8")) for path in (one, other))
    return next(value_differences(first, second), None)


def _yaml(one: Path, other: Path) -> str | None:
    first, second = (YAML(typ="safe").load(path) for path in (one, other))
    return next(value_differences(first, second), None)


def value_differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Yield the dotted path of every value in which two JSON values differ, and both values.

    Lists of the same length are compared place by place, others as a whole.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = [(key, one.get(key, _NOTHING), other.get(key, _NOTHING)) for key in {**one, **other}]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(str(place), *pair) for place, pair in enumerate(zip(one, other, strict=True))]
    else:
        first, second = (_NOTHING if value is _NOTHING else json.dumps(value, ensure_ascii=False, default=str)
                         for value in (one, other))  # fmt: skip
        if first != second:
            yield f"{path or 'all of it'}: {_texts(first, second, quoted=False)}"
        return
    for key, first, second in pairs:
        yield from value_differences(first, second, f"{path}.{key}" if path else str(key))


_NOTHING = "nothing"


def _texts(one: str, other: str, quoted: bool = True) -> str:
    """Show two texts, of long ones what is around the place where they differ."""
    longest = max(len(one), len(other))
    start = next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), longest)
    begin = max(0, min(start, len(one), len(other)) - SHOWN_LETTERS // 2) if longest > SHOWN_LETTERS else 0
    shown = []
    for text in (one, other):
        cut = text[begin : begin + SHOWN_LETTERS]
        cut = ("…" if begin else "") + cut + ("…" if begin + SHOWN_LETTERS < len(text) else "")
        shown.append(repr(cut) if quoted else cut)
    return " and ".join(shown)


def _npy(one: Path, other: Path) -> str | None:
    return _arrays(open_array(one), open_array(other))


def _arrays(one: np.ndarray, other: np.ndarray) -> str | None:
    """Say in which element two arrays first differ, in how many, and by how much at most."""
    for what in ("dtype", "shape"):
        if getattr(one, what) != getattr(other, what):
            return f"{what} {getattr(one, what)} and {getattr(other, what)}"
    if one.dtype.kind not in "biuf":
        return None
    flat, count, first, largest = (one.reshape(-1), other.reshape(-1)), 0, -1, 0.0
    for start in range(0, one.size, CHUNK_ELEMENTS):
        left, right = (np.asarray(array[start : start + CHUNK_ELEMENTS]) for array in flat)
        differ = (left != right) & ~((left != left) & (right != right))  # NaN is not equal to itself
        if differ.any():
            first = first if count else start + int(differ.argmax())
            count += int(differ.sum())
            gaps = np.abs(left[differ].astype(np.float64) - right[differ].astype(np.float64))
            largest = max(largest, float(np.max(gaps, initial=0, where=~np.isnan(gaps))))
    if not count:
        return None
    index = [int(place) for place in np.unravel_index(first, one.shape)]
    return (
        f"at {index}: {flat[0][first]} and {flat[1][first]}; {count:,} of {one.size:,} elements differ "
        f"({100 * count / one.size:.3g} %), by at most {largest:.3g}"
    )


def _weights(one: Path, other: Path) -> str | None:
    import h5py  # type: ignore[import-untyped]  # Keras brings it

    def datasets(file: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        return found

    with h5py.File(one) as left, h5py.File(other) as right:
        theirs, others = datasets(left), datasets(right)
        for name in {**theirs, **others}:
            if name not in theirs or name not in others:
                return f"{name}: {' and '.join('a weight' if name in held else 'nothing' for held in (theirs, others))}"
            found = _arrays(theirs[name][()], others[name][()])
            if found:
                return f"{name} {found}"
    return None


def _png(one: Path, other: Path) -> str | None:
    first, second = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (one, other))
    if first is None or second is None:
        raise ValueError("unreadable")
    if first.shape != second.shape:
        sizes = [f"{image.shape[1]} x {image.shape[0]} pixels" for image in (first, second)]
        return " and ".join(sizes) if sizes[0] != sizes[1] else f"shape {first.shape} and {second.shape}"
    differ = (first != second).reshape(*first.shape[:2], -1).any(axis=2)
    if not differ.any():
        return None
    y, x = (int(place) for place in np.argwhere(differ)[0])
    return (
        f"pixel x {x}, y {y}: {first[y, x].tolist()} and {second[y, x].tolist()}; {int(differ.sum()):,} of "
        f"{differ.size:,} pixels differ"
    )


# How to find what differs in a kind of file; None if only the bytes do.
KINDS: dict[str, Callable[[Path, Path], str | None]] = {
    ".csv": _csv,
    ".json": _json,
    ".yaml": _yaml,
    ".npy": _npy,
    ".h5": _weights,
    ".png": _png,
}
