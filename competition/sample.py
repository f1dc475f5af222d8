"""The bundled competition: real handwritten digits in the layout of the gala challenge."""

import io
import zipfile
from pathlib import Path

import cv2
import numpy as np

from competition.seeds import derive

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEST_SAMPLES = 450  # a quarter, enough to tell 98.5 % from 97 %
DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold; any fixed date gives fixed bytes


def write_sample(folder: Path) -> tuple[Path, Path]:
    """Write the digits that scikit-learn carries as a competition.

    Source: the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak; UCI, 1998), 1,797
    images of 8 x 8 pixels with 17 shades, as ``sklearn.datasets.load_digits`` gives them.

    Args:
        folder: where to write.

    Writes:
        digits.zip: ``Train Images/``, ``Test Images/``, train.csv (Image,Class), test.csv (Image). The same bytes on
            every machine: nothing in it is compressed, and no date is taken from a clock.
        digits-solution.csv: Image,Class of the test images. No stage reads it.

    Returns:
        The paths of the two files.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    order = np.random.default_rng(derive(0, "sample")).permutation(len(images))
    names = [f"digit-{number:04d}.png" for number in range(1, len(order) + 1)]
    rows = [(name, WORDS[digits.target[row]], _png(images[row])) for name, row in zip(names, order, strict=True)]
    test, train = rows[:TEST_SAMPLES], rows[TEST_SAMPLES:]
    files = {f"Train Images/{name}": png for name, _, png in train}
    files |= {f"Test Images/{name}": png for name, _, png in test}
    files["train.csv"] = _csv(["Image,Class"] + [f"{name},{word}" for name, word, _ in train])
    files["test.csv"] = _csv(["Image"] + [name for name, _, _ in test])
    folder.mkdir(parents=True, exist_ok=True)
    archive, answers = folder / "digits.zip", folder / "digits-solution.csv"
    archive.write_bytes(_zip(files))
    answers.write_bytes(_csv(["Image,Class"] + [f"{name},{word}" for name, word, _ in test]))
    return archive, answers


def _png(image: np.ndarray) -> bytes:
    done, png = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    assert done
    return png.tobytes()


def _csv(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, DATE)
            info.create_system = 3  # Unix, also when written on Windows
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()
