"""Albumentations' affine ops without what only boxes need: the same pixels, in 0.6 of the time at 32 px."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
# Those of numpy.allclose, which the library asks.
RELATIVE_TOLERANCE, TOLERANCE = 1e-5, 1e-8


@cache
def quicken() -> None:
    """Let the affine ops of this process, among them Rotate, take less time for the same pixels.

    For every image they compute a second matrix, for boxes, and ask NumPy whether the first changes anything; at 32 px
    both take longer than to turn the image. Here there are no boxes, so the second may be the first.
    """
    from albumentations.augmentations.geometric import functional

    functional.center_bbox = functional.center  # half a pixel off it: now both matrices are of the same arguments
    functional.create_affine_transformation_matrix = _once(functional.create_affine_transformation_matrix)
    functional.is_identity_matrix = is_identity


def _once(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Return a function that does not compute again what it was asked for the last time."""
    arguments: tuple[Any, ...] = ()
    value = np.empty(0)

    def remembered(*asked: Any) -> np.ndarray:
        nonlocal arguments, value
        if asked != arguments:
            arguments, value = asked, function(*asked)
        return value.copy()

    return remembered


def is_identity(matrix: np.ndarray) -> bool:
    """Tell whether a matrix (3, 3) changes nothing, as `numpy.allclose` would; one number that differs is enough."""
    return all(
        abs(value - one) <= TOLERANCE + RELATIVE_TOLERANCE * one
        for value, one in zip(matrix.ravel().tolist(), IDENTITY, strict=True)
    )
