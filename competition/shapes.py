"""The shapes of a model worked out without Keras: what each layer puts out, holds and computes, in no time.

A family gets a stand-in for ``keras.layers`` (`competition.models`), whose layers compute nothing and write down what
they would put out. So a size that vanishes is told before a training starts.

Source: a table of activation shapes made before training, in which no size is negative and activations shrink steadily,
is how Ng teaches LeNet and its like ("Convolutional Neural Networks", 2017).
"""

import inspect
import math
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from competition.errors import CompetitionError
from competition.models import FAMILIES
from competition.params import TrainParams
from competition.tasks import Target

Shape = tuple[int, ...]  # without the batch

NEEDS_KERAS = ("backbone",)  # families whose layers are not in their file
GROWS = 2.0  # times its input that a layer may put out: what doubling the filters gives that nothing pools
FEW = 8  # channels that are as few as those of pixels: what speednet whitens gray ones to
FALLS = 64.0  # times less than its input: what pooling 8 x 8 pixels into one gives
FLOAT_BYTES = 4

SIZE_JUMPS = 3  # in which the side of the images grows; the step is compiled anew for each size
GROWN = 0.6  # of the epochs after which it is the full one


@dataclass(frozen=True)
class Row:
    """One layer.

    Attributes:
        layer: its kind, as Keras names it.
        shape: of what it puts out, without the batch.
        activations: how many numbers that is.
        before: activations of its largest input; of the first layer its own.
        channels: of that input; 0 if it is no image.
        parameters: its weights, those that are not trained included.
        multiply_adds: of the forward pass of one image through convolutions and dense layers; 0 for all others.
    """

    layer: str
    shape: Shape
    activations: int
    before: int
    channels: int
    parameters: int
    multiply_adds: int


class MisfitError(CompetitionError):
    """A layer cannot be built; ``rows`` are those before it."""

    def __init__(self, told: str, rows: list[Row]) -> None:
        super().__init__(told)
        self.rows = rows


class CannotTellError(CompetitionError):
    """The shapes of this family cannot be worked out without Keras; the model itself may be right."""


def trace(params: Any, shape: Shape, target: Target) -> list[Row]:
    """Walk a family and the layer of the classes that `building.build` sets on it.

    The layers of the family backbone are known to Keras only: it is built, with random weights, and Keras is asked;
    this takes seconds.

    Args:
        params: the model section.
        shape: height, width and channels of the images.
        target: what is to be predicted.

    Returns:
        The layers in the order in which they are made, the pixels first.

    Raises:
        CannotTellError: the family uses what has no stand-in here.
        MisfitError: a layer cannot be built for these images.
        CompetitionError: the family refuses them.
    """
    if params.family in NEEDS_KERAS:
        return _built(params, shape, target)
    layers = _Layers()
    try:
        x = FAMILIES[params.family](layers, layers.pixels(shape), params)
        x = layers.Flatten()(x) if len(x.shape) > 2 else x
    except CompetitionError:
        raise
    except Exception as error:
        path = inspect.getfile(FAMILIES[params.family].features)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        where = f"{path}, line {lines[-1]}" if lines else path
        raise CannotTellError(
            f"the family {params.family} cannot be walked without Keras, where it ends in {type(error).__name__}: "
            f"{error} ({where}); what can be walked is layers of its first argument, + and *"
        ) from error
    layers.Dense(target.outputs)(x)
    return layers.rows


def check(params: Any, shape: Shape, target: Target, first: Shape | None = None) -> str | None:
    """Tell why a model cannot be built for these images; None if it can, or if that cannot be told without Keras.

    Args:
        params: the model section.
        shape: height, width and channels of the images.
        target: what is to be predicted.
        first: those of the images of the first epoch, as `first_shape` finds them. A backbone that no size is told
            would take smaller ones than its least: some end in an error there, some in no number at all.
    """
    problem = _misfit(params, shape, target)
    if problem or first is None:
        return problem
    if params.family not in NEEDS_KERAS and (layer := _sized(params, shape, target)):
        return (
            f"train.start_size is below 1, and the weights of {params.family} belong to images of one size, in its "
            f"layer {layer}; set start_size: 1.0, or take resnet, speednet or backbone"
        )
    problem = _misfit(params, first, target)
    size = f"{first[0]} x {first[1]} pixels"
    return problem and f"train.start_size begins with images of {size}: {problem}; or raise start_size"


def _misfit(params: Any, shape: Shape, target: Target) -> str | None:
    own = FAMILIES[params.family].check
    problem = own(params, shape) if own else None
    if problem or params.family in NEEDS_KERAS:
        return problem
    try:
        trace(params, shape, target)
    except CannotTellError:
        return None
    except CompetitionError as error:
        return str(error)
    return None


def _sized(params: Any, shape: Shape, target: Target) -> str | None:
    """Name the first layer that fits images of one size only; None if there is none, or if that cannot be told."""
    rows: list[Row] = []
    try:
        rows = trace(params, shape, target)
        larger = trace(params, sized(shape, 2.0), target)
    except MisfitError as misfit:
        return rows[len(misfit.rows)].layer
    except CompetitionError:
        return None
    pairs = zip(rows, larger, strict=True)
    return next((row.layer for row, other in pairs if row.parameters != other.parameters), None)


def first_shape(params: TrainParams, shape: Shape) -> Shape | None:
    """Return the shape of the images of the first epoch; None if all epochs have them whole, as a single one has."""
    share = side_share(params, 0)
    return sized(shape, share) if share < 1 else None


def side_share(params: TrainParams, epoch: int) -> float:
    """Return the side of the images of an epoch as a share of the full one, which that of the last one always is.

    Source: sizes that grow while a network trains are Howard's for ImageNet in DAWNBench (2018), and Tan and Le,
    "EfficientNetV2" (2021).
    """
    is_last = epoch == params.epochs - 1  # of one or two epochs it would not have come to the full side
    jumps = SIZE_JUMPS if is_last else min(int(SIZE_JUMPS * epoch / (GROWN * params.epochs)), SIZE_JUMPS)
    return params.start_size + (1 - params.start_size) * jumps / SIZE_JUMPS


def sized(shape: Shape, share: float) -> Shape:
    """Bring height and width to a share of them, but to a pixel at least."""
    return (*(max(1, round(share * side)) for side in shape[:2]), shape[2])


def activations(params: Any, shape: Shape, target: Target) -> int:
    """Count the activations of a model; 0 if it cannot be built."""
    try:
        return sum(row.activations for row in trace(params, shape, target))
    except CompetitionError:
        return 0


def jumps(rows: Sequence[Row]) -> list[str]:
    """Tell where activations do not shrink steadily: where they grow more than `GROWS` times or fall more than `FALLS`.

    The first layer with weights may grow, for pixels have few channels, and so may one on no more than `FEW` channels.
    What pooling takes back at once is no growth. The classes may be few, unless what lies before them is a flattened
    image; also then if they are made of the pixels themselves, for there is nothing between that could shrink.
    """
    told = []
    first = next((number for number, row in enumerate(rows) if row.parameters), 0)
    last = len(rows) - 1
    in_image = False  # whether the last layer with weights gives an image, which can be pooled
    for number, row in enumerate(rows):
        ratio = row.activations / row.before
        may_fall = number == last and (number == first or rows[number - 1].layer != "Flatten")
        change = f"from {row.before:,} to {row.activations:,} activations"
        narrow = number == first or 0 < row.channels <= FEW
        if _pooled(rows, number) / row.before > GROWS and not narrow:
            told.append(f"layer {number}, {row.layer}, grows {ratio:.3g} times, {change}; take fewer filters or units")
        if 1 / ratio > FALLS and not may_fall:
            mend = "pool more before it" if in_image else "take more units"
            told.append(f"layer {number}, {row.layer}, falls {1 / ratio:.3g} times, {change}; {mend}")
        in_image = len(row.shape) == 3 if row.parameters else in_image
    return told


def _pooled(rows: Sequence[Row], number: int) -> int:
    """Count what a layer puts out, or what the pooling makes of it that comes right after."""
    row = rows[number]
    after = rows[number + 1] if number + 1 < len(rows) else row
    return after.activations if "Pooling" in after.layer and after.before == row.activations else row.activations


def table(rows: Sequence[Row], batch_size: int) -> list[str]:
    """Write the rows as lines of text, and below them what they add up to."""
    heads = ["", "layer", "shape", "activations", "parameters", "multiply-adds"]
    cells = [
        [str(number), row.layer, " x ".join(map(str, row.shape)), f"{row.activations:,}", f"{row.parameters:,}",
         f"{row.multiply_adds:,}"]
        for number, row in enumerate(rows)
    ]  # fmt: skip
    activations, parameters, multiply_adds = (
        sum(getattr(row, name) for row in rows) for name in ("activations", "parameters", "multiply_adds")
    )
    cells.append(["", "together", "", f"{activations:,}", f"{parameters:,}", f"{multiply_adds:,}"])
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    sides = [str.rjust, str.ljust, str.rjust, str.rjust, str.rjust, str.rjust]
    lines = [
        "  ".join(side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True)).rstrip()
        for line in [heads, *cells]
    ]
    return [
        *lines,
        f"{multiply_adds / 1e6:,.2f} million multiply-adds forward for an image; weights "
        f"{parameters * FLOAT_BYTES / 1e6:,.2f} MB; activations of a batch of {batch_size} "
        f"{batch_size * activations * FLOAT_BYTES / 1e6:,.1f} MB",
    ]


class _Tensor:
    """Stands in for a Keras tensor: a shape, which begins with the unknown size of the batch."""

    def __init__(self, sizes: Shape) -> None:
        self.sizes = sizes

    @property
    def shape(self) -> tuple[int | None, ...]:
        return (None, *self.sizes)

    def _with(self, other: Any) -> "_Tensor":
        return _Tensor(_merge([self.sizes, other.sizes]).shape) if isinstance(other, _Tensor) else self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _with


class _Layers:
    """Stands in for ``keras.layers``; its rows are the layers that were called."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def pixels(self, shape: Shape) -> _Tensor:
        size = math.prod(shape)
        self.rows.append(Row("InputLayer", shape, size, size, shape[2], 0, 0))
        return _Tensor(shape)

    def __getattr__(self, kind: str) -> Any:
        kind = ALIASES.get(kind, kind)
        if kind not in RULES:
            raise CannotTellError(
                f"compete shapes knows no layer {kind}; the model may be right all the same, and training builds it. "
                f"Known are {', '.join(sorted(RULES))}"
            )
        return partial(_Layer, self.rows, kind)


class _Layer:
    def __init__(self, rows: list[Row], kind: str, /, *args: Any, **options: Any) -> None:
        self.rows, self.kind, self.args, self.options = rows, kind, args, options
        self.is_built = False

    def __call__(self, inputs: Any, **_: Any) -> _Tensor:
        of_many = isinstance(inputs, list | tuple)
        shapes = [x.sizes for x in inputs] if of_many else [inputs.sizes]
        try:
            made = RULES[self.kind](shapes if of_many else shapes[0], *self.args, **self.options)
        except _WrongError as misfit:
            name = f" {self.options['name']}" if "name" in self.options else ""
            raise MisfitError(f"layer {len(self.rows)}, {self.kind}{name}, {misfit}", self.rows) from None
        parameters = 0 if self.is_built else made.parameters
        self.is_built = True  # called again, a layer shares its weights
        size = math.prod(made.shape)
        self.rows.append(Row(self.kind, made.shape, size, *_largest(shapes), parameters, made.multiply_adds))
        return _Tensor(made.shape)


def _largest(shapes: Sequence[Shape]) -> tuple[int, int]:
    """Return the activations of the largest input, and its channels, 0 if it is no image."""
    largest = max(shapes, key=math.prod)
    return math.prod(largest), largest[-1] if len(largest) == 3 else 0


# The rules: from the shape that a layer gets, or the list of them, and its arguments as Keras has them.


@dataclass(frozen=True)
class _Made:
    shape: Shape
    parameters: int = 0
    multiply_adds: int = 0


class _WrongError(Exception):
    """What is wrong, after "layer 3, Conv2D, "."""


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _image(shape: Shape, data_format: str | None) -> Shape:
    if data_format == "channels_first":
        raise _WrongError("wants channels first; images here are height, width, channels")
    if len(shape) != 3:
        raise _WrongError(f"gets the shape {shape}; it wants an image: height, width, channels")
    return shape


def _windows(shape: Shape, window: Any, strides: Any, padding: str, dilation: Any = 1) -> tuple[int, int]:
    """Count the places of a window over an image, down and across."""
    reach = [(side - 1) * gap + 1 for side, gap in zip(_pair(window), _pair(dilation), strict=True)]
    counts = [
        -(-size // stride) if padding == "same" else (size - side) // stride + 1
        for size, side, stride in zip(shape[:2], reach, _pair(strides), strict=True)
    ]
    if min(counts) < 1:
        raise _WrongError(
            f"gets images of {shape[0]} x {shape[1]} pixels, too small for its window of {reach[0]} x {reach[1]}; "
            "pool less before it, take smaller kernels or padding same, or raise prepare.image_size_px"
        )
    return counts[0], counts[1]


def _conv(
    shape: Shape, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid",
    data_format: str | None = None, dilation_rate: Any = 1, groups: int = 1, activation: Any = None,
    use_bias: bool = True, **_: Any,
) -> _Made:  # fmt: skip
    channels = _image(shape, data_format)[2]
    if channels % groups or filters % groups:
        raise _WrongError(f"makes {filters} filters of {channels} channels; its {groups} groups must divide both")
    places = _windows(shape, kernel_size, strides, padding, dilation_rate)
    kernel = math.prod(_pair(kernel_size)) * (channels // groups) * filters
    return _Made((*places, filters), kernel + use_bias * filters, math.prod(places) * kernel)


def _conv_depthwise(
    shape: Shape, kernel_size: Any, strides: Any = 1, padding: str = "valid", depth_multiplier: int = 1,
    data_format: str | None = None, dilation_rate: Any = 1, activation: Any = None, use_bias: bool = True, **_: Any,
) -> _Made:  # fmt: skip
    filters = _image(shape, data_format)[2] * depth_multiplier
    places = _windows(shape, kernel_size, strides, padding, dilation_rate)
    kernel = math.prod(_pair(kernel_size)) * filters
    return _Made((*places, filters), kernel + use_bias * filters, math.prod(places) * kernel)


def _conv_separable(
    shape: Shape, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid",
    data_format: str | None = None, dilation_rate: Any = 1, depth_multiplier: int = 1, activation: Any = None,
    use_bias: bool = True, **_: Any,
) -> _Made:  # fmt: skip
    deep = _conv_depthwise(
        shape, kernel_size, strides, padding, depth_multiplier, data_format, dilation_rate, use_bias=False
    )
    point = _conv(deep.shape, filters, 1, use_bias=use_bias)
    return _Made(point.shape, deep.parameters + point.parameters, deep.multiply_adds + point.multiply_adds)


def _dense(shape: Shape, units: int, activation: Any = None, use_bias: bool = True, **_: Any) -> _Made:
    kernel = shape[-1] * units
    return _Made((*shape[:-1], units), kernel + use_bias * units, math.prod(shape[:-1]) * kernel)


def _normalised(per_size: int, shape: Shape, axis: Any, center: bool, scale: bool) -> _Made:
    axes = [axis] if isinstance(axis, int) else axis
    size = math.prod((0, *shape)[number] for number in axes)  # Keras counts the batch as axis 0
    return _Made(shape, size * (per_size + center + scale))


def _batch_norm(
    shape: Shape, axis: Any = -1, momentum: float = 0, epsilon: float = 0, center: bool = True, scale: bool = True,
    **_: Any,
) -> _Made:  # fmt: skip
    return _normalised(2, shape, axis, center, scale)  # the mean and the variance


def _layer_norm(
    shape: Shape, axis: Any = -1, epsilon: float = 0, center: bool = True, scale: bool = True, **_: Any
) -> _Made:
    return _normalised(0, shape, axis, center, scale)


def _group_norm(
    shape: Shape, groups: int = 32, axis: int = -1, epsilon: float = 0, center: bool = True, scale: bool = True,
    **_: Any,
) -> _Made:  # fmt: skip
    if groups != -1 and (0, *shape)[axis] % groups:
        raise _WrongError(f"gets {(0, *shape)[axis]} channels, which its {groups} groups do not divide")
    return _normalised(0, shape, axis, center, scale)


def _pool(
    shape: Shape, pool_size: Any = 2, strides: Any = None, padding: str = "valid", data_format: str | None = None,
    **_: Any,
) -> _Made:  # fmt: skip
    channels = _image(shape, data_format)[2]
    return _Made((*_windows(shape, pool_size, pool_size if strides is None else strides, padding), channels))


def _pool_all(shape: Shape, data_format: str | None = None, keepdims: bool = False, **_: Any) -> _Made:
    channels = _image(shape, data_format)[2]
    return _Made((1, 1, channels) if keepdims else (channels,))


def _same(shape: Shape, *_: Any, **__: Any) -> _Made:
    return _Made(shape)


def _prelu(shape: Shape, *_: Any, shared_axes: Any = None, **__: Any) -> _Made:
    shared = [shared_axes] if isinstance(shared_axes, int) else shared_axes or []
    return _Made(shape, math.prod(size for number, size in enumerate(shape, start=1) if number not in shared))


def _flatten(shape: Shape, *_: Any, **__: Any) -> _Made:
    return _Made((math.prod(shape),))


def _reshape(shape: Shape, target_shape: Any, **_: Any) -> _Made:
    size, known = math.prod(shape), math.prod(side for side in target_shape if side != -1)
    reshaped = tuple(size // known if side == -1 else side for side in target_shape)
    if math.prod(reshaped) != size:
        raise _WrongError(f"gets {size} numbers in the shape {shape}, which do not go into {tuple(target_shape)}")
    return _Made(reshaped)


def _permute(shape: Shape, dims: Sequence[int], **_: Any) -> _Made:
    return _Made(tuple(shape[number - 1] for number in dims))


def _framed(shape: Shape, frame: Any, sign: int) -> _Made:
    """Add a frame to an image, or take it off: one width, one for rows and one for columns, or one for each side."""
    (top, bottom), (left, right) = (_pair(side) for side in ([frame] * 2 if isinstance(frame, int) else frame))
    height, width = shape[0] + sign * (top + bottom), shape[1] + sign * (left + right)
    if min(height, width) < 1:
        raise _WrongError(f"gets images of {shape[0]} x {shape[1]} pixels and crops all of one side; crop less")
    return _Made((height, width, shape[2]))


def _zero_padding(shape: Shape, padding: Any = 1, data_format: str | None = None, **_: Any) -> _Made:
    return _framed(_image(shape, data_format), padding, 1)


def _crop(shape: Shape, cropping: Any = 0, data_format: str | None = None, **_: Any) -> _Made:
    return _framed(_image(shape, data_format), cropping, -1)


def _up_sampling(shape: Shape, size: Any = 2, data_format: str | None = None, **_: Any) -> _Made:
    height, width, channels = _image(shape, data_format)
    return _Made((height * _pair(size)[0], width * _pair(size)[1], channels))


def _resize(shape: Shape, height: int, width: int, *_: Any, data_format: str | None = None, **__: Any) -> _Made:
    return _Made((height, width, _image(shape, data_format)[2]))


def _merge(shapes: Sequence[Shape], **_: Any) -> _Made:
    """Bring shapes together in which a size is the same, 1 or not there."""
    rank = max(map(len, shapes))
    columns = list(zip(*[(1,) * (rank - len(shape)) + shape for shape in shapes], strict=True))
    if any(len({*column} - {1}) > 1 for column in columns):
        raise _WrongError(f"gets the shapes {' and '.join(map(str, shapes))}; they must be alike")
    return _Made(tuple(max(column) for column in columns))


def _concatenate(shapes: Sequence[Shape], axis: int = -1, **_: Any) -> _Made:
    place = axis % (len(shapes[0]) + 1) - 1  # Keras counts the batch as axis 0
    if len({(*shape[:place], *shape[place + 1 :]) for shape in shapes}) > 1:
        raise _WrongError(f"gets the shapes {' and '.join(map(str, shapes))}; but for axis {axis} they must be alike")
    return _Made((*shapes[0][:place], sum(shape[place] for shape in shapes), *shapes[0][place + 1 :]))


RULES: dict[str, Callable[..., _Made]] = {
    "Conv2D": _conv,
    "DepthwiseConv2D": _conv_depthwise,
    "SeparableConv2D": _conv_separable,
    "Dense": _dense,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    "MaxPooling2D": _pool,
    "AveragePooling2D": _pool,
    "GlobalMaxPooling2D": _pool_all,
    "GlobalAveragePooling2D": _pool_all,
    "PReLU": _prelu,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Permute": _permute,
    "ZeroPadding2D": _zero_padding,
    "Cropping2D": _crop,
    "UpSampling2D": _up_sampling,
    "Resizing": _resize,
    "Concatenate": _concatenate,
    **dict.fromkeys(("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"), _merge),
    **dict.fromkeys(
        ("Activation", "ReLU", "LeakyReLU", "ELU", "Softmax", "Identity", "Rescaling", "Dropout", "SpatialDropout2D",
         "AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization", "UnitNormalization"), _same,
    ),
}  # fmt: skip

ALIASES = {
    "Convolution2D": "Conv2D",
    "SeparableConvolution2D": "SeparableConv2D",
    "MaxPool2D": "MaxPooling2D",
    "AvgPool2D": "AveragePooling2D",
    "GlobalMaxPool2D": "GlobalMaxPooling2D",
    "GlobalAvgPool2D": "GlobalAveragePooling2D",
}


def _built(params: Any, shape: Shape, target: Target) -> list[Row]:
    from competition import backend

    if "keras" not in sys.modules:
        backend.start("auto")
    from keras import Input, Model, layers

    pixels = Input(shape, dtype="uint8")
    x = FAMILIES[params.family](layers, pixels, params.model_copy(update={"weights": "none"}))
    return [_of_keras(layer) for layer in _leaves(Model(pixels, layers.Dense(target.outputs)(x)))]


def _leaves(model: Any) -> list[Any]:
    """List the layers of a model, and in the place of a model among them its own."""
    nested = [_leaves(layer) if hasattr(layer, "layers") else [layer] for layer in model.layers]
    return [layer for layers in nested for layer in layers]


def _of_keras(layer: Any) -> Row:
    kind, shape = type(layer).__name__, layer.output.shape[1:]
    inputs = layer.input if isinstance(layer.input, list) else [layer.input]
    shapes = [tensor.shape[1:] for tensor in inputs] or [shape]  # the pixels have no input
    multiply_adds = 0
    if kind in RULES:
        multiply_adds = RULES[kind](shapes if len(shapes) > 1 else shapes[0], **layer.get_config()).multiply_adds
    return Row(kind, shape, math.prod(shape), *_largest(shapes), layer.count_params(), multiply_adds)
