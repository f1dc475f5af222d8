"""softmax: one dense layer from pixels to classes, the baseline that every other family has to beat."""

import keras
from keras import layers

from competition.params import SoftmaxParams
from competition.tasks import Target


def build(params: SoftmaxParams, shape: tuple[int, int, int], target: Target) -> keras.Model:
    """Build multinomial logistic regression on pixels brought to the range 0 to 1."""
    inputs = keras.Input(shape, dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 255, name="scale")(inputs)
    x = layers.Flatten(name="flatten")(x)
    return keras.Model(
        inputs, layers.Dense(target.outputs, target.activation, dtype="float32", name="classes")(x), name="softmax"
    )
