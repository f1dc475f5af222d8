"""Read a competition's files: which images are samples of which split, their labels, and what is wrong with them."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from competition.errors import SHOWN_SAMPLES, CompetitionError, MistakesError, UnreadableError
from competition.params import DataParams
from competition.raw import folders
from competition.raw.forms import Form, Shown, find_form, guess_metric, read_metric, show, two_sided
from competition.raw.found import Findings, Found, Surety
from competition.raw.labels import Labels, from_cells, from_columns, is_number, is_whole, join
from competition.raw.matching import PROBE, ImageIndex, Match, is_in
from competition.raw.roles import (
    FOLD_NAMES,
    GROUP_NAMES,
    MIN_GROUPS,
    WEIGHT_NAMES,
    Link,
    Tables,
    find_link,
    label_columns,
    named_column,
    role,
)
from competition.raw.sources import ARCHIVES, IMAGES, Source, list_images
from competition.scores import find_metric
from competition.tasks import JOINED

MISSING = "the competition lists it, and there is no image for it"
DESCRIPTIONS = (".md", ".txt", ".html", ".htm")
DESCRIPTION_BYTES = 1_000_000
SHOWN_KINDS = 4  # of files, where none is an image
SHOWN_COLUMNS = 8  # of those left aside, told by name


@dataclass(frozen=True)
class Competition:
    """A competition as its files tell it.

    Attributes:
        train: columns sample_id, label (see `labels`), group, fold, weight ("" where there is none), file; the samples
            with nothing wrong, in the order of the table, or sorted by file where no table holds the labels.
        test: columns sample_id, file, problem; every sample the submission must hold, in its order. A sample that has
            no image has an empty ``file`` and a ``problem``.
        task: multiclass, multilabel, ordinal or regression.
        classes: in order; of a regression the name of the value alone.
        metric: what the competition scores.
        form: of the submission.
        chosen: what was found, by key of the data section.
        problems: what is wrong with training samples, a line each.
        test_problems: what is wrong with test samples, which keep their place in the submission all the same.
        notes: what is good to know, a line each.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    task: str
    classes: tuple[str, ...]
    metric: str
    form: Form
    chosen: dict[str, Found]
    problems: list[str]
    test_problems: list[str]
    notes: list[str]


@dataclass
class _Reader:
    """What the parts of the reading share."""

    source: Source
    params: DataParams
    index: ImageIndex
    tables: Tables
    findings: Findings


@dataclass(frozen=True)
class _Rows:
    """The rows of a split's table: their ids, and the image of each as the table or, if linked, another names it."""

    name: str
    table: pd.DataFrame
    id_column: str
    file_column: str
    files: pd.Series
    linked: bool = False


def read_competition(source: Source, params: DataParams, guess: bool = False) -> Competition:
    """Match a competition's tables and folders to its images, and tell task, metric and submission form.

    Args:
        source: the competition's files.
        params: the data section.
        guess: whether to tell the metric too, whatever ``params.metric`` is.

    Raises:
        CompetitionError: there is nothing to choose from, or more than one choice.
    """
    images = list_images(source)
    if not images:
        raise CompetitionError(_no_images(source))
    index = ImageIndex(images)
    reader = _Reader(source, params, index, Tables(source, index), Findings())
    reader.findings.notes += [f"left out: {line}" for line in source.left_out]
    sample = _sample_rows(reader)
    shown = show(sample.table, sample.id_column) if sample else None
    listed = _test_rows(reader, sample)
    train, labels, label_names = _read_train(reader, shown, listed, sample, guess)
    test, shown = _read_test(reader, sample, shown, listed, label_names)
    metric, form = _tell_form(reader, shown, labels, guess)
    _check_apart(source, train, test)
    _find_unlisted(reader, train, test)
    train = _without_problems(reader, train, labels)
    _check_returns(source, train, test, labels.classes, form.columns)
    return Competition(
        train=train,
        test=test,
        task=labels.task,
        classes=labels.classes,
        metric=metric,
        form=form,
        chosen=reader.findings.chosen,
        problems=reader.findings.problems,
        test_problems=reader.findings.test_problems,
        notes=reader.findings.notes,
    )


def _no_images(source: Source) -> str:
    archives = [name for name in source.files if name.lower().endswith(ARCHIVES)]
    if archives:
        return f"{source.path} holds no image but {', '.join(archives)}; set data.root to {source.path / archives[0]}"
    kinds = Counter(PurePosixPath(name).suffix.lower() or "without an ending" for name in source.files)
    held = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(SHOWN_KINDS))
    left_out = f" Left out were {'; '.join(source.left_out[:3])}." if source.left_out else ""
    return (
        f"{source.path} holds {len(source.files):,} files{f' ({held})' if held else ''} and no image among them; "
        f"expected files ending in {' '.join(IMAGES)}; set data.root in params.yaml to the competition's "
        f"files.{left_out}"
    )


# Tables -----------------------------------------------------------------------------------------------------------


def _choose_table(reader: _Reader, key: str, wanted: str, needed: bool = True) -> str | None:
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


def _sample_rows(reader: _Reader) -> _Rows | None:
    name = _choose_table(reader, "sample_submission", "sample_submission")
    return _locate(reader, name, "test") if name else None


def _test_rows(reader: _Reader, sample: _Rows | None) -> _Rows | None:
    name = _choose_table(reader, "test_table", "test", needed=sample is None)
    return _locate(reader, name, "test", like=sample.id_column if sample else "") if name else None


def _locate(reader: _Reader, name: str, split: str, like: str = "") -> _Rows:
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


def _rows(name: str, table: pd.DataFrame, id_column: str, file_column: str) -> _Rows:
    return _Rows(name, table, id_column, file_column, table[file_column])


def _linked(reader: _Reader, name: str, table: pd.DataFrame, id_column: str, link: Link) -> _Rows:
    other = reader.tables.get(link.table)
    file_of = dict(zip(other[link.id_column], other[link.file_column], strict=True))
    note = f"the images of {name} are named by {link.file_column!r} of {link.table}"
    if note not in reader.findings.notes:
        reader.findings.notes.append(note)
    return _Rows(name, table, id_column, id_column, table[id_column].map(lambda each: file_of.get(each, each)), True)


# Train ------------------------------------------------------------------------------------------------------------


def _wants_values(reader: _Reader, guess: bool) -> bool:
    """Tell whether the metric, as given or described, scores values only."""
    if not guess:
        return find_metric(reader.params.metric).tasks == ("regression",)
    anything = Labels("multiclass", (), [], "")
    values = Labels("regression", (), [], "")
    return bool(_described_metric(reader, values)[0]) and not _described_metric(reader, anything)[0]


def _read_train(
    reader: _Reader, shown: Shown | None, listed: _Rows | None, sample: _Rows | None, guess: bool
) -> tuple[pd.DataFrame, Labels, list[str]]:
    """Return the training samples, also the wrong ones, their labels, and the names of the label columns."""
    test = listed.table if listed else None
    rows = _choose_train(reader, shown, test, sample)
    if rows is None:
        return _read_train_folders(reader, shown)
    return _read_train_table(reader, rows, shown, test, sample, guess)


def _read_train_folders(reader: _Reader, shown: Shown | None) -> tuple[pd.DataFrame, Labels, list[str]]:
    params, findings = reader.params, reader.findings
    known = {*shown.cells, *shown.values.columns} if shown else set()
    try:
        table = folders.read_folders(reader.source, params, reader.index.images, known, findings)
    except CompetitionError as error:
        for name in reader.tables.good([name for name in reader.tables.names if role(name) == "train"]):
            _locate(reader, name, "train")  # says why its rows are not the labels
        raise CompetitionError(f"{error}{_unlabelled(reader)}") from None
    labels = from_cells(
        table["label"],
        task=params.task,
        separator="none",
        merge=params.merge_classes,
        fractions=False,
        tell=lambda row, what: None,
        findings=findings,
    )
    for key in ("task", "label_separator"):
        if getattr(params, key) == "auto":
            findings.choose(key, findings.chosen[key].value, "sure", "one class for each image")
    table["label"] = labels.texts
    return table.assign(group="", fold="", weight=""), labels, ["label"]


def _read_train_table(
    reader: _Reader,
    rows: _Rows,
    shown: Shown | None,
    test: pd.DataFrame | None,
    sample: _Rows | None,
    guess: bool,
) -> tuple[pd.DataFrame, Labels, list[str]]:
    params, table, name = reader.params, rows.table, rows.name
    fold, weight = (_named(reader, table, key, names) for key, names in
                    (("fold_column", FOLD_NAMES), ("weight_column", WEIGHT_NAMES)))  # fmt: skip
    taken = {rows.id_column, rows.file_column, fold, weight}
    given_group = params.group_column if params.group_column not in ("auto", "none") else None
    names = _label_names(reader, table, name, taken | {given_group}, shown, test)
    group = _group(reader, table, rows, {*taken, *names})
    match = reader.index.match(rows.files, "train", folders.given_folder(reader.source, params, "train"))
    if not match.hits:
        raise CompetitionError(
            f"none of the {len(table)} values of {rows.file_column!r} in {name} is the name of an image in "
            f"{match.folder or reader.source.path}; check data.root, data.id_column and data.train_folder"
        )
    labels = _labels(reader, rows, names, shown, guess)
    _tell_place(reader, rows, match, sample)
    _tell_aside(reader, table, {*taken, *names, group}, test)
    train = pd.DataFrame({"sample_id": table[rows.id_column], "label": labels.texts})
    for key, found in (("group", group), ("fold", fold), ("weight", weight)):
        train[key] = table[found] if found else ""
    train["file"] = _files(table[rows.id_column], rows.files, match, name, reader.findings.problems)
    _check_numbers(train, fold, weight, name)
    train["fold"] = train["fold"].map(lambda cell: str(int(float(cell))) if cell else "")  # 1 and 1.0 are one fold
    return train, labels, names


def _labels(reader: _Reader, rows: _Rows, names: list[str], shown: Shown | None, guess: bool) -> Labels:
    """Read the labels that stand in one column, or as 0 and 1 in several."""
    params, findings, table = reader.params, reader.findings, rows.table

    def tell(row: int, what: str) -> None:
        findings.problems.append(f"{rows.name}: {table[rows.id_column].iloc[row]!r} {what}")

    fractions = shown is not None and shown.fractions and len(shown.values.columns) == 1
    fractions = fractions or _wants_values(reader, guess)
    options: dict[str, Any] = {"task": params.task, "merge": params.merge_classes, "tell": tell, "findings": findings}
    if len(names) > 1:
        return from_columns(table[names], **options)
    return from_cells(table[names[0]], separator=params.label_separator, fractions=fractions, **options)


def _tell_place(reader: _Reader, rows: _Rows, match: Match, sample: _Rows | None) -> None:
    """Tell the folder of the images and the columns that name them."""
    params, findings = reader.params, reader.findings
    given = params.train_folder != "auto"
    surety: Surety = "given" if given else "guess" if match.rivals else _sure(match)
    findings.choose("train_folder", match.folder or ".", surety, _hits(match))
    if rows.linked:
        findings.choose("file_column", "auto", "sure", "another table names the files")
    for key, column in (("id_column", rows.id_column), ("file_column", rows.file_column)):
        if key == "file_column" and rows.linked:
            continue
        why, surety = f"as {rows.table[column].iloc[0]!r}", _sure(match)
        if rivals := _rival_columns(reader, rows, column, sample):
            why, surety = f"{why}; {' and '.join(map(repr, rivals))} could be it as well", "guess"
        findings.choose(key, column, "given" if getattr(params, key) != "auto" else surety, why)


def _unlabelled(reader: _Reader) -> str:
    """Tell of a table that names images, and was left aside because nothing says which of its columns is the label."""
    if (reader.params.train_table, reader.params.label_column) != ("auto", "auto"):
        return ""
    for name in reader.tables.good([name for name in reader.tables.names if not role(name)]):
        table, column = reader.tables.get(name), reader.tables.file_column(name)
        if column is not None and len(table.columns) > 1 and reader.index.share(table[column]) >= 0.5:
            return f"; {name} names images: if it holds their labels, set data.label_column to one of its columns"
    return ""


def _choose_train(
    reader: _Reader, shown: Shown | None, test: pd.DataFrame | None, sample: _Rows | None
) -> _Rows | None:
    """Choose the table of training labels, or the tables that are one in pieces; None where there is none."""
    given = reader.params.train_table
    like = sample.id_column if sample else ""
    if given == "none" or (given == "auto" and reader.params.label_column in folders.PLACES):
        reader.findings.choose("train_table", "none", "given", "")
        return None
    if given != "auto":
        names = [given] if isinstance(given, str) else list(given)
        reader.findings.choose("train_table", given if isinstance(given, str) else names, "given", "")
        return _joined(reader, names, like)
    called = [name for name in reader.tables.names if role(name) in ("train", "")]
    rated = _rated(reader, called, shown, test, like)
    if not rated:
        damaged = [name for name in called if name in reader.tables.damaged]
        if damaged:
            raise reader.tables.damaged[damaged[0]]
        return None
    best = max(rated, key=lambda name: rated[name])
    columns = list(reader.tables.get(best).columns)
    alike = [name for name in rated if list(reader.tables.get(name).columns) == columns]
    pieces = _pieces(reader, best, alike)
    rivals = [name for name in rated if name not in pieces and rated[name][:4] == rated[best][:4]]
    if rivals:
        raise CompetitionError(
            f"{reader.source.path}: {', '.join(sorted([best, *rivals]))} could each be the train table; "
            "set data.train_table in params.yaml to one of them, or to none"
        )
    why = "its rows name images" if len(pieces) == 1 else f"{len(pieces)} tables of the same columns"
    surety: Surety = "sure" if len(rated) == 1 else "likely"
    reader.findings.choose("train_table", pieces[0] if len(pieces) == 1 else pieces, surety, why)
    return _joined(reader, pieces, like)


def _rated(
    reader: _Reader, called: list[str], shown: Shown | None, test: pd.DataFrame | None, like: str
) -> dict[str, tuple[Any, ...]]:
    """Rate the tables that may hold the labels: the higher, the likelier."""
    rated = {}
    for name in reader.tables.good(called):
        table = reader.tables.get(name)
        file_column = reader.index.file_column(table, like)
        if file_column is None or len(table.columns) < 2:
            continue
        columns, evidence, _ = label_columns(table, {file_column}, shown, test)
        if not columns and reader.params.label_column == "auto" and role(name) != "train":
            continue
        hits = reader.index.share(table[file_column])
        # That it is called train, and beyond its place in a folder of that name, decides between equals.
        rated[name] = (evidence >= 1, hits >= 0.5, role(name) == "train", evidence, round(hits, 2), len(table))
    return rated


def _pieces(reader: _Reader, best: str, alike: list[str]) -> list[str]:
    """Return those of the tables with the same columns that go on where the others end."""
    pieces: list[str] = [best]
    column = reader.index.file_column(reader.tables.get(best))
    seen = set(reader.tables.get(best)[column])
    for name in alike:
        files = set(reader.tables.get(name)[column])
        if name != best and not seen & files:
            pieces.append(name)
            seen |= files
    return sorted(pieces, key=lambda name: (name != best, name))


def _joined(reader: _Reader, names: list[str], like: str) -> _Rows:
    pieces = [_locate(reader, name, "train", like) for name in names]
    if len(pieces) == 1:
        return pieces[0]
    first, called = pieces[0], " and ".join(names)
    columns = dict.fromkeys(column for piece in pieces for column in piece.table.columns)
    shared = [column for column in columns if all(column in piece.table.columns for piece in pieces)]
    if not {first.id_column, first.file_column} <= {*shared} or {*shared} <= {first.id_column, first.file_column}:
        raise CompetitionError(
            f"{called} share the columns {shared} of {list(columns)}; expected those of the id, the image and the "
            "label in each; correct data.train_table"
        )
    if alone := [column for column in columns if column not in shared]:
        reader.findings.notes.append(f"columns {', '.join(alone[:SHOWN_COLUMNS])}: in some tables of labels: not used")
    table = pd.concat([piece.table for piece in pieces], join="inner", ignore_index=True)
    files = pd.concat([piece.files for piece in pieces], ignore_index=True)
    return _Rows(called, table, first.id_column, first.file_column, files, first.linked)


def _label_names(
    reader: _Reader, table: pd.DataFrame, name: str, taken: set[str | None], shown: Shown | None,
    test: pd.DataFrame | None,
) -> list[str]:  # fmt: skip
    given = reader.params.label_column
    if given != "auto":
        names = [given] if isinstance(given, str) else list(given)
        if missing := [each for each in names if each not in table.columns]:
            raise CompetitionError(f"{name} has the columns {list(table.columns)}; data.label_column is {missing[0]!r}")
        reader.findings.choose("label_column", given if isinstance(given, str) else names, "given", "")
        return names
    named = {named_column(table, GROUP_NAMES, set())}
    names, evidence, why = label_columns(table, taken, shown, test)
    if evidence <= 0.5:  # with a group column beside it, the label may be the only one left
        names, evidence, why = max(
            (names, evidence, why), label_columns(table, taken | named, shown, test), key=lambda found: found[1]
        )
    if not names:
        settings = [key for key in ("group_column", "fold_column", "weight_column")
                    if getattr(reader.params, key) in table.columns]  # fmt: skip
        used = "".join(f", of which data.{key} takes {getattr(reader.params, key)!r}" for key in settings)
        raise CompetitionError(
            f"{name} has the columns {list(table.columns)}{used}; set data.label_column in params.yaml to the one that "
            "holds the class"
        )
    surety: Surety = "sure" if evidence >= 2 else "likely" if evidence >= 1 else "guess"
    reader.findings.choose("label_column", names[0] if len(names) == 1 else names, surety, why)
    return names


def _named(reader: _Reader, table: pd.DataFrame, key: str, names: tuple[str, ...]) -> str | None:
    given: str = getattr(reader.params, key)
    if given == "auto":
        column = named_column(table, names, set())
        reader.findings.choose(key, column or "none", "likely" if column else "sure", "by its name" if column else "")
        return column
    reader.findings.choose(key, given, "given", "")
    if given != "none" and given not in table.columns:
        raise CompetitionError(f"the table of labels has the columns {list(table.columns)}; data.{key} is {given!r}")
    return None if given == "none" else given


def _group(reader: _Reader, table: pd.DataFrame, rows: _Rows, taken: set[str | None]) -> str | None:
    if reader.params.group_column != "auto":
        return _named(reader, table, "group_column", ())
    column = named_column(table, GROUP_NAMES, {each for each in taken if each})
    if column is not None:
        groups = table[column].nunique()
        called = column == "group"  # so called by the user
        if called or MIN_GROUPS <= groups < table[rows.id_column].nunique():
            why = f"{groups:,} of them, by its name"
            reader.findings.choose("group_column", column, "sure" if called else "likely", why)
            return column
    reader.findings.choose("group_column", "none", "likely", "no column is called like one")
    _tell_groups_elsewhere(reader, table[rows.id_column], rows.name)
    return None


def _tell_groups_elsewhere(reader: _Reader, ids: pd.Series, name: str) -> None:
    """Note a column of another table that is called like a group and says of the same samples where they belong."""
    wanted = set(ids.head(PROBE))
    others = [
        other for other in reader.tables.names if other not in name.split(" and ") and role(other) in ("train", "")
    ]
    for other in reader.tables.good(others):
        table = reader.tables.get(other)
        column = named_column(table, GROUP_NAMES, set())
        if column is None or not MIN_GROUPS <= table[column].nunique() < len(table):
            continue
        if any(wanted <= known for known in reader.tables.keys(other).values()):
            reader.findings.notes.append(
                f"{other} has the column {column!r}, which may be groups that should share a fold: not used; write it "
                f"into {name} to have that"
            )


def _tell_aside(reader: _Reader, table: pd.DataFrame, used: set[str | None], test: pd.DataFrame | None) -> None:
    aside = [column for column in table.columns if column not in used]
    only = [column for column in aside if test is not None and column not in test.columns]
    for columns, why in (
        ([column for column in aside if column not in only], "not used"),
        (only, "in train only, so they may tell the label: not used"),
    ):
        if columns:
            more = f" and {len(columns) - SHOWN_COLUMNS} more" if len(columns) > SHOWN_COLUMNS else ""
            reader.findings.notes.append(f"columns {', '.join(columns[:SHOWN_COLUMNS])}{more}: {why}")


def _rival_columns(reader: _Reader, rows: _Rows, column: str, sample: _Rows | None) -> list[str]:
    """Name the columns that hold other names of images and could be this one as well."""
    params = reader.params
    if (params.id_column, params.file_column) != ("auto", "auto") or rows.linked or column != rows.file_column:
        return []
    columns = reader.index.file_columns(rows.table, sample.id_column if sample else "")
    return [other for other in columns if other != column and not rows.table[other].equals(rows.table[column])]


def _sure(match: Match) -> Surety:
    return "sure" if match.hits == len(match.files) else "likely"


def _hits(match: Match) -> str:
    beside = f"; so does {' and '.join(match.rivals)}" if match.rivals else ""
    return f"holds {match.hits:,} of {len(match.files):,} images{beside}"


def _files(ids: pd.Series, names: pd.Series, match: Match, table_name: str, problems: list[str]) -> list[str]:
    files = []
    for sample_id, name in zip(ids, names, strict=True):
        found = match.files[name]
        if not found:
            problems.append(f"{table_name}: {sample_id!r} has no image in {match.folder or 'the data'}")
        elif len(found) > 1:
            problems.append(f"{table_name}: {sample_id!r} could be {' or '.join(found)}")
        files.append(found[0] if len(found) == 1 else "")
    return files


def _check_numbers(train: pd.DataFrame, fold: str | None, weight: str | None, name: str) -> None:
    for key, column, fits, wanted in (
        ("fold", fold, is_whole, "a whole number"),
        ("weight", weight, lambda cell: is_number(cell) and float(cell) >= 0, "a number from 0"),
    ):
        wrong = [cell for cell in train[key].unique() if not fits(cell)] if column else []
        if wrong:
            raise CompetitionError(
                f"{name}: the column {column!r} holds {wrong[0]!r}; expected {wanted}; correct data.{key}_column"
            )


# Test -------------------------------------------------------------------------------------------------------------


def _read_test(
    reader: _Reader, sample: _Rows | None, shown: Shown | None, listed: _Rows | None, label_names: list[str]
) -> tuple[pd.DataFrame, Shown]:
    """Return the test samples, and the sample submission or what stands in for it."""
    rows = sample or listed
    if rows is None:
        id_column = str(reader.findings.chosen["id_column"].value) if "id_column" in reader.findings.chosen else "id"
        reader.findings.chosen.setdefault("id_column", Found("auto", "sure", "the names of the test images"))
        return _read_test_folder(reader), _stand_in(id_column, label_names)
    reader.findings.chosen.setdefault("id_column", Found(rows.id_column, "sure", f"of {rows.name}"))
    if shown is None:
        shown = _stand_in(rows.id_column, label_names)
    elif listed is not None:
        assert sample is not None
        rows = _complete(reader, sample, listed)
    ids = rows.table[rows.id_column]
    if len(repeated := ids[ids.duplicated()]):
        raise CompetitionError(f"{rows.name}: {len(repeated)} ids stand there twice, first {repeated.iloc[0]!r}")
    match = reader.index.match(rows.files, "test", folders.given_folder(reader.source, reader.params, "test"))
    given = reader.params.test_folder != "auto"
    surety: Surety = "given" if given else "guess" if match.rivals else _sure(match)
    reader.findings.choose("test_folder", match.folder or ".", surety, _hits(match))
    problems = reader.findings.test_problems
    test = pd.DataFrame({"sample_id": ids, "file": _files(ids, rows.files, match, rows.name, problems)})
    test["problem"] = test["file"].map(lambda file: "" if file else MISSING)
    return test, shown


def _stand_in(id_column: str, label_names: list[str]) -> Shown:
    return Shown((id_column, *label_names), id_column, None, "", pd.DataFrame(columns=label_names, dtype=str))


def _complete(reader: _Reader, sample: _Rows, listed: _Rows) -> _Rows:
    """Take the rows of the test table where the sample submission only shows a few of them."""

    def images(rows: _Rows) -> set[str]:  # the two tables may write their ids differently
        folder = folders.given_folder(reader.source, reader.params, "test")
        match = reader.index.match(rows.files, "test", folder)
        return {file for files in match.files.values() for file in files}

    shown, wanted = images(sample), images(listed)
    if wanted <= shown:
        return sample
    if shown < wanted:
        reader.findings.notes.append(f"the rows of the submission are those of {listed.name}")
        return _as_shown(reader, sample, listed)
    raise CompetitionError(
        f"{sample.name} lists {len(shown)} images and {listed.name} {len(wanted)}, not the same; set data.test_table "
        "to none if the sample submission is right, or data.sample_submission to none if the test table is"
    )


def _as_shown(reader: _Reader, sample: _Rows, listed: _Rows) -> _Rows:
    """Write the ids of the test table as the sample submission writes those it shows."""
    ids, shown = listed.table[listed.id_column], set(sample.table[sample.id_column])
    ways: dict[str, Callable[[str], str]] = {
        "as they are": lambda name: name,
        "without extension": lambda name: str(PurePosixPath(name).with_suffix("")),
        "without folder": lambda name: PurePosixPath(name).name,
        "without folder and extension": lambda name: PurePosixPath(name).stem,
    }
    for how, way in ways.items():
        written = ids.map(way)
        if shown <= set(written):
            table = listed.table.assign(**{listed.id_column: written})
            if how != "as they are":
                reader.findings.notes.append(f"the ids of {listed.name} are written {how}, as in {sample.name}")
            return _Rows(listed.name, table, listed.id_column, listed.file_column, listed.files, listed.linked)
    raise CompetitionError(
        f"{sample.name} shows {len(shown)} ids, as {min(shown)!r}, and {listed.name} writes them in another way, as "
        f"{ids.iloc[0]!r}; set data.test_table to none, or mend one of the two"
    )


def _read_test_folder(reader: _Reader) -> pd.DataFrame:
    folder = folders.test_folder(reader.source, reader.params, reader.index.images)
    files = sorted(image for image in reader.index.images if folder is not None and is_in(image, folder))
    if not files:
        raise CompetitionError(
            f"{reader.source.path} has no test images: neither a sample submission, nor a table with test in its name, "
            "nor a folder called test; set data.test_table or data.test_folder in params.yaml"
        )
    why = f"holds {len(files):,} images"
    surety: Surety = "likely"
    if reader.params.test_folder != "auto":
        surety = "given"
    elif rivals := folders.test_folders(reader.source, reader.index.images)[1:]:
        why, surety = f"{why}; {' and '.join(rivals)} could be it as well", "guess"
    reader.findings.choose("test_folder", folder, surety, why)
    return pd.DataFrame(
        {"sample_id": [file.removeprefix(f"{folder}/") for file in files], "file": files, "problem": ""}
    )


# Both -------------------------------------------------------------------------------------------------------------


def _tell_form(reader: _Reader, shown: Shown, labels: Labels, guess: bool) -> tuple[str, Form]:
    """Tell the metric, if it is to be guessed, and the submission's form, which depends on it."""
    findings, params = reader.findings, reader.params
    numbered = all(is_whole(name) for name in labels.classes)
    if not guess:
        metric = find_metric(params.metric)
        if metric.name == "quadratic_kappa" and not numbered:
            raise CompetitionError(
                f"data.metric is quadratic_kappa and the classes are {', '.join(labels.classes[:5])}; expected whole "
                "numbers, so that their order is known: correct data.label_column or data.metric"
            )
        if labels.task not in metric.tasks:
            raise CompetitionError(
                f"data.metric is {params.metric}, which scores {', '.join(metric.tasks)}; the task is {labels.task}; "
                "correct data.metric or data.task"
            )
        if metric.name == "roc_auc" and not two_sided(labels):
            raise CompetitionError(
                f"data.metric is roc_auc, which scores two classes; the task is {labels.task} with "
                f"{len(labels.classes)} classes; set data.metric to roc_auc_macro, or correct data.label_column"
            )
        return params.metric, find_form(shown, labels, params, params.metric, findings)
    name, words, file = _described_metric(reader, labels)
    if name and (name != "quadratic_kappa" or numbered):
        findings.choose("metric", name, "likely", f"{file} says {words!r}")
        return name, find_form(shown, labels, params, name, findings)
    form = find_form(shown, labels, params, "", findings)
    name = guess_metric(form.kind, labels, form.ranks)
    findings.choose("metric", name, "guess", f"usual where the submission is {form.kind}")
    return name, form


def _described_metric(reader: _Reader, labels: Labels) -> tuple[str, str, str]:
    names = [name for name in reader.source.files if name.lower().endswith(DESCRIPTIONS)]
    for name in sorted(names, key=lambda name: (name.count("/"), name))[:20]:
        try:
            text = reader.source.read(name)[:DESCRIPTION_BYTES].decode("utf-8", "replace")
        except UnreadableError:
            continue  # it is only looked at for a hint
        ours, words = read_metric(text, labels)
        if ours:
            return ours, words, PurePosixPath(name).name
    return "", "", ""


def _check_apart(source: Source, train: pd.DataFrame, test: pd.DataFrame) -> None:
    both = sorted({*train["file"]} & {*test["file"]} - {""})
    if both:
        raise CompetitionError(
            f"{source.path}: {len(both)} images would be both training and test samples, first {both[0]}; "
            "set data.train_folder and data.test_folder in params.yaml"
        )


def _check_returns(
    source: Source, train: pd.DataFrame, test: pd.DataFrame, classes: tuple[str, ...], columns: tuple[str, ...]
) -> None:
    """Refuse carriage returns: no quotes stand around them in a CSV file, where readers take them for a line's end."""
    for what, texts in (
        ("id", pd.concat([train["sample_id"], test["sample_id"]])),
        ("file", pd.concat([train["file"], test["file"]])),
        ("group", train["group"]),
        ("class", pd.Series(classes, dtype=str)),
        ("column", pd.Series(columns, dtype=str)),
    ):
        returning = texts[texts.str.contains("\r", regex=False)]
        if len(returning):
            raise CompetitionError(
                f"{source.path}: the {what} {returning.iloc[0]!r} holds a carriage return, which would end its line in "
                f"the submission; {len(returning)} of {len(texts)} do; take them out"
            )


def _find_unlisted(reader: _Reader, train: pd.DataFrame, test: pd.DataFrame) -> None:
    """Note the images in the folder of either split that no row names, and those that lie elsewhere."""
    listed = {*train["file"], *test["file"]}
    for split in ("train", "test"):
        chosen = str(reader.findings.chosen[f"{split}_folder"].value)
        folder = "" if chosen == "." else chosen
        unlisted = [image for image in reader.index.images if image not in listed and is_in(image, folder)]
        if unlisted:
            reader.findings.notes.append(
                f"{len(unlisted):,} images in {folder or 'the top folder'} have no row in any table, first "
                f"{unlisted[0]}: not used"
            )
            listed |= set(unlisted)
    elsewhere = [image for image in reader.index.images if image not in listed]
    if elsewhere:
        reader.findings.notes.append(f"{len(elsewhere):,} images lie elsewhere, first {elsewhere[0]}: not used")


def _without_problems(reader: _Reader, train: pd.DataFrame, labels: Labels) -> pd.DataFrame:
    """Leave out rows without image or label, and all rows of an image that is said to be two classes.

    Where an image may have several labels, those of all its rows are its labels.
    """
    findings = reader.findings
    train = train[(train["file"] != "") & train["label"].notna()]
    if labels.task == "multilabel" and not train["file"].is_unique:
        tags = train.groupby("file", sort=False)["label"].agg(lambda column: JOINED.join(column).split(JOINED))
        train = train.assign(label=train["file"].map(tags.map(lambda names: join(names, labels.classes))))
    repeated = train[train["file"].duplicated(keep=False)]  # mostly none, and grouping all takes seconds
    said = repeated.groupby("file", sort=False)["label"].agg(lambda column: list(dict.fromkeys(column)))
    several = said[said.map(len) > 1]
    id_of = train.drop_duplicates("file").set_index("file")["sample_id"].to_dict()
    for file, names in several.items():
        findings.problems.append(f"{id_of[file]!r} has {len(names)} labels: {', '.join(map(repr, names))}")
    train = train[~train["file"].isin(set(several.index))].drop_duplicates("file").reset_index(drop=True)
    if train["label"].nunique() < 2:
        what = "values" if labels.task == "regression" else "classes"
        heading = (
            f"{reader.source.path}: the training samples have {train['label'].nunique()} {what} "
            f"({', '.join(map(repr, train['label'].unique()))}); expected two or more; check data.label_column"
        )
        raise (
            MistakesError(f"{heading}, and:", findings.problems, shown=SHOWN_SAMPLES)
            if findings.problems
            else CompetitionError(heading)
        )
    return train
