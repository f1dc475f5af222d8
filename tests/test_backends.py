"""The same project on the other backends of Keras: it learns, and goes on to the same bits."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from competition import backend
from tests.conftest import ROOT, Project, quick

pytestmark = pytest.mark.slow

BACKENDS = [
    pytest.param(
        name, marks=pytest.mark.skipif(not importlib.util.find_spec(name), reason=f"pip install -e '.[{name}]'")
    )
    for name in ("jax", "torch")
]
ONE_DEVICE = "--xla_force_host_platform_device_count=1"  # a flag of XLA as good as any


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_pipeline(
    backend: str, copy_project: Callable[[Path], Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From tune to the submission, on what prepare and augment have made."""
    other = copy_project(tmp_path / "other")
    quick(other)
    other.set(tune__max_trials=1, train__folds=1, train__epochs=20)  # enough that the score is that of the task
    for stage in ("prepare", "augment"):
        other.here(stage)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))  # for one stage after the other
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    told = [other.run("compete", stage).stderr for stage in ("tune", "train", "predict")]
    assert not re.search("oneDNN|cuda", "".join(told)), told  # remarks of TensorFlow, which is installed but not used
    own = json.loads((other.folder / "data/train/metrics.json").read_text())["pooled"]
    assert json.loads((other.folder / "data/train/env.json").read_text())["backend"] == backend
    assert own["accuracy"] > 0.9
    assert (other.folder / "data/predict/submission.csv").read_text().count("\n") == 451


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_killed_fit_goes_on(backend: str) -> None:
    test = "tests/test_resume.py::test_killed_after_any_epoch[rmsprop]"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "KERAS_BACKEND": backend}, timeout=300,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("backend", BACKENDS[:1])
def test_jax_computes_with_as_many_threads_as_told(backend: str, count: int) -> None:
    """Its own pool would have one for each core; on TensorFlow and torch a call sets it."""
    asked = f"""
from pathlib import Path
from competition import backend
backend.start({count})
import jax
jax.numpy.ones(9).sum().block_until_ready()
names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
print(sum(name.startswith("tf_XLAEigen") for name in names))
"""
    environment = {**os.environ, "KERAS_BACKEND": backend}
    said = subprocess.check_output([sys.executable, "-c", asked], cwd=ROOT, env=environment, text=True)
    assert said == f"{count}\n"


@pytest.mark.parametrize(
    ("given", "deterministic", "flags"),
    [
        ("", True, "--xla_gpu_deterministic_ops=true"),
        ("", False, ""),
        (ONE_DEVICE, True, f"{ONE_DEVICE} --xla_gpu_deterministic_ops=true"),
        ("--xla_gpu_deterministic_ops=false", True, "--xla_gpu_deterministic_ops=false"),
    ],
)
def test_jax_is_deterministic_on_a_card_too(
    given: str, deterministic: bool, flags: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a CPU takes the flag as well is seen wherever JAX runs. No process takes a card's memory before its turn."""
    monkeypatch.setattr(os, "environ", {"XLA_FLAGS": given})
    backend._set_environment("jax", 1, deterministic)
    assert os.environ["XLA_FLAGS"] == flags
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


def test_settings_are_what_may_change_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where JAX keeps what it has compiled: a search goes on though that is elsewhere."""
    given = {"JAX_ENABLE_X64": "1", "JAX_COMPILATION_CACHE_DIR": "/there", "OMP_NUM_THREADS": "3", "HOME": "/here"}
    monkeypatch.setattr(os, "environ", given)
    assert backend.settings() == {"KERAS_BACKEND": "tensorflow", "JAX_ENABLE_X64": "1", "OMP_NUM_THREADS": "3"}


def test_tensorflow_comes_without_sklearn_and_jax() -> None:
    """Keras would import both where they are installed, and KerasTuner one; who needs them has them after it."""
    asked = """
import gc, sys
from competition import backend
backend.start(1)
import competition.search.oracle
print([name for name in ("sklearn", "jax") if name in sys.modules], gc.isenabled(), gc.get_freeze_count() > 100_000)
import sklearn.ensemble
"""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    said = subprocess.check_output([sys.executable, "-c", asked], cwd=ROOT, env=environment, text=True)
    assert said == "[] True True\n"


def test_no_file_of_keras_in_the_home_decides(tmp_path: Path) -> None:
    """Older versions of Keras wrote one by themselves; with it models had other bits, or none at all."""
    written = {"floatx": "float64", "epsilon": 0.001, "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(written))
    told = "import keras\nprint(keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format())"
    done = subprocess.run(
        [sys.executable, "-c", f"from competition import backend\nbackend.start(1)\n{told}"],
        cwd=ROOT, env={**os.environ, "KERAS_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.stdout.split() == ["float32", "1e-07", "channels_last"], done.stderr
