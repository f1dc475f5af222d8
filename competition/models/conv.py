"""conv: blocks of convolutions and pooling, then dense layers; LeNet and VGG are settings of it."""

from typing import Any, Literal

from competition.fields import Count, CountOrNone, Each, Fraction, Odd, nth


def conv(
    layers: Any,
    pixels: Any,
    *,
    blocks: Count,
    convs_per_block: Each[Count],
    filters: Each[Count],
    kernel_px: Each[Odd],
    padding: Literal["same", "valid"],
    pool: Literal["max", "average", "none"],
    activation: Literal["relu", "gelu", "tanh", "sigmoid"],
    batch_norm: bool,
    block_dropout: Each[Fraction],
    dense_layers: CountOrNone,
    dense_units: Each[Count],
    dense_dropout: Each[Fraction],
) -> Any:
    """Build a plain convolutional network; a list has a value for each block, or for each dense layer.

    One number of filters is that of the first block, and doubles from block to block.

    Source: the block of equal 3 x 3 convolutions ended by pooling, and filters doubled from block to block, are those
    of Simonyan and Zisserman, "Very Deep Convolutional Networks" (2014); batch normalisation before the activation as
    in Ioffe and Szegedy (2015). LeNet is LeCun et al. (1998).
    """

    def activate(x: Any) -> Any:
        if batch_norm:
            # Keras's own momentum of 0.99 needs hundreds of steps to forget its start; small data have fewer.
            x = layers.BatchNormalization(momentum=0.9)(x)
        return layers.Activation(activation)(x)

    pooling = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}
    options = {"use_bias": not batch_norm, "kernel_initializer": "he_normal"}
    x = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    for block in range(blocks):
        width = nth(filters, block) if isinstance(filters, tuple) else filters * 2**block
        for _ in range(nth(convs_per_block, block)):
            x = activate(layers.Conv2D(width, nth(kernel_px, block), padding=padding, **options)(x))
        if pool != "none":
            x = pooling[pool](2)(x)
        if nth(block_dropout, block):
            x = layers.Dropout(nth(block_dropout, block))(x)
    x = layers.Flatten()(x)
    for number in range(dense_layers):
        x = activate(layers.Dense(nth(dense_units, number), **options)(x))
        if nth(dense_dropout, number):
            x = layers.Dropout(nth(dense_dropout, number))(x)
    return x
