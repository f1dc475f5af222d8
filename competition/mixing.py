"""Images that are two at once, with labels in the same shares."""

import numpy as np


def mixup(
    images: np.ndarray, targets: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Blend every image of a batch with another of it.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2018); one share for the whole batch, as there.

    Args:
        images: uint8 (b, h, w, c).
        targets: float32 (b, outputs).
        alpha: of the symmetric beta distribution of the share; small values leave most images almost alone.
        rng: draws the share and the partners.

    Returns:
        Images and targets like those given.
    """
    share, other = np.float32(rng.beta(alpha, alpha)), rng.permutation(len(images))
    blended = images * share + images[other] * (1 - share)
    return np.rint(blended).astype(np.uint8), targets * share + targets[other] * (1 - share)


def cutmix(
    images: np.ndarray, targets: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Paste a box of another image of the batch into every image; the labels are mixed by its area.

    Source: Yun et al., "CutMix" (2019); one box for the whole batch, as there. Arguments and results as of `mixup`.
    """
    share, other = rng.beta(alpha, alpha), rng.permutation(len(images))
    height, width = images.shape[1:3]
    side = np.sqrt(1 - share)
    y, x = rng.integers(height), rng.integers(width)
    top, bottom = (int(np.clip(y + sign * height * side / 2, 0, height)) for sign in (-1, 1))
    left, right = (int(np.clip(x + sign * width * side / 2, 0, width)) for sign in (-1, 1))
    pasted = images.copy()
    pasted[:, top:bottom, left:right] = images[other, top:bottom, left:right]
    kept = np.float32(1 - (bottom - top) * (right - left) / (height * width))
    return pasted, targets * kept + targets[other] * (1 - kept)
