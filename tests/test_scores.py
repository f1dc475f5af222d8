"""Metrics equal scikit-learn's; intervals cover what they say."""

import numpy as np
import pytest
from sklearn import metrics

from competition.scores import METRICS, log_loss, score

SKLEARN = {
    "accuracy": metrics.accuracy_score,
    "f1_macro": lambda truth, predicted: metrics.f1_score(truth, predicted, average="macro"),
    "f1_weighted": lambda truth, predicted: metrics.f1_score(truth, predicted, average="weighted"),
}


@pytest.mark.parametrize("metric", list(METRICS))
def test_equal_to_scikit_learn(metric: str) -> None:
    rng = np.random.default_rng(0)
    for case in range(200):
        classes = int(rng.integers(2, 12))
        truth, predicted = rng.integers(0, classes, (2, int(rng.integers(1, 60))))
        expected = SKLEARN[metric](truth, predicted)
        assert METRICS[metric](truth, predicted, classes) == pytest.approx(expected, abs=1e-12), case


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of 300 samples of 200 with a true accuracy of 0.8, about 95 % of the intervals hold 0.8."""
    rng = np.random.default_rng(1)
    held = 0
    for number in range(300):
        predicted = (rng.random(200) > 0.8).astype(np.int64)
        result = score("accuracy", np.zeros(200, np.int64), predicted, 2, seed=number)
        held += result.low <= 0.8 <= result.high
    assert 0.91 <= held / 300 <= 0.98


def test_score_is_a_function_of_its_seed() -> None:
    truth, predicted = np.random.default_rng(2).integers(0, 3, (2, 50))
    assert score("f1_macro", truth, predicted, 3, 5) == score("f1_macro", truth, predicted, 3, 5)
    assert score("f1_macro", truth, predicted, 3, 5) != score("f1_macro", truth, predicted, 3, 6)


def test_log_loss_equals_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet(np.ones(4), 30).astype(np.float32)
    truth = rng.integers(0, 4, 30)
    assert log_loss(truth, probabilities) == pytest.approx(
        metrics.log_loss(truth, probabilities, labels=range(4)), rel=1e-5
    )


def test_counts_stand_for_repeated_samples() -> None:
    rng = np.random.default_rng(4)
    truth, predicted, counts = rng.integers(0, 5, 40), rng.integers(0, 5, 40), rng.integers(0, 4, 40)
    for function in METRICS.values():
        repeated = function(np.repeat(truth, counts), np.repeat(predicted, counts), 5)
        assert function(truth, predicted, 5, counts) == pytest.approx(repeated, abs=1e-12)
