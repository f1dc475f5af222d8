"""tune: search the space for the values that score best on a validation fold."""

import statistics
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from competition import backend
from competition.arrays import open_array
from competition.artifacts import read_json, read_samples, require, stage_folder, write_csv
from competition.console import counted, say
from competition.errors import CompetitionError
from competition.layout import (
    CONTRACT,
    FINALISTS,
    HYPERPARAMETERS,
    IMPORTANCE,
    PARALLEL,
    POLICY,
    SAMPLES,
    TRIALS,
    pixels,
)
from competition.parallel import cores
from competition.params import TuneParams
from competition.reading import overlay
from competition.recipes import Recipe
from competition.scores import find_metric
from competition.search.board import Board
from competition.search.forecast import Forecast, forecast, measure_rate
from competition.search.outcomes import Attempt, Search, best
from competition.search.processes import TrialProcess
from competition.search.results import Results
from competition.search.schedule import is_late, may_go_on, split
from competition.search.summary import beats, importance, parallel, tell
from competition.search.training import Impossible, Training
from competition.search.trials import lend_a_hand, search, shown
from competition.search.workers import Address
from competition.seeds import derive
from competition.shapes import NEEDS_KERAS
from competition.state import keyed
from competition.tasks import Target

COLUMNS = ("trial", "score", "best", "epochs", "reason")


def tune(
    params: TuneParams,
    recipe: Recipe,
    *,
    prepared: Path,
    augmented: Path,
    out: Path,
    state: Path,
    seed: int,
    threads: int | str,
    listen: str | None = None,
    here: int | None = None,
) -> None:
    """Run trials, each a model trained on all folds but one and scored on that one by the competition's metric.

    Args:
        params: tuner, trials, epochs, fold, space.
        recipe: the model and train sections, over which a trial lays its values.
        prepared, augmented: the folders that prepare and augment wrote.
        out: the folder to write.
        state: the project's folder of what a second run goes on with; the results of all trials stay there.
        seed: of the proposals, and of every trial alike, so that trials differ by their values alone.
        threads: CPU threads of a model; with auto the workers share all cores.
        listen: HOST:PORT where workers of other machines find the search; None for none of them.
        here: workers on this machine; None for all.

    Writes:
        trials.csv: trial, score (empty if it failed), best (score so far), epochs (trained), reason (why it failed or
            was stopped, or which trial it goes on with), and a column for each value of the space (empty where its
            condition does not hold).
        hyperparameters.yaml: dotted path: value, of the best trial; empty with ``max_trials: 0``.
        importance.csv: path, importance: how much of the score's variation each value of the space makes.
        parallel.csv: trial, axis, position, text, score: the trials in parallel coordinates.
        finalists.csv: trial, fold_<k> (its score on that fold) for two folds, of which it was trained for the second
            on all samples, mean; if there are finalists.

    A healthy run:
        On the bundled digits: 6 trials between 0.95 and 1.0.

    Raises:
        CompetitionError: every trial failed.
    """
    require(prepared / CONTRACT, "compete prepare")
    require(augmented / POLICY, "compete augment")
    metric = find_metric(read_json(prepared / CONTRACT)["metric"])
    with stage_folder(out) as folder:
        if not params.max_trials:
            write_csv(folder / TRIALS, pd.DataFrame(columns=[*COLUMNS, *params.space]))
            _summarise(params, [], folder, seed)
            (folder / HYPERPARAMETERS).write_text("{}\n")
            say("tune: no search; train takes the values of params.yaml")
            return
        is_alone = params.workers == 1 and listen is None
        plan, training, results = _plan(params, recipe, prepared, augmented, state, seed, threads, is_alone)
        told_before = _forecast(params, training, prepared)
        say(f"tune: {told_before or 'no forecast, for no model drawn can be built, or its shapes told without Keras'}")
        if results.known:
            known = counted(results.known, "training is", "trainings are")
            say(f"tune: up to {known} known from before and not repeated")
        address = Address.read(listen) if listen else None
        trials, passed_over = _search(plan, recipe, training, results, metric.name, is_alone, address, here)
        tried, repeated = split(plan, trials)
        finalists = [_Finalist(tried[trial.task.of - 1], trial) for trial in repeated if trial.task.of]
        winner, told = _choose(plan, tried, finalists, passed_over, metric.name)
        write_csv(folder / TRIALS, _table(plan, tried))
        if finalists:
            write_csv(folder / FINALISTS, _finalists(finalists))
        with (folder / HYPERPARAMETERS).open("w", encoding="utf-8") as file:
            YAML().dump({path: winner.values[path] for path in params.space if path in winner.values}, file)
        _summarise(params, tried, folder, seed)
        lead = _lead(plan, tried, finalists, results, prepared, seed)
    results.tidy(shown(plan, trials), may_go_on(plan, trials))
    say(told)
    if lead:
        say(f"tune: {lead}")
    for line in _remarks(plan, tried, finalists, passed_over, out):
        say(f"tune: {line}")


def work(
    params: TuneParams,
    recipe: Recipe,
    *,
    chief: str,
    prepared: Path,
    augmented: Path,
    seed: int,
    threads: int | str,
) -> None:
    """Work for a search that runs elsewhere, until it has no trial any more. Nothing that is written stays.

    Args:
        chief: HOST:PORT where it listens.
        params, recipe, prepared, augmented, seed, threads: as those of the search, which is asked whether they are.

    Raises:
        CompetitionError: nobody answers, or searches something else.
    """
    address = Address.read(chief)
    require(prepared / CONTRACT, "compete prepare")
    require(augmented / POLICY, "compete augment")
    metric = find_metric(read_json(prepared / CONTRACT)["metric"])

    def show(trial: Attempt) -> None:
        score = f"{metric.name} {trial.score:.4f}" if trial.score is not None else f"failed: {trial.reason}"
        say(f"  trial {trial.number}: {score}")

    with TemporaryDirectory() as folder:
        plan, training, results = _plan(params, recipe, prepared, augmented, Path(folder), seed, threads, False)
        say(f"tune: works for the search at {address}")
        lend_a_hand(plan, training, results, address, show)
    say("tune: the search has no trial any more")


def _plan(
    params: TuneParams,
    recipe: Recipe,
    prepared: Path,
    augmented: Path,
    state: Path,
    seed: int,
    threads: int | str,
    is_alone: bool,
) -> tuple[Search, Training, Results]:
    """Say what is searched, how a trial is trained, and what is known of it.

    A trial of the only worker is spread over all cards, one of several workers has one of them: other bits.
    """
    recipe = overlay(recipe, {"train.epochs": params.epochs})
    shared = max(1, cores() // params.workers) if threads == "auto" else int(threads)
    parameters = {
        "seed": seed,
        "recipe": recipe.model_dump(mode="json", exclude={"train": {"folds", "seeds", "refit"}}),
        "fraction": params.fraction,
        "fold": params.fold,
    }
    arrays = require(prepared / pixels("train"), "compete prepare")
    samples = require(prepared / SAMPLES, "compete prepare")
    inputs = [prepared / CONTRACT, samples, arrays, augmented / POLICY, *recipe.files]
    folder = keyed(state, "tune", parameters, inputs, shared, one_card=not is_alone)
    contract = read_json(prepared / CONTRACT)
    shape = open_array(arrays).shape[1:]
    plan = Search(
        params,
        key=folder.name,
        seed=derive(seed, "tune", "search"),
        greater=find_metric(contract["metric"]).greater,
        folds=contract["folds"],
        impossible=Impossible(recipe.model_dump_json(), shape, Target.of(contract)),
    )
    fit_seed = derive(seed, "tune", "fit")
    training = Training(recipe.model_dump_json(), prepared.absolute(), augmented.absolute(), fit_seed, shared)
    return plan, training, Results(folder.absolute(), run=uuid.uuid4().hex)


def _forecast(params: TuneParams, training: Training, prepared: Path) -> Forecast | None:
    """Reckon what the search will take; a backbone's shapes would start Keras here, so of it nothing is said."""
    recipe = Recipe.model_validate_json(training.recipe)
    if recipe.model.family in NEEDS_KERAS:
        return None
    samples = read_samples(prepared)
    folds = samples.loc[samples["split"] == "train", "fold"]
    n_val = int((folds == params.fold).sum())
    contract, shape = read_json(prepared / CONTRACT), open_array(prepared / pixels("train")).shape[1:]
    rate = measure_rate(training.threads * params.workers)
    return forecast(params, recipe, shape, Target.of(contract), len(folds) - n_val, n_val, rate)


def _search(
    plan: Search,
    recipe: Recipe,
    training: Training,
    results: Results,
    metric: str,
    is_alone: bool,
    listen: Address | None,
    here: int | None,
) -> tuple[list[Attempt], list[str]]:
    """Run the trials, and show them as they end; return what `search` does."""

    def invite(address: Address) -> None:
        if listen:
            say(f"tune: others join with: compete tune --worker {address.far}")

    with Board(plan, metric) as board, TrialProcess(training) if is_alone else nullcontext(training) as apart:
        if is_alone:  # KerasTuner needs Keras here too; the process imports it meanwhile
            backend.start(training.threads, recipe.train.deterministic)
        return search(plan, apart, results, on_trial=board.add, listen=listen, here=here, on_start=invite)


def _summarise(params: TuneParams, tried: Sequence[Attempt], folder: Path, seed: int) -> None:
    """Write what the plots of the search show."""
    write_csv(folder / IMPORTANCE, importance(params.space, tried, derive(seed, "tune", "importance")))
    write_csv(folder / PARALLEL, parallel(params.space, tried))


@dataclass(frozen=True)
class _Finalist:
    """One of the best trials, and how it did again: on the next fold, trained on all samples."""

    trial: Attempt
    again: Attempt

    @property
    def mean(self) -> float | None:
        """The mean score over both folds; None if it failed on the next."""
        if self.trial.score is None or self.again.score is None:
            return None
        return statistics.fmean((self.trial.score, self.again.score))


def _ranked(plan: Search, finalists: Sequence[_Finalist]) -> list[_Finalist]:
    """Return the finalists that did not fail, best first."""
    sign = -1 if plan.greater else 1
    ended = [(sign * each.mean, each.trial.number, each) for each in finalists if each.mean is not None]
    return [each for _, _, each in sorted(ended, key=lambda row: row[:2])]


def _lead(
    plan: Search,
    tried: Sequence[Attempt],
    finalists: Sequence[_Finalist],
    results: Results,
    prepared: Path,
    seed: int,
) -> str:
    """Say whether the best trial beats the second by more than the noise; nothing if there is no second.

    Finalists are compared on the next fold alone: by that none was chosen for the final.
    """
    ranked = [(each.trial.number, each.again) for each in _ranked(plan, finalists)]
    first_two = ranked[:2] or [(trial.number, trial) for trial in best(plan, tried, 2)]
    paths = [results.predictions(trial) for _, trial in first_two]
    if len(first_two) < 2:
        return ""
    (first_number, trial), (second_number, _) = first_two
    if not all(path.exists() for path in paths):  # trained by another machine, or known from a search of another space
        return f"not all predictions of trials {first_number} and {second_number} are here to tell the two apart"
    fold = trial.task.fold
    contract, samples = read_json(prepared / CONTRACT), read_samples(prepared)
    target = Target.of(contract)
    metric = find_metric(contract["metric"], target.grades)
    held = samples[(samples["split"] == "train") & (samples["fold"] == fold)]
    first, second = (np.load(path) for path in paths)
    difference = beats(metric, target, target.truth(list(held["label"])), first, second, derive(seed, "tune", "lead"))
    return f"on fold {fold} {tell(first_number, second_number, difference)}"


def _choose(
    plan: Search, tried: Sequence[Attempt], finalists: Sequence[_Finalist], passed_over: Sequence[str], metric: str
) -> tuple[Attempt, str]:
    """Choose a trial, and say why.

    Raises:
        CompetitionError: no trial has a score.
    """
    if not tried:
        raise CompetitionError(
            f"none of {len(passed_over)} points of tune.space that were drawn can be built, the first because "
            f"{passed_over[0]}; change tune.space, or the values it does not vary"
        )
    scored = best(plan, tried)
    if not scored:
        failed = "the one trial" if len(tried) == 1 else f"all {len(tried)} trials"
        raise CompetitionError(
            f"{failed} failed, the first because of {tried[0].reason}; change tune.space, "
            "or the values it does not vary"
        )
    ranked = _ranked(plan, finalists)
    if not ranked:
        winner = scored[0]
        return winner, (
            f"tune: trial {winner.number} of {len(tried)} is best, {metric} {winner.score:.4f} on fold "
            f"{plan.params.fold}"
        )
    first = ranked[0]
    return first.trial, (
        f"tune: trial {first.trial.number} of {len(tried)} is best of {len(finalists)} finalists, {metric} "
        f"{first.mean:.4f} on average over the folds {plan.params.fold} and {first.again.task.fold}"
    )


def _table(plan: Search, tried: Sequence[Attempt]) -> pd.DataFrame:
    rows = []
    for trial in tried:
        leader = best(plan, tried[: trial.number])
        reason = trial.reason or (f"goes on with trial {trial.task.of}" if trial.task.of else "")
        columns = (trial.number, trial.score, leader[0].score if leader else None, trial.epochs, reason)
        rows.append({**dict(zip(COLUMNS, columns, strict=True)), **trial.values})
    return pd.DataFrame(rows, columns=[*COLUMNS, *plan.params.space])


def _finalists(finalists: Sequence[_Finalist]) -> pd.DataFrame:
    fold, next_fold = finalists[0].trial.task.fold, finalists[0].again.task.fold
    rows = [(each.trial.number, each.trial.score, each.again.score, each.mean) for each in finalists]
    return pd.DataFrame(rows, columns=["trial", f"fold_{fold}", f"fold_{next_fold}", "mean"])


def _remarks(
    plan: Search, tried: Sequence[Attempt], finalists: Sequence[_Finalist], passed_over: Sequence[str], out: Path
) -> list[str]:
    """Say what is worth to know of how the search went."""
    params = plan.params
    kinds = [trial.outcome.kind for trial in tried if trial.outcome]
    known = sum(trial.outcome.known for trial in tried if trial.outcome)
    told = []
    if failed := kinds.count("failed"):
        told.append(f"{failed} trial{'s' * (failed > 1)} failed, see {out / TRIALS}")
    if lost := [each.again for each in finalists if each.mean is None]:
        told.append(
            f"{len(lost)} of {len(finalists)} finalists failed on fold {lost[0].task.fold}, the first because of "
            f"{lost[0].reason}"
        )
    if stopped := kinds.count("stopped"):
        told.append(f"{stopped} of {len(tried)} trials stopped early, below the median of the others")
    if known:
        told.append(f"{known} of {len(tried)} trials were known from before")
    if passed_over:
        points, were = ("point", "was") if len(passed_over) == 1 else ("points", "were")
        told.append(
            f"{len(passed_over)} {points} of tune.space cannot be built and {were} passed over, the first because "
            f"{passed_over[0]}"
        )
    if len(tried) < params.max_trials:
        late = f"{counted(params.minutes, 'minute was', 'minutes were')} over"
        why = late if is_late(plan, tried) else "no other point was found"
        told.append(f"{why} after {counted(len(tried), 'trial')} of {params.max_trials}")
    return told
