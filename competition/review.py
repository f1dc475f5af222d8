"""What the audit of the images found, and what is done about it: which samples go, which stay in one fold."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from competition.audit import Pair, groups
from competition.console import counted
from competition.params import PrepareParams

LISTED = 1000  # of a kind in report.json; the count beside them is of all


@dataclass(frozen=True)
class Review:
    """The outcome.

    Attributes:
        report: for report.json: each kind's count, what was done, and the first of them.
        lines: the same for people.
        dropped: positions of the training samples that go.
        refused: what the user said to fail on.
        group_of: (n,) text for each sample, the same for those that must share a fold; "" for one alone.
        shown: pairs of sample positions that a picture should show, with a caption each.
    """

    report: dict[str, Any]
    lines: list[str]
    dropped: set[int]
    refused: list[str]
    group_of: list[str]
    shown: list[tuple[int, int, str]]


def review(samples: pd.DataFrame, pairs: list[Pair], constant: np.ndarray, params: PrepareParams) -> Review:
    """Decide about like and constant images.

    Args:
        samples: all readable samples, train before test, with sample_id, split, label and group.
        pairs: like images, by the position of their samples.
        constant: bool (n,), images of one colour.
        params: what to do with each kind.
    """
    ids, labels = samples["sample_id"].to_numpy(object), samples["label"].to_numpy(object)
    train = (samples["split"] == "train").to_numpy()
    among = [pair for pair in pairs if train[pair.first] and train[pair.second]]
    conflicts = [pair for pair in among if labels[pair.first] != labels[pair.second]]
    same = [pair for pair in among if labels[pair.first] == labels[pair.second]]
    leaks = [pair for pair in pairs if train[pair.first] != train[pair.second]]
    in_test = [pair for pair in pairs if not train[pair.first] and not train[pair.second]]
    plain = [int(position) for position in np.flatnonzero(constant & train)]

    def told(pair: Pair) -> str:
        how = "the same file" if pair.exact else f"{counted(pair.bits, 'bit')} apart"
        return f"{ids[pair.first]!r} and {ids[pair.second]!r} ({how})"

    conflicted = _linked(len(samples), among, conflicts)
    apart = conflicted if params.conflicts == "drop" else set()  # they go anyhow, and are counted there
    leaked = {position for position in _linked(len(samples), pairs, leaks) if train[position]}
    kinds: list[tuple[str, str, list[Any], Callable[[Any], str], set[int]]] = [
        ("duplicates", params.duplicates, same, told, {pair.second for pair in same} - apart),
        ("conflicts", params.conflicts, conflicts,
         lambda pair: f"{told(pair)}: {labels[pair.first]!r} and {labels[pair.second]!r}", conflicted),
        ("leaks", params.leaks, leaks, told, leaked),
        ("constant", params.constant, plain, lambda position: repr(ids[position]), set(plain)),
    ]  # fmt: skip
    report: dict[str, Any] = {}
    lines, refused, dropped = [], [], set()
    for name, choice, found, tell, gone in kinds:
        report[name] = {"count": len(found), "choice": choice, "dropped": len(gone) if choice == "drop" else 0,
                        "listed": [tell(each) for each in found[:LISTED]]}  # fmt: skip
        if not found:
            continue
        done = f"{counted(len(gone), 'image')} dropped" if choice == "drop" else "kept"
        lines.append(f"{counted(len(found), *_WORDS[name])}, first {tell(found[0])}: {done}")
        if choice == "fail":
            refused += [f"{counted(1, *_WORDS[name])}: {tell(each)}" for each in found]
        if choice == "drop":
            dropped |= gone
    report["duplicates"]["exact"] = sum(pair.exact for pair in same)
    report["in_test"] = {"count": len(in_test), "listed": [told(pair) for pair in in_test[:LISTED]]}
    report["constant_in_test"] = {"count": int((constant & ~train).sum())}
    shown = [(pair.first, pair.second, f"{name}, {counted(pair.bits, 'bit')}") for name, found in
             (("conflict", conflicts), ("leak", leaks), ("duplicate", same)) for pair in found]  # fmt: skip
    return Review(report, lines, dropped, refused, _groups(samples, pairs, dropped), shown)


_WORDS = {
    "duplicates": ("pair of like training images", "pairs of like training images"),
    "conflicts": (
        "pair of like training images with different labels",
        "pairs of like training images with different labels",
    ),
    "leaks": (
        "pair of a training and a test image that are alike",
        "pairs of a training and a test image that are alike",
    ),
    "constant": ("training image of one colour", "training images of one colour"),
}


def _linked(n: int, pairs: list[Pair], some: list[Pair]) -> set[int]:
    """Return all samples that are linked, over any number of like ones, to some of the pairs."""
    if not some:
        return set()
    component = groups(n, pairs)
    wanted = {component[pair.first] for pair in some}
    linked = {pair.first for pair in pairs} | {pair.second for pair in pairs}
    return {position for position in linked if component[position] in wanted}


def _groups(samples: pd.DataFrame, pairs: list[Pair], dropped: set[int]) -> list[str]:
    """Join like training samples with the competition's own groups.

    Like images are like over those between them too, also where these are test images or are dropped.
    """
    given = samples["group"].to_numpy(object)
    rows_of = _positions(given.tolist(), range(len(samples)))
    chains = [Pair(first, second, True, 0) for name, rows in rows_of.items() if name
              for first, second in pairwise(rows)]  # fmt: skip
    component = groups(len(samples), [*pairs, *chains])
    stays = (samples["split"] == "train").to_numpy(copy=True)
    stays[list(dropped)] = False
    members = _positions(component.tolist(), np.flatnonzero(stays).tolist())
    ids, group_of = samples["sample_id"].to_numpy(object), [""] * len(samples)
    for rows in members.values():
        name = next((given[row] for row in rows if given[row]), "")
        for row in rows if len(rows) > 1 or name else []:
            group_of[row] = name or f"like {ids[rows[0]]}"
    return group_of


def _positions(keys: Sequence[Any], chosen: Iterable[int]) -> dict[Any, list[int]]:
    """List the chosen positions of each key. Of 60,000 groups pandas makes as many tables, in seconds."""
    positions: dict[Any, list[int]] = defaultdict(list)
    for position in chosen:
        positions[keys[position]].append(position)
    return positions
