"""What training came to, kept on disk, so that a search that is run again goes on where it was.

``<values, fold and fraction>/`` in the folder of the search holds ``result.json``, the curve; ``fit/``, the state of a
training that may go on; ``after-<epochs>.npy``, predictions of the validation samples; ``died-<run>``, a letter for
each time that the process of its training was killed.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from competition.artifacts import whole_file
from competition.search.outcomes import DIED, Attempt, Curve, Outcome, Task

RESULT = "result.json"
TRIES = 2  # at a training whose process is killed; memory that ran out may be there the second time


class DiedError(Exception):
    """The process that trained was killed."""


def fit_state(folder: Path) -> Path:
    """Return where a training keeps its state."""
    return folder / "fit"


def predictions(folder: Path, epochs: int) -> Path:
    """Return where the predictions of the validation samples after so many epochs are."""
    return folder / f"after-{epochs}.npy"


@dataclass(frozen=True)
class Results:
    """The results of a search.

    Attributes:
        folder: theirs; what may change a result is in its name.
        run: names this run of the command. What may turn out better in another is forgotten then.
    """

    folder: Path
    run: str

    @property
    def known(self) -> int:
        """How many trainings are known, some of them perhaps of values that are not searched any more."""
        return sum(1 for _ in self.folder.glob(f"*/{RESULT}"))

    def of(self, task: Task) -> Path:
        """Return the folder of a task's values, fold and fraction."""
        what = json.dumps([sorted(task.values.items()), task.fold, task.fraction])
        return self.folder / hashlib.blake2b(what.encode(), digest_size=16).hexdigest()

    def read(self, task: Task) -> Curve | None:
        """Return the curve of a task's values, fold and fraction, as far as it is known."""
        try:
            held = json.loads((self.of(task) / RESULT).read_text())
            spent = tuple((epochs, seconds) for epochs, seconds in held["spent"])
            curve = Curve(tuple(held["scores"]), held["reason"], held["ended"], held["lasting"], spent)
        except (FileNotFoundError, ValueError, KeyError):
            return None
        return curve if curve.lasting or held["run"] == self.run else None

    def write(self, task: Task, curve: Curve) -> None:
        """Keep a curve."""
        held = {"values": task.values, "fold": task.fold, "scores": curve.scores, "reason": curve.reason,
                "ended": curve.ended, "lasting": curve.lasting, "spent": curve.spent, "run": self.run}  # fmt: skip
        self.of(task).mkdir(parents=True, exist_ok=True)
        with whole_file(self.of(task) / RESULT) as file:
            file.write(json.dumps(held, indent=1).encode() + b"\n")

    def count_death(self, task: Task) -> None:
        """Remember that the process of its training was killed."""
        self.of(task).mkdir(parents=True, exist_ok=True)
        with (self.of(task) / f"died-{self.run}").open("a") as file:
            file.write(".")

    def deaths(self, task: Task) -> int:
        """Count how often that has happened in this run."""
        path = self.of(task) / f"died-{self.run}"
        return path.stat().st_size if path.exists() else 0

    def learn(self, trial: Attempt) -> None:
        """Keep what another machine has found; what failed there may be tried again here."""
        known, outcome = self.read(trial.task), trial.outcome
        if outcome and outcome.kind != "failed" and not (known and known.answer(trial.task)):
            ended = outcome.kind == "done" and trial.epochs < trial.task.epochs
            spent = (*(known.spent if known else ()), (trial.epochs, outcome.seconds))
            self.write(trial.task, Curve(outcome.scores, ended=ended, spent=spent))

    def predictions(self, trial: Attempt) -> Path:
        """Return where a trial's predictions are, if they are."""
        return predictions(self.of(trial.task), trial.epochs)

    def forget_predictions(self, trials: Collection[Attempt], but: Collection[Attempt]) -> None:
        """Remove the predictions of some trials, but not of others; those of trials that are yet to come stay."""
        for path in {self.predictions(trial) for trial in trials} - {self.predictions(trial) for trial in but}:
            path.unlink(missing_ok=True)

    def forget_fit(self, task: Task) -> None:
        """Remove the state of a training that will not go on."""
        shutil.rmtree(fit_state(self.of(task)), ignore_errors=True)

    def tidy(self, shown: Collection[Attempt] = (), going_on: Collection[Attempt] = ()) -> None:
        """Remove all but the results, the predictions of some trials, and the state of those that may go on."""
        kept = {
            *self.folder.glob(f"*/{RESULT}"),
            *(self.predictions(trial) for trial in shown),
            *(fit_state(self.of(trial.task)) for trial in going_on),
        }
        for path in {*self.folder.glob("*/*")} - kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@dataclass(frozen=True)
class Remembering:
    """Answers from what is known, and else trains.

    Attributes:
        evaluate: trains; may raise DiedError.
        results: what is known.
    """

    evaluate: Callable[[Task, Path], Curve]
    results: Results

    def __call__(self, task: Task) -> Outcome:
        known = self.results.read(task)
        outcome = known.answer(task) if known else None
        if outcome:
            return replace(outcome, known=True)
        curve = self._train(task, known.spent if known else ())
        outcome = curve.answer(task)
        assert outcome, f"training ended after {len(curve.scores)} of {task.epochs} epochs"
        self.results.write(task, curve)
        return outcome

    def _train(self, task: Task, spent: tuple[tuple[int, float], ...]) -> Curve:
        start = monotonic() - (spent[-1][1] if spent else 0.0)
        self.results.of(task).mkdir(parents=True, exist_ok=True)
        while self.results.deaths(task) < TRIES:
            try:
                curve = self.evaluate(task, self.results.of(task))
                return replace(curve, spent=(*spent, (len(curve.scores), monotonic() - start)))
            except DiedError:
                self.results.count_death(task)
        return Curve((), DIED, lasting=False, spent=(*spent, (0, monotonic() - start)))
