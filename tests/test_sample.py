"""The bundled competition can be written again, byte for byte, and holds what scikit-learn carries."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from competition.cli import app
from competition.sample import WORDS
from tests.conftest import ROOT


def test_sample_rebuilds_the_committed_files(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["sample", "--out", str(tmp_path / "new")])
    assert done.exit_code == 0
    for name in ("digits.zip", "digits-solution.csv"):
        assert (tmp_path / "new" / name).read_bytes() == (ROOT / "data/raw" / name).read_bytes()


def test_the_archive_holds_all_digits_once() -> None:
    """Every image, decoded, is one of scikit-learn's, with its label; train, test and answers do not overlap."""
    digits = load_digits()
    left = sorted((np.round(image * (255 / 16)).astype(np.uint8).tobytes(), WORDS[target])
                  for image, target in zip(digits.images, digits.target, strict=True))  # fmt: skip
    with zipfile.ZipFile(ROOT / "data/raw/digits.zip") as archive:
        rows = [line.split(",") for line in archive.read("train.csv").decode().splitlines()[1:]]
        tested = archive.read("test.csv").decode().splitlines()[1:]
        answers = dict(line.split(",") for line in (ROOT / "data/raw/digits-solution.csv").read_text().splitlines()[1:])
        assert tested == list(answers)
        found = [(archive.read(f"Train Images/{name}"), word) for name, word in rows]
        found += [(archive.read(f"Test Images/{name}"), answers[name]) for name in tested]
        assert len(archive.namelist()) == 1797 + 2
    decoded = [(cv2.imdecode(np.frombuffer(data, np.uint8), -1).tobytes(), word) for data, word in found]
    assert sorted(decoded) == left
