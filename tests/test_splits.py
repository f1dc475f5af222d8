"""Folds: stratified, grouped, from the seed alone."""

import time

import numpy as np
import pytest

from competition.seeds import derive
from competition.splits import make_folds, strata


def test_every_class_is_spread_evenly() -> None:
    labels = np.repeat(["a", "b", "c"], [100, 50, 10])
    folds = make_folds(labels, None, 5, seed=1)
    for name, count in (("a", 20), ("b", 10), ("c", 2)):
        assert [int(((labels == name) & (folds == fold)).sum()) for fold in range(5)] == [count] * 5


def test_groups_share_a_fold() -> None:
    rng = np.random.default_rng(0)
    labels, groups = rng.choice(["a", "b"], 300), rng.integers(0, 40, 300).astype(str)
    groups[:50] = ""
    folds = make_folds(labels, groups, 4, seed=1)
    for group in set(groups) - {""}:
        assert len(set(folds[groups == group])) == 1
    assert len(set(folds[:50])) == 4


def test_the_seed_decides() -> None:
    labels = np.repeat(["a", "b"], 50)
    one, same, other = (make_folds(labels, None, 5, seed) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


@pytest.mark.parametrize(
    ("task", "truth", "expected"),
    [
        ("regression", np.arange(20.0), [value // 2 for value in range(20)]),
        ("regression", np.repeat([0.0, 1.0], 10), [4] * 10 + [9] * 10),  # equal values are not taken apart
        ("multiclass", np.array([2, 0, 2]), [2, 0, 2]),
        ("ordinal", np.array([1, 0]), [1, 0]),
        ("multilabel", np.uint8([[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 0, 1]]), [0, 2, 0, 3, 1]),  # by rarity
    ],
)
def test_what_folds_have_equal_shares_of(task: str, truth: np.ndarray, expected: list[int]) -> None:
    assert strata(task, truth).tolist() == expected


def test_groups_count_by_their_samples() -> None:
    """Of one large group and three of one sample, the large one alone is the better half."""
    labels, groups = np.repeat(["a", "b"], 8), np.repeat(list("abcdefgh"), [5, 1, 1, 1] * 2)
    folds = make_folds(labels, groups, 2, seed=1)
    for name in "ab":
        assert sorted(np.bincount(folds[labels == name])) == [3, 5]


def test_groups_of_two_count_by_the_class_of_their_first() -> None:
    labels, groups = np.repeat(["a", "b"], [20, 19]), np.repeat(np.arange(20), 2)[:39].astype(str)
    folds = make_folds(labels, groups, 5, seed=1)
    assert np.bincount(folds[labels == "a"]).tolist() == [4] * 5


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("groups", [None, np.repeat(["v", "w", "x", "y", "z"], 3)])
def test_a_rare_class_warns_of_nothing(groups: np.ndarray | None) -> None:
    """`prepare` tells it, with the names."""
    labels = np.array(["a"] * 14 + ["b"])
    assert np.bincount(make_folds(labels, groups, 5, seed=1)).tolist() == [3] * 5


@pytest.mark.parametrize("groups", [None, np.repeat(["x", "y", "z"], 2)])
def test_classes_with_fewer_samples_than_folds(groups: np.ndarray | None) -> None:
    folds = make_folds(np.array(["a", "b", "c", "a", "b", "c"]), groups, 3, seed=1)
    assert sorted(folds) == [0, 0, 1, 1, 2, 2]
    if groups is not None:
        assert all(len(set(folds[groups == group])) == 1 for group in groups)


@pytest.mark.parametrize(("groups", "what"), [(None, "4 samples"), (np.array(["x", "x", "y", ""]), "3 groups")])
def test_too_few_are_refused(groups: np.ndarray | None, what: str) -> None:
    with pytest.raises(ValueError, match=f"{what} cannot make 5 folds"):
        make_folds(np.array(["a", "b", "a", "b"]), groups, 5, seed=1)


def test_derived_seeds_differ_by_name_and_never_are_zero() -> None:
    seeds = {derive(seed, purpose, number) for seed in range(20) for purpose in ("a", "b") for number in range(50)}
    assert len(seeds) == 2000
    assert min(seeds) >= 1
    assert derive(1, "augment", 2, "x") == derive(1, "augment", 2, "x")
    assert derive(1, "a", "b") != derive(1, "ab") != derive(1, "a", "", "b")


def test_a_few_pairs_among_many_samples_take_no_longer() -> None:
    """Pairs share a fold, classes stay even, and nothing goes through every sample in Python."""
    labels = np.random.default_rng(0).integers(0, 1000, 20_000)
    groups = np.full(20_000, "", object)
    groups[:20] = [f"pair {number // 2}" for number in range(20)]
    start = time.perf_counter()
    alone = make_folds(labels, None, 5, seed=1)
    middle = time.perf_counter()
    folds = make_folds(labels, groups, 5, seed=1)
    assert time.perf_counter() - middle < 20 * (middle - start) + 0.5
    assert (folds[:20:2] == folds[1:20:2]).all()
    assert np.ptp(np.bincount(folds)) <= np.ptp(np.bincount(alone)) + 20


def test_no_fold_stays_empty() -> None:
    """Whatever the sizes of the groups are, every model has something to be validated on."""
    rng = np.random.default_rng(0)
    for seed in range(400):
        sizes = np.where(rng.random(5) < 0.4, rng.integers(20, 80, 5), rng.integers(1, 5, 5))
        groups = np.repeat(np.arange(5), sizes)
        folds = make_folds(groups % 3, groups.astype(str), 5, seed)
        assert sorted(set(folds)) == [0, 1, 2, 3, 4]
        assert len(set(zip(groups, folds, strict=True))) == 5


def test_many_groups_of_many_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups by classes are not counted where that would take gigabytes; groups stay whole, classes and sizes even."""
    monkeypatch.setattr("sklearn.model_selection.StratifiedGroupKFold", None)
    rng = np.random.default_rng(0)
    groups, labels = rng.integers(0, 15_000, 60_000), rng.integers(0, 10_000, 60_000)
    labels[:30_000] = groups[:30_000] % 50
    folds = make_folds(labels, groups.astype(str), 5, seed=1)
    assert len(set(zip(groups, folds, strict=True))) == len(set(groups))
    assert np.ptp(np.bincount(folds)) < 1000
    assert all(np.ptp(np.bincount(folds[labels == name], minlength=5)) < 200 for name in range(50))
