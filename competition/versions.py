"""Which versions of packages are installed."""

import importlib.metadata
from collections.abc import Sequence
from functools import cache


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of those of some packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache  # it reads what every installed package says of itself: a third of a second, and every fold asks
def cuda_versions() -> dict[str, str]:
    """Return the versions of the packages by which models run on NVIDIA's cards, as CUDA and cuDNN."""
    found = [(str(each.name).lower().replace("_", "-"), each.version) for each in importlib.metadata.distributions()]
    return {name: version for name, version in sorted(found) if name.startswith(("nvidia-", "jax-cuda"))}
