"""What a user can act on: an error whose text says what was found, what was expected and what to do."""


class CompetitionError(Exception):
    """Ends a command with its text on stderr and exit code 1."""


class UnavailableError(CompetitionError):
    """What would have to be fetched is not at hand: no values are to blame, and another time it may be there."""


SHOWN_SAMPLES = 20  # of those that are bad; more lines push the first one off a small terminal


class MistakesError(CompetitionError):
    """Several mistakes of one kind, told together.

    Args:
        heading: what was being read.
        mistakes: one line each; at least one.
        shown: how many of them are told, for what may be as many as there are samples; None for all.
    """

    def __init__(self, heading: str, mistakes: list[str], shown: int | None = None) -> None:
        self.mistakes = mistakes
        lines = [f"  - {mistake}" for mistake in mistakes[:shown]]
        if len(mistakes) > len(lines):
            lines.append(f"  - and {len(mistakes) - len(lines)} more")
        super().__init__("\n".join([heading, *lines]))


class DivergedError(CompetitionError):
    """The loss of a training is no longer a number."""


class UnreadableError(Exception):
    """One image file is damaged, cut short or no image; the text says why."""
