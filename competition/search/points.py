"""A search space as points: draw one, count them, list them, move one a little, write one as a vector."""

import math
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

import numpy as np

from competition.params import Range, Scalar, TuneParams
from competition.search.outcomes import Values
from competition.seeds import derive

Space = dict[str, Range]
Key = frozenset[tuple[str, Scalar]]

STEP_SHARE = 0.1  # of its range, by which a number is moved; one standard deviation


def rounded(value: float) -> float:
    """Round off the noise of floating point: 0.30000000000000004 becomes 0.3."""
    return float(f"{value:.12g}")


def key_of(values: Values) -> Key:
    """Return what tells a point from others where dicts cannot stand."""
    return frozenset(values.items())


def is_active(space: Space, path: str, values: Values) -> bool:
    """Tell whether the conditions of a path hold, and those of the paths they name.

    Args:
        space: ranges by path.
        path: one of them.
        values: at least those that the path depends on.
    """
    return all(
        other in values and values[other] in wanted and is_active(space, other, values)
        for other, wanted in space[path].when.items()
    )


def draw(space: Space, rng: np.random.Generator) -> Values:
    """Draw a point at random, each value uniformly over its range (over its logarithm where sampling is log).

    What one path draws does not depend on which others are there: its generator comes from its name.

    Args:
        space: ranges by path.
        rng: gives one number, whatever the space.
    """
    return draw_many(space, rng, 1)[0]


def draw_many(space: Space, rng: np.random.Generator, points: int) -> list[Values]:
    """Draw points at random as ``draw`` does, but many in little time. Some may be equal."""
    seed = int(rng.integers(2**63))
    shares = {path: np.random.default_rng(derive(seed, path)).random(points).tolist() for path in space}
    paths = ordered(space)

    def point(row: int) -> Values:
        return resolve(space, paths, lambda path: _at(space[path], shares[path][row]))

    return [point(row) for row in range(points)]


def neighbour(space: Space, values: Values, rng: np.random.Generator) -> Values:
    """Move one value of a point, and each other with the chance that one of them moves on average.

    A number moves a little, anything else anywhere. What becomes active is drawn at random.
    """
    paths = [path for path in space if path in values]
    moved = {path for path in paths if rng.random() < 1 / len(paths)} | {paths[rng.integers(len(paths))]}

    def choose(path: str) -> Scalar:
        if path not in values or (path in moved and not is_ordered(space[path])):
            return _at(space[path], rng.random())
        return _moved(space[path], values[path], rng) if path in moved else values[path]

    return resolve(space, ordered(space), choose)


def _moved(span: Range, value: Scalar, rng: np.random.Generator) -> Scalar:
    """Move a number by about a tenth of its range, by one step at least; it turns back at the ends."""
    share = abs(_share(span, value) + rng.normal(0, STEP_SHARE))
    moved = _at(span, min(share, 2 - share))
    length = size(span)
    if moved != value or length is None or length < 2:
        return moved
    rank = _rank(span, value)
    is_last = rank == length - 1
    return _ranked(span, rank - 1 if is_last or (rank > 0 and rng.random() < 0.5) else rank + 1)


def is_ordered(span: Range) -> bool:
    """Tell whether its values are numbers; a bool is none."""
    return span.choice is None or not isinstance(span.choice[0], bool | str)


def size(span: Range) -> int | None:
    """Count the values of a range; None if there is one between any two."""
    if span.choice is not None:
        return len(span.choice)
    if span.integer is not None:
        low, high = span.integer
        return (high - low) // int(span.step or 1) + 1
    assert span.real is not None
    if span.step is None:
        return None
    bottom, top, step = (Decimal(str(number)) for number in (*span.real, span.step))  # as floats, 0.3 / 0.1 is below 3
    return int((top - bottom) // step) + 1


def listed(span: Range) -> tuple[Scalar, ...] | None:
    """List the values of a range in their order; None if there is one between any two."""
    length = size(span)
    return None if length is None else tuple(_each(span))


def count(space: Space, limit: int) -> int | None:
    """Count the points of a space, each with its active values only; None if there are more than ``limit``."""
    total = _count(space, ordered(space), {}, limit)
    return total if total <= limit else None


def most_trials(params: TuneParams) -> int:
    """Return how many trials a search has at most: no more than its space has points.

    Hyperband goes on with points that it has tried.
    """
    points = None if params.tuner == "hyperband" else count(params.space, params.max_trials)
    return params.max_trials if points is None else points


def enumerate_points(space: Space) -> Iterator[Values]:
    """List all points lazily: the last path changes fastest, parents stand before what depends on them.

    Args:
        space: ranges by path, all of them countable.
    """
    return _points(space, ordered(space), {}, _each)


def corners(space: Space, *, high: bool) -> Iterator[Values]:
    """List the points with every number at its highest, or its lowest: one for each combination of the other choices.

    They come lazily, and first that of the first choices.
    """
    return _points(
        space, ordered(space), {}, lambda span: [ends(span)[high]] if is_ordered(span) else span.choice or ()
    )


def encode(space: Space, values: Values) -> np.ndarray:
    """Write a point as a vector in which near points are alike.

    Args:
        space: ranges by path.
        values: the active ones.

    Returns:
        float64 (d,) in 0 to 1; d is the same for all points of a space. In the order of the space: a number by its
        place in its range (of the logarithm where sampling is log, of the rank in a choice), a choice of other things
        as one column for each; 0.5 if inactive. A path with conditions has one more column: 1 if active, else 0.
    """
    columns: list[float] = []
    for path, span in space.items():
        if is_ordered(span):
            columns.append(_share(span, values[path]) if path in values else 0.5)
        else:
            columns += [float(values[path] == choice) if path in values else 0.5 for choice in span.choice or ()]
        if span.when:
            columns.append(float(path in values))
    return np.array(columns, np.float64)


def ordered(space: Space) -> list[str]:
    """List the paths as written, but parents before what depends on them."""
    paths: dict[str, None] = {}

    def add(path: str) -> None:
        for parent in space[path].when:
            add(parent)
        paths[path] = None

    for path in space:
        add(path)
    return list(paths)


def resolve(space: Space, paths: list[str], choose: Callable[[str], Scalar]) -> Values:
    """Choose a value for every active path; the paths are `ordered`, so that parents come first."""
    values: Values = {}
    for path in paths:
        if is_active(space, path, values):
            values[path] = choose(path)
    return values


def _nth(span: Range, index: int) -> Scalar:
    if span.choice is not None:
        return span.choice[index]
    if span.integer is not None:
        return span.integer[0] + index * int(span.step or 1)
    assert span.real is not None
    low, high = span.real
    return min(max(rounded(low + index * (span.step or 0)), low), high)


def _ranked(span: Range, rank: int) -> Scalar:
    """Return the value of a rank, from 0: of numbers by their size, of other choices in their order."""
    return sorted(span.choice)[rank] if span.choice is not None and is_ordered(span) else _nth(span, rank)


def _rank(span: Range, value: Scalar) -> int:
    """Return the rank of a number among the values of a range; `_ranked` leads back to it."""
    if span.choice is not None:
        return sorted(span.choice).index(value)
    if span.integer is not None:
        return (int(value) - span.integer[0]) // int(span.step or 1)
    assert span.real is not None
    return round((float(value) - span.real[0]) / (span.step or 1))


def ends(span: Range) -> tuple[Scalar, Scalar]:
    """Return the lowest and the highest of numbers."""
    if span.choice is not None:
        return min(span.choice), max(span.choice)
    length = size(span)
    if length is not None:
        return _nth(span, 0), _nth(span, length - 1)
    assert span.real is not None
    return span.real


def _at(span: Range, share: float) -> Scalar:
    """Return the value at a share of the range, from 0, its lowest, to 1, its highest."""
    length = size(span)
    if span.choice is not None or (length is not None and span.sampling == "linear"):
        assert length is not None
        index = min(int(share * length), length - 1)
        return _ranked(span, index)
    low, high = span.integer or span.real or (0, 0)
    margin = 0.5 if span.integer else 0.0  # so that the ends are as likely as their logarithms say
    bottom, top = low - margin, high + margin
    value = bottom * (top / bottom) ** share if span.sampling == "log" else bottom + (top - bottom) * share
    return min(max(round(value) if span.integer else rounded(value), low), high)


def _share(span: Range, value: Scalar) -> float:
    """Return the share of the range at which a number stands; ``_at`` leads back to it, nearly so on a log scale."""
    if span.choice is not None:
        return sorted(span.choice).index(value) / max(len(span.choice) - 1, 1)
    (low, high), number = (float(end) for end in ends(span)), float(value)
    if low == high:
        return 0.0
    if span.sampling == "log":
        return math.log(number / low) / math.log(high / low)
    return (number - low) / (high - low)


def _count(space: Space, paths: list[str], values: Values, limit: int) -> int:
    """Count the points over some paths that go with these values of their parents; limit + 1 if there are more.

    Only values that a condition names are told apart: all others of a range lead to the same, as if it were inactive.
    """
    if not paths:
        return 1
    path, rest = paths[0], paths[1:]
    if not is_active(space, path, values):
        return _count(space, rest, values, limit)
    length = size(space[path])
    if length is None or length > limit:
        return limit + 1
    told_apart = {value for span in space.values() for value in span.when.get(path, ())}
    told_apart &= set(listed(space[path]) or ())
    others = length - len(told_apart)
    total = others * _count(space, rest, values, limit) if others else 0
    for value in told_apart:
        if total <= limit:
            total += _count(space, rest, {**values, path: value}, limit)
    return min(total, limit + 1)


def _points(
    space: Space, paths: list[str], values: Values, choose: Callable[[Range], Iterable[Scalar]]
) -> Iterator[Values]:
    """List the points over some paths that go with these values of their parents, of each range what is chosen."""
    if not paths:
        yield values
        return
    path, rest = paths[0], paths[1:]
    if not is_active(space, path, values):
        yield from _points(space, rest, values, choose)
        return
    for value in choose(space[path]):
        yield from _points(space, rest, {**values, path: value}, choose)


def _each(span: Range) -> Iterator[Scalar]:
    length = size(span)
    assert length is not None
    return (_nth(span, index) for index in range(length))
