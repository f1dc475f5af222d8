"""Decisions gain where the plain one is wrong, on samples they were not fitted on, and nowhere else."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from competition import decisions
from competition.decisions import Decision, apply, cross_fit, fit, plain
from competition.scores import Metric, find_metric
from competition.tasks import Target

Data = tuple[np.ndarray, np.ndarray]


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def imbalanced(rng: np.random.Generator, n: int = 3000, k: int = 5) -> Data:
    """Calibrated probabilities of classes from frequent to rare: the most probable class is seldom a rare one."""
    prior = 4.0 ** -np.arange(k)
    prior /= prior.sum()
    truth = rng.choice(k, n, p=prior)
    logits = rng.normal(size=(n, k)) + np.log(prior)
    logits[np.arange(n), truth] += 1
    return truth, softmax(logits)


def rare_labels(rng: np.random.Generator, n: int = 3000, k: int = 4) -> Data:
    """Calibrated probabilities that seldom reach one half."""
    seen = rng.normal(size=(n, k))
    probabilities = 1 / (1 + np.exp(2.5 + 0.3 * np.arange(k) - 1.5 * seen))
    return (rng.random((n, k)) < probabilities).astype(np.uint8), probabilities.astype(np.float32)


def skewed_grades(rng: np.random.Generator, n: int = 3000, k: int = 5) -> Data:
    """Grades of which most are 0, predicted halfway to the middle."""
    truth = np.minimum(rng.geometric(0.5, n) - 1, k - 1)
    centre = 1 + 0.5 * truth + 0.3 * rng.normal(size=n)
    return truth, softmax(-((np.arange(k) - centre[:, None]) ** 2))


def overconfident(rng: np.random.Generator, n: int = 3000, k: int = 4) -> Data:
    """Always surely one class, right in nine of ten."""
    truth = rng.integers(0, k, n)
    claimed = np.where(rng.random(n) < 0.9, truth, rng.integers(0, k, n))
    return truth, np.where(claimed[:, None] == np.arange(k), 1, 0).astype(np.float32)


def overconfident_labels(rng: np.random.Generator) -> Data:
    truth, probabilities = overconfident(rng)
    return np.eye(4, dtype=np.uint8)[truth], probabilities


CASES = {
    "multipliers, macro": ("f1_macro", "multiclass", imbalanced, "multipliers", 0.02),
    "multipliers, weighted": ("f1_weighted", "ordinal", imbalanced, "multipliers", 0.005),
    "thresholds, macro": ("f1_macro", "multilabel", rare_labels, "thresholds", 0.1),
    "thresholds, weighted": ("f1_weighted", "multilabel", rare_labels, "thresholds", 0.1),
    "thresholds, micro": ("f1_micro", "multilabel", rare_labels, "thresholds", 0.1),
    "thresholds, f2 samples": ("f2_samples", "multilabel", rare_labels, "thresholds", 0.1),
    "cuts": ("quadratic_kappa", "ordinal", skewed_grades, "cuts", 0.1),
    "clip": ("log_loss", "multiclass", overconfident, "clip", -0.5),
    "clip, multilabel": ("log_loss", "multilabel", overconfident_labels, "clip", -0.5),
}


@pytest.mark.parametrize("case", CASES)
def test_gains_on_new_samples_where_the_plain_decision_is_wrong(case: str) -> None:
    name, task, make, kind, least = CASES[case]
    metric, rng = find_metric(name), np.random.default_rng(0)
    fitted = fit(metric, task, *make(rng))
    truth, probabilities = make(rng)
    unfitted = plain(metric, task, probabilities.shape[1])
    assert fitted.kind == unfitted.kind == kind and len(fitted.values) == len(unfitted.values)
    before, after = (metric(truth, apply(decision, task, probabilities)) for decision in (unfitted, fitted))
    assert abs(after - before) > abs(least) and metric.better(after, before)


def test_subset_accuracy_is_fitted_by_thresholds() -> None:
    """Scores of which each class has its own scale."""
    metric, rng = find_metric("accuracy"), np.random.default_rng(0)
    truth = (rng.random((2000, 3)) < 0.5).astype(np.uint8)
    probabilities = np.clip((0.25 + 0.5 * truth + 0.1 * rng.normal(size=truth.shape)) * [0.3, 0.6, 1], 0, 1)
    fitted = fit(metric, "multilabel", truth[::2], probabilities[::2].astype(np.float32))
    assert metric(truth[1::2], apply(fitted, "multilabel", probabilities[1::2])) > 0.95


NOISE = {
    "multipliers": ("f1_macro", "multiclass", 0.005),
    "thresholds": ("accuracy", "multilabel", 0.01),
    "cuts": ("quadratic_kappa", "ordinal", 0.01),
}


@pytest.mark.parametrize("kind", NOISE)
def test_noise_shows_a_gain_in_sample_but_none_when_cross_fitted(kind: str) -> None:
    name, task, least = NOISE[kind]
    metric, rng = find_metric(name), np.random.default_rng(0)
    gains = []
    for _ in range(30):
        truth = rng.integers(0, 2, (300, 4)).astype(np.uint8) if task == "multilabel" else rng.integers(0, 4, 300)
        logits = rng.normal(size=(300, 4))
        probabilities = (1 / (1 + np.exp(-logits))).astype(np.float32) if task == "multilabel" else softmax(logits)
        unfitted, fitted = plain(metric, task, 4), fit(metric, task, truth, probabilities)
        assert fitted.kind == kind
        crossed = cross_fit(metric, task, truth, probabilities, rng.integers(0, 5, 300), False)
        before = metric(truth, apply(unfitted, task, probabilities))
        gains.append([metric(truth, apply(fitted, task, probabilities)) - before, metric(truth, crossed) - before])
    in_sample, honest = np.mean(gains, axis=0)
    error = np.std(gains, axis=0)[1] / np.sqrt(len(gains))
    assert in_sample > least + 3 * error
    assert honest < 3 * error


@pytest.mark.parametrize(
    ("name", "task", "expected"),
    [
        ("accuracy", "multiclass", Decision("multipliers", (1.0, 1.0, 1.0))),
        ("f1_micro", "ordinal", Decision("multipliers", (1.0, 1.0, 1.0))),
        ("f1_macro", "multiclass", Decision("multipliers", (1.0, 1.0, 1.0))),
        ("f1_macro", "multilabel", Decision("thresholds", (0.5, 0.5, 0.5))),
        ("f2_samples", "multilabel", Decision("thresholds", (0.5, 0.5, 0.5))),
        ("accuracy", "multilabel", Decision("thresholds", (0.5, 0.5, 0.5))),
        ("quadratic_kappa", "ordinal", Decision("cuts", (0.5, 1.5))),
        ("log_loss", "multiclass", Decision("clip", (0.0,))),
        ("log_loss", "multilabel", Decision("clip", (0.0,))),
        ("roc_auc_macro", "multiclass", Decision("none")),
        ("map@3", "multilabel", Decision("none")),
        ("top2_error", "multiclass", Decision("none")),
        ("rmse", "regression", Decision("none")),
    ],
)
def test_fitted_on_perfect_predictions_is_plain(name: str, task: str, expected: Decision) -> None:
    """Any threshold between 0 and 1 would be as good, and so on: equals go to the plain one."""
    truth = np.array([0, 1, 2, 2, 1, 0, 0])
    probabilities = np.eye(3, dtype=np.float32)[truth]
    true = probabilities.astype(np.uint8) if task == "multilabel" else truth
    assert plain(find_metric(name), task, 3) == expected
    assert fit(find_metric(name), task, true, probabilities) == expected


def test_equals_go_to_the_number_nearest_to_the_plain_one() -> None:
    column, true = np.array([[0.1], [0.2], [0.3], [0.4]], np.float32), np.array([[1], [0], [0], [1]], np.uint8)
    # The last sample only, or all: both F1 of 2 / 3, and without the third both accuracies of 2 / 3.
    assert 0.3 < fit(find_metric("f1_macro"), "multilabel", true, column).values[0] < 0.4
    some = [0, 1, 3]
    assert 0.2 < fit(find_metric("accuracy"), "multilabel", true[some], column[some]).values[0] < 0.4
    useful = np.hstack([column, true * 0.8 + 0.1]).astype(np.float32)
    assert fit(find_metric("f1_macro"), "multilabel", np.hstack([true, true]), useful).values[1] == 0.5
    unsure = np.full((4, 1), 0.4, np.float32)
    assert fit(find_metric("log_loss"), "multilabel", true, unsure).values == (0,)


@pytest.mark.parametrize("share", [1e-5, 1e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2])
def test_a_clip_is_the_share_of_what_is_surely_wrong(share: float) -> None:
    """The best that can be said of predictions that are always sure, and wrong in so many."""
    n = 200_000
    truth = np.arange(n) % 2
    claimed = np.where(np.arange(n) < round(share * n), 1 - truth, truth)
    probabilities = np.eye(2, dtype=np.float32)[claimed]
    assert fit(find_metric("log_loss"), "multiclass", truth, probabilities) == Decision("clip", (share,))


def test_a_threshold_may_be_below_all_probabilities() -> None:
    """Where no sample is known that has not the class."""
    column, true = np.array([[0.1], [0.2], [0.3]], np.float32), np.ones((3, 1), np.uint8)
    for name in ("f1_macro", "f1_micro", "f2_samples"):
        assert 0 < fit(find_metric(name), "multilabel", true, column).values[0] < 0.1


def test_one_threshold_for_all_classes_is_tried_first() -> None:
    """Below what is true, wherever that is, by half of it."""
    low, high = np.linspace(0.01, 0.04, 50), np.linspace(0.3, 0.4, 50)
    probabilities = np.stack([[*low, *high], [*high, *low]], axis=1).astype(np.float32)
    truth = (probabilities > 0.1).astype(np.uint8)
    for name in ("f1_micro", "f2_samples", "accuracy"):
        assert decisions._common_threshold(find_metric(name), truth, probabilities) == pytest.approx(0.15)


def test_thresholds_that_help_only_together_are_found() -> None:
    """Both labels or none, every probability below one half."""
    both = np.arange(20) % 2 == 0
    truth = np.stack([both, both], axis=1).astype(np.uint8)
    probabilities = np.where(truth, 0.3, 0.1).astype(np.float32)
    metric = find_metric("accuracy")
    assert metric(truth, apply(fit(metric, "multilabel", truth, probabilities), "multilabel", probabilities)) == 1


def test_cuts_find_the_only_true_class() -> None:
    """Every cut alone leaves kappa at 0: only those that match the shares reach 1."""
    metric, rng = find_metric("quadratic_kappa"), np.random.default_rng(0)
    truth, probabilities = np.full(50, 1), rng.dirichlet(np.ones(3), 50).astype(np.float32)
    assert metric(truth, apply(fit(metric, "ordinal", truth, probabilities), "ordinal", probabilities)) == 1


def test_cuts_of_classes_with_gaps_between_them() -> None:
    """The classes 2, 3 and 10: halfway between the last two is 6.5, and a mistake there costs 49 of those before."""
    unfitted = plain(find_metric("quadratic_kappa", (0, 1, 8)), "ordinal", 3)
    assert unfitted == Decision("cuts", (0.5, 4.5), grades=(0, 1, 8))
    assert Decision.from_json(json.loads(json.dumps(unfitted.to_json()))) == unfitted
    assert "grades" not in plain(find_metric("quadratic_kappa"), "ordinal", 3).to_json()
    assert apply(unfitted, "ordinal", np.array([[0.5, 0, 0.5], [0, 0.4, 0.6], [0.9, 0.1, 0]])).tolist() == [1, 2, 0]


def test_train_scores_and_decides_by_the_grades() -> None:
    import competition.stages.train as stage

    truth, probabilities = skewed_grades(np.random.default_rng(0), 300, 3)
    samples: Any = SimpleNamespace(
        target=Target("ordinal", ("2", "3", "10"), 0, 1, False), truth=truth, folds=np.arange(300) % 3,
        contract={"metric": "quadratic_kappa"},
    )  # fmt: skip
    decision, kept, labels, results = stage._decide(samples, np.arange(300), probabilities, seed=1)
    assert kept and decision.grades == (0, 1, 8)
    grade = np.array([2, 3, 10])
    kappa = cohen_kappa_score(grade[truth], grade[labels], weights="quadratic", labels=range(2, 11))
    assert results["decided"].value == pytest.approx(kappa, abs=1e-12)


@pytest.mark.parametrize("factor", [0.1, 1000])
def test_multipliers_stay_in_their_range(factor: float) -> None:
    metric, rng = find_metric("f1_macro"), np.random.default_rng(0)
    truth, probabilities = imbalanced(rng, 500, 3)
    fitted = fit(metric, "multiclass", truth, (probabilities * [1, 1, factor]).astype(np.float32))
    assert {min(fitted.values), max(fitted.values)} & {0.2, 5.0}
    assert min(fitted.values) >= 0.2 and max(fitted.values) <= 5


def test_plain_decisions() -> None:
    rng = np.random.default_rng(0)
    probabilities = softmax(3 * rng.normal(size=(200, 4)))
    labels = apply(plain(find_metric("f1_macro"), "multiclass", 4), "multiclass", probabilities)
    assert labels.dtype == np.int64 and (labels == probabilities.argmax(axis=1)).all()
    many = apply(plain(find_metric("f1_macro"), "multilabel", 4), "multilabel", probabilities)
    assert many.dtype == np.uint8 and (many == (probabilities >= 0.5)).all()
    assert (apply(plain(find_metric("f1_macro"), "multilabel", 1), "multilabel", np.full((1, 1), 0.5)) == 1).all()
    grades = apply(plain(find_metric("quadratic_kappa"), "ordinal", 4), "ordinal", probabilities)
    assert grades.dtype == np.int64 and (grades == np.rint(probabilities @ np.arange(4.0))).all()
    kept = apply(plain(find_metric("log_loss"), "multiclass", 4), "multiclass", probabilities)
    assert kept.dtype == np.float64 and np.allclose(kept, probabilities, atol=1e-6)
    assert apply(Decision("none"), "multiclass", probabilities) is probabilities
    assert (apply(Decision("none"), "regression", probabilities[:, :1]) == probabilities[:, 0]).all()


def test_apply() -> None:
    probabilities = np.array([[0.6, 0.3, 0.1], [0.1, 0.3, 0.6], [0.0, 1.0, 0.0]], np.float32)
    assert apply(Decision("multipliers", (1, 3, 1)), "multiclass", probabilities).tolist() == [1, 1, 1]
    assert apply(Decision("thresholds", (0.5, 0.35, 0.05)), "multilabel", probabilities).tolist() == [
        [1, 0, 1],
        [0, 0, 1],
        [0, 1, 0],
    ]
    assert apply(Decision("cuts", (0.2, 1.0)), "ordinal", probabilities).tolist() == [1, 2, 2]
    clipped = apply(Decision("clip", (0.2,)), "multilabel", probabilities)
    assert np.allclose(clipped, [[0.6, 0.3, 0.2], [0.2, 0.3, 0.6], [0.2, 0.8, 0.2]])
    rows = apply(Decision("clip", (0.2,)), "multiclass", probabilities)
    assert np.allclose(rows, clipped / clipped.sum(axis=1, keepdims=True))


def test_at_least_one_gives_an_empty_sample_the_class_nearest_to_its_threshold() -> None:
    probabilities = np.array([[0.4, 0.2], [0.1, 0.3], [0.95, 0.4]], np.float32)
    values = (0.9, 0.35)
    assert apply(Decision("thresholds", values), "multilabel", probabilities).tolist() == [[0, 0], [0, 0], [1, 1]]
    decided = apply(Decision("thresholds", values, at_least_one=True), "multilabel", probabilities)
    assert decided.tolist() == [[0, 1], [0, 1], [1, 1]]  # 0.4 / 0.9 < 0.2 / 0.35
    metric, (truth, predicted) = find_metric("f2_samples"), rare_labels(np.random.default_rng(0), 500)
    fitted = fit(metric, "multilabel", truth, predicted, at_least_one=True)
    assert fitted.at_least_one and plain(metric, "multilabel", 4, at_least_one=True).at_least_one
    crossed = cross_fit(metric, "multilabel", truth, predicted, np.arange(500) % 3, at_least_one=True)
    assert crossed.any(axis=1).all()


@pytest.mark.parametrize("name", ["f2_samples", "f1_micro", "accuracy"])
def test_fit_is_better_than_plain_or_plain(name: str) -> None:
    """Also where ``at_least_one``, which the search does not know of, undoes what it found."""
    metric, rng = find_metric(name), np.random.default_rng(0)
    for _ in range(50):
        truth, probabilities = rare_labels(rng, 15, 3)
        fitted, unfitted = fit(metric, "multilabel", truth, probabilities, True), plain(metric, "multilabel", 3, True)
        after, before = (metric(truth, apply(decision, "multilabel", probabilities)) for decision in (fitted, unfitted))
        assert after > before or fitted == unfitted


@pytest.mark.parametrize("case", CASES)
def test_json_round_trip(case: str) -> None:
    name, task, make, _, _ = CASES[case]
    truth, probabilities = make(np.random.default_rng(0), *([] if "multilabel" in case and "clip" in case else [200]))
    decision = fit(find_metric(name), task, truth, probabilities)
    stored = Decision.from_json(json.loads(json.dumps(decision.to_json())))
    assert stored == decision and Decision.from_json(json.loads(json.dumps(Decision("none").to_json()))).values == ()
    assert (apply(stored, task, probabilities) == apply(decision, task, probabilities)).all()


def test_cross_fit_decides_every_part_by_the_others() -> None:
    metric, rng = find_metric("f1_macro"), np.random.default_rng(0)
    truth, probabilities = imbalanced(rng, 600)
    parts = rng.choice([2, 5, 9], 600)
    crossed = cross_fit(metric, "multiclass", truth, probabilities, parts, False)
    for part in (2, 5, 9):
        others = parts != part
        decision = fit(metric, "multiclass", truth[others], probabilities[others])
        assert (crossed[~others] == apply(decision, "multiclass", probabilities[~others])).all()
    with pytest.raises(ValueError, match="one part"):
        cross_fit(metric, "multiclass", truth, probabilities, np.zeros(600, np.int64), False)
    target, values = rng.normal(size=600), rng.normal(size=(600, 1)).astype(np.float32)
    assert (cross_fit(find_metric("rmse"), "regression", target, values, parts, False) == values[:, 0]).all()


# What is tried is counted up from sums, not scored anew: these hold the counting to the metric.


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("f1_macro", "multiclass"),
        ("f1_weighted", "multiclass"),
        ("f1_micro", "multilabel"),
        ("f0.5_micro", "multilabel"),
        ("f2_samples", "multilabel"),
        ("accuracy", "multilabel"),
        ("quadratic_kappa", "ordinal"),
    ],
)
def test_search_climbs_step_by_step_to_the_score_of_its_decision(
    name: str, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric, rng, steps = find_metric(name), np.random.default_rng(0), []
    choose = decisions._choose

    def spy(curve: np.ndarray, splits: np.ndarray, now: float, curve_now: float, plain: float) -> float:
        chosen = choose(curve, splits, now, curve_now, plain)
        steps.append((float(curve_now), float(curve_now if chosen == now else curve.max())))
        return chosen

    monkeypatch.setattr(decisions, "_choose", spy)
    for _ in range(10):
        steps.clear()
        make = {"multiclass": imbalanced, "multilabel": rare_labels, "ordinal": skewed_grades}[task]
        truth, probabilities = make(rng, 200, 6)
        fitted = fit(metric, task, truth, probabilities)
        ends = [after for before, after in steps]
        starts = [before for before, after in steps]
        breaks = sum(abs(end - start) > 1e-9 for end, start in zip(ends[:-1], starts[1:], strict=True))
        assert breaks <= (1 if task == "ordinal" else 0)  # the second climb of the cuts
        assert metric(truth, apply(fitted, task, probabilities)) == pytest.approx(max(ends), abs=1e-9)
        if task != "multilabel":
            assert starts[0] == pytest.approx(metric(truth, apply(plain(metric, task, 6), task, probabilities)))


def brute_force(
    metric: Metric, task: str, truth: np.ndarray, probabilities: np.ndarray, decision: Decision, at: int
) -> float:
    """Return the best score with any other number at one place of a decision."""
    grades = np.array(metric.grades or range(probabilities.shape[1]), np.float64)
    numbers = np.unique(probabilities if task == "multilabel" else (probabilities * grades).sum(axis=1))
    tried = [numbers[0] / 2, *(numbers[:-1] + numbers[1:]) / 2, (numbers[-1] + (1 if task == "multilabel" else 9)) / 2]
    best = -np.inf
    for number in tried:
        values = list(decision.values)
        values[at] = number
        if values == sorted(values) or task == "multilabel":
            best = max(best, metric(truth, apply(replace(decision, values=tuple(values)), task, probabilities)))
    return best


@pytest.mark.parametrize("name", ["f1_macro", "f1_weighted", "f1_micro", "f2_micro", "f2_samples", "accuracy"])
def test_no_other_threshold_of_a_class_is_better(name: str) -> None:
    metric, rng = find_metric(name), np.random.default_rng(0)
    for levels in (5, 1000):
        truth, probabilities = rare_labels(rng, 40, 2)
        probabilities = (np.ceil(probabilities * levels) / levels).astype(np.float32)  # ties, and some 1
        fitted = fit(metric, "multilabel", truth, probabilities)
        assert all(0 < value < 1 for value in fitted.values)
        reached = metric(truth, apply(fitted, "multilabel", probabilities))
        for label in range(2):
            best = brute_force(metric, "multilabel", truth, probabilities, fitted, label)
            assert reached == pytest.approx(best, abs=1e-12)


def test_no_other_cut_is_better() -> None:
    rng = np.random.default_rng(0)
    for grades in ((0, 1), (0, 1, 2, 3), (0, 1, 8), (0, 3, 4, 9)):
        metric, k = find_metric("quadratic_kappa", grades), len(grades)
        truth, probabilities = skewed_grades(rng, 60, k)
        fitted = fit(metric, "ordinal", truth, probabilities)
        assert list(fitted.values) == sorted(fitted.values)
        reached = metric(truth, apply(fitted, "ordinal", probabilities))
        for number in range(k - 1):
            best = brute_force(metric, "ordinal", truth, probabilities, fitted, number)
            assert reached == pytest.approx(best, abs=1e-12)


def test_multipliers_are_the_best_of_two_classes_within_their_range() -> None:
    metric, rng = find_metric("f1_macro"), np.random.default_rng(0)
    for _ in range(5):
        truth, probabilities = imbalanced(rng, 500, 2)
        fitted = fit(metric, "multiclass", truth, probabilities)
        assert all(0.2 <= value <= 5 for value in fitted.values)
        tried = [Decision("multipliers", (1.0, float(value))) for value in np.geomspace(1 / 25, 25, 400)]
        best = max(metric(truth, apply(decision, "multiclass", probabilities)) for decision in tried)
        assert metric(truth, apply(fitted, "multiclass", probabilities)) > best - 0.02


def test_fit_is_deterministic_and_bears_missing_classes() -> None:
    rng = np.random.default_rng(0)
    truth, probabilities = imbalanced(rng, 100, 8)
    truth = np.minimum(truth, 1)
    for name in ("f1_macro", "quadratic_kappa", "log_loss"):
        decision = fit(find_metric(name), "ordinal", truth, probabilities)
        assert decision == fit(find_metric(name), "ordinal", truth, probabilities)
    for name in ("f1_macro", "f1_micro", "f1_samples"):
        nothing = np.zeros((100, 8), np.uint8)
        assert fit(find_metric(name), "multilabel", nothing, probabilities).values == (0.5,) * 8


def test_a_mistake_is_shown_with_the_probability_of_what_was_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Multipliers may decide a class that is not the likeliest."""
    import competition.stages.train as stage

    target = Target("multiclass", ("a", "b"), 0, 1, False)
    table = pd.DataFrame({"sample_id": ["1", "2", "3"], "label": ["a", "b", "a"], "predicted": ["b", "a", "a"],
                          "p_a": [0.6, 0.55, 0.9], "p_b": [0.4, 0.45, 0.1]})  # fmt: skip
    shown: list[str] = []
    monkeypatch.setattr(stage, "write_sheet", lambda path, lines: shown.extend(lines[0].captions))
    samples: Any = SimpleNamespace(
        target=target, truth=np.array([0, 1, 0]), images=np.zeros((3, 8, 8, 1)), rows=range(3)
    )
    stage._mistakes(tmp_path / "mistakes.png", samples, np.arange(3), table)
    assert shown == ["2\nis b\n0.55 a", "1\nis a\n0.40 b"]
