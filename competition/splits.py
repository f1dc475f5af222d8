"""Folds: a fact of the data, made once from the seed."""

import warnings

import numpy as np


def make_folds(labels: np.ndarray, groups: np.ndarray | None, folds: int, seed: int) -> np.ndarray:
    """Give every sample the fold on which its model will be validated.

    Classes are spread evenly over the folds; samples of one group share a fold.

    Args:
        labels: (n,) class of each sample.
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
        raise ValueError(f"{len(units)} {'samples' if groups is None else 'groups'} cannot make {folds} folds")
    splitter = (StratifiedKFold if groups is None else StratifiedGroupKFold)(folds, shuffle=True, random_state=seed)
    fold_of = np.zeros(len(labels), np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # prepare tells it, with the names
        try:
            for fold, (_, rows) in enumerate(
                splitter.split(np.zeros(len(labels)), labels, None if groups is None else together)
            ):
                fold_of[rows] = fold
        except ValueError:  # every class has fewer samples than there are folds: nothing to stratify by
            fold_of_unit = np.random.default_rng(seed).permutation(len(units)) % folds
            fold_of = fold_of_unit[unit_of].astype(np.int64)
    return fold_of


def _own(groups: np.ndarray) -> list[str]:
    return [f"sample {row}" for row in range(len(groups))]
