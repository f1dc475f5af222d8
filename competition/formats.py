"""What the first bytes of an image file say, and the few files whose header has to be mended for OpenCV."""

import os
import re
import struct
from typing import NamedTuple

import numpy as np

MAX_PIXELS = 2**28  # 16,384 x 16,384: more than any camera has, and 0.8 GB in red, green, blue for each core

# For the formats that `sniff` does not measure. OpenCV reads it when it is loaded, and so do the worker processes,
# which inherit it.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))


class Header(NamedTuple):
    """What kind of image a file holds.

    Attributes:
        format: jpeg, png, gif, bmp, tiff, webp, ppm, pfm, or unknown.
        mode: gray, gray+alpha, rgb, rgba, palette or cmyk, before it ``16-bit`` or more; "" if the header does not say.
        height, width: in pixels, as stored (before EXIF turns it); 0 if the header does not say.
    """

    format: str
    mode: str = ""
    height: int = 0
    width: int = 0


def sniff(data: bytes) -> Header:
    """Tell an image by its content. Takes a microsecond or two, and never fails."""
    reader = READERS.get(data[:2])
    if reader is None:
        return UNKNOWN
    try:
        return reader(data)
    except (struct.error, IndexError):  # cut short
        return UNKNOWN


UNKNOWN = Header("unknown")
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the markers before which a JPEG tells its size
_jpeg_frame = struct.Struct(">HHB").unpack_from
_png_header = struct.Struct(">IIBB").unpack_from
JPEG_MODES = {1: "gray", 3: "rgb", 4: "cmyk"}
PNG_MODES = {0: "gray", 2: "rgb", 3: "palette", 4: "gray+alpha", 6: "rgba"}


def _jpeg(data: bytes) -> Header:
    place = 2
    while data[place] == 0xFF:
        marker = data[place + 1]
        if marker in FRAMES:
            height, width, channels = _jpeg_frame(data, place + 5)
            return Header("jpeg", JPEG_MODES.get(channels, ""), height, width)
        # A marker may be led by any number of 0xFF.
        place += 1 if marker == 0xFF else 2 + (data[place + 2] << 8 | data[place + 3])
    return Header("jpeg")


def _png(data: bytes) -> Header:
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return UNKNOWN
    width, height, bits, kind = _png_header(data, 16)
    mode = PNG_MODES.get(kind, "")
    return Header("png", f"16-bit {mode}" if bits == 16 else mode, height, width)


def _gif(data: bytes) -> Header:
    if data[:4] != b"GIF8":
        return UNKNOWN
    width, height = struct.unpack_from("<HH", data, 6)
    return Header("gif", "palette", height, width)


def _bmp(data: bytes) -> Header:
    if data[15:18] != b"\0\0\0":  # the length of the header: a text may begin with BM
        return UNKNOWN
    if data[14] == 12:  # as in OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    return Header("bmp", "palette" if bits <= 8 else "rgba" if bits == 32 else "rgb", abs(height), abs(width))


def _tiff(data: bytes) -> Header:
    if data[2:4] not in (b"*\0", b"\0*"):
        return UNKNOWN
    order, places = _tiff_tags(data)

    def value(tag: int, otherwise: int) -> int:
        if tag not in places:
            return otherwise
        kind, count = struct.unpack_from(order + "HI", data, places[tag] + 2)
        place = places[tag] + 8
        if kind == 3 and count > 2:  # they do not fit in here
            (place,) = struct.unpack_from(order + "I", data, place)
        return int(struct.unpack_from(order + ("H" if kind == 3 else "I"), data, place)[0])

    photometric, channels = value(262, 1), value(277, 1)
    named = {2: "rgb", 3: "palette", 5: "cmyk", 6: "rgb"}.get(photometric, "gray" if photometric < 2 else "")
    mode = {("rgb", 4): "rgba", ("gray", 2): "gray+alpha"}.get((named, channels), named)
    bits = value(258, 1)
    return Header("tiff", f"{bits}-bit {mode}" if bits > 8 else mode, value(257, 0), value(256, 0))


def _tiff_tags(data: bytes) -> tuple[str, dict[int, int]]:
    """Return the byte order of a TIFF and where each tag of its first page stands."""
    order = "<" if data.startswith(b"II") else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    places = range(start + 2, start + 2 + 12 * count, 12)
    return order, {struct.unpack_from(order + "H", data, place)[0]: place for place in places}


def _webp(data: bytes) -> Header:
    if data[8:12] != b"WEBP":
        return UNKNOWN
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("webp", "rgb", height & 0x3FFF, width & 0x3FFF)
    if kind == b"VP8L":
        (packed,) = struct.unpack_from("<I", data, 21)  # 14 bits each, then one that says alpha
        return Header("webp", "rgba" if packed >> 28 & 1 else "rgb", (packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1)
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[place : place + 3], "little") + 1 for place in (24, 27))
        return Header("webp", "rgba" if data[20] & 16 else "rgb", height, width)
    return Header("webp")


GAP = rb"(?:\s|#[^\n]*\n)+"
PPM = re.compile(rb"P[2356]" + GAP + rb"(\d+)" + GAP + rb"(\d+)" + GAP + rb"(\d+)\s")
PBM = re.compile(rb"P[14]" + GAP + rb"(\d+)" + GAP + rb"(\d+)")


def _ppm(data: bytes) -> Header:
    found = PPM.match(data) or PBM.match(data)
    if not found:
        return UNKNOWN
    mode = "rgb" if data[1:2] in b"36" else "gray"
    deep = found.re is PPM and int(found[3]) > 255
    return Header("ppm", f"16-bit {mode}" if deep else mode, int(found[2]), int(found[1]))


def _pfm(data: bytes) -> Header:
    return Header("pfm", "32-bit gray" if data[1:2] == b"f" else "32-bit rgb") if data[2:3] == b"\n" else UNKNOWN


READERS = {
    b"\xff\xd8": _jpeg,
    b"\x89P": _png,
    b"GI": _gif,
    b"BM": _bmp,
    b"II": _tiff,
    b"MM": _tiff,
    b"RI": _webp,
    b"Pf": _pfm,
    b"PF": _pfm,
    **{b"P%d" % kind: _ppm for kind in range(1, 7)},
}


# Mending ----------------------------------------------------------------------------------------------------------


def mend(data: bytes, format: str) -> bytes:
    """Return a file that OpenCV 5.0 reads as other programs read the original.

    Where alpha is to be dropped, OpenCV paints transparent pixels of a GIF in the background's colour and darkens those
    of a TIFF; a PPM whose white is not 255 or 65,535 comes out dark, and one in text needs a line break at its end.
    """
    try:
        return MENDERS[format](data)
    except (KeyError, struct.error, IndexError, ValueError):  # nothing to mend, or cut short
        return data


def _opaque_gif(data: bytes) -> bytes:
    place = 13 + (3 * 2 ** (data[10] % 8 + 1) if data[10] & 0x80 else 0)
    while data[place] == 0x21:  # extensions, up to the first frame
        if data[place + 1] == 0xF9:
            data = data[: place + 3] + bytes([data[place + 3] & 0xFE]) + data[place + 4 :]
        place += 2
        while data[place]:
            place += data[place] + 1
        place += 1
    return data


def _opaque_tiff(data: bytes) -> bytes:
    order, places = _tiff_tags(data)
    place = places.get(338)  # what the channels beyond the colours are; 2 is alpha, 1 alpha that is multiplied already
    if place is None or struct.unpack_from(order + "HIH", data, place + 2) != (3, 1, 2):
        return data
    return data[: place + 8] + struct.pack(order + "H", 1) + data[place + 10 :]


def _bright_ppm(data: bytes) -> bytes:
    if data[1:2] in b"123":
        return data + b"\n"
    found = PPM.match(data)
    white = int(found[3]) if found else 255
    if not found or not 0 < white < 65_535 or white == 255:
        return data
    full = 255 if white < 255 else 65_535
    shades = np.frombuffer(data[found.end() :], np.uint8 if white < 255 else ">u2")
    scaled = np.minimum((shades.astype(np.uint32) * full + white // 2) // white, full).astype(shades.dtype)
    return data[: found.start(3)] + b"%d\n" % full + scaled.tobytes()


MENDERS = {"gif": _opaque_gif, "tiff": _opaque_tiff, "ppm": _bright_ppm}
