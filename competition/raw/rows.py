"""Which rows of a competition's tables are its samples, and which image each row names."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd

from competition.errors import CompetitionError
from competition.params import DataParams
from competition.raw.found import Findings, Surety
from competition.raw.matching import ImageIndex, Match
from competition.raw.roles import Link, Tables, find_link, role
from competition.raw.sources import Source
from competition.raw.tables import LISTS

MISSING = "the competition lists it, and there is no image for it"


@dataclass
class Reader:
    """What the parts of the reading share."""

    source: Source
    params: DataParams
    index: ImageIndex
    tables: Tables
    findings: Findings


@dataclass(frozen=True)
class Rows:
    """The rows of a split's table: their ids, and the image of each as the table or, if linked, another names it."""

    name: str
    table: pd.DataFrame
    id_column: str
    file_column: str
    files: pd.Series
    linked: bool = False


def _choose_table(reader: Reader, key: str, wanted: str, needed: bool = True) -> str | None:
    """Choose the test table or the sample submission by their names; one not needed may name no image."""
    given: str = getattr(reader.params, key)
    if given != "auto":
        reader.findings.choose(key, given, "given", "")
        return None if given == "none" else given
    called = [name for name in reader.tables.names if role(name) == wanted]
    fitting = reader.tables.good(called)
    damaged = [name for name in called if name in reader.tables.damaged]
    if not fitting and damaged:
        raise reader.tables.damaged[damaged[0]]
    if wanted == "sample_submission" and len(fitting) > 1:  # one's own submissions may lie beside it
        fitting = [name for name in fitting if "sample" in PurePosixPath(name).stem.lower()] or fitting
    if wanted == "test" and (len(fitting) > 1 or not needed):  # others are about something else
        fitting = [name for name in fitting if reader.index.file_column(reader.tables.get(name)) is not None]
    if len(fitting) > 1:
        raise CompetitionError(
            f"{reader.source.path}: {', '.join(fitting)} could each be the {wanted.replace('_', ' ')} table; "
            f"set data.{key} in params.yaml to one of them, or to none"
        )
    chosen = fitting[0] if fitting else None
    why = "by its name" if chosen else "there is none"
    reader.findings.choose(key, chosen or "none", "likely" if chosen else "sure", why)
    return chosen


def sample_rows(reader: Reader) -> Rows | None:
    """Return the rows of the sample submission, or None if there is none."""
    name = _choose_table(reader, "sample_submission", "sample_submission")
    if name is None and reader.params.sample_submission == "auto":
        lists = [
            name for name in reader.source.files if name.lower().endswith(LISTS) and role(name) == "sample_submission"
        ]
        for other in reader.tables.good(lists):
            if reader.tables.file_column(other) is not None:
                reader.findings.notes.append(
                    f"{other} names images: if it is the sample submission, set data.sample_submission to it"
                )
    return locate(reader, name, "test") if name else None


def test_rows(reader: Reader, sample: Rows | None) -> Rows | None:
    """Return the rows of the test table, or None if there is none."""
    name = _choose_table(reader, "test_table", "test", needed=sample is None)
    return locate(reader, name, "test", like=sample.id_column if sample else "") if name else None


def locate(reader: Reader, name: str, split: str, like: str = "") -> Rows:
    """Find the id column of a table and the image that each row means."""
    table = reader.tables.get(name)
    params = reader.params
    given = params.id_column if params.id_column in table.columns else ""
    if split == "train":
        for key in ("id_column", "file_column"):
            column = getattr(params, key)
            if column != "auto" and column not in table.columns:
                raise CompetitionError(f"{name} has the columns {list(table.columns)}; data.{key} is {column!r}")
    if params.file_column in table.columns:
        return _rows(name, table, given or _id_beside(table, params.file_column, like), params.file_column)
    others = [other for other in reader.tables.names if other != name and role(other) in (split, "")]
    column = given or reader.index.file_column(table, like)
    if split == "test":
        ids = [column for column in (given, *table.columns) if column]
        link = next(((c, found) for c in ids if (found := find_link(reader.tables, reader.index, table[c], others))),
                    None)  # fmt: skip
        if link:
            return _linked(reader, name, table, *link)
    if column is not None and reader.index.share(table[column]) > 0:
        file_column = reader.index.file_column(table, column) if given else column
        return _rows(name, table, given or _id_beside(table, column, like), file_column or column)
    for candidate in [given] if given else table.columns:
        if found := find_link(reader.tables, reader.index, table[candidate], others):
            return _linked(reader, name, table, candidate, found)
    example = f"; its first row is {table.iloc[0].to_dict()}" if len(table) else ", because it has no rows"
    first = [table[column].iloc[0] for column in table.columns if len(table) > 1 and table[column].is_unique]
    begun = next((image for image in reader.index.images if any(_begins(cell, image) for cell in first)), None)
    raise CompetitionError(
        f"no column of {name} names an image{example}, and an image is called {begun or reader.index.images[0]!r}; "
        + (
            "where an id has several images, write a table with a row for each image"
            if begun
            else "check that the images are complete, or set data.id_column"
        )
    )


def _begins(cell: str, image: str) -> bool:
    """Tell whether a folder or the file of an image is called by a cell and more, as 12-1.png by 12."""
    return bool(cell) and any(re.match(rf"{re.escape(cell)}([-_ ]|$)", part) for part in image.split("/"))


def _id_beside(table: pd.DataFrame, file_column: str, like: str) -> str:
    """Name the column of the ids: one called as the submission calls it, if it tells as many rows apart as the file."""
    named = [column for column in table.columns if like and column.lower() == like.lower()]
    if named and table[named[0]].nunique() >= table[file_column].nunique():
        return named[0]
    return file_column


def _rows(name: str, table: pd.DataFrame, id_column: str, file_column: str) -> Rows:
    return Rows(name, table, id_column, file_column, table[file_column])


def _linked(reader: Reader, name: str, table: pd.DataFrame, id_column: str, link: Link) -> Rows:
    other = reader.tables.get(link.table)
    file_of = dict(zip(other[link.id_column], other[link.file_column], strict=True))
    note = f"the images of {name} are named by {link.file_column!r} of {link.table}"
    if note not in reader.findings.notes:
        reader.findings.notes.append(note)
    return Rows(name, table, id_column, id_column, table[id_column].map(lambda each: file_of.get(each, each)), True)


def sure(match: Match) -> Surety:
    """Tell how sure a folder or column is by how many of the ids have an image there."""
    return "sure" if match.hits == len(match.files) else "likely"


def tell_folder(reader: Reader, split: str, match: Match) -> None:
    """Tell the folder of a split's images: how many of the ids have one there, and where they have one as well."""
    surety: Surety = "guess" if match.rivals else sure(match)
    if getattr(reader.params, f"{split}_folder") != "auto":
        surety = "given"
    beside = f"; so does {' and '.join(match.rivals)}" if match.rivals else ""
    why = f"holds {match.hits:,} of {len(match.files):,} images{beside}"
    reader.findings.choose(f"{split}_folder", match.folder or ".", surety, why)


def files_of(ids: pd.Series, names: pd.Series, match: Match, table_name: str, problems: list[str]) -> list[str]:
    """Return the one image of each id, "" where there is none or several, which is added to the problems."""
    files = []
    for sample_id, name in zip(ids, names, strict=True):
        found = match.files[name]
        if not found:
            problems.append(f"{table_name}: {sample_id!r} has no image in {match.folder or 'the data'}")
        elif len(found) > 1:
            problems.append(f"{table_name}: {sample_id!r} could be {' or '.join(found)}")
        files.append(found[0] if len(found) == 1 else "")
    return files
