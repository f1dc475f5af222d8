"""Fit one model on some samples and validate it on others; shared by tune and train."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from competition import backend, building, checkpoints, decisions, scores
from competition.batches import EpochBatches, TrainingSet
from competition.errors import CompetitionError
from competition.inference import predict
from competition.models import FAMILIES
from competition.optimizers import make_optimizer
from competition.recipes import Recipe
from competition.scores import find_metric
from competition.seeds import derive
from competition.tasks import Target

SAVE_SHARE = 0.05  # of the time at most goes into saving the state: after every epoch, or if that is dear, now and then
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
    """A trained model, its architecture as Keras JSON, its validation predictions float32 (n, k), its epochs, and the
    one of them that it is."""

    model: keras.Model
    architecture: str
    probabilities: np.ndarray
    history: list[Epoch]
    kept: Epoch


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
            as if it had never stopped; so the caller has a folder for each set of arguments (but ``until``).
        on_epoch: told of every epoch as it ends, also of those found in ``state``; True stops the training.

    Returns:
        The model of the last epoch or, with ``patience_epochs``, that of the best; the earliest of equals.

    Raises:
        CompetitionError: the model cannot be built for these images, or the loss is no longer a number.
    """
    params = recipe.train
    left_out = training_set.folds == (-1 if fold is None else fold)
    train_samples, val_samples = _part(np.flatnonzero(~left_out), fraction, seed), np.flatnonzero(left_out)
    if not len(train_samples) or not (len(val_samples) or fold is None):
        raise CompetitionError(
            f"no training sample is in fold {fold}: data/prepare has {training_set.contract['folds']} folds; "
            "run 'compete prepare' again, or lower train.folds and tune.fold"
        )
    target, truth = training_set.target, training_set.truth[val_samples]
    metric = find_metric(training_set.contract["metric"])
    decision = decisions.plain(metric, target.task, len(target.classes), target.at_least_one)
    batches = EpochBatches(training_set, train_samples, params, seed)

    precision = backend.precision(params.precision)
    architecture = building.architecture(recipe.model, training_set.shape, target, precision)
    keras.utils.set_random_seed(derive(seed, "weights"))
    any_size, devices = params.start_size < 1, backend.device_count(batches.size)
    model = building.build(recipe.model, training_set.shape, target, precision, any_size=any_size, devices=devices)
    building.adapt(recipe.model, model, training_set.images[training_set.rows[train_samples[:ADAPT_IMAGES]]])
    trainer = _Trainer(recipe, model, target, len(batches))

    history: list[Epoch] = []
    kept, best_weights, probabilities = None, None, np.zeros((0, 0), np.float32)
    saved = checkpoints.read_facts(state) if state else None
    if state and saved:
        history = [Epoch(**epoch) for epoch in saved["history"]]
        kept = history[saved["kept"]]
        trainer.begin(len(history) - 1)  # as many weights are trained as there were when it was saved
        arrays = checkpoints.restore(state, model)
        probabilities = arrays.pop("probabilities")
        trainer.statistics = [arrays.pop(f"statistic {number}") for number in range(saved["statistics"])]
        best_weights = [arrays[f"best {number}"] for number in range(len(arrays))] or None
    told = [on_epoch(epoch) for epoch in history]
    stopped = any(told)
    saved_at, save_seconds, saved_epochs = time.monotonic(), 0.0, len(history)

    def save() -> None:
        best = {f"best {number}": array for number, array in enumerate(best_weights or [])}
        statistics = {f"statistic {number}": array for number, array in enumerate(trainer.statistics)}
        facts = {
            "history": [asdict(epoch) for epoch in history],
            "kept": kept.epoch if kept else 0,
            "statistics": len(statistics),
        }
        if state:
            checkpoints.save(state, model, {"probabilities": probabilities, **statistics, **best}, facts)

    for number in range(len(history), until or params.epochs):
        if stopped or (kept and 0 < params.patience_epochs <= number - 1 - kept.epoch):
            break
        batches.begin(number)
        trainer.begin(number)
        checkpoints.seed_generators(model, seed, number)
        learning_rate = float(model.optimizer.learning_rate)
        train_loss = trainer.epoch(batches)
        if not np.isfinite(train_loss):
            raise _diverged(train_loss, number, model)
        if fold is None:
            kept = Epoch(number, train_loss, float("nan"), float("nan"), learning_rate)
            history.append(kept)
        else:
            with trainer.averaged():
                predicted = predict(model, target, training_set.images, training_set.rows[val_samples])
                if not np.isfinite(predicted).all():  # the last step of the epoch was one too far
                    raise _diverged(float("nan"), number, model)
                score = metric(truth, decisions.apply(decision, target.task, predicted))
                val_loss = scores.loss(target.task, truth, predicted)
                history.append(Epoch(number, train_loss, val_loss, score, learning_rate))
                if kept is None or not params.patience_epochs or metric.better(score, kept.score):
                    kept, probabilities = history[-1], predicted
                    best_weights = model.get_weights() if params.patience_epochs else None
        stopped = bool(on_epoch(history[-1]))
        if time.monotonic() - saved_at >= save_seconds / SAVE_SHARE:
            start = time.monotonic()
            save()
            saved_at, saved_epochs = time.monotonic(), len(history)
            save_seconds = saved_at - start
    if len(history) > saved_epochs:
        save()
    assert kept is not None
    if best_weights is not None:
        model.set_weights(best_weights)
    else:
        trainer.keep_average()
    return Fitted(model, architecture, probabilities, history, kept)


def _diverged(loss: float, epoch: int, model: keras.Model) -> CompetitionError:
    return CompetitionError(
        f"the loss became {loss} in epoch {epoch} at a learning rate of {float(model.optimizer.learning_rate):.3g}; "
        "lower train.learning_rate, or lengthen train.warmup_epochs"
    )


def _part(samples: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    if fraction == 1:
        return samples
    count = max(1, round(fraction * len(samples)))
    return np.sort(np.random.default_rng(derive(seed, "fraction")).choice(samples, count, replace=False))


class _Trainer:
    """A model under training: what changes in it from epoch to epoch.

    With ``average_decay``, the optimizer averages the weights, and ``statistics`` are the averages of what batch
    normalisation has seen: those of the weights that trained would not fit the averaged ones.
    """

    def __init__(self, recipe: Recipe, model: keras.Model, target: Target, steps: int) -> None:
        self._recipe, self._model, self._target, self._steps = recipe, model, target, steps
        self._rates: dict[str, float] | None = None
        self.statistics: list[np.ndarray] = []

    def begin(self, epoch: int) -> None:
        """Give every layer its share of the learning rate in this epoch; begin a new optimizer where they change."""
        rates = FAMILIES[self._recipe.model.family].rates
        shares = rates(self._model, epoch, self._recipe.model) if rates else {}
        if shares == self._rates:
            return
        self._rates = shares
        for layer in self._model.layers:
            if layer.name in shares:
                layer.trainable = shares[layer.name] > 0
        of_variable = {
            variable.path: shares.get(layer.name, 1.0) * self._norm_bias(layer, variable)
            for layer in self._model.layers
            for variable in layer.trainable_variables
        }
        with backend.scope(self._model):
            optimizer = make_optimizer(self._recipe.train, self._steps, lambda variable: of_variable[variable.path])
        averages = self._averages()  # of the optimizer before
        loss = _loss(self._target, self._recipe.train.label_smoothing)
        with backend.scope(self._model):
            self._model.compile(optimizer, loss, jit_compile=backend.jit(self._recipe.train.deterministic))
            self._model.optimizer.build(self._model.trainable_variables)  # now, so that its variables are in one order
        _inner(optimizer)._iterations.assign(epoch * self._steps)  # that of batches, also where several make a step
        for variable, average in zip(self._model.trainable_variables, self._averages().values(), strict=False):
            (value,) = _values([averages.get(variable.path, variable)])
            average.assign(value)  # Keras lets them begin at 0

    def _averages(self) -> dict[str, Any]:
        """Return the running averages of the weights by their path; none if none are kept."""
        if not (self._recipe.train.average_decay and self._model.compiled):
            return {}
        inner = _inner(self._model.optimizer)
        averages = inner._model_variables_moving_average
        return {each.path: average for each, average in zip(inner._trainable_variables, averages, strict=True)}

    def _norm_bias(self, layer: Any, variable: Any) -> float:
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        return self._recipe.train.norm_bias_rate if is_norm and variable.name == "beta" else 1.0

    def epoch(self, batches: EpochBatches) -> float:
        """Train on every batch once; return the mean loss, or at once the first that is no number."""
        # Faster than model.fit here: its tf.data pipeline costs more per step than small models do.
        losses = []
        for batch in batches:
            losses.append(self._step(batch))
            if not np.isfinite(losses[-1]):
                return losses[-1]
            if self._recipe.train.average_decay:
                self._average_statistics()
        return float(np.mean(losses))

    def _step(self, batch: tuple[Any, ...]) -> float:
        """Train on a batch, spread over the cards if there are several; return its loss."""
        if backend.replicas(self._model) == 1:
            return float(self._model.train_on_batch(*batch))
        self._model.make_train_function()
        self._model.reset_metrics()
        return float(self._model.train_function(iter([backend.parts(self._model, batch)]))["loss"])

    def _average_statistics(self) -> None:
        decay, now = _inner(self._model.optimizer).ema_momentum, _values(self._measured())
        before = self.statistics or now
        self.statistics = [decay * old + (1 - decay) * new for old, new in zip(before, now, strict=True)]

    def _measured(self) -> list[Any]:
        variables = self._model.non_trainable_variables
        return [variable for variable in variables if variable.name in ("moving_mean", "moving_variance")]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Hold the averages in the model while a block lasts, if there are any."""
        held = [*self._model.trainable_variables, *self._measured()]
        raw = _values(held) if self._recipe.train.average_decay else []
        self.keep_average()
        yield
        for variable, value in zip(held, raw, strict=False):
            variable.assign(value)

    def keep_average(self) -> None:
        """Set the weights and what normalisation has seen to their averages, if there are any."""
        if self._recipe.train.average_decay:
            averages = [*_values(_inner(self._model.optimizer)._model_variables_moving_average), *self.statistics]
            for variable, average in zip([*self._model.trainable_variables, *self._measured()], averages, strict=True):
                variable.assign(average)


def _values(variables: Sequence[Any]) -> list[np.ndarray]:
    """Return copies; JAX gives a variable's own memory away when it trains."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def _inner(optimizer: Any) -> Any:
    """Return the optimizer that float16's loss scaling wraps, or itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _loss(target: Target, label_smoothing: float) -> keras.losses.Loss:
    """Build the loss of a task; a value is learned as the share of its range, which a sigmoid cannot leave."""
    if target.activation == "softmax":
        return keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
    smoothing = 0.0 if target.task == "regression" else label_smoothing  # it would pull values to the middle
    return keras.losses.BinaryCrossentropy(label_smoothing=smoothing)
