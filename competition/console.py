"""What a command shows the person who runs it: plain lines on stdout, a progress bar where somebody is looking."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


def warn(line: str) -> None:
    """Print a remark on stderr, as a command's errors are."""
    print(f"compete: {line}", file=sys.stderr, flush=True)


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with what it counts, one or many (``one`` and an s): "1 view", "1,347 samples", "0 classes"."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def progress_bar() -> "Progress":
    """Return a progress bar on stderr that leaves nothing behind, and is not drawn at all in a pipe."""
    from rich.console import Console  # here, for worker processes draw no bar and start sooner without it
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
