"""Fitting one model, on images so easy that a tiny model learns them in seconds."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from competition import backend
from competition.batches import EpochBatches, TrainingSet
from competition.errors import CompetitionError, DivergedError
from competition.models import FAMILIES
from competition.policies import Policy, view_seed
from competition.reading import overlay
from competition.recipes import Recipe
from competition.scores import find_metric
from competition.tasks import Target
from tests.conftest import shipped_recipe

SHAPE = (8, 8, 1)
TINY = {
    "model.blocks": 1, "model.convs_per_block": 1, "model.filters": 4, "model.dense_layers": 0, "train.epochs": 3,
    "train.batch_size": 16, "train.warmup_epochs": 0, "train.learning_rate": 0.01,
}  # fmt: skip


def recipe(**changed: object) -> Recipe:
    values = {name.replace("__", "."): value for name, value in changed.items()}
    return overlay(shipped_recipe(), {**TINY, **values})


@pytest.fixture(scope="module")
def training_set() -> TrainingSet:
    backend.start(2)
    return made()


def made() -> TrainingSet:
    """Two classes: bright above, bright below; noise over both. Rows lie in another order than samples."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    images = rng.integers(0, 120, (200, *SHAPE))
    images[labels == 0, :4] += 60
    images[labels == 1, 4:] += 60
    rows = rng.permutation(200)
    stored = np.zeros((200, *SHAPE), np.uint8)
    stored[rows] = images.astype(np.uint8)
    return TrainingSet(
        contract={"metric": "accuracy"},
        target=Target("multiclass", ("above", "below"), 0, 1, False),
        sample_ids=np.array([f"image {number}" for number in range(200)], object),
        truth=labels,
        weights=None,
        folds=np.arange(200) % 4,
        rows=rows,
        images=stored,
        views=[],
        policy=Policy([], SHAPE),
        seed=1,
    )


def fit(recipe: Recipe, training_set: TrainingSet, **changed: int):
    from competition import fitting

    return fitting.fit(recipe, training_set, **{"fold": 0, "seed": 1, **changed})


def test_it_learns_and_repeats(training_set: TrainingSet) -> None:
    first, again, other = (fit(recipe(), training_set, seed=seed) for seed in (1, 1, 2))
    assert first.kept.score > 0.9
    assert first.probabilities.tobytes() == again.probabilities.tobytes() != other.probabilities.tobytes()
    assert first.history == again.history
    np.testing.assert_allclose(first.probabilities.sum(axis=1), 1, atol=1e-6)


def test_what_is_compiled_serves_all_epochs(training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow's own seed is set once: it forgets each time what it has compiled."""
    seeds: list[int] = []
    monkeypatch.setattr("tensorflow.random.set_seed", seeds.append)
    fit(recipe(train__epochs=3), training_set)
    assert len(seeds) == 1


def test_the_fold_left_out_teaches_nothing(training_set: TrainingSet) -> None:
    """With other labels and other images there, the same weights come out."""
    held = training_set.folds == 0
    labels, images = training_set.truth.copy(), np.array(training_set.images)
    labels[held] = 1 - labels[held]
    images[training_set.rows[held]] = 7
    poisoned = dataclasses.replace(training_set, truth=labels, images=images)
    one, other = fit(recipe(), training_set), fit(recipe(), poisoned)
    for left, right in zip(one.model.get_weights(), other.model.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    assert one.kept.score > 0.9


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop", "lion", "muon"])
def test_optimizers_and_weight_decay(training_set: TrainingSet, optimizer: str) -> None:
    """Decay draws the kernels towards 0 and leaves normalisation alone."""
    kernels = []
    for decay in (0.0, 5.0):
        fitted = fit(recipe(train__optimizer=optimizer, train__weight_decay=decay), training_set)
        kernels.append(np.abs(fitted.model.get_layer("conv2d").kernel).mean())
        assert np.abs(fitted.model.get_layer("batch_normalization").gamma).mean() > 0.8
    assert kernels[1] < 0.8 * kernels[0]


def test_first_weights_are_of_images_drawn_from_all(training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples often come class by class, so the first of them are of one."""
    from competition import fitting

    shown: list[np.ndarray] = []
    monkeypatch.setattr(fitting, "ADAPT_IMAGES", 30)
    monkeypatch.setattr(fitting.building, "adapt", lambda *given: shown.append(given[-1]))
    for seed in (1, 1, 2):
        fit(recipe(train__epochs=1), training_set, seed=seed)
    samples = [np.argsort(training_set.rows)[rows] for rows in shown]
    assert all(len(set(drawn)) == 30 and (training_set.folds[drawn] != 0).all() for drawn in samples)
    assert all(drawn[:15].min() < 50 and drawn[:15].max() >= 150 for drawn in samples)
    assert samples[0].tolist() == samples[1].tolist() != samples[2].tolist()


def test_the_learning_rate_climbs_and_falls(training_set: TrainingSet) -> None:
    changed = {"train__epochs": 6, "train__warmup_epochs": 2}
    cosine = [e.learning_rate for e in fit(recipe(**changed, train__schedule="cosine"), training_set).history]
    constant = [e.learning_rate for e in fit(recipe(**changed, train__schedule="constant"), training_set).history]
    steps = 9  # 150 samples in batches of 16
    np.testing.assert_allclose(constant, [0.01 / (2 * steps), 0.01 * (steps + 1) / (2 * steps), *[0.01] * 4], rtol=1e-5)
    falling = [0.01 * 0.5 * (1 + np.cos(np.pi * done / 4)) for done in range(4)]
    np.testing.assert_allclose(cosine[2:], falling, rtol=1e-5)
    np.testing.assert_allclose(cosine[:2], constant[:2], rtol=1e-5)


def test_patience_stops_and_keeps_the_best_epoch(training_set: TrainingSet) -> None:
    """The kept weights, asked again, give the kept probabilities and not those of the last epoch."""
    from competition.inference import predict

    fitted = fit(recipe(train__patience_epochs=3, train__epochs=40), training_set)
    scores = [epoch.score for epoch in fitted.history]
    assert len(scores) < 40
    assert fitted.kept.epoch == int(np.argmax(scores)) == len(scores) - 4
    held = training_set.rows[training_set.folds == 0]
    np.testing.assert_array_equal(
        predict(fitted.model, training_set.target, training_set.images, held), fitted.probabilities
    )


def test_patience_waits_for_no_score(training_set: TrainingSet) -> None:
    """A fold of one class has no roc_auc: the first epoch is no better than the others."""
    folds = np.where(training_set.truth == 0, training_set.folds, 1)
    other = dataclasses.replace(training_set, folds=folds, contract={"metric": "roc_auc"})
    fitted = fit(recipe(train__patience_epochs=1, train__epochs=4), other)
    assert len(fitted.history) == 4 == fitted.kept.epoch + 1
    assert np.isnan(fitted.kept.score)


def test_no_patience_keeps_the_last_epoch(training_set: TrainingSet) -> None:
    fitted = fit(recipe(), training_set)
    assert fitted.kept == fitted.history[-1]
    assert len(fitted.history) == 3


def test_label_smoothing_makes_it_less_sure(training_set: TrainingSet) -> None:
    plain, smooth = (fit(recipe(train__epochs=12, train__label_smoothing=s), training_set) for s in (0.0, 0.4))
    assert smooth.probabilities.max(axis=1).mean() < plain.probabilities.max(axis=1).mean() - 0.05


def test_a_loss_that_is_no_number_names_epoch_and_rate(training_set: TrainingSet) -> None:
    wild = recipe(
        train__optimizer="sgd", train__learning_rate=1e30, train__schedule="constant", model__batch_norm=False
    )
    with pytest.raises(DivergedError, match=r"in epoch \d of 3 at a learning rate of 1e\+30; lower train."):
        fit(wild, training_set)


def test_the_stage_names_the_fold_whose_loss_is_no_number(
    training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from competition import fitting
    from competition.stages.train import _train_one

    def diverge(*arguments: object, **options: object) -> None:
        raise DivergedError("the loss became nan")

    monkeypatch.setattr(fitting, "fit", diverge)
    with pytest.raises(CompetitionError, match=r"^fold 2, seed 1: the loss became nan$"):
        _train_one(recipe(train__seeds=2), training_set, fold=2, number=1, until=None, seed=0, state=tmp_path)


def test_softmax_is_a_family(training_set: TrainingSet) -> None:
    softmax = FAMILIES["softmax"].schema(family="softmax")
    fitted = fit(Recipe(model=softmax, train=recipe(train__epochs=20).train), training_set)
    assert fitted.kept.score > 0.8
    assert fitted.model.count_params() == 8 * 8 * 2 + 2


def test_a_shape_that_cannot_be_built_is_told(training_set: TrainingSet) -> None:
    with pytest.raises(CompetitionError, match=r"MaxPooling2D, gets images of 1 x 1 pixels, too small for its"):
        fit(recipe(model__blocks=4), training_set)
    fitted = fit(recipe(model__blocks=3, train__epochs=1), training_set)
    assert fitted.model.get_layer("max_pooling2d_2").output.shape[1] == 1


def test_an_epoch_holds_every_sample_once_in_a_new_order(training_set: TrainingSet) -> None:
    samples = np.flatnonzero(training_set.folds != 0)
    batches = EpochBatches(training_set, samples, recipe(train__batch_size=15).train, seed=3)
    seen = []
    for epoch in (0, 1, 0):
        batches.begin(epoch)
        order = [batches[index] for index in range(len(batches))]
        seen.append(np.concatenate([images for images, _, _ in order]))
        expected = sorted(training_set.images[training_set.rows[samples]].reshape(150, -1).tolist())
        assert sorted(seen[-1].reshape(150, -1).tolist()) == expected
        truth = np.concatenate([targets for _, targets, _ in order]).argmax(axis=1)
        above = seen[-1][:, :4].mean(axis=(1, 2, 3)) > seen[-1][:, 4:].mean(axis=(1, 2, 3))
        assert np.mean((truth == 0) == above) == 1.0
    assert (seen[0] == seen[2]).all()
    assert (seen[0] != seen[1]).any()


def test_views_on_disk_and_views_rendered_anew_are_the_same(training_set: TrainingSet) -> None:
    policy = Policy([{"op": "Affine", "p": 1.0, "rotate": [-20, 20]}], SHAPE)
    anew = dataclasses.replace(training_set, policy=policy, seed=5)
    views = []
    for view in (0, 1):
        rendered = np.zeros_like(training_set.images)
        for row, sample_id in zip(training_set.rows, training_set.sample_ids, strict=True):
            rendered[row] = policy.render(training_set.images[row], view_seed(5, "augment", view, sample_id))
        views.append(rendered)
    stored = dataclasses.replace(anew, views=views)
    samples = np.array([3, 199, 0, 3])
    for epoch in (0, 1):
        np.testing.assert_array_equal(stored.augmented(samples, epoch), anew.augmented(samples, epoch))
    np.testing.assert_array_equal(stored.augmented(samples, 2), stored.augmented(samples, 0))
    assert (anew.augmented(samples, 2) != anew.augmented(samples, 0)).any()


def target_set(training_set: TrainingSet, task: str) -> TrainingSet:
    """The same images with what another task would want of them; the value is the brightness above."""
    bright = training_set.images[training_set.rows][:, :4].mean(axis=(1, 2, 3))
    if task == "regression":
        return dataclasses.replace(
            training_set,
            contract={**training_set.contract, "metric": "rmse"},
            target=Target(task, ("brightness",), float(bright.min()), float(bright.max()), False),
            truth=bright.astype(np.float64),
        )
    if task == "multilabel":
        truth = np.column_stack([training_set.truth == 0, training_set.truth == 1, bright > 80]).astype(np.uint8)
        target = Target(task, ("above", "below", "bright"), 0, 1, False)
        contract = {**training_set.contract, "metric": "roc_auc_macro"}
        return dataclasses.replace(training_set, contract=contract, target=target, truth=truth)
    ranks = np.searchsorted(np.quantile(bright, [0.25, 0.5, 0.75]), bright)
    target = Target(task, ("0", "1", "2", "3"), 0, 1, False)
    contract = {**training_set.contract, "metric": "quadratic_kappa"}
    return dataclasses.replace(training_set, contract=contract, target=target, truth=ranks.astype(np.int64))


@pytest.mark.parametrize(
    ("task", "wanted"), [("regression", 6.0), ("multilabel", 0.9), ("ordinal", 0.7), ("multiclass", 0.7)]
)
def test_every_task_learns(training_set: TrainingSet, task: str, wanted: float) -> None:
    other = target_set(training_set, task)
    fitted = fit(recipe(train__epochs=30), other)
    assert fitted.kept.score < wanted if task == "regression" else fitted.kept.score > wanted
    assert fitted.probabilities.shape == (50, len(other.target.classes))


def test_stopping_follows_a_metric_that_falls(training_set: TrainingSet) -> None:
    """Of a lower-is-better metric, the epoch that is kept is the lowest."""
    fitted = fit(
        recipe(train__epochs=8, train__patience_epochs=8, train__learning_rate=0.001),
        target_set(training_set, "regression"),
    )
    assert fitted.kept.score == min(epoch.score for epoch in fitted.history) < fitted.history[0].score


def test_a_sample_of_no_weight_teaches_nothing(training_set: TrainingSet) -> None:
    """Wrong labels of weight 0 leave the right ones to be learned; of weight 1 they do not."""
    poisoned = np.arange(200) % 4 != 0
    poisoned &= np.random.default_rng(2).random(200) < 0.6
    truth = np.where(poisoned, 1 - training_set.truth, training_set.truth)
    weights = np.where(poisoned, 0, 1).astype(np.float32)
    without, with_them = (
        fit(recipe(), dataclasses.replace(training_set, truth=truth, weights=chosen)).kept.score
        for chosen in (weights, None)
    )
    assert without > 0.9 > with_them


OBJECTIVES = {
    "multiclass": ["accuracy", "f1_macro", "f1_micro", "f1_weighted", "log_loss", "roc_auc", "roc_auc_macro",
                   "roc_auc_weighted", "quadratic_kappa", "map@2", "top1_error"],
    "ordinal": ["quadratic_kappa", "accuracy", "log_loss"],
    "multilabel": ["accuracy", "f1_macro", "f1_samples", "f2_micro", "f0.5_samples", "log_loss", "roc_auc_macro",
                   "roc_auc_weighted", "map@2"],
    "regression": ["rmse"],
}  # fmt: skip


@pytest.mark.parametrize(("task", "name"), [(task, name) for task, names in OBJECTIVES.items() for name in names])
def test_every_metric_stops_and_chooses(training_set: TrainingSet, task: str, name: str) -> None:
    """The epoch that is kept is the first of the best by that metric, whichever way it runs."""
    other = target_set(training_set, task) if task != "multiclass" else training_set
    other = dataclasses.replace(other, contract={"metric": name})
    train = recipe(train__epochs=4, train__patience_epochs=2).train
    softmax = Recipe(model=FAMILIES["softmax"].schema(family="softmax"), train=train)
    fitted = fit(softmax, other)
    scores = [epoch.score for epoch in fitted.history]
    best = max(scores) if find_metric(name).greater else min(scores)
    assert fitted.kept.epoch == scores.index(best)
