"""The state of a fit at the end of an epoch, in one file: with it a killed fit goes on to the same last bit."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from competition import backend
from competition.artifacts import whole_file
from competition.seeds import derive

NAME = "epoch.npz"


def save(folder: Path, model: keras.Model, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
    """Write the weights, the optimizer's variables, further arrays and facts; the file is there whole or not at all."""
    values = [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in _variables(model)]
    held = {f"variable {number}": value for number, value in enumerate(values)}
    every: dict[str, Any] = {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8), **held, **arrays}
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / NAME) as file:
        np.savez(file, **every)


def read_facts(folder: Path) -> dict[str, Any] | None:
    """Return what `save` was told beside the arrays; None if nothing is saved."""
    if not (folder / NAME).exists():
        return None
    with np.load(folder / NAME) as file:
        return json.loads(file["facts"].tobytes())


def restore(folder: Path, model: keras.Model) -> dict[str, np.ndarray]:
    """Set the weights and the optimizer's variables, and return the further arrays."""
    with np.load(folder / NAME) as file:
        for number, variable in enumerate(_variables(model)):
            variable.assign(file[f"variable {number}"])
        return {key: file[key] for key in file.files if key != "facts" and not key.startswith("variable ")}


def _variables(model: keras.Model) -> list[Any]:
    """List all variables; of an optimizer that is not built the moments would be missing."""
    return [*model.variables, *model.optimizer.variables]


def seed_generators(model: keras.Model, seed: int, epoch: int) -> None:
    """Set the state of all that draws at random inside the model, as dropout does, to a function of seed and epoch."""
    backend.seed_generator(derive(seed, "generator", epoch))
    generators = [generator for layer in model._flatten_layers() for generator in layer._seed_generators]
    for number, generator in enumerate(generators):
        drawn = np.random.default_rng(derive(seed, "generator", number, epoch)).integers(0, 2**31, 2)
        generator.state.assign(drawn.astype("uint32"))
