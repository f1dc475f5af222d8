"""Compare write_views with the least that any program must do: albumentations in a loop, on every core.

python benchmarks/augment.py

The bare loop calls the same ops on some of the same images and keeps nothing. It runs in one process, and its rate is
taken times the cores; and in a process for each core at once, which tells what the cores lose to each other. The time
of write_views is from before its processes start to after they end; what it renders is as many views as the preset
cifar10 asks for, of as many images.
"""

import json
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from competition.parallel import cores
from competition.policies import write_views

HERE = Path(__file__).parent
REPEATS = 3
BARE_PIXELS = 1_500 * 224**2  # of a bare loop
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


def draw(side: int, count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def bare(ops: list[dict[str, object]], side: int) -> float:
    """Return the images per second of one process."""
    import albumentations
    import cv2

    cv2.setNumThreads(0)
    made = [getattr(albumentations, op["op"])(**{key: op[key] for key in op if key != "op"}) for op in ops]
    compose = albumentations.Compose(made)
    images = draw(side, BARE_PIXELS // side**2)
    compose(image=images[0])
    start = time.perf_counter()
    for image in images:
        compose(image=image)
    return len(images) / (time.perf_counter() - start)


def measure(
    name: str, ops: list[dict[str, object]], side: int, count: int, views: int, folder: Path
) -> dict[str, object]:
    np.save(folder / "images.npy", draw(side, count))
    ids, ratios, together = [str(number) for number in range(count)], [], []
    outs = {number: folder / f"view-{number}.npy" for number in range(views)}
    for _ in range(REPEATS):
        with multiprocessing.get_context("spawn").Pool(cores()) as pool:
            alone = pool.apply(bare, (ops, side)) * cores()
            at_once = sum(pool.starmap(bare, [(ops, side)] * cores(), chunksize=1))
        start = time.perf_counter()
        write_views(folder / "images.npy", ids, ops, outs, seed=1, purpose="augment")
        rate = views * count / (time.perf_counter() - start)
        ratios.append(rate / alone)
        together.append(rate / at_once)
    return {
        "policy": name,
        "side_px": side,
        "count": count,
        "views": views,
        "throughput_ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio_to_loops_at_once": round(statistics.median(together), 3),
    }


def main() -> None:
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for (name, ops), sizes in zip(
            POLICIES.items(), ((32, 50_000, 13), (32, 50_000, 13), (224, 4_000, 8)), strict=True
        ):
            results.append(measure(name, ops, *sizes, Path(folder)))
            print(json.dumps(results[-1]), flush=True)
    (HERE / "augment.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
