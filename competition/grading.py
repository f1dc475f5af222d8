"""Score a submission against its answers, as the competition's grader would."""

from pathlib import Path

import numpy as np

from competition.errors import CompetitionError, MistakesError
from competition.raw.tables import parse_table
from competition.scores import METRICS, Score, score


def grade(submission: Path, answers: Path, seed: int) -> dict[str, Score]:
    """Score the labels of a submission by every metric.

    Args:
        submission, answers: CSV files of two columns with the same ids, in any order. The first column of the answers
            is the id; the submission has one of the same name.
        seed: of the intervals.

    Raises:
        CompetitionError: a file is missing, or the two do not hold the same ids.
    """
    tables = []
    for path in (submission, answers):
        if not path.is_file():
            raise CompetitionError(f"{path} is missing; expected a CSV file of ids and labels")
        table = parse_table(path.read_bytes(), str(path))
        if len(table.columns) != 2:
            raise CompetitionError(f"{path} has the columns {list(table.columns)}; expected two, the id and the label")
        tables.append(table)
    submitted, true = tables
    id_column, label_column = true.columns
    if id_column not in submitted.columns:
        raise CompetitionError(f"{submission} has the columns {list(submitted.columns)}; {answers} has {id_column!r}")
    other = next(column for column in submitted.columns if column != id_column)
    mistakes = []
    for path, table in ((submission, submitted), (answers, true)):
        if repeated := list(table[id_column][table[id_column].duplicated()]):
            mistakes.append(f"{path} repeats {len(repeated)} ids, first {repeated[0]!r}")
    ids, submitted_ids = set(true[id_column]), set(submitted[id_column])
    if missing := sorted(ids - submitted_ids):
        mistakes.append(f"{submission} lacks {len(missing)} ids, first {missing[0]!r}")
    if foreign := sorted(submitted_ids - ids):
        mistakes.append(f"{submission} has {len(foreign)} ids that {answers} has not, first {foreign[0]!r}")
    if mistakes:
        raise MistakesError(f"{submission} cannot be scored:", mistakes)
    labels = submitted.set_index(id_column)[other].loc[true[id_column]].to_numpy(object)
    truth = true[label_column].to_numpy(object)
    classes, codes = np.unique(np.concatenate([truth, labels]).astype(str), return_inverse=True)
    truth_codes, label_codes = codes[: len(truth)], codes[len(truth) :]
    return {metric: score(metric, truth_codes, label_codes, len(classes), seed) for metric in METRICS}
