"""What is done where there are graphics cards. Fakes stand in for them."""

import sys
from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf

from competition import backend


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
