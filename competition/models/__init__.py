"""Model families: each builds a Keras model from its parameters, an image shape and a number of classes."""

from collections.abc import Callable
from typing import Any

from competition.models import conv, softmax
from competition.params import ModelParams

# A family takes its section of params.yaml, the image shape (h, w, c) and the number of classes k; its model turns
# uint8 (b, h, w, c) into probabilities float32 (b, k).
FAMILIES: dict[str, Callable[[Any, tuple[int, int, int], int], Any]] = {
    "conv": conv.build,
    "softmax": softmax.build,
}


def build(params: ModelParams, shape: tuple[int, int, int], classes: int) -> Any:
    """Build an untrained model.

    Raises:
        CompetitionError: the images are too small for it.
    """
    return FAMILIES[params.family](params, shape, classes)
