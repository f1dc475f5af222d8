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


# What the errors of Python, TensorFlow, JAX and PyTorch are called, or say, when there is not enough of it.
NO_MEMORY = ("MemoryError", "ResourceExhaustedError", "OutOfMemoryError", "RESOURCE_EXHAUSTED",
             "CUDA_ERROR_OUT_OF_MEMORY", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED",
             "CUDA error: out of memory", "DefaultCPUAllocator", "Cannot allocate memory")  # fmt: skip


def lacks_memory(error: Exception) -> bool:
    """Tell whether an error is a shortage of memory, of the machine or of a card: another time there may be enough."""
    told = f"{type(error).__name__}: {error}"
    return any(name in told for name in NO_MEMORY)
