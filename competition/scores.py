"""Competition metrics, their intervals and the training losses, on plain arrays.

n samples, k classes, r resamples. What a metric compares:

    task                   truth                    labels          probabilities     values
    multiclass, ordinal    int64 (n,), 0 to k - 1   like the truth  float (n, k)
    multilabel             uint8 (n, k), 0 or 1     like the truth  float (n, k)
    regression             float64 (n,)                                               float (n,)

Probabilities are between 0 and 1; the rows of a multiclass or ordinal task sum to 1.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np

RESAMPLES = 1000  # of the bootstrap; the ends of a 95 % interval then have a standard error of 2 % of its width
FEWEST_RESAMPLES = 100  # the standard error is then 7 %
BUDGET = 2 * 10**9  # numbers looked at in all resamples; ten to twenty seconds of one core
LEVEL = 0.95
SMALL = 0.001  # below it, four decimals show too little of a score
BLOCK = 2**20  # numbers worked on at once, 8 MiB of float64: fits a cache, and bounds the memory

# Takes how often each sample counts in each resample, float64 (r, n); returns the scores, float64 (r,).
Scorer = Callable[[np.ndarray], np.ndarray]
Wants = Literal["labels", "probabilities", "values"]


@dataclass(frozen=True)
class Metric:
    """What a competition scores by. Equal to scikit-learn's (with zero_division=0) where that is defined.

    accuracy: share of samples predicted right; of a multilabel sample, in every class.
    f<beta>: recall counts beta times as much as precision. A class (samples: a sample) that is neither true nor
        predicted has 0. macro: mean over the classes; multiclass, over those that occur in truth or prediction.
        weighted: over the classes, by how often each is true. micro: of all decisions together. samples: mean over the
        samples.
    log_loss: mean negative log probability of the truth, probabilities kept a float64 epsilon away from 0 and 1; rows
        are not normalised. Multilabel: mean over the classes too.
    roc_auc: of class 1 of two, or of the only class of a multilabel task; ties count half. macro: mean over the
        classes, each against the rest; weighted: by how often each is true. Both leave out classes that are true always
        or never; nan where none is left.
    quadratic_kappa: agreement beyond chance, a mistake weighted by the square of the distance between the grades of two
        classes; 1 where all samples agree. scikit-learn must be told every whole number from the lowest grade to the
        highest as ``labels``: it would close gaps up.
    map@<k>: mean average precision of the k most probable classes; 0 for a sample without a true class.
    top<k>_error: share of samples whose class is not among the k most probable.
        Of equally probable classes, map and top-k error take the first as the more probable.
    rmse: root of the mean squared error.

    Attributes:
        name: as ``find_metric`` takes it.
        wants: the kind of prediction.
        tasks: for which it is defined.
        greater: whether a higher score is a better one.
        number: beta or k, where the name holds one.
        grades: of a quadratic kappa: (k,) the grade of each class; () where it is the class number.
        scorer: prepares truth and prediction for scoring many resamples.
    """

    name: str
    wants: Wants
    tasks: tuple[str, ...]
    greater: bool
    number: float = 1
    grades: tuple[int, ...] = ()
    scorer: Callable[[np.ndarray, np.ndarray], Scorer] = field(kw_only=True, repr=False, compare=False)

    def __call__(self, truth: np.ndarray, prediction: np.ndarray, counts: np.ndarray | None = None) -> float:
        """Score a prediction.

        Args:
            truth, prediction: as the table above says, n >= 1.
            counts: (n,), at least 0 and not all 0: how often each sample counts; once if None.

        Raises:
            ValueError: roc_auc of more than two classes.
        """
        counts = np.ones(len(truth)) if counts is None else counts.astype(np.float64)
        return float(self.scorer(truth, prediction)(counts[None])[0])

    def better(self, score: float, than: float) -> bool:
        """Tell whether a score is better than another; any number is better than nan, and equal is not better."""
        if math.isnan(than):
            return not math.isnan(score)
        return score > than if self.greater else score < than


@dataclass(frozen=True)
class Score:
    """A score with its 95 % interval and the number of samples behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        numbers = (self.value, self.low, self.high)
        digits = ".4g" if 0 < max(map(abs, numbers)) < SMALL else ".4f"
        value, low, high = (format(number, digits) for number in numbers)
        return f"{value} (95 % interval {low} to {high}, n = {self.n:,})"


def score(metric: Metric, truth: np.ndarray, prediction: np.ndarray, seed: int) -> Score:
    """Score a prediction, with a percentile bootstrap interval over the samples.

    1,000 resamples; where resamples * n would exceed ``BUDGET``, fewer, but at least 100. What is macro or weighted of
    (n, k) looks at every class in every resample: there it is resamples * n * k. Resamples without a score (an AUC of
    one class) are left out; the interval is nan if all are.

    Args:
        truth, prediction: as for the metric, n >= 1.
        seed: draws the resamples.
    """
    n = len(truth)
    rng = np.random.default_rng(seed)
    counts: np.ndarray = np.ones(n)
    of_cells = metric.wants == "labels" and truth.ndim == 1
    if of_cells:  # a resample of the samples is one of the cells of the confusion matrix: its cost does not grow with n
        classes = 1 + max(truth.max(), prediction.max())
        cells, counts = np.unique(truth * classes + prediction, return_counts=True)
        truth, prediction = cells // classes, cells % classes
    scorer = metric.scorer(truth, prediction)

    def draw() -> np.ndarray:
        # Two ways to the same: the first costs some 50 ns a cell, the second 5 ns a sample.
        return rng.multinomial(n, counts / n) if of_cells else np.bincount(rng.integers(0, n, n), minlength=n)

    per_class = prediction.ndim == 2 and metric.name.endswith(("macro", "weighted"))
    work = prediction.size if per_class else len(counts)
    resamples = min(RESAMPLES, max(FEWEST_RESAMPLES, BUDGET // work))
    blocks = row_blocks(resamples, len(counts))
    draws = (np.stack([draw() for _ in range(block.start, block.stop)]) for block in blocks)
    resampled = np.concatenate([scorer(drawn.astype(np.float64)) for drawn in draws])
    return Score(float(scorer(counts[None].astype(np.float64))[0]), *interval(resampled), n)


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """Return the ends of the 95 % interval of resampled scores (r,), but of those that are nan; nan if all are."""
    known = resampled[~np.isnan(resampled)]
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(known) else (math.nan, math.nan)
    return float(low), float(high)


def loss(task: str, truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean over the samples of ``sample_losses``."""
    return float(sample_losses(task, truth, probabilities).mean())


def sample_losses(task: str, truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return what each sample adds to the loss that training minimises.

    Args:
        task: multiclass, ordinal: negative log probability of the true class. multilabel: binary cross entropy, mean
            over the classes. regression: squared error.
        truth: as the table above says.
        probabilities: float (n, k); regression: the values, (n, 1).

    Returns:
        float64 (n,), at least 0.
    """
    if task == "regression":
        return (probabilities[:, 0].astype(np.float64) - truth) ** 2
    if task == "multilabel":
        return _by_rows(_binary_cross_entropy, truth, probabilities)
    return -_log(probabilities[np.arange(len(truth)), truth])


def row_blocks(n: int, width: int) -> Iterator[slice]:
    """Cut n rows of so many numbers into slices of at most ``BLOCK`` numbers, or of one row."""
    step = max(1, BLOCK // width)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def find_metric(name: str, grades: Sequence[int] | None = None) -> Metric:
    """Return the metric of a name in ``KNOWN``; <beta> is a number above 0, <k> a whole one: ``f0.5_micro``, ``map@5``.

    Args:
        name: of the metric.
        grades: (k,) of the classes, if they have any, as `tasks.grades` tells them: what a quadratic kappa compares.

    Raises:
        ValueError: there is none of that name.
    """
    if name == "quadratic_kappa" and grades and tuple(grades) != tuple(range(len(grades))):
        graded = partial(_graded_kappa, np.array(grades, np.float64))
        return replace(find_metric(name), grades=tuple(grades), scorer=graded)
    if name in _METRICS:
        wants, tasks, greater, scorer = _METRICS[name]
        return Metric(name, wants, tasks, greater, scorer=scorer)
    candidates = list(_METRICS)
    for pattern, (wants, tasks, greater, numbered) in _NUMBERED.items():
        letter = "<k>" if "<k>" in pattern else "<beta>"
        if found := re.fullmatch(pattern.replace(letter, _NUMBERS[letter]), name):
            number = int(found[1]) if letter == "<k>" else float(found[1])
            return Metric(name, wants, tasks, greater, number, scorer=partial(numbered, number))
        digits = re.search(_NUMBERS[letter], name)
        candidates.append(pattern.replace(letter, digits[1] if digits else "1"))
    nearest = difflib.get_close_matches(name, candidates, n=1)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    raise ValueError(f"no metric is called {name!r}; {hint}known are {KNOWN}")


def f_beta(hits: np.ndarray, support: np.ndarray, predicted: np.ndarray, beta: float = 1) -> np.ndarray:
    """Return F of how many are true and predicted, true, and predicted, of one shape; 0 where none is either."""
    total = beta**2 * support + predicted
    return np.divide((1 + beta**2) * hits, total, out=np.zeros(np.shape(total)), where=total > 0)


# What follows takes truth and prediction and returns a function of the counts (see Scorer), or helps with it.


def _mean(terms: np.ndarray) -> Scorer:
    # Not a product of matrices: the order in which that adds, and so its last bits, depend on the number of threads.
    return lambda counts: (counts * terms).sum(axis=1) / counts.sum(axis=1)


def _accuracy(truth: np.ndarray, prediction: np.ndarray) -> Scorer:
    right = truth == prediction
    return _mean(right.all(axis=1) if truth.ndim == 2 else right)


def _f1_macro(truth: np.ndarray, prediction: np.ndarray) -> Scorer:
    tallies = _tallies(truth, prediction)

    def scorer(counts: np.ndarray) -> np.ndarray:
        hits, support, predicted = tallies(counts)
        occurs = support + predicted > 0 if truth.ndim == 1 else np.ones(support.shape)
        return f_beta(hits, support, predicted).sum(axis=1) / occurs.sum(axis=1)

    return scorer


def _f1_weighted(truth: np.ndarray, prediction: np.ndarray) -> Scorer:
    tallies = _tallies(truth, prediction)

    def scorer(counts: np.ndarray) -> np.ndarray:
        hits, support, predicted = tallies(counts)
        return (f_beta(hits, support, predicted) * support).sum(axis=1) / np.maximum(support.sum(axis=1), 1)

    return scorer


def _tallies(truth: np.ndarray, prediction: np.ndarray) -> Callable[[np.ndarray], tuple[np.ndarray, ...]]:
    """Return what counts, (r, n), how often each class is hit, is true and is predicted, each float64 (r, k)."""
    if truth.ndim == 2:
        tables = (truth & prediction, truth, prediction)
        return lambda counts: tuple(_sums(counts, table) for table in tables)
    k, hit = 1 + int(max(truth.max(), prediction.max())), truth == prediction

    def tally(counts: np.ndarray, classes: np.ndarray) -> np.ndarray:
        cells = np.arange(len(counts))[:, None] * k + classes
        return np.bincount(cells.ravel(), counts.ravel(), len(counts) * k).reshape(len(counts), k)

    return lambda counts: (tally(counts[:, hit], truth[hit]), tally(counts, truth), tally(counts, prediction))


def _sums(counts: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return how often each class of a uint8 (n, k) table counts, (r, k)."""
    # Sums of whole numbers: exact, in whatever order the threads add them.
    blocks = row_blocks(*table.shape)
    return np.sum([counts[:, rows] @ table[rows].astype(np.float64) for rows in blocks], axis=0)


def _f_micro(beta: float, truth: np.ndarray, prediction: np.ndarray) -> Scorer:
    terms = _sample_tallies(truth, prediction)

    def scorer(counts: np.ndarray) -> np.ndarray:
        hits, support, predicted = ((counts * term).sum(axis=1) for term in terms)
        return f_beta(hits, support, predicted, beta)

    return scorer


def _f_samples(beta: float, truth: np.ndarray, prediction: np.ndarray) -> Scorer:
    hits, support, predicted = _sample_tallies(truth, prediction)
    return _mean(f_beta(hits, support, predicted, beta))


def _sample_tallies(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how many classes of each sample are hit, are true and are predicted, each (n,)."""
    if truth.ndim == 1:
        return truth == prediction, np.ones(len(truth)), np.ones(len(truth))
    return (truth & prediction).sum(axis=1), truth.sum(axis=1), prediction.sum(axis=1)


def _quadratic_kappa(truth: np.ndarray, prediction: np.ndarray) -> Scorer:
    true, predicted = truth.astype(np.float64), prediction.astype(np.float64)
    terms = (true - predicted) ** 2, true, predicted, true**2 + predicted**2

    def scorer(counts: np.ndarray) -> np.ndarray:
        apart, true_sum, predicted_sum, squares = ((counts * term).sum(axis=1) for term in terms)
        by_chance = squares - 2 * true_sum * predicted_sum / counts.sum(axis=1)
        return 1 - np.divide(apart, by_chance, out=np.zeros(len(counts)), where=apart > 0)

    return scorer


def _graded_kappa(grades: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> Scorer:
    return _quadratic_kappa(grades[truth], grades[prediction])


def _log_loss(truth: np.ndarray, probabilities: np.ndarray) -> Scorer:
    return _mean(sample_losses("multilabel" if truth.ndim == 2 else "multiclass", truth, probabilities))


def _binary_cross_entropy(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    probabilities = probabilities.astype(np.float64)
    return -_log(np.where(truth, probabilities, 1 - probabilities)).mean(axis=1)


def _log(probabilities: np.ndarray) -> np.ndarray:
    epsilon = np.finfo(np.float64).eps
    return np.log(np.clip(probabilities.astype(np.float64), epsilon, 1 - epsilon))


def _by_rows(function: Callable[..., np.ndarray], truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Apply a function of samples to a few at a time."""
    return np.concatenate([function(truth[rows], probabilities[rows]) for rows in row_blocks(*probabilities.shape)])


def _roc_auc(truth: np.ndarray, probabilities: np.ndarray) -> Scorer:
    if probabilities.shape[1] != (2 if truth.ndim == 1 else 1):
        raise ValueError(f"roc_auc is of two classes, not {probabilities.shape[1]}; take roc_auc_macro")
    return _area((truth if truth.ndim == 1 else truth[:, 0]) == 1, probabilities[:, -1])


def _mean_roc_auc(weighted: bool, truth: np.ndarray, probabilities: np.ndarray) -> Scorer:
    classes = range(probabilities.shape[1])
    positive = [truth == label if truth.ndim == 1 else truth[:, label] == 1 for label in classes]
    areas = [_area(positive[label], probabilities[:, label]) for label in classes]

    def scorer(counts: np.ndarray) -> np.ndarray:
        each = np.stack([area(counts) for area in areas], axis=1)
        weights = np.stack([counts[:, rows].sum(axis=1) for rows in positive], axis=1) if weighted else 1.0
        weights = np.where(np.isnan(each), 0, weights)
        total = weights.sum(axis=1)
        return np.divide(np.nansum(each * weights, axis=1), total, out=np.full(len(counts), np.nan), where=total > 0)

    return scorer


def _area(positive: np.ndarray, scores: np.ndarray) -> Scorer:
    """Share of pairs of a positive and a negative in which the positive has the higher score; sorts only once."""

    def rows(chosen: np.ndarray) -> np.ndarray:
        found = np.flatnonzero(chosen)
        return found[np.argsort(scores[found], kind="stable")]

    above, below = rows(positive), rows(~positive)
    lower, not_higher = (np.searchsorted(scores[below], scores[above], side) for side in ("left", "right"))

    def scorer(counts: np.ndarray) -> np.ndarray:
        weights = np.take(counts, above, axis=1)
        negatives = np.zeros((len(counts), len(below) + 1))
        np.cumsum(np.take(counts, below, axis=1), axis=1, out=negatives[:, 1:])
        beaten = np.take(negatives, lower, axis=1) + np.take(negatives, not_higher, axis=1)
        pairs = weights.sum(axis=1) * negatives[:, -1]
        return np.divide((weights * beaten).sum(axis=1) / 2, pairs, out=np.full(len(counts), np.nan), where=pairs > 0)

    return scorer


def _map(k: int, truth: np.ndarray, probabilities: np.ndarray) -> Scorer:
    if truth.ndim == 1:
        ranks = _by_rows(_ranks, truth, probabilities)
        return _mean(np.where(ranks < k, 1 / (ranks + 1), 0))
    return _mean(_by_rows(partial(_average_precision, k), truth, probabilities))


def _top_error(k: int, truth: np.ndarray, probabilities: np.ndarray) -> Scorer:
    return _mean(_by_rows(_ranks, truth, probabilities) >= k)


def _ranks(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return how many classes come before the true one."""
    true = probabilities[np.arange(len(truth)), truth][:, None]
    earlier = np.arange(probabilities.shape[1]) < truth[:, None]
    return ((probabilities > true) | ((probabilities == true) & earlier)).sum(axis=1)


def _average_precision(k: int, truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    hits = np.take_along_axis(truth, best, axis=1).astype(np.float64)
    precision = hits.cumsum(axis=1) / np.arange(1, best.shape[1] + 1)
    return (hits * precision).sum(axis=1) / np.clip(truth.sum(axis=1), 1, k)


def _rmse(truth: np.ndarray, values: np.ndarray) -> Scorer:
    mean = _mean(sample_losses("regression", truth, values[:, None]))
    return lambda counts: np.sqrt(mean(counts))


_SINGLE = ("multiclass", "ordinal")
_LABELS = (*_SINGLE, "multilabel")

# wants, tasks, whether greater is better, scorer
_METRICS: dict[str, tuple[Wants, tuple[str, ...], bool, Callable[[np.ndarray, np.ndarray], Scorer]]] = {
    "accuracy": ("labels", _LABELS, True, _accuracy),
    "f1_macro": ("labels", _LABELS, True, _f1_macro),
    "f1_micro": ("labels", _LABELS, True, partial(_f_micro, 1)),
    "f1_weighted": ("labels", _LABELS, True, _f1_weighted),
    "log_loss": ("probabilities", _LABELS, False, _log_loss),
    "roc_auc": ("probabilities", ("multiclass", "multilabel"), True, _roc_auc),
    "roc_auc_macro": ("probabilities", ("multiclass", "multilabel"), True, partial(_mean_roc_auc, False)),
    "roc_auc_weighted": ("probabilities", ("multiclass", "multilabel"), True, partial(_mean_roc_auc, True)),
    "quadratic_kappa": ("labels", _SINGLE, True, _quadratic_kappa),
    "rmse": ("values", ("regression",), False, _rmse),
}
_NUMBERED: dict[str, tuple[Wants, tuple[str, ...], bool, Callable[..., Scorer]]] = {
    "f<beta>_micro": ("labels", _LABELS, True, _f_micro),
    "f<beta>_samples": ("labels", ("multilabel",), True, _f_samples),
    "map@<k>": ("probabilities", ("multiclass", "multilabel"), True, _map),
    "top<k>_error": ("probabilities", ("multiclass",), False, _top_error),
}
_NUMBERS = {"<beta>": r"([1-9]\d*(?:\.\d+)?|0\.\d*[1-9]\d*)", "<k>": r"([1-9]\d*)"}  # above 0

KNOWN = ", ".join([*_METRICS, *_NUMBERED])
