"""A fit that was killed goes on to the same last bit."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from competition import backend, checkpoints, fitting
from competition.batches import EpochBatches, TrainingSet
from competition.layout import ENV, HYPERPARAMETERS
from competition.models import FAMILIES
from competition.params import AugmentParams
from competition.recipes import Recipe
from competition.stages.augment import augment
from competition.stages.prepare import prepare
from competition.stages.train import train
from tests.conftest import data_params, gala, prepare_params, write_folder
from tests.test_fitting import recipe, training_set  # noqa: F401  (a fixture)
from tests.test_training import thaw

EVERYTHING = {
    "model__block_dropout": 0.2, "model__dense_layers": 1, "model__dense_units": 8, "train__epochs": 5,
    "train__alternating_flip": True, "train__warmup_epochs": 1.5,
}  # fmt: skip


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


def fit(params: Recipe, training_set: TrainingSet, state: Path | None, kill_after: int = -1) -> fitting.Fitted | None:  # noqa: F811
    def on_epoch(epoch: fitting.Epoch) -> None:
        if epoch.epoch == kill_after:
            raise Killed

    try:
        return fitting.fit(params, training_set, fold=0, seed=1, state=state, on_epoch=on_epoch)
    except Killed:
        return None


def same(one: fitting.Fitted | None, other: fitting.Fitted | None) -> bool:
    assert one and other
    weights = zip(one.model.get_weights(), other.model.get_weights(), strict=True)
    return (
        all(left.tobytes() == right.tobytes() for left, right in weights)
        and one.probabilities.tobytes() == other.probabilities.tobytes()
        and (one.history, one.kept) == (other.history, other.kept)
    )


def survives(params: Recipe, training_set: TrainingSet, state: Path) -> bool:  # noqa: F811
    """Tell whether a fit that is killed in two epochs and run again comes to what an untouched one comes to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "SAVE_SHARE", math.inf)
        untouched = fit(params, training_set, None)
        assert fit(params, training_set, state, kill_after=1) is None
        assert fit(params, training_set, state, kill_after=3) is None
        trained = len(checkpoints.read_facts(state)["history"])
        assert trained == 3  # the state of the epoch that was under way when it was killed is not there
        return same(fit(params, training_set, state), untouched)


@pytest.mark.parametrize(
    "changed",
    [
        {"train__optimizer": "adam", "train__lookahead": 0.5},
        {"train__optimizer": "sgd", "train__schedule": "triangular", "train__norm_bias_rate": 8.0},
        {"train__optimizer": "rmsprop", "train__average_decay": 0.9},
        {"train__optimizer": "lion", "train__precision": "bfloat16", "train__weight_decay": 0.1},
        {"train__optimizer": "adamw", "train__precision": "float16", "train__average_decay": 0.9},
        {"train__optimizer": "muon", "train__patience_epochs": 2, "train__epochs": 8},
    ],
    ids=lambda changed: changed["train__optimizer"],
)
def test_killed_after_any_epoch(
    changed: dict[str, object],
    training_set: TrainingSet,  # noqa: F811
    tmp_path: Path,
) -> None:
    assert survives(recipe(**{**EVERYTHING, **changed}), training_set, tmp_path)


def test_killed_before_and_after_layers_thaw(
    training_set: TrainingSet,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Right before, and an epoch after the new optimizer was begun; both in the midst of an accumulation."""
    changed = {
        "train__epochs": 4, "train__optimizer": "muon", "train__precision": "float16", "train__accumulate_batches": 4,
        "train__average_decay": 0.9, "train__lookahead": 0.5, "train__schedule_by": "epoch", "train__warmup_epochs": 2,
    }  # fmt: skip
    thaw(monkeypatch)
    assert survives(recipe(**changed), training_set, tmp_path)


def test_killed_while_images_grow(training_set: TrainingSet, tmp_path: Path) -> None:  # noqa: F811
    """And with all that batches may be made of."""
    changed = {
        "train__epochs": 5, "train__start_size": 0.9, "train__alternating_flip": True, "train__mixup": 1.0,
        "train__cutmix": 1.0, "train__sampling": "balanced", "train__class_weights": "balanced",
    }  # fmt: skip
    speednet = FAMILIES["speednet"].schema(family="speednet", widths=(8,), convs_per_group=1)
    assert survives(Recipe(model=speednet, train=recipe(**changed).train), training_set, tmp_path)


def test_killed_between_two_sizes_of_images(training_set: TrainingSet, tmp_path: Path) -> None:  # noqa: F811
    """TensorFlow would make one step for all sizes that it has seen, which has other bits than that of one."""
    resnet = FAMILIES["resnet"].schema(family="resnet", stem_filters=4, filters=(4,), blocks_per_group=1, dropout=0.0)
    changed = {"train__epochs": 6, "train__start_size": 0.5, "train__precision": "float32"}
    assert survives(Recipe(model=resnet, train=recipe(**changed).train), training_set, tmp_path)


def test_what_has_ended_is_not_trained_again(
    training_set: TrainingSet,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    params = recipe(train__epochs=4, train__patience_epochs=1)
    first = fit(params, training_set, tmp_path)
    monkeypatch.setattr(fitting._Trainer, "epoch", lambda *arguments: pytest.fail("it trained"))
    assert same(fit(params, training_set, tmp_path), first)


def test_it_goes_on_from_the_last_save_however_old(
    training_set: TrainingSet,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "SAVE_SHARE", 1e-9)
    params = recipe(**EVERYTHING)
    untouched = fit(params, training_set, None)
    fit(params, training_set, tmp_path, kill_after=3)
    assert len(checkpoints.read_facts(tmp_path)["history"]) == 1  # a second save would have been too dear
    assert same(fit(params, training_set, tmp_path), untouched)


def test_the_seconds_of_what_was_found_are_told(training_set: TrainingSet, tmp_path: Path) -> None:  # noqa: F811
    params, options = recipe(train__epochs=3), {"fold": 0, "seed": 1, "state": tmp_path}
    saved = [0.0]
    for until in (1, 2, 3):
        assert fitting.fit(params, training_set, **options, until=until).seconds_before == saved[-1]
        saved.append(checkpoints.read_facts(tmp_path)["seconds"])
    assert saved == sorted(set(saved))


def test_the_seconds_of_a_fold_are_those_of_all_its_seeds_and_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, out = write_folder(tmp_path / "raw", gala()), tmp_path / "train"
    folders = {"prepared": tmp_path / "prepare", "augmented": tmp_path / "augment", "tuned": tmp_path / "tune"}
    prepare(prepare_params(), data_params(raw), out=folders["prepared"], seed=1)
    augment(AugmentParams(views=0, policy=()), prepared=folders["prepared"], out=folders["augmented"], seed=1)
    write_folder(folders["tuned"], {HYPERPARAMETERS: b"{}"})
    original = fitting.fit

    def go_on(*arguments: Any, **options: Any) -> fitting.Fitted:
        return dataclasses.replace(original(*arguments, **options), seconds_before=1000)

    monkeypatch.setattr(fitting, "fit", go_on)
    params = recipe(train__epochs=1, train__seeds=2, train__folds=2, train__batch_size=2)
    train(params, **folders, out=out, state=tmp_path / "state", seed=1, threads=2)
    seconds = json.loads((out / ENV).read_text())["fold_seconds"]
    assert [int(each // 1000) for each in seconds.values()] == [2, 2]


def test_until_is_a_part_of_the_whole(training_set: TrainingSet, tmp_path: Path) -> None:  # noqa: F811
    """Stopped and continued, as hyperband does, it is the fit that was never stopped."""
    params = recipe(**EVERYTHING)
    untouched = fit(params, training_set, None)
    part = fitting.fit(params, training_set, fold=0, seed=1, state=tmp_path, until=2)
    assert part.history == untouched.history[:2]
    assert same(fit(params, training_set, tmp_path), untouched)


def test_a_state_beyond_until_is_begun_anew(training_set: TrainingSet, tmp_path: Path) -> None:  # noqa: F811
    """As that of a refit is, where more folds have been trained since, and kept earlier epochs."""
    params = recipe(**EVERYTHING)
    options = {"fold": 0, "seed": 1}
    _, part = (fitting.fit(params, training_set, **options, state=tmp_path, until=until) for until in (3, 2))
    assert same(part, fitting.fit(params, training_set, **options, until=2))


def test_dropout_differs_by_epoch_and_repeats() -> None:
    """Fails when Keras renames the private attributes by which generators are found."""
    backend.start(2)
    import keras

    model = keras.Sequential([keras.layers.Input((1000,)), keras.layers.Dropout(0.5)])
    dropped = []
    for epoch in (0, 1, 0):
        checkpoints.seed_generators(model, 7, epoch)
        dropped.append(np.asarray(model(np.ones((1, 1000)), training=True)))
    assert (dropped[0] == dropped[2]).all()
    assert 0.3 < np.mean(dropped[0] != dropped[1]) < 0.7


def test_a_fraction_of_the_samples(training_set: TrainingSet) -> None:  # noqa: F811
    seen = []
    fit_on = dataclasses.replace(training_set, images=np.array(training_set.images))
    original = EpochBatches.__init__

    def spy(self: EpochBatches, a: TrainingSet, samples: np.ndarray, *rest: object) -> None:
        seen.append(samples)
        original(self, a, samples, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EpochBatches, "__init__", spy)
        for fraction in (0.2, 0.2, 1.0):
            fitting.fit(recipe(train__epochs=1), fit_on, fold=0, seed=1, fraction=fraction)
    assert len(seen[0]) == 30
    assert (seen[0] == seen[1]).all()
    assert set(seen[0]) < set(seen[2])
    assert len(seen[2]) == 150


def test_every_image_is_mirrored_in_every_second_epoch(training_set: TrainingSet) -> None:  # noqa: F811
    samples = np.arange(200)
    params = [recipe(train__batch_size=200, train__alternating_flip=flip).train for flip in (False, True)]
    plain, flipped = (EpochBatches(training_set, samples, each, seed=3) for each in params)
    mirrored = []
    for epoch in range(4):
        plain.begin(epoch)
        flipped.begin(epoch)
        was, images = plain[0][0], flipped[0][0]
        as_is, mirror = ((images == other).all(axis=(1, 2, 3)) for other in (was, was[:, :, ::-1]))
        assert (as_is ^ mirror).all()
        order = np.argsort(plain._order)
        mirrored.append(mirror[order])
    assert (mirrored[0] != mirrored[1]).all()
    assert (mirrored[0] == mirrored[2]).all()
    assert 0.35 < mirrored[0].mean() < 0.65


def test_average_of_weights_is_validated_and_kept(training_set: TrainingSet) -> None:  # noqa: F811
    from competition.inference import predict

    raw, averaged = (fit(recipe(train__average_decay=decay), training_set, None) for decay in (0.0, 0.95))
    assert raw and averaged
    assert not same(raw, averaged)
    held = training_set.rows[training_set.folds == 0]
    again = predict(averaged.model, training_set.target, training_set.images, held)
    np.testing.assert_array_equal(again, averaged.probabilities)


@pytest.mark.parametrize("thaws", [False, True])
def test_the_average_is_that_of_all_steps(
    training_set: TrainingSet,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    thaws: bool,
) -> None:
    """Also of what batch normalisation has seen; worked out again from the weights after each step."""
    if thaws:  # they are those of two optimizers
        thaw(monkeypatch)
    after: list[list[np.ndarray]] = []
    original = fitting._Trainer._average_statistics

    def spy(trainer: fitting._Trainer) -> None:
        after.append(trainer.model.get_weights())
        original(trainer)

    monkeypatch.setattr(fitting._Trainer, "_average_statistics", spy)
    averaged = fit(recipe(train__average_decay=0.9, train__precision="float32"), training_set, None)
    assert averaged
    expected = after[0]
    for done, weights in enumerate(after[1:], 1):
        share = min(0.9, done / (9 + done))
        expected = [share * old + (1 - share) * new for old, new in zip(expected, weights, strict=True)]
    for variable, kept, average, last in zip(
        averaged.model.weights, averaged.model.get_weights(), expected, after[-1], strict=True
    ):
        np.testing.assert_allclose(kept, average, atol=1e-5, err_msg=variable.path)
        assert np.abs(kept - last).max() > 5e-5, variable.path


def test_the_biases_of_normalisation_have_a_rate_of_their_own(training_set: TrainingSet) -> None:  # noqa: F811
    changed = {"train__optimizer": "sgd", "train__momentum": 0.0, "train__epochs": 1, "train__learning_rate": 1e-4}
    moved = []
    for rate in (1.0, 64.0):
        fitted = fit(recipe(**changed, train__norm_bias_rate=rate, train__precision="float32"), training_set, None)
        assert fitted
        moved.append(np.abs(fitted.model.get_layer("batch_normalization").beta).max())
    assert moved[1] / moved[0] == pytest.approx(64, rel=0.1)
