"""What a model is to predict: label texts to arrays, arrays to what is trained on, and a model's outputs back."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

JOINED = "|"  # between the classes of a multilabel sample
WIDEST = 2**31  # of grades; numbers further apart are names, and their squares are no whole numbers any more


@dataclass(frozen=True)
class Target:
    """A task with its classes.

    Attributes:
        task: multiclass, multilabel, ordinal or regression.
        classes: (k,) in order; of a regression the name of its value alone.
        low, high: the range of a regression's value; 0 and 1 otherwise.
        at_least_one: whether every multilabel sample has a class.
    """

    task: str
    classes: tuple[str, ...]
    low: float
    high: float
    at_least_one: bool

    @classmethod
    def of(cls, contract: dict[str, Any]) -> "Target":
        """Read it from a contract."""
        low, high = contract["target_range"]
        return cls(contract["task"], tuple(contract["classes"]), low, high, contract["at_least_one"])

    @property
    def outputs(self) -> int:
        """How many numbers a model puts out."""
        return len(self.classes) - 1 if self.task == "ordinal" else len(self.classes)

    @property
    def activation(self) -> str:
        """Of a model's last layer."""
        return "softmax" if self.task == "multiclass" else "sigmoid"

    @property
    def exclusive(self) -> bool:
        """Whether a sample has exactly one class, so that its probabilities sum to 1."""
        return self.task in ("multiclass", "ordinal")

    @property
    def grades(self) -> tuple[int, ...] | None:
        """The grades that the classes are, if all are numbers."""
        return grades(self.classes)

    def truth(self, texts: Sequence[str]) -> np.ndarray:
        """Turn label texts (n,) into what metrics take.

        Returns:
            int64 (n,) of class indices; multilabel: uint8 (n, k) of 0 and 1; regression: float64 (n,).
        """
        if self.task == "regression":
            return np.array([float(text) for text in texts], np.float64)
        index = {name: position for position, name in enumerate(self.classes)}
        if self.exclusive:
            return np.array([index[text] for text in texts], np.int64)
        truth = np.zeros((len(texts), len(self.classes)), np.uint8)
        for row, text in enumerate(texts):
            truth[row, [index[name] for name in text.split(JOINED) if name]] = 1
        return truth

    def encode(self, truth: np.ndarray) -> np.ndarray:
        """Turn truth (b, ...) into what a model is trained towards: float32 (b, outputs), 0 to 1.

        Ordinal classes are coded as "above the first", "above the second" and so on, so that a mistake by two classes
        costs more than one by one. Source: Frank and Hall, "A Simple Approach to Ordinal Classification" (2001); as
        outputs of one network, Cheng, Wang and Pollastri (2008).
        """
        if self.task == "multiclass":
            coded = np.zeros((len(truth), len(self.classes)), np.float32)
            coded[np.arange(len(truth)), truth] = 1
            return coded
        if self.task == "ordinal":
            return (truth[:, None] > np.arange(self.outputs)).astype(np.float32)
        if self.task == "multilabel":
            return truth.astype(np.float32)
        return ((truth[:, None] - self.low) / (self.high - self.low)).astype(np.float32)

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Turn a model's outputs float32 (n, outputs) into float32 (n, k): probabilities of the classes, or values."""
        if self.task == "ordinal":
            above = np.minimum.accumulate(outputs.astype(np.float64), axis=1)  # never likelier to pass a higher one
            ends = np.pad(above, ((0, 0), (1, 1)), constant_values=((0, 0), (1, 0)))
            return (ends[:, :-1] - ends[:, 1:]).astype(np.float32)
        if self.task == "regression":
            return (self.low + outputs * (self.high - self.low)).astype(np.float32)
        return outputs

    def likeliest(self, probabilities: np.ndarray) -> np.ndarray:
        """Decide plainly: the likeliest class (n,), every class from one half (n, k), or the value (n,)."""
        if self.task == "regression":
            return probabilities[:, 0]
        return probabilities.argmax(axis=1) if self.exclusive else (probabilities >= 0.5).astype(np.uint8)

    def prior(self, truth: np.ndarray) -> list[float]:
        """Return what is predicted of an image that cannot be read: the classes' shares, or the mean value; (k,)."""
        if self.exclusive:
            return [float(share) for share in np.bincount(truth, minlength=len(self.classes)) / len(truth)]
        return [float(mean) for mean in np.atleast_1d(truth.mean(axis=0))]

    def texts(self, decided: np.ndarray) -> list[str]:
        """Write decided labels or values (n,) or (n, k) as `truth` reads them."""
        if self.task == "regression":
            return [f"{value:.9g}" for value in decided]
        if self.exclusive:
            return [self.classes[index] for index in decided]
        return [JOINED.join(np.array(self.classes, object)[row.astype(bool)]) for row in decided]


def is_whole(text: str) -> bool:
    """Tell whether a cell holds a whole number; of at most 300 digits, for Python reads no 4,301 of them, and a float
    holds none beyond 308."""
    return re.fullmatch(r"[-+]?\d{1,300}(\.0*)?", text.strip()) is not None


def to_whole(text: str) -> int:
    """Read a whole number, of any size, as `is_whole` tells it."""
    return int(text.partition(".")[0])


def grades(classes: Sequence[str]) -> tuple[int, ...] | None:
    """Return what a quadratic kappa compares: the whole numbers that classes are called, less the smallest.

    So gaps between them stay. None if not all are whole numbers, or if they lie too far apart.
    """
    if not all(map(is_whole, classes)):
        return None
    numbers = [to_whole(name) for name in classes]
    lowest = min(numbers)
    return tuple(number - lowest for number in numbers) if max(numbers) - lowest < WIDEST else None
