"""What a third person needs to know of a run to get the same bytes."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from competition import backend
from competition.versions import cuda_versions, versions

PACKAGES = ("tensorflow", "jax", "jaxlib", "torch", "keras", "keras-tuner", "optuna", "albumentations",
            "opencv-python-headless", "numpy", "pandas", "scikit-learn", "dvc")  # fmt: skip
OURS = ("competition", "params.yaml", "dvc.yaml")  # what of a project decides its outputs


def describe(threads: int | str) -> dict[str, Any]:
    """Return versions, backend, device, CPU, threads and the git revision of the folder the command runs in.

    Also the precision that `auto` is on this machine, whatever was asked for: the contract holds that.

    Whether that is clean is told of the project's own files, where they are in it, and null elsewhere.
    """
    here = all(Path(name).exists() for name in OURS)
    changes = _git("status", "--porcelain", "--untracked-files=normal", "--", *OURS) if here else None
    return {
        "python": platform.python_version(),
        "packages": {**versions(PACKAGES), **cuda_versions()},
        "backend": os.environ.get("KERAS_BACKEND", ""),
        "device": backend.device(),
        "cards": backend.cards(),
        "settings": backend.settings(),
        "system": platform.platform(),
        "cpu": _cpu(),
        "threads": backend.threads_used(threads),
        "auto_precision": backend.precision("auto"),
        "revision": _git("rev-parse", "HEAD"),
        "clean": None if changes is None else changes == "",
    }


def _cpu() -> dict[str, Any]:
    """Return the model of the CPU and the features that decide which kernels run."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    features = [name for name in found.get("flags", "").split() if name.startswith(("avx", "fma", "amx"))]
    return {"model": found.get("model name", platform.processor()), "features": features}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or no repository: told as null
    return done.stdout.strip()
