"""Train the same models on every backend of Keras that is installed, for several seeds: ``benchmarks/backends.json``.

    python benchmarks/backends.py --seeds 1 2 3

In a clone of the project, on the bundled digits, with ``params.yaml`` as it is but for the search: prepare and augment
run once for each seed, train once for each seed and backend. The scores are those out of fold.
"""

import argparse
import importlib.util
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from articles import edit
from run import HERE, clone, run

BACKENDS = ("tensorflow", "jax", "torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in installed}
    with tempfile.TemporaryDirectory() as scratch:
        project = clone(Path(scratch))
        for seed in arguments.seeds:
            edit(project / "params.yaml", {"seed": seed, "tune.max_trials": 0})
            for stage in ("prepare", "augment", "tune"):
                run(["compete", stage], project)
            for name in installed:
                os.environ["KERAS_BACKEND"] = name
                seconds, _ = run(["compete", "train"], project)
                pooled = json.loads((project / "data/train/metrics.json").read_text())["pooled"]
                results[name].append({"seed": seed, "seconds": round(seconds, 1), **pooled})
                print(name, json.dumps(results[name][-1]), flush=True)
    (HERE / "backends.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
