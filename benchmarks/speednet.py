"""Score speednet on CIFAR-10 within a budget of arithmetic, which is counted: speednet.json.

    python benchmarks/speednet.py --datasets DIR --seeds 1 2 3
    python benchmarks/speednet.py --datasets DIR --seeds 1 --times 10 --keep WORK

In a clone of the project for each seed: ``compete preset speednet``, the size of the images, one fold of fifty held
out, no search; with ``--times 10`` what is written below for ten times the arithmetic. DIR holds ``cifar10.zip`` and
``cifar10-solution.csv``, whose answers are read once, by ``compete score``. With ``--keep`` the clone stays in WORK,
and a run that was killed goes on there. What was measured before for other seeds and budgets stays in the file.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import h5py
from articles import edit
from run import HERE, clone, measure, set_root

from competition import reading
from competition.artifacts import read_json
from competition.batches import read_training_set, side_share
from competition.layout import CONTRACT
from competition.shapes import trace
from competition.tasks import Target

OUT = HERE / "speednet.json"
NAME = "cifar10"
FOLDS = 50
LARGE = {  # wider, longer, shifted further and with a part erased, as airbench does for 96 % in models/speednet.py
    "model.widths": [128, 512, 512],
    "train.epochs": 32,
    "augment.policy": [
        {"op": "Affine", "p": 1.0, "translate_px": [-4, 4], "border_mode": 4},
        {"op": "Erasing", "p": 0.5, "scale": [0.02, 0.2]},
    ],
}
BUDGETS: dict[int, dict[str, Any]] = {1: {}, 10: LARGE}
FLOP = 6  # of training for a multiply-add: two, forward, and back to the input and to the weights


def training_flop(project: Path) -> float:
    """Count the floating-point operations of the training of fold 0: by the shapes of its layers, and muon's."""
    recipe = reading.load(project / "params.yaml").recipe
    target = Target.of(read_json(project / "data/prepare" / CONTRACT))
    training = read_training_set(project / "data/prepare", project / "data/augment")
    batch = recipe.train.batch_size
    height, width, channels = training.shape
    images = int((training.folds != 0).sum()) // batch * batch  # what does not fill a batch is left out
    total = 0
    for epoch in range(recipe.train.epochs):
        share = side_share(recipe.train, epoch)
        shape = (max(1, round(share * height)), max(1, round(share * width)), channels)
        total += FLOP * images * sum(row.multiply_adds for row in trace(recipe.model, shape, target))
    if recipe.train.optimizer != "muon":
        return float(total)
    kernels: list[tuple[int, ...]] = []  # with those that muon leaves to adam, which are small

    def note(_: str, held: Any) -> None:
        if isinstance(held, h5py.Dataset) and held.ndim > 1:
            kernels.append(held.shape)

    with h5py.File(project / "data/train" / "fold-0.weights.h5") as weights:
        weights.visititems(note)
    return float(total + recipe.train.epochs * (images // batch) * sum(map(muon_flop, kernels)))


def muon_flop(kernel: tuple[int, ...]) -> int:
    """Count the operations of one step of muon on a kernel: five rounds of three products of matrices."""
    short, long = sorted((math.prod(kernel[:-1]), kernel[-1]))
    return 5 * (2 * 2 * short**2 * long + 2 * short**3)


def one(seed: int, times: int, datasets: Path, work: Path) -> dict[str, Any]:
    """Run the whole pipeline with one seed in an empty folder, or go on with what an earlier run left there."""
    project, begun = work / "project", work / "begun"
    if not project.exists():
        shutil.rmtree(begun, ignore_errors=True)
        cloned = clone(begun)
        params = cloned / "params.yaml"
        set_root(params, datasets / f"{NAME}.zip")
        subprocess.run(["compete", "preset", "speednet"], cwd=cloned, check=True)
        edit(params, {"prepare.image_size_px": [32, 32], "prepare.channels": 3, "prepare.folds": FOLDS,
                      "tune.max_trials": 0, "train.folds": 1, "seed": seed, **BUDGETS[times]})  # fmt: skip
        cloned.rename(project)  # so that what a killed run goes on with has all its parameters
    os.environ["PYTHONPATH"] = str(project)
    result = measure(project, NAME, datasets / f"{NAME}-solution.csv")
    return {"seed": seed, "times": times, "training_flop": training_flop(project), **result}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--times", type=int, choices=list(BUDGETS), default=1)
    parser.add_argument("--keep", type=Path, help="a folder for the work; times are of the last run in it")
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as scratch:
            work = arguments.keep / f"{arguments.times}-{seed}" if arguments.keep else Path(scratch)
            work.mkdir(parents=True, exist_ok=True)
            result = one(seed, arguments.times, arguments.datasets, work.resolve())
        known = json.loads(OUT.read_text()) if OUT.exists() else []
        known = [each for each in known if (each["times"], each["seed"]) != (arguments.times, seed)] + [result]
        known.sort(key=lambda each: (each["times"], each["seed"]))
        OUT.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        print(f"seed {seed}: {'; '.join(result['score'])}, {result['training_flop'] / 1e15:.3f} PFLOP", flush=True)


if __name__ == "__main__":
    main()
