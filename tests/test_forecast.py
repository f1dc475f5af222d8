"""A search is reckoned before it begins; every number here can be checked by hand."""

import time
from typing import Any

import pytest

from competition.models import FAMILIES
from competition.params import Range, TuneParams
from competition.recipes import Recipe
from competition.search.forecast import (
    IMPORT_SECONDS,
    SHARE,
    SMALL_BYTES,
    STEP_SECONDS,
    TRIAL_SECONDS,
    Forecast,
    forecast,
    measure_rate,
)
from competition.tasks import Target
from tests.conftest import shipped_recipe

TARGET = Target("multiclass", tuple("abcdefghij"), 0, 1, False)
RECIPE = shipped_recipe()
SOFTMAX = Recipe(model=FAMILIES["softmax"].schema(family="softmax"), train=RECIPE.train)
RATES = {"train.learning_rate": Range(float=(1e-4, 1e-2), sampling="log")}

# Softmax of 10 x 10 pixels and 10 classes: 1,000 multiply-adds. 800 samples and 200 to validate on: 2,600 passes.
RATE = 5.2e6 / SHARE  # at which that is an epoch of one second
STEPS = 8 * STEP_SECONDS


def params(**changed: Any) -> TuneParams:
    given = {"tuner": "random", "max_trials": 20, "minutes": 0, "epochs": 10, "fraction": 1.0, "fold": 0,
             "prune": False, "finalists": 1, "workers": 1, "space": RATES}  # fmt: skip
    return TuneParams(**{**given, **changed})


def reckon(recipe: Recipe = SOFTMAX, train: dict[str, Any] | None = None, **changed: Any) -> Forecast:
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"batch_size": 100, **(train or {})})})
    found = forecast(params(**changed), recipe, (10, 10, 1), TARGET, 800, 200, RATE)
    assert found
    return found


def test_seconds_are_those_of_the_multiply_adds() -> None:
    found = reckon()
    one = TRIAL_SECONDS + 10 * (1 + STEPS)
    assert found.seconds == found.seconds_low == found.seconds_high == pytest.approx(one)
    assert found.total_seconds == pytest.approx(20 * one + IMPORT_SECONDS)


def test_seconds_follow_the_search() -> None:
    assert reckon(epochs=20).seconds == pytest.approx(TRIAL_SECONDS + 20 * (1 + STEPS))
    half = (3 * 400 + 200) / 2600 + STEPS / 2
    assert reckon(fraction=0.5).seconds == pytest.approx(TRIAL_SECONDS + 10 * half)
    last = reckon(fraction=0.5, finalists=2)
    assert last.finalist_seconds == pytest.approx(TRIAL_SECONDS + 10 * (1 + STEPS))
    assert last.total_seconds == pytest.approx(20 * last.seconds + 2 * last.finalist_seconds + IMPORT_SECONDS)
    two = reckon(workers=2)  # on the same cores
    assert two.seconds == pytest.approx(TRIAL_SECONDS + 10 * (2 + STEPS))
    assert two.total_seconds == pytest.approx(10 * two.seconds + IMPORT_SECONDS)


def test_trials_are_those_that_there_will_be() -> None:
    choices = {"train.learning_rate": Range(choice=(1e-3, 2e-3, 3e-3))}
    assert reckon(space=choices).trials == 3
    assert (reckon(finalists=2).trials, reckon(finalists=2).finalists, reckon().finalists) == (20, 2, 0)
    assert reckon(space=choices, finalists=9).finalists == 3
    late = reckon(minutes=1)
    assert late.trials == 5 and 60 <= late.total_seconds < 75  # the last one begins before the minute is over
    assert reckon(minutes=600).trials == 20


def test_hyperband_trains_few_trials_to_the_end() -> None:
    """Of 9 epochs: 9 trials of 1 epoch, 3 that go on for 2 more, 1 for 6; then 3 of 3, 1 for 6; then 3 of 9."""
    found = reckon(tuner="hyperband", epochs=9, max_trials=13)
    assert found.seconds == pytest.approx(TRIAL_SECONDS + (9 + 6 + 6) / 13 * (1 + STEPS))
    found = reckon(tuner="hyperband", epochs=9, max_trials=17)
    assert found.seconds == pytest.approx(TRIAL_SECONDS + (9 + 6 + 6 + 9 + 6) / 17 * (1 + STEPS))


def test_the_ends_of_the_space_are_told() -> None:
    space = {"model.filters": Range(choice=(16, 4, 64)), "model.dense_layers": Range(int=(0, 2))}
    found = reckon(RECIPE, space=space)
    assert found.seconds_low < found.seconds / 4 and found.seconds * 2 < found.seconds_high
    batches = reckon(space={"train.batch_size": Range(choice=(50, 100, 400))})
    assert batches.seconds_low < batches.seconds < batches.seconds_high  # of small batches there are more


def test_a_trial_is_the_mean_of_the_space() -> None:
    """Not the values that stand, which no trial may have: batches of 100 and 8 steps there, 80 or 2 steps here."""
    space = {"train.batch_size": Range(choice=(10, 400))}
    steps = ((reckon(space=space).seconds - TRIAL_SECONDS) / 10 - 1) / STEP_SECONDS
    assert steps == pytest.approx((80 + 2) / 2, abs=3 * 39 / 8)  # three standard errors of 64 draws


def test_what_cannot_be_built_is_left_out() -> None:
    valid = RECIPE.model_copy(update={"model": RECIPE.model.model_copy(update={"padding": "valid"})})
    found = reckon(valid, space={"model.blocks": Range(int=(1, 3))})  # 10 px have no room for three blocks, or for two
    assert found.seconds == pytest.approx(found.seconds_low)
    assert found.seconds_high == found.seconds_low > TRIAL_SECONDS
    large = valid.model_copy(update={"model": valid.model.model_copy(update={"kernel_px": 11})})
    assert forecast(params(), large, (10, 10, 1), TARGET, 800, 200, RATE) is None


@pytest.mark.parametrize(
    ("train", "copies"),
    [
        ({"optimizer": "adam"}, 3),
        ({"optimizer": "sgd"}, 2),
        ({"optimizer": "lion", "average_decay": 0.9}, 3),
        ({"optimizer": "rmsprop", "patience_epochs": 3}, 3),
    ],
)
def test_bytes_are_those_of_the_states_and_the_predictions(train: dict[str, Any], copies: int) -> None:
    predictions = 200 * 10 * 4
    state = copies * 1010 * 4 + predictions
    rest = 3 * predictions + 20 * SMALL_BYTES
    assert reckon(train=train).bytes == 2 * state + rest  # a state, and the one that is written beside it
    assert reckon(train=train, workers=3).bytes == 6 * state + rest
    assert reckon(train=train, tuner="hyperband").bytes == 21 * state + rest
    assert reckon(train=train, finalists=2).bytes == 2 * state + rest + 2 * (predictions + SMALL_BYTES)


def test_the_text() -> None:
    found = Forecast(20, 0, 1, 12.2, 35.4, 80.4, 100.0, 720, 40_000_000)
    assert str(found) == "at most 20 trials x 35 s (12 s to 80 s) = about 12 min on this CPU; 40.0 MB"
    found = Forecast(20, 3, 4, 120, 400, 9000, 700.0, 6000, 123_456)
    assert str(found) == (
        "at most 20 trials, 4 at a time, x 7 min (2 min to 2.5 h) and 3 finalists x 12 min = about 1.7 h on this CPU; "
        "0.1 MB"
    )


def test_the_rate_is_measured_at_once() -> None:
    start = time.process_time()
    rate = measure_rate(10_000)
    assert 1e8 < rate < 1e15
    measure_rate(1)
    assert time.process_time() - start < 10
