"""The search with a fake model: a known function instead of training."""

import math

import numpy as np
import pytest

from competition.params import Range, TuneParams
from competition.search.outcomes import FailedTrialError, Trial, Values
from competition.search.space import hyperparameters
from competition.search.trials import best, search

SPACE = {
    "model.filters": Range(choice=(16, 32, 64)),
    "model.dense_layers": Range(int=(0, 3)),
    "model.dense_dropout": Range(float=(0.0, 0.5), step=0.1, when={"model.dense_layers": (2, 3)}),
    "train.learning_rate": Range(float=(1e-4, 1e-1), sampling="log"),
}


def params(tuner: str, trials: int, space: dict[str, Range] = SPACE) -> TuneParams:
    return TuneParams(tuner=tuner, max_trials=trials, epochs=1, fold=0, space=space)


def known(values: Values) -> float:
    """Be best, with 1, at 64 filters and a learning rate of 0.01."""
    return 1 - 0.1 * (math.log10(values["train.learning_rate"]) + 2) ** 2 - (64 - values["model.filters"]) / 200


@pytest.mark.parametrize("tuner", ["random", "bayesian"])
def test_a_search_repeats_and_stays_in_its_space(tuner: str) -> None:
    first, again, other = (search(params(tuner, 8), known, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert [trial.number for trial in first] == list(range(1, 9))
    for trial in first:
        assert trial.values["model.filters"] in (16, 32, 64)
        assert 1e-4 <= trial.values["train.learning_rate"] <= 1e-1
        assert ("model.dense_dropout" in trial.values) == (trial.values["model.dense_layers"] >= 2)
        assert trial.values.get("model.dense_dropout", 0.0) in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


def test_bayesian_learns_from_its_trials() -> None:
    """Over three seeds its later trials are better than its first five, which were drawn at random."""
    gains = []
    for seed in (1, 2, 3):
        scores = [trial.score for trial in search(params("bayesian", 13), known, seed=seed)]
        gains.append(np.mean(scores[8:]) - np.mean(scores[:5]))
    assert np.mean(gains) > 0.05


@pytest.mark.parametrize("tuner", ["random", "bayesian"])
def test_failed_trials_are_recorded_and_the_search_goes_on(tuner: str) -> None:
    def fragile(values: Values) -> float:
        if values["model.filters"] == 64:
            raise FailedTrialError("ValueError: negative dimension")
        return known(values)

    trials = search(params(tuner, 10), fragile, seed=3)
    assert len(trials) == 10
    failed = [trial for trial in trials if trial.values["model.filters"] == 64]
    assert failed
    assert all(trial.score is None and trial.reason == "ValueError: negative dimension" for trial in failed)
    assert best(trials).score == max(trial.score for trial in trials if trial.score is not None)


def test_all_trials_may_fail() -> None:
    def broken(values: Values) -> float:
        raise FailedTrialError("no")

    trials = search(params("random", 5), broken, seed=1)
    assert len(trials) == 5
    assert best(trials) is None


def test_other_errors_end_the_search() -> None:
    def full(values: Values) -> float:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        search(params("random", 5), full, seed=1)


@pytest.mark.parametrize("tuner", ["random", "bayesian"])
def test_a_point_is_tried_once(tuner: str) -> None:
    tried = []

    def count(values: Values) -> float:
        tried.append(tuple(values.items()))
        return float(values["model.filters"])

    trials = search(params(tuner, 8, {"model.filters": Range(choice=(16, 32, 64))}), count, seed=1)
    assert len(tried) == len(set(tried)) <= 3
    first_of = {}
    for trial in trials:
        first = first_of.setdefault(trial.values["model.filters"], trial.number)
        assert trial.reason == ("" if first == trial.number else f"repeats trial {first}")
    assert best(trials).values == {"model.filters": 64}


def test_best_is_the_earliest_of_equals() -> None:
    trials = [Trial(1, {}, 0.5, ""), Trial(2, {}, 0.9, ""), Trial(3, {}, None, "x"), Trial(4, {}, 0.9, "")]
    assert best(trials).number == 2


def test_conditions_may_hang_on_conditions() -> None:
    space = {
        "a": Range(choice=(1, 2)),
        "b": Range(choice=(1, 2), when={"a": (2,)}),
        "c": Range(choice=(1, 2), when={"b": (2,)}),
    }
    hp = hyperparameters(space)
    assert [entry.name for entry in hp.space] == ["a", "b", "c"]
    for trial in search(params("random", 6, space), lambda values: 1.0, seed=1):
        assert ("c" in trial.values) == (trial.values.get("b") == 2)
