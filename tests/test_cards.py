"""What is done where there are graphics cards. Fakes stand in for them."""

import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf

from competition import backend, environment
from competition.reading import load
from competition.search.training import Training
from competition.state import keyed
from competition.versions import cuda_versions
from tests.conftest import ROOT


@pytest.fixture(scope="module", autouse=True)
def started() -> None:
    backend.start(2)  # before the first test that asks for a device: afterwards TensorFlow takes no other number


def model(copies: int) -> SimpleNamespace:
    """Return what stands for a model that is spread over so many cards."""
    return SimpleNamespace(distribute_strategy=SimpleNamespace(num_replicas_in_sync=copies))


def test_tensorflow_compiles_a_step_on_one_card_only_and_where_bits_may_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two virtual CPUs for cards, it found no variable of the second: 'Trying to access resource …'."""
    for place, compiled in (("gpu:0", True), ("cpu:0", False)):
        monkeypatch.setattr(backend, "device", lambda place=place: place)
        assert backend.jit(model(1), deterministic=False) == compiled
        assert not backend.jit(model(2), deterministic=False)
        assert not backend.jit(model(1), deterministic=True)


def tensorflow_tells(monkeypatch: pytest.MonkeyPatch, details: dict[str, tuple[int, int]]) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["card"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda card: details)


def jax_tells(monkeypatch: pytest.MonkeyPatch, device: SimpleNamespace) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(devices=lambda: [device]))


def torch_tells(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    cuda = SimpleNamespace(get_device_capability=lambda: capability)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))


@pytest.mark.parametrize(
    ("tells", "told", "chosen"),
    [
        (tensorflow_tells, {"compute_capability": (9, 0)}, "bfloat16"),
        (tensorflow_tells, {"compute_capability": (8, 0)}, "bfloat16"),
        (tensorflow_tells, {"compute_capability": (7, 5)}, "float16"),
        (tensorflow_tells, {"compute_capability": (6, 0)}, "float32"),
        (tensorflow_tells, {}, "float32"),
        (jax_tells, SimpleNamespace(compute_capability="12.0"), "bfloat16"),
        (jax_tells, SimpleNamespace(compute_capability="7.0"), "float16"),
        (jax_tells, SimpleNamespace(compute_capability="gfx90a"), "float32"),
        (jax_tells, SimpleNamespace(), "float32"),
        (torch_tells, (8, 6), "bfloat16"),
        (torch_tells, (7, 5), "float16"),
    ],
)
def test_the_precision_is_one_that_the_card_is_fast_at(monkeypatch: pytest.MonkeyPatch, tells, told, chosen) -> None:
    monkeypatch.setattr(backend, "device", lambda: "gpu:0")
    tells(monkeypatch, told)
    assert backend.precision("auto") == chosen
    assert backend.precision("float32") == "float32"


@pytest.fixture
def two_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Linux tell of two cards."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("DEVICES", "DRIVER"):
        monkeypatch.setattr(backend, name, tmp_path / name)
        (tmp_path / name).mkdir()
    for number, model in enumerate(("Tesla T4", "A100")):
        (tmp_path / f"DEVICES/nvidia{number}").touch()
        card = tmp_path / f"DRIVER/gpus/0000:0{number}:00.0"
        card.mkdir(parents=True)
        (card / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t\t 42\nGPU UUID: \t GPU-{number}ab-cd\n")
    (tmp_path / "DEVICES/nvidiactl").touch()
    (tmp_path / "DRIVER/version").write_text("driver 580\nGCC 12\n")


@pytest.mark.parametrize(
    ("visible", "cards"),
    [
        (None, ["Tesla T4", "A100"]),
        ("1", ["A100"]),
        ("1, 0", ["A100", "Tesla T4"]),
        ("0,-1,1", ["Tesla T4"]),
        ("GPU-1ab", ["A100"]),
        ("MIG-7", ["MIG-7"]),
        ("", []),
        ("-1", []),
    ],
)
def test_the_cards_are_those_that_are_visible(
    two_cards: None, monkeypatch: pytest.MonkeyPatch, visible: str | None, cards: list[str]
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert backend.cards() == cards + ["driver 580"] * bool(cards)
    assert len(backend.visible_cards()) == len(cards)


def test_without_a_card_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "DRIVER", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert backend.cards() == []


def test_the_state_belongs_to_the_cards_and_to_what_computes_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(cards: list[str], one_card: bool = False) -> str:
        monkeypatch.setattr(backend, "cards", lambda: cards)
        return keyed(tmp_path / "state", "train", {}, [], 1, one_card=one_card).name

    one, two = ["T4", "driver"], ["T4", "T4", "driver"]
    assert key(one) == key(one, one_card=True) == key(two, one_card=True)
    keys = [key([]), key(one), key(two), key(["A100", "driver"])]
    installed = tmp_path / "nvidia_cudnn_cu12-9.1.dist-info"
    installed.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    for version in ("9.1", "9.2"):
        (installed / "METADATA").write_text(f"Name: nvidia-cudnn-cu12\nVersion: {version}\n")
        cuda_versions.cache_clear()
        keys.append(key(one))
        assert environment.describe(1)["packages"]["nvidia-cudnn-cu12"] == version
    assert len(set(keys)) == len(keys) == 6


@pytest.mark.parametrize(
    ("visible", "lists", "is_told"),
    [(None, [], True), ("0", [], True), ("-1", [], False), ("", [], False), (None, ["card"], False)],
)
def test_a_card_that_is_not_used_is_told(
    two_cards: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    visible: str | None,
    lists: list[str],
    is_told: bool,
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: lists)
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda card, grows: None)
    told = "nvidia*, but tensorflow lists no graphics card, so models run on the CPU; pip install -c constraints.txt"
    backend.start(2)
    assert capsys.readouterr().err.count(told) == is_told
    monkeypatch.setattr(backend.multiprocessing, "parent_process", lambda: "a search")
    training = Training(load(ROOT / "params.yaml").recipe.model_dump_json(), Path(), Path(), seed=1, threads=2)
    assert training.start().count(told) == is_told  # the process that it belongs to says it, once for all
    assert not capsys.readouterr().err


def test_torch_is_asked_for_its_card_and_jax_makes_a_remark_of_its_own(
    two_cards: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, lists, is_told in (("torch", False, True), ("torch", True, False), ("jax", False, False)):
        monkeypatch.setenv("KERAS_BACKEND", name)
        cuda = SimpleNamespace(is_available=lambda lists=lists: lists)
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
        assert backend.missed_card().count(f"{name} lists no graphics card") == is_told


def test_without_a_card_nothing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(backend, "DEVICES", tmp_path)
    assert not backend.missed_card()
