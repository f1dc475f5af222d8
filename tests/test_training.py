"""What the lines of ``train`` do to batches and steps."""

import dataclasses
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from competition import backend, environment, fitting
from competition.batches import EpochBatches, TrainingSet, side_share
from competition.errors import CompetitionError
from competition.mixing import cutmix, mixup
from competition.models import FAMILIES
from competition.optimizers import Muon, average_kept, make_optimizer
from competition.recipes import Recipe
from competition.stages.train import _few_steps
from competition.tasks import Target
from tests.test_fitting import fit, recipe, training_set  # noqa: F401  (a fixture)

IMAGES = np.repeat(np.arange(10, 210, 20, dtype=np.uint8), 64).reshape(10, 8, 8, 1)
TARGETS = np.eye(10, dtype=np.float32)


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_images_and_labels_are_mixed_in_the_same_shares(mix) -> None:
    """Image i has the shade 10 + 20 i, so the mean shade of a mixture tells what it is made of."""
    shares = []
    for seed in range(50):
        images, targets = mix(IMAGES, TARGETS, 1.0, np.random.default_rng(seed))
        assert images.dtype == np.uint8
        np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), targets @ np.arange(10, 210, 20), atol=0.51)
        shares.append(targets.max(axis=1).min())
    assert min(shares) < 0.6 < 0.9 < max(shares)


@pytest.mark.parametrize(
    ("middle", "rows", "columns", "kept"),
    [
        ((4, 8), (2, 6), (4, 12), 0.75),
        ((0, 15), (0, 2), (11, 16), 0.921875),
        ((7, 0), (5, 8), (0, 4), 0.90625),
    ],
)
def test_the_box_of_cutmix_takes_its_share_of_the_picture(
    middle: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int], kept: float
) -> None:
    """Of a quarter half the height and width; at a corner what lies inside counts."""
    middles = iter(middle)
    drawn: Any = SimpleNamespace(
        beta=lambda *alpha: 0.75, permutation=lambda n: np.arange(n)[::-1], integers=lambda end: next(middles)
    )
    images = np.zeros((2, 8, 16, 1), np.uint8)
    images[1] = 200
    mixed, targets = cutmix(images, TARGETS[:2], 1.0, drawn)
    expected = images[0].copy()
    expected[slice(*rows), slice(*columns)] = 200
    np.testing.assert_array_equal(mixed[0], expected)
    np.testing.assert_allclose(targets[:, :2], [[kept, 1 - kept], [1 - kept, kept]])


def test_mixing_is_drawn_anew_for_every_batch_and_repeats(training_set: TrainingSet) -> None:  # noqa: F811
    batches = EpochBatches(training_set, np.arange(200), recipe(train__mixup=1.0, train__cutmix=1.0).train, seed=1)
    seen = []
    for epoch in (0, 1, 0):
        batches.begin(epoch)
        seen.append([float(batches[index][1].max(axis=1).min()) for index in range(4)])
    assert seen[0] == seen[2] != seen[1]
    assert len(set(seen[0])) == 4


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_a_mixed_image_has_the_weight_of_both(training_set: TrainingSet, mix: str) -> None:  # noqa: F811
    """So every class weighs in a batch what it weighed before it was mixed."""
    weights = np.linspace(0, 2, 200, dtype=np.float32)
    own = dataclasses.replace(training_set, weights=weights)
    plain, mixed = (
        EpochBatches(own, np.arange(200), recipe(train__batch_size=100, **changed).train, seed=1)[0]
        for changed in ({}, {f"train__{mix}": 1.0})
    )
    np.testing.assert_allclose(mixed[2] @ mixed[1], plain[2] @ plain[1], rtol=1e-4)
    np.testing.assert_allclose(mixed[1][mixed[2] > 0].sum(axis=1), 1, rtol=1e-4)
    assert (mixed[2] != plain[2]).any()


def test_batches_made_ahead_are_those_asked_for(training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    batches = EpochBatches(training_set, np.arange(200), recipe(train__mixup=1.0).train, seed=1)
    batches.begin(2)
    for ahead, asked in zip(batches, map(batches.__getitem__, range(len(batches))), strict=True):
        for left, right in zip(ahead[:2], asked[:2], strict=True):
            np.testing.assert_array_equal(left, right)
    monkeypatch.setattr(EpochBatches, "_mix", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(batches)


def rare(training_set: TrainingSet) -> TrainingSet:  # noqa: F811
    """One sample in twenty is of the second class."""
    return dataclasses.replace(training_set, truth=(np.arange(200) % 20 == 0).astype(np.int64))


def test_class_weights_make_the_classes_equal(training_set: TrainingSet) -> None:  # noqa: F811
    params = recipe(train__class_weights="balanced", train__batch_size=200).train
    batches = EpochBatches(rare(training_set), np.arange(200), params, seed=1)
    _, targets, weights = batches[0]
    assert weights is not None
    np.testing.assert_allclose(weights @ targets, [100, 100], rtol=1e-5)
    own = dataclasses.replace(rare(training_set), weights=np.where(np.arange(200) % 3 == 0, 30, 90).astype(np.float32))
    both = weights * own.weights
    np.testing.assert_allclose(EpochBatches(own, np.arange(200), params, seed=1)[0][2], both / both.mean(), rtol=1e-6)


def test_weights_count_beside_each_other(training_set: TrainingSet) -> None:  # noqa: F811
    """A hundred times as large, they are the same: the learning rate is not; those that are left out have no say."""
    weights, params = np.linspace(0.5, 1.5, 200).astype(np.float32), recipe(train__batch_size=100).train
    samples = np.arange(100, 200)
    seen = []
    for factor, of_others in ((1, 1), (128, 1), (1, 7)):
        given = factor * np.concatenate([of_others * weights[:100], weights[100:]])
        batches = EpochBatches(dataclasses.replace(training_set, weights=given), samples, params, seed=1)
        seen.append(batches[0][2])
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[0], seen[2])
    np.testing.assert_allclose(seen[0], weights[samples] / weights[samples].mean(), rtol=1e-6)
    none = dataclasses.replace(training_set, weights=np.zeros(200, np.float32))
    with pytest.raises(CompetitionError, match="the weights of all 100 samples to train on are 0, so nothing would be"):
        EpochBatches(none, samples, params, seed=1)


def test_balanced_sampling_draws_every_class_as_often(training_set: TrainingSet) -> None:  # noqa: F811
    shares = []
    for sampling in ("natural", "balanced"):
        params = recipe(train__sampling=sampling, train__batch_size=200).train
        batches = EpochBatches(rare(training_set), np.arange(200), params, seed=1)
        batches.begin(0)
        shares.append(batches[0][1].mean(axis=0)[1])
    assert shares[0] == pytest.approx(0.05)
    assert 0.4 < shares[1] < 0.6


@pytest.mark.parametrize("changed", [{"train__class_weights": "balanced"}, {"train__sampling": "balanced"}])
def test_nothing_is_balanced_without_classes(training_set: TrainingSet, changed: dict[str, str]) -> None:  # noqa: F811
    target = Target("regression", ("value",), 0, 1, False)
    other = dataclasses.replace(training_set, target=target, truth=training_set.truth.astype(np.float64))
    with pytest.raises(CompetitionError, match="the task is regression; set class_weights: none"):
        EpochBatches(other, np.arange(200), recipe(**changed).train, seed=1)


def test_a_long_gradient_is_shortened(training_set: TrainingSet) -> None:  # noqa: F811
    changed = {
        "train__optimizer": "sgd", "train__momentum": 0.0, "train__learning_rate": 1.0, "train__epochs": 1,
        "train__batch_size": 150, "train__schedule": "constant", "train__precision": "float32",
    }  # fmt: skip
    start = fit(recipe(**{**changed, "train__learning_rate": 1e-12}), training_set).model.get_weights()
    trained = fit(recipe(**changed, train__clip_norm=0.001), training_set).model
    steps = zip(trained.weights, start, strict=True)
    moved = [np.asarray(weight) - old for weight, old in steps if "moving" not in weight.path]
    assert np.sqrt(sum((step**2).sum() for step in moved)) == pytest.approx(0.001, rel=0.01)


def test_accumulated_batches_make_one_step(training_set: TrainingSet) -> None:  # noqa: F811
    """Without normalisation, which sees the smaller batches, the mean of gradients is the gradient of the whole."""
    changed = {
        "model__batch_norm": False, "model__block_dropout": 0.0, "train__optimizer": "sgd", "train__momentum": 0.0,
        "train__epochs": 2, "train__schedule": "constant", "train__precision": "float32",
    }  # fmt: skip

    def weights(size: int, batches: int) -> list[np.ndarray]:
        each = {"train__batch_size": size, "train__accumulate_batches": batches}
        return fit(recipe(**changed, **each), training_set).model.get_weights()

    whole, parts, small = weights(150, 1), weights(50, 3), weights(50, 1)
    for left, right in zip(whole, parts, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)
    assert any(np.abs(left - right).max() > 1e-3 for left, right in zip(whole, small, strict=True))


def test_an_epoch_has_a_step(training_set: TrainingSet) -> None:  # noqa: F811
    with pytest.raises(CompetitionError, match=r"accumulate_batches is 4, and an epoch has 3 batches of 50 samples"):
        fit(recipe(train__batch_size=50, train__accumulate_batches=4), training_set)


def test_without_a_fold_all_samples_train(training_set: TrainingSet) -> None:  # noqa: F811
    fitted = fit(recipe(train__epochs=6, train__patience_epochs=1), training_set, fold=None)
    assert len(fitted.history) == 6 == fitted.kept.epoch + 1
    assert np.isnan(fitted.kept.score)
    predicted = np.asarray(fitted.model(training_set.images[training_set.rows])).argmax(axis=1)
    assert (predicted == training_set.truth).mean() > 0.9


def test_the_loss_of_an_epoch_is_the_mean_of_its_batches(training_set: TrainingSet) -> None:  # noqa: F811
    still = {
        "train__optimizer": "sgd", "train__momentum": 0.0, "train__learning_rate": 1e-12, "train__epochs": 1,
        "train__precision": "float32", "model__batch_norm": False, "model__block_dropout": 0.0,
    }  # fmt: skip
    whole, parts = (fit(recipe(**still, train__batch_size=size), training_set).history[0].loss for size in (150, 10))
    assert parts == pytest.approx(whole, rel=1e-5)


def test_a_loss_that_diverged_in_the_last_step_is_told(
    training_set: TrainingSet,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "predict", lambda *arguments: np.full((50, 2), np.nan, np.float32))
    with pytest.raises(CompetitionError, match="the loss became nan in epoch 1 of 3 at a learning rate of"):
        fit(recipe(), training_set)


def thaw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the convolution be frozen in the first epoch, and from then on have half of the learning rate."""

    def rates(model: object, epoch: int, params: object) -> dict[str, float]:
        return {"conv2d": 0.5 * (epoch > 0)}

    monkeypatch.setitem(FAMILIES, "conv", dataclasses.replace(FAMILIES["conv"], rates=rates))


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_layer_that_thaws_begins_with_whole_steps(
    training_set: TrainingSet,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
) -> None:
    """Adam's first one is the learning rate times the share; and it is that of all the batches it is to be of."""
    thaw(monkeypatch)
    kernels: list[np.ndarray] = []
    original = fitting._Trainer._step

    def spy(trainer: fitting._Trainer, batch: tuple[object, ...]) -> float:
        loss = original(trainer, batch)
        kernels.extend(fitting._values([trainer.model.get_layer("conv2d").kernel]))
        return loss

    monkeypatch.setattr(fitting._Trainer, "_step", spy)
    changed = {"train__precision": precision, "train__accumulate_batches": 2, "train__epochs": 2}
    fit(recipe(**changed, train__schedule="constant"), training_set)
    moved = [np.abs(new - old).max() for old, new in pairwise(kernels)]
    assert moved[:9] == [0] * 9  # there are nine batches of an epoch, so the tenth is the first of a new group
    assert moved[9] == pytest.approx(0.01 * 0.5, rel=0.02)
    assert moved[10] == 0 < moved[11]


def test_what_follows_the_time_goes_on_with_a_new_optimizer(
    training_set: TrainingSet,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The schedule, and by what share `lookahead` takes the weights back."""
    taken: list[float] = []
    original = fitting._Trainer._look_back

    def spy(trainer: fitting._Trainer, before: list[np.ndarray]) -> list[np.ndarray]:
        held = fitting._values(trainer._held())
        values = original(trainer, before)
        taken.append(np.abs(values[-1] - held[-1]).max() / np.abs(before[-1] - held[-1]).max())
        return values

    thaw(monkeypatch)
    monkeypatch.setattr(fitting._Trainer, "_look_back", spy)
    changed = {"train__epochs": 4, "train__warmup_epochs": 1.5}
    for unit in ("step", "epoch"):
        params = recipe(**changed, train__schedule_by=unit, train__lookahead=0.8)
        of_one = make_optimizer(params.train, 9)._learning_rate
        assert [epoch.learning_rate for epoch in fit(params, training_set).history] == [
            float(of_one(9 * epoch)) for epoch in range(4)
        ]
    done = np.array([9 * epoch + step for epoch in range(4) for step in (5, 9)]) / 36
    np.testing.assert_allclose(taken, [*0.8 * done**3] * 2, rtol=0.01)


def test_averages_outlive_a_new_optimizer(training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """A layer that thaws is averaged from what it was, not from 0; the others from the averages they had."""
    thaw(monkeypatch)
    begin = fitting._Trainer.begin
    seen: list[dict[str, np.ndarray]] = []

    def averages(trainer: fitting._Trainer) -> dict[str, np.ndarray]:
        held = {variable.path: variable for variable in trainer.model.trainable_variables}
        return {path: fitting.backend.value(each) for path, each in {**held, **trainer._averages()}.items()}

    def spy(trainer: fitting._Trainer, epoch: int) -> None:
        if epoch == 1:
            weights = {each.path: fitting.backend.value(each) for each in trainer.model.trainable_variables}
            for layer in trainer.model.layers:
                weights.update({each.path: fitting.backend.value(each) for each in layer.variables})
            seen.append({**weights, **averages(trainer)})
        begin(trainer, epoch)
        if epoch == 1:
            seen.append(averages(trainer))

    monkeypatch.setattr(fitting._Trainer, "begin", spy)
    fit(recipe(train__average_decay=0.99, train__epochs=2), training_set)
    before, after = seen
    assert len(after) > 4
    for path, average in after.items():
        np.testing.assert_array_equal(average, before[path], err_msg=path)


@pytest.mark.parametrize(("done", "kept"), [(0, 0.0), (91, 0.91), (9000, 0.99)])
def test_averages_are_of_the_last_tenth_while_batches_are_few(done: int, kept: float) -> None:
    """Also after those of another optimizer."""
    import keras

    assert average_kept(0.99, done) == pytest.approx(kept)
    params = recipe(train__average_decay=0.99, train__learning_rate=1e-9).train
    variable = keras.Variable(np.ones((2, 2), np.float32))
    optimizer = make_optimizer(params, 100, steps_before=done)
    optimizer.build([variable])
    (average,) = optimizer._model_variables_moving_average
    average.assign(np.full((2, 2), 2, np.float32))
    optimizer.apply([np.zeros((2, 2), np.float32)], [variable])
    np.testing.assert_allclose(average, 1 + kept, rtol=1e-5)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"epochs": 24, "batch_size": 20}, "24 epochs of 90 samples in batches of 20 are 96 steps"),
        ({"epochs": 25, "batch_size": 20}, ""),
        ({"epochs": 99, "batch_size": 1024}, "99 epochs of 90 samples in batches of 90 are 99 steps"),
        ({"epochs": 100, "batch_size": 1024}, ""),
        ({"epochs": 49, "batch_size": 20, "accumulate_batches": 2}, "49 epochs of 90 samples in batches of 20 are 98"),
    ],
)
def test_few_steps_are_told(changed: dict[str, int], told: str) -> None:
    params = recipe(**{f"train__{key}": value for key, value in changed.items()}).train
    said = _few_steps(params, np.arange(100) % 10)
    assert said.startswith(told) and bool(said) == bool(told)


def test_averages_wait_for_the_first_step(training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Float16 leaves steps out until it has found how far it can scale the loss."""
    import keras

    original = fitting._Trainer._average_statistics

    def spy(trainer: fitting._Trainer) -> None:
        original(trainer)
        for average, last in zip(trainer.statistics, fitting._values(trainer._measured()), strict=True):
            np.testing.assert_allclose(average, last, rtol=1e-6)

    monkeypatch.setattr(fitting._Trainer, "_average_statistics", spy)
    monkeypatch.setattr(keras.optimizers.LossScaleOptimizer, "check_finite", lambda *given: keras.ops.equal(0, 1))
    fit(recipe(train__precision="float16", train__average_decay=0.9, train__epochs=1), training_set)


@pytest.mark.parametrize(("epochs", "share"), [(1, 0.8), (2, 0.1)])
def test_weights_are_taken_back(training_set: TrainingSet, epochs: int, share: float) -> None:  # noqa: F811
    """At the end of all epochs by the share that is asked for, at half of the time by an eighth of it."""
    changed = {"train__batch_size": 50, "train__schedule": "constant", "train__precision": "float32"}

    def weights(**each: object) -> list[np.ndarray]:
        params = recipe(**changed, train__epochs=epochs, **each)
        return fitting._values(fit(params, training_set, until=1).model.trainable_weights)

    start, plain, taken = weights(train__learning_rate=1e-12), weights(), weights(train__lookahead=0.8)
    assert max(np.abs(first - last).max() for first, last in zip(start, plain, strict=True)) > 0.01
    for first, last, between in zip(start, plain, taken, strict=True):
        np.testing.assert_allclose(between, share * first + (1 - share) * last, atol=1e-6)


def test_weights_are_taken_back_after_five_steps(training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Each of them of several batches, where these are accumulated."""
    looked: list[int] = []

    def spy(trainer: fitting._Trainer, before: list[np.ndarray]) -> list[np.ndarray]:
        looked.append(int(trainer._optimizer.iterations))
        return before

    monkeypatch.setattr(fitting._Trainer, "_look_back", spy)
    changed = {"train__epochs": 2, "train__batch_size": 7, "train__lookahead": 0.5}  # 21 batches of an epoch
    fit(recipe(**changed, train__accumulate_batches=2), training_set)
    assert looked == [5, 10, 10, 15, 20, 21]


def test_average_decay_is_that_of_a_step() -> None:
    optimizer = make_optimizer(recipe(train__average_decay=0.9, train__accumulate_batches=4).train, 10)
    assert optimizer.ema_momentum**4 == pytest.approx(0.9)


@pytest.mark.parametrize("shape", [(3,), (3, 3)])
@pytest.mark.parametrize("kind", ["sgd", "muon"])
def test_decay_takes_its_share_of_the_rate(kind: str, shape: tuple[int, ...]) -> None:
    """Of muon also where it is adam, as on weights of one dimension."""
    import keras

    weights = [keras.Variable(np.ones(shape, np.float32)) for _ in range(2)]
    params = recipe(
        train__optimizer=kind, train__learning_rate=0.1, train__weight_decay=0.5, train__schedule="constant"
    ).train
    optimizer = make_optimizer(params, 10, lambda variable: 0.1 if variable is weights[1] else 1.0)
    optimizer.build(weights)
    optimizer.apply([np.zeros(shape, np.float32)] * 2, weights)
    np.testing.assert_allclose(weights[0], 0.95)
    np.testing.assert_allclose(weights[1], 0.995)


@pytest.mark.parametrize(
    ("cpu", "chosen"),
    [
        ({"GenuineIntel", "avx512f", "avx512_bf16", "amx_bf16"}, "bfloat16"),
        ({"AuthenticAMD", "avx512f", "avx512_bf16"}, "bfloat16"),
        ({"GenuineIntel", "avx512f", "avx512_bf16"}, "float32"),
        ({"AuthenticAMD", "avx512f"}, "float32"),
        (set(), "float32"),
    ],
)
def test_the_precision_is_bfloat16_where_the_cpu_is_fast_at_it(
    monkeypatch: pytest.MonkeyPatch, cpu: set[str], chosen: str
) -> None:
    monkeypatch.setattr(backend, "device", lambda: "cpu:0")
    monkeypatch.setattr(backend, "cpu_features", lambda: cpu)
    assert backend.precision("auto") == chosen == environment.describe(1)["auto_precision"]
    assert backend.precision("float16") == "float16"


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_muon_turns_kernels_of_convolutions_but_not_the_last_layer(precision: str) -> None:
    """A step is nearly orthogonal, as the matrix from what a kernel sees to its outputs, and of one length for all."""
    import keras

    shapes = {"conv2d/kernel": (3, 3, 4, 8), "dense/kernel": (36, 8), "classes/kernel": (36, 8)}
    variables = [keras.Variable(np.zeros(shape, np.float32), name="kernel") for shape in shapes.values()]
    for variable, path in zip(variables, shapes, strict=True):
        variable._path = path
    rng = np.random.default_rng(0)
    gradient = rng.normal(size=(36, 8)).astype(np.float32) * np.geomspace(1, 0.05, 8, dtype=np.float32)
    params = recipe(train__optimizer="muon", train__learning_rate=0.1, train__schedule="constant").train
    optimizer = make_optimizer(params, 10, precision=precision)
    optimizer.build(variables)
    optimizer.apply([np.reshape(gradient, shape) for shape in shapes.values()], variables)
    conv, dense, last = (np.reshape(keras.ops.convert_to_numpy(variable), (36, 8)) for variable in variables)
    np.testing.assert_array_equal(conv, dense)
    lengths = np.linalg.svd(conv, compute_uv=False) / (0.1 * 0.2 * 6)  # six is the root of the longer side
    assert 0.6 < lengths.min() < lengths.max() < 1.3
    assert np.median(np.abs(last)) == pytest.approx(0.1, rel=1e-3)  # as adam's first step is


def test_muon_in_bfloat16_is_near_that_in_float32() -> None:
    """Also on the kernel of a wide layer, of which most entries are a thousandth of its norm, and few large."""
    import keras

    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, 256, 384)).astype(np.float32)
    kernel[1, 1, :4] *= 100
    whole, half = (
        Muon(precision=precision).zeropower_via_newtonschulz5(keras.ops.convert_to_tensor(kernel), 5)
        for precision in ("float32", "bfloat16")
    )
    assert whole.dtype == half.dtype
    difference = keras.ops.norm(keras.ops.reshape(whole - half, (-1,)))
    assert float(difference / keras.ops.norm(keras.ops.reshape(whole, (-1,)))) < 0.05


def test_only_norm_biases_with_a_rate_of_their_own_decay() -> None:
    import keras

    def decayed(norm_bias_rate: float) -> list[float]:
        names = ["kernel", "bias", "beta"]
        variables = [keras.Variable(np.ones(3), name=name) for name in names]
        params = recipe(
            train__optimizer="sgd", train__learning_rate=0.1, train__weight_decay=0.5, train__schedule="constant",
            train__norm_bias_rate=norm_bias_rate,
        ).train  # fmt: skip
        optimizer = make_optimizer(params, 10, is_norm_bias=lambda variable: variable.name == "beta")
        optimizer.build(variables)
        optimizer.apply([np.zeros(3, np.float32)] * 3, variables)
        return [float(1 - variable.numpy()[0]) for variable in variables]

    np.testing.assert_allclose(decayed(1.0), [0.05, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(decayed(64.0), [0.05, 0.0, 0.05], atol=1e-6)


@pytest.mark.parametrize(
    ("warmup_epochs", "climbing"), [(1.0, [1.0]), (1.5, [2 / 3, 1.0]), (2.0, [0.5, 1.0]), (0.25, [1.0])]
)
def test_the_rate_may_stay_for_an_epoch(warmup_epochs: float, climbing: list[float]) -> None:
    """At what it climbs to in the epoch, and later at what it falls from."""
    changed = {"train__schedule": "cosine", "train__epochs": 4, "train__warmup_epochs": warmup_epochs}
    by_step, by_epoch = (
        make_optimizer(recipe(**changed, train__schedule_by=unit).train, 10)._learning_rate
        for unit in ("step", "epoch")
    )
    rates = [float(by_epoch(step)) for step in range(40)]
    np.testing.assert_allclose(rates[: 10 * len(climbing)], 0.01 * np.repeat(climbing, 10), rtol=1e-6)
    later = range(10 * len(climbing), 40)
    assert [rates[step] for step in later] == [float(by_step(step // 10 * 10)) for step in later]
    assert len({float(by_step(step)) for step in later}) == len(later)


def test_images_grow_until_they_are_whole(training_set: TrainingSet) -> None:  # noqa: F811
    params = recipe(train__start_size=0.5, train__epochs=10, train__batch_size=16).train
    batches, sides = EpochBatches(training_set, np.arange(200), params, seed=1), []
    for epoch in range(10):
        batches.begin(epoch)
        images = batches[0][0]
        assert images.dtype == np.uint8
        assert images.shape == (16, images.shape[1], images.shape[1], 1)
        sides.append(images.shape[1])
    assert sides == [4, 4, 5, 5, 7, 7, 8, 8, 8, 8]


@pytest.mark.parametrize(("epochs", "shares"), [(1, [1.0]), (2, [0.4, 1.0]), (3, [0.4, 0.6, 1.0])])
def test_the_last_epoch_has_whole_images(epochs: int, shares: list[float]) -> None:
    params = recipe(train__start_size=0.4, train__epochs=epochs).train
    assert [side_share(params, epoch) for epoch in range(epochs)] == pytest.approx(shares)


def test_what_small_images_taught_serves_whole_ones(training_set: TrainingSet, tmp_path: Path) -> None:  # noqa: F811
    import keras

    from competition.building import architecture

    speednet = FAMILIES["speednet"].schema(family="speednet", widths=(8, 8), convs_per_group=2)
    train = recipe(train__start_size=0.6, train__epochs=8).train
    fitted = fit(Recipe(model=speednet, train=train), training_set)
    assert fitted.kept.score > 0.9
    fitted.model.save_weights(tmp_path / "small.weights.h5")
    precision = backend.precision(train.precision)
    whole = keras.models.model_from_json(architecture(speednet, training_set.shape, training_set.target, precision))
    whole.load_weights(tmp_path / "small.weights.h5")
    assert whole.input_shape[1:] == training_set.shape
    held = training_set.rows[training_set.folds == 0]
    np.testing.assert_allclose(
        np.asarray(whole.predict_on_batch(training_set.images[held])), fitted.probabilities, atol=1e-6
    )


def test_weights_that_belong_to_a_size_are_told(training_set: TrainingSet) -> None:  # noqa: F811
    with pytest.raises(CompetitionError, match="the weights of conv belong to images of one size, in its layer Dense"):
        fit(recipe(train__start_size=0.5), training_set)
