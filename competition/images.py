"""From the bytes of an image file to uint8 (h, w, c) of one size, for one image and for a whole split."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from competition.artifacts import create_array, write_rows
from competition.errors import UnreadableError
from competition.parallel import run_chunks

CHUNK_BYTES = 4_000_000  # rows a worker holds before it writes them
CHUNK_IMAGES = 256  # at most; keeps the progress bar moving when images are small

Read = Callable[[str], bytes]


@dataclass(frozen=True)
class ImageSpec:
    """What every image becomes: height and width in pixels, 1 or 3 channels, and how it is brought to that size."""

    height: int
    width: int
    channels: int
    resize: Literal["squash", "crop", "pad"]

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def decode(data: bytes, channels: int) -> np.ndarray:
    """Decode an image file, turned upright by its EXIF orientation.

    Args:
        data: a whole file; its content decides the format, not its name.
        channels: 1 for gray, 3 for red, green, blue.

    Returns:
        uint8 (h, w, channels).

    Raises:
        UnreadableError: the file is empty, cut short, or no image.
    """
    if not data:
        raise UnreadableError("the file is empty")
    if data.startswith(b"\x89PNG") and b"IEND" not in data:  # libpng would also print its own line
        raise UnreadableError("the file is cut short")
    flag = cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error as error:
        raise UnreadableError(f"the file is no image that can be read ({error.err})") from None
    if image is None:
        raise UnreadableError(f"the file is cut short or no image; it begins with {data[:12]!r}")
    return image.reshape(*image.shape[:2], channels)


def resize(image: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Bring an image to the size of ``spec``.

    Args:
        image: uint8 (h, w, c).
        spec: ``squash`` stretches, ``crop`` fills the size and cuts the middle out, ``pad`` fits inside it and adds
            black bars.

    Returns:
        uint8 (spec.height, spec.width, c).
    """
    height, width = image.shape[:2]
    if spec.resize == "squash":
        scaled = _scale(image, spec.height, spec.width)
    else:
        choose = max if spec.resize == "crop" else min
        ratio = choose(spec.height / height, spec.width / width)
        scaled = _scale(image, max(round(height * ratio), 1), max(round(width * ratio), 1))
    return _centre(scaled, spec.height, spec.width)


def _scale(image: np.ndarray, height: int, width: int) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image
    shrinks = height * width < image.shape[0] * image.shape[1]
    # Area averaging keeps a shrunken image free of moiré; it would enlarge in blocks, so cubic there.
    scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return scaled.reshape(height, width, image.shape[2])


def _centre(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cut or pad an image around its middle."""
    if image.shape[:2] == (height, width):
        return image
    out = np.zeros((height, width, image.shape[2]), np.uint8)
    tall, wide = min(height, image.shape[0]), min(width, image.shape[1])
    to_y, to_x = (height - tall) // 2, (width - wide) // 2
    from_y, from_x = (image.shape[0] - tall) // 2, (image.shape[1] - wide) // 2
    out[to_y : to_y + tall, to_x : to_x + wide] = image[from_y : from_y + tall, from_x : from_x + wide]
    return out


@dataclass(frozen=True)
class Decoded:
    """What became of the images of a split.

    Attributes:
        sizes: int64 (n, 2), height and width of each file in pixels, before resizing and upright; 0 if unreadable.
        unreadable: row -> why; these rows of the array are black.
    """

    sizes: np.ndarray
    unreadable: dict[int, str]


def write_images(files: Sequence[str], read: Read, out: Path, spec: ImageSpec, description: str) -> Decoded:
    """Decode and resize files into one memory-mappable array, on all cores.

    Each worker reads, decodes and writes its own rows, so no image passes between processes and memory does not grow
    with their number.

    Args:
        files: names for ``read``, best in the order in which reading is fastest; row i of the array is file i.
        read: picklable.
        out: the ``.npy`` file to write: uint8 (n, h, w, c).
        spec: size and channels.
        description: what the progress bar says.
    """
    create_array(out, (len(files), *spec.shape))
    per_chunk = max(1, min(CHUNK_IMAGES, CHUNK_BYTES // int(np.prod(spec.shape))))
    chunks = [range(start, min(start + per_chunk, len(files))) for start in range(0, len(files), per_chunk)]
    sizes = [np.zeros((0, 2), np.int64)]
    unreadable: dict[int, str] = {}
    for chunk_sizes, chunk_unreadable in run_chunks(
        _write_chunk,
        [(chunk.start, list(files[chunk.start : chunk.stop])) for chunk in chunks],
        size=lambda chunk: len(chunk[1]),
        description=description,
        initializer=_start,
        arguments=(read, out, spec),
    ):
        sizes.append(chunk_sizes)
        unreadable |= chunk_unreadable
    return Decoded(np.concatenate(sizes), unreadable)


_job: tuple[Read, Path, ImageSpec]  # set once in each worker process


def _start(read: Read, out: Path, spec: ImageSpec) -> None:
    global _job
    _job = (read, out, spec)
    cv2.utils.logging.setLogLevel(
        cv2.utils.logging.LOG_LEVEL_SILENT
    )  # what it says of broken files is told by `UnreadableError`


def _write_chunk(chunk: tuple[int, list[str]]) -> tuple[np.ndarray, dict[int, str]]:
    first_row, files = chunk
    read, out, spec = _job
    rows = np.zeros((len(files), *spec.shape), np.uint8)
    sizes = np.zeros((len(files), 2), np.int64)
    unreadable = {}
    for position, file in enumerate(files):
        try:
            image = decode(read(file), spec.channels)
            sizes[position] = image.shape[:2]
            rows[position] = resize(image, spec)
        except UnreadableError as error:
            unreadable[first_row + position] = f"{file}: {error}"
    write_rows(out, first_row, rows)
    return sizes, unreadable
