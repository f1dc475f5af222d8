"""Ops to policy to views: rendering a sample under a list of albumentations ops, the same wherever it happens."""

import difflib
import hashlib
import inspect
import os
import random
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from competition.affine import quicken
from competition.arrays import create_array, open_array, write_rows
from competition.errors import CompetitionError
from competition.parallel import run_chunks
from competition.params import Op
from competition.seeds import derive

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else its import asks the network for a newer version

RENDERERS = ("albumentations", "opencv-python-headless", "numpy")  # other versions may draw or round otherwise
CHUNK_IMAGES = 1024  # of one worker's turn at most; enough to make the cost of handing it out vanish
CHUNK_BYTES = 4_000_000  # of images that a worker holds before it writes them, unless one alone is larger
TRIED = 16  # draws with which an op is tried out; of the eight ways to turn and flip, all are met


def check(raw: dict[str, Any]) -> list[str]:
    """Tell the mistakes in the policies of a ``params.yaml`` as read: unknown ops and arguments, wrong values."""
    mistakes = []
    for section in ("augment", "predict"):
        policy = raw[section].get("policy") if isinstance(raw.get(section), dict) else None
        for number, op in enumerate(policy if isinstance(policy, list) else []):
            if isinstance(op, dict):
                mistakes += [f"{section}.policy.{number}{mistake}" for mistake in _mistakes(op)]
    return mistakes


def _mistakes(op: Op) -> list[str]:
    ops = _ops()
    name = op.get("op")
    if not isinstance(name, str) or name not in ops:
        return [f".op: {name!r} is no albumentations op{_nearest(str(name), list(ops))}"]
    known = [argument for argument in inspect.signature(ops[name].__init__).parameters if argument != "self"]
    given = [str(argument) for argument in op if argument != "op"]
    mistakes = [
        f".{argument}: {name} has no such argument{_nearest(argument, known)}"
        for argument in given
        if argument not in known
    ]
    if "p" not in given:
        mistakes.append(f".p: is missing; write how often {name} is applied, from 0 to 1")
    if not mistakes:
        try:
            _transform(op)
        except (ValueError, TypeError) as error:
            lines = [re.sub(r" \[type=.*", ";", line.strip()) for line in str(error).splitlines() if "://" not in line]
            mistakes.append(f": {name} refuses its arguments: {' '.join(lines[1:] or lines).rstrip(';')}")
    return mistakes


def _nearest(wrong: str, right: list[str]) -> str:
    nearest = difflib.get_close_matches(wrong, right, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _ops() -> dict[str, Any]:
    import albumentations

    classes = {name: value for name, value in vars(albumentations).items() if isinstance(value, type)}
    abstract = ("BasicTransform", "DualTransform", "ImageOnlyTransform", "Transform3D")
    return {
        name: value
        for name, value in classes.items()
        if issubclass(value, albumentations.BasicTransform) and name not in abstract
    }


def _transform(op: Op) -> Any:
    return _ops()[op["op"]](**{argument: value for argument, value in op.items() if argument != "op"})


class Policy:
    """An ordered list of ops that renders views.

    Args:
        ops: as checked by `check`; none renders every view as the image itself.
        shape: (h, w, c) of the images, which every op must keep.

    Raises:
        CompetitionError: the ops do not return uint8 images of that shape.
    """

    def __init__(self, ops: Sequence[Op], shape: tuple[int, int, int]) -> None:
        self.ops = tuple(ops)
        if ops:
            quicken()
        self._transforms = [_transform(op) for op in ops]
        # One pair of generators for all ops: given a seed, albumentations would hand every op the same one, and what
        # should be independent (two flips, say) would always happen together.
        self._bits, self._python = np.random.PCG64(0), random.Random()
        for transform in self._transforms:
            transform.set_random_state(np.random.Generator(self._bits), self._python)
        for op in ops:
            self._try(op, shape)

    @staticmethod
    def _try(op: Op, shape: tuple[int, int, int]) -> None:
        import albumentations

        always = albumentations.Compose([_transform({**op, "p": 1.0})])
        images = []
        try:
            for seed in range(TRIED):
                always.set_random_state(np.random.default_rng(seed), random.Random(seed))
                images.append(always(image=np.full(shape, 128, np.uint8))["image"])
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise CompetitionError(
                f"{op['op']} cannot render an image of shape {shape}: {reason}; leave it out"
            ) from None
        image = next((image for image in images if image.shape != shape or image.dtype != np.uint8), images[0])
        if image.shape != shape or image.dtype != np.uint8:
            raise CompetitionError(
                f"{op['op']} turns an image of shape {shape} into {image.dtype} of shape {image.shape}; expected uint8 "
                "of the same shape: leave it out, or give it the size of the images"
            )

    def render(self, image: np.ndarray, seed: int) -> np.ndarray:
        """Render one image, uint8 (h, w, c), to the same shape. The draw is a function of the seed alone, 128 bits."""
        # New generators would do as well, and take a quarter of the time of a small image.
        self._bits.state = {
            "bit_generator": "PCG64", "state": {"state": seed, "inc": 1}, "has_uint32": 0, "uinteger": 0,
        }  # fmt: skip
        self._python.seed(seed)
        for transform in self._transforms:
            image = transform(image=image)["image"]
        return image


def view_seed(seed: int, purpose: str, view: int, sample_id: str) -> int:
    """Derive the seed of one view of one sample, 128 bits; every road to that view uses this one."""
    name = sample_id.encode("utf-8", "surrogatepass")  # as file names may have them
    return int.from_bytes(hashlib.blake2b(name, digest_size=16, key=_view_key(seed, purpose, view)).digest(), "big")


@cache
def _view_key(seed: int, purpose: str, view: int) -> bytes:
    return derive(seed, purpose, view).to_bytes(8, "big")


def write_views(
    images: Path, sample_ids: Sequence[str], ops: Sequence[Op], outs: dict[int, Path], *, seed: int, purpose: str
) -> None:
    """Render views of all samples into an array each, on all cores.

    Args:
        images: a ``.npy`` of uint8 (n, h, w, c).
        sample_ids: id of each row; "" leaves the row black.
        ops: the policy.
        outs: view -> the ``.npy`` file to write, of the shape of ``images``.
        seed: the master seed.
        purpose: ``augment`` or ``predict``, so that the two draw apart.
    """
    shape = open_array(images).shape
    per_chunk = max(1, min(CHUNK_IMAGES, CHUNK_BYTES // int(np.prod(shape[1:]))))
    chunks = []
    for view, out in outs.items():
        create_array(out, shape)
        starts = range(0, shape[0], per_chunk)
        chunks += [(view, out, start, list(sample_ids[start : start + per_chunk])) for start in starts]
    for _ in run_chunks(
        _write_chunk,
        chunks,
        size=lambda chunk: len(chunk[3]),
        description=f"{purpose} views",
        initializer=_start,
        arguments=(images, tuple(ops), seed, purpose),
        modules=["albumentations"],
    ):
        pass


_job: tuple[np.ndarray, Policy, int, str]  # set once in each worker process


def _start(images: Path, ops: tuple[Op, ...], seed: int, purpose: str) -> None:
    global _job
    array = open_array(images)
    _job = (array, Policy(ops, array.shape[1:]), seed, purpose)


def _write_chunk(chunk: tuple[int, Path, int, list[str]]) -> None:
    view, out, first_row, sample_ids = chunk
    images, policy, seed, purpose = _job
    rows = np.array(images[first_row : first_row + len(sample_ids)])  # at once, for a row of a map takes its time
    # Their seeds at once too, and the views apart from the rows: one by one and in place took 2 to 7 % more.
    seeds = [view_seed(seed, purpose, view, sample_id) if sample_id else None for sample_id in sample_ids]
    pairs = zip(rows, seeds, strict=True)
    views = [np.zeros_like(row) if each is None else policy.render(row, each) for row, each in pairs]
    write_rows(out, first_row, np.stack(views))
