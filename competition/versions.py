"""Which versions of packages are installed."""

import importlib.metadata
from collections.abc import Sequence


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of those of some packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
