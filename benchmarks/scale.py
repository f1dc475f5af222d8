"""Match a competition's ids to its images at growing sizes, without any image: what the tables alone cost.

python benchmarks/scale.py
"""

import json
import multiprocessing
import resource
import time
from pathlib import Path

from competition.params import DataParams
from competition.raw.competition import read_competition
from competition.raw.sources import Source

HERE = Path(__file__).parent
SIZES = (10_000, 100_000, 1_000_000)
CLASSES = 1000


def table_of(ids: list[str]) -> bytes:
    return "\n".join(
        ["id,label", *(f"{sample_id},c{number % CLASSES}" for number, sample_id in enumerate(ids))]
    ).encode()


def competition(size: int, layout: str) -> Source:
    """Make up a source of ``size`` training images and a tenth as many test images."""
    train, test = [f"{number:07d}" for number in range(size)], [f"{number:07d}" for number in range(size // 10)]
    tables = {"sample_submission.csv": table_of(test)}
    if layout == "CSV":
        tables["train.csv"] = table_of(train)
        files, folders = [f"train/{sample_id}.jpg" for sample_id in train], ["train", "test"]
    else:
        files = [f"train/c{number % CLASSES}/{sample_id}.jpg" for number, sample_id in enumerate(train)]
        folders = ["train", "test", *(f"train/c{label}" for label in range(CLASSES))]
    files += [f"test/{sample_id}.jpg" for sample_id in test]
    return Source(Path("made-up"), (*files, *tables), tuple(folders), tables.__getitem__)


def measure(size: int, layout: str) -> dict[str, object]:
    source = competition(size, layout)
    auto = dict.fromkeys(DataParams.model_fields, "auto")
    params = DataParams(**{**auto, "root": "made-up", "metric": "accuracy", "merge_classes": {}})
    start = time.monotonic()
    read = read_competition(source, params)
    seconds = time.monotonic() - start
    assert (len(read.train), len(read.test), read.problems) == (size, size // 10, [])
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"layout": layout, "size": size, "seconds": round(seconds, 2), "peak_bytes": peak_bytes}


def main() -> None:
    results = []
    for layout in ("CSV", "class folders"):
        for size in SIZES:
            with multiprocessing.get_context("spawn").Pool(
                1
            ) as pool:  # a process each: the peak of a process only grows
                results.append(pool.apply(measure, (size, layout)))
            print(results[-1], flush=True)
    (HERE / "scale.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
