"""Run the whole pipeline on one competition in a clone of its own, score it, and write down what it took.

    python benchmarks/run.py fashion-mnist --datasets DIR

DIR holds ``NAME.zip`` and ``NAME-solution.csv``; ``benchmarks/NAME.yaml``, or without one the project's own
``params.yaml``, is used. The answers
are read once, by ``compete score``, after all else has ended. ``python benchmarks/report.py`` then writes RESULTS.md.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from competition.layout import STAGES

HERE = Path(__file__).parent


class PeakMemory(threading.Thread):
    """Sample the memory of a process and all below it; a page that several share counts once."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peak_bytes, self.ended = psutil.Process(process), 0, threading.Event()

    def run(self) -> None:
        took = 0.0
        while not self.ended.wait(max(0.25, 20 * took)):  # to count takes up to a twentieth of a core
            total, start = 0, time.thread_time()
            try:
                for each in [self.process, *self.process.children(recursive=True)]:
                    try:
                        total += each.memory_full_info().pss
                    except psutil.Error:
                        continue
            except psutil.Error:
                return
            self.peak_bytes, took = max(self.peak_bytes, total), time.thread_time() - start


def run(command: list[str], folder: Path) -> tuple[float, int]:
    """Return the wall seconds and the peak memory in bytes of a command."""
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=folder)
    memory = PeakMemory(process.pid)
    memory.start()
    code = process.wait()
    memory.ended.set()
    if code:
        sys.exit(f"{' '.join(command)} ended with {code}")
    return time.monotonic() - start, memory.peak_bytes


def clone(folder: Path) -> Path:
    """Clone the project, and let all commands after use the clone's package, whatever is edited here meanwhile."""
    project = folder / "project"
    subprocess.run(["git", "clone", "--quiet", str(HERE.parent.resolve()), str(project)], check=True)
    os.environ["PYTHONPATH"] = str(project)
    return project


def set_root(params: Path, archive: Path) -> None:
    """Let a file of parameters read this archive."""
    written = re.sub(r"(?m)^  root: \S+", f"  root: {archive.resolve()}", params.read_text(encoding="utf-8"))
    params.write_text(written, encoding="utf-8")


def measure(project: Path, name: str, answers: Path) -> dict[str, Any]:
    """Run every stage, and return the scores of the submission and what it took."""
    stages = {}
    for stage in STAGES:
        seconds, peak_bytes = run(["dvc", "repro", "--quiet", "--single-item", stage], project)
        stages[stage] = {"seconds": round(seconds, 1), "peak_bytes": peak_bytes}
    scored = subprocess.run(
        ["compete", "score", "data/predict/submission.csv", str(answers.resolve())],
        cwd=project, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    return {
        "name": name,
        "score": scored,
        "out_of_fold": json.loads((project / "data/train/metrics.json").read_text())["pooled"],
        "hyperparameters": (project / "data/tune/hyperparameters.yaml").read_text().splitlines(),
        "stages": stages,
        "load_average": round(os.getloadavg()[2], 1),
        "env": json.loads((project / "data/train/env.json").read_text()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--datasets", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        project = clone(Path(scratch))
        own = project / "benchmarks" / f"{arguments.name}.yaml"
        if own.exists():
            shutil.copyfile(own, project / "params.yaml")
        set_root(project / "params.yaml", arguments.datasets / f"{arguments.name}.zip")
        result = measure(project, arguments.name, arguments.datasets / f"{arguments.name}-solution.csv")
    out = HERE / "results" / f"{arguments.name}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {out}: {'; '.join(result['score'])}")


if __name__ == "__main__":
    main()
