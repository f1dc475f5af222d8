"""Model families: each builds a Keras model from its parameters, an image shape and the target."""

from collections.abc import Callable
from typing import Any

from competition.models import conv, softmax
from competition.params import ModelParams
from competition.tasks import Target

# A family takes its section of params.yaml, the image shape (h, w, c) and the target; its model turns
# uint8 (b, h, w, c) into float32 (b, target.outputs) with target.activation.
FAMILIES: dict[str, Callable[[Any, tuple[int, int, int], Target], Any]] = {
    "conv": conv.build,
    "softmax": softmax.build,
}


def build(params: ModelParams, shape: tuple[int, int, int], target: Target) -> Any:
    """Build an untrained model.

    Raises:
        CompetitionError: the images are too small for it.
    """
    return FAMILIES[params.family](params, shape, target)
