"""The optimizer of a fit: its kind, the learning rate over the steps, and the share of it that single weights take."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from competition.params import TrainParams

START = 0.2  # of the peak, where a triangle begins; Source: airbench, as in models/speednet.py
END = 0.07  # of the peak, where it ends


def make_optimizer(
    params: TrainParams, steps_per_epoch: int, share: Callable[[Any], float] = lambda variable: 1.0
) -> keras.optimizers.Optimizer:
    """Build the optimizer with its learning-rate schedule.

    Weight decay is decoupled from the gradient (Loshchilov and Hutter, 2017: with adam this is AdamW) and leaves out
    biases and normalisation, which it would only pull off their values.

    Args:
        params: the train section.
        steps_per_epoch: batches of an epoch.
        share: the learning rate of a variable as a share of the schedule's.
    """
    schedule = Schedule(
        peak=params.learning_rate,
        kind=params.schedule,
        warmup_steps=round(params.warmup_epochs * steps_per_epoch),
        steps=params.epochs * steps_per_epoch,
        held_steps=steps_per_epoch if params.schedule_by == "epoch" else 1,
    )
    kinds: dict[str, tuple[type, dict[str, Any]]] = {
        "adam": (keras.optimizers.Adam, {}),
        "adamw": (keras.optimizers.AdamW, {}),
        "sgd": (keras.optimizers.SGD, {"momentum": params.momentum, "nesterov": params.momentum > 0}),
        "rmsprop": (keras.optimizers.RMSprop, {}),
        "lion": (keras.optimizers.Lion, {}),
        "muon": (keras.optimizers.Muon, {"adam_weight_decay": params.weight_decay or None}),
    }
    kind, options = kinds[params.optimizer]
    optimizer = _with_shares(kind, share)(
        learning_rate=schedule,
        weight_decay=params.weight_decay if params.optimizer == "adamw" else params.weight_decay or None,
        use_ema=params.average_decay > 0,
        # Keras averages after every batch, and the parameter is that of a step.
        ema_momentum=params.average_decay ** (1 / params.accumulate_batches),
        global_clipnorm=params.clip_norm or None,
        gradient_accumulation_steps=params.accumulate_batches if params.accumulate_batches > 1 else None,
        **options,
    )
    if params.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _with_shares(kind: type, share: Callable[[Any], float]) -> type:
    """Let every variable of an optimizer take its share of the learning rate."""

    class WithShares(kind):
        def _backend_update_step(self, grads: list[Any], trainable_variables: list[Any], learning_rate: Any) -> None:
            shares = [share(variable) for variable in trainable_variables]
            for each in sorted(set(shares)):
                of = [number for number, value in enumerate(shares) if value == each]
                super()._backend_update_step(
                    [grads[number] for number in of],
                    [trainable_variables[number] for number in of],
                    learning_rate if each == 1 else learning_rate * each,
                )

        def _apply_weight_decay(self, variables: list[Any]) -> None:
            whole: Any = self.weight_decay  # type: ignore[has-type]
            for each in sorted({share(variable) for variable in variables}) if whole else ():
                self.weight_decay = whole * each
                super()._apply_weight_decay([variable for variable in variables if share(variable) == each])
            self.weight_decay = whole

    WithShares.__name__ = kind.__name__
    return WithShares


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Climb in a line to the peak, then stay there, or fall along half a cosine or a line.

    A triangle begins and ends above 0, the others at 0. For ``held_steps`` at a time the rate stays as it is.
    """

    def __init__(self, peak: float, kind: str, warmup_steps: int, steps: int, held_steps: int = 1) -> None:
        super().__init__()
        self.peak, self.kind, self.warmup_steps, self.steps = peak, kind, warmup_steps, steps
        self.held_steps = held_steps

    def __call__(self, step: int) -> keras.KerasTensor:
        ops = keras.ops
        step = ops.cast(step // self.held_steps * self.held_steps, "float32")
        rate = ops.convert_to_tensor(self.peak, "float32")
        done = ops.clip((step - self.warmup_steps) / (self.steps - self.warmup_steps), 0.0, 1.0)
        if self.kind == "cosine":
            rate = rate * 0.5 * (1 + ops.cos(np.pi * done))
        elif self.kind == "triangular":
            rate = rate * (1 - (1 - END) * done)
        if self.warmup_steps:
            start = START if self.kind == "triangular" else 0.0
            rate = rate * (start + (1 - start) * ops.minimum((step + 1) / self.warmup_steps, 1.0))
        return rate
