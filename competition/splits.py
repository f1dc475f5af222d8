"""Folds: a fact of the data, made once from the seed, or given by the competition."""

import warnings

import numpy as np

from competition.console import counted

BINS = 10  # of a value, over which folds are spread
MAX_COUNTS = 2**27  # groups times classes that are counted: 2 GB and a minute


def strata(task: str, truth: np.ndarray) -> np.ndarray:
    """Tell what folds are to have equal shares of: the class, the rarest class of several, or a tenth of the values.

    Args:
        task: multiclass, multilabel, ordinal or regression.
        truth: as `competition.tasks.Target.truth` gives it.

    Returns:
        int64 (n,).
    """
    if task == "regression":
        return np.searchsorted(np.quantile(truth, np.linspace(0, 1, BINS + 1)[1:-1]), truth, side="right")
    if task != "multilabel":
        return truth
    by_rarity = np.argsort(truth.sum(axis=0), kind="stable")
    ranked = truth[:, by_rarity]
    return np.where(ranked.any(axis=1), ranked.argmax(axis=1), len(by_rarity))


def given_folds(texts: np.ndarray, folds: int) -> np.ndarray:
    """Number folds that the competition gives, in the order of their numbers; (n,) texts to int64 (n,).

    Raises:
        ValueError: they are not as many as ``folds``.
    """
    numbers, fold_of = np.unique([int(float(text)) for text in texts], return_inverse=True)
    if len(numbers) != folds:
        raise ValueError(f"the fold column holds {counted(len(numbers), 'fold')}, and prepare.folds is {folds}")
    return fold_of.astype(np.int64)


def make_folds(labels: np.ndarray, groups: np.ndarray | None, folds: int, seed: int) -> np.ndarray:
    """Give every sample the fold on which its model will be validated.

    Classes are spread evenly over the folds; samples of one group share a fold.

    Args:
        labels: (n,) class of each sample, or what else is to be spread evenly; see `strata`.
        groups: (n,) group of each sample, or None; an empty text is a group of its own.
        folds: number of folds, at least 2.
        seed: decides the draw.

    Returns:
        int64 (n,), 0 to folds - 1.

    Raises:
        ValueError: fewer samples or groups than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    together = np.arange(len(labels)).astype(str) if groups is None else np.where(groups == "", _own(groups), groups)
    units, unit_of = np.unique(together, return_inverse=True)
    if len(units) < folds:
        raise ValueError(f"{counted(len(units), 'sample' if groups is None else 'group')} cannot make {folds} folds")
    grouped = len(units) < len(labels)
    if grouped and (len(labels) < 2 * len(units) or len(units) * len(np.unique(labels)) > MAX_COUNTS):
        # Few belong together, or groups are many: each counts as its first sample, almost as even and far quicker.
        first = np.unique(unit_of, return_index=True)[1]
        return make_folds(labels[first], None, folds, seed)[unit_of]
    splitter = (StratifiedGroupKFold if grouped else StratifiedKFold)(folds, shuffle=True, random_state=seed)
    fold_of = np.zeros(len(labels), np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # prepare tells it, with the names
        try:
            for fold, (_, rows) in enumerate(
                splitter.split(np.zeros(len(labels)), labels, together if grouped else None)
            ):
                fold_of[rows] = fold
        except ValueError:  # every class has fewer samples than there are folds: nothing to stratify by
            fold_of_unit = np.random.default_rng(seed).permutation(len(units)) % folds
            fold_of = fold_of_unit[unit_of].astype(np.int64)
    return _fill(fold_of, unit_of, folds)


def _fill(fold_of: np.ndarray, unit_of: np.ndarray, folds: int) -> np.ndarray:
    """Give a fold that was left empty, as happens with few groups of unlike size, the smallest group of the fullest."""
    units, first, sizes = np.unique(unit_of, return_index=True, return_counts=True)
    for empty in np.setdiff1d(np.arange(folds), fold_of):
        fold_of_unit = fold_of[first]
        fullest = np.bincount(fold_of_unit).argmax()  # by its groups, of which it has two or more
        moved = min(units[fold_of_unit == fullest], key=lambda unit: sizes[unit])
        fold_of[unit_of == moved] = empty
    return fold_of


def _own(groups: np.ndarray) -> list[str]:
    return [f"sample {row}" for row in range(len(groups))]
