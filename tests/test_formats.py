"""Every format against Pillow, whatever the file is called; what a header tells; images too large for the memory."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from competition.errors import UnreadableError
from competition.formats import sniff
from competition.images import ImageSpec, decode, write_images
from competition.raw.sources import open_source
from tests.conftest import write_folder

HEIGHT, WIDTH = 24, 37


def picture() -> np.ndarray:
    """Return smooth colours with two corners that differ, so that every turn shows."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([y * 255 // HEIGHT, x * 255 // WIDTH, (x + y) * 255 // (HEIGHT + WIDTH)], axis=-1).astype(np.uint8)
    image[:8, :8], image[-8:, -8:] = (250, 10, 10), (10, 10, 250)
    return image


RGB = picture()
GRAY = RGB[..., 1].copy()
DEEP = np.random.default_rng(0).integers(0, 65_536, (HEIGHT, WIDTH, 3)).astype(np.uint16)
ALPHA = np.broadcast_to(np.arange(WIDTH) * 255 // WIDTH, (HEIGHT, WIDTH)).astype(np.uint8)
COLOUR, SHADES = Image.fromarray(RGB), Image.fromarray(GRAY)
NEGATIVE = Image.fromarray(255 - RGB)
TRANSPARENT, PALE = COLOUR.copy(), SHADES.copy()
TRANSPARENT.putalpha(Image.fromarray(ALPHA))
PALE.putalpha(Image.fromarray(ALPHA))
PALETTE, BITMAP, INKS = COLOUR.quantize(64), SHADES.convert("1"), COLOUR.convert("CMYK")


def save(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def turned(image: Image.Image, format: str, orientation: int, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x112] = orientation
    return save(image, format, exif=exif.tobytes(), **options)


def opencv(extension: str, image: np.ndarray) -> bytes:
    """Encode 16 bits a channel, which Pillow does not write in colour."""
    return cv2.imencode(extension, image[..., ::-1] if image.ndim == 3 else image)[1].tobytes()


def ycck(data: bytes) -> bytes:
    """Say of a CMYK JPEG, in its Adobe segment, that it holds luma, two colour differences and black."""
    end = data.index(b"Adobe") + 11
    return data[:end] + b"\2" + data[end + 1 :]


def ppm(kind: int, white: int, shades: np.ndarray) -> bytes:
    return b"P%d\n# a comment\n%d %d\n%d\n" % (kind, WIDTH, HEIGHT, white) + shades.tobytes()


# name: (file, what sniff tells, how far from Pillow it may be)
FILES: dict[str, tuple[bytes, str, int]] = {
    "jpeg": (save(COLOUR, "JPEG", quality=90), "jpeg rgb", 3),
    "jpeg progressive": (save(COLOUR, "JPEG", progressive=True), "jpeg rgb", 3),
    "jpeg gray": (save(SHADES, "JPEG"), "jpeg gray", 3),
    "jpeg CMYK": (save(INKS, "JPEG"), "jpeg cmyk", 3),
    "jpeg YCCK": (ycck(save(INKS, "JPEG")), "jpeg cmyk", 3),
    "png rgb": (save(COLOUR, "PNG"), "png rgb", 0),
    "png gray": (save(SHADES, "PNG"), "png gray", 0),
    "png gray, alpha": (save(PALE, "PNG"), "png gray+alpha", 0),
    "png rgba": (save(TRANSPARENT, "PNG"), "png rgba", 0),
    "png palette": (save(PALETTE, "PNG"), "png palette", 0),
    "png palette, transparent": (save(PALETTE, "PNG", transparency=3), "png palette", 0),
    "png palette, alpha": (save(PALETTE, "PNG", transparency=bytes(range(0, 256, 4))), "png palette", 0),
    "png 1 bit": (save(BITMAP, "PNG"), "png gray", 0),
    "png 2 bits": (save(COLOUR.quantize(4), "PNG", bits=2), "png palette", 0),
    "png 16 bits rgb": (opencv(".png", DEEP), "png 16-bit rgb", 0),
    "png animated": (save(COLOUR, "PNG", save_all=True, append_images=[NEGATIVE]), "png rgb", 0),
    "tiff rgb": (save(COLOUR, "TIFF"), "tiff rgb", 0),
    "tiff LZW": (save(COLOUR, "TIFF", compression="tiff_lzw"), "tiff rgb", 0),
    "tiff deflate": (save(COLOUR, "TIFF", compression="tiff_adobe_deflate"), "tiff rgb", 0),
    "tiff gray": (save(SHADES, "TIFF"), "tiff gray", 0),
    "tiff gray, alpha": (save(PALE, "TIFF"), "tiff gray+alpha", 0),
    "tiff rgba": (save(TRANSPARENT, "TIFF"), "tiff rgba", 0),
    "tiff rgba, turned": (save(TRANSPARENT, "TIFF", tiffinfo={0x112: 6}), "tiff rgba", 0),
    "tiff palette": (save(PALETTE, "TIFF"), "tiff palette", 0),
    "tiff 1 bit": (save(BITMAP, "TIFF"), "tiff gray", 0),
    "tiff CMYK": (save(INKS, "TIFF"), "tiff cmyk", 0),
    "tiff 16 bits rgb": (opencv(".tiff", DEEP), "tiff 16-bit rgb", 1),
    "tiff pages": (save(COLOUR, "TIFF", save_all=True, append_images=[NEGATIVE]), "tiff rgb", 0),
    "bmp rgb": (save(COLOUR, "BMP"), "bmp rgb", 0),
    "bmp gray": (save(SHADES, "BMP"), "bmp palette", 0),
    "bmp palette": (save(PALETTE, "BMP"), "bmp palette", 0),
    "bmp 1 bit": (save(BITMAP, "BMP"), "bmp palette", 0),
    "bmp rgba": (save(TRANSPARENT, "BMP"), "bmp rgba", 0),
    "gif": (save(PALETTE, "GIF"), "gif palette", 0),
    "gif interlaced": (save(PALETTE, "GIF", interlace=1), "gif palette", 0),
    "gif frames": (save(PALETTE, "GIF", save_all=True, append_images=[NEGATIVE.quantize(64)]), "gif palette", 0),
    "gif transparent": (save(PALETTE, "GIF", transparency=3), "gif palette", 0),
    "gif frames, transparent": (
        save(PALETTE, "GIF", transparency=3, save_all=True, append_images=[NEGATIVE.quantize(64)]),
        "gif palette",
        0,
    ),
    "webp": (save(COLOUR, "WEBP"), "webp rgb", 3),
    "webp lossless": (save(COLOUR, "WEBP", lossless=True), "webp rgb", 0),
    "webp lossless, alpha": (save(TRANSPARENT, "WEBP", lossless=True, exact=True), "webp rgba", 0),
    "webp alpha": (save(TRANSPARENT, "WEBP"), "webp rgba", 3),
    "ppm": (save(COLOUR, "PPM"), "ppm rgb", 0),
    "pgm": (save(SHADES, "PPM"), "ppm gray", 0),
    "pbm": (save(BITMAP, "PPM"), "ppm gray", 0),
    "pgm to 100": (ppm(5, 100, GRAY // 3), "ppm gray", 1),
    "ppm text": (b"P3\n%d %d\n255\n" % (WIDTH, HEIGHT) + " ".join(map(str, RGB.ravel())).encode(), "ppm rgb", 0),
} | {
    f"{format} turned {orientation}": (turned(COLOUR, format, orientation, **options), f"{format} rgb", loss)
    for format, options, loss in (("jpeg", {}, 3), ("png", {}, 0), ("webp", {"lossless": True}, 0), ("tiff", {}, 0))
    for orientation in range(1, 9)
}

# Pillow cuts these off at 255 where it makes them 8-bit, so they are held against what was written.
DEEP_GRAY = {
    "png 16 bits gray": (save(Image.fromarray(DEEP[..., 0]), "PNG"), "png 16-bit gray"),
    "tiff 16 bits gray": (save(Image.fromarray(DEEP[..., 0]), "TIFF"), "tiff 16-bit gray"),
    "pgm 16 bits": (save(Image.fromarray(DEEP[..., 0]), "PPM"), "ppm 16-bit gray"),
    "pgm 12 bits": (ppm(5, 4095, (DEEP[..., 0] >> 4).astype(">u2")), "ppm 16-bit gray"),
}


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("name", FILES)
def test_as_pillow(name: str) -> None:
    """Upright pixels of the first frame, alpha dropped; gray from colours may round one level apart."""
    data, _, loss = FILES[name]
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    expected = np.asarray(upright.convert("RGB")).astype(int)
    assert np.abs(decode(data, 3) - expected).max() <= loss
    # Of a lossy file OpenCV takes the gray as it is stored, before colours are rounded and cut off.
    shades = np.asarray(upright.convert("L")).astype(int)[..., None]
    assert np.abs(decode(data, 1) - shades).mean() <= 1
    assert loss or np.abs(decode(data, 1) - shades).max() <= 1


@pytest.mark.parametrize("name", DEEP_GRAY)
def test_deep_gray(name: str) -> None:
    data, _ = DEEP_GRAY[name]
    expected = DEEP[..., :1].astype(int) >> 8
    assert np.abs(decode(data, 1) - expected).max() <= ("12" in name)
    assert np.abs(decode(data, 3) - expected).max() <= ("12" in name)


@pytest.mark.parametrize("name", [*FILES, *DEEP_GRAY])
def test_sniff(name: str) -> None:
    """The header tells format, mode and size; a file that ends within it is not an error."""
    data, told, *_ = FILES.get(name) or DEEP_GRAY[name]
    header = sniff(data)
    assert f"{header.format} {header.mode}" == told
    stored = Image.open(io.BytesIO(data))
    size = stored.size if stored.format != "TIFF" else (stored.tag_v2[256], stored.tag_v2[257])
    assert (header.width, header.height) == size
    for length in range(0, 64):
        sniff(data[:length])
        with pytest.raises(UnreadableError):
            decode(data[:length], 3)


@pytest.mark.parametrize("data", [b"", b"BM is a car maker, and this a text", b"II.", b"P5 is a magic", bytes(99)])
def test_sniff_no_image(data: bytes) -> None:
    assert sniff(data) == ("unknown", "", 0, 0)


DEEPER = {
    "tiff 32-bit gray": save(Image.fromarray(GRAY.astype(np.float32) / 255), "TIFF"),
    "tiff 64-bit rgb": opencv(".tiff", RGB / 255),
    "pfm 32-bit gray": opencv(".pfm", GRAY.astype(np.float32) / 255),
    "pfm 32-bit rgb": opencv(".pfm", RGB.astype(np.float32) / 255),
}


@pytest.mark.parametrize("told", DEEPER)
@pytest.mark.parametrize("channels", [1, 3])
def test_deeper_than_16_bits(told: str, channels: int) -> None:
    """Numbers whose black and white nobody knows are told as what they are, and not as damage."""
    assert " ".join(sniff(DEEPER[told])[:2]) == told
    with pytest.raises(UnreadableError, match=f"the file is {told.split(' ', 1)[1]}; expected 8 or 16 bits a channel"):
        decode(DEEPER[told], channels)


def test_content_decides(tmp_path: Path) -> None:
    """Each file under the name of another format becomes the same pixels, and is counted as what it is."""
    extensions = [".png", ".jpg", ".gif", ".bmp", ".tiff", ".webp"]
    files = {
        f"{number:03d}{extensions[number % 6]}": data
        for number, data in enumerate([data for data, *_ in [*FILES.values(), *DEEP_GRAY.values()]])
    }
    source = open_source(write_folder(tmp_path / "raw", files))
    decoded = write_images(source.files, source.read, tmp_path / "out.npy", ImageSpec(HEIGHT, WIDTH, 3, "pad"), "test")
    assert not decoded.unreadable
    told = [told for _, told, *_ in [*FILES.values(), *DEEP_GRAY.values()]]
    assert decoded.modes == {mode: told.count(mode) for mode in told}
    assert list(decoded.modes.values()) == sorted(decoded.modes.values(), reverse=True)


# Too large --------------------------------------------------------------------------------------------------------

SIDE = 60_000


def huge_png() -> bytes:
    """Write a black and white PNG of 60,000 x 60,000 pixels, half a megabyte, row by row."""
    squeeze = zlib.compressobj(1)
    rows = bytes(1 + SIDE // 8) * 100
    pixels = b"".join([squeeze.compress(rows) for _ in range(SIDE // 100)] + [squeeze.flush()])

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def claim(name: str, form: str, place: Callable[[bytes], int]) -> bytes:
    """Change the size in a header to 60,000 x 60,000."""
    data = FILES[name][0]
    start = place(data)
    assert struct.unpack_from(form, data, start) in ((WIDTH, HEIGHT), (HEIGHT, WIDTH))
    return data[:start] + struct.pack(form, SIDE, SIDE) + data[start + struct.calcsize(form) :]


def huge_tiff() -> bytes:
    """Build the first page's tags, in Motorola's order: size, 8 bits, no compression, gray, one strip."""
    tags = {256: SIDE, 257: SIDE, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: SIDE, 279: SIDE**2}
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"MM\0*" + struct.pack(">IH", 8, len(tags)) + entries + bytes(1000)


HUGE: dict[str, Callable[[], bytes]] = {
    "png": huge_png,
    "jpeg": lambda: claim("jpeg", ">HH", lambda data: data.index(b"\xff\xc0") + 5),
    "gif": lambda: claim("gif", "<HH", lambda data: 6),
    "bmp": lambda: claim("bmp rgb", "<ii", lambda data: 18),
    "tiff": huge_tiff,
    "ppm": lambda: b"P6 60000 60000 255\n" + bytes(1000),
}

# A little memory above what is in use; a decoder that begins to work would end with another error.
LIMITED = """
import resource, sys
from competition.errors import UnreadableError
from competition.images import decode
data = sys.stdin.buffer.read()
used = 1024 * int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1])
resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000,) * 2)
try:
    print(decode(data, 3).shape)
except UnreadableError as error:
    print(error)
"""


def decode_apart(data: bytes) -> str:
    done = subprocess.run([sys.executable, "-c", LIMITED], input=data, capture_output=True, check=True)
    return done.stdout.decode().strip()


@pytest.mark.skipif(sys.platform != "linux", reason="measures and limits memory as Linux does")
@pytest.mark.parametrize("format", HUGE)
def test_too_large(format: str) -> None:
    """An image larger than any camera's is refused by its header, before memory is asked for."""
    assert "60,000 x 60,000" in decode_apart(HUGE[format]())


@pytest.mark.skipif(sys.platform != "linux", reason="measures and limits memory as Linux does")
def test_too_large_where_the_header_is_not_read() -> None:
    """OpenCV's own limit holds for the formats that `sniff` does not know."""
    data = bytearray(save(COLOUR, "JPEG2000", no_jp2=True))
    start = data.index(b"\xff\x51")
    assert struct.unpack_from(">II", data, start + 6) == (WIDTH, HEIGHT)
    for place in (6, 22):  # of the image, of its tiles
        struct.pack_into(">II", data, start + place, SIDE, SIDE)
    assert "PIXELS" in decode_apart(bytes(data))


def test_pillow_is_for_tests_only() -> None:
    """The package works without Pillow, which only the tests install."""
    code = "import sys, competition.images, competition.formats\nassert 'PIL' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
