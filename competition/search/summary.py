"""What a search found, told afterwards: which values mattered, how the trials lie, and by how much the best one won.

n samples, k classes, r resamples.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from competition import decisions
from competition.params import Range, Scalar
from competition.scores import FEWEST_RESAMPLES, RESAMPLES, Metric, Score, interval, row_blocks
from competition.search.outcomes import Attempt, Values
from competition.search.points import Space, draw, encode, ends, is_ordered, ordered, resolve
from competition.seeds import derive
from competition.tasks import Target

FEWEST_TRIALS = 5  # with a score; fewer say nothing about what mattered
TREES = 200  # with 800 no share changes by more than a hundredth
DRAWS = 512  # points at which a value is changed; a share of one half then has a standard error of 0.015
LANE = 0.12  # of an axis, below its values, where the trials lie that do not have this value
BUDGET = 10**8  # numbers looked at in all resamples of one prediction; about a second of one core


def importance(space: Space, trials: Sequence[Attempt], seed: int) -> pd.DataFrame:
    """Share out, over the values of the space, how much the score varies in it.

    A model of the score is fitted to the trials, and asked at random points of the whole space how much its answer
    changes where one value alone is drawn anew, and with it whether those that depend on it are active. The model is
    the mean of a Gaussian process, which sees curves and what values do together in 20 trials, and a random forest,
    which sees the cliff where training diverges. On six known functions and 20 random trials its shares were 17 % off,
    those of the forest alone 25 %; with 30 trials 12 % and 15 %. Optuna's fANOVA (38 % on five of them) leaves values
    with a condition out, and its PED-ANOVA (55 %) wants hundreds of trials.

    Source: Hutter, Hoos and Leyton-Brown 2014, "An efficient approach for assessing hyperparameter importance", for a
    model in place of trials; the total effect of Sobol, estimated as Jansen 1999 does ("Analysis of variance designs
    for model output"), for what is asked of it.

    Args:
        space: ranges by path.
        trials: those of one fold. Of trials that were given fewer epochs the model knows it, and is asked about all.
        seed: of the forest and the points.

    Returns:
        path, importance; in the order of the space, the sum is 1. A value that matters only together with others counts
        fully in each. Empty with fewer than 5 scored trials, or if all have the same score.
    """
    scored = [trial for trial in trials if trial.score is not None]
    scores = np.array([trial.score for trial in scored], np.float64)
    nothing = pd.DataFrame({"path": [], "importance": []})
    if len(scored) < FEWEST_TRIALS or scores.min() == scores.max():
        return nothing
    most = max(trial.epochs for trial in scored)

    def written(points: Sequence[Values], epochs: Sequence[int]) -> np.ndarray:
        return np.column_stack([np.stack([encode(space, values) for values in points]), np.array(epochs) / most])

    table = written([trial.values for trial in scored], [trial.epochs for trial in scored])
    model = _surrogate(table.shape[1], derive(seed, "forest"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")  # of a length of the process that met its bounds
        model.fit(table, (scores - scores.mean()) / scores.std())

    def ask(points: Sequence[Values]) -> np.ndarray:
        # Without the values whose conditions do not hold.
        active = [resolve(space, ordered(space), values.__getitem__) for values in points]
        return model.predict(written(active, [most] * DRAWS))

    rng = np.random.default_rng(derive(seed, "draws"))
    free = {path: span.model_copy(update={"when": {}}) for path, span in space.items()}
    before, anew = ([draw(free, rng) for _ in range(DRAWS)] for _ in range(2))
    told = ask(before)
    effects = []
    for path in space:
        changed = ask([{**old, path: new[path]} for old, new in zip(before, anew, strict=True)])
        effects.append(float(np.mean((changed - told) ** 2)))
    total = sum(effects)
    return pd.DataFrame({"path": list(space), "importance": np.array(effects) / total}) if total else nothing


def _surrogate(width: int, seed: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor, VotingRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    # Lengths in shares of a range: what changes faster cannot be told from chance, what changes slower is flat.
    curve = ConstantKernel(1, (0.01, 100)) * Matern(np.ones(width), (0.1, 100), nu=2.5)
    process = GaussianProcessRegressor(curve + WhiteKernel(0.05, (0.001, 1)))
    return VotingRegressor([("process", process), ("forest", RandomForestRegressor(TREES, random_state=seed))])


def parallel(space: Space, trials: Sequence[Attempt]) -> pd.DataFrame:
    """Lay the scored trials out over parallel axes, one for each path and one for the score.

    Returns:
        trial, axis (a path of the space, in its order, or ``score``), position (0 to 1 from the lowest value to the
        highest, by the logarithm where sampling is log, by rank in a choice; 0 alone for a value that is not active
        there), text (the value), score.
    """
    scored = [(trial, trial.score) for trial in trials if trial.score is not None]
    low, high = (end([score for _, score in scored], default=0.0) for end in (min, max))
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
        choices = sorted(span.choice) if is_ordered(span) else list(span.choice)
        share = choices.index(value) / (len(choices) - 1) if len(choices) > 1 else 0.5
    else:
        low, high, number = (float(each) for each in (*ends(span), value))
        if span.sampling == "log":
            low, high, number = math.log(low), math.log(high), math.log(number)
        share = (number - low) / (high - low) if high > low else 0.5
    return LANE + (1 - LANE) * share if span.when else share


def _text(value: Scalar | None) -> str:
    if value is None:
        return "not used"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def beats(metric: Metric, target: Target, truth: np.ndarray, first: np.ndarray, second: np.ndarray, seed: int) -> Score:
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
    return Score(float(differ(np.ones((1, n)))[0]), *interval(np.concatenate(drawn)), n)


def tell(first: int, second: int, difference: Score) -> str:
    """Say in a sentence what `beats` found of two trials, by their numbers."""
    if difference.value == 0:
        spread = f"95 % interval of their difference {difference.low:.4f} to {difference.high:.4f}"
        return f"trials {first} and {second} are equal ({spread}, n = {difference.n:,})"
    if difference.value < 0:
        first, second = second, first
        difference = Score(-difference.value, -difference.high, -difference.low, difference.n)
    verdict = "more than the noise" if difference.low > 0 else "within the noise"
    return f"trial {first} beats trial {second} by {difference}: {verdict}"
