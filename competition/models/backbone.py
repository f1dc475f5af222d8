"""backbone: a network of keras.applications, with or without what it learned from ImageNet."""

import ast
import difflib
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field

from competition.errors import CompetitionError, UnavailableError
from competition.fields import CountOrNone, Fraction, Positive, Section, Text

BLOCKS = 8  # slices of the network that take learning rates of their own
# Sides of the smallest images that networks take, by the beginning of their names.
LEAST_PX = {"Inception": 75, "Xception": 71, "VGG": 32, "ResNet": 32, "MobileNet": 32, "DenseNet": 32, "NASNet": 32,
            "EfficientNet": 32, "ConvNeXt": 32}  # fmt: skip


@cache
def networks() -> tuple[str, ...]:
    """List the networks of keras.applications, as its file names them: to import Keras would take seconds."""
    keras = find_spec("keras")
    assert keras and keras.origin
    source = (Path(keras.origin).parent / "applications" / "__init__.py").read_text(encoding="utf-8")
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return tuple(each.name for node in imports for each in node.names if not each.name.islower())


def _known(network: str) -> str:
    known = networks()
    if network in known:
        return network
    spelled = {name.lower(): name for name in known}
    close = [spelled[name] for name in difflib.get_close_matches(network.lower(), spelled, n=3)]
    hint = f"did you mean {' or '.join(close)}?" if close else f"expected one of {', '.join(sorted(known))}"
    raise ValueError(f"is {network}, which keras.applications does not have; {hint}")


def backbone(
    layers: Any,
    pixels: Any,
    *,
    network: Annotated[str, AfterValidator(_known)],
    weights: Text,
    pooling: Literal["average", "max"],
    dropout: Fraction,
    frozen_epochs: CountOrNone,
    thawed_rate: Positive,
    depth_rate: Annotated[float, Field(gt=0, le=1)],
    size_px: CountOrNone,
) -> Any:
    """Build a network of keras.applications on the pixels as it wants them, its layers being layers of the model.

    ``frozen_epochs``, ``thawed_rate`` and ``depth_rate`` are for `rates`. A gray image becomes three equal channels.

    Raises:
        CompetitionError: the images are too small for the network, or its weights cannot be had.
    """
    from keras import applications

    factory = getattr(applications, network)
    x = preprocessed(layers, pixels, sys.modules[factory.__module__].preprocess_input)
    if size_px:
        x = layers.Resizing(size_px, size_px, dtype="float32", name="resize")(x)
    if x.shape[1] is None and network.startswith("NASNet"):
        raise CompetitionError(f"{network} takes images of one size only; set train.start_size: 1.0, or model.size_px")
    try:
        with _weights_files(network, weights), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of images in a size that no weights were made for: any will do
            built = factory(
                include_top=False,
                weights=None if weights == "none" else "imagenet",
                input_tensor=x,
                input_shape=tuple(x.shape[1:]),
                pooling={"average": "avg", "max": "max"}[pooling],
            )
    except (ValueError, OSError) as error:
        reason = _reason(str(error), network, weights, x.shape)
        if reason is None:
            raise
        raise CompetitionError(reason) from None
    return layers.Dropout(dropout, name="dropout")(built.output) if dropout else built.output


def check(params: Section, shape: tuple[int, ...]) -> str | None:
    """Tell whether the images are too small for the network, or its file is missing; Keras is not asked."""
    keys: Any = params
    if keys.weights not in ("imagenet", "none") and not Path(keys.weights).is_file():
        return (
            f"model.weights is {keys.weights}, and there is no such file; expected imagenet, none, or the weights file "
            f"of a {keys.network} without its top"
        )
    least = next((px for begins, px in LEAST_PX.items() if keys.network.startswith(begins)), 1)
    height, width = (keys.size_px, keys.size_px) if keys.size_px else shape[:2]
    return _too_small(keys.network, least, height, width) if min(height, width) < least else None


def rates(model: Any, epoch: int, params: Section) -> dict[str, float]:
    """Give the layers of the network their share of the learning rate; the layer of the classes keeps all of it.

    The layers with weights are cut, in order of depth, into `BLOCKS` slices of the same number of layers. In the frozen
    epochs all take nothing; then the slice next to the classes takes ``thawed_rate``, and each one nearer to the pixels
    ``depth_rate`` times that of the slice after it.

    Source: slower rates towards the pixels, and thawing after the head has learned, are Howard and Ruder, "Universal
    Language Model Fine-tuning" (2018), there for text. That normalisation with frozen weights keeps its statistics too
    is what Keras does.
    """
    keys: Any = params
    names = [layer.name for layer in model.layers if layer.weights and layer.name != "classes"]
    if epoch < keys.frozen_epochs:
        return dict.fromkeys(names, 0.0)
    nearness = {name: number * BLOCKS // len(names) for number, name in enumerate(names)}
    return {name: keys.thawed_rate * keys.depth_rate ** (BLOCKS - 1 - near) for name, near in nearness.items()}


def preprocessed(layers: Any, pixels: Any, preprocess: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Do what a network's own function does to pixels, with layers that are saved with the model.

    All these functions scale and shift each channel, and some reverse the channels. Which, is read off what the
    function makes of black and of pure red, green and blue; so a network that Keras adds is right too.
    """
    import keras

    black, *pure = preprocess(np.concatenate([np.zeros((1, 3)), np.eye(3)]).reshape(4, 1, 1, 3)).reshape(4, 3)
    scales = np.array(pure) - black  # (3, 3): from a channel of the image to one of the network
    reverses = scales[0, 0] == 0
    scale = np.diag(scales[:, ::-1] if reverses else scales)
    x = pixels
    if x.shape[-1] == 1:
        x = layers.Concatenate(name="colour")([x, x, x])
    if reverses:
        x = keras.ops.flip(x, axis=-1)
    return layers.Rescaling(scale.tolist(), black.tolist(), dtype="float32", name="preprocess")(x)


@contextmanager
def _weights_files(network: str, weights: str) -> Iterator[None]:
    """Answer Keras's networks when they ask for their file of ImageNet: by the file that is named, or as Keras does.

    A named file goes this way too because EfficientNets scale their pixels otherwise when they ask for ImageNet.
    """
    from keras.src.utils import file_utils  # not public; a test fails when it moves

    fetch = file_utils.get_file

    def answer(name: str, origin: str, **options: Any) -> str:
        if weights != "imagenet":
            return weights
        try:
            return fetch(name, origin, **options)
        except Exception as error:  # Keras raises nothing narrower
            reason = str(error).rpartition(" -- ")[2]
            folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
            raise UnavailableError(
                f"the ImageNet weights of {network} are not at hand and {origin} cannot be fetched ({reason}); fetch "
                f"it on another machine, and lay it here as {folder / name} or let model.weights name it"
            ) from None

    file_utils.get_file = answer
    try:
        yield
    finally:
        file_utils.get_file = fetch


def _reason(error: str, network: str, weights: str, shape: tuple[int | None, ...]) -> str | None:
    """Tell why keras.applications refused, if that is the user's to mend."""
    least = re.search(r"at least\s+(\d+)x\d+", error)
    if least:
        return _too_small(network, int(least[1]), shape[1], shape[2])
    if weights == "none":
        return None
    return (
        f"the weights in {weights} are not those of a {network} without its top: {error.splitlines()[0]}; let "
        "model.weights name another file, or model.network another network"
    )


def _too_small(network: str, least: int, height: int | None, width: int | None) -> str:
    return (
        f"{network} takes images of at least {least} x {least} pixels and gets {height} x {width}; set model.size_px "
        f"to {least} or more, or raise prepare.image_size_px"
    )
