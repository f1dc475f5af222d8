"""Run a search: an oracle proposes values, something tries them, every outcome is recorded."""

import tempfile
import warnings
from collections.abc import Callable

import keras_tuner

from competition.params import TuneParams
from competition.search.outcomes import FailedTrialError, Trial, Values
from competition.search.space import hyperparameters, plain


def search(
    params: TuneParams,
    evaluate: Callable[[Values], float],
    *,
    seed: int,
    greater: bool = True,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """Search the space for the best score.

    A point that is proposed again is not tried again: it has the score it had.

    Args:
        params: tuner, number of trials and space.
        evaluate: scores values by dotted path; raises FailedTrialError where they cannot be scored.
        seed: of the proposals.
        greater: whether a higher score is a better one.
        on_trial: told of every trial as it ends.

    Returns:
        The trials in their order; fewer than ``max_trials`` if the tuner finds no new point.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The Gaussian process of the Bayesian oracle says when it met the bounds of its own fit.
        warnings.filterwarnings("ignore", module="sklearn")
        warnings.filterwarnings("ignore", module="keras_tuner")  # of a failed trial's score, and of its own old calls
        tuner = _Tuner(_oracle(params, seed, greater), evaluate, on_trial, folder)
        try:
            tuner.search()
        except keras_tuner.errors.FatalError as error:
            raise error.__cause__ or error from None
    return tuner.trials


def best(trials: list[Trial], greater: bool = True) -> Trial | None:
    """Return the trial with the best score, the earliest of equals; None if all failed."""
    scored = [(trial.score, trial) for trial in trials if trial.score is not None]
    sign = 1 if greater else -1
    return max(scored, key=lambda pair: (sign * pair[0], -pair[1].number), default=(None, None))[1]


def _oracle(params: TuneParams, seed: int, greater: bool) -> keras_tuner.Oracle:
    kinds = {
        "random": keras_tuner.oracles.RandomSearchOracle,
        # By default it draws three random points for each value before it models anything; a search of a competitor
        # with one machine is not much longer than that. One more than there are values span the space.
        "bayesian": lambda **shared: keras_tuner.oracles.BayesianOptimizationOracle(
            num_initial_points=len(params.space) + 1, **shared
        ),
    }
    return kinds[params.tuner](
        objective=keras_tuner.Objective("score", "max" if greater else "min"),
        max_trials=params.max_trials,
        hyperparameters=hyperparameters(params.space),
        allow_new_entries=False,
        tune_new_entries=False,
        max_consecutive_failed_trials=params.max_trials + 1,  # never: a failed trial is a result
        seed=seed,
    )


class _Tuner(keras_tuner.Tuner):
    """KerasTuner's loop around any function that scores values."""

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        evaluate: Callable[[Values], float],
        on_trial: Callable[[Trial], None],
        folder: str,
    ) -> None:
        super().__init__(oracle, directory=folder, project_name="search")
        self.oracle.verbose = 0
        self.trials: list[Trial] = []
        self._evaluate, self._on_trial = evaluate, on_trial

    def run_trial(self, trial: keras_tuner.engine.trial.Trial) -> dict[str, float]:
        values = plain(trial.hyperparameters.values)
        score, reason = self._known(values) or self._try(values)
        self.trials.append(Trial(len(self.trials) + 1, values, score, reason))
        self._on_trial(self.trials[-1])
        # KerasTuner takes a score that is no number for a failed trial; an exception it would print.
        return {"score": float("nan") if score is None else score}

    def _known(self, values: Values) -> tuple[float | None, str] | None:
        same = next((trial for trial in self.trials if trial.values == values), None)
        return (same.score, f"repeats trial {same.number}") if same else None

    def _try(self, values: Values) -> tuple[float | None, str]:
        try:
            return self._evaluate(values), ""
        except FailedTrialError as error:
            return None, str(error)
        except Exception as error:
            # KerasTuner takes other errors for failed trials too; this one ends the search.
            raise keras_tuner.errors.FatalError(str(error)) from error
