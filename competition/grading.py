"""Score a submission against its answers, as the competition's grader would."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from competition.console import counted
from competition.errors import CompetitionError, MistakesError
from competition.raw.forms import named_class, show
from competition.raw.labels import SEPARATORS, find_separator, is_number, natural, split_tags
from competition.raw.tables import parse_table
from competition.scores import Score, find_metric, score
from competition.tasks import grades, is_whole, to_whole

LABEL_METRICS = ("accuracy", "f1_macro", "f1_micro", "f1_weighted")
KAPPA_CLASSES = 20  # whole numbers up to which a quadratic kappa is likely meant


@dataclass(frozen=True)
class _Answers:
    """Truth and predictions, aligned, and the metrics that score them.

    Attributes:
        task: multiclass, multilabel or regression.
        truth: as a metric of the task takes it.
        predictions: by what a metric wants.
        metrics: those that are scored where none is named.
        grades: (k,), what a quadratic kappa compares: the numbers that the classes are, less the smallest; None
            where they are no whole numbers.
        ranks: classes of the longest ranking; 0 where the predictions are no rankings.
    """

    task: str
    truth: np.ndarray
    predictions: dict[str, np.ndarray]
    metrics: tuple[str, ...]
    grades: tuple[int, ...] | None = None
    ranks: int = 0


def grade(submission: Path, answers: Path, seed: int, metric: str | None = None) -> dict[str, Score]:
    """Score a submission in any of the project's forms.

    Args:
        submission, answers: CSV files with the same ids, in any order. The first column of the answers is the id; the
            submission has one of the same name. What the other columns hold is told from both files: classes, tags,
            rankings, probabilities, 0 and 1, or values.
        seed: of the intervals.
        metric: score this one; None for all that the two files allow.

    Raises:
        CompetitionError: a file is missing, the two do not hold the same ids, or they do not allow the metric.
    """
    submitted, true = _aligned(submission, answers)
    found = _read(submitted, true, submission, answers)
    wanted = found.metrics if metric is None else (metric,)
    return {name: _score(name, found, submission, answers, seed) for name in wanted}


def _score(name: str, found: _Answers, submission: Path, answers: Path, seed: int) -> Score:
    allowed = f"the two files allow {', '.join(found.metrics)}"
    try:
        function = find_metric(name)
    except ValueError as error:
        raise CompetitionError(f"--metric: {error}") from None
    if found.task not in function.tasks:
        tasks = " and ".join(function.tasks)
        raise CompetitionError(f"{name} is for {tasks}, and {answers} is {found.task}; {allowed}")
    ranking = name.startswith(("map@", "top"))
    if function.wants not in found.predictions or (found.ranks and not ranking):
        held = "rankings" if found.ranks else " and ".join(found.predictions)
        raise CompetitionError(f"{name} wants {function.wants}, and {submission} holds {held}; {allowed}")
    if found.ranks and function.number > found.ranks:  # no class is at the ranks beyond
        function = find_metric(name.replace(str(function.number), str(found.ranks)))
    if name == "quadratic_kappa":
        if found.grades is None:
            raise CompetitionError(f"{name} wants whole numbers as classes, and not all are; {allowed}")
        function = find_metric(name, found.grades)
    try:
        return score(function, found.truth, found.predictions[function.wants], seed)
    except ValueError as error:
        raise CompetitionError(f"{name} cannot score {submission} ({error}); {allowed}") from None


def _aligned(submission: Path, answers: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read both tables, their rows in the order of the answers, without their ids."""
    tables = []
    for path in (submission, answers):
        if not path.exists():
            raise CompetitionError(f"{path} is missing; expected a CSV file of ids and answers")
        table = parse_table(path.read_bytes(), str(path))
        if len(table.columns) < 2:
            raise CompetitionError(f"{path} has the columns {list(table.columns)}; expected the id and the answer")
        if not len(table):
            raise CompetitionError(f"{path} has no row below its header; expected an id and its answer in each")
        tables.append(table)
    submitted, true = tables
    id_column = true.columns[0]
    if id_column not in submitted.columns:
        raise CompetitionError(
            f"{submission} has the columns {list(submitted.columns)}; expected the ids in a column called "
            f"{id_column!r}, as in {answers}"
        )
    mistakes = []
    for path, table in ((submission, submitted), (answers, true)):
        if repeated := list(table[id_column][table[id_column].duplicated()]):
            mistakes.append(f"{path} repeats {counted(len(repeated), 'id')}, first {repeated[0]!r}")
    ids, submitted_ids = set(true[id_column]), set(submitted[id_column])
    if missing := sorted(ids - submitted_ids):
        mistakes.append(f"{submission} lacks {counted(len(missing), 'id')}, first {missing[0]!r}")
    if foreign := sorted(submitted_ids - ids):
        mistakes.append(f"{submission} has {counted(len(foreign), 'id')} that {answers} has not, first {foreign[0]!r}")
    if mistakes:
        raise MistakesError(f"{submission} cannot be scored:", mistakes)
    order, true = true[id_column], true.drop(columns=id_column)
    counters = {"", show(submitted, id_column).counter_column} - set(true.columns)
    without = submitted.drop(columns=[name for name in submitted if name in counters])
    if len(without.columns) > 1:
        submitted = without
    return submitted.set_index(id_column).loc[order].reset_index(drop=True), true


def _read(submitted: pd.DataFrame, true: pd.DataFrame, submission: Path, answers: Path) -> _Answers:
    if len(true.columns) > 1:
        return _read_columns(submitted, true, submission, answers)
    truth, column = list(true.iloc[:, 0]), true.columns[0]
    if len(submitted.columns) > 1:  # a probability for each class, against class names
        classes = _named_columns(list(submitted.columns), natural(truth))
        if foreign := sorted(set(truth) - set(classes)):
            raise CompetitionError(f"{submission} has no column for the classes {foreign[:5]} of {answers}")
        return _exclusive(_codes(truth, classes), _numbers(submitted, submission), classes)
    named = submitted.columns[0]
    cells = list(submitted[named])
    distinct = natural(truth)
    numbers = all(map(is_number, cells)) and all(map(is_number, truth))
    fractions = numbers and not all(map(is_whole, cells))
    whole = numbers and all(map(is_whole, truth + cells))
    values = fractions and (len(distinct) > 2 or (_beyond(truth) and _beyond(cells)))
    if values or (numbers and not all(map(is_whole, truth))):
        return _Answers("regression", np.array(truth, np.float64), {"values": np.array(cells, np.float64)}, ("rmse",))
    if fractions and len(distinct) == 1 and distinct[0] in ("0", "1"):
        distinct = ("0", "1")
    # 5.0 and 10.0 of the classes 5 and 10; 0 and 1 where the classes are 1 and 2
    labels = whole and (_beyond(cells) or set(cells) & set(distinct))
    if len(distinct) == 2 and all(map(is_number, cells)) and not set(cells) <= set(distinct) and not labels:
        positive = (None if named == column else named_class(named, distinct)) or distinct[1]
        likely = np.array(cells, np.float64)
        raw = np.column_stack([likely if name == positive else 1 - likely for name in distinct])
        return _exclusive(_codes(truth, distinct), raw, distinct)
    _refuse_numbers(cells, distinct, submission, answers)
    return _read_labels(truth, cells, distinct, whole)


def _read_labels(truth: list[str], cells: list[str], classes: Sequence[str], whole: bool) -> _Answers:
    """Read tags, rankings or a class for each id; ``whole`` tells that all are whole numbers."""
    between = _rank_separator(cells, classes)
    for separator in filter(None, (find_separator(truth + cells), between)):
        if any(separator in text or not text for text in truth):  # several tags, or none
            return _tagged(*([split_tags(text, separator) for text in texts] for texts in (truth, cells)))
    if between is not None:
        return _ranked(truth, [split_tags(cell, between) for cell in cells])
    if whole:  # 10.0 is the class 10
        truth, cells = ([str(to_whole(text)) for text in texts] for texts in (truth, cells))
    classes = natural({*truth, *cells})
    graded = grades(classes)
    kappa = ("quadratic_kappa",) if graded is not None and len(classes) <= KAPPA_CLASSES else ()
    labels = _codes(cells, classes)
    return _Answers("multiclass", _codes(truth, classes), {"labels": labels}, (*LABEL_METRICS, *kappa), graded)


def _codes(texts: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Return the place of each text among the classes, int64 (n,)."""
    index = {name: position for position, name in enumerate(classes)}
    return np.array([index[text] for text in texts])


def _named_columns(columns: list[str], classes: Sequence[str]) -> tuple[str, ...]:
    """Call each column by its class, unless all classes are columns or two columns are called after one."""
    if set(classes) <= set(columns):
        return tuple(columns)
    named = [named_class(column, classes) or column for column in columns]
    return tuple(named if len(set(named)) == len(named) else columns)


def _beyond(texts: Sequence[str]) -> bool:
    """Tell whether some numbers are no probabilities."""
    return any(not 0 <= float(text) <= 1 for text in texts)


def _refuse_numbers(cells: Sequence[str], classes: Sequence[str], submission: Path, answers: Path) -> None:
    """Refuse values or probabilities where labels are to be compared: all would be wrong."""
    wrong = [cell for cell in cells if not is_number(cell)]
    numbers = [cell for cell in cells if is_number(cell) and not float(cell).is_integer() and cell not in classes]
    if numbers and wrong and all(map(is_number, classes)):
        raise CompetitionError(f"{submission} holds {wrong[0]!r} among numbers; expected a number for each id")
    if numbers and not wrong:
        raise CompetitionError(
            f"{submission} holds the number {numbers[0]!r}, and {answers} the classes {list(classes[:5])}; expected "
            "one of these for each id, or a column for each class"
        )


def _rank_separator(cells: Sequence[str], classes: Sequence[str]) -> str | None:
    """Find what stands between classes in a cell that is no class itself."""
    known, unknown = set(classes), set(cells) - set(classes)
    for separator in SEPARATORS:
        split = [split_tags(cell, separator) for cell in unknown]
        if any(len(labels) > 1 and known & set(labels) for labels in split):
            return separator
    return None


def _numbers(table: pd.DataFrame, path: Path) -> np.ndarray:
    cells = table.to_numpy(object)
    if wrong := [cell for cell in cells.ravel() if not is_number(cell)]:
        raise CompetitionError(f"{path} holds {wrong[0]!r} in a column of {list(table.columns)[:5]}; expected numbers")
    return cells.astype(np.float64)


def _read_columns(submitted: pd.DataFrame, true: pd.DataFrame, submission: Path, answers: Path) -> _Answers:
    """Read one column for each class in both files."""
    if set(submitted.columns) != set(true.columns):
        raise CompetitionError(
            f"{submission} has the columns {list(submitted.columns)}; expected those of {answers}, {list(true.columns)}"
        )
    truth, raw = _numbers(true, answers), _numbers(submitted[list(true.columns)], submission)
    if not np.isin(truth, (0, 1)).all():
        raise CompetitionError(f"{answers} has other numbers than 0 and 1; expected these in {list(true.columns)[:5]}")
    flags = np.isin(raw, (0, 1)).all()
    if (truth.sum(axis=1) == 1).all() and not (flags and (raw.sum(axis=1) != 1).any()):
        return _exclusive(truth.argmax(axis=1), raw, tuple(true.columns))
    labels = (raw >= 0.5).astype(np.uint8)
    predictions = {"labels": labels}
    metrics: tuple[str, ...] = (*LABEL_METRICS, "f1_samples")
    if not flags:
        predictions["probabilities"] = raw
        metrics = ("roc_auc_macro", "roc_auc_weighted", "log_loss", *metrics)
    return _Answers("multilabel", truth.astype(np.uint8), predictions, metrics)


def _exclusive(truth: np.ndarray, raw: np.ndarray, classes: Sequence[str]) -> _Answers:
    curves = ("roc_auc",) if len(classes) == 2 else ("roc_auc_macro", "top3_error")
    predictions = {"labels": raw.argmax(axis=1), "probabilities": raw}
    return _Answers("multiclass", truth, predictions, ("log_loss", *curves, *LABEL_METRICS), grades(classes))


def _tagged(truth: list[list[str]], cells: list[list[str]]) -> _Answers:
    classes = natural({tag for row in truth + cells for tag in row})
    index = {name: position for position, name in enumerate(classes)}

    def flags(rows: list[list[str]]) -> np.ndarray:
        coded = np.zeros((len(rows), len(classes)), np.uint8)
        for row, tags in enumerate(rows):
            coded[row, [index[tag] for tag in tags]] = 1
        return coded

    metrics = (*LABEL_METRICS, "f1_samples", "f2_samples", "f2_micro")
    return _Answers("multilabel", flags(truth), {"labels": flags(cells)}, metrics)


def _ranked(truth: list[str], cells: list[list[str]]) -> _Answers:
    classes = natural({*truth, *(label for row in cells for label in row)})
    index = {name: position for position, name in enumerate(classes)}
    ranks = max(map(len, cells))
    raw = np.full((len(cells), len(classes) + ranks), -1.0)
    raw[:, len(classes) :] = 0  # nothing, and not the next class, is at the ranks that a shorter row leaves
    for row, labels in enumerate(cells):
        places = [index[label] for label in labels]
        raw[row, places[::-1]] = np.arange(ranks - len(places) + 1, ranks + 1)  # of a repeated class the first counts
    metrics = (f"map@{ranks}", "top1_error", f"top{ranks}_error")
    return _Answers("multiclass", _codes(truth, classes), {"probabilities": raw}, metrics, ranks=ranks)
