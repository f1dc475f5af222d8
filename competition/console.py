"""What a command shows the person who runs it: plain lines on stdout, a progress bar where somebody is looking."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


def progress_bar() -> Progress:
    """Return a progress bar on stderr that leaves nothing behind, and is not drawn at all in a pipe."""
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
