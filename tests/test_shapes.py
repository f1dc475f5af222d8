"""Shapes worked out without Keras are those that Keras builds; what cannot be built is told before."""

import itertools
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from competition import backend, models, shapes
from competition.corner import corner
from competition.errors import CompetitionError
from competition.models import FAMILIES, Family
from competition.params import Range
from competition.presets import apply
from competition.reading import load
from competition.recipes import Recipe
from competition.tasks import Target
from tests.conftest import ROOT, Project, shipped_recipe

TARGET = Target("multiclass", ("a", "b", "c"), 0, 1, False)

CONV = {
    "blocks": 2, "convs_per_block": 2, "filters": 4, "kernel_px": 3, "padding": "same", "pool": "max",
    "activation": "relu", "batch_norm": True, "block_dropout": 0.1, "dense_layers": 1, "dense_units": 8,
    "dense_dropout": 0.3,
}  # fmt: skip
MLP = {"hidden_layers": 2, "units": 8, "activation": "relu", "batch_norm": True, "dropout": 0.2}
RESNET = {"stem_filters": 4, "filters": (4, 8, 12), "blocks_per_group": 2, "dropout": 0.1}
SPEEDNET = {"widths": (8, 12), "convs_per_group": 2}
BACKBONE = {
    "network": "MobileNet", "weights": "none", "pooling": "average", "dropout": 0.2, "frozen_epochs": 1,
    "thawed_rate": 0.1, "depth_rate": 0.5, "size_px": 32,
}  # fmt: skip


def section(family: str, **keys: Any) -> Any:
    return FAMILIES[family].schema(family=family, **keys)


@pytest.fixture(scope="module")
def keras() -> Any:
    backend.start(2)
    import keras

    return keras


SETTINGS = [
    ("softmax", {}, (7, 9, 3)),
    ("mlp", MLP, (8, 8, 1)),
    ("mlp", {**MLP, "hidden_layers": 3, "units": (9, 5, 4), "batch_norm": False, "dropout": (0.1, 0.0, 0.5)},
     (5, 7, 3)),
    ("mlp", {**MLP, "hidden_layers": 0}, (4, 4, 1)),
    ("conv", CONV, (16, 16, 1)),
    ("conv", {**CONV, "padding": "valid"}, (23, 17, 3)),
    ("conv", {**CONV, "padding": "valid", "kernel_px": (5, 3), "convs_per_block": (1, 3)}, (29, 28, 3)),
    ("conv", {**CONV, "filters": (5, 3, 7), "blocks": 3, "pool": "average", "batch_norm": False}, (13, 9, 1)),
    ("conv", {**CONV, "pool": "none", "block_dropout": 0.0, "dense_layers": 0}, (7, 5, 3)),
    ("conv", {**CONV, "dense_layers": 2, "dense_units": (6, 4), "dense_dropout": (0.0, 0.2)}, (9, 9, 1)),
    ("resnet", RESNET, (15, 9, 3)),
    ("resnet", {**RESNET, "stem_filters": 6, "filters": (6,), "blocks_per_group": 1, "dropout": 0.0}, (5, 5, 1)),
    ("resnet", {**RESNET, "filters": (8, 8), "blocks_per_group": 3}, (1, 3, 1)),
    ("speednet", SPEEDNET, (9, 11, 1)),
    ("speednet", {"widths": (16,), "convs_per_group": 1}, (32, 31, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("family", "keys", "shape"), SETTINGS)
def test_a_family_has_the_shapes_and_parameters_that_keras_builds(
    keras: Any, family: str, keys: dict[str, Any], shape: tuple[int, int, int]
) -> None:
    """Layer by layer; Keras lists those of a residual block in another order than they were made."""
    from competition.building import build

    params = section(family, **keys)
    layers = build(params, shape, TARGET).layers
    built = [(type(layer).__name__, layer.output.shape[1:], layer.count_params()) for layer in layers]
    traced = [(row.layer, row.shape, row.parameters) for row in shapes.trace(params, shape, TARGET)]
    assert Counter(traced) == Counter(built)
    if family != "resnet":
        assert traced == built


IMAGE = (13, 9, 6)
CASES: list[tuple[str, Any, dict[str, Any]]] = [
    ("Conv2D", IMAGE, {"filters": 4, "kernel_size": (5, 2), "strides": (2, 3)}),
    ("Conv2D", IMAGE, {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same", "use_bias": False}),
    ("Conv2D", IMAGE, {"filters": 4, "kernel_size": 3, "dilation_rate": (3, 2)}),
    ("Conv2D", IMAGE, {"filters": 4, "kernel_size": 3, "padding": "same", "groups": 2, "activation": "relu"}),
    ("DepthwiseConv2D", IMAGE, {"kernel_size": 3, "strides": 2, "depth_multiplier": 2}),
    ("DepthwiseConv2D", IMAGE, {"kernel_size": (2, 4), "padding": "same", "use_bias": False}),
    ("SeparableConv2D", IMAGE, {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "same"}),
    ("SeparableConv2D", IMAGE, {"filters": 5, "kernel_size": 4, "depth_multiplier": 3, "use_bias": False}),
    ("Dense", (7,), {"units": 5}),
    ("Dense", IMAGE, {"units": 5, "use_bias": False}),
    ("BatchNormalization", IMAGE, {}),
    ("BatchNormalization", IMAGE, {"scale": False, "axis": 1}),
    ("LayerNormalization", IMAGE, {}),
    ("LayerNormalization", IMAGE, {"axis": [1, 3], "center": False}),
    ("GroupNormalization", IMAGE, {"groups": 3}),
    ("MaxPooling2D", IMAGE, {}),
    ("MaxPooling2D", IMAGE, {"pool_size": 3, "strides": 2, "padding": "same"}),
    ("AveragePooling2D", IMAGE, {"pool_size": (4, 2), "strides": (1, 3)}),
    ("GlobalMaxPooling2D", IMAGE, {"keepdims": True}),
    ("GlobalAveragePooling2D", IMAGE, {}),
    ("PReLU", IMAGE, {}),
    ("PReLU", IMAGE, {"shared_axes": [1, 2]}),
    ("Flatten", IMAGE, {}),
    ("Reshape", IMAGE, {"target_shape": (-1, 26)}),
    ("Reshape", IMAGE, {"target_shape": (9, 13, 6)}),
    ("Permute", IMAGE, {"dims": (3, 1, 2)}),
    ("ZeroPadding2D", IMAGE, {"padding": 2}),
    ("ZeroPadding2D", IMAGE, {"padding": (1, 3)}),
    ("ZeroPadding2D", IMAGE, {"padding": ((1, 2), (0, 4))}),
    ("Cropping2D", IMAGE, {"cropping": ((1, 2), (3, 0))}),
    ("UpSampling2D", IMAGE, {"size": (2, 3)}),
    ("Resizing", IMAGE, {"height": 5, "width": 7}),
    ("Concatenate", [IMAGE, (13, 9, 2)], {}),
    ("Concatenate", [IMAGE, (4, 9, 6), (2, 9, 6)], {"axis": 1}),
    *[(kind, [IMAGE, IMAGE, (1, 9, 6)], {}) for kind in ("Add", "Multiply", "Average", "Maximum", "Minimum")],
    ("Multiply", [IMAGE, (6,)], {}),
    ("Subtract", [IMAGE, IMAGE], {}),
    ("Activation", IMAGE, {"activation": "gelu"}),
    ("Rescaling", IMAGE, {"scale": 0.5}),
    *[(kind, IMAGE, {"rate": 0.5}) for kind in ("Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianDropout")],
    ("GaussianNoise", IMAGE, {"stddev": 0.5}),
    *[(kind, IMAGE, {}) for kind in ("ReLU", "LeakyReLU", "ELU", "Softmax", "Identity", "ActivityRegularization",
                                     "UnitNormalization")],
]  # fmt: skip


@pytest.mark.parametrize(("kind", "shape", "options"), CASES)
def test_a_layer_has_the_shape_and_parameters_of_keras(
    keras: Any, kind: str, shape: Any, options: dict[str, Any]
) -> None:
    several = isinstance(shape, list)
    layer = getattr(keras.layers, kind)(**options)
    inputs = [keras.Input(each) for each in shape] if several else keras.Input(shape)
    made = shapes.RULES[kind](shape, **options)
    assert made.shape == layer(inputs).shape[1:]
    assert made.parameters == layer.count_params()


def test_every_layer_is_compared_and_every_other_name_is_keras_own(keras: Any) -> None:
    assert {kind for kind, _, _ in CASES} == set(shapes.RULES)
    for other, kind in shapes.ALIASES.items():
        assert getattr(keras.layers, other) is getattr(keras.layers, kind)


@pytest.mark.parametrize(("kind", "shape", "options"), [
    ("Conv2D", (7, 9, 4), {"filters": 6, "kernel_size": (3, 2), "strides": 2}),
    ("Conv2D", (7, 9, 4), {"filters": 6, "kernel_size": 3, "groups": 2, "dilation_rate": 2}),
    ("Conv2D", (7, 9, 4), {"filters": 5, "kernel_size": 1, "padding": "same"}),
    ("DepthwiseConv2D", (7, 9, 4), {"kernel_size": 3, "depth_multiplier": 2}),
    ("Dense", (11,), {"units": 3}),
    ("Dense", (2, 3, 5), {"units": 4}),
])  # fmt: skip
def test_multiply_adds_are_counted(keras: Any, kind: str, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    """Of ones, with ones for weights and no padding, every product adds 1 to what comes out."""
    ones = {"DepthwiseConv2D": "depthwise_initializer"}.get(kind, "kernel_initializer")
    layer = getattr(keras.layers, kind)(**options, **{ones: "ones"})
    total = np.sum(keras.ops.convert_to_numpy(layer(np.ones((1, *shape), np.float32))))
    assert shapes.RULES[kind](shape, **options).multiply_adds == total


def test_a_separable_convolution_is_its_two_parts() -> None:
    made = shapes.RULES["SeparableConv2D"]((7, 9, 4), 6, 3, depth_multiplier=2)
    assert made.multiply_adds == 5 * 7 * (4 * 2 * 9) + 5 * 7 * (8 * 6)


@pytest.mark.parametrize(("keys", "shape", "told"), [
    ({"blocks": 4}, (8, 8, 1), "MaxPooling2D, gets images of 1 x 1 pixels, too small for its window of 2 x 2"),
    ({"blocks": 3}, (8, 8, 1), None),
    ({"padding": "valid", "pool": "none"}, (8, 8, 1), "Conv2D, gets images of 2 x 2 pixels, too small for its"),
    ({"padding": "valid", "pool": "none"}, (9, 9, 1), None),
    ({"padding": "valid", "kernel_px": 5, "blocks": 1}, (40, 8, 1), "Conv2D, gets images of 36 x 4 pixels"),
    ({"padding": "valid", "kernel_px": 5, "blocks": 1}, (40, 10, 1), None),
])  # fmt: skip
def test_what_keras_cannot_build_is_told(
    keras: Any, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any], shape: tuple[int, int, int], told: str | None
) -> None:
    from competition.building import build

    params = section("conv", **{**CONV, **keys})
    if told is None:
        assert shapes.check(params, shape, TARGET) is None
        build(params, shape, TARGET)
        return
    with pytest.raises(CompetitionError, match=re.escape(told) + r".*; pool less .* raise prepare\.image_size_px"):
        shapes.trace(params, shape, TARGET)
    assert told in str(shapes.check(params, shape, TARGET))
    monkeypatch.setattr(shapes, "check", lambda *_: None)  # which `build` asks first
    with pytest.raises(ValueError, match=r"negative|zero|empty"):
        build(params, shape, TARGET)


def of_function(monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any]) -> Any:
    """Make a function a family without keys."""
    schema = FAMILIES["softmax"].schema
    monkeypatch.setitem(models.FAMILIES, "softmax", Family("softmax", function, schema))
    return section("softmax")


@pytest.mark.parametrize(("family", "told"), [
    (lambda layers, pixels: layers.Add()([pixels, layers.Conv2D(4, 3)(pixels)]), "layer 2, Add, gets the shapes"),
    (lambda layers, pixels: layers.Concatenate()([pixels, layers.MaxPooling2D()(pixels)]), "but for axis -1 they must"),
    (lambda layers, pixels: layers.Reshape((5, -1))(pixels), "layer 1, Reshape, gets 192 numbers"),
    (lambda layers, pixels: layers.Conv2D(4, 3, groups=2, name="own")(pixels), "Conv2D own, makes 4 filters of 3 chan"),
    (lambda layers, pixels: layers.GroupNormalization(2)(pixels), "3 channels, which its 2 groups"),
    (lambda layers, pixels: layers.Cropping2D(4)(pixels), "crops all of one side"),
    (lambda layers, pixels: layers.Conv2D(4, 3)(layers.Flatten()(pixels)), "it wants an image"),
    (lambda layers, pixels: layers.MaxPooling2D(data_format="channels_first")(pixels), "wants channels first"),
])  # fmt: skip
def test_layers_that_do_not_fit_are_told(monkeypatch: pytest.MonkeyPatch, family: Any, told: str) -> None:
    assert told in str(shapes.check(of_function(monkeypatch, family), (8, 8, 3), TARGET))


def test_a_layer_called_twice_has_its_weights_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(layers: Any, pixels: Any) -> Any:
        shared = layers.Dense(3)
        return 2 * shared(shared(pixels)) + shared(pixels)

    rows = shapes.trace(of_function(monkeypatch, twice), (8, 8, 3), TARGET)
    assert [row.parameters for row in rows if row.layer == "Dense"] == [12, 0, 0, 8 * 8 * 3 * 3 + 3]


def test_what_cannot_be_walked_is_not_called_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown layer, and what is no layer at all, end `trace` and say so; `check` has nothing to say."""
    unknown = of_function(monkeypatch, lambda layers, pixels: layers.ConvLSTM2D(3, 3)(pixels))
    assert shapes.check(unknown, (8, 8, 3), TARGET) is None
    with pytest.raises(CompetitionError, match=r"knows no layer ConvLSTM2D; .* Known are Activation"):
        shapes.trace(unknown, (8, 8, 3), TARGET)
    other = of_function(monkeypatch, lambda layers, pixels: np.abs(pixels))
    assert shapes.check(other, (8, 8, 3), TARGET) is None
    with pytest.raises(CompetitionError, match=r"without Keras, where it ends in TypeError.*_shapes\.py, line \d+\)"):
        shapes.trace(other, (8, 8, 3), TARGET)


@pytest.mark.parametrize(("family", "keys", "first", "told"), [
    ("speednet", SPEEDNET, (6, 6, 1), None),
    ("speednet", SPEEDNET, (3, 6, 1), "begins with images of 3 x 6 pixels: layer 12, MaxPooling2D, gets"),
    ("resnet", RESNET, (1, 1, 1), None),
    ("softmax", {}, (4, 4, 1), "weights of softmax belong to images of one size, in its layer Dense"),
    ("conv", CONV, (4, 4, 1), "weights of conv belong to images of one size, in its layer Dense"),
])  # fmt: skip
def test_small_images_of_the_first_epochs_are_looked_at_too(
    family: str, keys: dict[str, Any], first: shapes.Shape, told: str | None
) -> None:
    params = section(family, **keys)
    assert shapes.check(params, (8, 8, 1), TARGET) is None
    problem = shapes.check(params, (8, 8, 1), TARGET, first)
    assert problem is None if told is None else told in (problem or "")


def test_the_first_images_of_a_backbone_are_no_smaller_than_its_least() -> None:
    """Of 24 px VGG makes nothing, whose maximum is no number; nothing is amiss where the model resizes them."""
    for size_px, told in ((0, "of 24 x 24 pixels: VGG16 takes images of at least 32 x 32 pixels"), (32, None)):
        params = section("backbone", **{**BACKBONE, "network": "VGG16", "size_px": size_px})
        problem = shapes.check(params, (48, 48, 3), TARGET, (24, 24, 3))
        assert problem is None if told is None else told in (problem or "")


def test_the_sizes_of_a_family_that_cannot_be_walked_are_not_called_wrong(
    keras: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from competition.building import build

    def own(layers: Any, pixels: Any) -> Any:
        return layers.GlobalAveragePooling2D()(layers.Conv2DTranspose(4, 3)(layers.Rescaling(1 / 255)(pixels)))

    params = of_function(monkeypatch, own)
    model = build(params, (8, 8, 3), TARGET, first=(4, 4, 3))
    assert model.output_shape == (None, 3)
    fixed = of_function(monkeypatch, lambda layers, pixels: layers.Reshape((8, 24))(layers.Rescaling(1 / 255)(pixels)))
    assert "in its layer Reshape; set start_size: 1.0" in (shapes.check(fixed, (8, 8, 3), TARGET, (4, 4, 3)) or "")


def test_a_backbone_is_asked_of_keras(keras: Any) -> None:
    """The multiply-adds of a network are those its authors give: MobileNet at 224 pixels, 569 million."""
    params = section("backbone", **{**BACKBONE, "size_px": 0})
    rows = shapes.trace(params, (224, 224, 3), TARGET)
    million = sum(row.multiply_adds for row in rows) / 1e6
    assert 560 < million < 575
    assert rows[-2].shape == (1024,)
    assert sum(row.parameters for row in rows) == 3228864 + 1024 * 3 + 3


def test_nothing_of_it_imports_keras() -> None:
    code = (
        "import sys\nfrom tests.test_shapes import *\n"
        "shapes.trace(section('resnet', **RESNET), (16, 16, 3), TARGET)\n"
        "assert shapes.check(section('backbone', **BACKBONE), (8, 8, 3), TARGET) is None\n"
        "assert shapes.check(section('backbone', **{**BACKBONE, 'size_px': 8}), (8, 8, 3), TARGET)\n"
        "print([name for name in ('keras', 'tensorflow', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "keras" not in done.stdout


def rows_of(*activations: int, kinds: dict[int, str] | None = None) -> list[shapes.Row]:
    """Make a chain of dense layers, but for the first, the pixels, and those that are named."""
    kinds = {0: "InputLayer", **(kinds or {})}
    return [
        shapes.Row(kinds.get(n, "Dense"), (size,), size, activations[max(n - 1, 0)], 0, 7 if n else 0, 0)
        for n, size in enumerate(activations)
    ]


def test_jumps_of_activations_are_told() -> None:
    assert shapes.jumps(rows_of(100, 9000, 18000, 300, 6, 2)) == []
    grown = shapes.jumps(rows_of(100, 9000, 18001, 400, 10))
    assert len(grown) == 1
    assert grown[0].startswith("layer 2, Dense, grows 2 times, from 9,000 to 18,001 activations")
    fallen = shapes.jumps(rows_of(100, 6500, 100, 1, 1))
    assert [line[:29] for line in fallen] == ["layer 2, Dense, falls 65 time", "layer 3, Dense, falls 100 tim"]


@pytest.mark.parametrize(("family", "keys", "told"), [
    ("resnet", {**RESNET, "stem_filters": 8, "filters": (32, 64, 128)}, []),  # a block has two layers on 8 channels
    ("resnet", {**RESNET, "stem_filters": 16, "filters": (64,)},
     ["layer 5, Conv2D, grows 4 times", "layer 6, Conv2D, grows 4 times", "falls 1.02e.03 times.*; pool more"]),
    ("softmax", {}, []),
    ("mlp", {**MLP, "hidden_layers": 0}, []),
    ("mlp", {**MLP, "units": (900, 9)}, ["layer 7, Dense, falls 100 times.*; take more units"]),
    ("mlp", MLP, ["layer 3, Dense, falls 128 times.*; take more units"]),
    ("conv", {**CONV, "blocks": 1, "filters": 8}, ["layer 11, Dense, falls 256 times.*; pool more before it"]),
    ("conv", {**CONV, "blocks": 1, "filters": 8, "dense_layers": 0}, ["layer 11, Dense, falls 683.*; pool more"]),
])  # fmt: skip
def test_the_advice_of_a_family_can_be_taken(family: str, keys: dict[str, Any], told: list[str]) -> None:
    lines = shapes.jumps(shapes.trace(section(family, **keys), (32, 32, 1), TARGET))
    assert len(lines) == len(told)
    for line, pattern in zip(lines, told, strict=True):
        assert re.search(pattern, line)


def test_what_is_pooled_at_once_is_no_growth() -> None:
    grown = rows_of(100, 9000, 36000, 9000, 6, kinds={3: "MaxPooling2D"})
    assert shapes.jumps(grown[:3]) != []
    assert shapes.jumps(grown[:4]) == []
    assert (
        "layer 2, Dense, grows 4.1 times"
        in shapes.jumps(rows_of(100, 9000, 36900, 18900, kinds={3: "MaxPooling2D"}))[0]
    )


@pytest.mark.parametrize("preset", ["cifar10", "fashion-mnist", "speednet"])
def test_our_own_recipes_are_given_no_advice(preset: str, tmp_path: Path) -> None:
    """They are measured; `speednet` doubles no more than it pools, on images of any usual size."""
    (params := tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    apply(preset, params)
    model = load(params).model
    for side, channels in itertools.product((16, 28, 32, 64), (1, 3)):
        assert shapes.jumps(shapes.trace(model, (side, side, channels), TARGET)) == []


def test_few_classes_are_no_jump_unless_an_image_lies_before_them() -> None:
    assert shapes.jumps(rows_of(100, 256, 2)) == []
    assert "layer 2, Dense, falls 128 times" in shapes.jumps(rows_of(256, 256, 2, kinds={1: "Flatten"}))[0]


def test_the_table_adds_up() -> None:
    params = section("mlp", **{**MLP, "hidden_layers": 1, "batch_norm": False, "dropout": 0.0})
    lines = shapes.table(shapes.trace(params, (4, 5, 1), TARGET), batch_size=100_000)
    wanted = [
        "   layer           shape  activations  parameters  multiply-adds",
        "0  InputLayer  4 x 5 x 1           20           0              0",
        "1  Rescaling   4 x 5 x 1           20           0              0",
        "2  Flatten            20           20           0              0",
        "3  Dense               8            8         168            160",
        "4  Activation          8            8           0              0",
        "5  Dense               3            3          27             24",
        "   together                        79         195            184",
        "0.00 million multiply-adds forward for an image; weights 0.00 MB; activations of a batch of 100000 31.6 MB",
    ]
    assert lines == wanted


TINY = '''"""tiny: a family of the user's own."""

from competition.fields import Count


def tiny(layers, pixels, *, filters: Count, kernel_px: Count):
    """One convolution."""
    x = layers.Rescaling(1 / 255)(pixels)
    x = layers.MaxPooling2D(2)(layers.Conv2D(filters, kernel_px, activation="relu")(x))
    return layers.Flatten()(x)
'''


@pytest.fixture(scope="module")
def own(copy_project: Callable[[Path], Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a family of the user's own, its filters to be tuned."""
    project = copy_project(tmp_path_factory.mktemp("own"))
    (project.folder / "competition/models/tiny.py").write_text(TINY)
    space = {"model.filters": {"int": [2, 64]}, "train.learning_rate": {"float": [0.001, 0.1]}}
    project.set(
        model={"family": "tiny", "filters": 8, "kernel_px": 3}, tune__space=space, prepare__image_size_px=[12, 20]
    )
    return project


def test_a_family_of_ones_own_is_a_file(own: Project) -> None:
    shown = own.run("compete", "shapes").stdout
    assert shown.startswith("tiny on images of 12 x 20 x 1; 10 outputs (assumed, for 'compete prepare' has not run)\n")
    assert re.search(r"2  Conv2D +10 x 18 x 8 +1,440 +80 +12,960\n", shown)
    assert re.search(r"5  Dense +10 +10 +3,610 +3,600\n", shown)


def test_the_family_that_the_readme_shows_is_one(copy_project: Callable[[Path], Project], tmp_path: Path) -> None:
    shown = re.search(r"```python\n# competition/models/(\w+)\.py\n(.+?)```", (ROOT / "README.md").read_text(), re.S)
    assert shown
    project = copy_project(tmp_path)
    (project.folder / f"competition/models/{shown[1]}.py").write_text(shown[2])
    project.set(model={"family": shown[1], "filters": 16, "dropout": 0.2}, tune__max_trials=0, tune__space={})
    assert re.search(r"\d  Conv2D +14 x 14 x 16 +3,136 +160 +28,224\n", project.run("compete", "shapes").stdout)


def test_the_corners_of_a_space_are_shown(own: Project) -> None:
    for side, filters in (("low", 2), ("high", 64)):
        shown = own.run("compete", "shapes", "--corner", side).stdout
        assert f"10 x 18 x {filters} " in shown
        assert f"filters: {filters}" in shown.splitlines()[1]
    assert "low" in own.run("compete", "shapes", "--corner", "middle", code=2).stderr


def test_a_corner_has_the_choices_of_the_smallest_or_the_largest_model() -> None:
    """Also of one too small to be built; neither their order matters, nor how many choices change no model."""
    recipe = Recipe(model=section("conv", **CONV), train=shipped_recipe().train)
    others = {
        "train.optimizer": Range(choice=("adam", "sgd", "lion")),
        "train.precision": Range(choice=("float32", "bfloat16", "float16")),
        **{f"train.{key}": Range(choice=(False, True)) for key in ("alternating_flip", "deterministic", "refit")},
        "train.class_weights": Range(choice=("none", "balanced")),
        "train.sampling": Range(choice=("natural", "balanced")),
    }  # 288 combinations
    first = {path: span.choice[0] for path, span in others.items() if span.choice}
    for choices in (("same", "valid"), ("valid", "same")):
        space = {"model.padding": Range(choice=choices), "model.kernel_px": Range(int=(3, 5), step=2), **others}
        for side in (28, 4):
            low, high = (corner(recipe, space, (side, side, 1), TARGET, high=high)[0] for high in (False, True))
            assert low == {"model.padding": "valid", "model.kernel_px": 3, **first}
            assert high == {"model.padding": "same", "model.kernel_px": 5, **first}


def test_the_number_of_classes_is_that_of_the_data(own: Project, tmp_path: Path) -> None:
    contract = '{"task": "ordinal", "classes": ["a", "b", "c"], "target_range": [0, 1], "at_least_one": false}'
    (tmp_path / "prepare").mkdir()
    (tmp_path / "prepare/contract.json").write_text(contract)
    assert "; 2 outputs (" in own.run("compete", "shapes", "--data", str(tmp_path)).stdout


def test_a_size_that_vanishes_ends_the_command(own: Project) -> None:
    own.set(model__kernel_px=12)
    done = own.run("compete", "shapes", code=1)
    own.set(model__kernel_px=3)
    assert re.search(r"\n2  \w+ +1 x 9 x \d+ +[\d,]+ +[\d,]+ +[\d,]+\n$", done.stdout)  # the layers before it
    assert done.stderr.startswith("compete: layer 3, MaxPooling2D, gets images of 1 x 9 pixels")
    assert done.stderr.count("\n") == 1
