"""The training samples: from a table or from folders, with their labels, groups, folds and weights."""

import re
from typing import Any

import pandas as pd

from competition.errors import CompetitionError
from competition.raw import folders
from competition.raw.forms import Shown
from competition.raw.found import Surety
from competition.raw.labels import Labels, from_cells, from_columns, is_number
from competition.raw.matching import PROBE, Match
from competition.raw.metrics import described_metric
from competition.raw.roles import (
    FOLD_NAMES,
    GROUP_NAMES,
    MIN_GROUPS,
    WEIGHT_NAMES,
    label_columns,
    named_column,
    role,
    split_column,
    split_told,
)
from competition.raw.rows import Reader, Rows, files_of, locate, sure, tell_folder
from competition.raw.tables import LISTS, UNREAD
from competition.scores import find_metric
from competition.tasks import is_whole

SHOWN_COLUMNS = 8  # of those left aside, told by name
SHOWN_FILES = 3  # of those that cannot be read
MAX_LISTS = 20  # text files that are looked into; there may be one for each image


def read_train(
    reader: Reader, shown: Shown | None, listed: Rows | None, sample: Rows | None, guess: bool
) -> tuple[pd.DataFrame, Labels, list[str]]:
    """Return the training samples, also the wrong ones, their labels, and the names of the label columns."""
    test = listed.table if listed else None
    rows = _choose_train(reader, shown, test, sample)
    if rows is None:
        return _read_train_folders(reader, shown)
    return _read_train_table(reader, rows, shown, test, sample, guess)


def _read_train_folders(reader: Reader, shown: Shown | None) -> tuple[pd.DataFrame, Labels, list[str]]:
    params, findings = reader.params, reader.findings
    known = {*shown.cells, *shown.values.columns} if shown else set()
    try:
        table = folders.read_folders(reader.source, params, reader.index.images, known, findings)
    except CompetitionError as error:
        for name in reader.tables.good([name for name in reader.tables.names if role(name) == "train"]):
            locate(reader, name, "train")  # says why its rows are not the labels
        raise CompetitionError("; ".join([str(error), *_unlabelled(reader)])) from None
    if findings.chosen["label_column"].value == "prefix":  # a guess, where a file may know
        findings.notes += _unlabelled(reader)
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
    reader: Reader,
    rows: Rows,
    shown: Shown | None,
    test: pd.DataFrame | None,
    sample: Rows | None,
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
    _tell_aside(reader, rows, {*taken, *names, group}, test)
    train = pd.DataFrame({"sample_id": table[rows.id_column], "label": labels.texts})
    for key, found in (("group", group), ("fold", fold), ("weight", weight)):
        train[key] = table[found] if found else ""
    train["file"] = files_of(table[rows.id_column], rows.files, match, name, reader.findings.problems)
    _check_numbers(train, fold, weight, name)
    train["fold"] = train["fold"].map(lambda cell: str(int(float(cell))) if cell else "")  # 1 and 1.0 are one fold
    return train, labels, names


def _labels(reader: Reader, rows: Rows, names: list[str], shown: Shown | None, guess: bool) -> Labels:
    """Read the labels that stand in one column, or as 0 and 1 in several."""
    params, findings, table = reader.params, reader.findings, rows.table

    def tell(row: int, what: str) -> None:
        findings.problems.append(f"{rows.name}: {table[rows.id_column].iloc[row]!r} {what}")

    fractions = shown is not None and shown.fractions and len(shown.values.columns) == 1
    fractions = fractions or _wants_values(reader, guess)
    options: dict[str, Any] = {"task": params.task, "merge": params.merge_classes, "tell": tell, "findings": findings}
    if len(names) > 1:
        return from_columns(table[names], **options)
    return from_cells(table[names[0]], separator=params.label_separator, fractions=fractions, whole=_wants_whole(shown),
                      **options)  # fmt: skip


def _wants_whole(shown: Shown | None) -> bool:
    """Tell whether the sample submission shows whole numbers, none with a fraction, as its answers or its columns."""
    if shown is None:
        return False
    columns = list(shown.values.columns)
    wanted = shown.cells if len(columns) == 1 else [re.sub(r"\D", "", name) for name in columns]
    return bool(wanted) and all(is_whole(text) and "." not in text for text in wanted)


def _wants_values(reader: Reader, guess: bool) -> bool:
    """Tell whether the metric, as given or described, scores values only."""
    if not guess:
        return find_metric(reader.params.metric).tasks == ("regression",)
    anything = Labels("multiclass", (), [], "")
    values = Labels("regression", (), [], "")
    return bool(described_metric(reader.source, values)[0]) and not described_metric(reader.source, anything)[0]


def _tell_place(reader: Reader, rows: Rows, match: Match, sample: Rows | None) -> None:
    """Tell the folder of the images and the columns that name them."""
    params, findings = reader.params, reader.findings
    tell_folder(reader, "train", match)
    if rows.linked:
        findings.choose("file_column", "auto", "sure", "another table names the files")
    for key, column in (("id_column", rows.id_column), ("file_column", rows.file_column)):
        if key == "file_column" and rows.linked:
            continue
        why, surety = f"as {rows.table[column].iloc[0]!r}", sure(match)
        if rivals := _rival_columns(reader, rows, column, sample):
            why, surety = f"{why}; {' and '.join(map(repr, rivals))} could be it as well", "guess"
        findings.choose(key, column, "given" if getattr(params, key) != "auto" else surety, why)


def _unlabelled(reader: Reader) -> list[str]:
    """Tell of a file that may hold the labels and was left aside; nothing where the user has said what does."""
    if (reader.params.train_table, reader.params.label_column) != ("auto", "auto"):
        return []
    return _unasked(reader) or _unread(reader)


def _unasked(reader: Reader) -> list[str]:
    """Tell of what names images: a table of which nothing says which column is the label, or a list that is a table
    only if the user says so."""
    lists = [name for name in reader.source.files if name.lower().endswith(LISTS) and role(name) in ("train", "")]
    wanted = [name for name in reader.tables.names if not role(name)]
    for name in reader.tables.good([*wanted, *lists[:MAX_LISTS]]):
        table, column = reader.tables.get(name), reader.tables.file_column(name)
        if column is not None and len(table.columns) > 1 and reader.index.share(table[column]) >= 0.5:
            key = f"data.train_table to {name}" if name in lists else "data.label_column to one of its columns"
            return [f"{name} names images: if it holds their labels, set {key}"]
    return []


def _unread(reader: Reader) -> list[str]:
    """Tell of what cannot be read as a table, by its kind or, of JSON, by what it holds."""
    unread = [name for name in reader.source.files if name.lower().endswith(UNREAD)]
    unread += [name for name in reader.tables.names if name.lower().endswith(".json") and role(name) in ("train", "")
               and name not in reader.tables.damaged and not len(reader.tables.get(name).columns)]  # fmt: skip
    if not unread:
        return []
    more = f" and {len(unread) - SHOWN_FILES:,} more" if len(unread) > SHOWN_FILES else ""
    named = ", ".join(unread[:SHOWN_FILES])
    return [f"no table can be read from {named}{more}: if the labels are there, write them into a CSV"]


def _choose_train(reader: Reader, shown: Shown | None, test: pd.DataFrame | None, sample: Rows | None) -> Rows | None:
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
    _leave_answers(reader, rated, test, sample)
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


def _leave_answers(
    reader: Reader, rated: dict[str, tuple[Any, ...]], test: pd.DataFrame | None, sample: Rows | None
) -> None:
    """Take out a table all of whose images are test samples, as that of the answers, which some lay beside."""
    tested = {*sample.table[sample.id_column], *sample.files} if sample else set()
    if test is not None and (column := reader.index.file_column(test)) is not None:
        tested |= {*test[column]}

    def images(names: pd.Series, split: str) -> set[str]:  # splits may be numbered alike
        found = reader.index.match(names, split, folders.given_folder(reader.source, reader.params, split)).files
        return {file for files in found.values() for file in files}

    for name in list(rated):
        names = reader.tables.get(name)[reader.index.file_column(reader.tables.get(name))]
        if len(rated) > 1 and set(names) <= tested and images(names, "train") <= images(names, "test"):
            reader.findings.notes.append(f"{name} lists test images only: not used for training")
            del rated[name]


def _rated(
    reader: Reader, called: list[str], shown: Shown | None, test: pd.DataFrame | None, like: str
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


def _pieces(reader: Reader, best: str, alike: list[str]) -> list[str]:
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


def _joined(reader: Reader, names: list[str], like: str) -> Rows:
    pieces = [locate(reader, name, "train", like) for name in names]
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
    return Rows(called, table, first.id_column, first.file_column, files, first.linked)


def _label_names(
    reader: Reader, table: pd.DataFrame, name: str, taken: set[str | None], shown: Shown | None,
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
            "holds the class, or to the list of those of 0 and 1"
        )
    surety: Surety = "sure" if evidence >= 2 else "likely" if evidence >= 1 else "guess"
    reader.findings.choose("label_column", names[0] if len(names) == 1 else names, surety, why)
    return names


def _named(reader: Reader, table: pd.DataFrame, key: str, names: tuple[str, ...]) -> str | None:
    given: str = getattr(reader.params, key)
    if given == "auto":
        column = named_column(table, names, set())
        reader.findings.choose(key, column or "none", "likely" if column else "sure", "by its name" if column else "")
        return column
    reader.findings.choose(key, given, "given", "")
    if given != "none" and given not in table.columns:
        raise CompetitionError(f"the table of labels has the columns {list(table.columns)}; data.{key} is {given!r}")
    return None if given == "none" else given


def _group(reader: Reader, table: pd.DataFrame, rows: Rows, taken: set[str | None]) -> str | None:
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


def _tell_groups_elsewhere(reader: Reader, ids: pd.Series, name: str) -> None:
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


def _tell_aside(reader: Reader, rows: Rows, used: set[str | None], test: pd.DataFrame | None) -> None:
    aside = [column for column in rows.table.columns if column not in used]
    if split := split_column(rows.table[aside]):
        reader.findings.notes.append(split_told(rows.name, split))
    only = [column for column in aside if test is not None and column not in test.columns]
    for columns, why in (
        ([column for column in aside if column not in only], "not used"),
        (only, "in train only, so they may tell the label: not used"),
    ):
        if columns:
            more = f" and {len(columns) - SHOWN_COLUMNS} more" if len(columns) > SHOWN_COLUMNS else ""
            reader.findings.notes.append(f"columns {', '.join(columns[:SHOWN_COLUMNS])}{more}: {why}")


def _rival_columns(reader: Reader, rows: Rows, column: str, sample: Rows | None) -> list[str]:
    """Name the columns that hold other names of images and could be this one as well."""
    params = reader.params
    if (params.id_column, params.file_column) != ("auto", "auto") or rows.linked or column != rows.file_column:
        return []
    columns = reader.index.file_columns(rows.table, sample.id_column if sample else "")
    return [other for other in columns if other != column and not rows.table[other].equals(rows.table[column])]


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
