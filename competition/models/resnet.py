"""resnet: groups of residual blocks, each adding a little to what came in; deep and wide are settings of it."""

from typing import Annotated, Any

from pydantic import Field

from competition.fields import Count, Fraction


def resnet(
    layers: Any,
    pixels: Any,
    *,
    stem_filters: Count,
    filters: Annotated[tuple[Count, ...], Field(min_length=1)],
    blocks_per_group: Count,
    dropout: Fraction,
) -> Any:
    """Build a group of blocks for each of the filters, on images half the size of the group before.

    Source: blocks that normalise and activate before they convolve, and are added to an untouched shortcut, are those
    of He et al., "Identity Mappings in Deep Residual Networks" (2016); few wide groups, with dropout between the two
    convolutions of a block, of Zagoruyko and Komodakis, "Wide Residual Networks" (2016). Their WRN-d-k has stem 16,
    filters 16 k, 32 k and 64 k, and (d - 4) / 6 blocks in each group.
    """
    options = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}

    def activate(x: Any) -> Any:
        return layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))  # momentum as in conv

    def block(x: Any, width: int, stride: int) -> Any:
        active = activate(x)
        changed = stride > 1 or x.shape[-1] != width
        shortcut = layers.Conv2D(width, 1, strides=stride, **options)(active) if changed else x
        x = activate(layers.Conv2D(width, 3, strides=stride, **options)(active))
        if dropout:
            x = layers.Dropout(dropout)(x)
        return layers.Add()([shortcut, layers.Conv2D(width, 3, **options)(x)])

    x = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    x = layers.Conv2D(stem_filters, 3, **options)(x)
    for group, width in enumerate(filters):
        for number in range(blocks_per_group):
            x = block(x, width, stride=2 if group and not number else 1)
    return layers.GlobalAveragePooling2D()(activate(x))
