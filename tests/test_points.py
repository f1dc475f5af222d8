"""A search space as points, checked against all combinations of all values."""

import itertools
import math

import numpy as np
import pytest

from competition.params import Range
from competition.search import points
from competition.search.outcomes import Values
from competition.search.points import Space

# Conditions on conditions, on two paths at once, and on a value that is on no step; children stand above parents.
SPACE = {
    "d": Range(choice=("x", "y"), when={"a": (3, 4), "e": (True,)}),
    "c": Range(float=(0.0, 0.3), step=0.1, when={"b": (4, 5)}),
    "b": Range(int=(0, 5), step=2, when={"a": (2, 3)}),
    "a": Range(int=(1, 4)),
    "e": Range(choice=(False, True)),
}
ENDLESS = {
    "filters": Range(choice=(64, 16, 32)),
    "layers": Range(int=(0, 3)),
    "dropout": Range(float=(0.0, 0.5), step=0.1, when={"layers": (2, 3)}),
    "units": Range(int=(1, 1000), sampling="log"),
    "rate": Range(float=(1e-4, 1e-1), sampling="log"),
    "optimizer": Range(choice=("adam", "sgd", "rmsprop")),
}


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def key(values: Values) -> frozenset:
    return frozenset(values.items())


def combinations(space: Space) -> set[frozenset]:
    """All points, found by taking every combination of all values and leaving out what is not active."""
    found = set()
    for chosen in itertools.product(*(points.listed(span) for span in space.values())):
        values = dict(zip(space, chosen, strict=True))
        for _ in space:  # one level of conditions after the other
            values = {
                path: value
                for path, value in values.items()
                if all(other in values and values[other] in wanted for other, wanted in space[path].when.items())
            }
        found.add(key(values))
    return found


def test_points_are_all_combinations_of_active_values() -> None:
    expected = combinations(SPACE)
    listed = [key(values) for values in points.enumerate_points(SPACE)]
    assert len(listed) == len(set(listed)) == points.count(SPACE, 1000) == len(expected) == 35
    assert set(listed) == expected
    assert listed == [key(values) for values in points.enumerate_points(SPACE)]


def test_points_are_listed_lazily_and_the_last_path_changes_fastest() -> None:
    huge = {name: Range(int=(1, 1000)) for name in "abcdef"}
    first = list(itertools.islice(points.enumerate_points(huge), 1001))
    assert [(values["e"], values["f"]) for values in (first[0], first[1], first[1000])] == [(1, 1), (1, 2), (2, 1)]


def test_count_stops_at_its_limit() -> None:
    assert points.count(SPACE, 35) == 35
    assert points.count(SPACE, 34) is None
    assert points.count({name: Range(int=(1, 10**9)) for name in "abcdefgh"}, 10_000) is None
    assert points.count(ENDLESS, 10**9) is None
    assert points.count({"a": Range(int=(1, 10**4)), "b": Range(int=(1, 7), when={"a": (5,)})}, 10**5) == 10**4 + 6


def test_count_asks_only_for_what_can_be_active() -> None:
    never = Range(float=(0.0, 1.0), when={"a": (1,), "b": (2,)})  # b is there with another a only
    space = {"a": Range(choice=(1, 2)), "b": Range(choice=(1, 2, 3), when={"a": (2,)}), "c": never}
    assert points.count(space, 100) == 4


@pytest.mark.parametrize("space", [SPACE, ENDLESS], ids=["countable", "endless"])
def test_draws_hold_active_values_of_the_space(space: Space) -> None:
    for values in points.draw_many(space, generator(), 300):
        assert set(values) == {path for path in space if points.is_active(space, path, values)}
        for path, value in values.items():
            allowed = points.listed(space[path])
            assert value in allowed if allowed else space[path].holds(value)
            assert any(type(value) is type(end) for end in space[path].ends)


def test_draws_are_uniform() -> None:
    drawn = points.draw_many(ENDLESS, generator(), 3000)
    for path in ("filters", "layers", "optimizer"):
        shares = np.unique([values[path] for values in drawn], return_counts=True)[1] / len(drawn)
        assert np.abs(shares * len(shares) - 1).max() < 0.15, path
    dropouts = [values["dropout"] for values in drawn if "dropout" in values]
    assert np.unique(dropouts).tolist() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert len(dropouts) == pytest.approx(1500, rel=0.1)


@pytest.mark.parametrize(("path", "low", "high"), [("rate", 1e-4, 1e-1), ("units", 1, 1000)])
def test_log_ranges_are_uniform_over_the_logarithm_and_reach_both_ends(path: str, low: float, high: float) -> None:
    drawn = np.array([values[path] for values in points.draw_many(ENDLESS, generator(), 3000)])
    assert low <= drawn.min() < low * 1.01
    assert high >= drawn.max() > high / 1.01
    shares = np.histogram(np.log10(drawn), 3, (np.log10(low), np.log10(high)))[0] / len(drawn)
    assert shares == pytest.approx([1 / 3] * 3, abs=0.06)  # an integer's lowest values span more than their share


def test_an_integer_has_the_share_of_what_is_rounded_to_it() -> None:
    drawn = [values["a"] for values in points.draw_many({"a": Range(int=(1, 3), sampling="log")}, generator(), 3000)]
    shares = np.bincount(drawn, minlength=4)[1:] / len(drawn)
    assert shares == pytest.approx([math.log(3, 7), math.log(5 / 3, 7), math.log(7 / 5, 7)], abs=0.03)


def test_a_path_draws_the_same_whatever_else_is_in_the_space() -> None:
    alone = points.draw({"rate": ENDLESS["rate"]}, generator(5))
    first, second = points.draw(ENDLESS, generator(5)), points.draw(ENDLESS, generator(6))
    assert first["rate"] == alone["rate"] != second["rate"]
    for seed in range(20):
        on, off = ({**ENDLESS, "layers": Range(choice=(layers,))} for layers in (2, 0))
        with_dropout, without = points.draw(on, generator(seed)), points.draw(off, generator(seed))
        assert with_dropout.pop("dropout") in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
        assert {**with_dropout, "layers": 0} == without


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (Range(float=(0.0, 0.3), step=0.1), (0.0, 0.1, 0.2, 0.3)),
        (Range(float=(0.0, 1.0), step=0.3), (0.0, 0.3, 0.6, 0.9)),
        (Range(float=(0.1, 0.7), step=0.2), (0.1, 0.3, 0.5, 0.7)),
        (Range(float=(0.0, 1.0), step=2.0), (0.0,)),
        (Range(int=(1, 10), step=4), (1, 5, 9)),
        (Range(int=(2, 4), sampling="log"), (2, 3, 4)),
        (Range(choice=("b", "a")), ("b", "a")),
        (Range(float=(0.0, 1.0)), None),
    ],
)
def test_values_of_a_range(span: Range, expected: tuple | None) -> None:
    assert points.listed(span) == expected
    assert points.size(span) == (None if expected is None else len(expected))


def test_floats_carry_no_noise() -> None:
    for values in points.draw_many({"a": Range(float=(0.1, 0.7))}, generator(), 100):
        assert len(repr(values["a"])) <= len("0.123456789012")
    narrow = Range(float=(0.12345678901234, 0.12345678901235))  # rounded, both ends would lie outside
    assert all(narrow.holds(values["a"]) for values in points.draw_many({"a": narrow}, generator(), 20))
    fine = Range(float=(0.12345678901234, 0.52345678901233), step=0.1)
    assert all(fine.holds(value) for value in points.listed(fine))


def test_corners() -> None:
    low = {"filters": 16, "layers": 0, "units": 1, "rate": 1e-4}
    high = {"filters": 64, "layers": 3, "dropout": 0.5, "units": 1000, "rate": 1e-1}
    for is_high, numbers in ((False, low), (True, high)):
        choices = ENDLESS["optimizer"].choice or ()
        assert list(points.corners(ENDLESS, high=is_high)) == [{**numbers, "optimizer": each} for each in choices]
    assert list(points.corners(SPACE, high=False)) == [{"a": 1, "e": False}, {"a": 1, "e": True}]
    stepped = {"a": Range(int=(0, 5), step=2), "b": Range(float=(0.0, 1.0), step=0.3)}
    assert list(points.corners(stepped, high=True)) == [{"a": 4, "b": 0.9}]


def test_a_vector_tells_points_apart_and_keeps_near_ones_near() -> None:
    common = {"filters": 16, "units": 1000, "rate": 10**-2.5, "optimizer": "sgd"}
    without = points.encode(ENDLESS, {**common, "layers": 0})
    assert without == pytest.approx([0, 0, 0.5, 0, 1, 0.5, 0, 1, 0])
    with_dropout = points.encode(ENDLESS, {**common, "layers": 3, "filters": 32, "dropout": 0.1})
    assert with_dropout == pytest.approx([0.5, 1, 0.2, 1, 1, 0.5, 0, 1, 0])
    assert without.dtype == np.float64
    vectors = [points.encode(SPACE, values) for values in points.enumerate_points(SPACE)]
    assert len({tuple(vector) for vector in vectors}) == len(vectors)
    assert all(vector.min() >= 0 and vector.max() <= 1 for vector in vectors)


def test_neighbours_differ_a_little_and_stay_in_the_space() -> None:
    values = {"filters": 32, "layers": 2, "dropout": 0.3, "units": 30, "rate": 1e-3, "optimizer": "adam"}
    rng = generator()
    near = [points.neighbour(ENDLESS, values, rng) for _ in range(500)]
    for other in near:
        assert set(other) == {path for path in ENDLESS if points.is_active(ENDLESS, path, other)}
        assert all(ENDLESS[path].holds(value) for path, value in other.items())
    changed = [sum(other.get(path) != value for path, value in values.items()) for other in near]
    assert 1 < np.mean(changed) < 2.5
    assert all(len({other.get(path) for other in near}) > 1 for path in values)
    rates = np.log10([other["rate"] for other in near if other["rate"] != 1e-3])
    assert 0.2 < rates.std() < 0.4  # a tenth of three decades
    assert {other["optimizer"] for other in near} == {"adam", "sgd", "rmsprop"}
    for end in (0.0, 1.0):
        turned = [points.neighbour({"a": Range(float=(0.0, 1.0))}, {"a": end}, rng)["a"] for _ in range(20)]
        assert all(0 < value < 1 for value in turned)
    assert {"b", "c"} <= set().union(*(points.neighbour(SPACE, {"a": 1, "e": True}, rng) for _ in range(300)))
    coarse = {"a": Range(int=(1, 3)), "b": Range(choice=(8, 16, 32, 64))}
    near = [points.neighbour(coarse, {"a": 3, "b": 16}, rng) for _ in range(100)]
    assert {(other["a"], other["b"]) for other in near} == {(2, 16), (3, 8), (3, 32), (2, 8), (2, 32)}


def test_the_neighbour_of_a_value_is_found_without_listing_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    def listing(span: Range) -> None:
        raise AssertionError(f"{span} is listed")

    monkeypatch.setattr(points, "_each", listing)
    rng, long = generator(), {"a": Range(int=(1, 10**12), sampling="log")}
    assert any(points.neighbour(long, {"a": 1}, rng)["a"] == 2 for _ in range(100))  # where it had stayed
    top = {points.neighbour(long, {"a": 10**12}, rng)["a"] for _ in range(100)}
    assert 10**12 not in top
    stepped = {"a": Range(float=(0.1, 0.7), step=0.2), "b": Range(int=(2, 11), step=4), "c": Range(choice=(9, 1, 4))}
    near = [points.neighbour(stepped, {"a": 0.3, "b": 6, "c": 4}, rng) for _ in range(200)]
    assert {other["a"] for other in near} == {0.1, 0.3, 0.5}
    assert {other["b"] for other in near} == {2, 6, 10}
    assert {other["c"] for other in near} == {1, 4, 9}


def test_a_path_is_active_if_its_parents_are() -> None:
    assert points.is_active(SPACE, "c", {"a": 2, "b": 4})
    assert not points.is_active(SPACE, "c", {"a": 1, "b": 4})
    assert not points.is_active(SPACE, "c", {"a": 2, "b": 2})
    assert not points.is_active(SPACE, "c", {"a": 2})


def test_paths_stand_below_their_parents() -> None:
    assert points.ordered(SPACE) == ["a", "e", "d", "b", "c"]
    assert points.ordered(ENDLESS) == list(ENDLESS)
