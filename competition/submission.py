"""From probabilities to the submission, and the gate that lets only a valid one out."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from competition import decisions
from competition.artifacts import FLOAT_FORMAT, write_csv
from competition.console import counted
from competition.decisions import LABEL_KINDS, Decision
from competition.errors import CompetitionError, MistakesError
from competition.raw.forms import Form
from competition.raw.labels import is_number
from competition.scores import find_metric
from competition.tasks import Target

SUM_TOLERANCE = 1e-5  # what graders allow a row of probabilities to differ from 1
LONGEST_CELL = 2**31 - 1  # letters; Python's own limit is 131,072, and thousands of tags are more


def blend(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Average tables of probabilities or values, aligned by their index of sample ids, never by row.

    Args:
        tables: each with the same sample ids, in any order, and the same classes as columns; at least one.

    Returns:
        float32 (n, k) in the order of the first table.

    Raises:
        ValueError: ids or classes differ.
    """
    remaining = iter(tables)
    first = next(remaining)
    total, count = first.to_numpy(np.float64, copy=True), 1
    for table in remaining:
        if not table.index.equals(first.index) and set(table.index) != set(first.index):
            raise ValueError("the tables to blend hold different samples")
        if list(table.columns) != list(first.columns):
            raise ValueError("the tables to blend hold different classes")
        total += table.reindex(first.index).to_numpy(np.float64)
        count += 1
    return pd.DataFrame((total / count).astype(np.float32), index=first.index, columns=first.columns)


def check_probabilities(probabilities: pd.DataFrame, target: Target) -> None:
    """Refuse what is missing, out of range or, for exclusive classes, does not sum to 1 once it is written as text."""
    values = probabilities.to_numpy(np.float64)
    slack = SUM_TOLERANCE * max(abs(target.low), abs(target.high), 1)
    fine = ((values >= target.low - slack) & (values <= target.high + slack)).all(axis=1)
    wanted = f"from {target.low:g} to {target.high:g}"
    if target.exclusive:
        fine &= np.abs(values.sum(axis=1) - 1) <= SUM_TOLERANCE
        wanted += ", with the sum 1"
    if not fine.all():
        row = probabilities.iloc[int(np.flatnonzero(~fine)[0])]
        raise CompetitionError(
            f"the predictions of {counted(int((~fine).sum()), 'sample')} are not {wanted}, first those of "
            f"{row.name!r}: {', '.join(FLOAT_FORMAT % value for value in row)}; train the model again"
        )


def fill(probabilities: pd.DataFrame, form: Form, target: Target, decision: Decision) -> pd.DataFrame:
    """Write predictions in the competition's form.

    Args:
        probabilities: float32 (n, k), sample ids as index, the target's classes as columns, as `check_probabilities`
            lets pass.
        form: of the submission.
        target: the task.
        decision: the contract's, fitted out of fold.

    Returns:
        The submission; every cell is text.
    """
    raw = probabilities.to_numpy(np.float64)
    cells: dict[str, list[str]] = {form.id_column: list(probabilities.index)}
    if form.counter is not None:
        cells[form.counter_column] = [str(form.counter + row) for row in range(len(raw))]
    if form.kind in ("columns", "probability"):
        numbers = _within(decisions.apply(decision, target.task, raw) if decision.kind == "clip" else raw, target)
        for column, name in zip(form.value_columns, form.classes, strict=True):
            found = numbers[:, target.classes.index(name)] if name else np.zeros(len(raw))
            cells[column] = [FLOAT_FORMAT % value for value in found]
    elif form.kind == "flags":
        decided = _decided(decision, target, raw)
        for column, name in zip(form.value_columns, form.classes, strict=True):
            position = target.classes.index(name) if name else -1
            flags = decided == position if target.exclusive else decided[:, position] > 0 if name else decided[:, 0] > 1
            cells[column] = ["1" if flag else "0" for flag in flags]
    else:
        cells[form.value_columns[0]] = list(_texts(form, target, decision, raw))
    return pd.DataFrame(cells, dtype=str)[list(form.columns)]


def _within(values: np.ndarray, target: Target) -> np.ndarray:
    """Bring numbers inside their range, and rows of exclusive classes to the sum 1."""
    values = np.clip(values, target.low, target.high)
    return values / values.sum(axis=1, keepdims=True) if target.exclusive else values


def _decided(decision: Decision, target: Target, raw: np.ndarray) -> np.ndarray:
    """Decide labels: by the decision if it is one on labels, else as the plain one of accuracy does."""
    if decision.kind not in LABEL_KINDS:
        decision = decisions.plain(find_metric("accuracy"), target.task, len(target.classes), target.at_least_one)
    return decisions.apply(decision, target.task, raw)


def _texts(form: Form, target: Target, decision: Decision, raw: np.ndarray) -> Iterator[str]:
    classes = np.array(target.classes, object)
    if form.kind == "value":
        yield from (FLOAT_FORMAT % value for value in _within(raw, target)[:, 0])
    elif form.kind == "ranking":
        order = np.argsort(-raw, axis=1, kind="stable")[:, : form.ranks]
        yield from (form.separator.join(classes[row]) for row in order)
    elif form.kind == "tags":
        yield from (form.separator.join(classes[row > 0]) for row in _decided(decision, target, raw))
    elif form.kind == "index":
        yield from map(str, _decided(decision, target, raw))
    else:
        yield from classes[_decided(decision, target, raw)]


def write(path: Path, table: pd.DataFrame, form: Form) -> None:
    """Write a filled submission as the competition's sample is written."""
    write_csv(path, table, form.delimiter, form.header)


def gate(path: Path, sample_ids: list[str], form: Form, target: Target) -> None:
    """Read a submission as its grader will, and refuse one that it would not accept.

    Raises:
        MistakesError: columns, ids, their order, missing values or answers are not what the competition lists.
        CompetitionError: it is no table.
    """
    table = _read(path, form)
    mistakes = []
    if tuple(table.columns) != form.columns:
        mistakes.append(f"its columns are {list(table.columns)}; the competition lists {list(form.columns)}")
    else:
        ids = list(table[form.id_column])
        wanted, found = set(sample_ids), set(ids)
        if missing := [sample_id for sample_id in sample_ids if sample_id not in found]:
            mistakes.append(
                f"the submission lacks {counted(len(missing), 'id')} of the competition, first {missing[0]!r}"
            )
        if foreign := [sample_id for sample_id in ids if sample_id not in wanted]:
            mistakes.append(f"{counted(len(foreign), 'id is', 'ids are')} not the competition's, first {foreign[0]!r}")
        if not mistakes and ids != sample_ids:
            mistakes.append("its ids are the competition's, in another order or repeated")
        mistakes += _wrong_answers(table[list(form.value_columns)], form, target)
    if mistakes:
        raise MistakesError(
            "the submission was not written, because the competition's grader would refuse it:", mistakes
        )


def _read(path: Path, form: Form) -> pd.DataFrame:
    """Read a table of ours: the form's delimiter stands between its cells, whatever its header holds most."""
    csv.field_size_limit(LONGEST_CELL)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, strict=True, delimiter=form.delimiter))
    except csv.Error as error:
        raise CompetitionError(
            f"the submission cannot be read as a CSV file ({error}); look for control characters in the competition's "
            "ids and classes"
        ) from None
    header = rows.pop(0) if form.header else list(form.columns)
    if torn := [row for row in rows if len(row) != len(header)]:
        raise CompetitionError(f"the submission has the row {torn[0]}; expected a cell for each of {header}")
    return pd.DataFrame(rows, columns=header, dtype=str)


def _wrong_answers(answers: pd.DataFrame, form: Form, target: Target) -> list[str]:
    if form.kind in ("columns", "probability", "value"):
        text = answers.to_numpy(object)
        if wrong := [cell for cell in text.ravel() if not is_number(cell)]:
            return [f"{counted(len(wrong), 'answer is no number', 'answers are no numbers')}, first {wrong[0]!r}"]
        numbers = text.astype(np.float64)
        slack = SUM_TOLERANCE * max(abs(target.low), abs(target.high)) if form.kind == "value" else 0  # of the text
        if outside := int(((numbers < target.low - slack) | (numbers > target.high + slack)).sum()):
            return [f"{counted(outside, 'answer is', 'answers are')} not from {target.low:g} to {target.high:g}"]
        if form.kind == "columns" and target.exclusive:
            off = np.abs(numbers.sum(axis=1) - 1) > SUM_TOLERANCE
            return [f"the probabilities of {counted(int(off.sum()), 'row')} do not sum to 1"] if off.any() else []
        return []
    column = [cell for name in answers.columns for cell in answers[name]]
    classes = set(target.classes)
    if form.kind == "flags":
        wrong = [cell for cell in column if cell not in ("0", "1")]
    elif form.kind == "index":
        indices = {str(index) for index in range(len(classes))}
        wrong = [cell for cell in column if cell not in indices]
    elif form.kind in ("tags", "ranking"):
        split = {cell: [tag for tag in cell.split(form.separator) if tag] for cell in set(column)}
        bad = {cell for cell, tags in split.items() if not set(tags) <= classes or len(set(tags)) < len(tags)
               or (form.kind == "ranking" and len(tags) != form.ranks)
               or (target.at_least_one and not tags)}  # fmt: skip
        wrong = [cell for cell in column if cell in bad]
    else:
        wrong = [cell for cell in column if not cell or cell not in classes]  # a class may have no name
    if not wrong:
        return []
    return [
        f"{counted(len(wrong), 'label is', 'labels are')} missing or no class of the competition, first {wrong[0]!r}"
    ]
