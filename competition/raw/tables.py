"""Read a competition's CSV files: every cell a string, exactly as written."""

import csv
import io
from pathlib import PurePosixPath

import pandas as pd

from competition.errors import CompetitionError, UnreadableError
from competition.raw.sources import Source, normal


def table_names(source: Source) -> list[str]:
    """Name the CSV files of a source."""
    return [name for name in source.files if name.lower().endswith(".csv")]


def read_table(source: Source, name: str) -> pd.DataFrame:
    """Read one CSV file of a source.

    Raises:
        CompetitionError: it is not in the source, not UTF-8, empty, or its rows do not fit its header.
    """
    name = normal(name)
    if name not in source.files:
        found = ", ".join(table_names(source)) or "no CSV file"
        raise CompetitionError(f"{source.path} holds no {name}; it holds {found}; correct data.* in params.yaml")
    try:
        data = source.read(name)
    except UnreadableError as error:
        raise CompetitionError(f"{name} in {source.path}: {error}; download it again") from None
    return parse_table(data, f"{name} in {source.path}")


def parse_table(data: bytes, called: str) -> pd.DataFrame:
    """Parse the bytes of a CSV file; ``called`` names it in errors."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CompetitionError(
            f"{called} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    header: list[str] = []
    rows = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)  # strict: an open quote would swallow the rest
    try:
        for row in filter(None, reader):
            if not header:
                header = row
                while header and not header[-1]:  # a comma at the end of every line
                    header.pop()
            elif len(row) < len(header):
                raise CompetitionError(f"{called}: line {reader.line_num} has fewer cells than the header {header}")
            elif any(row[len(header) :]):
                raise CompetitionError(
                    f"{called}: line {reader.line_num} has more cells than the header {header}; "
                    "a cell with a comma in it needs quotes"
                )
            else:
                rows.append(row[: len(header)])
    except csv.Error as error:
        raise CompetitionError(f"{called} cannot be read as a CSV file ({error}); download it again") from None
    if not header:
        raise CompetitionError(f"{called} is empty; download it again")
    if len(set(header)) < len(header):
        raise CompetitionError(f"{called} has the columns {header}; expected each name once")
    return pd.DataFrame(rows, columns=header, dtype=str)


def role(name: str) -> str:
    """Tell from its file name what a table is for: ``sample_submission``, ``test`` or ``train``."""
    stem = PurePosixPath(name).stem.lower()
    if "sample" in stem or "submission" in stem:
        return "sample_submission"
    return "test" if "test" in stem else "train"
