"""Which trials are not worth their remaining epochs."""

import statistics
from collections.abc import Sequence

ENOUGH = 4  # earlier trials that a median is taken of; with fewer it says little


def bars(curves: Sequence[Sequence[float]], epochs: int) -> tuple[float | None, ...]:
    """Return what a trial's best score has to reach after each epoch, so that it is worth its next one.

    That is the median, over the earlier trials that got to this epoch, of their mean score up to it.

    Source: Golovin and others 2017, "Google Vizier", section 3.2.2, the median stopping rule. Trials that were stopped
    themselves count as far as they got; without them the median would climb from trial to trial.

    Args:
        curves: scores by epoch of earlier trials.
        epochs: of a whole trial.

    Returns:
        One for each epoch but the last; None where too few trials have got.
    """
    found: list[float | None] = []
    for epoch in range(1, epochs):
        means = [statistics.fmean(scores[:epoch]) for scores in curves if len(scores) >= epoch]
        found.append(statistics.median(means) if len(means) >= ENOUGH else None)
    return tuple(found)
