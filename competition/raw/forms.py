"""The submission's form and the metric, told from the sample submission, the classes and a description."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from competition.console import counted
from competition.errors import CompetitionError
from competition.params import DataParams
from competition.raw.found import Findings, Surety
from competition.raw.labels import COUNTERS, SEPARATORS, Labels, consecutive, is_number
from competition.scores import find_metric
from competition.tasks import is_whole

SHOWN_RANKS = 5  # labels of a ranking where neither metric nor sample tells how many


@dataclass(frozen=True)
class Form:
    """What a submission looks like.

    Attributes:
        kind: class, index, probability, columns, flags, tags, ranking or value.
        columns: all columns in order.
        id_column: the one that names the sample.
        counter: first number of the column that counts the rows, or None.
        counter_column: that column.
        value_columns: those that hold the answer.
        classes: the class of each value column (columns, flags); of a probability, the one class.
        separator: between tags or ranks.
        ranks: labels of a ranking.
        delimiter: what stands between cells.
        header: whether the first row names the columns.
    """

    kind: str
    columns: tuple[str, ...]
    id_column: str
    counter: int | None
    counter_column: str
    value_columns: tuple[str, ...]
    classes: tuple[str, ...]
    separator: str
    ranks: int
    delimiter: str = ","
    header: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes; a delimiter and a header that are the usual ones go without saying."""
        usual = {"delimiter": ",", "header": True}
        return {key: value for key, value in asdict(self).items() if key not in usual or usual[key] != value}

    @classmethod
    def from_json(cls, written: dict[str, Any]) -> "Form":
        lists = {key: tuple(value) for key, value in written.items() if isinstance(value, list)}
        return cls(**{**written, **lists})


@dataclass(frozen=True)
class Shown:
    """The sample submission: its columns by what they are for. ``values`` has the columns of the answer, ``delimiter``
    and ``header`` tell how it is written."""

    columns: tuple[str, ...]
    id_column: str
    counter: int | None
    counter_column: str
    values: pd.DataFrame
    delimiter: str = ","
    header: bool = True

    @cached_property
    def cells(self) -> list[str]:
        """The different cells of each column of the answer."""
        return [cell for column in self.values for cell in self.values[column].unique()]

    @property
    def fractions(self) -> bool:
        """Whether its answers are numbers, and some have a fraction."""
        return all(map(is_number, self.cells)) and not all(map(is_whole, self.cells))


def show(table: pd.DataFrame, id_column: str, delimiter: str = ",", header: bool = True) -> Shown:
    """Tell the columns of a sample submission apart."""
    others = [column for column in table.columns if column != id_column]
    firsts = {column: consecutive(table[column]) for column in others if column.lower() in COUNTERS}
    counter_column = next((column for column, first in firsts.items() if first is not None), None)
    answers = table[[column for column in others if column != counter_column]]
    counter = None if counter_column is None else firsts[counter_column]
    return Shown(tuple(table.columns), id_column, counter, counter_column or "", answers, delimiter, header)


def find_form(shown: Shown, labels: Labels, params: DataParams, metric: str, findings: Findings) -> Form:
    """Tell the submission's form.

    Args:
        shown: the sample submission, or what stands in for it, without any rows.
        labels: task and classes.
        params: the data section.
        metric: of the competition; "" if it is not known.
        findings: takes what is chosen.

    Raises:
        CompetitionError: the columns are not those of the classes.
    """
    values = tuple(shown.values.columns)
    kind, ranks = _choose_kind(shown, labels, params, metric, findings)
    wide = kind in ("columns", "flags")
    if not wide and len(values) != 1:
        raise CompetitionError(
            f"the submission has the columns {list(shown.columns)}, and its form is {kind}; expected one column beside "
            f"{shown.id_column!r}; correct data.submission, data.sample_submission or data.label_column"
        )
    classes = _columns_classes(values, labels.classes, findings) if wide else ()
    if kind == "probability":
        classes = (_positive(values[0], labels, params, findings),)
    elif params.positive_class != "auto":
        findings.notes.append(f"data.positive_class is not used: the submission is {kind}, of no single probability")
    if kind == "ranking":
        ranks = _at(metric) or ranks or SHOWN_RANKS
    separator = _shown_separator(shown, labels) or labels.separator or " "
    if kind in ("tags", "ranking") and (torn := [name for name in labels.classes if separator in name]):
        raise CompetitionError(
            f"the submission is {kind} with {separator!r} between them, and the class {torn[0]!r} holds that; correct "
            "data.submission or data.label_separator"
        )
    if kind == "index":
        _check_index(shown, labels, findings)
    if find_metric(metric or "accuracy").wants == "probabilities" and kind in ("class", "index", "flags", "tags"):
        findings.notes.append(
            f"the metric {metric} scores probabilities, and the submission is {kind}: correct data.metric or "
            "data.submission"
        )
    return Form(kind, shown.columns, shown.id_column, shown.counter, shown.counter_column, values, classes, separator,
                min(ranks, len(labels.classes)), shown.delimiter, shown.header)  # fmt: skip


_FITTING = {
    "multiclass": ("class", "index", "probability", "columns", "flags", "ranking"),
    "ordinal": ("class", "index", "probability", "columns", "flags", "ranking"),
    "multilabel": ("columns", "flags", "tags", "probability", "ranking"),
    "regression": ("value",),
}


def _choose_kind(shown: Shown, labels: Labels, params: DataParams, metric: str, findings: Findings) -> tuple[str, int]:
    """Return the form, as given or found, and the ranks of a ranking (or 0)."""
    kind, ranks, why = _kind(shown, labels, metric)
    surety: Surety = "likely" if len(shown.values) else "guess"
    if params.submission != "auto":
        kind, surety, why = params.submission, "given", ""
    if foreign := _foreign(shown, labels, kind):
        findings.notes.append(f"the sample submission shows {foreign}")
        surety = "guess" if surety == "likely" else surety
    findings.choose("submission", kind, surety, why)
    if kind not in _FITTING[labels.task]:
        raise CompetitionError(
            f"data.submission is {kind} and the task {labels.task}; expected one of {', '.join(_FITTING[labels.task])}"
        )
    return kind, ranks


def _kind(shown: Shown, labels: Labels, metric: str) -> tuple[str, int, str]:
    """Return the form, the ranks of a ranking (or 0), and why."""
    wants = find_metric(metric).wants if metric else ""
    cells = {cell.strip() for cell in shown.cells} - {""}
    if labels.task == "regression":
        return "value", 0, "the labels are numbers"
    if len(shown.values.columns) > 1:
        if wants == "labels" or (not wants and labels.task == "multilabel" and cells and cells <= {"0", "1"}):
            return "flags", 0, f"{counted(len(shown.values.columns), 'column')} of 0 and 1"
        return "columns", 0, f"{counted(len(shown.values.columns), 'column')} of numbers"
    if metric.startswith(("map@", "top")) and _at(metric) > 1:
        return "ranking", 0, f"{metric} wants the best classes in order"
    if labels.task == "multilabel":
        return "tags", 0, "several labels in a cell"
    ranks = max((len(cell.split()) for cell in cells), default=0)
    if ranks > 1 and all(_ranked(cell, labels.classes) for cell in cells):
        return "ranking", ranks, f"{ranks} classes in a cell"
    if len(labels.classes) == 2:
        if wants == "probabilities" or (not wants and shown.fractions):
            return "probability", 0, "two classes and one number"
        if not wants and set(labels.classes) == {"0", "1"}:
            return "probability", 0, "two classes called 0 and 1"
    if cells and all(map(is_whole, cells)) and not any(map(is_whole, labels.classes)):
        return "index", 0, "whole numbers, where the classes are names"
    return "class", 0, "one class for each id"


def _foreign(shown: Shown, labels: Labels, kind: str) -> str:
    """Tell of an answer of the sample submission that ours cannot give, else ""; whole numbers are often but drawn."""
    cells = {cell.strip() for cell in shown.cells} - {""}
    odd = min((cell for cell in cells - {*labels.classes} if not is_whole(cell)), default=None)
    if odd is None or kind not in ("class", "flags"):
        return ""
    if shown.fractions:
        ours = "a class" if kind == "class" else "0 or 1"
        return f"{odd!r}, and ours has {ours} there: correct data.metric or data.submission"
    if kind == "flags" or cells & {*labels.classes}:  # many show some that train has not
        return ""
    return f"{odd!r}, which is no class of the labels: check data.label_column and data.submission"


def _ranked(cell: str, classes: Sequence[str]) -> bool:
    """Tell whether a cell may be several classes: most competitions show some that train has not."""
    words = cell.split()
    known = sum(1 for word in words if word in classes)
    alike = all(map(is_whole, words)) and all(map(is_whole, classes))
    return len(words) > 1 and (known > 1 or alike or (known == 1 and cell not in classes))


def _at(metric: str) -> int:
    found = re.search(r"(?:map@|top)(\d+)", metric)
    return int(found[1]) if found else 0


def bare(name: str) -> str:
    """Return a name's letters and digits, without their case."""
    return re.sub(r"[\W_]", "", name).casefold()


def _columns_classes(columns: Sequence[str], classes: Sequence[str], findings: Findings) -> tuple[str, ...]:
    """Name the class of each column; "" for a class that no training sample has."""
    for bring in (str, bare):
        by_name = {bring(name): name for name in classes}
        if len(by_name) == len(classes) and {bring(column) for column in columns} >= set(by_name):
            unseen = [column for column in columns if bring(column) not in by_name]
            if unseen:
                these = "this column" if len(unseen) == 1 else f"these {len(unseen)} columns"
                findings.notes.append(f"no training sample is {', '.join(unseen[:5])}: probability 0 in {these}")
            return tuple(by_name.get(bring(column), "") for column in columns)
    numbers = [re.sub(r"\D", "", column) for column in columns]
    by_number = {re.sub(r"\D", "", name): name for name in classes}
    if len(by_number) == len(classes) == len(columns) and set(numbers) == set(by_number):
        return tuple(by_number[number] for number in numbers)
    missing = sorted(column for column in columns if bare(column) not in set(map(bare, classes)))
    foreign = sorted(name for name in classes if bare(name) not in set(map(bare, columns)))
    raise CompetitionError(
        f"the submission has a column for each of {len(columns)} classes and the labels are {len(classes)}: "
        f"no sample is labelled {missing[:5]}, no column is called {foreign[:5]}; correct data.label_column, "
        "data.merge_classes or data.submission"
    )


def _shown_separator(shown: Shown, labels: Labels) -> str:
    """Find what the sample submission writes between classes; "" if it shows none between any."""
    cells = {cell.strip() for cell in shown.cells}
    for separator in SEPARATORS:
        split = [cell.split(separator) for cell in cells if separator in cell and cell not in labels.classes]
        if split and all(len({tag.strip() for tag in tags} & set(labels.classes)) > 1 for tags in split):
            return separator
    return ""


def _check_index(shown: Shown, labels: Labels, findings: Findings) -> None:
    cells = [cell for cell in shown.cells if is_whole(cell)]
    if any(int(float(cell)) >= len(labels.classes) for cell in cells):
        raise CompetitionError(
            f"the sample submission holds {max(cells, key=float)!r} for one of {len(labels.classes)} classes, so it is "
            "not the class's place in alphabetical order from 0; set data.label_column to the column of these numbers"
        )
    findings.notes.append(f"the submission's numbers are places in the order {', '.join(labels.classes[:5])} …, from 0")


def _positive(column: str, labels: Labels, params: DataParams, findings: Findings) -> str:
    given = params.positive_class
    if given != "auto":
        if given not in labels.classes:
            raise CompetitionError(f"data.positive_class is {given!r}; the classes are {list(labels.classes)}")
        findings.choose("positive_class", given, "given", "")
        return given
    if named := named_class(column, labels.classes):
        findings.choose("positive_class", named, "likely", f"the submission's column is called {column!r}")
        return named
    name = labels.classes[-1]
    known = set(labels.classes) == {"0", "1"}
    why = "the class 1" if known else f"the last of {', '.join(labels.classes)}"
    surety: Surety = "sure" if known and _words(column)[-1:] in _NEUTRAL else "likely" if known else "guess"
    findings.choose("positive_class", name, surety, why)
    return name


_NEUTRAL = [[word] for word in ("class", "label", "p", "predicted", "prediction", "prob", "probability", "target")]


def named_class(column: str, classes: Sequence[str]) -> str | None:
    """Find the class that a column is called after: by its whole name, else by the longest of those in its words."""
    if same := [name for name in classes if bare(name) == bare(column)]:
        return same[0] if len(same) == 1 else None
    words, lengths = _words(column), {}
    for name in classes:
        own = _words(name)
        if own and any(words[start : start + len(own)] == own for start in range(len(words))):
            lengths[name] = len(own)
    longest = [name for name, length in lengths.items() if length == max(lengths.values())]
    return longest[0] if len(longest) == 1 else None


def _words(name: str) -> list[str]:
    """Split a name into its words: at what is no letter or digit, and where a capital follows a small letter."""
    return re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())
