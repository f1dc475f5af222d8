"""From images to probabilities or values with a trained model."""

from typing import Any

import numpy as np

from competition import backend
from competition.tasks import Target

PREDICT_BATCH = 256  # images; more is no faster on a CPU
PREDICT_PIXELS = 2**22  # of a batch; the activations of a model are many times these


def predict(model: Any, target: Target, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Predict probabilities of the classes, or values.

    Args:
        model: a model of `competition.models`.
        target: what it was built for.
        images: uint8 (rows, h, w, c), mapped or not; a batch of it is in memory at a time.
        rows: int64 (n,), the rows to predict.

    Returns:
        float32 (n, k); each row of exclusive classes sums to 1.
    """
    height, width = images.shape[1:3]
    batch = max(1, min(PREDICT_BATCH, PREDICT_PIXELS // (height * width), len(rows)))
    batch = -(-batch // backend.replicas(model)) * backend.replicas(model)
    # The last batch is filled up with any rows: one shape is compiled once.
    padded = np.concatenate([rows, np.resize(rows, -len(rows) % batch)])
    starts = range(0, len(padded), batch)
    outputs = [_predict_batch(model, images[padded[start : start + batch]]) for start in starts]
    return target.decode(np.concatenate(outputs)[: len(rows)])


def _predict_batch(model: Any, images: np.ndarray) -> np.ndarray:
    if backend.replicas(model) == 1:
        return model.predict_on_batch(images)
    model.make_predict_function()
    return np.asarray(model.predict_function([backend.parts(model, (images,))]))
