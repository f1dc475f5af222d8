"""softmax: one dense layer from pixels to classes, the baseline that every other family has to beat."""

from typing import Any


def softmax(layers: Any, pixels: Any) -> Any:
    """Bring pixels to the range 0 to 1; the layer of the classes makes it multinomial logistic regression."""
    return layers.Rescaling(1 / 255)(pixels)
