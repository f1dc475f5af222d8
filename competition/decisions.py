"""From raw predictions to what a metric wants: fitted out of fold, stored with the model, applied to the test samples.

n samples, k classes. Truth and predictions are as in ``scores``.
"""

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from competition.scores import Metric, f_beta, row_blocks, sample_losses

ROUNDS = 3  # over the classes; more rounds hardly gain
CUT_ROUNDS = 20  # cheap, and mostly fewer: they end when nothing changes
LARGEST_MULTIPLIER = 5.0  # and the smallest is 1 / 5: what goes further fits noise
GRID = np.linspace(-1, 1, 21)  # powers of the largest multiplier; its middle, 0, changes nothing
CLIPS = (0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2)
LEAST_GAIN = 1e-12  # a smaller one is rounding
LABEL_KINDS = ("multipliers", "thresholds", "cuts")  # that decide labels


@dataclass(frozen=True)
class Decision:
    """How predictions are turned into what a metric wants.

    Attributes:
        kind: multipliers: (k,) above 0; the class with the largest product of probability and multiplier.
            thresholds: (k,) between 0 and 1; every class whose probability reaches its own.
            cuts: (k - 1,) ascending; as many as the expected grade, sum of grade_i * p_i, reaches.
            clip: (1,) at most 0.5; probabilities are kept so far from 0 and 1, rows of one class then sum to 1 again.
            none: predictions stay as they are.
        values: of the kind.
        at_least_one: thresholds only: a sample that reaches none gets the class with the largest probability /
            threshold.
        grades: cuts only: (k,) the grade of each class; () where it is the class number.
    """

    kind: Literal["multipliers", "thresholds", "cuts", "clip", "none"]
    values: tuple[float, ...] = ()
    at_least_one: bool = False
    grades: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "grades" or value}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Decision":
        return cls(stored["kind"], tuple(stored["values"]), stored["at_least_one"], tuple(stored.get("grades", ())))


def plain(metric: Metric, task: str, classes: int, at_least_one: bool = False) -> Decision:
    """Return the decision that needs no fitting: most probable class, at least one half, nearest grade, as it is."""
    if metric.wants == "values" or (metric.wants == "probabilities" and metric.name != "log_loss"):
        return Decision("none")
    if metric.name == "log_loss":
        return Decision("clip", (0.0,))
    if task == "multilabel":
        return Decision("thresholds", (0.5,) * classes, at_least_one)
    if metric.name == "quadratic_kappa":
        grades = metric.grades or range(classes)
        return Decision("cuts", tuple((low + high) / 2 for low, high in pairwise(grades)), grades=metric.grades)
    return Decision("multipliers", (1.0,) * classes)


def fit(
    metric: Metric, task: str, truth: np.ndarray, probabilities: np.ndarray, at_least_one: bool = False
) -> Decision:
    """Find the decision with the best score on these samples; the plain one unless another is better.

    What is found fits the noise of these samples too: its gain is what ``cross_fit`` shows, not the score here.

    multipliers: for macro and weighted F1, class after class on a grid of 1/5 to 5; for the others the most probable
        class is right.
    thresholds: macro and weighted: the best one of every class. Others: class after class, from the best common one.
        ``at_least_one`` plays no part in the search.
    cuts: one after the other, from the plain ones and from those that give every class its share of the truth.
    clip: from a list.

    For 100,000 samples of 1,000 classes this takes about a minute, else seconds.

    Args:
        metric: one that is defined for the task.
        truth: n >= 1.
        probabilities: float32 (n, k), out of fold; regression: the values, (n, 1).
        at_least_one: see Decision.
    """
    unfitted = plain(metric, task, probabilities.shape[1], at_least_one)
    if unfitted.kind == "clip":
        return _fit_clip(task, truth, probabilities)
    if unfitted.kind == "thresholds":
        values = _fit_thresholds(metric, truth, probabilities)
    elif unfitted.kind == "cuts":
        values = _fit_cuts(truth, probabilities, unfitted)
    elif unfitted.kind == "multipliers" and metric.name in ("f1_macro", "f1_weighted"):
        values = _fit_multipliers(metric, truth, probabilities)
    else:
        return unfitted
    fitted = replace(unfitted, values=tuple(values.tolist()))
    scores = [metric(truth, apply(decision, task, probabilities)) for decision in (fitted, unfitted)]
    return fitted if metric.better(*scores) else unfitted


def apply(decision: Decision, task: str, probabilities: np.ndarray) -> np.ndarray:
    """Turn predictions into what the metric wants.

    Args:
        probabilities: float (n, k); regression: the values, (n, 1).

    Returns:
        multipliers, cuts: int64 (n,). thresholds: uint8 (n, k). clip: float64 (n, k). none: the probabilities
        themselves; regression: (n,).
    """
    values = np.array(decision.values)
    if decision.kind == "none":
        return probabilities[:, 0] if task == "regression" else probabilities
    if decision.kind == "multipliers":
        return (probabilities * values).argmax(axis=1)
    if decision.kind == "cuts":
        return np.searchsorted(values, _expected_grade(probabilities, _grades(decision)), side="right")
    if decision.kind == "thresholds":
        labels = (probabilities >= values).astype(np.uint8)
        if decision.at_least_one:
            empty = np.flatnonzero(~labels.any(axis=1))
            labels[empty, (probabilities[empty] / values).argmax(axis=1)] = 1
        return labels
    clipped = np.clip(probabilities.astype(np.float64), values[0], 1 - values[0])
    return clipped if task == "multilabel" else clipped / clipped.sum(axis=1, keepdims=True)


def cross_fit(
    metric: Metric, task: str, truth: np.ndarray, probabilities: np.ndarray, parts: np.ndarray, at_least_one: bool
) -> np.ndarray:
    """Decide every part with the decision fitted on the other parts: scored, it is as honest as out of fold can be.

    Args:
        truth, probabilities, at_least_one: as for ``fit``.
        parts: int64 (n,), mostly the fold of each sample.

    Returns:
        As ``apply``.

    Raises:
        ValueError: there is one part only.
    """
    numbers = np.unique(parts)
    if len(numbers) < 2:
        raise ValueError("one part cannot be decided by the others; at least two are needed")
    pieces = []
    for number in numbers:
        others = parts != number
        decision = fit(metric, task, truth[others], probabilities[others], at_least_one)
        pieces.append(apply(decision, task, probabilities[~others]))
    rows = np.argsort(parts, kind="stable")  # of the samples, in the order of the pieces
    return np.concatenate(pieces)[np.argsort(rows)]


def _grades(cuts: Decision) -> np.ndarray:
    return np.array(cuts.grades or range(len(cuts.values) + 1), np.float64)


def _expected_grade(probabilities: np.ndarray, grades: np.ndarray) -> np.ndarray:
    return (probabilities * grades).sum(axis=1)


def _fit_clip(task: str, truth: np.ndarray, probabilities: np.ndarray) -> Decision:
    decisions = [Decision("clip", (float(clip),)) for clip in CLIPS]
    losses = np.zeros(len(decisions))
    for rows in row_blocks(*probabilities.shape):
        for number, decision in enumerate(decisions):
            losses[number] += sample_losses(task, truth[rows], apply(decision, task, probabilities[rows])).sum()
    return decisions[int(np.argmax(losses <= losses.min() + LEAST_GAIN * len(truth)))]


def _splits(values: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Return where ascending values (n,) between low and high can be split, 0 to n, and the numbers halfway there."""
    padded = np.concatenate([[low], values, [high]])
    positions = np.flatnonzero(padded[:-1] < padded[1:])
    return positions, (padded[positions] + padded[positions + 1]) / 2


def _choose(curve: np.ndarray, splits: np.ndarray, now: float, curve_now: float, plain: float) -> float:
    """Return the split at which the curve is highest, the one nearest to plain if there are several, or now."""
    if not len(curve) or curve.max() <= curve_now + LEAST_GAIN:
        return now
    best = splits[curve >= curve.max() - LEAST_GAIN]
    return float(best[np.abs(best - plain).argmin()])


def _fit_thresholds(metric: Metric, truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    k = probabilities.shape[1]
    separable = metric.name in ("f1_macro", "f1_weighted")
    thresholds = np.full(k, 0.5 if separable else _common_threshold(metric, truth, probabilities))
    support = truth.sum(axis=1, dtype=np.float64)
    labels = probabilities >= thresholds
    predicted, hits = labels.sum(axis=1, dtype=np.float64), (labels & (truth == 1)).sum(axis=1, dtype=np.float64)
    for _ in range(1 if separable else ROUNDS):
        before = thresholds.copy()
        for label in range(k):
            column, true = probabilities[:, label], truth[:, label].astype(np.float64)
            chosen = column >= thresholds[label]
            predicted -= chosen
            hits -= chosen * true
            order = np.argsort(column, kind="stable")
            positions, splits = _splits(column[order].astype(np.float64), 0, 1)
            if separable:
                curve = f_beta(_from(true[order]), true.sum(), _from(np.ones(len(order))))
            elif metric.name.endswith("_micro"):
                all_hits, all_predicted = hits.sum() + _from(true[order]), predicted.sum() + _from(np.ones(len(order)))
                curve = f_beta(all_hits, support.sum(), all_predicted, metric.number)
            else:
                without = _sample_score(metric, hits, support, predicted)
                gain = _sample_score(metric, hits + true, support, predicted + 1) - without
                curve = without.mean() + _from(gain[order]) / len(order)
            now = np.searchsorted(column[order], thresholds[label])
            thresholds[label] = _choose(curve[positions], splits, thresholds[label], curve[now], 0.5)
            chosen = column >= thresholds[label]
            predicted += chosen
            hits += chosen * true
        if (before == thresholds).all():
            break
    return thresholds


def _from(terms: np.ndarray) -> np.ndarray:
    """Return the sums of the terms from every position on, (n + 1,)."""
    return np.concatenate([terms[::-1].cumsum()[::-1], [0.0]])


def _sample_score(metric: Metric, hits: np.ndarray, support: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Score every sample from how many of its classes are hit, are true and are predicted."""
    if metric.name == "accuracy":
        return ((hits == support) & (hits == predicted)).astype(np.float64)
    return f_beta(hits, support, predicted, metric.number)


def _common_threshold(metric: Metric, truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the best of one half and of numbers spread over the probabilities of what is true."""
    true = probabilities[truth == 1].astype(np.float64)
    spread = np.quantile(true, np.linspace(0, 1, 22)) if len(true) else true
    candidates = sorted([0.5, *_splits(spread, 0, 1)[1].tolist()], key=lambda candidate: abs(candidate - 0.5))
    decisions = [Decision("thresholds", (candidate,) * truth.shape[1]) for candidate in candidates]
    return candidates[int(np.argmax([metric(truth, apply(one, "multilabel", probabilities)) for one in decisions]))]


def _fit_cuts(truth: np.ndarray, probabilities: np.ndarray, unfitted: Decision) -> np.ndarray:
    n, plain, grades = len(truth), np.array(unfitted.values), _grades(unfitted)
    gaps, steps = np.diff(grades), np.diff(grades**2)
    expected = _expected_grade(probabilities, grades)
    order = np.argsort(expected, kind="stable")
    ascending, true = expected[order], grades[truth[order]]
    positions, splits = _splits(ascending, grades[0] - 1, grades[-1] + 1)
    true_sum, true_squares, true_from = true.sum(), (true**2).sum(), _from(true)

    def kappa(predicted_sum: np.ndarray, predicted_squares: np.ndarray, products: np.ndarray) -> np.ndarray:
        squares = true_squares + predicted_squares
        apart, by_chance = squares - 2 * products, squares - 2 * true_sum * predicted_sum / n
        return 1 - np.divide(apart, by_chance, out=np.zeros(apart.shape), where=apart > 0)

    def sums(at: np.ndarray, cuts: int | slice = slice(None)) -> np.ndarray:
        """Return what cuts at positions add to the three sums of kappa: the n - at samples above go up by a class."""
        return np.stack([gaps[cuts] * (n - at), steps[cuts] * (n - at), gaps[cuts] * true_from[at]])

    def climb(cuts: np.ndarray) -> tuple[float, np.ndarray]:
        for _ in range(CUT_ROUNDS):
            before = cuts.copy()
            for number in range(len(cuts)):
                at = np.searchsorted(ascending, cuts)
                low, high = np.searchsorted(positions, [[0, *at][number], [*at, n][number + 1]])
                all_sums, own = sums(at), sums(at[[number]], number)
                others = all_sums.sum(axis=1, keepdims=True) - own
                curve = kappa(*(others + sums(positions[low : high + 1], number)))
                now = kappa(*(others + own))
                cuts[number] = _choose(curve, splits[low : high + 1], cuts[number], now[0], plain[number])
            if (before == cuts).all():
                break
        cuts = np.sort(cuts)  # two between the same samples may have passed each other
        return float(kappa(*sums(np.searchsorted(ascending, cuts)).sum(axis=1, keepdims=True))[0]), cuts

    shares = np.bincount(truth, minlength=len(plain) + 1).cumsum()[:-1]
    matching = splits[np.minimum(np.searchsorted(positions, shares), len(splits) - 1)]
    return max(climb(plain.copy()), climb(matching), key=lambda climbed: climbed[0])[1]


def _fit_multipliers(metric: Metric, truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    n, k = probabilities.shape
    multipliers = np.ones(k)
    if k == 1:
        return multipliers
    top, scores = _top_two(probabilities, multipliers)
    for width in (1, 1, 0.1):  # the last round refines
        for label in range(k):
            own, first = probabilities[:, label].astype(np.float64), top[:, 0] == label
            rival, rival_score = (np.where(first, pair[:, 1], pair[:, 0]) for pair in (top, scores))
            grid = multipliers[label] * LARGEST_MULTIPLIER ** (width * GRID)
            grid = np.clip(grid, 1 / LARGEST_MULTIPLIER, LARGEST_MULTIPLIER)
            needed = np.divide(rival_score, own, out=np.full(n, np.inf), where=own > 0)
            curve = _f1_curve(metric, truth, label, rival, np.searchsorted(grid, needed, side="right"), k, len(grid))
            chosen = _choose(curve, grid, multipliers[label], curve[len(grid) // 2], 1)
            if chosen == multipliers[label]:
                continue
            multipliers[label] = chosen
            held = (top == label).any(axis=1)
            top[held], scores[held] = _top_two(probabilities[held], multipliers)
            enters = ~held & (own * chosen > scores[:, 1])
            top[enters, 1], scores[enters, 1] = label, own[enters] * chosen
            ahead = scores[:, 1] > scores[:, 0]
            top[ahead], scores[ahead] = top[ahead, ::-1], scores[ahead, ::-1]
    return multipliers


def _top_two(probabilities: np.ndarray, multipliers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two classes with the largest products, best first, int64 (n, 2), and the products, float64 (n, 2)."""
    top, scores = np.zeros((len(probabilities), 2), np.int64), np.zeros((len(probabilities), 2))
    for rows in row_blocks(*probabilities.shape):
        products = probabilities[rows] * multipliers
        for place in range(2):
            top[rows, place] = products.argmax(axis=1)
            scores[rows, place] = products.max(axis=1)
            np.put_along_axis(products, top[rows, place, None], -1, axis=1)
    return top, scores


def _f1_curve(
    metric: Metric, truth: np.ndarray, label: int, rival: np.ndarray, place: np.ndarray, k: int, places: int
) -> np.ndarray:
    """Return F1 at each place of a grid of one class's multiplier, (places,).

    Args:
        rival: (n,) class predicted where this one is not.
        place: (n,) from which on this one is predicted; places, if at none.
    """

    def left(rows: np.ndarray) -> np.ndarray:
        """Count what each rival keeps of the rows at each place, (k, places)."""
        lost = rows & (place < places)
        moved = np.bincount(rival[lost] * places + place[lost], minlength=k * places).reshape(k, places)
        return np.bincount(rival[rows], minlength=k)[:, None] - moved.cumsum(axis=1)

    predicted, hits = left(np.ones(len(truth), bool)), left(truth == rival)
    predicted[label] = len(truth) - predicted.sum(axis=0)
    hits[label] = np.bincount(place[truth == label], minlength=places + 1)[:places].cumsum()
    support = np.bincount(truth, minlength=k)[:, None]
    f1 = f_beta(hits, support, predicted)
    if metric.name == "f1_weighted":
        return (f1 * support).sum(axis=0) / len(truth)
    return f1.sum(axis=0) / (support + predicted > 0).sum(axis=0)
