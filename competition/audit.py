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
ALIKE = 0.7  # correlation of details, at least; see `find_duplicates`
SURE, FEW = 0.9, 3  # so few pairs that correlate so well are taken without a look at the others


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
    tell: Callable[[str], None] = lambda line: None,
) -> list[Pair]:
    """Find the images that stand in a competition twice, so that splits and folds can keep them together.

    Equal files are told by their digests: m of them give m - 1 pairs, each with the first. Other duplicates are those
    whose hashes are close and whose fine details are the same, which two silhouettes that merely look alike do not
    have. How much the same is decided for all pairs at once: from the best match downwards, while at least a third of
    the pairs have hashes within ``max_bits / 2``. Look-alikes grow many times more numerous with the distance of the
    hashes and duplicates do not, so this keeps photographs from 0.7 correlation on, and shirts and trousers at 28 px
    only from 0.98 on. Three pairs or fewer prove nothing; they need 0.9.

    With ``max_bits`` 8, on real images (train and test together, judged by eye): 70,000 of fashion-mnist have 98 pairs,
    nine of ten right, the largest group 4; 60,000 of CIFAR-10 have 450, of which the 120 least alike are all right, the
    largest group 17; 1,500 scenes have 5 and 364 dancers 52, all right. Of copies that were added to them it finds, of
    photographs, all that were saved as JPEG of quality 60, halved, 10 levels lighter or cropped by 2 %, and 7 to 10 of
    10 with a small logo; of CIFAR-10 19 of 20 or more of the first three and of those with a logo, and half of those
    cropped by a pixel on each side; of fashion-mnist all that are lighter, 7 of 10 JPEGs, 1 of 10 with a logo, and none
    halved or cropped. What was turned, mirrored or cropped by more is mostly not found.

    Time grows with the square of the number of images, over 2 ** (64 / (max_bits + 1)): 70,000 take seconds, 1,000,000
    one to two minutes and 0.2 GB. Where more than BUCKET_IMAGES share a band of the hash, they are not compared by it;
    where more than CANDIDATES pairs have close hashes, only the closer ones are looked at.

    Args:
        digests: uint64 (n,), of the files' bytes; 0 for none.
        hashes: uint64 (n,), from `perceptual_hashes`.
        skip: bool (n,), compared by digest only: images that are unreadable, or of one colour.
        pixels: gives the image at a position, uint8 (h, w, c) of one size; called once for each that has a close hash.
        max_bits: how many of the 64 bits may differ, 0 to 63; 8 unless there is reason.
        tell: gets a line for each limit that was met, so that pairs may be missing.

    Returns:
        The pairs, sorted; of more than two near duplicates, every pair that is close enough.

    Source:
        Norouzi, Punjani, Fleet, Fast Search in Hamming Space with Multi-Index Hashing (2012), for the bands.
    """
    pairs = [
        Pair(first, second, True, int(np.bitwise_count(hashes[first] ^ hashes[second])))
        for first, second in _repeated(digests)
    ]
    compared = ~skip
    compared[[pair.second for pair in pairs]] = False  # their first is compared for them
    members = np.flatnonzero(compared)
    candidates, held, left_out = _candidates(hashes[members], max_bits)
    if left_out:
        tell(
            f"like images: {max(left_out, 0.001):.1%} of the comparisons were left out, those among more than "
            f"{BUCKET_IMAGES:,} images that share a part of their hash; a lower prepare.alike_bits leaves out fewer"
        )
    if held < max_bits:
        instead = f"only those within {held} were looked at" if held >= 0 else "only equal files were looked for"
        tell(f"like images: more than {CANDIDATES:,} pairs have hashes within {held + 1} bits; {instead}")
    candidates[:, :2] = members[candidates[:, :2]]
    candidates = candidates[_alike(candidates, pixels, held)]
    pairs += [Pair(first, second, False, bits) for first, second, bits in candidates.tolist()]
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))


def groups(n: int, pairs: Iterable[Pair]) -> np.ndarray:
    """Join pairs into groups.

    Returns:
        int64 (n,): the smallest position of each one's group; its own where it is in no pair.
    """
    parents = list(range(n))

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


def _candidates(hashes: np.ndarray, max_bits: int) -> tuple[np.ndarray, int, float]:
    """Find the pairs whose hashes differ by ``max_bits`` or fewer.

    Such two are equal in at least one of ``max_bits + 1`` bands of bits, so only what shares a band is compared.

    Args:
        hashes: uint64 (n,).
        max_bits: 0 to 63.

    Returns:
        int32 (pairs, 3): first < second, and by how many bits they differ.
        The ``max_bits`` that was held to: lower where there are more than CANDIDATES, and -1 if even equal hashes are
        that many, for then the hash tells nothing.
        The share of images and bands, 0 to 1, that were passed over as more than BUCKET_IMAGES are equal there.
    """
    edges = np.linspace(0, 64, max_bits + 2).astype(int).tolist()
    found, count, passed = [np.zeros((0, 3), np.int32)], 0, 0
    done: list[tuple[np.uint64, np.ndarray]] = []  # bands, and which images were compared by them
    for start, end in pairwise(edges):
        band = np.uint64((1 << end) - (1 << start))
        compared = np.zeros(len(hashes), bool)
        for rows, columns in _blocks(hashes & band):
            if not len(columns):
                passed += len(rows)
                continue
            compared[rows] = True
            bits = np.bitwise_count(hashes[rows, None] ^ hashes[columns])
            row, column = np.nonzero(bits <= max_bits)
            ahead = column > row
            first, second, bits = rows[row[ahead]], columns[column[ahead]], bits[row[ahead], column[ahead]]
            difference = hashes[first] ^ hashes[second]
            known = np.zeros(len(first), bool)
            for earlier, by_it in done:
                known |= (difference & earlier == 0) & by_it[first]
            found.append(np.stack([first, second, bits], axis=1, dtype=np.int32)[~known])
            count += len(found[-1])
            while count > CANDIDATES:
                max_bits -= 1
                found = [pairs[pairs[:, 2] <= max_bits] for pairs in found]
                count = sum(map(len, found))
        done.append((band, compared))
    return np.concatenate(found), max_bits, passed / max(len(hashes) * len(done), 1)


def _blocks(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield positions of equal keys, rows to compare with columns; the columns begin with the rows.

    More than BUCKET_IMAGES of one key come at once, and with no columns.
    """
    order = np.argsort(keys, kind="stable").astype(np.int32)
    ends = np.flatnonzero(np.diff(keys[order])) + 1
    for start, end in pairwise([0, *ends.tolist(), len(order)]):
        if end - start > BUCKET_IMAGES:
            yield order[start:end], order[:0]
        elif end - start >= 2:
            height = max(1, BLOCK // (end - start))
            for top in range(start, end, height):
                yield order[top : min(top + height, end)], order[top:end]


def _alike(candidates: np.ndarray, pixels: Callable[[int], np.ndarray], max_bits: int) -> np.ndarray:
    """Choose the candidates that show the same.

    Args:
        candidates: int32 (pairs, 3), positions and distance.
        pixels: as in `find_duplicates`.
        max_bits: the largest distance that was looked for.

    Returns:
        int64 (chosen,), their indices.
    """
    if not len(candidates):
        return np.zeros(0, np.int64)
    positions = np.unique(candidates[:, :2])
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
    # Beyond the place where this is largest, fewer than a third are near.
    balance = np.cumsum([0, *np.where(candidates[order, 2] <= max_bits // 2, 2, -1)])
    sure = np.count_nonzero(scores >= SURE)
    return order[: max(balance.argmax(), sure if sure <= FEW else 0)]


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
