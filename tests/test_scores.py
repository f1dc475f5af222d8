"""Metrics equal scikit-learn's; intervals cover what they say."""

import math
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from competition.scores import (
    BLOCK,
    FEWEST_RESAMPLES,
    KNOWN,
    RESAMPLES,
    Metric,
    Score,
    find_metric,
    loss,
    sample_losses,
    score,
)
from competition.tasks import grades

SINGLE, MULTI = "multiclass", "multilabel"


def f(average: str, beta: float = 1) -> Callable[..., float]:
    return lambda truth, labels, k: metrics.fbeta_score(truth, labels, beta=beta, average=average, zero_division=0)


def mean_log_loss(truth: np.ndarray, probabilities: np.ndarray, k: int) -> float:
    columns = zip(truth.T, probabilities.T, strict=True)
    return float(np.mean([metrics.log_loss(true, column, labels=[0, 1]) for true, column in columns]))


def mean_auc(average: str) -> Callable[..., float]:
    def area(truth: np.ndarray, probabilities: np.ndarray, k: int) -> float:
        positive = truth if truth.ndim == 2 else np.eye(k, dtype=int)[truth]
        defined = (positive.min(axis=0) == 0) & (positive.max(axis=0) == 1)
        if not defined.any():
            return math.nan
        return metrics.roc_auc_score(positive[:, defined], probabilities[:, defined], average=average)

    return area


def average_precision(k: int) -> Callable[..., float]:
    """The definition, class by class: ml_metrics.apk of Kaggle's benchmarks."""

    def mean(truth: np.ndarray, probabilities: np.ndarray, classes: int) -> float:
        total = 0.0
        for true, row in zip(truth, probabilities, strict=True):
            wanted = {int(true)} if truth.ndim == 1 else set(np.flatnonzero(true).tolist())
            best = sorted(range(classes), key=lambda label: -row[label])[:k]
            hits = [label in wanted for label in best]
            total += sum(sum(hits[: i + 1]) / (i + 1) for i in range(len(best)) if hits[i]) / max(
                1, min(len(wanted), k)
            )
        return total / len(truth)

    return mean


EXPECTED: dict[tuple[str, str], Callable[..., float]] = {
    ("accuracy", SINGLE): lambda truth, labels, k: metrics.accuracy_score(truth, labels),
    ("accuracy", MULTI): lambda truth, labels, k: metrics.accuracy_score(truth, labels),
    **{(f"f1_{average}", task): f(average) for average in ("macro", "micro", "weighted") for task in (SINGLE, MULTI)},
    ("f2_micro", SINGLE): f("micro", 2),
    ("f0.5_micro", MULTI): f("micro", 0.5),
    ("f1_samples", MULTI): f("samples"),
    ("f2_samples", MULTI): f("samples", 2),
    ("log_loss", SINGLE): lambda truth, p, k: metrics.log_loss(truth, p, labels=range(k)),
    ("log_loss", MULTI): mean_log_loss,
    ("roc_auc_macro", SINGLE): mean_auc("macro"),
    ("roc_auc_macro", MULTI): mean_auc("macro"),
    ("roc_auc_weighted", SINGLE): mean_auc("weighted"),
    ("roc_auc_weighted", MULTI): mean_auc("weighted"),
    ("quadratic_kappa", SINGLE): lambda truth, labels, k: metrics.cohen_kappa_score(
        truth, labels, weights="quadratic", labels=range(k), replace_undefined_by=1.0
    ),
    ("map@1", SINGLE): average_precision(1),
    ("map@3", SINGLE): average_precision(3),
    ("map@3", MULTI): average_precision(3),
    ("top2_error", SINGLE): lambda truth, p, k: 1 - metrics.top_k_accuracy_score(truth, p, k=2, labels=range(k)),
    ("rmse", "regression"): lambda truth, values, k: metrics.root_mean_squared_error(truth, values),
}


def draw(metric: Metric, task: str, rng: np.random.Generator, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw truth and prediction; some classes may be missing. Probabilities come without ties."""
    if task == "regression":
        return rng.normal(size=n), rng.normal(size=n)
    if task == SINGLE:
        truth = rng.integers(0, rng.integers(1, k + 1), n)
        return truth, rng.dirichlet(np.ones(k), n) if metric.wants == "probabilities" else rng.integers(0, k, n)
    truth, labels = (rng.random((2, n, k)) < rng.random(k)).astype(np.uint8)
    return truth, rng.random((n, k)) if metric.wants == "probabilities" else labels


@pytest.mark.parametrize(("name", "task"), list(EXPECTED))
def test_equal_to_scikit_learn_also_with_counts(name: str, task: str) -> None:
    metric, rng = find_metric(name), np.random.default_rng(0)
    assert task in metric.tasks
    for case in range(40):
        n, k = int(rng.integers(1, 60)), int(rng.integers(3, 8))
        truth, prediction = draw(metric, task, rng, n, k)
        counts = rng.integers(0, 4, n)
        counts[0] += 1
        repeated = np.repeat(truth, counts, axis=0), np.repeat(prediction, counts, axis=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected, expected_repeated = EXPECTED[name, task](truth, prediction, k), EXPECTED[name, task](*repeated, k)
        assert metric(truth, prediction) == pytest.approx(expected, abs=1e-12, nan_ok=True), case
        assert metric(truth, prediction, counts) == pytest.approx(expected_repeated, abs=1e-12, nan_ok=True), case


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_roc_auc_of_two_classes_counts_a_tie_half(levels: int) -> None:
    metric, rng = find_metric("roc_auc"), np.random.default_rng(levels)
    for _ in range(40):
        truth, column = rng.integers(0, 2, 30), rng.integers(0, levels, 30) / levels
        truth[:2] = 0, 1
        counts = rng.integers(1, 4, 30)
        expected = metrics.roc_auc_score(truth, column, sample_weight=counts)
        probabilities = np.stack([1 - column, column], axis=1)
        assert metric(truth, probabilities, counts) == pytest.approx(expected, abs=1e-12)
        single = truth[:, None].astype(np.uint8)
        assert metric(single, column[:, None], counts) == pytest.approx(expected, abs=1e-12)


def test_roc_auc_is_of_two_classes_and_undefined_for_one() -> None:
    metric = find_metric("roc_auc")
    with pytest.raises(ValueError, match="roc_auc_macro"):
        metric(np.array([0, 1, 2]), np.full((3, 3), 1 / 3))
    assert math.isnan(metric(np.array([1, 1]), np.full((2, 2), 0.5)))


def test_kappa_of_all_agreeing_is_one_and_its_distances_are_those_of_the_classes() -> None:
    metric = find_metric("quadratic_kappa")
    assert metric(np.array([2, 2, 2]), np.array([2, 2, 2])) == 1
    assert metric(np.array([2, 2, 2]), np.array([3, 3, 3])) == 0
    near, far = (
        metric(np.array([0, 0, 1, 4]), np.array([0, 1, 1, 4])),
        metric(np.array([0, 0, 1, 4]), np.array([0, 4, 1, 4])),
    )
    assert near > 0.9 > far


def test_kappa_compares_the_grades_that_classes_are() -> None:
    """As Kaggle's does, and `compete score`: a grade between them that nobody has is not closed up."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        names = sorted(rng.choice(30, int(rng.integers(2, 6)), replace=False).tolist())
        metric = find_metric("quadratic_kappa", grades([f"{name}.0" for name in names]))
        truth, labels = rng.integers(0, len(names), (2, 50))
        numbers = np.array(names)[truth], np.array(names)[labels]
        expected = metrics.cohen_kappa_score(*numbers, weights="quadratic", labels=range(31))
        assert metric(truth, labels) == pytest.approx(expected, abs=1e-12)
        assert score(metric, truth, labels, 0).value == pytest.approx(expected, abs=1e-12)
    assert find_metric("quadratic_kappa", (0, 1, 2)) == find_metric("quadratic_kappa", None)
    assert find_metric("accuracy", (0, 1, 8)) == find_metric("accuracy")


def test_log_loss_stays_finite_for_a_confident_mistake() -> None:
    probabilities = np.array([[1.0, 0.0], [0.5, 0.5]])
    expected = metrics.log_loss([1, 0], probabilities)
    assert find_metric("log_loss")(np.array([1, 0]), probabilities) == pytest.approx(expected, rel=1e-12)
    assert find_metric("log_loss")(np.array([1, 0]), probabilities.astype(np.float32)) == pytest.approx(expected)


def test_log_loss_of_the_certain_truth_is_no_negative_zero() -> None:
    assert 0 < find_metric("log_loss")(np.array([1, 0]), np.array([[0.0, 1.0], [1.0, 0.0]])) < 1e-15


def test_the_first_of_equally_probable_classes_comes_first() -> None:
    truth, probabilities = np.array([0, 1, 2]), np.full((3, 3), 1 / 3)
    assert find_metric("map@3")(truth, probabilities) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert find_metric("map@3")(np.eye(3, dtype=np.uint8), probabilities) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert find_metric("top1_error")(truth, probabilities) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("f1_makro", "f1_macro"),
        ("f2_sample", "f2_samples"),
        ("map5", "map@5"),
        ("top3_eror", "top3_error"),
        ("f0_micro", "f1_micro"),
        ("map@0", "map@1"),
        ("f0.5_mikro", "f0.5_micro"),
        ("f2_sampels", "f2_samples"),
        ("top1.5_error", "top1_error"),
        ("loss of dice", ""),
        ("f1_samples ", "f1_samples"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_and_all_known(name: str, nearest: str) -> None:
    with pytest.raises(ValueError) as refused:
        find_metric(name)
    assert KNOWN in str(refused.value) and repr(name) in str(refused.value)
    assert (f"did you mean {nearest}?" if nearest else "; known") in str(refused.value)


def test_names() -> None:
    assert [find_metric(name).number for name in ("f2_samples", "f0.5_micro", "map@5", "top3_error")] == [2, 0.5, 5, 3]
    for name in KNOWN.replace("<beta>", "1.5").replace("<k>", "2").split(", "):
        assert find_metric(name).name == name
        assert find_metric(name) == find_metric(name)
    lower = {
        name for name in KNOWN.split(", ") if not find_metric(name.replace("<beta>", "1").replace("<k>", "1")).greater
    }
    assert lower == {"log_loss", "top<k>_error", "rmse"}


def test_better() -> None:
    accuracy, rmse = find_metric("accuracy"), find_metric("rmse")
    assert accuracy.better(0.6, 0.5) and not accuracy.better(0.5, 0.6) and not accuracy.better(0.5, 0.5)
    assert rmse.better(0.5, 0.6) and not rmse.better(0.6, 0.5) and not rmse.better(0.5, 0.5)
    assert accuracy.better(0, math.nan) and not accuracy.better(math.nan, 0) and not rmse.better(math.nan, math.nan)


def test_losses() -> None:
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet(np.ones(4), 30).astype(np.float32)
    truth, many = rng.integers(0, 4, 30), rng.integers(0, 2, (30, 4)).astype(np.uint8)
    expected = metrics.log_loss(truth, probabilities, labels=range(4))
    for task in ("multiclass", "ordinal"):
        assert loss(task, truth, probabilities) == pytest.approx(expected, rel=1e-6)
    expected = metrics.log_loss(many.ravel(), probabilities.ravel().astype(np.float64))
    assert loss(MULTI, many, probabilities) == pytest.approx(expected, rel=1e-6)
    values = rng.normal(size=(30, 1)).astype(np.float32)
    target = rng.normal(size=30)
    assert loss("regression", target, values) == pytest.approx(metrics.mean_squared_error(target, values[:, 0]))
    for task, true, predicted in ((SINGLE, truth, probabilities), (MULTI, many, probabilities)):
        each = sample_losses(task, true, predicted)
        assert each.shape == (30,) and each.dtype == np.float64
        assert each[7] == loss(task, true[7:8], predicted[7:8])


def test_many_samples_are_worked_on_in_blocks_without_a_trace() -> None:
    rng = np.random.default_rng(4)
    n, k = 2 * BLOCK // 64 + 7, 64
    truth, probabilities = (rng.random((n, k)) < 0.1).astype(np.uint8), rng.random((n, k)).astype(np.float32)
    labels = (probabilities > 0.9).astype(np.uint8)
    assert find_metric("f1_macro")(truth, labels) == pytest.approx(f("macro")(truth, labels, k), abs=1e-12)
    cross_entropy = -np.log(np.where(truth, probabilities, 1 - probabilities.astype(np.float64))).mean()
    assert find_metric("log_loss")(truth, probabilities) == pytest.approx(cross_entropy, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("accuracy", SINGLE),
        ("f1_macro", SINGLE),
        ("quadratic_kappa", SINGLE),
        ("accuracy", MULTI),
        ("f1_macro", MULTI),
        ("f1_weighted", MULTI),
        ("f1_micro", MULTI),
        ("f2_samples", MULTI),
        ("log_loss", SINGLE),
        ("roc_auc_macro", SINGLE),
        ("roc_auc_weighted", MULTI),
        ("map@3", SINGLE),
        ("rmse", "regression"),
    ],
)
def test_interval_is_that_of_resampling_the_samples_themselves(name: str, task: str) -> None:
    metric, rng = find_metric(name), np.random.default_rng(5)
    truth, prediction = draw(metric, task, rng, 120, 4)
    rows = (rng.integers(0, 120, 120) for _ in range(600))
    low, high = np.quantile([metric(truth[some], prediction[some]) for some in rows], [0.025, 0.975])
    result = score(metric, truth, prediction, 0)
    assert result.value == pytest.approx(metric(truth, prediction), abs=1e-14) and result.n == 120
    assert result.low == pytest.approx(low, abs=0.2 * (high - low))
    assert result.high == pytest.approx(high, abs=0.2 * (high - low))
    assert result.low < result.value < result.high


@pytest.mark.parametrize("name", ["accuracy", "log_loss"])
def test_interval_covers_the_truth_as_often_as_it_says(name: str) -> None:
    """Of 600 draws of 200 samples, about 95 % of the intervals hold the score that all samples would have."""
    rng, metric = np.random.default_rng(1), find_metric(name)
    held = 0
    for seed in range(600):
        right = rng.random(200) < 0.8  # of predictions that claim 0.8
        if name == "accuracy":
            result, true = score(metric, np.zeros(200, np.int64), 1 - right.astype(np.int64), seed), 0.8
        else:
            probabilities = np.tile([0.8, 0.2], (200, 1))
            result, true = score(metric, 1 - right.astype(np.int64), probabilities, seed), 0.5004024235381879
        held += result.low <= true <= result.high
    assert 0.925 <= held / 600 <= 0.975


@pytest.mark.parametrize(("name", "task"), [("f1_macro", SINGLE), ("f1_macro", MULTI), ("roc_auc_macro", SINGLE)])
def test_score_is_a_function_of_its_seed(name: str, task: str) -> None:
    metric = find_metric(name)
    truth, prediction = draw(metric, task, np.random.default_rng(2), 50, 3)
    assert score(metric, truth, prediction, 5) == score(metric, truth, prediction, 5)
    assert score(metric, truth, prediction, 5) != score(metric, truth, prediction, 6)


def test_resamples_without_a_score_are_left_out() -> None:
    """A third of the resamples lack the only positive."""
    metric, truth = find_metric("roc_auc"), np.array([0, 0, 0, 1])
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.5, 0.5]])
    result = score(metric, truth, probabilities, 0)
    assert result.value == pytest.approx(2 / 3) and 0 <= result.low < result.high <= 1
    none = score(metric, np.zeros(4, np.int64), probabilities, 0)
    assert math.isnan(none.value) and math.isnan(none.low) and math.isnan(none.high)


@pytest.mark.parametrize(("budget", "expected"), [(10**12, RESAMPLES), (50 * 3 * 400, 400), (1, FEWEST_RESAMPLES)])
def test_what_would_take_too_long_is_resampled_less(
    budget: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("competition.scores.BUDGET", budget)
    metric, drawn = find_metric("f1_macro"), 0
    truth, labels = draw(metric, MULTI, np.random.default_rng(6), 50, 3)

    def scorer(truth: np.ndarray, prediction: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        inner = metric.scorer(truth, prediction)

        def count(counts: np.ndarray) -> np.ndarray:
            nonlocal drawn
            drawn += len(counts)
            assert (counts.sum(axis=1) == 50).all()
            return inner(counts)

        return count

    score(Metric("f1_macro", "labels", (MULTI,), True, scorer=scorer), truth, labels, 0)
    assert drawn == expected + 1  # and the samples themselves


def test_score_tells_its_interval() -> None:
    result = score(find_metric("accuracy"), np.zeros(2000, np.int64), np.zeros(2000, np.int64), 0)
    assert str(result) == "1.0000 (95 % interval 1.0000 to 1.0000, n = 2,000)"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (Score(1.2e-5, 1.1e-5, 1.34567e-5, 100), "1.2e-05 (95 % interval 1.1e-05 to 1.346e-05, n = 100)"),
        (Score(0.000987654, 0.0, 0.00099, 100), "0.0009877 (95 % interval 0 to 0.00099, n = 100)"),
        (Score(0.9, 0.00044, 1.0, 2), "0.9000 (95 % interval 0.0004 to 1.0000, n = 2)"),
        (Score(0.00044, -0.0012, 0.0021, 1000), "0.0004 (95 % interval -0.0012 to 0.0021, n = 1,000)"),
        (Score(0.0, 0.0, 0.0, 5), "0.0000 (95 % interval 0.0000 to 0.0000, n = 5)"),
        (Score(math.nan, math.nan, math.nan, 5), "nan (95 % interval nan to nan, n = 5)"),
    ],
)
def test_small_scores_show_their_digits(given: Score, told: str) -> None:
    """Unless their interval reaches what four decimals show."""
    assert str(given) == told


def test_small_scores_keep_their_digits_in_the_metrics() -> None:
    from competition.stages.train import _metrics

    training_set: Any = SimpleNamespace(contract={"metric": "rmse"})
    results = {"pooled": Score(1.23456789e-5, 0.0, 0.123456789, 9), "fold 0": Score(0.00123456789, -1e-9, math.nan, 9)}
    assert _metrics(training_set, results) == {
        "pooled": {"rmse": 1.23457e-5, "low": 0.0, "high": 0.123457, "n": 9},
        "fold 0": {"rmse": 0.001235, "low": -1e-9, "high": None, "n": 9},
    }
