"""AutoKeras's ImageClassifier on one competition, within a time that it has no option for.

    python benchmarks/rivals/autokeras_rival.py --arrays FILE.npz --minutes M --out predictions.npy

Runs in an environment of its own (``requirements.txt`` beside this file). What it reads and writes, and the frame, are
those of ``kerastuner_rival.py``. All is AutoKeras's default (space, order of trials, up to 100 trials, validation on
the last fifth, early stopping, batches of 32), but that the search ends with the time: then the model with the lowest
validation loss of any epoch so far predicts, also where its trial was cut short. AutoKeras's own ``predict`` would take
no other: in version 3.0.0 it loads the best trial, and not what was trained last, on all images.
"""

import math
import os
import signal
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from kerastuner_rival import Result, run

PREDICT_FACTOR = 1.2  # seconds of predicting the test images, to those of validating as many
LOAD_SECONDS = 20.0  # to build a model again, load its weights and trace it
LATE_SECONDS = 10.0  # after which a search that ends no batch (it waits for pretrained weights, say) is interrupted


@dataclass
class Best:
    """The best epoch so far, and the seconds to leave for predicting the test images with it, if that is to be done."""

    loss: float = math.inf
    trial: Any = None
    seconds: float = LATE_SECONDS
    predicted: bool = True


def attempt(x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray, deadline: float, result: Result) -> None:
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

    def interrupt(*_: Any) -> None:
        raise TimeIsUp("the time is up; interrupted")

    def set_alarm() -> None:
        seconds = deadline - best.seconds + LATE_SECONDS - time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, max(0.001, seconds), LATE_SECONDS)

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
                best.loss, best.trial, best.seconds, best.predicted = loss, self.trial, seconds, False
                set_alarm()

    class InTime(ImageClassifierTuner):
        """AutoKeras's own tuner with the callback above. Given to ``fit`` it would be copied for each trial."""

        def _build_and_fit_model(self, trial: Any, *args: Any, **fit: Any) -> Any:
            fit["callbacks"].append(Watch(trial, len(fit["validation_data"][0])))
            return super()._build_and_fit_model(trial, *args, **fit)

        def on_trial_end(self, trial: Any) -> None:
            super().on_trial_end(trial)
            result.begun += 1
            result.trials += trial.status == "COMPLETED"
            predict()  # a later trial may be killed for its memory
            set_alarm()

    def predict() -> None:
        if best.predicted:
            return
        model = classifier.tuner.load_model(best.trial)
        result.keep(model.predict(x_test, batch_size=32, verbose=0))  # columns in the order of the sorted labels
        print(f"predicted with trial {best.trial.trial_id}, validation loss {best.loss:.4f}")
        best.seconds, best.predicted = LATE_SECONDS, True

    keras.utils.set_random_seed(1)
    signal.signal(signal.SIGALRM, interrupt)
    with tempfile.TemporaryDirectory() as scratch:
        classifier = autokeras.ImageClassifier(directory=Path(scratch), tuner=InTime)
        try:
            set_alarm()
            classifier.fit(x_train, y_train, verbose=2)
        except TimeIsUp as error:
            print(error)
        except Exception:  # whatever ends it, what it has found counts
            traceback.print_exc()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        trials = classifier.tuner.oracle.trials.values()
        result.begun = len(trials)  # with the one that was cut short
        for trial in trials:
            if trial.message:
                print(f"trial {trial.trial_id} failed: {trial.message.strip().splitlines()[-1]}")
        predict()


if __name__ == "__main__":
    run(attempt, ("autokeras", "keras-tuner", "keras", "tensorflow", "numpy"))
    os._exit(
        0
    )  # the usual end waits half a minute for what TensorFlow has still to do for the trial that was cut short
