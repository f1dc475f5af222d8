"""Score values in a process of their own, so that a trial that takes all memory takes only itself."""

import math
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from competition.errors import CompetitionError
from competition.params import Recipe
from competition.reading import overlay
from competition.search.outcomes import FailedTrialError, Values

REASON_LETTERS = 300  # of a framework's message, which may quote the whole model
TRIALS_PER_PROCESS = 10  # TensorFlow keeps 7 to 10 MB of each trial until its process ends


@dataclass(frozen=True)
class Job:
    """Everything a worker needs besides the values."""

    recipe: Recipe
    prepared: Path
    augmented: Path
    fold: int
    seed: int
    threads: int | str


class Workers:
    """A worker process that is replaced when it has died or has done its number of trials."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._pool = self._new_pool()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _new_pool(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, context, _start, (self._job,), max_tasks_per_child=TRIALS_PER_PROCESS)

    def evaluate(self, values: Values) -> float:
        """Train on all folds but one with these values, and return the metric on that one.

        Raises:
            FailedTrialError: the model cannot be built, memory ran out, the loss is no number, the process died.
        """
        try:
            score, reason = self._pool.submit(_score, values).result()
        except (BrokenProcessPool, BrokenPipeError):  # the second if it was killed while it started
            self._pool.shutdown()
            self._pool = self._new_pool()
            raise FailedTrialError("the process was killed, most often because memory ran out") from None
        if score is None:
            raise FailedTrialError(reason)
        return score


_job: Job  # set once in the worker process


def _start(job: Job) -> None:
    from competition import backend
    from competition.parallel import follow_parent

    global _job
    follow_parent()
    backend.start(job.threads)
    _job = job


def _score(values: Values) -> tuple[float | None, str]:
    from competition.batches import read_training_set
    from competition.fitting import fit

    training_set = read_training_set(_job.prepared, _job.augmented)
    try:
        fitted = fit(overlay(_job.recipe, values), training_set, fold=_job.fold, seed=_job.seed)
    except OSError:
        raise  # the disk, not the values
    except CompetitionError as error:
        return None, str(error)
    except Exception as error:  # whatever a framework raises for a size it cannot do
        told = re.sub(r"\x1b\[\d*m", "", f"{type(error).__name__}: {error}")
        return None, " ".join(told.split())[:REASON_LETTERS]
    if math.isnan(fitted.kept.score):
        return None, f"the metric has no value on fold {_job.fold}, most often because it has one class only there"
    return fitted.kept.score, ""
