"""Duplicates: equal files, copies saved another way, look-alikes that are none, and the groups they make."""

import re
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from competition import audit
from competition.audit import Pair, find_duplicates, groups
from competition.images import perceptual_hashes

SIDE = 64


def photograph(rng: np.random.Generator, side: int = 96) -> np.ndarray:
    """Draw something with coarse and fine structure, as photographs have it, uint8 (side, side, 3)."""
    image = np.zeros((side, side, 3))
    for cells, strength in ((4, 60), (12, 30), (side // 2, 15)):
        cell = rng.normal(0, strength, (cells, cells, 3))
        image += cv2.resize(cell, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(image + 128, 0, 255).astype(np.uint8)


CUT = [(9, 2), (19, 2), (26, 6), (24, 13), (20, 11), (20, 26), (8, 26), (8, 11), (4, 13), (2, 6)]  # x, y: a shirt


def shirt(rng: np.random.Generator) -> np.ndarray:
    """Draw a light shirt on black, uint8 (28, 28, 1), a little unlike any other in cut, shade and folds."""
    corners = np.rint(16 * (np.array(CUT) + rng.normal(0, 0.8, (len(CUT), 2)))).astype(np.int32)
    image = np.zeros((28, 28), np.uint8)
    cv2.fillPoly(image, [corners], int(rng.integers(150, 230)), cv2.LINE_AA, 4)
    folds = cv2.resize(rng.normal(0, 12, (7, 7)).astype(np.float32), (28, 28), interpolation=cv2.INTER_CUBIC)
    return np.where(image > 0, np.clip(image + folds, 0, 255), 0).astype(np.uint8)[..., None]


def fit(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).reshape(side, side, -1)


def jpeg(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "JPEG": jpeg,
    "half": lambda image: fit(image, 48),
    "lighter": lambda image: np.clip(image.astype(int) + 10, 0, 255).astype(np.uint8),
    "cropped": lambda image: image[1:-1, 1:-1],
}


def find(images: list[np.ndarray], digests: list[int] | None = None, max_bits: int = 8) -> list[Pair]:
    stacked = np.stack(images)
    flat = stacked.reshape(len(images), -1)
    skip = flat.min(axis=1) == flat.max(axis=1)
    known = np.array(digests or range(1, len(images) + 1), np.uint64)
    return find_duplicates(known, perceptual_hashes(stacked), skip, stacked.__getitem__, max_bits)


def positions(pairs: list[Pair]) -> list[tuple[int, int]]:
    return [(pair.first, pair.second) for pair in pairs]


def test_equal_files() -> None:
    """Each repetition is paired with its first, and with nothing else."""
    rng = np.random.default_rng(0)
    one, other, third = (fit(photograph(rng)) for _ in range(3))
    pairs = find([one, other, one, third, other, one], [7, 8, 7, 9, 8, 7])
    assert pairs == [Pair(0, 2, True, 0), Pair(0, 5, True, 0), Pair(1, 4, True, 0)]


def test_many_equal_files_make_few_pairs() -> None:
    n = 20_000
    hashes, digests = np.full(n, 5, np.uint64), np.full(n, 6, np.uint64)
    pairs = find_duplicates(digests, hashes, np.zeros(n, bool), lambda position: np.zeros((8, 8, 1), np.uint8), 8)
    assert positions(pairs) == [(0, position) for position in range(1, n)]


def test_no_digest_is_no_duplicate() -> None:
    """Unreadable files have neither digest nor hash in common."""
    skip = np.ones(3, bool)
    assert find_duplicates(np.zeros(3, np.uint64), np.zeros(3, np.uint64), skip, lambda position: None, 8) == []  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("kind", COPIES)
def test_copies(kind: str) -> None:
    """Photographs that were saved again are found, all of them and nothing else."""
    rng = np.random.default_rng(1)
    originals = [photograph(rng) for _ in range(120)]
    images = [fit(image) for image in originals] + [fit(COPIES[kind](image)) for image in originals[:40]]
    pairs = find(images)
    assert positions(pairs) == [(position, 120 + position) for position in range(40)]
    assert not any(pair.exact for pair in pairs)
    hashes = perceptual_hashes(np.stack(images))
    assert all(pair.bits == int(hashes[pair.first] ^ hashes[pair.second]).bit_count() <= 8 for pair in pairs)


def test_one_copy() -> None:
    """A single pair is found too, though its hashes are not the closest and no others are there to judge it by."""
    rng = np.random.default_rng(2)
    originals = [fit(photograph(rng)) for _ in range(30)]
    hash_of = perceptual_hashes(np.stack(originals))
    hash_of[3] ^= np.uint64(0b1111111)
    images = np.stack([*originals, originals[3]])
    hashes = np.append(hash_of, perceptual_hashes(images[30:]))
    pairs = find_duplicates(np.arange(1, 32).astype(np.uint64), hashes, np.zeros(31, bool), images.__getitem__, 8)
    assert pairs == [Pair(3, 30, False, 7)]


def test_copy_of_an_equal_file() -> None:
    """A near copy is compared with the first of equal files only."""
    rng = np.random.default_rng(3)
    original = photograph(rng)
    images = [fit(original), fit(photograph(rng)), fit(original), fit(jpeg(original))]
    pairs = find(images, [1, 2, 1, 3])
    assert positions(pairs) == [(0, 2), (0, 3)]
    assert [pair.exact for pair in pairs] == [True, False]


def test_silhouettes() -> None:
    """Garments of the same cut have close hashes and are not taken for one another; a lighter copy is found."""
    rng = np.random.default_rng(4)
    images = [shirt(rng) for _ in range(3000)]
    candidates, *_ = audit._candidates(perceptual_hashes(np.stack(images)), 8)
    assert len(candidates) > 3000
    found = positions(find(images))
    assert len(found) <= 3
    copies = [np.where(image > 0, np.minimum(image.astype(int) + 10, 255), 0).astype(np.uint8) for image in images[:50]]
    found = positions(find(images + copies))
    right = {(position, 3000 + position) for position in range(50)}
    assert len(right & set(found)) >= 45
    assert len(set(found) - right) <= 3


def test_details_are_what_light_and_silhouette_leave() -> None:
    """Two of one shape with grains of their own are not alike; those of one grain are, however they are lit."""
    rng = np.random.default_rng(4)
    shape = 60 * np.exp(-(np.linspace(-2, 2, 32)[:, None] ** 2) - np.linspace(-2, 2, 32) ** 2)[..., None]
    grain, other = rng.normal(0, 10, (2, 32, 32, 1))
    images = [shape + grain + 100, shape + other + 100, grain * 0.5 + 130, np.full((32, 32, 1), 9)]
    details = np.stack([audit._detail(np.rint(image).astype(np.uint8)) for image in images])
    assert np.abs(details[:3].astype(int)).max(axis=1).tolist() == [127, 127, 127]
    assert not details[3].any()
    correlations = audit._correlation(details[[0, 0, 0, 3]], details[[0, 1, 2, 3]])
    np.testing.assert_allclose(correlations[:3], np.corrcoef(details[:3])[0], atol=0.01)
    assert correlations[0] > 0.999 > correlations[2] > 0.95 and abs(correlations[1]) < 0.2
    assert correlations[3] == 0


@pytest.mark.parametrize(
    ("bits", "scores", "chosen"),
    [
        ("4 5 4", "0.9 0.8 0.7", 3),  # from the best on: two of three hashes differ by no more than 8 / 2 bits
        ("4 5 5 4", "0.89 0.88 0.8 0.7", 1),  # the last makes up for those before it, and no more
        ("4 4 5 4", "0.89 0.7 0.69 0.68", 2),  # less is not looked at
        ("5 5 5", "0.9 0.9 0.9", 3),
        ("5 5 5", "0.9 0.9 0.89", 2),
        ("5 5 5 5", "0.9 0.9 0.9 0.9", 0),
    ],
)
def test_as_many_as_a_third_of_which_are_near(
    bits: str, scores: str, chosen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_correlation", lambda left, right: np.array([*map(float, scores.split())]))
    pairs = np.array([[2 * number, 2 * number + 1, int(bit)] for number, bit in enumerate(bits.split())], np.int32)
    found = audit._alike(pairs, lambda position: np.zeros((8, 8, 1), np.uint8), 8)
    assert found.tolist() == list(range(chosen))


def test_plain_images() -> None:
    """Images of one colour are alike only if their files are; nearly plain ones are not compared by their dust."""
    plain = [np.full((SIDE, SIDE, 3), shade, np.uint8) for shade in (0, 0, 90, 90)]
    dusty = [plain[2].copy() for _ in range(2)]
    for image in dusty:
        image[3, 4] = 110
    noisy = fit(photograph(np.random.default_rng(5)))
    assert find([*plain, *dusty, noisy]) == []
    assert positions(find([*plain, *dusty, noisy], [1, 1, 2, 3, 4, 5, 6])) == [(0, 1)]
    hashes, digests = np.zeros(4, np.uint64), np.arange(1, 5).astype(np.uint64)
    same = [noisy] * 4
    skip = np.array([True, False, True, False])
    assert positions(find_duplicates(digests, hashes, skip, same.__getitem__, 8)) == [(1, 3)]


def test_nothing() -> None:
    none = np.zeros(0, np.uint64)
    assert find_duplicates(none, none, np.zeros(0, bool), lambda position: np.zeros((8, 8, 1), np.uint8), 8) == []
    assert find([fit(photograph(np.random.default_rng(0)))]) == []
    assert groups(0, []).shape == (0,)


def test_deterministic() -> None:
    """Twice the same; and the order of the images changes nothing but their positions."""
    rng = np.random.default_rng(6)
    originals = [photograph(rng) for _ in range(60)]
    images = [fit(image) for image in originals] + [fit(jpeg(image)) for image in originals[:20]]
    pairs = find(images)
    assert pairs == find(images) == sorted(pairs, key=lambda pair: (pair.first, pair.second))
    order = rng.permutation(len(images))
    mixed = [sorted((order[pair.first], order[pair.second])) for pair in find([images[place] for place in order])]
    assert sorted(map(tuple, mixed)) == positions(pairs)


# Candidates -------------------------------------------------------------------------------------------------------


def close_hashes(n: int) -> np.ndarray:
    """Draw hashes of which many are near each other."""
    rng = np.random.default_rng(7)
    hashes = rng.integers(0, 2**63, n).astype(np.uint64)
    for position in range(n // 2, n):
        flips = rng.choice(64, rng.integers(0, 12), replace=False)
        hashes[position] = hashes[position - n // 2] ^ np.uint64(sum(1 << int(flip) for flip in flips))
    return hashes


def brute(hashes: np.ndarray, max_bits: int) -> set[tuple[int, int, int]]:
    bits = np.bitwise_count(hashes[:, None] ^ hashes)
    first, second = np.nonzero(np.triu(bits <= max_bits, 1))
    return {(int(i), int(j), int(bits[i, j])) for i, j in zip(first, second, strict=True)}


@pytest.mark.parametrize("max_bits", [0, 1, 3, 8, 10, 20])
def test_bands_find_all(max_bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What brute force finds is found, each pair once, in blocks of any size."""
    hashes = close_hashes(1500)
    expected = brute(hashes, max_bits)
    assert len(expected) > 50
    for block in (audit.BLOCK, 1000):
        monkeypatch.setattr(audit, "BLOCK", block)
        candidates, held, left_out = audit._candidates(hashes, max_bits)
        assert (held, left_out) == (max_bits, 0)
        assert len(candidates) == len(expected)
        assert {tuple(pair) for pair in candidates.tolist()} == expected


@pytest.mark.parametrize("most", [2000, 300, 80, 10])
def test_too_many_candidates(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are too many, the closest are kept; where even the equal are, none."""
    monkeypatch.setattr(audit, "CANDIDATES", most)
    hashes = close_hashes(1500)
    candidates, held, _ = audit._candidates(hashes, 10)
    assert held < 10 or most == 2000
    assert {tuple(pair) for pair in candidates.tolist()} == brute(hashes, held)
    assert len(brute(hashes, held + 1)) > most or held == 10


def test_giant_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """A band that too many share is passed over; pairs are found by the others."""
    monkeypatch.setattr(audit, "BUCKET_IMAGES", 100)
    hashes = close_hashes(1500) & ~np.uint64(0xFF)
    candidates, _, left_out = audit._candidates(hashes, 7)  # eight bands of eight bits, the first the same in all
    equal = {pair for pair in brute(hashes, 7) if pair[2] <= 6}
    assert len(equal) > 50
    assert equal <= {tuple(pair) for pair in candidates.tolist()}
    assert left_out == 1 / 8


@pytest.mark.parametrize(
    ("limit", "at", "told"),
    [
        ("BUCKET_IMAGES", 20, r"like images: \d+\.\d% of the comparisons were left out, .* more than 20 images"),
        ("CANDIDATES", 70, r"more than 70 pairs have hashes within \d+ bits; only those within \d were looked at"),
        ("CANDIDATES", 5, "more than 5 pairs have hashes within 0 bits; only equal files were looked for"),
    ],
)
def test_limits_are_told(limit: str, at: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(position: int) -> np.ndarray:
        return np.zeros((8, 8, 1), np.uint8)

    hashes, lines = close_hashes(300) % np.uint64(2**20), list[str]()
    hashes[:8] = 7
    arguments = (np.arange(1, 301).astype(np.uint64), hashes, np.zeros(300, bool), plain)
    find_duplicates(*arguments, 8, lines.append)
    assert lines == []
    monkeypatch.setattr(audit, limit, at)
    find_duplicates(*arguments, 8, lines.append)
    assert len(lines) == 1
    assert re.search(told, lines[0])


# Groups -----------------------------------------------------------------------------------------------------------


def test_groups() -> None:
    """Pairs chain into groups, which bear the smallest position, in whatever order they come."""
    pairs = [Pair(5, 6, False, 1), Pair(2, 3, True, 0), Pair(3, 6, False, 2), Pair(0, 9, False, 0)]
    expected = [0, 1, 2, 2, 4, 2, 2, 7, 8, 0]
    for order in (pairs, pairs[::-1]):
        found = groups(10, order)
        assert found.dtype == np.int64
        assert found.tolist() == expected


def test_long_chain() -> None:
    """A chain of 100,000 neither overflows nor takes long."""
    n = 100_000
    assert not groups(n, [Pair(n - place - 2, n - place - 1, False, 1) for place in range(n - 1)]).any()
