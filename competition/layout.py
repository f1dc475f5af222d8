"""Every path the project knows: the names of the files in which the stages meet."""

from pathlib import Path

STAGES = ("prepare", "augment", "tune", "train", "predict")

# data/prepare
SAMPLES = "samples.csv"
CONTRACT = "contract.json"  # in data/train too, where it also holds what the model is
REPORT = "report.json"
OVERVIEW = "overview.png"
ALIKE = "alike.png"
UNPACKED = "unpacked"  # archives inside archives; gone when the stage ends

# data/augment
POLICY = "policy.json"
PREVIEW = "preview.png"

# data/tune
TRIALS = "trials.csv"
HYPERPARAMETERS = "hyperparameters.yaml"
FINALISTS = "finalists.csv"
IMPORTANCE = "importance.csv"
PARALLEL = "parallel.csv"

# data/train
OOF = "oof.csv"
METRICS = "metrics.json"
HISTORY = "history.csv"
MISTAKES = "mistakes.png"
ENV = "env.json"  # the one file whose bytes differ from run to run: it records time and machine

# data/predict
PROBABILITIES = "probabilities.csv"
SUBMISSION = "submission.csv"

STATE = Path(".compete")  # beside the data: what a killed command can be gone on with
LOCK = STATE / "lock"


def pixels(split: str) -> str:
    """Name the array of a split's images in ``data/prepare``."""
    return f"{split}.npy"


def view(number: int) -> str:
    """Name the array of one view of all training samples in ``data/augment``."""
    return f"view-{number}.npy"


def weights(fold: int | None, number: int = 0) -> str:
    """Name the weights of the models validated on this fold in ``data/train``, or of those of all samples."""
    name = "all" if fold is None else f"fold-{fold}"
    return f"{name}{f'-seed-{number}' if number else ''}.weights.h5"
