"""The words of a search: values, a trial, a failure. No KerasTuner here, so that a worker process needs none."""

from dataclasses import dataclass

from competition.params import Scalar

Values = dict[str, Scalar]


class FailedTrialError(Exception):
    """These values cannot be scored; the text says why. The search goes on."""


@dataclass(frozen=True)
class Trial:
    """One point of the space and what became of it; the first is number 1.

    ``score`` is None where it failed, for ``reason``. A trial that repeats another has its score, and says so there.
    """

    number: int
    values: Values
    score: float | None
    reason: str
