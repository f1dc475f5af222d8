"""What a search found, told afterwards: which values mattered, how the trials lie, and by how much the best one won.

n samples, k classes, r resamples.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from competition import decisions
from competition.params import Range, Scalar
from competition.scores import FEWEST_RESAMPLES, LEVEL, RESAMPLES, Metric, Score, row_blocks
from competition.search.outcomes import Trial
from competition.search.points import Space, encode, is_active, ordered
from competition.tasks import Target

LANE = 0.12  # of an axis, below its values, where the trials lie that do not have this value
BUDGET = 2 * 10**8  # numbers looked at in all resamples of one prediction; about a second of one core


def best_so_far(scores: Sequence[float | None], greater: bool) -> list[float | None]:
    """Return the best of the scores up to each; None where there is none yet."""
    choose = max if greater else min
    best: list[float | None] = []
    for number in range(len(scores)):
        found = [score for score in scores[: number + 1] if score is not None]
        best.append(choose(found, default=None))
    return best


def parallel(space: Space, trials: Sequence[Trial]) -> pd.DataFrame:
    """Lay the scored trials out over parallel axes, one for each path and one for the score.

    Returns:
        trial, axis (a path of the space, in its order, or ``score``), position (0 to 1 from the lowest value to the
        highest, by the logarithm where sampling is log, by rank in a choice; 0 alone for a value that is not active
        there), text (the value), score.
    """
    scored = [(trial, trial.score) for trial in trials if trial.score is not None]
    low, high = (end((score for _, score in scored), default=0.0) for end in (min, max))
    rows = []
    for trial, score in scored:
        for path, span in space.items():
            value = trial.values.get(path)
            rows.append((trial.number, path, _position(span, value), _text(value), score))
        rows.append((trial.number, "score", (score - low) / (high - low) if high > low else 0.5, f"{score:.4f}", score))
    return pd.DataFrame(rows, columns=["trial", "axis", "position", "text", "score"])


def _position(span: Range, value: Scalar | None) -> float:
    if value is None:
        return 0.0
    if span.choice is not None:
        is_text = isinstance(value, bool | str)
        choices = list(span.choice) if is_text else sorted(span.choice)
        share = choices.index(value) / (len(choices) - 1) if len(choices) > 1 else 0.5
    else:
        low, high, number = (float(each) for each in (*(span.integer or span.real or ()), value))
        if span.sampling == "log":
            low, high, number = math.log(low), math.log(high), math.log(number)
        share = (number - low) / (high - low)
    return LANE + (1 - LANE) * share if span.when else share


def _text(value: Scalar | None) -> str:
    if value is None:
        return "not used"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def beats(
    metric: Metric, target: Target, truth: np.ndarray, first: np.ndarray, second: np.ndarray, seed: int
) -> Score:
    """Compare two predictions of the same samples: by how much the first is better, with a 95 % interval.

    Both are decided plainly. The samples are resampled 1,000 times, fewer where that would take long, and each
    resample scores both, so that what makes a sample hard for both cancels out. That the first was picked as the best
    of many is not in the interval.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993; paired, to tell two systems apart, Koehn
    2004, "Statistical Significance Tests for Machine Translation Evaluation".

    Args:
        metric: the competition's.
        target: what is predicted.
        truth: as for the metric, n >= 1.
        first, second: float (n, k), raw; regression: the values, (n, 1).
        seed: draws the resamples.

    Returns:
        The difference, above 0 where the first is better, also of a metric whose low scores are good.
    """
    decision = decisions.plain(metric, target.task, len(target.classes), target.at_least_one)
    predictions = [decisions.apply(decision, target.task, each) for each in (first, second)]
    rng, n = np.random.default_rng(seed), len(truth)
    width = predictions[0].shape[1] if predictions[0].ndim == 2 else 1
    scorers = [metric.scorer(truth, prediction) for prediction in predictions]

    def differ(counts: np.ndarray) -> np.ndarray:
        one, other = (scorer(counts) for scorer in scorers)
        return one - other if metric.greater else other - one

    resamples = min(RESAMPLES, max(FEWEST_RESAMPLES, BUDGET // (n * width)))
    drawn = []
    for block in row_blocks(resamples, n):
        counts = [np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(block.start, block.stop)]
        drawn.append(differ(np.stack(counts).astype(np.float64)))
    differences = np.concatenate(drawn)
    differences = differences[~np.isnan(differences)]  # an AUC of one class
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(differences, ends) if len(differences) else (math.nan, math.nan)
    return Score(float(differ(np.ones((1, n)))[0]), float(low), float(high), n)


def tell(first: int, second: int, difference: Score) -> str:
    """Say in a sentence what `beats` found of two trials, by their numbers."""
    if difference.value < 0:
        first, second = second, first
        difference = Score(-difference.value, -difference.high, -difference.low, difference.n)
    verdict = "more than the noise" if difference.low > 0 else "within the noise"
    return f"trial {first} beats trial {second} by {difference}: {verdict}"
