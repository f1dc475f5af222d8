"""Competition metrics and their intervals, on plain arrays. A higher score is a better one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000  # of the bootstrap; the ends of a 95 % interval then move by about a tenth of its width
LEVEL = 0.95

# A metric takes true and predicted classes, int64 (n,), 0 to k - 1; k; and how often each pair counts, (n,), or once.
Metric = Callable[..., float]


def accuracy(truth: np.ndarray, predicted: np.ndarray, classes: int, counts: np.ndarray | None = None) -> float:
    """Share of samples whose class was predicted."""
    return float(np.average(truth == predicted, weights=counts))


def f1_macro(truth: np.ndarray, predicted: np.ndarray, classes: int, counts: np.ndarray | None = None) -> float:
    """Mean of the F1 of every class that occurs in truth or prediction."""
    f1, _, occurs = _f1(truth, predicted, classes, counts)
    return float(f1[occurs].mean())


def f1_weighted(truth: np.ndarray, predicted: np.ndarray, classes: int, counts: np.ndarray | None = None) -> float:
    """Mean of the F1 of every class, weighted by how often it is true."""
    f1, support, _ = _f1(truth, predicted, classes, counts)
    return float((f1 * support).sum() / support.sum())


def _f1(
    truth: np.ndarray, predicted: np.ndarray, classes: int, counts: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return F1, true count and whether it occurs at all, each (k,); the F1 of a class never predicted is 0."""
    counts = np.ones(len(truth)) if counts is None else counts
    hits = np.bincount(truth, counts * (truth == predicted), minlength=classes)
    support = np.bincount(truth, counts, minlength=classes)
    total = support + np.bincount(predicted, counts, minlength=classes)
    return 2 * hits / np.maximum(total, 1), support, total > 0


METRICS: dict[str, Metric] = {"accuracy": accuracy, "f1_macro": f1_macro, "f1_weighted": f1_weighted}


@dataclass(frozen=True)
class Score:
    """A score with its 95 % interval and the number of samples behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.4f} (95 % interval {self.low:.4f} to {self.high:.4f}, n = {self.n:,})"


def score(metric: str, truth: np.ndarray, predicted: np.ndarray, classes: int, seed: int) -> Score:
    """Score predictions, with a percentile bootstrap interval over the samples.

    Args:
        metric: a name in METRICS.
        truth: int64 (n,), n >= 1.
        predicted: int64 (n,).
        classes: k.
        seed: draws the resamples.
    """
    function = METRICS[metric]
    rng = np.random.default_rng(seed)
    # A resample of the samples is a resample of the cells of the confusion matrix: its cost does not grow with n.
    cells, counts = np.unique(truth * classes + predicted, return_counts=True)
    true_cells, predicted_cells, shares = cells // classes, cells % classes, counts / len(truth)
    draws = (rng.multinomial(len(truth), shares) for _ in range(RESAMPLES))
    resampled = [function(true_cells, predicted_cells, classes, draw) for draw in draws]
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Score(function(truth, predicted, classes), float(low), float(high), len(truth))


def log_loss(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log probability of the true class; probabilities float32 (n, k)."""
    true = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(np.maximum(true, 1e-15)).mean())
