"""A batch spread over two devices teaches what it teaches on one. CPUs stand in for cards."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

DEVICES = """
import json, os, pathlib, sys
from competition import backend
if os.environ["KERAS_BACKEND"] == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu[0], [tf.config.LogicalDeviceConfiguration()] * {count})
backend.start(1)
"""

# Prints the losses of some epochs, the predictions, and over how many devices it ran.
FIT = (
    DEVICES
    + """
from tests.test_fitting import fit, made, recipe
fit(recipe(model__filters=3, train__epochs=1), made())  # what it exchanges is of other sizes
params = recipe(
    train__batch_size={size}, train__epochs=3, train__optimizer="sgd", train__weight_decay=0.01,
    train__precision="float32", train__average_decay=0.9, model__batch_norm=False, model__block_dropout=0.0,
    train__lookahead=0.5, train__clip_norm=0.1,
)
fitted = fit(params, made())
losses = [epoch.loss for epoch in fitted.history]
print(json.dumps([backend.device_count({size}), losses, fitted.probabilities.tolist()]))
"""
)


def run(backend: str, count: int, size: int) -> tuple[int, list[float], list[list[float]]]:
    environment = {
        **os.environ, "KERAS_BACKEND": backend, "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", FIT.format(count=count, size=size)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_devices_learn_what_one_does(backend: str) -> None:
    if not importlib.util.find_spec(backend):
        pytest.skip(f"pip install -e '.[{backend}]'")
    (one, losses, probabilities), (two, spread_losses, spread_probabilities) = (
        run(backend, count, 16) for count in (1, 2)
    )
    assert (one, two) == (1, 2)
    assert spread_losses == pytest.approx(losses, rel=1e-4)
    np.testing.assert_allclose(spread_probabilities, probabilities, atol=1e-4)
    assert losses[-1] < losses[0]


KILLED = (
    DEVICES.format(count=2)
    + """
from competition import fitting
from tests.test_fitting import made, recipe
from tests.test_resume import EVERYTHING, survives
epoch, held = fitting._Trainer.epoch, []
def spied(trainer, batches):
    loss = epoch(trainer, batches)
    held.extend([each.numpy() for each in variable.value.values] for variable in trainer._measured())
    return loss
fitting._Trainer.epoch = spied
changed = {"train__batch_size": 16, "train__optimizer": "sgd"}
assert survives(recipe(**{**EVERYTHING, **changed}), made(), pathlib.Path(sys.argv[1]))
assert held and all((one == other).all() for one, other in held)
"""
)


def test_what_two_devices_count_is_shared_and_survives(tmp_path: Path) -> None:
    """Each normalises its part of a batch; after an epoch both hold the mean, and a killed fit goes on from it."""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "state")],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_batches_to_be_accumulated_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """In TensorFlow, which cannot average over the cards in a step that is only sometimes made."""
    from competition import backend

    backend.start(2)
    monkeypatch.setattr(backend, "_devices", lambda: ["one", "other"])
    assert backend.device_count(16) == 2
    assert backend.device_count(16, accumulate_batches=2) == 1


def test_a_batch_that_cannot_be_cut_stays_whole() -> None:
    assert run("tensorflow", 2, 15)[0] == 1
