"""Every family learns, and is rebuilt from its architecture and weights; what a backbone takes over from Keras."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from competition import backend, models
from competition.batches import TrainingSet
from competition.errors import CompetitionError
from competition.models import FAMILIES, speednet
from competition.policies import Policy
from competition.reading import overlay
from competition.recipes import Recipe
from competition.tasks import Target
from tests.conftest import shipped_recipe

SHAPE = (8, 8, 1)
TARGET = Target("multiclass", ("above", "below"), 0, 1, False)
CONV = {
    "blocks": 1, "convs_per_block": 1, "filters": 4, "kernel_px": 3, "padding": "same", "pool": "max",
    "activation": "relu", "batch_norm": True, "block_dropout": 0.1, "dense_layers": 0, "dense_units": 8,
    "dense_dropout": 0.0,
}  # fmt: skip
MLP = {"hidden_layers": 1, "units": 16, "activation": "relu", "batch_norm": True, "dropout": 0.1}
RESNET = {"stem_filters": 4, "filters": (4, 8), "blocks_per_group": 1, "dropout": 0.1}
SPEEDNET = {"widths": (8, 8), "convs_per_group": 2}
BACKBONE = {
    "network": "MobileNet", "weights": "none", "pooling": "average", "dropout": 0.1, "frozen_epochs": 0,
    "thawed_rate": 0.1, "depth_rate": 0.5, "size_px": 32,
}  # fmt: skip
FAKE = {**BACKBONE, "network": "FakeNet", "frozen_epochs": 1, "thawed_rate": 1.0, "size_px": 16}


def section(family: str, **keys: Any) -> Any:
    return FAMILIES[family].schema(family=family, **keys)


def recipe(model: Any, **train: Any) -> Recipe:
    given = {"epochs": 5, "batch_size": 16, "warmup_epochs": 0, "learning_rate": 0.01, "precision": "float32", **train}
    changed = overlay(shipped_recipe(), {f"train.{key}": value for key, value in given.items()})
    return changed.model_copy(update={"model": model})


@pytest.fixture(scope="module")
def training_set() -> TrainingSet:
    """Two classes: bright above, bright below; noise over both."""
    backend.start(2)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    images = rng.integers(0, 120, (200, *SHAPE))
    images[labels == 0, :4] += 60
    images[labels == 1, 4:] += 60
    return TrainingSet(
        contract={"metric": "accuracy"},
        target=TARGET,
        sample_ids=np.array([f"image {number}" for number in range(200)], object),
        truth=labels,
        weights=None,
        folds=np.arange(200) % 4,
        rows=np.arange(200),
        images=images.astype(np.uint8),
        views=[],
        policy=Policy([], SHAPE),
        seed=1,
    )


def fit(recipe: Recipe, training_set: TrainingSet, **changed: Any):
    from competition import fitting

    return fitting.fit(recipe, training_set, **{"fold": 0, "seed": 1, **changed})


def build(model: Any, shape: tuple[int, int, int] = SHAPE):
    backend.start(2)
    from competition.building import build

    return build(model, shape, TARGET)


@pytest.fixture
def fake_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a network of three layers beside those of keras.applications, the same at each start."""
    import keras

    def build_network(*, input_tensor: Any, **_: Any) -> Any:
        x = input_tensor
        for number, stride in enumerate((2, 2, 4)):
            initial = keras.initializers.HeNormal(seed=number)
            x = keras.layers.Conv2D(8, stride, stride, use_bias=False, kernel_initializer=initial)(x)
            x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.8)(x))
        return keras.Model(keras.utils.get_source_inputs(input_tensor), keras.layers.Flatten()(x))

    build_network.__module__ = keras.applications.MobileNet.__module__
    monkeypatch.setattr(keras.applications, "FakeNet", build_network, raising=False)
    monkeypatch.setattr("competition.models.backbone.networks", lambda: ("FakeNet",))


def rebuilt(architecture: str, model: Any, path: Path):
    """Build the model anew from what a checkpoint holds, without a word about its layers."""
    import keras

    model.save_weights(path)
    again = keras.models.model_from_json(architecture)
    again.load_weights(path)
    return again


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def broken(layers, pixels, *, filters: int:", ".py, line 1 ends in SyntaxError: "),
        ("import nothing_of_this_name", " ends in ModuleNotFoundError: "),
        ("def other(layers, pixels): ...", " has no function broken, which would be its family; "),
        ("def broken(layers, pixels, *, filters): ...", ": the key filters has no annotation; expected an annotation "),
        ("def broken(layers, pixels, *, filters: int = 16): ...", ": the key filters has a default; expected an "),
        ("def broken(layers, pixels, *, filters: object()): ...", ": the key filters has the annotation <object"),
        ("def broken(layers, pixels, *, family: str): ...", ": the key family has a name that the section cannot "),
    ],
)
def test_a_file_that_is_no_family_is_told(
    text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text(text)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "competition.models.broken", raising=False)
    with pytest.raises(CompetitionError) as error:
        models._family("broken")
    assert str(error.value).startswith("competition/models/broken.py")
    assert told in str(error.value)


@pytest.mark.parametrize(("family", "keys", "epochs"), [
    ("softmax", {}, 10),
    ("mlp", MLP, 5),
    ("conv", CONV, 5),
    ("resnet", RESNET, 8),
    ("speednet", SPEEDNET, 8),
    ("backbone", FAKE, 8),
])  # fmt: skip
def test_a_family_learns_and_is_rebuilt_from_its_checkpoint(
    training_set: TrainingSet, fake_network: None, tmp_path: Path, family: str, keys: dict[str, Any], epochs: int
) -> None:
    from competition.building import architecture

    params = section(family, **keys)
    fitted = fit(recipe(params, epochs=epochs), training_set)
    assert fitted.kept.score > 0.85
    json = architecture(params, training_set.shape, training_set.target, "float32")
    again = rebuilt(json, fitted.model, tmp_path / "fold-0.weights.h5")
    images = training_set.images[training_set.folds == 0]
    np.testing.assert_array_equal(again.predict_on_batch(images), fitted.model.predict_on_batch(images))


def test_every_family_is_tested() -> None:
    assert set(FAMILIES) == {"softmax", "mlp", "conv", "resnet", "speednet", "backbone"}


OWN = '''"""own: a family of the user's own, with weights it takes from the images and a rate of its own."""

from competition.fields import Count


def own(layers, pixels, *, units: Count):
    x = layers.Flatten()(layers.Rescaling(1 / 255)(pixels))
    return layers.Dense(units, "tanh", name="hidden")(x)


def adapt(model, images):
    layer = model.get_layer("hidden")
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias - images.mean() / 255 * kernel.sum(axis=0)])


def rates(model, epoch, params):
    return {"hidden": 0.0 if epoch < 1 else 0.5}
'''


class Unread:
    """Stands for images of which none is read."""

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        raise AssertionError(f"{len(rows)} images are read")


def test_no_image_is_read_for_a_family_that_takes_nothing_from_them() -> None:
    """Of photographs of 224 px, ten thousand are 1.5 GB, before every training."""
    from competition import building

    building.adapt(section("conv", **CONV), SimpleNamespace(), Unread(), np.arange(3))
    with pytest.raises(AssertionError, match="3 images are read"):
        building.adapt(section("speednet", **SPEEDNET), SimpleNamespace(), Unread(), np.arange(3))


@pytest.mark.parametrize(("side_px", "count"), [(32, 5000), (64, 5000), (224, 408), (5000, 1)])
def test_speednet_is_whitened_from_as_many_images_as_memory_holds(
    side_px: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 5,000 photographs of 224 px it took 39 GB."""
    seen: list[np.ndarray] = []
    monkeypatch.setattr(speednet, "whitening", lambda images: seen.append(images) or [])
    whiten = SimpleNamespace(name="whiten", get_weights=list, set_weights=list)
    photographs = np.broadcast_to(np.uint8(0), (10_000, side_px, side_px, 3))
    speednet.adapt(SimpleNamespace(layers=[whiten]), photographs)
    assert [len(images) for images in seen] == [count]


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The schema of a family that a user wrote into a file."""
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    family = models._family("own")
    monkeypatch.setitem(FAMILIES, "own", family)
    yield family.schema
    del sys.modules["competition.models.own"]


def test_a_family_of_ones_own_learns(own: Any, training_set: TrainingSet) -> None:
    """Its weights are adapted, then rest for an epoch, then learn."""
    params = recipe(own(family="own", units=12))
    hidden = [fit(params, training_set, until=until).model.get_layer("hidden").get_weights() for until in (1, 2)]
    np.testing.assert_allclose(hidden[0][1], -hidden[0][0].sum(axis=0) * training_set.images.mean() / 255, rtol=0.05)
    assert np.abs(hidden[1][0] - hidden[0][0]).max() > 1e-3
    assert fit(params, training_set).kept.score > 0.9


def test_hidden_layers_are_as_written() -> None:
    model = build(section("mlp", **{**MLP, "hidden_layers": 2, "units": (5, 3), "dropout": (0.0, 0.25)}))
    assert [layer.units for layer in model.layers if type(layer).__name__ == "Dense"] == [5, 3, 2]
    assert [layer.rate for layer in model.layers if type(layer).__name__ == "Dropout"] == [0.25]
    assert [layer.use_bias for layer in model.layers if type(layer).__name__ == "Dense"] == [False, False, True]


@pytest.mark.parametrize(("activation", "deviation"), [("relu", np.sqrt(2 / 256)), ("tanh", np.sqrt(2 / (256 + 400)))])
def test_initial_weights_fit_the_activation(activation: str, deviation: float) -> None:
    model = build(section("mlp", **{**MLP, "units": 400, "activation": activation}), (16, 16, 1))
    kernel = next(layer.kernel for layer in model.layers if type(layer).__name__ == "Dense")
    assert np.std(np.asarray(kernel)) == pytest.approx(deviation, rel=0.03)


def test_a_residual_block_without_weights_passes_on_what_came_in() -> None:
    """With the second convolutions at 0 the features are those of the stem, normalised, activated and pooled."""
    model = build(section("resnet", **{**RESNET, "filters": (4,), "blocks_per_group": 3}))
    for layer in model.layers:
        if type(layer).__name__ == "Conv2D" and layer.kernel.shape[2:] == (4, 4):
            layer.set_weights([np.zeros(layer.kernel.shape)])
    import keras

    stem = next(layer for layer in model.layers if type(layer).__name__ == "Conv2D")
    features = keras.Model(model.input, [stem.output, model.get_layer("classes").input])
    images = np.random.default_rng(0).integers(0, 256, (5, *SHAPE)).astype(np.uint8)
    stems, pooled = features.predict_on_batch(images)
    np.testing.assert_allclose(np.maximum(stems, 0).mean(axis=(1, 2)) / np.sqrt(1.001), pooled, rtol=1e-4, atol=1e-6)


def test_a_residual_network_normalises_activates_then_convolves() -> None:
    params = section("resnet", **{**RESNET, "filters": (4, 8), "blocks_per_group": 1})
    kinds = [type(layer).__name__ for layer in build(params).layers]
    assert kinds.count("Add") == 2
    assert kinds.count("Conv2D") == 1 + 2 + 3  # the stem, two for each block, a projection where the shape changes
    assert kinds[2:6] == ["Conv2D", "BatchNormalization", "Activation", "Conv2D"]
    assert kinds[-5:] == ["Add", "BatchNormalization", "Activation", "GlobalAveragePooling2D", "Dense"]


def test_every_group_but_the_first_halves_the_image_once() -> None:
    keys = {"stem_filters": 4, "filters": (4, 6, 8), "blocks_per_group": 2, "dropout": 0.0}
    sums = [layer.output.shape[1:] for layer in build(section("resnet", **keys), (16, 12, 1)).layers
            if type(layer).__name__ == "Add"]  # fmt: skip
    assert sums == [(16, 12, 4)] * 2 + [(8, 6, 6)] * 2 + [(4, 3, 8)] * 2


@pytest.fixture(scope="module")
def networks() -> list[str]:
    """List those that Keras itself has."""
    backend.start(2)
    from keras import applications

    return [name for name, value in vars(applications).items() if callable(value)]


def test_the_networks_of_keras_are_known_without_it(networks: list[str]) -> None:
    from competition.models import backbone

    assert sorted(backbone.networks()) == sorted(networks)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_come_to_every_network_as_its_own_function_brings_them(networks: list[str], channels: int) -> None:
    import keras

    from competition.models.backbone import preprocessed

    images = np.random.default_rng(0).integers(0, 256, (2, 5, 4, channels)).astype(np.uint8)
    kinds = set()
    for network in networks:
        own = sys.modules[getattr(keras.applications, network).__module__].preprocess_input
        pixels = keras.Input(images.shape[1:], dtype="uint8")
        model = keras.Model(pixels, preprocessed(keras.layers, pixels, own))
        again = keras.models.model_from_json(model.to_json())
        expected = own(np.repeat(images, 3 // channels, axis=-1).astype(np.float32))
        np.testing.assert_allclose(again.predict_on_batch(images), expected, rtol=1e-5, atol=1e-4, err_msg=network)
        kinds.add(tuple(expected[0, 0, 0].tolist()))
    assert len(networks) >= 38
    assert len(kinds) == 4  # as they are, from -1 to 1, by ImageNet's deviations, and reversed


def test_images_too_small_for_a_network_are_told_without_keras(networks: list[str]) -> None:
    """Where Keras would refuse, and nowhere else."""
    import keras

    for network in networks:
        told = {
            size: FAMILIES["backbone"].check(
                section("backbone", **{**BACKBONE, "network": network, "size_px": size}), ()
            )
            for size in range(1, 100)
        }
        least = next(size for size, problem in told.items() if problem is None)
        assert all((problem is None) == (size >= least) for size, problem in told.items())
        assert f"{network} takes images of at least {least} x {least} pixels and gets 7 x 7" in told[7]
        factory = getattr(keras.applications, network)
        with pytest.raises(ValueError, match=f"at least {least}x{least}"):
            factory(include_top=False, weights=None, input_shape=(least - 1, least - 1, 3))


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    backend.start(2)
    import keras

    path = tmp_path_factory.mktemp("weights") / "small.weights.h5"
    keras.applications.MobileNet(include_top=False, weights=None, input_shape=(64, 64, 3)).save_weights(path)
    return path


def inner_weights(model: Any) -> list[np.ndarray]:
    """Return the weights of the network, without the layer of the classes."""
    return [weight for layer in model.layers if layer.name != "classes" for weight in layer.get_weights()]


def equal(left: list[np.ndarray], right: list[np.ndarray]) -> list[bool]:
    return [one.tobytes() == other.tobytes() for one, other in zip(left, right, strict=True)]


def test_a_network_rests_in_its_frozen_epochs_and_learns_after_them(
    training_set: TrainingSet, fake_network: None
) -> None:
    """Its statistics of normalisation rest too; the head learns from the start."""
    params = section("backbone", **{**FAKE, "frozen_epochs": 2})
    untrained = inner_weights(build(params))
    models = [fit(recipe(params, epochs=3), training_set, until=until).model for until in (1, 2, 3)]
    weights = [inner_weights(model) for model in models]
    assert len(untrained) == 3 * (1 + 4)  # a kernel, and scale, shift, mean and variance
    assert all(equal(untrained, weights[0]) + equal(untrained, weights[1]))
    assert not any(equal(untrained, weights[2]))
    heads = [model.get_layer("classes").get_weights()[0] for model in models]
    assert np.abs(heads[0] - heads[1]).max() > 0


def test_a_rate_of_the_network_is_a_share_of_the_heads(training_set: TrainingSet, fake_network: None) -> None:
    """With plain SGD the first step is proportional to the rate, and the shares of the slices are in it."""
    params = section("backbone", **{**FAKE, "frozen_epochs": 0, "dropout": 0.0})
    slowed = section("backbone", **{**FAKE, "frozen_epochs": 0, "dropout": 0.0, "thawed_rate": 0.25})
    train = {"optimizer": "sgd", "momentum": 0.0, "batch_size": 150, "schedule": "constant", "epochs": 1}
    before = inner_weights(build(params))
    steps = [
        [after - was for after, was in zip(inner_weights(fit(recipe(of, **train), training_set).model), before,
                                           strict=True)]
        for of in (params, slowed)
    ]  # fmt: skip
    for number in (0, 1, 2, 5, 6, 7, 10, 11, 12):  # what is trained: kernels, scales and shifts
        np.testing.assert_allclose(steps[1][number], steps[0][number] / 4, rtol=0.01, atol=1e-6)
    assert np.abs(steps[0][10]).max() > 1e-4


def test_a_named_file_holds_the_weights_of_a_network(weights_file: Path, tmp_path: Path) -> None:
    import keras

    params = section("backbone", **{**BACKBONE, "weights": str(weights_file)})
    model = build(params)
    network = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(64, 64, 3))
    network.load_weights(weights_file)
    assert all(equal(inner_weights(model), network.get_weights()))
    again = rebuilt(model.to_json(), model, tmp_path / "fold-0.weights.h5")
    images = np.random.default_rng(0).integers(0, 256, (3, *SHAPE)).astype(np.uint8)
    np.testing.assert_array_equal(again.predict_on_batch(images), model.predict_on_batch(images))


def test_the_rate_falls_from_block_to_block_towards_the_pixels() -> None:
    params = section("backbone", **{**BACKBONE, "frozen_epochs": 2, "thawed_rate": 0.4, "depth_rate": 0.5})
    model, rates = build(params), FAMILIES["backbone"].rates
    assert rates is not None
    weighted = [layer.name for layer in model.layers if layer.weights][:-1]
    for epoch in (0, 1):
        assert rates(model, epoch, params) == dict.fromkeys(weighted, 0.0)
    shares = rates(model, 2, params)
    assert list(shares) == weighted
    falling = list(shares.values())
    assert falling == sorted(falling)
    assert sorted(set(falling)) == [0.4 * 0.5**distance for distance in range(7, -1, -1)]
    counts = [falling.count(share) for share in set(falling)]
    assert max(counts) - min(counts) <= 1
    level = section("backbone", **{**BACKBONE, "depth_rate": 1.0})
    assert set(rates(model, 0, level).values()) == {0.1}


def test_a_network_pools_as_written() -> None:
    kinds = {"average": "GlobalAveragePooling2D", "max": "GlobalMaxPooling2D"}
    for pooling, kind in kinds.items():
        model = build(section("backbone", **{**BACKBONE, "pooling": pooling, "dropout": 0.25}))
        assert [type(layer).__name__ for layer in model.layers[-3:]] == [kind, "Dropout", "Dense"]
        assert model.layers[-2].rate == 0.25


def test_images_are_resized_within_the_model() -> None:
    model = build(section("backbone", **{**BACKBONE, "size_px": 48}), (8, 10, 3))
    assert model.get_layer("resize").output.shape == (None, 48, 48, 3)
    unchanged = build(section("backbone", **{**BACKBONE, "size_px": 0}), (40, 32, 3))
    assert unchanged.get_layer("preprocess").output.shape == (None, 40, 32, 3)
    assert "resize" not in {layer.name for layer in unchanged.layers}


def test_a_network_that_saw_images_of_several_sizes_is_rebuilt_with_the_same_padding() -> None:
    """Told an odd side it pads otherwise: out of fold and on test images it would be two models."""
    backend.start(2)
    import keras

    from competition import building

    params = section("backbone", **{**BACKBONE, "network": "MobileNetV3Small", "size_px": 0})
    trained = building.build(params, (33, 33, 3), TARGET, first=(32, 32, 3))
    json = building.architecture(params, (33, 33, 3), TARGET, "float32", any_size=True)
    paddings = [
        [layer.padding for layer in model.layers if type(layer).__name__ == "ZeroPadding2D"]
        for model in (trained, keras.models.model_from_json(json))
    ]
    assert paddings[0]
    assert paddings[1] == paddings[0]


def test_a_network_that_takes_one_size_only_is_told() -> None:
    backend.start(2)
    from competition import building

    params = section("backbone", **{**BACKBONE, "network": "NASNetMobile", "size_px": 0})
    with pytest.raises(CompetitionError, match="NASNetMobile takes images of one size only"):
        building.build(params, (48, 48, 3), TARGET, first=(32, 32, 3))


@pytest.mark.parametrize(("keys", "told"), [
    ({"size_px": 0}, "takes images of at least 32 x 32 pixels and gets 8 x 8; set model.size_px to 32 or more"),
    ({"network": "InceptionV3"}, "at least 75 x 75 pixels and gets 32 x 32; set model.size_px to 75 or more"),
    ({"weights": "lost.h5"}, "model.weights is lost.h5, and there is no such file; expected imagenet, none, or"),
])  # fmt: skip
def test_a_backbone_that_cannot_be_built_is_told(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(CompetitionError, match=told) as caught:
        build(section("backbone", **{**BACKBONE, **keys}))
    assert "\n" not in str(caught.value)


def test_a_file_of_other_weights_is_told(weights_file: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.weights.h5"
    text.write_text("no weights")
    for network, path in (("MobileNetV3Small", weights_file), ("MobileNet", text)):
        with pytest.raises(CompetitionError, match=re.escape(f"{path} are not those of a {network} without")) as caught:
            build(section("backbone", **{**BACKBONE, "network": network, "weights": str(path)}))
        assert "\n" not in str(caught.value)


def test_weights_that_cannot_be_fetched_say_where_they_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The line names the file, where it comes from and where it goes; laid there it is asked for no more."""
    from urllib.error import URLError

    from keras.src.utils import file_utils

    def cut_off(*_: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(tmp_path))
    monkeypatch.setattr(file_utils, "urlretrieve", cut_off)
    fetch = file_utils.get_file
    with pytest.raises(CompetitionError) as caught:
        build(section("backbone", **{**BACKBONE, "network": "MobileNet", "weights": "imagenet"}))
    name = "mobilenet_1_0_224_tf_no_top.h5"
    told = str(caught.value)
    assert told.startswith("the ImageNet weights of MobileNet are not at hand and https://storage.googleapis.com/")
    assert f"{name} cannot be fetched (no route to host)" in told
    assert f"lay it here as {tmp_path / 'models' / name} or let model.weights name it" in told
    assert "\n" not in told
    assert file_utils.get_file is fetch
    laid = tmp_path / "models" / name
    laid.write_bytes(b"as if fetched elsewhere")
    assert file_utils.get_file(name, "https://nowhere.example", cache_subdir="models") == str(laid)


def test_a_named_file_is_loaded_as_imagenet_is(monkeypatch: pytest.MonkeyPatch, weights_file: Path) -> None:
    """EfficientNet scales its pixels once more for ImageNet's weights, and would not for a file it is given itself."""
    backend.start(2)
    import keras

    loaded = []
    monkeypatch.setattr(keras.Model, "load_weights", lambda self, path, **_: loaded.append(path))
    params = section("backbone", **{**BACKBONE, "network": "EfficientNetB0", "weights": str(weights_file)})
    kinds = [type(layer).__name__ for layer in build(params).layers]
    assert loaded == [str(weights_file)]
    assert kinds.count("Rescaling") == 1 + 2


@pytest.mark.parametrize(("dtype", "within"), [("float32", 1e-5), ("bfloat16", 0.02)])
def test_gelu_of_training_is_that_of_keras(dtype: str, within: float) -> None:
    import keras
    import tensorflow as tf

    from competition import backend, building

    x = tf.cast(np.random.default_rng(0).normal(scale=3, size=(4, 5, 5, 8)), dtype)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        ours, theirs = building.Activation("gelu", dtype=dtype)(x, training=True), keras.activations.gelu(x)
    assert ours.dtype == theirs.dtype
    for one, other in ((ours, theirs), (tape.gradient(ours, x), tape.gradient(theirs, x))):
        np.testing.assert_allclose(np.float32(one), np.float32(other), atol=within, rtol=within)
    assert backend.gelu(x) is not None
    assert np.array_equal(building.Activation("gelu", dtype=dtype)(x, training=False), theirs)
