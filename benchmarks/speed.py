"""How near training comes to the arithmetic, and what equal bits cost: ``benchmarks/speed.json``.

    python benchmarks/speed.py cifar10 --datasets DIR --epochs 3

In a clone of the project, with ``compete preset NAME`` and one fold, one after the other on the same machine: an epoch
of a bare ``model.fit`` of the same model on arrays in memory, before and after ``compete train`` of so many epochs,
whose whole time counts, from its start to its end; single steps with equal bits and without; and a product of two
matrices of 2048 x 2048 in float32 and in what the model computes in. DIR holds ``cifar10.zip`` and
``fashion-mnist.zip``.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from articles import edit
from run import HERE, clone, run, set_root
from speednet import muon_flop

from competition.parallel import cores

ARCHIVES = {"cifar10": "cifar10", "speednet": "cifar10", "fashion-mnist": "fashion-mnist"}
SIDE, PRODUCTS, STEPS = 2048, 50, 12
TRAINING = 3  # passes over a layer that a training step is: forward, and back to its input and to its weights


def part(project: Path, name: str, deterministic: bool) -> dict[str, Any]:
    """Run a part of this script in a process of its own, for the determinism of one cannot be undone."""
    command = [sys.executable, str(Path(__file__).resolve()), name, "--part", "--equal" if deterministic else "--free"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def model_and_batches(deterministic: bool) -> tuple[Any, np.ndarray, np.ndarray, Any]:
    """Build what train builds for fold 0; return the model, images, targets and the train section."""
    from competition import backend, building, reading
    from competition.batches import read_training_set
    from competition.fitting import _Trainer

    recipe = reading.load(Path("params.yaml")).recipe
    backend.start("auto", deterministic)
    import keras

    keras.utils.set_random_seed(1)
    training = read_training_set(Path("data/prepare"), Path("data/augment"))
    samples = np.flatnonzero(training.folds != 0)
    precision = backend.precision(recipe.train.precision)
    model = building.build(recipe.model, training.shape, training.target, precision)
    building.adapt(recipe.model, model, training.images, training.rows[samples[:10_000]])
    _Trainer(recipe, model, training.target, len(samples) // recipe.train.batch_size).begin(0)
    images = np.array(training.images[training.rows[samples]])
    return model, images, training.target.encode(training.truth[samples]), recipe


def steps(deterministic: bool) -> dict[str, Any]:
    """Return the rates of training steps and of products of matrices, in GFLOP/s."""
    model, images, targets, recipe = model_and_batches(deterministic)
    import tensorflow as tf

    from competition import backend, reading
    from competition.batches import read_training_set
    from competition.shapes import trace

    read, size = reading.load(Path("params.yaml")), recipe.train.batch_size
    training = read_training_set(Path("data/prepare"), Path("data/augment"))
    rows = trace(read.model, training.shape, training.target)
    flop = 2 * TRAINING * size * sum(row.multiply_adds for row in rows)
    if recipe.train.optimizer == "muon":
        flop += sum(muon_flop(variable.shape) for variable in model.trainable_variables if len(variable.shape) > 1)
    batch, rates = (images[:size], targets[:size]), []
    model.train_on_batch(*batch)
    for _ in range(STEPS):
        start = time.perf_counter()
        model.train_on_batch(*batch)
        rates.append(flop / (time.perf_counter() - start) / 1e9)
    kinds = {"float32": tf.float32, "bfloat16": tf.bfloat16}
    multiply, products = tf.function(lambda matrix: tf.matmul(matrix, matrix)), {}
    for kind in dict.fromkeys(["float32", backend.precision(recipe.train.precision)]):
        matrix = tf.cast(tf.constant(np.random.default_rng(0).normal(size=(SIDE, SIDE))), kinds[kind])
        multiply(matrix)
        start = time.perf_counter()
        for _ in range(PRODUCTS):
            last = multiply(matrix)
        last.numpy()
        products[kind] = PRODUCTS * 2 * SIDE**3 / (time.perf_counter() - start) / 1e9
    return {"step": statistics.median(rates), "products": products}


def bare(deterministic: bool) -> dict[str, Any]:
    """Return the seconds of an epoch of model.fit on arrays."""
    model, images, targets, recipe = model_and_batches(deterministic)
    size = recipe.train.batch_size
    whole = len(images) // size * size  # train leaves out what does not fill a batch, too
    model.fit(images[: 2 * size], targets[: 2 * size], batch_size=size, verbose=0, shuffle=False)
    start = time.perf_counter()
    model.fit(images[:whole], targets[:whole], batch_size=size, verbose=0, shuffle=False)
    return {"seconds": time.perf_counter() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("--datasets", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--equal", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--free", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps({"steps": steps, "bare": bare}[arguments.preset](arguments.equal)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        project = clone(Path(scratch))
        params, archive = project / "params.yaml", ARCHIVES[arguments.preset]
        set_root(params, arguments.datasets / f"{archive}.zip")
        size = {"cifar10": ([32, 32], 3), "fashion-mnist": ([28, 28], 1)}[archive]
        subprocess.run(["compete", "preset", arguments.preset], cwd=project, check=True)
        edit(params, {"prepare.image_size_px": size[0], "prepare.channels": size[1], "prepare.folds": 25,
                      "tune.max_trials": 0, "train.epochs": arguments.epochs, "train.folds": 1,
                      "train.start_size": 1.0})  # fmt: skip
        for stage in ("prepare", "augment", "tune"):
            run(["compete", stage], project)
        of_steps = {"equal": [], "free": []}
        for way in ("equal", "free", "free", "equal"):
            of_steps[way].append(part(project, "steps", way == "equal"))
        first = part(project, "bare", True)["seconds"]
        command, peak_bytes = run(["compete", "train"], project)
        last = part(project, "bare", True)["seconds"]
    rates = {way: statistics.fmean(each["step"] for each in parts) for way, parts in of_steps.items()}
    every = [each["products"] for parts in of_steps.values() for each in parts]
    products = {kind: round(max(each[kind] for each in every), 1) for kind in every[0]}
    result = {
        "preset": arguments.preset,
        "cores": cores(),
        "epochs": arguments.epochs,
        "command_to_fit": round(command / arguments.epochs / statistics.fmean((first, last)), 3),
        "fit_first_to_last": round(first / last, 3),
        "step_gflops": round(rates["equal"], 1),
        "product_gflops": products,
        "share": round(rates["equal"] / products[list(products)[-1]], 3),
        "equal_to_free": round(rates["equal"] / rates["free"], 3),
        "peak_bytes": peak_bytes,
    }
    out = HERE / "speed.json"
    known = json.loads(out.read_text()) if out.exists() else []
    known = [each for each in known if each["preset"] != arguments.preset] + [result]
    out.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
