"""From probabilities to the submission, and the gate that lets only a valid one out."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from competition.artifacts import FLOAT_FORMAT
from competition.errors import CompetitionError, MistakesError
from competition.raw.tables import parse_table

SUM_TOLERANCE = 1e-5  # what graders allow a row of probabilities to differ from 1


def blend(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Average tables of probabilities, aligned by their index of sample ids, never by row.

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


def decide(probabilities: pd.DataFrame, columns: list[str], id_column: str) -> pd.DataFrame:
    """Name the most probable class of each sample in the submission's columns."""
    classes = np.array(probabilities.columns, object)
    chosen = classes[probabilities.to_numpy().argmax(axis=1)]
    label_column = next(column for column in columns if column != id_column)
    return pd.DataFrame({id_column: probabilities.index.to_numpy(object), label_column: chosen})[columns]


def check_probabilities(probabilities: pd.DataFrame) -> None:
    """Refuse probabilities that are missing or do not sum to 1 once they are written as text."""
    values = probabilities.to_numpy(np.float64)
    off = np.flatnonzero(~(np.abs(values.sum(axis=1) - 1) <= SUM_TOLERANCE))
    if len(off):
        row = probabilities.iloc[off[0]]
        raise CompetitionError(
            f"the probabilities of {len(off)} samples do not sum to 1, first those of {row.name!r}: "
            f"{', '.join(FLOAT_FORMAT % value for value in row)}; train the model again"
        )


def gate(path: Path, sample_ids: list[str], contract: dict[str, Any]) -> None:
    """Read a submission as its grader will, and refuse one that it would not accept.

    Raises:
        MistakesError: columns, ids, their order, missing values or classes are not what the competition lists.
    """
    table = parse_table(path.read_bytes(), str(path))
    columns, id_column = contract["submission"]["columns"], contract["submission"]["id_column"]
    mistakes = []
    if list(table.columns) != columns:
        mistakes.append(f"its columns are {list(table.columns)}; the competition lists {columns}")
    else:
        ids = list(table[id_column])
        wanted, found, classes = set(sample_ids), set(ids), set(contract["classes"])
        if missing := [sample_id for sample_id in sample_ids if sample_id not in found]:
            mistakes.append(f"{len(missing)} ids of the competition are missing, first {missing[0]!r}")
        if foreign := [sample_id for sample_id in ids if sample_id not in wanted]:
            mistakes.append(f"{len(foreign)} ids are not the competition's, first {foreign[0]!r}")
        if not mistakes and ids != sample_ids:
            mistakes.append("its ids are the competition's, in another order or repeated")
        label_column = next(column for column in columns if column != id_column)
        if unknown := [label for label in table[label_column] if not label or label not in classes]:
            mistakes.append(f"{len(unknown)} labels are missing or no class of the competition, first {unknown[0]!r}")
    if mistakes:
        raise MistakesError(
            "the submission was not written, because the competition's grader would refuse it:", mistakes
        )
