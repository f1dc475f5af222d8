"""Sheets of captioned images, for where people would rather look than read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

TILE_PX = 80
CAPTION_PX = 15  # height of a line of a caption
TITLE_PX = 220  # width of the column left of the images
MARGIN_PX = 6
INK, PAPER = (20, 20, 20), 255


@dataclass(frozen=True)
class Line:
    """One line of a sheet: a title, then images, each uint8 (h, w, 1 or 3), with a caption each or none at all.

    A title or caption may have several lines.
    """

    title: str
    images: Sequence[np.ndarray]
    captions: Sequence[str] = ()


def in_lines(images: Sequence[np.ndarray], captions: Sequence[str], per_line: int) -> list[Line]:
    """Lay captioned images out over lines without a title."""
    starts = range(0, len(images), per_line)
    return [Line("", images[start : start + per_line], captions[start : start + per_line]) for start in starts]


def write_sheet(path: Path, lines: Sequence[Line]) -> None:
    """Write a PNG of all lines below each other."""
    wide = max(len(line.images) for line in lines)
    title_px = TITLE_PX if any(line.title for line in lines) else 0
    width = title_px + wide * (TILE_PX + MARGIN_PX) + MARGIN_PX
    sheet = np.concatenate([_draw(line, width, title_px) for line in lines])
    written, png = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    assert written
    path.write_bytes(png.tobytes())


def _draw(line: Line, width: int, title_px: int) -> np.ndarray:
    caption_lines = max((caption.count("\n") + 1 for caption in line.captions), default=0)
    height = TILE_PX + MARGIN_PX + caption_lines * CAPTION_PX
    strip = np.full((height, width, 3), PAPER, np.uint8)
    for row, text in enumerate(line.title.splitlines()):
        _write(strip, text, MARGIN_PX, 24 + 22 * row, 15, title_px - 2 * MARGIN_PX)
    for column, image in enumerate(line.images):
        x = title_px + MARGIN_PX + column * (TILE_PX + MARGIN_PX)
        strip[MARGIN_PX : MARGIN_PX + TILE_PX, x : x + TILE_PX] = _tile(image)
        for row, text in enumerate(line.captions[column].splitlines() if line.captions else []):
            _write(strip, text, x, MARGIN_PX + TILE_PX + 12 + row * CAPTION_PX, 11, TILE_PX)
    return strip


def _tile(image: np.ndarray) -> np.ndarray:
    """Fit an image into a square on paper, small ones enlarged in clear pixels."""
    ratio = TILE_PX / max(image.shape[:2])
    height, width = (max(round(side * ratio), 1) for side in image.shape[:2])
    how = cv2.INTER_NEAREST if ratio > 1 else cv2.INTER_AREA
    scaled = cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=how).reshape(height, width, -1)
    tile = np.full((TILE_PX, TILE_PX, 3), PAPER, np.uint8)
    y, x = (TILE_PX - height) // 2, (TILE_PX - width) // 2
    tile[y : y + height, x : x + width] = scaled
    return tile


def _write(picture: np.ndarray, text: str, x: int, y: int, size: int, room_px: int) -> None:
    """Write a text in any script, cut off with an ellipsis where it would leave its room."""
    font = cv2.FontFace("sans")
    shown = text
    while shown and cv2.getTextSize(picture.shape[1::-1], shown, (x, y), font, size)[2] > room_px:
        shown = shown[:-2] + "…" if len(shown) > 2 else ""
    cv2.putText(picture, shown, (x, y), INK, font, size)
