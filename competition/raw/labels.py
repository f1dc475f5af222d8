"""From what stands in a competition's label cells to a task and one label text per sample.

The text is the class (multiclass, ordinal), the classes joined by `|` in class order (multilabel), or a number
(regression).
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

from competition.errors import CompetitionError
from competition.raw.found import Findings, Surety
from competition.tasks import JOINED, is_whole, to_whole

MISSING_NUMBERS = ("", "nan", "na", "n/a", "null", "none")
FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}  # in small letters
COUNTERS = ("", "index", "unnamed: 0")  # what columns of row numbers are called
SEPARATORS = ("|", ";", ",", " ")  # between the tags of a cell; the rarest in a class name first


@dataclass(frozen=True)
class Labels:
    """The labels of the training rows.

    Attributes:
        task: multiclass, multilabel, ordinal or regression.
        classes: the classes in order; of a regression the name of its value alone.
        texts: one for each row; None where the cell holds no label, whose problem has been told.
        separator: what stands between the tags of a cell; "" where a cell is one label.
    """

    task: str
    classes: tuple[str, ...]
    texts: list[str | None]
    separator: str


def from_cells(
    cells: pd.Series,
    *,
    task: str,
    separator: str,
    merge: dict[str, tuple[str, ...]],
    fractions: bool,
    tell: Callable[[int, str], None],
    findings: Findings,
    whole: bool = False,
) -> Labels:
    """Read labels that stand in one column.

    Args:
        cells: (n,) texts.
        task: of ``data.task``, maybe auto.
        separator: of ``data.label_separator``, maybe auto.
        merge: class -> the labels that are it.
        fractions: whether the sample submission shows numbers with a fraction, as only a value is.
        tell: takes a row and what is wrong with its cell.
        findings: takes what is chosen.
        whole: whether the sample submission wants whole numbers without a fraction, so that 1 is the class of 1.0.
    """
    texts = [text.strip() for text in cells]
    if task in ("auto", "regression") and (task == "regression" or _is_value(texts, fractions)):
        chosen: Surety = "given" if task == "regression" else "likely"
        findings.choose("task", "regression", chosen, "the labels are numbers, not classes")
        findings.choose("label_separator", "none", "sure", "")
        return Labels("regression", (str(cells.name),), _numbers(texts, tell), "")
    found = find_separator(texts) if separator == "auto" and task in ("auto", "multilabel") else None
    between = {"auto": found or "", "none": ""}.get(separator, separator)
    if task == "auto":
        task = "multilabel" if between else "multiclass"
        surety: Surety = "given" if separator != "auto" else "likely" if between else "sure"
        why = f"some cells hold several labels, as {_example(texts, between)!r}" if between else "a class in each cell"
        findings.choose("task", task, surety, why)
    else:
        findings.choose("task", task, "given", "")
    findings.choose("label_separator", between or "none", "given" if separator != "auto" else "likely", "")
    if between and task != "multilabel":
        raise CompetitionError(f"data.label_separator is {between!r} and data.task {task}; only multilabel has tags")
    if task == "multilabel":
        split = [split_tags(text, between) for text in texts]
        new_name = _new_names(merge, {tag for row in split for tag in row})
        tags = [[new_name.get(tag, tag) for tag in row] for row in split]
        classes = natural({tag for row in tags for tag in row})
        _check_joined(classes)
        return Labels(task, classes, [join(row, classes) for row in tags], between)
    for row, text in enumerate(texts):
        if not text:
            tell(row, "has an empty label")
    new_name = _new_names(merge, set(texts))
    named = [new_name.get(text, text) or None for text in texts]
    named = _without_fractions(named, whole, findings)
    return Labels(task, natural({name for name in named if name}), named, "")


def _without_fractions(names: list[str | None], whole: bool, findings: Findings) -> list[str | None]:
    """Write 1 for 1.0, as programs write 1 where cells are missing, if that is wanted or 1 stands there too."""
    known = {name for name in names if name}
    plain = {name: name.partition(".")[0] for name in known if is_whole(name)}
    if len(plain) < len(known) or all(name == plain[name] for name in known):
        return names
    if not whole and len(set(plain.values())) == len(known):
        return names
    odd = next(name for name in natural(known) if name != plain[name])
    findings.notes.append(f"the label {odd} is the class {plain[odd]}, and so with all that end in a point and zeros")
    return [name and plain[name] for name in names]


def from_columns(
    table: pd.DataFrame, *, task: str, merge: dict[str, tuple[str, ...]], tell: Callable[[int, str], None],
    findings: Findings,
) -> Labels:  # fmt: skip
    """Read labels that stand as 0 or 1, or as true and false, in a column for each class."""
    values = table.apply(flags_of)
    wrong = values.isna().any(axis=1)
    for row in wrong[wrong].index:
        tell(int(row), f"has the labels {list(table.loc[row])}; expected 0 or 1 in each column")
    if wrong.mean() > 0.5:
        raise CompetitionError(
            f"the columns {list(table.columns)} hold values like {table.iloc[0].to_dict()}; expected 0 or 1; "
            "correct data.label_column"
        )
    flags = values.eq(True)
    new_name = _new_names(merge, set(table.columns))
    classes = tuple(dict.fromkeys(new_name.get(column, column) for column in table.columns))
    classes = natural(classes) if all(map(is_whole, classes)) else classes
    _check_joined(classes)
    exclusive = bool((flags[~wrong].sum(axis=1) == 1).all())
    if task == "auto":
        task = "multiclass" if exclusive else "multilabel"
        why = "every row has one 1" if exclusive else "some rows have more or fewer than one 1"
        findings.choose("task", task, "sure", f"0/1 columns; {why}")
    else:
        findings.choose("task", task, "given", "")
    if task == "regression" or (task != "multilabel" and not exclusive):
        raise CompetitionError(
            f"data.task is {task}, and rows of {list(table.columns)} have more or fewer than one 1; expected multilabel"
        )
    findings.choose("label_separator", "none", "sure", "")
    names = [new_name.get(column, column) for column in table.columns]
    rows = [[name for name, flag in zip(names, row, strict=True) if flag] for row in flags.to_numpy()]
    texts = [None if bad else join(row, classes) for row, bad in zip(rows, wrong, strict=True)]
    return Labels(task, classes, texts, "")


def flags_of(column: pd.Series) -> pd.Series:
    """Read the cells of a column of 0 and 1; NaN where one is neither."""
    return column.str.strip().str.lower().map(FLAGS)


def _new_names(merge: dict[str, tuple[str, ...]], labels: set[str]) -> dict[str, str]:
    """Return the class of each label that is merged into one."""
    new_name = {old: new for new, olds in merge.items() for old in olds}
    if unknown := [old for old in new_name if old not in labels]:
        shown = ", ".join(natural(labels - {""})[:10])
        raise CompetitionError(
            f"data.merge_classes names the label {unknown[0]!r}, which no training sample has; expected some of "
            f"{shown}{' …' * (len(labels) > 10)}"
        )
    return new_name


def _check_joined(classes: Iterable[str]) -> None:
    if torn := [name for name in classes if JOINED in name]:
        raise CompetitionError(
            f"the class {torn[0]!r} holds {JOINED!r}, which stands between the classes of a sample in samples.csv; set "
            f"data.label_separator to {JOINED!r} if it separates tags, else rename the class"
        )


def join(tags: Iterable[str], classes: Sequence[str]) -> str:
    """Write the classes of a sample as one text."""
    wanted = set(tags)
    return JOINED.join(name for name in classes if name in wanted)


def natural(names: Iterable[str]) -> tuple[str, ...]:
    """Sort class names: by their number if all are whole numbers, as 10 or 10.0, else as text."""
    names = set(names)
    if all(map(is_whole, names)):
        return tuple(sorted(names, key=lambda name: (to_whole(name), name)))
    return tuple(sorted(names))


def is_number(text: str) -> bool:
    """Tell whether a cell holds a number, of any form but infinity and NaN."""
    number = re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text.strip())
    return number is not None and math.isfinite(float(number[0]))  # 1e999 is read as infinity


def _is_value(texts: list[str], fractions: bool) -> bool:
    """Tell a value from a class: numbers with a fraction, or more than two of them where the submission wants those."""
    distinct = {text for text in texts if text.casefold() not in MISSING_NUMBERS}
    if not distinct or not all(map(is_number, distinct)):
        return False
    return any(not is_whole(text) for text in distinct) or (fractions and len(distinct) > 2)


def _numbers(texts: list[str], tell: Callable[[int, str], None]) -> list[str | None]:
    for row, text in enumerate(texts):
        if not is_number(text):
            tell(row, f"has the label {text!r}; expected a number")
    return [text if is_number(text) else None for text in texts]


def split_tags(text: str, separator: str) -> list[str]:
    """Return the tags of a cell; with no separator it is one."""
    return [tag.strip() for tag in (text.split(separator) if separator else [text]) if tag.strip()]


def find_separator(texts: list[str]) -> str | None:
    """Find what separates tags: where cells split, the same tags come again in other cells.

    Class names of several words do not: their words are more than the names.
    """
    cells = {text for text in texts if text}
    for separator in SEPARATORS:
        split = {text: split_tags(text, separator) for text in cells}
        several = [tags for tags in split.values() if len(tags) > 1]
        if not several or any(len(set(row)) < len(row) for row in several):
            continue
        words = {len(row) for row in split.values()}
        if len(words) == 1 and _positions_differ(several):
            continue  # names of as many words each, as "Apple rust" and "Grape rust"
        times = Counter(tag for row in split.values() for tag in row)
        again = sum(1 for row in several for tag in row if times[tag] > 1) / sum(map(len, several))
        if len(times) < len(cells) and again >= 2 / 3:
            return separator
    return None


def _positions_differ(rows: list[list[str]]) -> bool:
    """Tell whether no word stands at two positions."""
    places = [set(words) for words in zip(*rows, strict=True)]
    return sum(map(len, places)) == len(set().union(*places))


def _example(texts: list[str], separator: str) -> str:
    return next((text for text in texts if separator and separator in text), "")


def consecutive(values: pd.Series) -> int | None:
    """Return the first of whole numbers that count up by one, or None."""
    if not len(values) or not all(re.fullmatch(r"\d{1,300}", value) for value in values):
        return None
    numbers = [int(value) for value in values]
    return numbers[0] if numbers[0] in (0, 1) and all(b - a == 1 for a, b in pairwise(numbers)) else None
