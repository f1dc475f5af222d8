"""conv: blocks of convolutions and pooling, then dense layers; LeNet and VGG are settings of it."""

import math
from typing import Any

import keras
from keras import layers

from competition.errors import CompetitionError
from competition.params import ConvParams
from competition.tasks import Target


def build(params: ConvParams, shape: tuple[int, int, int], target: Target) -> keras.Model:
    """Build a plain convolutional network.

    Source: the block of equal 3 x 3 convolutions ended by pooling, and filters doubled from block to block, are those
    of Simonyan and Zisserman, "Very Deep Convolutional Networks" (2014); batch normalisation before the activation as
    in Ioffe and Szegedy (2015).

    Raises:
        CompetitionError: the images have no room for that many poolings.
    """
    room = int(math.log2(min(shape[:2])))
    if params.blocks > room:
        raise CompetitionError(
            f"model.blocks is {params.blocks}; each block halves the image, and {shape[0]} x {shape[1]} pixels "
            f"have room for {room}"
        )
    inputs = keras.Input(shape, dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="scale")(inputs)
    for block in range(params.blocks):
        for number in range(params.convs_per_block):
            name = f"block{block}_conv{number}"
            filters = params.filters * 2**block
            conv = layers.Conv2D(
                filters,
                params.kernel_px,
                padding="same",
                use_bias=not params.batch_norm,
                kernel_initializer="he_normal",
                name=name,
            )
            x = _activate(conv(x), params, name)
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
        if params.block_dropout:
            x = layers.Dropout(params.block_dropout, name=f"block{block}_dropout")(x)
    x = layers.Flatten(name="flatten")(x)
    for number in range(params.dense_layers):
        name = f"dense{number}"
        dense = layers.Dense(
            params.dense_units, use_bias=not params.batch_norm, kernel_initializer="he_normal", name=name
        )
        x = _activate(dense(x), params, name)
        if params.dense_dropout:
            x = layers.Dropout(params.dense_dropout, name=f"{name}_dropout")(x)
    return keras.Model(
        inputs, layers.Dense(target.outputs, target.activation, dtype="float32", name="classes")(x), name="conv"
    )


def _activate(x: Any, params: ConvParams, name: str) -> Any:
    if params.batch_norm:
        # Keras's own momentum of 0.99 needs hundreds of steps to forget its start; small data have fewer.
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)
