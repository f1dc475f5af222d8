"""AutoKeras's ImageClassifier on one competition, within a time that it has no option for.

    python benchmarks/rivals/autokeras_rival.py --arrays FILE.npz --minutes M --out predictions.npy

Runs in an environment of its own (``requirements.txt`` beside this file). What it reads and writes, and the frame, are
those of ``kerastuner_rival.py``. All is AutoKeras's default (space, order of trials, up to 100 trials, validation on
the last fifth, early stopping, batches of 32), but that the search ends with the time: then the model with the lowest
validation loss of any epoch so far predicts, also where its trial was cut short. That is the model that AutoKeras's own
``predict`` would take: in version 3.0.0 it loads the best trial, and not the last training on all images.
"""

import math
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from kerastuner_rival import run

PREDICT_FACTOR = 1.2  # seconds of predicting the test images, to those of validating as many
LOAD_SECONDS = 15.0  # to build a model again, load its weights and trace it


@dataclass
class Best:
    """The best epoch so far, and how long its model takes to predict the test images."""

    loss: float = math.inf
    seconds: float = 0.0
    trial: Any = None


def attempt(
    x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray, deadline: float, told: dict[str, Any]
) -> np.ndarray | None:
    import autokeras
    import keras
    import keras_tuner
    import tree
    from autokeras.tuners.task_specific import ImageClassifierTuner
    from autokeras.utils import data_utils

    # AutoKeras takes the sizes of its layers from shapes kept in integer arrays, and Keras refuses NumPy's integers: an
    # array of objects keeps Python's own. (The other fault, TensorBoard undeclared, is mended in requirements.txt.)
    data_utils.dataset_shape = lambda data: tree.map_structure(lambda array: np.array(array.shape, object), data)

    best = Best()

    class TimeIsUp(keras_tuner.errors.FatalError):
        """The one kind of error that ends a search of KerasTuner's at once."""

    class Watch(keras.callbacks.Callback):
        """Note the best epoch, and end the search when there is just time to predict with it."""

        def __init__(self, trial: Any, validation_count: int) -> None:
            super().__init__()
            self.trial, self.validation_count = trial, validation_count

        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            if time.monotonic() > deadline - best.seconds:
                raise TimeIsUp("the time is up")

        def on_test_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            self.on_train_batch_end(batch)

        def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
            self.began = time.monotonic()

        def on_test_end(self, logs: dict[str, float] | None = None) -> None:
            self.validation_seconds = time.monotonic() - self.began

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            # KerasTuner's callback, before this one, has kept the weights if this is the best epoch of its trial.
            loss = (logs or {})["val_loss"]
            ratio = len(x_test) / self.validation_count
            seconds = LOAD_SECONDS + PREDICT_FACTOR * ratio * self.validation_seconds
            if loss < best.loss and time.monotonic() + seconds < deadline:
                best.loss, best.seconds, best.trial = loss, seconds, self.trial

    class InTime(ImageClassifierTuner):
        """AutoKeras's own tuner with the callback above. Given to ``fit`` it would be copied for each trial."""

        def _build_and_fit_model(self, trial: Any, *args: Any, **fit: Any) -> Any:
            fit["callbacks"].append(Watch(trial, len(fit["validation_data"][0])))
            return super()._build_and_fit_model(trial, *args, **fit)

    keras.utils.set_random_seed(1)
    with tempfile.TemporaryDirectory() as scratch:
        classifier = autokeras.ImageClassifier(directory=Path(scratch), tuner=InTime)
        try:
            classifier.fit(x_train, y_train, verbose=2)
        except TimeIsUp as error:
            print(error)
        except Exception:  # whatever ends it, what it has found counts
            traceback.print_exc()
        trials = list(classifier.tuner.oracle.trials.values())
        told["begun"] = len(trials)
        told["trials"] = sum(trial.status == "COMPLETED" for trial in trials)
        for trial in trials:
            if trial.message:
                print(f"trial {trial.trial_id} failed: {trial.message.strip().splitlines()[-1]}")
        if best.trial is None:
            return None
        print(f"best is trial {best.trial.trial_id}, validation loss {best.loss:.4f}")
        model = classifier.tuner.load_model(best.trial)
        return model.predict(x_test, batch_size=32, verbose=0)  # columns in the order of the sorted labels


if __name__ == "__main__":
    run(attempt, ("autokeras", "keras-tuner", "keras", "tensorflow", "numpy"))
