"""What a stage tells the person who runs it: plain lines on stdout."""


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)
