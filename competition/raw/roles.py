"""Which table is which, and which of its columns is what."""

import functools
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd

from competition.errors import CompetitionError
from competition.raw.forms import Shown, bare
from competition.raw.labels import flags_of, is_number
from competition.raw.matching import FORMS, PROBE, ImageIndex, says, split_of
from competition.raw.sources import Source
from competition.raw.tables import read_table, table_names
from competition.tasks import is_whole

# What label columns are called, by their letters alone, the surest first.
LABEL_NAMES = ("label", "labels", "class", "target", "categoryid", "category", "classid", "classname", "categoryname",
               "tags", "tag", "species", "breed", "diagnosis", "dx")  # fmt: skip
# What columns of samples that belong together are called, without `_id`; the widest first: a place holds sequences.
GROUP_NAMES = ("group", "patient", "subject", "driver", "person", "individual", "participant", "location", "site",
               "sequence", "seq", "specimen", "lesion")  # fmt: skip
FOLD_NAMES = ("fold", "kfold")
WEIGHT_NAMES = ("sample_weight", "sampleweight")
SPLIT_NAMES = ("split", "partition", "subset", "usage", "dataset")  # what such a column is called
MOST_SPLITS = 6  # different cells of such a column: two of train, two of validation, two of test
MIN_GROUPS = 5  # fewer could not be spread over folds


@functools.cache
def role(name: str) -> str:
    """Tell from its file name, or else its folder's, what a table is for; "" where neither says it."""
    stem = PurePosixPath(name).stem.lower()
    if re.search(r"(?<![a-z])sample(?!s)|sample[_ -]?submission|submission|benchmark$", stem) and "train" not in stem:
        return "sample_submission"
    said = [split for split in ("train", "test") if re.search(rf"(?<![a-z]){split}", stem)]
    if len(said) == 1:
        return said[0]
    if re.search(r"(?<![a-z])val(id|idation)?(?![a-z])", stem):
        return "train"
    return split_of(name.rpartition("/")[0])


class Tables:
    """The tables of a source, each read once.

    Args:
        source: the competition's files.
        index: its images, by which a header is told from a first row.
    """

    def __init__(self, source: Source, index: ImageIndex) -> None:
        self.names = table_names(source)
        self._source, self._index = source, index
        self._read: dict[str, pd.DataFrame] = {}
        self._file_columns: dict[str, str | None] = {}
        self._keys: dict[str, dict[str, set[str]]] = {}
        self._firsts: dict[str, str] = {}
        self._alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
        self.damaged: dict[str, CompetitionError] = {}
        self.headless: set[str] = set()  # those whose first row is no header

    def get(self, name: str) -> pd.DataFrame:
        """Return a table.

        Raises:
            CompetitionError: it is missing or damaged.
        """
        if name not in self._read:
            table = read_table(self._source, name)
            column = self._index.file_column(table)
            # Where the name of that column is an image too, it is no header; a word alone could be both.
            if column is not None and re.search(r"[\d.]", column) and self._index.find(column):
                table = read_table(self._source, name, has_header=False)
                self.headless.add(name)
            self._read[name] = table
        return self._read[name]

    def file_column(self, name: str) -> str | None:
        """Name the column of a table that names images."""
        if name not in self._file_columns:
            self._file_columns[name] = self._index.file_column(self.get(name))
        return self._file_columns[name]

    def keys(self, name: str) -> dict[str, set[str]]:
        """Return the values of the columns of a table that tell its rows apart."""
        if name not in self._keys:
            table = self.get(name)
            self._keys[name] = {column: set(table[column]) for column in table.columns if table[column].is_unique}
        return self._keys[name]

    def good(self, wanted: Sequence[str]) -> list[str]:
        """Return those of these names whose tables can be read and hold something; remember what the others said."""
        good: dict[str, str] = {}
        for name in wanted:
            try:
                table = self.get(name)
            except CompetitionError as error:
                self.damaged[name] = error
                continue
            if len(table.columns):
                good.setdefault(self._first(name), name)
        return list(good.values())

    def _first(self, name: str) -> str:
        """Name the first table read that has the same file name and the same cells."""
        if name not in self._firsts:
            table = self.get(name)
            first_row = table.iloc[0] if len(table) else ()
            alike = self._alike[PurePosixPath(name).name, str(len(table)), *table.columns, *first_row]
            self._firsts[name] = next((other for other in alike if self.get(other).equals(table)), name)
            if self._firsts[name] == name:
                alike.append(name)
        return self._firsts[name]


@dataclass(frozen=True)
class Link:
    """Ids that meet their images in another table only: there ``id_column`` holds them, ``file_column`` the images."""

    table: str
    id_column: str
    file_column: str


def find_link(tables: Tables, index: ImageIndex, values: pd.Series, names: Sequence[str]) -> Link | None:
    """Find the table that says which image an id means, where that is not the id itself."""
    wanted = {value for value in values.head(PROBE) if value}
    if len(wanted) < min(len(values), PROBE):  # ids tell their rows apart
        return None
    for name in tables.good(names):
        table, file_column = tables.get(name), tables.file_column(name)
        if file_column is None or not wanted:
            continue
        written = table[file_column].head(PROBE)
        if index.share(written) < 0.5 or not written.map(index.names).any():
            continue
        for column, known in tables.keys(name).items():
            if column != file_column and wanted <= known:
                return Link(name, column, file_column)
    return None


def split_column(table: pd.DataFrame, by_name: bool = False) -> str | None:
    """Name the column that says of each row whether it is of train or test.

    Args:
        table: any.
        by_name: whether one called like that does too, whose cells do not say it, as 0, 1 and 2; they may be folds.
    """
    for column in table.columns:
        kinds = set(table[column].unique())
        if not 1 < len(kinds) <= MOST_SPLITS:
            continue
        said = {split for split in FORMS for kind in kinds if says(split, kind.replace("/", " "))}
        flagged = any(says(split, column) for split in FORMS) and bool(flags_of(table[column]).notna().all())
        if len(said) == len(FORMS) or flagged or (by_name and bare(column) in SPLIT_NAMES):
            return column
    return None


def told_split(tables: Tables) -> str:
    """Say what to do about a table for both splits, one of whose columns says which row is of which; "" without one."""
    for name in tables.good([name for name in tables.names if role(name) in ("train", "")]):
        if column := split_column(tables.get(name), by_name=True):
            return f"; {split_told(name, column)}"
    return ""


def split_told(name: str, column: str) -> str:
    return (
        f"the column {column!r} of {name} says of each row whether it is of train or test: write them into two tables, "
        "train.csv and test.csv"
    )


def label_columns(
    table: pd.DataFrame, taken: set[str | None], shown: Shown | None, test: pd.DataFrame | None
) -> tuple[list[str], float, str]:
    """Choose the label columns of a table.

    Args:
        table: the training table.
        taken: its columns that are something else.
        shown: the sample submission.
        test: the test table.

    Returns:
        The columns (none if there is no telling), how good the evidence is from 0 to 3, and what it is.
    """
    others = [column for column in table.columns if column not in taken]
    wanted = list(shown.values.columns) if shown else []
    if wanted and set(wanted) <= set(others):
        return wanted, 3, "as in the sample submission"
    if len(wanted) > 1:
        for column in others:
            if len(set(wanted) & set(table[column].str.strip())) >= 0.9 * len(wanted):
                return [column], 2, "its values are the submission's columns"
    untold = [column for column in others if test is None or column not in test.columns]
    told = set(map(bare, others)) - set(map(bare, untold))
    if test is not None and len(test.columns) > 1 and len(untold) == 1 and not told & set(LABEL_NAMES):
        if named_column(table[untold], GROUP_NAMES, set()):  # it may as well be a group, whose label is elsewhere
            return untold, 0.6, "the one column that the test table lacks, but called like a group"
        return untold, 2, "the one column that the test table lacks"
    if shown is not None and len(wanted) == 1:
        holding = [column for column in others if _holds_answers(table[column], shown)]
        if len(holding) == 1:
            return holding, 2, "its values are those of the sample submission"
    whole = shown is not None and _whole(shown)
    for candidates in (untold, others):
        if len(wanted) == 1 and (alike := _alike(wanted[0], table[candidates], whole)):
            return [alike], 1.5, f"called like {wanted[0]!r} of the sample submission"
        by_name = {bare(column): column for column in candidates}
        if columns := [by_name[name] for name in LABEL_NAMES if name in by_name]:
            fitting = [column for column in columns if not whole or table[column].head(PROBE).map(is_whole).all()]
            return [(fitting or columns)[0]], 1, "by its name"
    if len(others) == 1:
        return others, 0.5, "the only other column"
    flags = [column for column in untold or others if flags_of(table[column]).notna().all()]
    if len(flags) > 1 and len(flags) == len(untold or others):
        return flags, 0.75, "columns of 0 and 1"
    return [], 0, ""


def _holds_answers(column: pd.Series, shown: Shown) -> bool:
    """Tell whether a column holds all that the sample submission shows for answers, as cells or as words of them; never
    where these are numbers, which could be of anything."""
    cells = {cell.strip() for answers in shown.values for cell in shown.values[answers].head(PROBE)} - {""}
    words = {word for cell in cells for word in cell.split()}
    known = set(column[column.isin(cells | words)])
    return not all(map(is_number, words)) and (cells <= known or words <= known)


def _whole(shown: Shown) -> bool:
    cells = [cell for column in shown.values for cell in shown.values[column].head(PROBE)]
    return bool(cells) and all(map(is_whole, cells))


def _alike(wanted: str, table: pd.DataFrame, whole: bool) -> str | None:
    """Find the column whose name begins like another or ends like it, of the type of the sample submission's cells."""
    letters = {column: bare(column) for column in table.columns if len(bare(column)) > 2}
    alike = [column for column, name in letters.items()
             if name.startswith(bare(wanted)) or bare(wanted).startswith(name)]  # fmt: skip
    fitting = [column for column in alike if not whole or table[column].head(PROBE).map(is_whole).all()]
    return next(iter(fitting or alike), None)


def named_column(table: pd.DataFrame, names: Sequence[str], taken: set[str]) -> str | None:
    """Find the column with the first of these names, whatever its case and the blanks around it, and with or without
    ``_id``."""
    plain = {re.sub(r"[\W_]?id$", "", column.strip(), flags=re.IGNORECASE).casefold(): column
             for column in reversed(table.columns) if column not in taken}  # fmt: skip
    return next((plain[name] for name in names if name in plain), None)
