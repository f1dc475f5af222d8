"""Read a competition's tables, CSV and JSON: every cell a string, exactly as written."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from competition.errors import CompetitionError, UnreadableError
from competition.raw.metadata import MAX_COLUMNS, check_cells, flatten, utf8
from competition.raw.sources import Source, normal

TABLES = (".csv", ".tsv", ".tab", ".json")
LISTS = (".txt",)  # tables only where the user says so, for most are something else; of cells between blanks too
UNREAD = (".xlsx", ".xls", ".ods", ".jsonl", ".parquet", ".feather", ".pkl", ".mat", ".xml", ".npy", ".npz", ".h5")
DELIMITERS = ",\t;|"
UNNAMED = "column "  # with its number, what a column is called where there is no header
MAX_ROW_CHARS = 1 << 24  # of a row, all its lines together; a row that never ends would become one list of cells
CHUNK_ROWS = 200  # held before they are taken apart into columns; so few that Python's garbage collector seldom walks
SHOWN_COLUMNS = 20  # in errors


def table_names(source: Source) -> list[str]:
    """Name the files of a source that may be tables."""
    return [name for name in source.files if name.lower().endswith(TABLES)]


def read_table(source: Source, name: str, has_header: bool = True) -> pd.DataFrame:
    """Read one table of a source.

    Args:
        source: the competition's files.
        name: one of ``table_names``, or a text file of lines such as ``1.png cat``.
        has_header: as in `parse_table`.

    Returns:
        Every cell a string; empty if it is a JSON file that is no table.

    Raises:
        CompetitionError: it is not in the source, of another kind, damaged, no text, empty, too big, or its rows do not
            fit its header.
    """
    name = normal(name)
    if name not in source.files:
        found = ", ".join(table_names(source)) or "no CSV file"
        raise CompetitionError(f"{source.path} holds no {name}; it holds {found}; correct data.* in params.yaml")
    if name.lower().endswith(UNREAD):
        raise CompetitionError(f"no table can be read from {name} in {source.path}; write it into a CSV, and name that")
    try:
        data = source.read(name)
    except UnreadableError as error:
        raise CompetitionError(f"{name} in {source.path}: {error}; download it again") from None
    called = f"{name} in {source.path}"
    if name.lower().endswith(".json"):
        return flatten(data, called)
    return parse_table(data, called, has_header, _delimiters(name))


def read_delimiter(source: Source, name: str) -> str:
    """Return what stands between the cells of a table that `read_table` has read; a comma for JSON."""
    name = normal(name)
    if name.lower().endswith(".json"):
        return ","
    text = io.TextIOWrapper(io.BytesIO(utf8(source.read(name), name)), "utf-8-sig", newline="")
    return _delimiter(_first(text), _delimiters(name))


def _delimiters(name: str) -> str:
    return DELIMITERS + " " if name.lower().endswith(LISTS) else DELIMITERS


def parse_table(data: bytes, called: str, has_header: bool = True, delimiters: str = DELIMITERS) -> pd.DataFrame:
    """Parse the bytes of a file of cells between commas, tabs, semicolons or bars.

    Args:
        data: UTF-8, or UTF-16 with a mark at its beginning.
        called: names it in errors.
        has_header: whether the first row names the columns; without, they are called "column 1", "column 2" and so on.
        delimiters: what may stand between cells.

    Returns:
        Every cell a string. One column may have the name "", as the index that pandas writes has.

    Raises:
        CompetitionError: it is no text, empty, too big, or its rows do not fit its header.
    """
    data = utf8(data, called)
    csv.field_size_limit(MAX_ROW_CHARS)  # Python's own is 131,072 letters of a cell
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
    lines = _Lines(text, called)
    try:
        first = _first(lines)
        delimiter = _delimiter(first, delimiters)
        text.seek(0)
        lines.chars = 0
        # Several blanks are one, and where they stand before a quote in the first line, they do not belong to a cell.
        skips = delimiter == " " or bool(re.search(f'{re.escape(delimiter)} +"', first))
        # strict: an open quote would swallow the rest
        reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=skips)
        return _parse(reader, lines, called, has_header)
    except csv.Error as error:
        raise CompetitionError(f"{called} cannot be read as a CSV file ({error}); download it again") from None
    except UnicodeDecodeError:
        raise CompetitionError(f"{called} is not UTF-8 ({_wrong_byte(data)}); save it as UTF-8") from None


class _Lines:
    """The lines of a text, which refuse a row that does not end; whoever has read a row sets ``chars`` to 0."""

    def __init__(self, text: io.TextIOWrapper, called: str) -> None:
        self.text, self.called, self.chars = text, called, 0

    def __iter__(self) -> Iterator[str]:
        for line in self.text:
            self.chars += len(line)
            if self.chars > MAX_ROW_CHARS:
                raise CompetitionError(
                    f"{self.called} has a row of {self.chars:,} letters or more; expected at most {MAX_ROW_CHARS:,} "
                    f"and {MAX_COLUMNS:,} columns; download it again"
                )
            yield line


def _first(lines: Iterable[str]) -> str:
    return next((line for line in lines if line.strip("\r\n")), "")


def _delimiter(line: str, delimiters: str) -> str:
    """Choose what a line holds most outside quotes; a comma where there is a tie."""
    count = Counter(re.sub('"[^"]*"?', "", line))
    first, second = sorted(delimiters, key=lambda delimiter: -count[delimiter])[:2]
    return first if count[first] > count[second] else ","


def _parse(reader: Any, lines: _Lines, called: str, has_header: bool) -> pd.DataFrame:
    header: list[str] = next(filter(any, reader), [])
    if not header:
        raise CompetitionError(f"{called} is empty; download it again")
    check_cells(0, len(header), called)
    rows = []
    if not has_header:
        rows, header = [header], [f"{UNNAMED}{number}" for number in range(1, len(header) + 1)]
    while not header[-1]:  # a delimiter at the end of every line
        header.pop()
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        raise CompetitionError(
            f"{called} has the columns {_shown(header)}, {twice[0]!r} more than once; expected each name once"
        )
    columns: list[list[str]] = [[] for _ in header]
    width = len(header)
    for row in reader:
        lines.chars = 0
        if len(row) == width:
            rows.append(row)
        elif row:
            rows.append(_fit(row, header, f"{called}: line {reader.line_num}"))
        if len(rows) == CHUNK_ROWS:
            _move(rows, columns, called)
    _move(rows, columns, called)
    while not has_header and not any(columns[-1]):  # a delimiter at the end of every line, here too
        columns.pop()
    return pd.DataFrame(dict(zip(header, columns, strict=False)), dtype=str)


def _fit(row: list[str], header: list[str], where: str) -> list[str]:
    """Cut empty cells off a row's end."""
    if len(row) < len(header):
        raise CompetitionError(f"{where} has fewer cells than the header {_shown(header)}")
    if any(row[len(header) :]):
        raise CompetitionError(
            f"{where} has more cells than the header {_shown(header)}; a cell with a comma in it needs quotes"
        )
    return row[: len(header)]


def _shown(header: list[str]) -> str:
    more = f" and {len(header) - SHOWN_COLUMNS:,} more" if len(header) > SHOWN_COLUMNS else ""
    return f"{header[:SHOWN_COLUMNS]}{more}"


def _move(rows: list[list[str]], columns: list[list[str]], called: str) -> None:
    """Move cells from rows to columns, which take half the memory."""
    check_cells(len(columns[0]) + len(rows), len(columns), called)
    for column, cells in zip(columns, zip(*rows, strict=True), strict=False):
        column.extend(cells)
    rows.clear()


def _wrong_byte(data: bytes) -> str:
    """Say where the first byte is that is not UTF-8."""
    for number, line in enumerate(io.BytesIO(data), 1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            return f"{error.reason} in line {number:,}"
    return ""
