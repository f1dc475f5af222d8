"""Compare write_images with the least that any program must do: OpenCV's imdecode and resize in a loop.

python benchmarks/decode.py

Both read the same zip with two processes, and the time is from before they start to after they end. The bare loop keeps
nothing; write_images also checks, measures and hashes each image and writes the array.
"""

import json
import multiprocessing
import resource
import statistics
import tempfile
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np

from competition.images import ImageSpec, Read, write_images
from competition.raw.sources import Source, open_source

HERE = Path(__file__).parent
REPEATS = 5


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw noise of three scales, uint8 (height, width, 3), whose files are about as long as those of photographs."""
    layers = [rng.normal(0, strength, (height // scale + 1, width // scale + 1, 3)) for strength, scale in LAYERS]
    total = sum(cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC) for layer in layers)
    return np.clip(128 + np.asarray(total), 0, 255).astype(np.uint8)


LAYERS = ((6, 1), (20, 4), (40, 16))


def write_zip(path: Path, count: int, kinds: list[tuple[str, int, int]], distinct: int) -> None:
    """Write ``count`` images, the kinds (extension, height, width) in turn; only ``distinct`` of them differ."""
    rng = np.random.default_rng(0)
    files = []
    for number in range(distinct):
        extension, height, width = kinds[number % len(kinds)]
        files.append((extension, cv2.imencode(extension, texture(rng, height, width))[1].tobytes()))
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            extension, data = files[number % distinct]
            archive.writestr(f"train/{number:06d}{extension}", data)


def bare(files: list[str], read: Read, side: int) -> None:
    """Decode and resize every image."""
    cv2.setNumThreads(0)
    for file in files:
        image = cv2.imdecode(np.frombuffer(read(file), np.uint8), cv2.IMREAD_COLOR_RGB)
        shrinks = image.shape[0] * image.shape[1] > side * side
        cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def run_bare(source: Source, side: int, out: Path) -> None:
    context = multiprocessing.get_context("spawn")
    half = len(source.files) // 2
    parts = [list(source.files[:half]), list(source.files[half:])]
    processes = [context.Process(target=bare, args=(part, source.read, side)) for part in parts]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def run_write_images(source: Source, side: int, out: Path) -> None:
    decoded = write_images(source.files, source.read, out, ImageSpec(side, side, 3, "squash"), "decode")
    assert not decoded.unreadable


def used() -> tuple[float, float]:
    """Return the clock, and the processor seconds of this process and of those it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(name: str, path: Path, side: int) -> dict[str, object]:
    source = open_source(path)
    took: dict[str, list[tuple[float, float]]] = {"bare": [], "write_images": []}
    for repeat in range(REPEATS):
        ways = [("bare", run_bare), ("write_images", run_write_images)]
        for way, run in ways if repeat % 2 else ways[::-1]:
            before = used()
            run(source, side, path.with_suffix(".npy"))
            took[way].append((used()[0] - before[0], used()[1] - before[1]))
    ratios = {
        kind: [least[place] / taken[place] for least, taken in zip(*took.values(), strict=True)]
        for place, kind in enumerate(("wall", "processor"))
    }
    return {
        "images": name,
        "count": len(source.files),
        "side_px": side,
        "throughput_ratio": round(statistics.median(ratios["wall"]), 3),
        "of_processor_time": round(statistics.median(ratios["processor"]), 3),
        "ratios": [round(ratio, 3) for ratio in ratios["wall"]],
        "seconds": {way: round(statistics.median(wall for wall, _ in times), 2) for way, times in took.items()},
    }


def main() -> None:
    results = []
    with tempfile.TemporaryDirectory() as folder:
        small, photographs = Path(folder, "small.zip"), Path(folder, "photographs.zip")
        write_zip(small, 60_000, [(".jpg", 32, 32), (".png", 28, 28)], 2_000)
        write_zip(photographs, 5_000, [(".jpg", 480, 640)], 100)
        for name, path, side in (
            ("32 px JPEG and 28 px PNG", small, 32),
            ("640 x 480 px JPEG", photographs, 224),
        ):
            results.append(measure(name, path, side))
            print(json.dumps(results[-1]), flush=True)
    (HERE / "decode.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
