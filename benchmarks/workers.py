"""Run the same search with 1, 2 and 4 workers, and write down how long each took: ``benchmarks/workers.json``.

    python benchmarks/workers.py

The search is one of the bundled digits in a clone of the project. What is trained is the same but for the threads: the
workers share the cores.
"""

import csv
import json
import os
import shutil
import tempfile
from pathlib import Path

from articles import edit
from run import HERE, clone, run

SEARCH = {"tune.tuner": "random", "tune.max_trials": 16, "tune.epochs": 8}
WORKERS = (1, 2, 4)


def main() -> None:
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        project = clone(Path(scratch))
        for stage in ("prepare", "augment"):
            run(["compete", stage], project)
        for workers in WORKERS:
            shutil.rmtree(project / ".compete", ignore_errors=True)
            edit(project / "params.yaml", {**SEARCH, "tune.workers": workers})
            seconds, peak_bytes = run(["compete", "tune"], project)
            with (project / "data" / "tune" / "trials.csv").open(encoding="utf-8") as file:
                trials = list(csv.DictReader(file))
            results.append(
                {
                    "workers": workers,
                    "cores": os.cpu_count(),
                    "trials": sum(trial["score"] != "" for trial in trials),
                    "epochs": sum(int(trial["epochs"]) for trial in trials),
                    "best": max(float(trial["score"]) for trial in trials),
                    "seconds": round(seconds, 1),
                    "peak_bytes": peak_bytes,
                }
            )
            print(json.dumps(results[-1]), flush=True)
    (HERE / "workers.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
