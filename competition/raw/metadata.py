"""Read a JSON file as a table, and what every table is held to: its encoding and its size."""

import json
from typing import Any

import pandas as pd

from competition.errors import CompetitionError

MAX_TABLE_BYTES = 1 << 30  # parsed, a table takes some eight times that in memory
MAX_COLUMNS = 100_000  # pandas spends 10 kB on each; competitions have up to 15,000 classes
MAX_CELLS = 50_000_000  # 60 bytes each in memory
MAX_VALUES = 100_000_000  # of a JSON file, also what is in no cell; 60 bytes each too

Record = dict[str, Any]


def utf8(data: bytes, called: str) -> bytes:
    """Bring the bytes of a text to UTF-8 where a mark at its beginning says UTF-16, as Excel writes it.

    Args:
        data: a whole file.
        called: names it in errors.

    Raises:
        CompetitionError: it is too big, or no text.
    """
    if len(data) > MAX_TABLE_BYTES:
        raise CompetitionError(
            f"{called} has {len(data):,} bytes; expected a table of at most {MAX_TABLE_BYTES:,}; take out what is not "
            "needed, or set data.* in params.yaml to another table"
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            data = data.decode("utf-16").encode()
        except UnicodeDecodeError:
            raise CompetitionError(f"{called} is marked as UTF-16 and is not; save it as UTF-8") from None
    zero = data.find(b"\0")
    if zero >= 0:
        raise CompetitionError(_no_text(called, zero))
    return data


def _no_text(called: str, zero: int) -> str:
    return f"{called} is no text: there is a zero at byte {zero:,}; download it again, or save it as UTF-8"


def check_cells(rows: int, columns: int, called: str) -> None:
    """Refuse a table that would not fit into memory.

    Raises:
        CompetitionError: it has more than MAX_COLUMNS or MAX_CELLS.
    """
    if columns > MAX_COLUMNS:
        raise CompetitionError(
            f"{called} has {columns:,} columns; expected at most {MAX_COLUMNS:,}; take out what is not needed"
        )
    if rows * columns > MAX_CELLS:
        raise CompetitionError(
            f"{called} has {columns:,} columns and {rows:,} rows or more; expected at most {MAX_CELLS:,} cells; take "
            "out what is not needed"
        )


def flatten(data: bytes, called: str) -> pd.DataFrame:
    """Read a JSON file as a table.

    The forms it knows: an object of ``images``, ``annotations`` and ``categories`` as COCO has them, a row for each
    annotation and each image without any; a list of objects, a row each; an object of objects, a row each with its key
    in the column ``id``; an object of other values, a row each with the columns ``key`` and ``value``.

    Args:
        data: the bytes of the file.
        called: names it in errors.

    Returns:
        Every cell a string, numbers as they are written, null and what is missing as "". Columns that hold lists or
        objects are left out, and rows that were there before. Empty where the file is none of these.

    Raises:
        CompetitionError: it is no JSON, or too big.
    """
    data = utf8(data, called)
    if (zero := data.find(rb"\u0000")) >= 0:
        raise CompetitionError(_no_text(called, zero))
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_VALUES:
        raise CompetitionError(f"{called} holds more than {MAX_VALUES:,} values; take out what is not needed")
    try:
        content = json.loads(_decoded(data), parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise CompetitionError(f"{called} cannot be read as JSON ({reason}); download it again") from None
    if isinstance(content, dict) and _are_records(content.get("images")):
        return _coco(content, called)
    if _are_records(content):
        return _table(content, called)
    if isinstance(content, dict) and _are_records(list(content.values())):
        return _table([{"id": "", **record} | {"id": key} for key, record in content.items()], called)
    if isinstance(content, dict) and not any(map(_is_nested, content.values())):
        return _table([{"key": key, "value": value} for key, value in content.items()], called)
    return pd.DataFrame()


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:  # against the standard, but Herbarium 2020 names its plants' authors so
        return data.decode("latin-1")


def _are_records(content: Any) -> bool:
    return isinstance(content, list) and bool(content) and all(isinstance(record, dict) for record in content)


def _is_nested(value: Any) -> bool:
    return isinstance(value, list | dict)


def _text(value: Any) -> str:
    if isinstance(value, str):  # numbers too; half a surrogate pair could not be written again
        return value if value.isascii() else value.encode(errors="replace").decode()
    return "" if value is None or _is_nested(value) else str(value).lower()


def _columns(records: list[Record]) -> list[str]:
    """Name the keys of records in the order they appear, but those of lists and objects."""
    columns: dict[str, bool] = {}
    for record in records:
        for key, value in record.items():
            columns[key] = columns.get(key, True) and not _is_nested(value)
    return list(dict.fromkeys(_text(column) for column, plain in columns.items() if plain))


def _table(records: list[Record], called: str) -> pd.DataFrame:
    columns = _columns(records)
    check_cells(len(records), len(columns), called)
    return _frame([_cells(record, columns) for record in records], columns)


def _frame(rows: list[tuple[str, ...]], columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(list(dict.fromkeys(rows)), columns=columns, dtype=str)


def _coco(content: Record, called: str) -> pd.DataFrame:
    """Join annotations to their images, and the names of categories to both."""
    images, annotations, categories = (
        content[key] if _are_records(content.get(key)) else [] for key in ("images", "annotations", "categories")
    )
    image_key = "id" if "id" in images[0] else "image_id"
    of_image = [column for column in _columns(images) if column not in ("id", "image_id")]
    of_annotation = [column for column in _columns(annotations) if column not in ("id", "image_id", *of_image)]
    columns = ["image_id", *of_image, *of_annotation]
    check_cells(len(images) + len(annotations), len(columns) + 1, called)
    annotated: dict[str, list[Record]] = {}
    for annotation in annotations:
        annotated.setdefault(_text(annotation.get("image_id")), []).append(annotation)
    rows = []
    for image in images:
        image_id = _text(image.get(image_key))
        head = (image_id, *(_text(image.get(column)) for column in of_image))
        rows += [head + _cells(annotation, of_annotation) for annotation in annotated.get(image_id, [{}])]
    listed = {row[0] for row in rows}
    for image_id, unlisted in annotated.items():  # in the order of the file, which a set would lose
        head = (image_id, *[""] * len(of_image))
        rows += [head + _cells(annotation, of_annotation) for annotation in unlisted if image_id not in listed]
    if categories and "category_id" in columns and "category_name" not in columns:
        names = _names(categories)
        place = columns.index("category_id")
        columns.append("category_name")
        rows = [(*row, names.get(row[place], "")) for row in rows]
    return _frame(rows, columns)


def _cells(record: Record, columns: list[str]) -> tuple[str, ...]:
    return tuple(_text(record.get(column)) for column in columns)


def _names(categories: list[Record]) -> dict[str, str]:
    """Name each category by its id."""
    return {
        _text(category.get("id", category.get("category_id"))): _text(
            category.get("name", category.get("scientificName"))
        )
        for category in categories
    }
