"""Measure the peak memory of write_images for 1, 10 and 100 times as many images: it must not grow with them.

python benchmarks/memory.py

The images are textures of 160 x 120 px, in a folder and in a zip, of which each process holds the table of contents.
Counted is the resident memory of a process that calls
write_images and of all below it, above what the process has before; shared pages count once for each that maps them.
"""

import json
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

import psutil
from decode import write_zip

from competition.images import ImageSpec, write_images
from competition.raw.sources import open_source

HERE = Path(__file__).parent
SIZES = (600, 6_000, 60_000)
SIDE = 64


class Peak(threading.Thread):
    """Sample the memory of this process and all below it, every few milliseconds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_bytes, self.ended, self.process = 0, threading.Event(), psutil.Process()

    def run(self) -> None:
        while not self.ended.wait(0.01):
            total = 0
            for each in [self.process, *self.process.children(recursive=True)]:
                try:
                    total += each.memory_info().rss
                except psutil.Error:  # it has ended
                    continue
            self.peak_bytes = max(self.peak_bytes, total)


def measure(path: Path) -> None:
    """Print what one call takes; in a process of its own, for freed memory is not always given back."""
    source = open_source(path)
    before = psutil.Process().memory_info().rss
    peak = Peak()
    peak.start()
    decoded = write_images(source.files, source.read, path.with_suffix(".npy"), ImageSpec(SIDE, SIDE, 3, "squash"), "")
    peak.ended.set()
    peak.join()
    assert not decoded.unreadable
    result = {
        "images": len(source.files),
        "array_bytes": path.with_suffix(".npy").stat().st_size,
        "peak_bytes": peak.peak_bytes,
        "above_start_bytes": peak.peak_bytes - before,
    }
    print(json.dumps(result))


def main() -> None:
    results: list[dict[str, object]] = []
    print(f"{'':6} {'images':>7} {'array MB':>9} {'peak MB':>8} {'above start':>12} {'to the first':>13}")
    for layout in ("folder", "zip"):
        first = 0
        for size in SIZES:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "images.zip")
                write_zip(path, size, [(".jpg", 120, 160)], 100)
                if layout == "folder":
                    zipfile.ZipFile(path).extractall(path.with_suffix(""))
                    path = path.with_suffix("")
                done = subprocess.run([sys.executable, __file__, str(path)], check=True, capture_output=True, text=True)
            found = json.loads(done.stdout)
            first = first or found["peak_bytes"]
            results.append({"layout": layout, **found, "ratio": round(found["peak_bytes"] / first, 3)})
            megabytes = [found[key] / 1e6 for key in ("array_bytes", "peak_bytes", "above_start_bytes")]
            row = "{:6} {:7,} {:9.1f} {:8.1f} {:12.1f} {:13.3f}"
            print(row.format(layout, size, *megabytes, found["peak_bytes"] / first), flush=True)
    (HERE / "memory.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]))
    else:
        main()
