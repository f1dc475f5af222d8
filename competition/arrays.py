"""Arrays of images on disk: created once, written in rows by many processes, read through a memory map."""

from pathlib import Path

import numpy as np


def create_array(path: Path, shape: tuple[int, ...]) -> None:
    """Create a uint8 ``.npy`` file of this shape, filled with zeros, to be written by `write_rows`."""
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + int(np.prod(shape, dtype=np.int64)))


def write_rows(path: Path, first_row: int, rows: np.ndarray) -> None:
    """Write consecutive rows of an array made by `create_array`.

    Plain writes, not a writable memory map: on a full disk a write raises OSError where a map kills the process.

    Args:
        path: the array's file.
        first_row: index of the first row to write.
        rows: uint8 (rows, ...), the trailing shape that of the array.
    """
    with path.open("r+b") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        file.seek(file.tell() + first_row * int(np.prod(rows.shape[1:], dtype=np.int64)))
        file.write(np.ascontiguousarray(rows).data)


def open_array(path: Path) -> np.ndarray:
    """Map an array into memory, read-only."""
    return np.load(path, mmap_mode="r")
