"""Views: the same picture for the same seed, view and sample on every road; independent draws."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from competition import affine, parallel
from competition.arrays import create_array, open_array, write_rows
from competition.errors import CompetitionError
from competition.policies import Policy, view_seed, write_views

OPS = [
    {"op": "HorizontalFlip", "p": 0.5},
    {"op": "VerticalFlip", "p": 0.5},
    {"op": "Affine", "p": 1.0, "rotate": [-20, 20], "scale": [0.8, 1.2]},
    {"op": "CoarseDropout", "p": 0.5},
]
SHAPE = (12, 10, 3)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    path = tmp_path / "train.npy"
    create_array(path, (1500, *SHAPE))
    write_rows(path, 0, np.random.default_rng(0).integers(0, 256, (1500, *SHAPE), dtype=np.uint8))
    return path


def test_views_are_a_function_of_seed_view_and_sample(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker or three, chunk by chunk or one by one: the same bytes."""
    ids = [f"image {row}" for row in range(1500)]
    ids[7] = ""
    written = []
    for workers in (1, 3):
        monkeypatch.setattr(parallel, "cores", lambda workers=workers: workers)
        outs = {view: tmp_path / f"{workers}-{view}.npy" for view in (0, 4)}
        write_views(images, ids, OPS, outs, seed=3, purpose="augment")
        written.append([out.read_bytes() for out in outs.values()])
    assert written[0] == written[1]
    view = open_array(tmp_path / "1-4.npy")
    assert not view[7].any()
    policy = Policy(OPS, SHAPE)
    for row in (1499, 0, 1024):
        expected = policy.render(np.array(open_array(images)[row]), view_seed(3, "augment", 4, ids[row]))
        np.testing.assert_array_equal(view[row], expected)
    assert (view[:100] != open_array(tmp_path / "1-0.npy")[:100]).any(axis=(1, 2, 3)).sum() > 90


@pytest.mark.parametrize(
    "op",
    [
        {"op": "Affine", "translate_px": [-1, 1], "border_mode": 4},  # of which one in nine changes nothing
        {"op": "Affine", "rotate": [-20, 20], "scale": [0.8, 1.2], "shear": [-5, 5], "translate_percent": [-0.1, 0.1]},
        {"op": "Affine", "scale": [0.8, 1.2], "keep_ratio": True, "balanced_scale": True},
        {"op": "Rotate", "limit": [-10, 10]},
        {"op": "SafeRotate", "limit": [-30, 30]},
        {"op": "ShiftScaleRotate"},
        {"op": "Affine", "translate_px": [-2, 2], "fit_output": True},
    ],
)
@pytest.mark.filterwarnings("ignore:ShiftScaleRotate")
def test_affine_ops_are_those_of_the_library(op: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit, on sides of which one is odd."""
    from albumentations.augmentations.geometric import functional

    spec = importlib.util.spec_from_file_location("as_it_is", functional.__file__)
    assert spec and spec.loader
    as_it_is = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(as_it_is)
    for name in ("center", "center_bbox", "create_affine_transformation_matrix", "is_identity_matrix"):
        monkeypatch.setattr(functional, name, getattr(as_it_is, name))
    monkeypatch.setattr("competition.policies.quicken", lambda: None)
    image = np.random.default_rng(0).integers(0, 256, (13, 10, 3), dtype=np.uint8)
    policy = Policy([{**op, "p": 0.9}], image.shape)
    expected = [policy.render(image, seed) for seed in range(200)]
    assert len(np.unique(np.reshape(expected, (200, -1)), axis=0)) > 8 or op.get("fit_output")  # which takes it back
    affine.quicken.__wrapped__()
    np.testing.assert_array_equal([policy.render(image, seed) for seed in range(200)], expected)


@pytest.mark.parametrize("changed", [0.0, 9e-9, 1.1e-8, -9e-6, 1.1e-5, 1.0, np.nan, np.inf])
def test_a_matrix_that_changes_nothing(changed: float) -> None:
    for place in np.ndindex(3, 3):
        matrix = np.eye(3)
        matrix[place] += changed
        assert affine.is_identity(matrix) == np.allclose(matrix, np.eye(3))


def test_ops_draw_independently() -> None:
    """Two flips at a half each: all four outcomes, none of them rare."""
    policy = Policy(OPS[:2], (2, 2, 1))
    image = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    corners = [int(policy.render(image, seed)[0, 0, 0]) for seed in range(400)]
    counts = np.bincount(corners, minlength=4)
    assert counts.min() > 70


def test_no_ops_give_the_image_itself() -> None:
    image = np.random.default_rng(1).integers(0, 256, SHAPE, dtype=np.uint8)
    np.testing.assert_array_equal(Policy([], SHAPE).render(image, 9), image)


@pytest.mark.parametrize(
    ("op", "told"),
    [
        ({"op": "RandomCrop", "p": 0.1, "height": 4, "width": 4}, "RandomCrop turns an image of shape"),
        ({"op": "Normalize", "p": 0.1}, "Normalize turns an image of shape .* into float32"),
        ({"op": "RandomCrop", "p": 0.1, "height": 40, "width": 40}, "RandomCrop cannot render"),
        ({"op": "D4", "p": 0.1}, "D4 turns an image of shape"),  # by half of its draws
    ],
)
def test_ops_that_do_not_keep_the_image_are_refused(op: dict[str, object], told: str) -> None:
    with pytest.raises(CompetitionError, match=told):
        Policy([op], SHAPE)


def test_rendering_does_not_depend_on_opencv_threads() -> None:
    image = np.random.default_rng(2).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    policy, rendered = Policy(OPS, image.shape), []
    for threads in (0, 2):
        cv2.setNumThreads(threads)
        rendered.append(policy.render(image, 5))
    np.testing.assert_array_equal(*rendered)
