"""Fit one model on some samples and validate it on others; shared by tune and train."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from competition import decisions, models, scores
from competition.batches import EpochBatches, TrainingSet
from competition.errors import CompetitionError
from competition.inference import predict
from competition.params import Recipe, TrainParams
from competition.scores import find_metric
from competition.seeds import derive
from competition.tasks import Target


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
    fold: int,
    seed: int,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Fitted:
    """Train a model on all folds but one, and validate it on that one after every epoch.

    Args:
        recipe: the model and how it is trained.
        training_set: samples, views and folds.
        fold: the fold left out.
        seed: of initial weights, dropout and data order.
        on_epoch: told of every epoch as it ends.

    Returns:
        The model of the last epoch or, with ``patience_epochs``, that of the best; the earliest of equals.

    Raises:
        CompetitionError: the model cannot be built for these images, or the loss is no longer a number.
    """
    params = recipe.train
    train_samples = np.flatnonzero(training_set.folds != fold)
    val_samples = np.flatnonzero(training_set.folds == fold)
    if not len(train_samples) or not len(val_samples):
        raise CompetitionError(
            f"no training sample is in fold {fold}: data/prepare has {training_set.contract['folds']} folds; "
            "run 'compete prepare' again, or lower train.folds and tune.fold"
        )
    target, truth = training_set.target, training_set.truth[val_samples]
    metric = find_metric(training_set.contract["metric"])
    decision = decisions.plain(metric, target.task, len(target.classes), target.at_least_one)
    batches = EpochBatches(training_set, train_samples, params.batch_size, seed)

    keras.backend.clear_session()
    keras.utils.set_random_seed(derive(seed, "weights"))
    model = models.build(recipe.model, training_set.shape, target)
    architecture = model.to_json()  # before compiling, so that it holds no optimizer
    optimizer = make_optimizer(params, steps_per_epoch=len(batches))
    model.compile(optimizer, _loss(target, params.label_smoothing))

    history: list[Epoch] = []
    kept, kept_weights, probabilities = None, None, np.zeros((0, 0), np.float32)
    for number in range(params.epochs):
        batches.begin(number)
        learning_rate = float(optimizer.learning_rate)
        train_loss = _train_epoch(model, batches)
        if not np.isfinite(train_loss):
            raise CompetitionError(
                f"the loss became {train_loss} in epoch {number} at a learning rate of {learning_rate:.3g}; lower "
                "train.learning_rate, or lengthen train.warmup_epochs"
            )
        predicted = predict(model, target, training_set.images, training_set.rows[val_samples])
        score = metric(truth, decisions.apply(decision, target.task, predicted))
        val_loss = scores.loss(target.task, truth, predicted)
        history.append(Epoch(number, train_loss, val_loss, score, learning_rate))
        on_epoch(history[-1])
        if kept is None or not params.patience_epochs or metric.better(score, kept.score):
            kept, probabilities = history[-1], predicted
            kept_weights = model.get_weights() if params.patience_epochs else None
        elif number - kept.epoch >= params.patience_epochs:
            break
    assert kept is not None
    if kept_weights is not None:
        model.set_weights(kept_weights)
    return Fitted(model, architecture, probabilities, history, kept)


def _loss(target: Target, label_smoothing: float) -> keras.losses.Loss:
    """Build the loss of a task; a value is learned as the share of its range, which a sigmoid cannot leave."""
    if target.activation == "softmax":
        return keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
    smoothing = 0.0 if target.task == "regression" else label_smoothing  # it would pull values to the middle
    return keras.losses.BinaryCrossentropy(label_smoothing=smoothing)


def _train_epoch(model: keras.Model, batches: EpochBatches) -> float:
    """Train on every batch once; return the mean loss, which is NaN as soon as one is."""
    # Faster than model.fit here: its tf.data pipeline costs more per step than small models do.
    model.reset_metrics()
    loss = float("nan")
    for index in range(len(batches)):
        loss = model.train_on_batch(*batches[index])  # the mean since reset_metrics
        if not np.isfinite(loss):
            break
    return float(loss)


def make_optimizer(params: TrainParams, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Build the optimizer with its learning-rate schedule.

    Weight decay is decoupled from the gradient (Loshchilov and Hutter, 2017: with adam this is AdamW) and leaves out
    biases and normalisation, which it would only pull off their values.
    """
    schedule = _Schedule(
        peak=params.learning_rate,
        warmup_steps=params.warmup_epochs * steps_per_epoch,
        decay_steps=params.epochs * steps_per_epoch if params.schedule == "cosine" else None,
    )
    kinds = {
        "adam": lambda **shared: keras.optimizers.Adam(**shared),
        "sgd": lambda **shared: keras.optimizers.SGD(momentum=0.9, nesterov=True, **shared),
        "rmsprop": lambda **shared: keras.optimizers.RMSprop(**shared),
    }
    optimizer = kinds[params.optimizer](learning_rate=schedule, weight_decay=params.weight_decay or None)
    if params.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Climb in a line from 0 to the peak, then stay there, or fall to 0 along half a cosine."""

    def __init__(self, peak: float, warmup_steps: int, decay_steps: int | None) -> None:
        super().__init__()
        self.peak, self.warmup_steps, self.decay_steps = peak, warmup_steps, decay_steps

    def __call__(self, step: int) -> keras.KerasTensor:
        step = keras.ops.cast(step, "float32")
        rate = keras.ops.convert_to_tensor(self.peak, "float32")
        if self.decay_steps is not None:
            done = (step - self.warmup_steps) / (self.decay_steps - self.warmup_steps)
            rate = rate * 0.5 * (1 + keras.ops.cos(np.pi * keras.ops.clip(done, 0.0, 1.0)))
        if self.warmup_steps:
            rate = rate * keras.ops.minimum((step + 1) / self.warmup_steps, 1.0)
        return rate
