"""The script that somebody who knows KerasTuner writes for a competition of photographs, without this project.

    python benchmarks/rivals/kerastuner_rival.py --arrays FILE.npz --minutes M --out predictions.npy

A small convnet of the usual form and the usual augmentation; Bayesian search with early stopping for SEARCH_SHARE of
the time; then the best values once more on all training images for the time that is left, with a cosine schedule.

FILE.npz holds x_train uint8 (n, h, w, c), y_train (n,) from 0 to k - 1, every class at least once, and x_test uint8
(t, h, w, c). Written are predictions.npy, float32 (t, k), and beside it predictions.json: the trials begun and
finished, the versions, and a note where the predictions are only the shares of the classes in y_train.
``autokeras_rival.py`` shares this frame.
"""

# ruff: noqa: E402

import time

START = time.monotonic()  # before the other imports: they are part of the time

import argparse
import json
import math
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
from keras import layers

GRACE_SHARE = 0.1  # of the time; so long after its end a process that still runs is ended
NOTHING = "nothing finished in time: the class prior"

SEARCH_SHARE = 0.4  # of the time; the last training gains more from the rest than the choice of values does
TRIALS = 8  # that fit into the search at least: none may take longer than such a part of it
VALIDATION_SHARE = 0.2  # of the training images, in the search only
PATIENCE_EPOCHS = 5
PREDICT_SHARE = 0.03  # of the time, kept for the test images
LEAST_SECONDS = 5.0  # below which training anything is hopeless


class Result:
    """What a rival leaves on disk, at every moment: the prior until it keeps something better."""

    def __init__(self, out: Path, probabilities: np.ndarray, packages: Sequence[str]) -> None:
        self.trials = self.begun = 0
        self.note, self._out = NOTHING, out
        self._versions = {name: version(name) for name in packages}
        self._save(probabilities)

    def keep(self, probabilities: np.ndarray) -> None:
        """Save probabilities (t, k) in the place of what was kept before."""
        self.note = ""
        self._save(probabilities)

    def _save(self, probabilities: np.ndarray) -> None:
        aside = self._out.with_name(f".{self._out.name}.partial")
        with aside.open("wb") as file:
            np.save(file, probabilities.astype(np.float32))
        aside.replace(self._out)
        self.tell()

    def tell(self) -> None:
        told = {"trials": self.trials, "begun": self.begun, "note": self.note, "versions": self._versions}
        self._out.with_suffix(".json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


# Takes x_train, y_train, x_test, the moment of the monotonic clock by which it must return, and where to keep what.
Attempt = Callable[[np.ndarray, np.ndarray, np.ndarray, float, Result], None]


def prior(y_train: np.ndarray, count: int) -> np.ndarray:
    """Predict the shares of the classes for each of ``count`` images, float32 (count, k)."""
    shares = np.bincount(y_train) / len(y_train)
    return np.tile(shares.astype(np.float32), (count, 1))


def run(attempt: Attempt, packages: Sequence[str]) -> None:
    """Read the arguments, let a rival attempt it, and end it if it does not."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--arrays", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if not arguments.minutes > 0:
        parser.error(f"--minutes is {arguments.minutes:g}; expected more than 0")
    if not arguments.arrays.is_file():
        parser.error(f"--arrays {arguments.arrays} is missing")
    with np.load(arguments.arrays) as arrays:
        x_train, y_train, x_test = arrays["x_train"], arrays["y_train"], arrays["x_test"]
    result = Result(arguments.out, prior(y_train, len(x_test)), packages)
    seconds = 60 * arguments.minutes
    deadline = START + seconds

    def end() -> None:
        print(f"ended {GRACE_SHARE:.0%} after its time; {result.note or 'what it had kept stands'}", flush=True)
        os._exit(0)

    watch = threading.Timer(deadline + GRACE_SHARE * seconds - time.monotonic(), end)
    watch.daemon = True
    watch.start()
    try:
        attempt(x_train, y_train, x_test, deadline, result)
    finally:
        watch.cancel()
    result.tell()
    took = f"{time.monotonic() - START:.0f} of {seconds:.0f} s"
    print(f"{took}; {result.trials} of {result.begun} trials finished; {result.note or 'predicted'}", flush=True)


def build_model(hp: keras_tuner.HyperParameters, shape: tuple[int, int, int], classes: int) -> keras.Model:
    most_blocks = max(2, int(math.log2(min(shape[:2]) / 3)))  # the last block then ends with 3 x 3 px or more
    model = keras.Sequential([keras.Input(shape), layers.Rescaling(1 / 255)])
    # Of photographs the mirror image has the same class; take the flip out for digits or letters.
    model.add(layers.RandomFlip("horizontal"))
    model.add(layers.RandomTranslation(0.1, 0.1))
    if hp.Boolean("zoom"):
        model.add(layers.RandomZoom(0.1))
    filters, convs = hp.Choice("filters", [16, 32, 48]), hp.Int("convs", 1, 2)
    dropout = hp.Float("dropout", 0.0, 0.4, step=0.1)
    for block in range(hp.Int("blocks", 2, most_blocks)):
        for _ in range(convs):
            model.add(layers.Conv2D(filters * 2**block, 3, padding="same", use_bias=False))
            model.add(layers.BatchNormalization(momentum=0.9))  # its 0.99 lags behind in trials of a few dozen steps
            model.add(layers.ReLU())
        model.add(layers.MaxPooling2D())
        model.add(layers.Dropout(dropout))
    model.add(layers.Flatten() if hp.Boolean("flatten") else layers.GlobalAveragePooling2D())
    model.add(layers.Dense(hp.Choice("units", [64, 128, 256]), activation="relu"))
    model.add(layers.Dropout(hp.Float("dense_dropout", 0.0, 0.5, step=0.1)))
    model.add(layers.Dense(classes, activation="softmax"))
    optimizer = keras.optimizers.Adam(hp.Float("learning_rate", 3e-4, 1e-2, sampling="log"))
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class StopAt(keras.callbacks.Callback):
    """Stop the training at a moment of the monotonic clock."""

    def __init__(self, moment: float) -> None:
        super().__init__()
        self.moment = moment

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if time.monotonic() >= self.moment:
            self.model.stop_training = True


class CosineUntil(StopAt):
    """Let the learning rate fall to 0 by a moment, whatever number of epochs fits before it, and stop there."""

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self.start, self.highest = time.monotonic(), float(self.model.optimizer.learning_rate)

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        done = min(1.0, (time.monotonic() - self.start) / max(1e-9, self.moment - self.start))
        self.model.optimizer.learning_rate = self.highest * (1 + math.cos(math.pi * done)) / 2


class Search(keras_tuner.BayesianOptimization):
    """KerasTuner's own ``run_trial`` imports TensorBoard, which TensorFlow no longer brings: override it, as its
    guide shows."""

    def run_trial(self, trial: Any, *, ends: float, trial_seconds: float, **fit: Any) -> dict[str, float]:
        now = time.monotonic()
        if now + LEAST_SECONDS > ends:
            raise keras_tuner.errors.FatalError("the time of the search is up")  # KerasTuner's way to end a search
        keras.backend.clear_session()
        model = self.hypermodel.build(trial.hyperparameters)
        stopping = keras.callbacks.EarlyStopping("val_accuracy", mode="max", patience=PATIENCE_EPOCHS)
        callbacks = [stopping, StopAt(min(ends, now + trial_seconds))]
        history = model.fit(**fit, epochs=1000, callbacks=callbacks, verbose=2).history
        return {"val_accuracy": max(history["val_accuracy"])}


def attempt(x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray, deadline: float, result: Result) -> None:
    from sklearn.model_selection import train_test_split

    keras.utils.set_random_seed(1)
    seconds = deadline - START
    build = partial(build_model, shape=x_train.shape[1:], classes=int(y_train.max()) + 1)
    batch_size = 128 if len(x_train) >= 10_000 else 32
    x_fit, x_val, y_fit, y_val = train_test_split(
        x_train, y_train, test_size=VALIDATION_SHARE, stratify=y_train, random_state=1
    )
    with tempfile.TemporaryDirectory() as scratch:
        objective = keras_tuner.Objective("val_accuracy", "max")
        tuner = Search(build, objective, max_trials=1000, seed=1, directory=scratch, project_name="search")
        try:
            tuner.search(
                x=x_fit, y=y_fit, validation_data=(x_val, y_val), batch_size=batch_size,
                ends=START + SEARCH_SHARE * seconds, trial_seconds=SEARCH_SHARE * seconds / TRIALS,
            )  # fmt: skip
        except keras_tuner.errors.FatalError as error:
            print(error)
        begun = [trial for trial in tuner.oracle.trials.values() if trial.status != "RUNNING"]  # which was turned away
        finished = [trial for trial in begun if trial.status == "COMPLETED"]  # also one that was cut short
    result.begun, result.trials = len(begun), len(finished)
    best = keras_tuner.HyperParameters()  # what build_model names first
    if finished:
        best = max(finished, key=lambda trial: trial.score).hyperparameters
    print(f"best of {len(finished)}: {best.values}")
    ends = deadline - max(LEAST_SECONDS, PREDICT_SHARE * seconds)
    if time.monotonic() + LEAST_SECONDS > ends:
        return
    keras.backend.clear_session()
    model = build(best)
    model.fit(x_train, y_train, batch_size=batch_size, epochs=1000, callbacks=[CosineUntil(ends)], verbose=2)
    result.keep(model.predict(x_test, batch_size=256, verbose=0))


if __name__ == "__main__":
    run(attempt, ("keras-tuner", "keras", "tensorflow", "scikit-learn", "numpy"))
