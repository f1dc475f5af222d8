"""What the processes of a search have in common: imported once, in the server that they are forked from."""

from contextlib import suppress

from competition import backend
from competition.errors import CompetitionError

with suppress(CompetitionError):  # each process imports what is missing here, and tells it
    backend.load()
    import competition.fitting  # noqa: F401
