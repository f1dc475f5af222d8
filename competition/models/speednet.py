"""speednet: a short network for high learning rates, its first layer whitened from the data."""

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from competition.fields import Count

PATCH_PX = 2  # side of the whitened patches
WHITENED_IMAGES = 5000  # whose patches the whitening is learned from,
WHITENED_PIXELS = WHITENED_IMAGES * 64 * 64  # but no more of them: each takes 155 bytes meanwhile, so 3.2 GB in all
NOISE = 1.2e-4  # added to the variances, so that directions without signal are not blown up
Widths = Annotated[tuple[Count, ...], Field(min_length=1)]
SCALE = 1 / 9  # of the features, so that the first logits are small beside what the learning rate can do


def speednet(layers: Any, pixels: Any, *, widths: Widths, convs_per_group: Count) -> Any:
    """Build groups of 3 x 3 convolutions, each pooled after its first, on a whitening layer.

    Source: Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (2024), there ``airbench``: whitened first layer,
    convolutions that begin as the identity, batch normalisation without scale, its statistics forgotten fast. Written
    anew. The preset of this name has its recipe of training (label smoothing, every second epoch mirrored, weights
    taken back) but for SGD at a high rate, beside which muon needs fewer epochs.
    """
    # Filters that begin shorter learn faster: the scale is undone by the normalisation, and the step is not.
    short = {"class_name": "VarianceScaling", "config": {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"}}
    options = {"padding": "same", "use_bias": False, "kernel_initializer": short}

    def activate(x: Any) -> Any:
        return layers.Activation("gelu")(layers.BatchNormalization(momentum=0.6, scale=False)(x))

    x = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    patch = PATCH_PX * PATCH_PX * pixels.shape[-1]
    x = layers.Conv2D(2 * patch, PATCH_PX, name="whiten")(x)
    x = layers.Activation("gelu")(x)
    for width in widths:
        x = activate(layers.MaxPooling2D(2)(layers.Conv2D(width, 3, **options)(x)))
        for _ in range(convs_per_group - 1):
            x = activate(layers.Conv2D(width, 3, **options)(x))
    return layers.Rescaling(SCALE)(layers.GlobalMaxPooling2D()(x))


def adapt(model: Any, images: np.ndarray) -> None:
    """Whiten the first layer by the patches of the images, and let the other convolutions begin as the identity."""
    count = max(1, min(WHITENED_IMAGES, WHITENED_PIXELS // (images.shape[1] * images.shape[2])))
    for layer in model.layers:
        weights = layer.get_weights()
        if layer.name == "whiten":
            layer.set_weights(whitening(images[:count]))
            layer.trainable = False
        elif type(layer).__name__ == "Conv2D":
            kernel = weights[0]  # (3, 3, in, out); outputs beyond the inputs keep their random start
            same = min(kernel.shape[2:])
            kernel[:, :, :, :same] = 0
            kernel[1, 1, range(same), range(same)] = 1
            layer.set_weights([kernel, *weights[1:]])


def whitening(images: np.ndarray) -> list[np.ndarray]:
    """Find a convolution whose outputs on these images are uncorrelated, of variance 1, and each there with both signs.

    Args:
        images: uint8 (n, h, w, c).

    Returns:
        Kernel float32 (2, 2, c, 8 c) and bias float32 (8 c,), for pixels brought to -1 to 1.
    """
    scaled = images.astype(np.float32) / 127.5 - 1
    windows = np.lib.stride_tricks.sliding_window_view(scaled, (PATCH_PX, PATCH_PX), axis=(1, 2))
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, PATCH_PX * PATCH_PX * images.shape[-1])
    mean = patches.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(np.cov(patches, rowvar=False, dtype=np.float64))
    # An eigenvector has either sign; the largest entry is made positive, whatever the library gave.
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), range(len(values))])
    white = (vectors / np.sqrt(values + NOISE)).astype(np.float32)
    both = np.concatenate([white, -white], axis=1)
    bias = -(mean.astype(np.float32) @ both)
    return [both.reshape(PATCH_PX, PATCH_PX, images.shape[-1], -1), bias]
