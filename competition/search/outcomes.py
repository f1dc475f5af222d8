"""The words of a search: values, a task, how its training went, a trial. No KerasTuner here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from competition.params import Scalar, TuneParams

Values = dict[str, Scalar]

DIED = "the process was killed, most often because memory ran out"


@dataclass(frozen=True)
class Search:
    """What is searched: all that a process has to know to take part.

    Attributes:
        params: the tune section.
        key: names everything that may change a score; the same in all processes of a search.
        seed: of the proposals.
        greater: whether a higher score is a better one.
        folds: how many there are.
        impossible: tells why values cannot be tried; None if they can.
    """

    params: TuneParams
    key: str
    seed: int
    greater: bool
    folds: int
    impossible: Callable[[Values], str | None]


@dataclass(frozen=True)
class Task:
    """What one trial is to do.

    Attributes:
        number: of the trial, from 1.
        values: the active ones.
        fold: on which it is validated.
        epochs: until which it trains.
        bars: for each epoch but the last, what its best score so far has to reach, or it stops; None for anything.
        greater: whether a higher score is a better one.
        of: number of the trial whose training it continues, or repeats on another fold; None if it is a new one.
        fraction: of the training samples that is used.
    """

    number: int
    values: Values
    fold: int
    epochs: int
    bars: tuple[float | None, ...]
    greater: bool
    of: int | None
    fraction: float = 1.0

    def misses(self, scores: Sequence[float]) -> bool:
        """Tell whether the scores so far, by epoch, miss the bar of the last of these epochs."""
        bar = self.bars[len(scores) - 1] if 0 < len(scores) <= len(self.bars) else None
        if bar is None:
            return False
        return max(scores) < bar if self.greater else min(scores) > bar


@dataclass(frozen=True)
class Curve:
    """How training with some values on some fold went, as far as it did; the same whoever asks for it.

    Attributes:
        scores: by epoch, each that of the model if training ended there.
        reason: why it failed after them; empty if it did not.
        ended: whether it ended by itself, so that there are no more epochs.
        lasting: whether the reason would be the same if it was tried again; memory may run out or not.
        spent: each epoch after which it halted or ended, with the seconds that it had taken in all until then.
    """

    scores: tuple[float, ...]
    reason: str = ""
    ended: bool = False
    lasting: bool = True
    spent: tuple[tuple[int, float], ...] = field(default=(), compare=False)

    @property
    def seconds(self) -> float:
        """The seconds that it took in all."""
        return self.spent[-1][1] if self.spent else 0.0

    def answer(self, task: Task) -> "Outcome | None":
        """Cut out what a task asks for; None if the curve does not reach that far."""
        for epoch in range(1, min(len(self.scores), task.epochs) + 1):
            if task.misses(self.scores[:epoch]):
                told = f"stopped after epoch {epoch}: below the median"
                return Outcome(self.scores[:epoch], told, "stopped", self._seconds(epoch))
        if len(self.scores) < task.epochs and self.reason:
            return Outcome(self.scores, self.reason, "failed", self.seconds)
        if len(self.scores) < task.epochs and not self.ended:
            return None
        return Outcome(self.scores[: task.epochs], "", "done", self._seconds(task.epochs))

    def _seconds(self, epochs: int) -> float:
        """Return the seconds when it first halted after so many epochs: what a task that asked for them has seen."""
        return next((seconds for at, seconds in self.spent if at >= epochs), self.seconds)


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        scores: by epoch.
        reason: why it failed or was stopped.
        kind: done, stopped (at an epoch whose bar it missed) or failed.
        seconds: that training with its values took in all.
        known: whether it was known from before and nothing was trained.
    """

    scores: tuple[float, ...]
    reason: str
    kind: str
    seconds: float = field(default=0.0, compare=False)
    known: bool = field(default=False, compare=False)

    @property
    def score(self) -> float | None:
        """The score of the model where training ended; None if it failed."""
        return None if self.kind == "failed" else self.scores[-1]


@dataclass(frozen=True)
class Attempt:
    """A trial under way, or done: a task, and its outcome, None while it runs."""

    task: Task
    outcome: Outcome | None

    @property
    def number(self) -> int:
        return self.task.number

    @property
    def values(self) -> Values:
        return self.task.values

    @property
    def score(self) -> float | None:
        return self.outcome.score if self.outcome else None

    @property
    def epochs(self) -> int:
        """How many were trained, those of a trial that it continues included."""
        return len(self.outcome.scores) if self.outcome else 0

    @property
    def reason(self) -> str:
        return self.outcome.reason if self.outcome else ""


class Evaluate(Protocol):
    """Trains with some values. It is sent to other processes, so it can be pickled."""

    def start(self) -> str:
        """Make a process ready; called in each once, before anything else is imported.

        Returns:
            What is to be said of it to the person who runs the search; nothing if all is well.
        """
        ...

    def __call__(self, task: Task, folder: Path) -> Curve:
        """Train as a task says, and stop where it misses a bar.

        Args:
            task: what to do. The curve does not depend on the trial's number and on what it is ``of``.
            folder: of these values, fold and fraction. What the last call left there is gone on with.

        Raises:
            OSError: the disk is full; this is not the values' fault and ends the search.
        """
        ...


def best(search: Search, tried: Sequence[Attempt], count: int = 1) -> list[Attempt]:
    """Return those with the best scores, best first; of equal scores the earliest, of equal values the best."""
    scored = [attempt for attempt in tried if attempt.score is not None]
    sign = -1 if search.greater else 1
    found: list[Attempt] = []
    for attempt in sorted(scored, key=lambda attempt: (sign * (attempt.score or 0), attempt.number)):
        if len(found) < count and all(other.values != attempt.values for other in found):
            found.append(attempt)
    return found
