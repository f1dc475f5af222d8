"""What is done where there are graphics cards. Fakes stand in for them."""

from types import SimpleNamespace

import pytest

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
