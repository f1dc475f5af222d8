"""From the ``model`` section to a Keras model."""

from typing import Any

import keras
import numpy as np

from competition import backend, shapes
from competition.errors import CompetitionError
from competition.fields import Section
from competition.models import FAMILIES
from competition.tasks import Target


def build(
    params: Any,
    shape: tuple[int, int, int],
    target: Target,
    precision: str = "float32",
    *,
    first: shapes.Shape | None = None,
    devices: int = 1,
) -> keras.Model:
    """Build an untrained model that turns uint8 (b, h, w, c) into float32 (b, target.outputs).

    Args:
        params: the model section.
        shape: height, width and channels of the images.
        target: what is to be predicted.
        precision: in which the model computes; its weights and its last layer are float32 in any.
        first: of the images of the first epoch, where they are smaller; then images of any size go through it.
        devices: over how many its batches are spread.

    Raises:
        CompetitionError: the parameters do not fit the images, or each other.
    """
    if problem := shapes.check(params, shape, target, first):
        raise CompetitionError(problem)
    return _build(_Layers(), params, shape, target, precision, first is not None, devices)


def architecture(
    params: Any, shape: tuple[int, int, int], target: Target, precision: str, *, any_size: bool = False
) -> str:
    """Return the model of `build` as JSON that needs nothing but Keras to be read.

    Images of any size go through a backbone that was so built: told the size, some networks pad an odd side otherwise.
    """
    any_size = any_size and params.family in shapes.NEEDS_KERAS
    return _build(keras.layers, params, shape, target, precision, any_size).to_json()


def _build(
    layers: Any,
    params: Any,
    shape: tuple[int, int, int],
    target: Target,
    precision: str,
    any_size: bool = False,
    devices: int = 1,
) -> keras.Model:
    keras.backend.clear_session()  # the names of the layers count from 1 again
    keras.config.set_dtype_policy(precision if precision == "float32" else f"mixed_{precision}")
    with backend.spread(devices):
        pixels = keras.Input((None, None, shape[2]) if any_size else shape, dtype="uint8", name="pixels")
        x = FAMILIES[params.family](layers, pixels, params)
        if len(x.shape) > 2:
            x = layers.Flatten(name="features")(x)
        classes = layers.Dense(target.outputs, target.activation, dtype="float32", name="classes")
        return keras.Model(pixels, classes(x), name=params.family)


class _Layers:
    """Keras's layers, some of which train faster and are otherwise the same."""

    def __getattr__(self, name: str) -> Any:
        faster = {"Activation": Activation, "BatchNormalization": BatchNormalization}
        return faster.get(name) or getattr(keras.layers, name)


class Activation(keras.layers.Activation):
    """Keras's layer, with GELU in one pass over the batch in training where the backend can."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        done = backend.gelu(inputs) if training and self.activation is keras.activations.gelu else None
        return super().call(inputs) if done is None else done


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer, in one pass over the batch in training where the backend can."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        done = None
        if training and self.trainable and mask is None and self.axis in (-1, 3):
            done = backend.batch_norm(inputs, self.gamma if self.scale else None, self.beta, self.epsilon)
        if done is None:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = done
        for running, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            running.assign(running * self.momentum + batch * (1.0 - self.momentum))
        return outputs


def adapt(params: Section, model: keras.Model, images: np.ndarray, rows: np.ndarray) -> None:
    """Set the weights of a new model that its family takes from these rows of the images, uint8 (n, h, w, c).

    For a family that takes none, none are read.
    """
    family = FAMILIES[params.family]  # type: ignore[attr-defined]
    if family.adapt:
        family.adapt(model, images[rows])
