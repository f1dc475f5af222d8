"""Find images that a competition holds twice: the same file, or the same picture saved another way."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

BUCKET_IMAGES = 32_768  # to compare more with each other takes seconds, and a value that so many share tells little
BLOCK = 2**18  # comparisons at once: their 2 MB stay in the cache
CANDIDATES = 4_000_000  # at most: 48 MB, and some seconds to look at

DETAIL_PX = 32  # longest side of what is compared
BLUR_PX = 1.5  # what is coarser is silhouette and light, which look-alikes share
FLAT = 1.0  # grey levels: with less detail than that, noise would be compared
ALIKE = 0.7  # correlation of details; see `find_duplicates`


@dataclass(frozen=True)
class Pair:
    """Two images that are one.

    Attributes:
        first, second: positions, first < second.
        exact: their files are equal, byte for byte.
        bits: by how many bits their perceptual hashes differ, 0 to 64.
    """

    first: int
    second: int
    exact: bool
    bits: int


def find_duplicates(
    digests: np.ndarray,
    hashes: np.ndarray,
    skip: np.ndarray,
    pixels: Callable[[int], np.ndarray],
    max_bits: int,
) -> list[Pair]:
    pairs = [
        Pair(first, second, True, int(np.bitwise_count(hashes[first] ^ hashes[second])))
        for first, second in _repeated(digests)
    ]
    compared = ~skip
    compared[[pair.second for pair in pairs]] = False  # their first is compared for them
    members = np.flatnonzero(compared)
    candidates = _candidates(hashes[members], max_bits)
    candidates[:, :2] = members[candidates[:, :2]]
    candidates = candidates[_alike(candidates, pixels, max_bits)]
    pairs += [Pair(first, second, False, bits) for first, second, bits in candidates.tolist()]
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))


def groups(n: int, pairs: Iterable[Pair]) -> np.ndarray:
    """Join pairs into groups.

    Returns:
        int64 (n,): the smallest position of each one's group; its own where it is in no pair.
    """
    parents = np.arange(n)

    def root(position: int) -> int:
        while parents[position] != position:
            parents[position] = position = parents[parents[position]]
        return position

    for pair in pairs:
        low, high = sorted((root(pair.first), root(pair.second)))
        parents[high] = low
    return np.array([root(position) for position in range(n)], np.int64)


def _repeated(digests: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield each repetition of a digest with the place where it stands first; 0 is none."""
    seen: dict[int, int] = {}
    for position, digest in enumerate(digests.tolist()):
        if digest and seen.setdefault(digest, position) != position:
            yield seen[digest], position


def _candidates(hashes: np.ndarray, max_bits: int) -> np.ndarray:
    """Find the pairs whose hashes differ by ``max_bits`` or fewer.

    Such two are equal in at least one of ``max_bits + 1`` bands of bits, so only what shares a band is compared.

    Args:
        hashes: uint64 (n,).
        max_bits: 0 to 63.

    Returns:
        int32 (pairs, 3): first < second, and by how many bits they differ. Where there are more than CANDIDATES, the
        largest distances are left out, one after the other; at the end each hash is paired with its next equal.
    """
    edges = np.linspace(0, 64, max_bits + 2).astype(int).tolist()
    bands = [np.uint64((1 << end) - (1 << start)) for start, end in pairwise(edges)]
    found, count = [np.zeros((0, 3), np.int32)], 0
    for number, band in enumerate(bands):
        for rows, columns in _blocks(hashes & band):
            bits = np.bitwise_count(hashes[rows, None] ^ hashes[columns])
            row, column = np.nonzero(bits <= max_bits)
            ahead = column > row
            first, second, bits = rows[row[ahead]], columns[column[ahead]], bits[row[ahead], column[ahead]]
            difference = hashes[first] ^ hashes[second]
            met = np.zeros(len(first), bool)
            for earlier in bands[:number]:
                met |= difference & earlier == 0
            found.append(np.stack([first, second, bits], axis=1, dtype=np.int32)[~met])
            count += len(found[-1])
            while count > CANDIDATES:
                if max_bits == 0:
                    return _neighbours(hashes)
                max_bits -= 1
                found = [pairs[pairs[:, 2] <= max_bits] for pairs in found]
                count = sum(map(len, found))
    return np.concatenate(found)


def _blocks(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield positions of equal keys, rows to compare with columns; the columns begin with the rows."""
    order = np.argsort(keys, kind="stable").astype(np.int32)
    ends = np.flatnonzero(np.diff(keys[order])) + 1
    for start, end in zip([0, *ends.tolist()], [*ends.tolist(), len(order)], strict=True):
        if 2 <= end - start <= BUCKET_IMAGES:
            height = max(1, BLOCK // (end - start))
            for top in range(start, end, height):
                yield order[top : min(top + height, end)], order[top:end]


def _neighbours(hashes: np.ndarray) -> np.ndarray:
    order = np.argsort(hashes, kind="stable")
    equal = hashes[order[:-1]] == hashes[order[1:]]
    return np.stack([order[:-1][equal], order[1:][equal], np.zeros(equal.sum(), int)], axis=1, dtype=np.int32)


def _alike(candidates: np.ndarray, pixels: Callable[[int], np.ndarray], max_bits: int) -> np.ndarray:
    """Choose the candidates, int32 (pairs, 3), that show the same; returns their indices."""
    positions = np.unique(candidates[:, :2])
    if not len(positions):
        return positions
    details = np.stack([_detail(pixels(position)) for position in positions.tolist()])
    places = np.searchsorted(positions, candidates[:, :2])
    scores = np.concatenate(
        [
            _correlation(details[block[:, 0]], details[block[:, 1]])
            for block in np.array_split(places, len(places) // 4096 + 1)
        ]
    )
    order = np.argsort(-scores, kind="stable")
    order = order[: np.count_nonzero(scores >= ALIKE)]
    near = candidates[order, 2] <= max_bits // 2
    balance = np.cumsum(np.where(near, 2, -1))
    return order[: balance.argmax() + 1] if len(order) and balance.max() > 0 else order[:0]


def _detail(image: np.ndarray) -> np.ndarray:
    """Return the fine structure of an image, int8 (t,), stretched to ±127; all 0 where there is too little of it."""
    gray = image if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height, width = (min(side, DETAIL_PX) for side in image.shape[:2])
    gray = cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = gray - cv2.GaussianBlur(gray, (0, 0), BLUR_PX)
    detail -= detail.mean()
    if detail.std() < FLAT:
        return np.zeros(detail.size, np.int8)
    return np.rint(detail * (127 / np.abs(detail).max())).astype(np.int8).reshape(-1)


def _correlation(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Correlate details, int8 (pairs, t), row by row: float32 (pairs,), -1 to 1."""
    left, right = left.astype(np.float32), right.astype(np.float32)
    products = np.einsum("ij,ij->i", left, right)
    return products / np.sqrt(np.einsum("ij,ij->i", left, left) * np.einsum("ij,ij->i", right, right) + 1)
