"""Fit one model on some samples and validate it on others; shared by tune and train."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from competition import backend, building, checkpoints, decisions
from competition.batches import EpochBatches, TrainingSet
from competition.errors import CompetitionError, DivergedError
from competition.inference import predict
from competition.models import FAMILIES
from competition.optimizers import average_kept, make_optimizer
from competition.recipes import Recipe
from competition.scores import Metric, find_metric, loss
from competition.seeds import derive
from competition.shapes import first_shape, side_share
from competition.tasks import Target

SAVE_SHARE = 0.05  # of the time at most goes into saving the state: after every epoch, or if that is dear, now and then
LOOK_STEPS = 5  # after which `lookahead` takes the weights back
ADAPT_IMAGES = 10_000  # that a family may learn its first weights from


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; ``score`` is the competition's metric on the validation samples, decided plainly."""

    epoch: int
    loss: float
    val_loss: float
    score: float
    learning_rate: float


@dataclass(frozen=True)
class Fitted:
    """A trained model, its validation predictions float32 (n, k), its epochs, and the one of them that it is.

    ``seconds_before`` are those of the epochs that were found in the state and not trained again.
    """

    model: keras.Model
    probabilities: np.ndarray
    history: list[Epoch]
    kept: Epoch
    seconds_before: float


def fit(
    recipe: Recipe,
    training_set: TrainingSet,
    *,
    fold: int | None,
    seed: int,
    fraction: float = 1.0,
    until: int | None = None,
    state: Path | None = None,
    on_epoch: Callable[[Epoch], bool | None] = lambda epoch: None,
) -> Fitted:
    """Train a model on all folds but one, and validate it on that one after every epoch.

    Args:
        recipe: the model and how it is trained.
        training_set: samples, views and folds.
        fold: the fold left out; None trains on all, and validates nothing: the last epoch is kept.
        seed: of initial weights, dropout and data order.
        fraction: of the training samples that is used, drawn at random.
        until: the epoch before which to stop, with the schedule of all epochs; None for the last.
        state: a folder that keeps the state between epochs. What is found there is gone on with, to the same last bit
            as if it had never stopped; so the caller has a folder for each set of arguments (but ``until``: a state of
            more epochs than that is begun anew).
        on_epoch: told of every epoch as it ends, also of those found in ``state``; True stops the training.

    Returns:
        The model of the last epoch or, with ``patience_epochs``, that of the best; the earliest of equals. Where the
        metric has no value, as roc_auc of one class, no epoch is the best: it is the last.

    Raises:
        CompetitionError: the model cannot be built for these images, or more batches are to be accumulated than there
            are in an epoch.
        DivergedError: the loss is no longer a number.
    """
    params = recipe.train
    train_samples, val_samples = _parted(training_set, fold, fraction, seed)
    metric = find_metric(training_set.contract["metric"], training_set.target.grades)
    batches = EpochBatches(training_set, train_samples, params, seed)
    model = _new_model(recipe, training_set, train_samples, batches.size, seed)
    trainer = _Trainer(recipe, model, training_set.target, len(batches))
    epochs = until or params.epochs
    progress = _Progress(state)
    progress.restore(trainer, epochs)
    told = [on_epoch(epoch) for epoch in progress.history]
    stopped = any(told)
    for number in range(len(progress.history), epochs):
        if stopped or (progress.kept and 0 < params.patience_epochs <= number - 1 - progress.kept.epoch):
            break
        batches.begin(number)
        trainer.begin(number)
        checkpoints.seed_generators(model, seed, number)
        rate = float(model.optimizer.learning_rate)  # of the first batch
        epoch = Epoch(number, trainer.epoch(batches), float("nan"), float("nan"), rate)
        if not np.isfinite(epoch.loss):
            raise _diverged(epoch, params.epochs, model)
        if fold is None:
            progress.add(epoch, keep=True)
        else:
            with trainer.averaged():
                epoch, predicted = _validated(epoch, params.epochs, model, training_set, val_samples, metric)
                best = progress.kept if params.patience_epochs else None
                keep = best is None or np.isnan(best.score) or metric.better(epoch.score, best.score)
                progress.add(epoch, keep)
                if keep:
                    progress.probabilities = predicted
                    progress.best_weights = model.get_weights() if params.patience_epochs else None
        stopped = bool(on_epoch(epoch))
        progress.save(trainer)
    progress.save(trainer, at_once=True)
    assert progress.kept is not None
    if progress.best_weights is not None:
        model.set_weights(progress.best_weights)
    else:
        trainer.keep_average()
    return Fitted(model, progress.probabilities, progress.history, progress.kept, progress.seconds_before)


def _new_model(
    recipe: Recipe, training_set: TrainingSet, samples: np.ndarray, batch_size: int, seed: int
) -> keras.Model:
    """Build the model with its initial weights, of which its family may take some from the images of the samples."""
    keras.utils.set_random_seed(derive(seed, "weights"))
    model = building.build(
        recipe.model,
        training_set.shape,
        training_set.target,
        backend.precision(recipe.train.precision),
        first=first_shape(recipe.train, training_set.shape),
        devices=backend.device_count(batch_size, recipe.train.accumulate_batches),
    )
    # Drawn, for samples often come class by class, and a family may take the first few of them.
    drawn = np.random.default_rng(derive(seed, "adapt")).permutation(samples)[:ADAPT_IMAGES]
    building.adapt(recipe.model, model, training_set.images, training_set.rows[drawn])
    return model


def _validated(
    epoch: Epoch, epochs: int, model: keras.Model, training_set: TrainingSet, samples: np.ndarray, metric: Metric
) -> tuple[Epoch, np.ndarray]:
    """Return an epoch with what the model came to on the samples in it, and its predictions of them."""
    target, truth = training_set.target, training_set.truth[samples]
    predicted = predict(model, target, training_set.images, training_set.rows[samples])
    if not np.isfinite(predicted).all():  # the last step of the epoch was one too far
        raise _diverged(replace(epoch, loss=float("nan")), epochs, model)
    decision = decisions.plain(metric, target.task, len(target.classes), target.at_least_one)
    score = metric(truth, decisions.apply(decision, target.task, predicted))
    return replace(epoch, val_loss=loss(target.task, truth, predicted), score=score), predicted


@dataclass
class _Progress:
    """What a fit has come to: with the variables of the model, all that a killed one needs to go on.

    Attributes:
        state: the folder that keeps it; None for none.
        history: the epochs that have ended.
        kept: that of them that the model is to be.
        probabilities: its validation predictions.
        best_weights: its weights, where later epochs may be worse.
        seconds_before: that the epochs took which were saved when it began.
    """

    state: Path | None
    history: list[Epoch] = field(default_factory=list)
    kept: Epoch | None = None
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    best_weights: list[np.ndarray] | None = None
    seconds_before: float = 0.0
    _began_at: float = field(default_factory=time.monotonic)
    _saved_at: float = field(default_factory=time.monotonic)
    _saved_epochs: int = 0
    _save_seconds: float = 0.0

    def add(self, epoch: Epoch, keep: bool) -> None:
        """Add an epoch that has ended."""
        self.history.append(epoch)
        self.kept = epoch if keep else self.kept

    def restore(self, trainer: "_Trainer", epochs: int) -> None:
        """Go back to what was saved, if anything was, and of no more epochs than there are to be."""
        facts = checkpoints.read_facts(self.state) if self.state else None
        if not (self.state and facts) or len(facts["history"]) > epochs:
            return
        self.history = [Epoch(**epoch) for epoch in facts["history"]]
        self.kept, self._saved_epochs = self.history[facts["kept"]], len(self.history)
        self.seconds_before = facts["seconds"]
        trainer.begin(len(self.history) - 1)  # as many weights are trained as there were when it was saved
        arrays = checkpoints.restore(self.state, trainer.model)
        self.probabilities = arrays.pop("probabilities")
        trainer.statistics = [arrays.pop(f"statistic {number}") for number in range(facts["statistics"])]
        self.best_weights = [arrays[f"best {number}"] for number in range(len(arrays))] or None

    def save(self, trainer: "_Trainer", at_once: bool = False) -> None:
        """Save what is new, unless that would take too much of the time and need not be at once."""
        start = time.monotonic()
        is_dear = start - self._saved_at < self._save_seconds / SAVE_SHARE and not at_once
        if self.state is None or self.kept is None or len(self.history) == self._saved_epochs or is_dear:
            return
        best = {f"best {number}": array for number, array in enumerate(self.best_weights or [])}
        statistics = {f"statistic {number}": array for number, array in enumerate(trainer.statistics)}
        history = [asdict(epoch) for epoch in self.history]
        seconds = self.seconds_before + start - self._began_at
        facts = {"history": history, "kept": self.kept.epoch, "statistics": len(statistics), "seconds": seconds}
        checkpoints.save(self.state, trainer.model, {"probabilities": self.probabilities, **statistics, **best}, facts)
        self._saved_at, self._saved_epochs = time.monotonic(), len(self.history)
        self._save_seconds = self._saved_at - start


def _diverged(epoch: Epoch, epochs: int, model: keras.Model) -> DivergedError:
    rate = float(model.optimizer.learning_rate)  # that of the step, not of the begin of the epoch
    return DivergedError(
        f"the loss became {epoch.loss} in epoch {epoch.epoch + 1} of {epochs} at a learning rate of {rate:.3g}; lower "
        "train.learning_rate, lengthen train.warmup_epochs, or set train.clip_norm (or train.precision: float32)"
    )


def _parted(training_set: TrainingSet, fold: int | None, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the samples to train on, and of those to validate on."""
    left_out = training_set.folds == (-1 if fold is None else fold)
    samples, val_samples = np.flatnonzero(~left_out), np.flatnonzero(left_out)
    if not len(samples) or not (len(val_samples) or fold is None):
        raise CompetitionError(
            f"no training sample is in fold {fold}: data/prepare has {training_set.contract['folds']} folds; "
            "run 'compete prepare' again, or lower train.folds and tune.fold"
        )
    if fraction < 1:
        count = max(1, round(fraction * len(samples)))
        rng = np.random.default_rng(derive(seed, "fraction"))
        samples = np.sort(rng.choice(samples, count, replace=False))
    return samples, val_samples


class _Trainer:
    """A model under training: what changes in it from epoch to epoch.

    With ``average_decay``, the optimizer averages the weights, and ``statistics`` are the averages of what batch
    normalisation has seen: those of the weights that trained would not fit the averaged ones.
    """

    def __init__(self, recipe: Recipe, model: keras.Model, target: Target, steps: int) -> None:
        self._recipe, self.model, self._target, self._steps = recipe, model, target, steps
        self._rates: dict[str, float] | None = None
        self._steps_before = 0  # those of the optimizers before this one
        self.statistics: list[np.ndarray] = []

    def begin(self, epoch: int) -> None:
        """Give every layer its share of the learning rate in this epoch; begin a new optimizer where they change.

        Its own count of steps is 0 then: adam makes up by it for moments that begin at 0, and batches are accumulated
        by it.
        """
        if self.model.compiled and side_share(self._recipe.train, epoch) != side_share(self._recipe.train, epoch - 1):
            # Else TensorFlow makes a step for images of any size, with other last bits than that of a fit that goes on.
            self.model.make_train_function(force=True)
        shares = self._shares(epoch)
        if shares == self._rates:
            return
        self._rates = shares
        while epoch and self._shares(epoch - 1) == shares:
            epoch -= 1  # a fit that goes on has the optimizer that was begun then
        self._steps_before = epoch * self._steps
        for layer in self.model.layers:
            if layer.name in shares:
                layer.trainable = shares[layer.name] > 0
        layer_of = {variable.path: layer for layer in self.model.layers for variable in layer.trainable_variables}
        with backend.scope(self.model):
            optimizer = make_optimizer(
                self._recipe.train,
                self._steps,
                share=lambda variable: shares.get(layer_of[variable.path].name, 1.0),
                is_norm_bias=lambda variable: _is_norm_bias(layer_of[variable.path], variable),
                precision=backend.precision(self._recipe.train.precision),
                steps_before=self._steps_before,
            )
        averages = self._averages()  # of the optimizer before
        loss = _loss(self._target, self._recipe.train.label_smoothing)
        with backend.scope(self.model):
            self.model.compile(optimizer, loss, jit_compile=backend.jit(self.model, self._recipe.train.deterministic))
            self.model.optimizer.build(self.model.trainable_variables)  # now, so that its variables are in one order
        for variable, average in zip(self.model.trainable_variables, self._averages().values(), strict=False):
            (value,) = _values([averages.get(variable.path, variable)])
            average.assign(value)  # Keras lets them begin at 0

    @property
    def _optimizer(self) -> Any:
        """The optimizer, also where float16's loss scaling wraps it."""
        return getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)

    def _shares(self, epoch: int) -> dict[str, float]:
        rates = FAMILIES[self._recipe.model.family].rates
        return rates(self.model, epoch, self._recipe.model) if rates else {}

    def _averages(self) -> dict[str, Any]:
        """Return the running averages of the weights by their path; none if none are kept."""
        if not (self._recipe.train.average_decay and self.model.compiled):
            return {}
        averages = self._optimizer._model_variables_moving_average
        variables = self._optimizer._trainable_variables
        return {each.path: average for each, average in zip(variables, averages, strict=True)}

    def epoch(self, batches: EpochBatches) -> float:
        """Train on every batch once; return the mean loss, or at once the first that is no number."""
        # Faster than model.fit here: its tf.data pipeline costs more per step than small models do.
        losses = []
        before = _values(self._held()) if self._recipe.train.lookahead else []
        look_batches = LOOK_STEPS * self._recipe.train.accumulate_batches
        for batch in batches:
            losses.append(self._step(batch))
            if not np.isfinite(losses[-1]):
                return losses[-1]
            if self._recipe.train.average_decay:
                self._average_statistics()
            # Also at the end of the epoch: so what a killed fit goes on from is all in the weights.
            if self._recipe.train.lookahead and (len(losses) % look_batches == 0 or len(losses) == len(batches)):
                before = self._look_back(before)
        if backend.replicas(self.model) > 1:  # each has counted for itself
            for variable, mean in zip(self._measured(), _values(self._measured()), strict=True):
                variable.assign(mean)
        return float(np.mean(losses))

    def _step(self, batch: tuple[Any, ...]) -> float:
        """Train on a batch, spread over the cards if there are several; return its loss."""
        if backend.replicas(self.model) == 1:
            return float(self.model.train_on_batch(*batch))
        self.model.make_train_function()
        self.model.reset_metrics()
        return float(self.model.train_function(iter([backend.parts(self.model, batch)]))["loss"])

    def _look_back(self, before: list[np.ndarray]) -> list[np.ndarray]:
        """Take the weights back towards what they were before; return what they come to.

        Source: Zhang et al., "Lookahead Optimizer" (2019); a share that grows with the cube of the time is airbench's,
        as in models/speednet.py.
        """
        share = self._recipe.train.lookahead * (self._done() / (self._steps * self._recipe.train.epochs)) ** 3
        held = self._held()
        values = [share * old + (1 - share) * new for old, new in zip(before, _values(held), strict=True)]
        for variable, value in zip(held, values, strict=True):
            variable.assign(value)
        return values

    def _held(self) -> list[Any]:
        """List the weights that are trained, and what batch normalisation has seen of them."""
        return [*self.model.trainable_variables, *self._measured()]

    def _average_statistics(self) -> None:
        before_this = max(self._done() - 1, 0)  # of those that float16 left out at the beginning, none counts
        kept = average_kept(self._optimizer.ema_momentum, before_this)
        now = _values(self._measured())
        before = self.statistics or now
        self.statistics = [kept * old + (1 - kept) * new for old, new in zip(before, now, strict=True)]

    def _done(self) -> float:
        """Count the batches that were trained on, with this optimizer and those before it."""
        return self._steps_before + float(backend.value(self._optimizer._iterations))

    def _measured(self) -> list[Any]:
        variables = self.model.non_trainable_variables
        return [variable for variable in variables if variable.name in ("moving_mean", "moving_variance")]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Hold the averages in the model while a block lasts, if there are any."""
        held = self._held()
        raw = _values(held) if self._recipe.train.average_decay else []
        self.keep_average()
        yield
        for variable, value in zip(held, raw, strict=False):
            variable.assign(value)

    def keep_average(self) -> None:
        """Set the weights and what normalisation has seen to their averages, if there are any."""
        if self._recipe.train.average_decay:
            averages = [*_values(self._optimizer._model_variables_moving_average), *self.statistics]
            for variable, average in zip(self._held(), averages, strict=True):
                variable.assign(average)


def _values(variables: Sequence[Any]) -> list[np.ndarray]:
    return [backend.value(variable) for variable in variables]


def _is_norm_bias(layer: Any, variable: Any) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization) and variable.name == "beta"


def _loss(target: Target, label_smoothing: float) -> keras.losses.Loss:
    """Build the loss of a task; a value is learned as the share of its range, which a sigmoid cannot leave."""
    if target.activation == "softmax":
        return keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
    smoothing = 0.0 if target.task == "regression" else label_smoothing  # it would pull values to the middle
    return keras.losses.BinaryCrossentropy(label_smoothing=smoothing)
