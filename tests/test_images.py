"""From the bytes of an image file to pixels: orientation, channels, formats, damage, size, and many files at once."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from competition import images
from competition.arrays import open_array
from competition.errors import UnreadableError
from competition.images import ImageSpec, decode, perceptual_hashes, resize, write_images
from competition.raw.sources import open_source
from tests.conftest import write_folder

RGB = (220, 120, 30)  # gray: 140


def encoded(extension: str, image: np.ndarray, *options: int) -> bytes:
    """Encode an image given as gray, red green blue, or red green blue alpha."""
    order = {2: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[image.ndim if image.ndim == 2 else image.shape[2]]
    ready = image if order is None else cv2.cvtColor(image, order)
    return cv2.imencode(extension, ready, list(options))[1].tobytes()


def flat(*shades: int, dtype: type = np.uint8) -> np.ndarray:
    """Return an image of one colour, 8 x 12."""
    return np.full((8, 12, len(shades)), shades, dtype)


def corners() -> np.ndarray:
    """Return an image with four different quarters, 16 x 24, so that every turn and mirroring shows."""
    image = np.zeros((16, 24, 3), np.uint8)
    image[:8, :12], image[:8, 12:], image[8:, :12], image[8:, 12:] = (250, 20, 20), (20, 200, 20), (20, 20, 250), 220
    return image


def difference(left: np.ndarray, right: np.ndarray) -> float:
    assert left.shape == right.shape
    return float(np.abs(left.astype(int) - right.astype(int)).mean())


# decode -----------------------------------------------------------------------------------------------------------

UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: np.rot90(np.fliplr(stored)),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(np.fliplr(stored), -1),
    8: np.rot90,
}


def turned(jpeg: bytes, orientation: int, endian: str) -> bytes:
    """Write an EXIF orientation into a JPEG."""
    head = (b"MM" if endian == ">" else b"II") + struct.pack(f"{endian}HI", 42, 8)
    exif = b"Exif\0\0" + head + struct.pack(f"{endian}HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


@pytest.mark.parametrize("endian", [">", "<"], ids=["Motorola", "Intel"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int, endian: str) -> None:
    """A photograph stands upright, in colour and in gray."""
    data = turned(encoded(".jpg", corners()), orientation, endian)
    upright = UPRIGHT[orientation](corners())
    assert difference(decode(data, 3), upright) < 8
    gray = cv2.cvtColor(np.ascontiguousarray(upright), cv2.COLOR_RGB2GRAY)[..., None]
    assert difference(decode(data, 1), gray) < 8


def palette_png() -> bytes:
    """Build a PNG of 8 x 12 pixels that are all the second colour of a palette."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 12, 8, 8, 3, 0, 0, 0)
    pixels = zlib.compress((b"\0" + b"\1" * 12) * 8)
    palette = bytes((1, 2, 3, *RGB))
    parts = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)


KINDS = {
    "RGB": (encoded(".png", flat(*RGB)), RGB),
    "RGBA": (encoded(".png", flat(*RGB, 255)), RGB),
    "RGBA, transparent": (encoded(".png", flat(*RGB, 0)), RGB),
    "palette": (palette_png(), RGB),
    "gray": (encoded(".png", flat(90)[..., 0]), (90, 90, 90)),
    "16-bit gray": (encoded(".png", flat(90 * 257, dtype=np.uint16)[..., 0]), (90, 90, 90)),
    "16-bit RGB": (encoded(".png", flat(*(shade * 257 for shade in RGB), dtype=np.uint16)), RGB),
}


@pytest.mark.parametrize("kind", KINDS)
def test_png(kind: str) -> None:
    """Every kind of PNG becomes 8-bit red, green, blue, and 8-bit gray."""
    data, colour = KINDS[kind]
    coloured, gray = decode(data, 3), decode(data, 1)
    assert coloured.dtype == gray.dtype == np.uint8
    assert coloured.shape == (8, 12, 3)
    assert gray.shape == (8, 12, 1)
    assert (coloured == colour).all()
    assert np.abs(gray.astype(int) - round(np.dot(colour, (0.299, 0.587, 0.114)))).max() <= 1


@pytest.mark.parametrize(
    ("extension", "tolerance"),
    [(".png", 0), (".bmp", 0), (".tiff", 0), (".webp", 0), (".ppm", 0), (".jpg", 3), (".gif", 60)],
)
def test_format(extension: str, tolerance: int) -> None:
    """Every format gives red, green, blue in this order, and gray; where it loses nothing, to the last bit."""
    data = encoded(extension, flat(*RGB))
    assert np.abs(decode(data, 3).astype(int) - RGB).max() <= tolerance
    assert np.abs(decode(data, 1).astype(int) - 140).max() <= max(tolerance, 1)


def test_png_with_a_tail() -> None:
    """What some programs append to a PNG after its end does not matter."""
    assert (decode(encoded(".png", flat(*RGB)) + bytes(10_000), 3) == RGB).all()


def noise() -> np.ndarray:
    """Return an image whose file is long enough to cut anywhere."""
    return np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)


CUT = {
    "JPEG": encoded(".jpg", noise()),
    "progressive JPEG": encoded(".jpg", noise(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "PNG": encoded(".png", noise()),
    "BMP": encoded(".bmp", noise()),
    "TIFF": encoded(".tiff", noise()),
    "WEBP": encoded(".webp", noise()),
    "GIF": encoded(".gif", noise()),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", CUT)
def test_cut_short(kind: str, channels: int) -> None:
    """A file that lacks its end is told, wherever it was cut, and never becomes half an image."""
    data = CUT[kind]
    assert decode(data, channels).shape == (40, 40, channels)
    for length in (4, 30, len(data) // 3, len(data) // 2, len(data) - 100, len(data) - 4):
        with pytest.raises(UnreadableError, match=r"cut short|no image"):
            decode(data[:length], channels)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "empty"),
        (b"\0" * 5000, "no image"),
        (b"this is no image", "no image.*this is no"),
        (b"<!DOCTYPE html><html>404</html>", "no image.*DOCTYPE"),
    ],
    ids=["no bytes", "zeros", "text", "web page"],
)
def test_no_image(data: bytes, told: str) -> None:
    with pytest.raises(UnreadableError, match=told):
        decode(data, 3)


def test_damaged_png() -> None:
    """A PNG carries a checksum, so bytes changed on the way are told."""
    data = bytearray(CUT["PNG"])
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(UnreadableError, match="no image"):
        decode(bytes(data), 3)


# resize -----------------------------------------------------------------------------------------------------------


def ramp() -> np.ndarray:
    """Return an image that grows lighter from left to right, 6 shades a column, 20 x 40."""
    return np.broadcast_to((6 * np.arange(40, dtype=np.uint8))[None, :, None], (20, 40, 1)).copy()


def test_squash() -> None:
    """The whole image stays, stretched."""
    squashed = resize(ramp(), ImageSpec(20, 20, 1, "squash"))
    assert (squashed[:, :, 0] == 3 + 12 * np.arange(20)).all()


@pytest.mark.parametrize("side", [10, 20, 40])
@pytest.mark.parametrize("wide", [True, False])
def test_crop(side: int, wide: bool) -> None:
    """The middle stays in its proportions and fills the size, whether shrunken, as it is, or enlarged."""
    image = ramp() if wide else ramp().transpose(1, 0, 2)
    cropped = resize(image, ImageSpec(side, side, 1, "crop"))
    expected = 6 * (9.5 + (np.arange(side) + 0.5) * 20 / side)
    assert np.abs((cropped if wide else cropped.transpose(1, 0, 2))[:, :, 0] - expected).max() <= 1


@pytest.mark.parametrize("side", [20, 40, 80])
@pytest.mark.parametrize("wide", [True, False])
def test_pad(side: int, wide: bool) -> None:
    """The whole image stays in its proportions, between two equal black bars."""
    image = np.full((20, 40, 1) if wide else (40, 20, 1), 200, np.uint8)
    padded = resize(image, ImageSpec(side, side, 1, "pad"))
    expected = np.zeros((side, side, 1), np.uint8)
    middle = slice(side // 4, side - side // 4)
    expected[(middle, slice(None)) if wide else (slice(None), middle)] = 200
    assert (padded == expected).all()


@pytest.mark.parametrize("how", ["squash", "crop", "pad"])
@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (1, 1), (7, 9), (33, 17)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size(how: str, shape: tuple[int, int], channels: int) -> None:
    """Every image comes out in the size that was asked for, and a plain one stays plain."""
    image = resize(np.full((*shape, channels), 77, np.uint8), ImageSpec(8, 12, channels, how))  # type: ignore[arg-type]
    assert image.shape == (8, 12, channels)
    assert image.dtype == np.uint8
    assert set(np.unique(image)) <= {0, 77} if how == "pad" else (image == 77).all()
    assert (image == 77).any()


@pytest.mark.parametrize("shape", [(1, 60_000, 3), (60_000, 1, 3), (2, 60_001, 1)])
def test_crop_of_a_thread(shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of a few bytes that would be enlarged to gigabytes is cut first; what is shown is the same."""
    scale, cropped = images._scale, []

    def bounded(image: np.ndarray, height: int, width: int) -> np.ndarray:
        assert height * width <= images.MAX_SCALED_PIXELS
        return scale(image, height, width)

    monkeypatch.setattr(images, "_scale", bounded)
    for length in (100 + max(shape) % 2, max(shape)):  # the first is enlarged as a whole
        image = np.zeros([min(side, length) for side in shape], np.uint8)
        image[tuple(slice(side // 2, None) for side in image.shape[:2])] = 200
        cropped.append(resize(image, ImageSpec(224, 224, shape[2], "crop")))
    assert cropped[0].any()
    assert difference(*cropped) < 1


def test_same_size_changes_nothing() -> None:
    for how in ("squash", "crop", "pad"):
        assert (resize(corners(), ImageSpec(16, 24, 3, how)) == corners()).all()  # type: ignore[arg-type]


def test_shrinking_averages() -> None:
    """A fine pattern becomes its mean, not a coarse pattern that was never there."""
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::8] = 240
    assert (resize(stripes, ImageSpec(8, 8, 1, "squash")) == 30).all()


@pytest.mark.parametrize("size", [(32, 8), (20, 4), (128, 16)])
def test_shrinking_one_side_averages(size: tuple[int, int]) -> None:
    """So it is where the other side grows, whichever of the two changes more."""
    stripes = np.zeros((16, 96, 1), np.uint8)
    stripes[:, ::6] = 240
    assert (resize(stripes, ImageSpec(*size, 1, "squash")) == 40).all()
    assert (resize(stripes.transpose(1, 0, 2), ImageSpec(*size[::-1], 1, "squash")) == 40).all()


# write_images -----------------------------------------------------------------------------------------------------

SPEC = ImageSpec(10, 14, 3, "crop")
FILES = {
    "a.png": encoded(".png", noise()),
    "called.jpg": encoded(".png", corners()),  # a PNG by its content
    "cut.jpg": CUT["JPEG"][:-100],
    "d.jpg": turned(encoded(".jpg", corners()), 6, ">"),
    "empty.png": b"",
    "f.bmp": encoded(".bmp", corners()[::-1]),
    "text.jpg": b"this is no image",
}


@pytest.mark.parametrize("per_chunk", [1, 3, 256])
def test_write_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_chunk: int) -> None:
    """However the work is cut, each row is its own file's image, and an unreadable file's row is black and told."""
    monkeypatch.setattr(images, "CHUNK_IMAGES", per_chunk)
    source = open_source(write_folder(tmp_path / "raw", FILES))
    decoded = write_images(source.files, source.read, tmp_path / "out.npy", SPEC, "test")
    rows = open_array(tmp_path / "out.npy")
    assert (rows.shape, rows.dtype) == ((7, 10, 14, 3), np.uint8)
    assert sorted(decoded.unreadable) == [2, 4, 6]
    for row, name in enumerate(source.files):
        if row in decoded.unreadable:
            assert decoded.unreadable[row].startswith(f"{name}: the file is ")
            assert not rows[row].any()
            assert decoded.sizes[row].tolist() == [0, 0]
        else:
            image = decode(FILES[name], 3)
            assert (rows[row] == resize(image, SPEC)).all()
            assert decoded.sizes[row].tolist() == list(image.shape[:2])
        assert bool(decoded.digests[row]) == (row not in decoded.unreadable)
    assert decoded.sizes[3].tolist() == [24, 16], "sizes are those of the upright image"
    assert decoded.modes == {"png rgb": 2, "bmp rgb": 1, "jpeg rgb": 1}
    assert (decoded.sizes.dtype, decoded.digests.dtype, decoded.hashes.dtype) == (np.int32, np.uint64, np.uint64)
    expected = perceptual_hashes(np.array(rows))
    expected[[2, 4, 6]] = 0
    assert (decoded.hashes == expected).all()
    assert not decoded.constant.any()


def test_digests(tmp_path: Path) -> None:
    """Equal files have equal digests, in whichever process they were read; others have not."""
    files = {f"{number:04d}.png": encoded(".png", flat(*RGB, number // 2 % 2)) for number in range(1200)}
    files |= {f"{number:04d}.png": encoded(".png", flat(*RGB, 2 + number)) for number in range(100)}
    source = open_source(write_folder(tmp_path / "raw", files))
    digests = write_images(source.files, source.read, tmp_path / "out.npy", SPEC, "test").digests
    contents = [files[name] for name in source.files]
    assert len(set(digests.tolist())) == len(set(contents)) == 102
    assert len(set(zip(digests.tolist(), contents, strict=True))) == 102


@pytest.mark.parametrize("how", ["squash", "crop", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
def test_constant(tmp_path: Path, how: str, channels: int) -> None:
    """An image of one colour is told, whatever its size becomes; one with a single other pixel is not."""
    dot = np.full((40, 90, 3), RGB, np.uint8)
    dot[20, 33] = 0
    files = {"0.png": encoded(".png", np.full((40, 90, 3), RGB, np.uint8)), "1.png": encoded(".png", dot)}
    files |= {"2.png": encoded(".png", flat(0, 0, 0)), "3.png": encoded(".png", corners()), "4.png": b"no image"}
    source = open_source(write_folder(tmp_path / "raw", files))
    spec = ImageSpec(10, 14, channels, how)  # type: ignore[arg-type]
    decoded = write_images(source.files, source.read, tmp_path / "out.npy", spec, "test")
    assert decoded.constant.tolist() == [True, False, True, False, False]


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (45, 61, 3), (96, 64, 3), (224, 224, 3), (6, 5, 1)])
def test_perceptual_hashes(shape: tuple[int, int, int]) -> None:
    """Light and a little noise change few of the bits; another image changes half of them."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(128, 40, (200, 6, 6)).astype(np.float32)
    images = np.stack([cv2.resize(each, shape[1::-1], interpolation=cv2.INTER_CUBIC) for each in coarse])
    images = np.repeat(images[..., None], shape[2], axis=3).clip(5, 240).astype(np.uint8)
    hashes = perceptual_hashes(images)
    assert (hashes.shape, hashes.dtype) == ((200,), np.uint64)
    assert (perceptual_hashes(images[7:8]) == hashes[7]).all(), "each by itself"
    assert (np.bitwise_count(hashes ^ perceptual_hashes(images + 10)) <= 2).mean() > 0.9
    noisy = (images + rng.normal(0, 3, images.shape)).clip(0, 255).astype(np.uint8)
    assert np.bitwise_count(hashes ^ perceptual_hashes(noisy)).mean() < 8
    assert 20 < np.bitwise_count(hashes[:-1] ^ hashes[1:]).mean() < 36


def test_workers_start_light() -> None:
    """What a worker process imports draws no bar and reads no table."""
    code = (
        "import sys, competition.images, competition.raw.sources\n"
        "print([name for name in ('pandas', 'rich', 'pydantic', 'keras') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_write_no_images(tmp_path: Path) -> None:
    decoded = write_images([], bytes.fromhex, tmp_path / "out.npy", SPEC, "test")
    assert open_array(tmp_path / "out.npy").shape == (0, 10, 14, 3)
    assert (decoded.sizes.shape, decoded.unreadable, decoded.modes) == ((0, 2), {}, {})
    assert decoded.digests.shape == decoded.hashes.shape == decoded.constant.shape == (0,)
