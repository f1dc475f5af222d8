"""Compare write_views with the least that any program must do: albumentations in a loop, on every core.

python benchmarks/augment.py

The bare loop calls the same ops on some of the same images and keeps nothing; it runs in one process, and its rate is
taken times the cores. The time of write_views is from before its processes start to after they end.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from competition.parallel import cores
from competition.policies import write_views

HERE = Path(__file__).parent
REPEATS = 3
BARE_IMAGES = 20_000
POLICIES = {
    "shift": [{"op": "Affine", "p": 1.0, "translate_px": [-2, 2], "border_mode": 4}],
    "rotate, scale, shift, shear": [
        {
            "op": "Affine", "p": 1.0, "rotate": [-12, 12], "scale": [0.85, 1.15], "translate_percent": [-0.1, 0.1],
            "shear": [-8, 8],
        },
    ],
    "flip, rotate, colours, dropout": [
        {"op": "HorizontalFlip", "p": 0.5},
        {"op": "Rotate", "p": 1.0, "limit": [-10, 10]},
        {"op": "ColorJitter", "p": 0.8},
        {"op": "CoarseDropout", "p": 0.5},
    ],
}  # fmt: skip


def bare(images: np.ndarray, ops: list[dict[str, object]]) -> float:
    """Return the images per second of one process."""
    import albumentations
    import cv2

    cv2.setNumThreads(0)
    made = [getattr(albumentations, op["op"])(**{key: op[key] for key in op if key != "op"}) for op in ops]
    compose = albumentations.Compose(made)
    compose(image=images[0])
    start = time.perf_counter()
    for image in images:
        compose(image=image)
    return len(images) / (time.perf_counter() - start)


def measure(name: str, ops: list[dict[str, object]], side: int, count: int, folder: Path) -> dict[str, object]:
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    ids, ratios = [str(number) for number in range(count)], []
    for _ in range(REPEATS):
        least = bare(images[:BARE_IMAGES], ops) * cores()
        start = time.perf_counter()
        write_views(folder / "images.npy", ids, ops, {0: folder / "view.npy"}, seed=1, purpose="augment")
        ratios.append(count / (time.perf_counter() - start) / least)
    return {
        "policy": name,
        "side_px": side,
        "count": count,
        "throughput_ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def main() -> None:
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for (name, ops), (side, count) in zip(
            POLICIES.items(), ((32, 400_000), (32, 400_000), (224, 20_000)), strict=True
        ):
            results.append(measure(name, ops, side, count, Path(folder)))
            print(json.dumps(results[-1]), flush=True)
    (HERE / "augment.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
