"""The optimizer of a fit: its kind, the learning rate over the steps, and the share of it that single weights take."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from competition import backend
from competition.params import TrainParams

START = 0.2  # of the peak, where a triangle begins; Source: airbench, as in models/speednet.py
END = 0.07  # of the peak, where it ends
LAST = "classes"  # layer that building.py ends every model with


def make_optimizer(
    params: TrainParams,
    steps_per_epoch: int,
    share: Callable[[Any], float] = lambda variable: 1.0,
    is_norm_bias: Callable[[Any], bool] = lambda variable: False,
    precision: str = "float32",
    steps_before: int = 0,
) -> keras.optimizers.Optimizer:
    """Build the optimizer with its learning-rate schedule.

    Weight decay is decoupled from the gradient (Loshchilov and Hutter, 2017: with adam this is AdamW) and leaves out
    biases and normalisation, which it would only pull off their values; but biases of normalisation with a rate of
    their own decay like the weights, for so fast they would wander off (airbench, as in models/speednet.py).

    Args:
        params: the train section.
        steps_per_epoch: batches of an epoch.
        share: the learning rate of a variable as a share of the schedule's.
        is_norm_bias: whether a variable takes ``params.norm_bias_rate`` times its share.
        precision: what the model computes in: muon's products of matrices are in bfloat16 where it is that, as in the
            source of muon; else in float32.
        steps_before: batches that were trained on before, with another optimizer: the schedule goes on after them, and
            so do the averages of the weights.
    """

    def rate(variable: Any) -> float:
        return share(variable) * (params.norm_bias_rate if is_norm_bias(variable) else 1.0)

    def decay(variable: Any) -> float:
        kept = params.norm_bias_rate == 1 or not is_norm_bias(variable)
        return 0.0 if kept and variable.name in ("bias", "gamma", "beta") else share(variable)

    schedule = Schedule(
        peak=params.learning_rate,
        kind=params.schedule,
        warmup_steps=round(params.warmup_epochs * steps_per_epoch),
        steps=params.epochs * steps_per_epoch,
        held_steps=steps_per_epoch if params.schedule_by == "epoch" else 1,
        steps_before=steps_before,
    )
    kinds: dict[str, tuple[type, dict[str, Any]]] = {
        "adam": (keras.optimizers.Adam, {}),
        "adamw": (keras.optimizers.AdamW, {}),
        "sgd": (keras.optimizers.SGD, {"momentum": params.momentum, "nesterov": params.momentum > 0}),
        "rmsprop": (keras.optimizers.RMSprop, {}),
        "lion": (keras.optimizers.Lion, {}),
        "muon": (Muon, {"momentum": params.momentum, "exclude_layers": [LAST], "precision": precision}),
    }
    kind, options = kinds[params.optimizer]
    return _with_shares(kind, rate, decay, params.weight_decay, steps_before)(
        learning_rate=schedule,
        weight_decay=params.weight_decay if params.optimizer == "adamw" else params.weight_decay or None,
        use_ema=params.average_decay > 0,
        # Keras averages after every batch, and the parameter is that of a step.
        ema_momentum=params.average_decay ** (1 / params.accumulate_batches),
        global_clipnorm=params.clip_norm or None,
        gradient_accumulation_steps=params.accumulate_batches if params.accumulate_batches > 1 else None,
        **options,
    )


def _with_shares(
    kind: type, rate: Callable[[Any], float], decay: Callable[[Any], float], weight_decay: float, steps_before: int
) -> type:
    """Let every variable of an optimizer take its share of the learning rate, and of the weight decay.

    Its averages of the weights take what `average_kept` says, and go on in an optimizer that follows another.
    """

    def by_share(share: Callable[[Any], float], variables: list[Any]) -> dict[float, list[int]]:
        shares = [share(variable) for variable in variables]
        return {each: [at for at, value in enumerate(shares) if value == each] for each in sorted(set(shares))}

    class WithShares(kind):
        def _backend_update_step(self, grads: list[Any], trainable_variables: list[Any], learning_rate: Any) -> None:
            for share, places in by_share(rate, trainable_variables).items():
                super()._backend_update_step(
                    [grads[at] for at in places],
                    [trainable_variables[at] for at in places],
                    learning_rate if share == 1 else learning_rate * share,
                )

        def _clip_gradients(self, grads: list[Any]) -> list[Any]:
            whole = backend.summed(grads) if self.global_clipnorm else grads
            if whole is grads:
                return super()._clip_gradients(grads)
            # Keras would shorten those of each part of a batch, and only then sum them.
            norm = keras.ops.sqrt(sum(keras.ops.sum(keras.ops.square(each)) for each in whole))
            share = self.global_clipnorm / keras.ops.maximum(norm, self.global_clipnorm)
            return [each * share for each in grads]

        def _apply_weight_decay(self, variables: list[Any]) -> None:
            # Not read from self: where a batch is spread over cards, another one may be in the midst of this.
            for share, places in by_share(decay, variables).items() if weight_decay else ():
                if share:
                    # Muon reads the second where it is adam.
                    self.weight_decay = self.adam_weight_decay = weight_decay * share
                    super()._apply_weight_decay([variables[at] for at in places])

        def _update_model_variables_moving_average(self, trainable_variables: list[Any]) -> None:
            if not self.use_ema:
                return
            done = steps_before + keras.ops.cast(self._iterations, "float32")
            kept = average_kept(self.ema_momentum, done, keras.ops.minimum)
            for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
                average.assign(kept * average + (1 - kept) * variable)

    WithShares.__name__ = kind.__name__
    return WithShares


def average_kept(decay: float, done: Any, least: Callable[[Any, Any], Any] = min) -> Any:
    """Return the share of a running average that stays when it takes in a batch, after ``done`` others.

    It climbs to ``decay``, so that the average is of the last tenth of the batches or so while they are few; else it
    would for long be hardly more than the weights of the beginning.

    Source: as of TensorFlow's `ExponentialMovingAverage` where it is told the number of updates, but that the average
    begins with the weights after the first batch.
    """
    return least(decay, done / (9 + done))


class Muon(keras.optimizers.Muon):
    """Keras's optimizer, also on the kernels of convolutions: each is the matrix from all it sees to its outputs.

    Source: Jordan et al., "Muon" (2024); the length of a step is that of Liu et al., "Muon is scalable" (2025), in
    which one learning rate does for these matrices and for what adam takes.

    Args:
        precision: bfloat16 takes less than half the time of float32 where a device is fast at it; float16, whose least
            numbers are too large for this, is taken as float32.
        options: those of Keras.
    """

    def __init__(self, *, precision: str, **options: Any) -> None:
        super().__init__(**options)
        self._products_in = "bfloat16" if precision == "bfloat16" else "float32"

    def _should_use_adamw(self, variable: Any) -> bool:
        is_conv = variable.name == "kernel" and len(variable.shape) == 4 and variable.shape[-1] > 1
        return not is_conv and super()._should_use_adamw(variable)

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
        """Bring the singular values of a kernel near 1, by a polynomial of it that is taken so many times."""
        ops = keras.ops
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        is_tall = matrix.shape[0] > matrix.shape[1]
        matrix = ops.transpose(matrix) if is_tall else matrix
        # The sum of so many squares is no sum in bfloat16.
        matrix = ops.cast(matrix / (ops.norm(matrix) + 1e-7), self._products_in)
        for _ in range(steps):
            square = matrix @ ops.transpose(matrix)
            matrix = self.muon_a * matrix + (self.muon_b * square + self.muon_c * square @ square) @ matrix
        matrix = ops.cast(ops.transpose(matrix) if is_tall else matrix, x.dtype)
        return ops.reshape(matrix, x.shape)

    def lr_adjust(self, x: Any) -> Any:
        return x * (self.rms_rate * max(np.prod(x.shape[:-1]), x.shape[-1]) ** 0.5)


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Climb in a line to the peak, then stay there, or fall along half a cosine or a line.

    A triangle begins and ends above 0, the others at 0. For ``held_steps`` at a time the rate stays as it is: while
    it climbs, at that of the last of them, then at that of the first. The first step of the optimizer comes after
    ``steps_before``.
    """

    def __init__(
        self, peak: float, kind: str, warmup_steps: int, steps: int, held_steps: int, steps_before: int
    ) -> None:
        super().__init__()
        self.peak, self.kind, self.warmup_steps, self.steps = peak, kind, warmup_steps, steps
        self.held_steps, self.steps_before = held_steps, steps_before

    def __call__(self, step: int) -> keras.KerasTensor:
        ops = keras.ops
        step = ops.cast((self.steps_before + step) // self.held_steps * self.held_steps, "float32")
        rate = ops.convert_to_tensor(self.peak, "float32")
        done = ops.clip((step - self.warmup_steps) / (self.steps - self.warmup_steps), 0.0, 1.0)
        if self.kind == "cosine":
            rate = rate * 0.5 * (1 + ops.cos(np.pi * done))
        elif self.kind == "triangular":
            rate = rate * (1 - (1 - END) * done)
        if self.warmup_steps:
            start = START if self.kind == "triangular" else 0.0
            rate = rate * (start + (1 - start) * ops.minimum((step + self.held_steps) / self.warmup_steps, 1.0))
        return rate
