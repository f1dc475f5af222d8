"""mlp: dense layers on the flattened pixels, the plainest network that learns features of its own."""

from typing import Any, Literal

from competition.fields import Count, CountOrNone, Each, Fraction, nth


def mlp(
    layers: Any,
    pixels: Any,
    *,
    hidden_layers: CountOrNone,
    units: Each[Count],
    activation: Literal["relu", "sigmoid", "tanh", "gelu"],
    batch_norm: bool,
    dropout: Each[Fraction],
) -> Any:
    """Build hidden dense layers on pixels from 0 to 1; a list has a value for each of them.

    Source: initial weights of a variance that the activation keeps from layer to layer; for relu and its like He et
    al., "Delving Deep into Rectifiers" (2015), for those that bend both ways Glorot and Bengio (2010).
    """
    initializer = "he_normal" if activation in ("relu", "gelu") else "glorot_uniform"
    x = layers.Flatten()(layers.Rescaling(1 / 255)(pixels))
    for number in range(hidden_layers):
        x = layers.Dense(nth(units, number), use_bias=not batch_norm, kernel_initializer=initializer)(x)
        if batch_norm:
            x = layers.BatchNormalization(momentum=0.9)(x)  # as in conv
        x = layers.Activation(activation)(x)
        if nth(dropout, number):
            x = layers.Dropout(nth(dropout, number))(x)
    return x
