"""KerasTuner's part: its trials hold all that a search knows, and its messages carry them between processes.

KerasTuner knows nothing of the space, of which it would make no use. The values of its trials are a task and its
outcome, as text: its messages bring texts as they are, but round scores to float32.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache

from competition import backend
from competition.search.outcomes import Attempt, Outcome, Search, Task, Values
from competition.search.points import Key, key_of
from competition.search.proposals import Signal
from competition.search.schedule import next_task

with backend.without({"sklearn"}):  # which its own tuners use, and which takes a second
    import keras_tuner
    from keras_tuner.engine.trial import Trial as Told
    from keras_tuner.engine.trial import TrialStatus
    from keras_tuner.src.distribute import oracle_client

SEARCH, TASK, OUTCOME = "search", "task", "outcome"  # names of the values
IDLE_SECONDS = 0.1  # before a worker that got no trial asks again; KerasTuner would ask without end


class Sieve:
    """Tells possible values from others, each once, and knows how many others it has met."""

    def __init__(self, impossible: Callable[[Values], str | None]) -> None:
        self._impossible = impossible
        self._reasons: dict[Key, str | None] = {}

    def __call__(self, values: Values) -> bool:
        point = key_of(values)
        if point not in self._reasons:
            self._reasons[point] = self._impossible(values)
        return self._reasons[point] is None

    @property
    def reasons(self) -> list[str]:
        """Why values were passed over, one for each point."""
        return [reason for reason in self._reasons.values() if reason is not None]


class Oracle(keras_tuner.Oracle):
    """Proposes what `next_task` says. It keeps nothing: all it goes by are KerasTuner's trials."""

    def __init__(self, search: Search) -> None:
        space = keras_tuner.HyperParameters()
        space.Fixed(SEARCH, search.key)
        most = search.params.max_trials + search.params.repeats
        super().__init__(
            objective=keras_tuner.Objective("score", "max" if search.greater else "min"),
            max_trials=most,
            hyperparameters=space,
            allow_new_entries=False,
            tune_new_entries=False,
            max_consecutive_failed_trials=most + 1,  # never: a failed trial is a result
            seed=search.seed,
        )
        self.verbose = 0
        self.search = search
        self.sieve = Sieve(search.impossible)
        self.is_over = False
        self.error: Exception | None = None

    def populate_space(self, trial_id: str) -> dict[str, object]:
        try:
            task = next_task(self.search, self.told(), self.sieve)
        except Exception as error:  # KerasTuner would tell it to a worker, who can do nothing about it
            self.error, task = error, Signal.END
        if isinstance(task, Signal):
            self.is_over = task is Signal.END
            return {"status": TrialStatus.STOPPED if self.is_over else TrialStatus.IDLE}
        return {"status": TrialStatus.RUNNING, "values": {SEARCH: self.search.key, TASK: json.dumps(asdict(task))}}

    def save(self) -> None:
        """Write nothing: no file of KerasTuner's would be read, and a full disk it tells as no other error here."""

    def _save_trial(self, trial: Told) -> None:
        """Write nothing."""

    def told(self) -> list[Attempt]:
        """Return the trials that have begun."""
        return [read(trial) for trial in list(self.trials.values())]  # a list, for another thread may add one


def read(told: Told) -> Attempt:
    """Read a trial of KerasTuner's."""
    held = told.hyperparameters.values
    return _read(held[TASK], held.get(OUTCOME))


@lru_cache(maxsize=10_000)  # every question to the oracle goes through all trials
def _read(asked: str, told: str | None) -> Attempt:
    task = json.loads(asked)
    outcome = json.loads(told) if told else None
    return Attempt(
        Task(**{**task, "bars": tuple(task["bars"])}),
        Outcome(**{**outcome, "scores": tuple(outcome["scores"])}) if outcome else None,
    )


class LostError(Exception):
    """The chief was gone when a trial ended; it is asked for again."""


class EnoughError(Exception):
    """The process has had as many trials as one may."""


def be_patient(seconds: int) -> None:
    """Let a worker wait so long for its chief; KerasTuner's own patience is an hour."""
    oracle_client.TIMEOUT = seconds


class Tuner(keras_tuner.Tuner):
    """KerasTuner's loop: ask the oracle for a trial, try it, tell.

    Args:
        oracle: the one that is asked, or that stands for the chief's.
        evaluate: tries a task.
        on_trial: told of every trial as it ends.
        most_trials: after which to raise EnoughError.
    """

    def __init__(
        self,
        oracle: Oracle,
        evaluate: Callable[[Task], Outcome],
        on_trial: Callable[[Attempt], None],
        most_trials: int | None = None,
    ) -> None:
        super().__init__(oracle, overwrite=True)  # else it would look for a file to go on from
        self._evaluate, self._on_trial, self._left = evaluate, on_trial, most_trials
        self._is_idle = False

    @property
    def project_dir(self) -> str:
        """No folder: none is made."""
        return ""

    def save(self) -> None:
        """Write nothing, as the oracle."""

    def run(self) -> None:
        """Search until there is no trial any more.

        Raises:
            EnoughError: this process has had its number of trials.
            LostError: the chief was gone.
            Exception: what the oracle or a trial could not go on after.
        """
        try:
            self.search()
        except keras_tuner.errors.FatalError as error:
            raise error.__cause__ or error from None

    def pre_create_trial(self) -> None:
        if self._left == 0:
            raise EnoughError
        if self._is_idle:
            time.sleep(IDLE_SECONDS)
        self._is_idle = True

    def on_trial_begin(self, trial: Told) -> None:
        self._is_idle = False

    def run_trial(self, trial: Told, **kwargs: object) -> dict[str, float]:
        asked = read(trial)
        try:
            outcome = asked.outcome or self._evaluate(asked.task)
        except Exception as error:
            # KerasTuner takes other errors for a failed trial; this one ends the search.
            raise keras_tuner.errors.FatalError(str(error)) from error
        trial.hyperparameters.values[OUTCOME] = json.dumps(asdict(outcome))
        if self._left is not None:
            self._left -= 1
        # KerasTuner takes a score that is no number for a failed trial; an exception it would print.
        return {"score": float("nan") if outcome.score is None else outcome.score}

    def on_trial_end(self, trial: Told) -> None:
        if trial.status != TrialStatus.COMPLETED:  # its score could not be told
            raise LostError
        super().on_trial_end(trial)
        self._on_trial(read(trial))
