"""What is made of the pairs of like images: reported, told, dropped, refused and kept in one fold."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from competition.audit import Pair
from competition.review import Review, review
from tests.conftest import prepare_params

SAMPLES = pd.DataFrame({
    "sample_id": [*"abcdefg", *"tuv"],
    "split": ["train"] * 7 + ["test"] * 3,
    "label": ["ant", "ant", "bee", "bee", "ant", "ant", "bee", "", "", ""],
    "group": ["", "", "", "", "", "film", "film", "", "", ""],
})  # fmt: skip
PAIRS = [
    Pair(0, 1, True, 0),
    Pair(1, 2, False, 3),
    Pair(3, 7, False, 5),
    Pair(6, 8, False, 6),
    Pair(7, 8, True, 0),
]
CONSTANT = np.array([place in (4, 8, 9) for place in range(10)])


def reviewed(**changed: Any) -> Review:
    return review(SAMPLES, PAIRS, CONSTANT, prepare_params(**changed))


def test_all_is_told() -> None:
    found = reviewed()
    leaks = ["'d' and 't' (5 bits apart)", "'g' and 'u' (6 bits apart)"]
    conflict = "'b' and 'c' (3 bits apart): 'ant' and 'bee'"
    kept = {"choice": "keep", "dropped": 0}
    assert found.report == {
        "duplicates": {"count": 1, **kept, "listed": ["'a' and 'b' (the same file)"], "exact": 1},
        "conflicts": {"count": 1, **kept, "listed": [conflict]},
        "leaks": {"count": 2, **kept, "listed": leaks},
        "constant": {"count": 1, **kept, "listed": ["'e'"]},
        "in_test": {"count": 1, "listed": ["'t' and 'u' (the same file)"]},
        "constant_in_test": {"count": 2},
    }
    assert found.lines == [
        "1 pair of like training images, first 'a' and 'b' (the same file): kept",
        f"1 pair of like training images with different labels, first {conflict}: kept",
        f"2 pairs of a training and a test image that are alike, first {leaks[0]}: kept",
        "1 training image of one colour, first 'e': kept",
    ]
    assert found.shown == [
        (1, 2, "conflict, 3 bits"), (3, 7, "leak, 5 bits"), (6, 8, "leak, 6 bits"), (0, 1, "duplicate, 0 bits")
    ]  # fmt: skip
    assert (found.dropped, found.refused) == (set(), [])


def test_images_that_are_like_over_test_images_and_groups_share_a_fold() -> None:
    like = ["like a"] * 3
    assert reviewed().group_of == [*like, "film", "", "film", "film", "", "", ""]
    assert reviewed(leaks="drop").group_of == [*like, "", "", "film", "", "", "", ""]
    assert reviewed(duplicates="drop").group_of == ["like a", "", "like a", "film", "", "film", "film", "", "", ""]


@pytest.mark.parametrize(
    ("choices", "gone", "counts"),
    [
        ({"duplicates"}, "b", {"duplicates": 1}),
        ({"conflicts"}, "abc", {"conflicts": 3}),
        ({"duplicates", "conflicts"}, "abc", {"conflicts": 3}),  # b goes as the conflict's, and is counted once
        ({"leaks"}, "dg", {"leaks": 2}),
        ({"constant"}, "e", {"constant": 1}),
    ],
)
def test_what_goes(choices: set[str], gone: str, counts: dict[str, int]) -> None:
    found = reviewed(**dict.fromkeys(choices, "drop"))
    assert {SAMPLES["sample_id"][place] for place in found.dropped} == set(gone)
    assert {kind: told["dropped"] for kind, told in found.report.items() if told.get("dropped")} == counts
    dropped = f": {len(gone)} image{'s' * (len(gone) > 1)} dropped"
    assert sum(dropped in line for line in found.lines) == 1
    assert found.refused == []


@pytest.mark.parametrize(
    ("kind", "refused"),
    [
        ("duplicates", ["1 pair of like training images: 'a' and 'b' (the same file)"]),
        ("conflicts", ["1 pair of like training images with different labels: 'b' and 'c' (3 bits apart): 'ant' and "
                       "'bee'"]),
        ("leaks", ["1 pair of a training and a test image that are alike: 'd' and 't' (5 bits apart)",
                   "1 pair of a training and a test image that are alike: 'g' and 'u' (6 bits apart)"]),
        ("constant", ["1 training image of one colour: 'e'"]),
    ],
)  # fmt: skip
def test_what_is_refused(kind: str, refused: list[str]) -> None:
    found = reviewed(**{kind: "fail"})
    assert (found.refused, found.dropped) == (refused, set())
