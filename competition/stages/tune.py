"""tune: search the space for the values that score best on a validation fold."""

import statistics
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from competition import backend
from competition.arrays import open_array
from competition.artifacts import read_json, read_samples, require, stage_folder, write_csv
from competition.console import say
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
from competition.search.trials import SHOWN, lend_a_hand, search
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
        plan, training, results = _plan(params, recipe, prepared, augmented, state, seed, threads)
        if told_before := _forecast(params, training, prepared):
            say(f"tune: {told_before}")
        is_alone = params.workers == 1 and listen is None
        with Board(plan, metric.name) as board, TrialProcess(training) if is_alone else nullcontext(training) as apart:
            if is_alone:  # KerasTuner needs Keras here too; the process imports it meanwhile
                backend.start(training.threads, recipe.train.deterministic)
            trials, passed_over = search(
                plan,
                apart,
                results,
                on_trial=board.add,
                listen=Address.read(listen) if listen else None,
                here=here,
                on_start=lambda address: (
                    say(f"tune: others join with: compete tune --worker {address.far}") if listen else None
                ),
            )
        tried, repeated = split(plan, trials)
        winner, told = _choose(plan, tried, repeated, passed_over, metric.name)
        write_csv(folder / TRIALS, _table(plan, tried))
        if repeated:
            write_csv(folder / FINALISTS, _finalists(plan, tried, repeated))
        with (folder / HYPERPARAMETERS).open("w", encoding="utf-8") as file:
            YAML().dump({path: winner.values[path] for path in params.space if path in winner.values}, file)
        _summarise(params, tried, folder, seed)
        lead = _lead(plan, tried, results, prepared, seed)
    results.tidy(best(plan, tried, SHOWN), may_go_on(plan, trials))
    say(told)
    if lead:
        say(f"tune: {lead}")
    for line in _remarks(plan, tried, passed_over, out):
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
        plan, training, results = _plan(params, recipe, prepared, augmented, Path(folder), seed, threads)
        say(f"tune: works for the search at {address}")
        lend_a_hand(plan, training, results, address, show)
    say("tune: the search has no trial any more")


def _plan(
    params: TuneParams, recipe: Recipe, prepared: Path, augmented: Path, state: Path, seed: int, threads: int | str
) -> tuple[Search, Training, Results]:
    """Say what is searched, how a trial is trained, and what is known of it."""
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
    folder = keyed(state, "tune", parameters, inputs, shared)
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


def _summarise(params: TuneParams, tried: Sequence[Attempt], folder: Path, seed: int) -> None:
    """Write what the plots of the search show."""
    write_csv(folder / IMPORTANCE, importance(params.space, tried, derive(seed, "tune", "importance")))
    write_csv(folder / PARALLEL, parallel(params.space, tried))


def _lead(plan: Search, tried: Sequence[Attempt], results: Results, prepared: Path, seed: int) -> str:
    """Say whether the best trial beats the second by more than the noise; nothing if their predictions are not here."""
    first_two = best(plan, tried, 2)
    paths = [results.predictions(trial) for trial in first_two]
    if len(first_two) < 2 or not all(path.exists() for path in paths):
        return ""
    contract, samples = read_json(prepared / CONTRACT), read_samples(prepared)
    metric, target = find_metric(contract["metric"]), Target.of(contract)
    held = samples[(samples["split"] == "train") & (samples["fold"] == plan.params.fold)]
    first, second = (np.load(path) for path in paths)
    difference = beats(metric, target, target.truth(list(held["label"])), first, second, derive(seed, "tune", "lead"))
    return tell(first_two[0].number, first_two[1].number, difference)


def _choose(
    plan: Search, tried: Sequence[Attempt], repeated: Sequence[Attempt], passed_over: Sequence[str], metric: str
) -> tuple[Attempt, str]:
    """Choose a trial, and say why.

    Raises:
        CompetitionError: no trial has a score.
    """
    if not tried:
        raise CompetitionError(
            f"none of {len(passed_over)} points of tune.space can be built, the first because {passed_over[0]}; change "
            "tune.space, or the values it does not vary"
        )
    scored = best(plan, tried)
    if not scored:
        raise CompetitionError(
            f"all {len(tried)} trials failed, the first because of {tried[0].reason}; change tune.space, "
            "or the values it does not vary"
        )
    means = _means(tried, repeated)
    if not means:
        winner = scored[0]
        return winner, (
            f"tune: trial {winner.number} of {len(tried)} is best, {metric} {winner.score:.4f} on fold "
            f"{plan.params.fold}"
        )
    sign = 1 if plan.greater else -1
    number = max(means, key=lambda number: (sign * means[number], -number))
    return tried[number - 1], (
        f"tune: trial {number} of {len(tried)} is best of {len(repeated)} finalists, {metric} {means[number]:.4f} on "
        f"average over the folds {plan.params.fold} and {repeated[0].task.fold}"
    )


def _means(tried: Sequence[Attempt], repeated: Sequence[Attempt]) -> dict[int, float]:
    """Return the mean score over both folds of the finalists that did not fail, by the number of their trial."""
    pairs = [(tried[trial.task.of - 1], trial) for trial in repeated if trial.task.of]
    return {
        first.number: statistics.fmean((first.score, second.score))
        for first, second in pairs
        if first.score is not None and second.score is not None
    }


def _table(plan: Search, tried: Sequence[Attempt]) -> pd.DataFrame:
    rows = []
    for trial in tried:
        leader = best(plan, tried[: trial.number])
        reason = trial.reason or (f"goes on with trial {trial.task.of}" if trial.task.of else "")
        columns = (trial.number, trial.score, leader[0].score if leader else None, trial.epochs, reason)
        rows.append({**dict(zip(COLUMNS, columns, strict=True)), **trial.values})
    return pd.DataFrame(rows, columns=[*COLUMNS, *plan.params.space])


def _finalists(plan: Search, tried: Sequence[Attempt], repeated: Sequence[Attempt]) -> pd.DataFrame:
    means = _means(tried, repeated)
    numbers = [trial.task.of for trial in repeated if trial.task.of]
    return pd.DataFrame(
        {
            "trial": numbers,
            f"fold_{plan.params.fold}": [tried[number - 1].score for number in numbers],
            f"fold_{repeated[0].task.fold}": [trial.score for trial in repeated],
            "mean": [means.get(number) for number in numbers],
        }
    )


def _remarks(plan: Search, tried: Sequence[Attempt], passed_over: Sequence[str], out: Path) -> list[str]:
    """Say what is worth to know of how the search went."""
    params = plan.params
    kinds = [trial.outcome.kind for trial in tried if trial.outcome]
    known = sum(trial.outcome.known for trial in tried if trial.outcome)
    told = []
    if failed := kinds.count("failed"):
        told.append(f"{failed} trial{'s' * (failed > 1)} failed, see {out / TRIALS}")
    if stopped := kinds.count("stopped"):
        told.append(f"{stopped} of {len(tried)} trials stopped early, below the median of the others")
    if known:
        told.append(f"{known} of {len(tried)} trials were known from before")
    if passed_over:
        told.append(f"{len(passed_over)} points of tune.space cannot be built and were passed over")
    if len(tried) < params.max_trials:
        why = f"{params.minutes} minutes were over" if is_late(plan, tried) else "there is no other point"
        told.append(f"{why} after {len(tried)} trials of {params.max_trials}")
    return told
