"""One command at a time on a project."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from competition.errors import CompetitionError


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the project's lock, or refuse with the name of the process that does.

    The system frees the lock when its process ends, however it ends; a killed ``dvc`` leaves its stage running, and
    that stage still holds it.

    Args:
        path: the lock's file; beside it stands who holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = path.with_suffix(".json")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CompetitionError(
            f"another command works on this project: {_tell(holder)}; wait until it ends, or stop it"
        ) from None
    try:
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        holder.write_text(json.dumps({"command": command, "process": os.getpid(), "since": started}) + "\n")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _tell(holder: Path) -> str:
    try:
        held = json.loads(holder.read_text())
        return f"'{held['command']}' (process {held['process']}, since {held['since']})"
    except (OSError, ValueError, KeyError):
        return "it has not said which yet"
