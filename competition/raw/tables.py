"""Read a competition's CSV files: every cell a string, exactly as written."""

import io
import warnings
from pathlib import PurePosixPath

import pandas as pd

from competition.errors import CompetitionError
from competition.raw.sources import Source


def table_names(source: Source) -> list[str]:
    """Name the CSV files of a source."""
    return [name for name in source.files if name.lower().endswith(".csv")]


def read_table(source: Source, name: str) -> pd.DataFrame:
    """Read one CSV file of a source.

    Raises:
        CompetitionError: it is not in the source, not UTF-8, empty, or its rows do not fit its header.
    """
    if name not in source.files:
        found = ", ".join(table_names(source)) or "no CSV file"
        raise CompetitionError(f"{source.path} holds no {name}; it holds {found}; correct data.* in params.yaml")
    return parse_table(source.read(name), f"{name} in {source.path}")


def parse_table(data: bytes, called: str) -> pd.DataFrame:
    """Parse the bytes of a CSV file; ``called`` names it in errors."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CompetitionError(
            f"{called} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)  # a comma at the end of every row
            # The only options that keep `007`, `1e5`, `NA`, `None` and empty cells as they are.
            table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, index_col=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise CompetitionError(f"{called} cannot be read as a CSV file: {str(error).strip()}") from None
    if table.isna().any(axis=None):
        short = int(table.isna().any(axis=1).to_numpy().argmax()) + 2
        raise CompetitionError(f"{called}: line {short} has fewer cells than the header {list(table.columns)}")
    return table


def role(name: str) -> str:
    """Tell from its file name what a table is for: ``sample_submission``, ``test`` or ``train``."""
    stem = PurePosixPath(name).stem.lower()
    if "sample" in stem or "submission" in stem:
        return "sample_submission"
    return "test" if "test" in stem else "train"
