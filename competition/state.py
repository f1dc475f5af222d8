"""Where a stage keeps what a second run can go on with: outside its outputs, which DVC removes before the stage runs.

``.compete/<stage>/<key>/``, where the key is a hash of everything that may change the result: parameters, the content
of the inputs, the package's source, versions, machine. A changed line is a new key, so nothing stale is ever found.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from competition import backend
from competition.artifacts import file_digest
from competition.versions import cuda_versions, versions

PACKAGE = Path(__file__).parent
VERSIONS = ("tensorflow", "jax", "jaxlib", "torch", "keras", "numpy", "albumentations", "opencv-python-headless",
            "scikit-learn", "optuna")  # fmt: skip
KEPT = 3  # states of a stage, so that one may try other parameters and come back


def keyed(
    root: Path, stage: str, parameters: Any, inputs: list[Path], threads: int | str, *, one_card: bool = False
) -> Path:
    """Return the folder of a stage's state, and remove those that have not been asked for longest.

    Args:
        root: the project's ``.compete``.
        stage: its name.
        parameters: all that may change the result, as JSON can hold it.
        inputs: files whose content may; at about a gigabyte a second.
        threads: CPU threads of a model.
        one_card: whether a model has one of the cards, and is not spread over all.
    """
    digest = hashlib.blake2b(json.dumps(parameters, sort_keys=True).encode(), digest_size=16)
    cards = list(dict.fromkeys(backend.cards())) if one_card else backend.cards()
    machine = [backend.settings(), cards, backend.threads_used(threads), sorted(backend.cpu_features())]
    digest.update(json.dumps([versions(VERSIONS), cuda_versions(), machine], sort_keys=True).encode())
    for path in [*sorted(PACKAGE.rglob("*.py")), *inputs]:
        digest.update(f"{path.name} {file_digest(path)}".encode())
    folder = root / stage / digest.hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    for stale in sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        forget(stale)
    return folder


def forget(folder: Path) -> None:
    """Remove a state that nothing will go on with."""
    shutil.rmtree(folder, ignore_errors=True)
