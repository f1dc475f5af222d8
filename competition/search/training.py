"""Score values by training a model."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from competition.artifacts import whole_file
from competition.errors import CompetitionError, UnavailableError, lacks_memory
from competition.params import Scalar
from competition.reading import overlay
from competition.recipes import Recipe
from competition.search.outcomes import Curve, Task, Values
from competition.search.results import fit_state, predictions
from competition.shapes import check, first_shape
from competition.tasks import Target

if TYPE_CHECKING:
    from competition.batches import TrainingSet

START_SIZE = "train.start_size"  # the one value of train that shapes a model
REASON_LETTERS = 300  # of a framework's message, which may quote the whole model


@dataclass(frozen=True)
class Impossible:
    """Tells why a model with some values cannot be built for the images of all epochs; None if it can.

    Attributes:
        recipe: over which the values are laid; as JSON, for the class of a family cannot be sent to a process.
        shape: height, width and channels of the images.
        target: what is to be predicted.
    """

    recipe: str
    shape: tuple[int, int, int]
    target: Target

    def __call__(self, values: Values) -> str | None:
        shaping = {path: value for path, value in values.items() if path.startswith("model.") or path == START_SIZE}
        return _impossible(self, tuple(shaping.items()))


@lru_cache(maxsize=100_000)  # a grid asks of all the other values of train with the same model
def _impossible(of: Impossible, shaping: tuple[tuple[str, Scalar], ...]) -> str | None:
    try:
        recipe = _laid(of.recipe, dict(shaping))
        return check(recipe.model, of.shape, of.target, first_shape(recipe.train, of.shape))
    except CompetitionError as error:
        return str(error)


@dataclass(frozen=True)
class Training:
    """Trains a model on all folds but one and scores it on that one, epoch by epoch.

    Attributes:
        recipe: over which the values are laid, as JSON; its epochs are those of a whole trial.
        prepared, augmented: the folders that prepare and augment wrote.
        seed: of every training alike, so that trials differ by their values alone.
        threads: CPU threads of a model.
    """

    recipe: str
    prepared: Path
    augmented: Path
    seed: int
    threads: int

    def start(self) -> str:
        """Start Keras; tell of a card that it does not use."""
        from competition import backend

        backend.start(self.threads, Recipe.model_validate_json(self.recipe).train.deterministic)
        return backend.missed_card()

    def __call__(self, task: Task, folder: Path) -> Curve:
        from competition.fitting import Epoch, fit

        recipe = _laid(self.recipe, task.values)
        scores: list[float] = []

        def told(epoch: Epoch) -> bool:
            better = max if task.greater else min
            keeps_best = recipe.train.patience_epochs and scores
            scores.append(better(scores[-1], epoch.score) if keeps_best else epoch.score)
            return math.isnan(epoch.score) or task.misses(scores)

        try:
            fitted = fit(
                recipe,
                _training_set(self.prepared, self.augmented),
                fold=task.fold,
                seed=self.seed,
                fraction=task.fraction,
                until=task.epochs,
                state=fit_state(folder),
                on_epoch=told,
            )
        except (OSError, UnavailableError):
            raise  # the disk or the network, not the values
        except CompetitionError as error:
            return Curve(_numbers(scores), str(error))
        except Exception as error:  # whatever a framework raises for a size it cannot do
            words = re.sub(r"\x1b\[\d*m", "", f"{type(error).__name__}: {error}")
            reason = " ".join(words.split())[:REASON_LETTERS]
            return Curve(_numbers(scores), reason, lasting=not lacks_memory(error))
        if math.isnan(scores[-1]):
            reason = f"the metric has no value on fold {task.fold}, most often because it has one class only there"
            return Curve(_numbers(scores), reason)
        with whole_file(predictions(folder, len(scores))) as file:
            np.save(file, fitted.probabilities)
        return Curve(tuple(scores), ended=len(scores) < task.epochs and not task.misses(scores))


def _laid(recipe: str, values: Values) -> Recipe:
    return overlay(Recipe.model_validate_json(recipe), values)


@lru_cache(maxsize=1)
def _training_set(prepared: Path, augmented: Path) -> "TrainingSet":
    from competition.batches import read_training_set

    return read_training_set(prepared, augmented)


def _numbers(scores: Sequence[float]) -> tuple[float, ...]:
    return tuple(score for score in scores if not math.isnan(score))
