"""From the bytes of an image file to uint8 (h, w, c) of one size, for one image and for a whole split."""

import functools
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from competition.arrays import create_array, write_rows
from competition.errors import UnreadableError
from competition.formats import MAX_PIXELS, MENDERS, Header, mend, sniff
from competition.parallel import run_chunks

CHUNK_BYTES = 4_000_000  # rows a worker holds before it writes them
CHUNK_IMAGES = 512  # at most; keeps the progress bar moving when images are small
MAX_SCALED_PIXELS = 2**26  # of an image that is enlarged before it is cut: 0.2 GB and some seconds
HASHED_PX = 32  # longer sides are averaged to this before the hash, which looks at coarser things

FACTS = np.dtype(
    [("size", np.int32, 2), ("digest", np.uint64), ("hash", np.uint64), ("constant", bool), ("brightest", np.int16)]
)

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

    Of several frames or pages it is the first. Alpha is dropped, not painted on a background, as Pillow's conversion to
    RGB does. 16 bits become 8 by leaving out the lower ones, give or take one in a TIFF.

    Args:
        data: a whole file; its content decides the format, not its name.
        channels: 1 for gray, 3 for red, green, blue.

    Returns:
        uint8 (h, w, channels).

    Raises:
        UnreadableError: the file is empty, cut short, no image, or has more than MAX_PIXELS or 16 bits a channel.
    """
    return _decode(data, channels, sniff(data))


def _decode(data: bytes, channels: int, header: Header) -> np.ndarray:
    format, mode, height, width = header
    if height * width > MAX_PIXELS:
        raise UnreadableError(f"the image is {height:,} x {width:,} pixels, more than {MAX_PIXELS:,}")
    if format == "png":
        if b"IEND" not in data[-16:] and b"IEND" not in data:  # libpng would also print its own line
            raise UnreadableError("the file is cut short")
    elif format in MENDERS:
        data = mend(data, format)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), FLAGS[channels])
    except cv2.error as error:
        raise UnreadableError(f"the file is no image that can be read ({error.err})" if data else EMPTY) from None
    if format == "pfm" or (image is None and "-bit" in mode and "16-bit" not in mode):
        raise UnreadableError(f"the file is {mode}; expected 8 or 16 bits a channel, so convert it")
    if image is None:
        raise UnreadableError(f"the file is cut short or no image; it begins with {data[:12]!r}" if data else EMPTY)
    return image if channels == 3 else image[:, :, None]


FLAGS = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR_RGB}
EMPTY = "the file is empty"


def resize(image: np.ndarray, spec: ImageSpec, out: np.ndarray | None = None) -> np.ndarray:
    """Bring an image to the size of ``spec``.

    Args:
        image: uint8 (h, w, c).
        spec: ``squash`` stretches, ``crop`` fills the size and cuts the middle out, ``pad`` fits inside it and adds
            black bars.
        out: uint8 (spec.height, spec.width, c), where the result may be put to spare a copy.

    Returns:
        uint8 (spec.height, spec.width, c).
    """
    if spec.resize == "squash":
        return _scale(image, spec.height, spec.width, out)
    height, width = image.shape[:2]
    choose = max if spec.resize == "crop" else min
    ratio = choose(spec.height / height, spec.width / width)
    if ratio > 1 and height * width * ratio**2 > max(MAX_SCALED_PIXELS, spec.height * spec.width):
        image = _around_middle(image, spec, ratio)
        height, width = image.shape[:2]
    scaled = _scale(image, max(round(height * ratio), 1), max(round(width * ratio), 1))
    return _centre(scaled, spec.height, spec.width)


def _around_middle(image: np.ndarray, spec: ImageSpec, ratio: float) -> np.ndarray:
    """Cut off most of what ``crop`` will cut off once the image is enlarged by ``ratio``."""
    out = []
    for side, wanted in zip(image.shape[:2], (spec.height, spec.width), strict=True):
        kept = math.ceil(wanted / ratio) + 4  # two more on each side, which the cubic interpolation looks at
        out.append(side if kept >= side else kept + (side - kept) % 2)  # so that the middle stays where it is
    return _centre(image, *out)


def _scale(image: np.ndarray, height: int, width: int, out: np.ndarray | None = None) -> np.ndarray:
    tall, wide = image.shape[:2]
    if (tall, wide) == (height, width):
        return image
    if (height - tall) * (width - wide) < 0:  # one side shrinks: by itself, for OpenCV averages only where none grows
        image = _scale(image, min(height, tall), min(width, wide))
    shrinks = height * width < image.shape[0] * image.shape[1]
    # Area averaging keeps a shrunken image free of moiré; it would enlarge in blocks, so cubic there.
    scaled = cv2.resize(image, (width, height), out, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return scaled if scaled.ndim == 3 else scaled[:, :, None]


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


@functools.cache
def _cosines(length: int) -> np.ndarray:
    """Return the eight lowest waves of the cosine transform, float32 (length, 8), in whole numbers up to 1,024."""
    angles = np.pi * np.outer(np.arange(length) + 0.5, np.arange(8)) / length
    return np.rint(np.cos(angles) * 2**10).astype(np.float32)


def perceptual_hashes(images: np.ndarray) -> np.ndarray:
    """Describe each image in 64 bits, of which few change when it is saved, scaled or lit another way.

    The signs of the 8 x 8 lowest frequencies of the gray image. On fashion-mnist, CIFAR-10 and photographs this told
    copies from others better than the signs of differences (dHash), and as well as a comparison with the median, which
    takes longer. All sums are of whole numbers, so their order, and thus the machine, changes no bit.

    Args:
        images: uint8 (n, h, w, c).

    Returns:
        uint64 (n,).

    Source:
        Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (2010): pHash.
    """
    n, height, width, channels = images.shape
    gray = images.reshape(n * height, width, channels)
    if channels == 3 and n:
        gray = cv2.cvtColor(gray, cv2.COLOR_RGB2GRAY)
    while n and height % 2 == width % 2 == 0 and min(height, width) >= 28:  # of all at once, which is fast
        height, width = height // 2, width // 2
        gray = cv2.resize(gray, (width, n * height), interpolation=cv2.INTER_AREA)
    gray = gray.reshape(n, height, width)
    if max(height, width) > HASHED_PX:
        height, width = min(height, HASHED_PX), min(width, HASHED_PX)
        small = [cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in gray]
        gray = np.reshape(small, (n, height, width))
    across = gray.astype(np.float32) @ _cosines(width)  # below 2**24, so exact; the second sum needs float64
    waves = _cosines(height).T.astype(np.float64) @ across
    return np.packbits((waves > 0).reshape(n, 64), axis=1).view("<u8").reshape(n).astype(np.uint64)


@dataclass(frozen=True)
class Decoded:
    """What became of the images of a split.

    Attributes:
        sizes: int32 (n, 2), height and width of each file in pixels, before resizing and upright; 0 if unreadable.
        unreadable: row -> why; these rows of the array are black.
        modes: format and mode as in ``jpeg rgb`` -> how many readable files have it, most frequent first.
        digests: uint64 (n,), of the bytes of the file; 0 if unreadable.
        hashes: uint64 (n,), of the resized image, see `perceptual_hashes`; 0 if unreadable.
        constant: bool (n,), all pixels of the file are equal; False if unreadable.
        brightest: int16 (n,), largest level of a file of 16 bits, 0 to 255; -1 for others.
    """

    sizes: np.ndarray
    unreadable: dict[int, str]
    modes: dict[str, int]
    digests: np.ndarray
    hashes: np.ndarray
    constant: np.ndarray
    brightest: np.ndarray


def write_images(files: Sequence[str], read: Read, out: Path, spec: ImageSpec, description: str) -> Decoded:
    """Decode and resize files into one memory-mappable array, on all cores, and note what is worth knowing of each.

    Each worker reads, decodes and writes its own rows, so no image passes between processes and memory does not grow
    with their number, but by 27 bytes each and what ``read`` keeps.

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
    unreadable: dict[int, str] = {}
    modes: Counter[tuple[str, str]] = Counter()
    facts = [np.zeros(0, FACTS)]
    for part in run_chunks(
        _write_chunk,
        [(chunk.start, list(files[chunk.start : chunk.stop])) for chunk in chunks],
        size=lambda chunk: len(chunk[1]),
        description=description,
        initializer=_start,
        arguments=(read, out, spec),
    ):
        unreadable |= part[0]
        modes += part[1]
        facts.append(part[2])
    known = np.concatenate(facts)
    return Decoded(
        sizes=known["size"].copy(),
        unreadable=unreadable,
        modes={" ".join(mode).strip(): count for mode, count in modes.most_common()},
        digests=known["digest"].copy(),
        hashes=known["hash"].copy(),
        constant=known["constant"].copy(),
        brightest=known["brightest"].copy(),
    )


_job: tuple[Read, Path, ImageSpec]  # set once in each worker process


def _start(read: Read, out: Path, spec: ImageSpec) -> None:
    global _job
    _job = (read, out, spec)
    # What it says of broken files is told by `UnreadableError`.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _write_chunk(chunk: tuple[int, list[str]]) -> tuple[dict[int, str], Counter[tuple[str, str]], np.ndarray]:
    """Decode some files; return which are unreadable, the modes, and the FACTS of each.

    Small images take 40 microseconds each, so every line of the loop counts.
    """
    first_row, files = chunk
    read, out, spec = _job
    channels, shape, sha1 = spec.channels, spec.shape, hashlib.sha1
    rows = np.zeros((len(files), *shape), np.uint8)
    unreadable: dict[int, str] = {}
    headers: list[Header] = []
    sizes: list[int] = []
    digests: list[bytes] = []
    constant: list[bool] = []
    brightest = np.full(len(files), -1, np.int16)
    for row, file in enumerate(files):
        try:
            data = read(file)
            header = sniff(data)
            image = _decode(data, channels, header)
        except UnreadableError as error:
            unreadable[row] = f"{file}: {error}"
            sizes += 0, 0, 0
            digests.append(bytes(20))
            constant.append(False)
            continue
        size = image.shape
        if size == shape:
            rows[row] = image
        else:
            place = rows[row]
            resized = resize(image, spec, place)
            if resized is not place:
                place[:] = resized
        if header.mode.startswith("16-bit"):
            brightest[row] = image.max()
        headers.append(header)
        sizes += size
        digests.append(sha1(data, usedforsecurity=False).digest())  # BLAKE2b takes twice as long
        # For most images the first and the last pixel settle it.
        constant.append(image.item(0) == image.item(-channels) and bool((image == image[0, 0]).all()))
    write_rows(out, first_row, rows)
    facts = np.empty(len(files), FACTS)
    facts["size"] = np.reshape(sizes, (-1, 3))[:, :2]
    facts["constant"] = constant
    facts["brightest"] = brightest
    facts["digest"] = np.frombuffer(b"".join(digests), "<u8,V12")["f0"]
    facts["hash"] = perceptual_hashes(rows)  # 0 for the black of the unreadable
    modes: Counter[tuple[str, str]] = Counter()
    for header, count in Counter(headers).items():
        modes[header[:2]] += count
    return {first_row + row: why for row, why in unreadable.items()}, modes, facts
