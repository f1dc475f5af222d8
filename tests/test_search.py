"""The search with a fake model: a known curve instead of training."""

import itertools
import json
import math
import os
import random
import shutil
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from competition.errors import UnavailableError
from competition.models import FAMILIES
from competition.params import Range, TuneParams
from competition.reading import overlay
from competition.recipes import Recipe
from competition.search.board import Board
from competition.search.outcomes import DIED, Attempt, Curve, Outcome, Search, Task, Values, best
from competition.search.processes import TrialProcess
from competition.search.proposals import Signal
from competition.search.pruning import bars
from competition.search.results import Remembering, Results, fit_state, predictions
from competition.search.schedule import may_go_on, next_task, split
from competition.search.training import Impossible, Training
from competition.search.trials import search
from tests.conftest import data_params, gala, prepare_params, shipped_recipe, write_folder
from tests.test_families import BACKBONE

SPACE = {
    "model.filters": Range(choice=(16, 32, 64)),
    "model.dense_layers": Range(int=(0, 3)),
    "model.dense_dropout": Range(float=(0.0, 0.5), step=0.1, when={"model.dense_layers": (2, 3)}),
    "train.learning_rate": Range(float=(1e-4, 1e-1), sampling="log"),
}
FEW = {"model.filters": Range(choice=(16, 32, 64)), "model.dense_layers": Range(int=(0, 1))}
TUNERS = ("random", "grid", "bayesian", "hyperband", "tpe")


def anything(values: Values) -> None:
    """Find no values impossible."""


def no_widest(values: Values) -> str | None:
    return "too wide" if values["model.filters"] == 64 else None


def plan(tuner: str = "random", trials: int = 8, **changed: object) -> Search:
    """Return a search of the space for trials of 4 epochs."""
    given = {"tuner": tuner, "max_trials": trials, "minutes": 0, "epochs": 4, "fraction": 1.0, "fold": 0,
             "prune": False, "finalists": 1, "workers": 1, "space": SPACE}  # fmt: skip
    rest = {name: changed.pop(name) for name in ("seed", "greater", "impossible") if name in changed}
    described = {"key": "1", "seed": 1, "greater": True, "folds": 3, "impossible": anything}
    return Search(TuneParams(**{**given, **changed}), **{**described, **rest})  # type: ignore[arg-type]


def known(values: Values) -> float:
    """Be best, with 1, at 64 filters and a learning rate of 0.01."""
    rate = float(values.get("train.learning_rate", 0.01))
    return 1 - 0.1 * (math.log10(rate) + 2) ** 2 - (64 - float(values["model.filters"])) / 200


@dataclass(frozen=True)
class Fake:
    """Stands for training: a curve that climbs to the known score, and keeps its state after every epoch.

    Attributes:
        seconds: that an epoch takes; some trials three times as many.
        fails: whether every training does.
        most: filters of a model that can be trained.
    """

    seconds: float = 0.0
    fails: bool = False
    most: int = 64
    remark: str = ""

    def start(self) -> str:
        return self.remark

    def __call__(self, task: Task, folder: Path) -> Curve:
        if self.fails or float(task.values["model.filters"]) > self.most:
            return Curve((), "ValueError: negative dimension")
        state = fit_state(folder) / "scores.json"
        scores = json.loads(state.read_text()) if state.exists() else []
        name = json.dumps(sorted(task.values.items()))
        slow = random.Random(name).choice((1, 1, 3))
        while len(scores) < task.epochs and not task.misses(scores):
            time.sleep(self.seconds * slow)
            noise = random.Random(f"{name} {len(scores)}").uniform(-0.05, 0.05)
            scores.append(known(task.values) * (1 - 0.5 ** (len(scores) + 1)) + noise + 0.01 * task.fold)
            state.parent.mkdir(parents=True, exist_ok=True)
            state.with_suffix(".partial").write_text(json.dumps(scores))
            state.with_suffix(".partial").replace(state)
            with (folder.parent / "trained.log").open("a") as file:
                file.write(f"{folder.name} {len(scores)}\n")
        np.save(predictions(folder, len(scores)), np.array(scores, np.float32))
        return Curve(tuple(scores))


def results(folder: Path, run: str = "") -> Results:
    return Results(folder, run or uuid.uuid4().hex)


def found(searched: Search, folder: Path, evaluate: Callable[[Task, Path], Curve] | None = None) -> list[Attempt]:
    """Run a search in this process."""
    return search(searched, evaluate or Fake(), results(folder))[0]  # type: ignore[arg-type]


def trained(folder: Path) -> int:
    """Count the epochs trained so far."""
    log = folder / "trained.log"
    return log.read_text().count("\n") if log.exists() else 0


def simulated(searched: Search, order: int, folder: Path, seconds: float = 0.0) -> list[Attempt]:
    """Run a search without KerasTuner: its workers begin and end in a random order.

    Args:
        searched: what is searched.
        order: seed of that order.
        folder: for the results.
        seconds: that every trial is said to take.
    """
    chance = random.Random(order)
    remember = Remembering(Fake(), results(folder))
    attempts: list[Attempt] = []
    while True:
        running = [index for index, attempt in enumerate(attempts) if attempt.outcome is None]
        if running and (len(running) == searched.params.workers or chance.random() < 0.5):
            index = chance.choice(running)
            outcome = replace(remember(attempts[index].task), seconds=seconds)
            attempts[index] = replace(attempts[index], outcome=outcome)
            continue
        task = next_task(searched, chance.sample(attempts, len(attempts)), lambda v: searched.impossible(v) is None)
        if isinstance(task, Task):
            attempts.append(Attempt(task, None))
        elif not running:
            assert task is Signal.END
            return attempts


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_search_repeats_and_stays_in_its_space(tuner: str, tmp_path: Path) -> None:
    space = {path: span for path, span in SPACE.items() if tuner != "grid" or path != "train.learning_rate"}
    first, again, other = (
        found(plan(tuner, 8, space=space, seed=seed), tmp_path / name) for seed, name in ((1, "a"), (1, "b"), (2, "c"))
    )
    assert first == again
    assert (first == other) == (tuner == "grid")
    assert [attempt.number for attempt in first] == list(range(1, 9))
    for attempt in first:
        assert attempt.values["model.filters"] in (16, 32, 64)
        assert 1e-4 <= attempt.values.get("train.learning_rate", 1e-4) <= 1e-1
        assert ("model.dense_dropout" in attempt.values) == (attempt.values["model.dense_layers"] >= 2)
        assert attempt.values.get("model.dense_dropout", 0.0) in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


def test_kerastuner_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it wrote nobody would read, and a full disk would end in an error of TensorFlow's."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "tuner0.json").write_text("someone else's")  # as KerasTuner would call its own
    seen: set[str] = set()

    def look(trial: Attempt) -> None:
        seen.update(path.name for path in (tmp_path / "results").iterdir())

    kept = results(tmp_path / "results")
    trials, _ = search(plan(trials=3), Fake(), kept, on_trial=look)
    assert seen == {kept.of(trial.task).name for trial in trials} | {"trained.log"}
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["tuner0.json"]


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_search_that_was_stopped_anywhere_goes_on(tuner: str, tmp_path: Path) -> None:
    """Stop it again and again in the midst of a training: the same trials in the end, and no epoch trained twice."""
    space = {path: span for path, span in SPACE.items() if tuner != "grid" or path != "train.learning_rate"}
    searched = plan(tuner, 7, space=space, finalists=2, prune=True)
    whole = found(searched, tmp_path / "whole")
    chance, fake, stops = random.Random(tuner), Fake(), 0

    def stopped(task: Task, folder: Path) -> Curve:
        nonlocal stops
        if chance.random() < 0.5:
            stops += 1
            fake(replace(task, epochs=chance.randint(1, task.epochs)), folder)
            raise KeyboardInterrupt
        return fake(task, folder)

    while True:
        try:
            pieces = found(searched, tmp_path / "pieces", stopped)
            break
        except KeyboardInterrupt:
            pass
    assert stops > 2
    assert pieces == whole
    assert trained(tmp_path / "pieces") == trained(tmp_path / "whole")


@pytest.mark.parametrize("tuner", TUNERS)
def test_more_trials_begin_with_the_same(tuner: str, tmp_path: Path) -> None:
    space = {path: span for path, span in SPACE.items() if tuner != "grid" or path != "train.learning_rate"}
    few = found(plan(tuner, 6, space=space), tmp_path / "a")
    before = trained(tmp_path / "a")
    more = found(plan(tuner, 12, space=space), tmp_path / "a")
    assert more[:6] == few
    assert [attempt.outcome.known for attempt in more] == [True] * 6 + [False] * 6
    assert more == found(plan(tuner, 12, space=space), tmp_path / "b")
    assert trained(tmp_path / "a") == trained(tmp_path / "b") > before


@pytest.mark.parametrize("tuner", TUNERS)
def test_it_does_not_matter_which_worker_is_faster(tuner: str, tmp_path: Path) -> None:
    space = {path: span for path, span in SPACE.items() if tuner != "grid" or path != "train.learning_rate"}
    searched = plan(tuner, 11, space=space, workers=3, prune=True, finalists=3)
    one, *others = (sorted(simulated(searched, order, tmp_path), key=lambda a: a.number) for order in range(4))
    assert all(other == one for other in others)
    assert len(split(searched, one)[0]) == 11


def test_a_trial_knows_those_before_the_ones_that_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With 3 workers the tenth trial knows the first seven, also where the ninth has ended already."""
    from competition.search import schedule

    seen = {}

    def propose(*arguments: object, **named: object) -> object:
        seen[named["number"]] = [not trial.running for trial in named["past"]]  # type: ignore[attr-defined]
        return real(*arguments, **named)  # type: ignore[arg-type]

    real = schedule.propose
    monkeypatch.setattr(schedule, "propose", propose)
    simulated(plan("tpe", 10, workers=3), 1, tmp_path)
    assert seen[10] == [True] * 7 + [False] * 2
    assert seen[2] == [False]
    simulated(plan("tpe", 4, workers=5), 1, tmp_path / "five")
    assert seen[3] == [False] * 2


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_failed_trials_are_recorded_and_the_search_goes_on(tuner: str, tmp_path: Path) -> None:
    searched = plan(tuner, 10, seed=3)
    tried = found(searched, tmp_path, Fake(most=32))
    assert len(tried) == 10
    failed = [attempt for attempt in tried if attempt.values["model.filters"] == 64]
    assert failed
    for attempt in failed:
        assert (attempt.score, attempt.epochs) == (None, 0)
        assert attempt.reason == "ValueError: negative dimension"
    assert best(searched, tried)[0].score == max(attempt.score for attempt in tried if attempt.score is not None)


def test_all_trials_may_fail(tmp_path: Path) -> None:
    searched = plan("bayesian", 5, finalists=2)
    tried = found(searched, tmp_path, Fake(fails=True))
    assert len(tried) == 5
    assert best(searched, tried) == []


def test_other_errors_end_the_search(tmp_path: Path) -> None:
    def full(task: Task, folder: Path) -> Curve:
        raise OSError(28, "No space left on device")

    def broken(values: Values) -> str:
        raise ZeroDivisionError("in the oracle")

    with pytest.raises(OSError, match="No space left"):
        found(plan(), tmp_path, full)
    with pytest.raises(ZeroDivisionError, match="in the oracle"):
        found(plan(impossible=broken), tmp_path)


@pytest.mark.parametrize("tuner", TUNERS)
@pytest.mark.parametrize("workers", [1, 3])
def test_a_search_ends_when_there_is_no_other_point(tuner: str, workers: int, tmp_path: Path) -> None:
    searched = plan(tuner, 40, space=FEW, workers=workers)
    tried = found(searched, tmp_path) if workers == 1 else simulated(searched, 1, tmp_path)
    begun = [tuple(attempt.values.items()) for attempt in tried if attempt.task.of is None]
    assert len(begun) == len(set(begun)) == 6


def test_impossible_points_are_no_trials(tmp_path: Path) -> None:
    tried, reasons = search(plan("grid", 40, space=FEW, impossible=no_widest), Fake(), results(tmp_path))
    assert [attempt.values["model.filters"] for attempt in tried] == [16, 16, 32, 32]
    assert reasons == ["too wide", "too wide"]
    asked = []

    def nothing(values: Values) -> str:
        asked.append(values)
        return "no layer fits"

    tried, reasons = search(plan("random", 40, space=FEW, impossible=nothing), Fake(), results(tmp_path))
    assert (tried, len(reasons), len(asked)) == ([], 6, 6)


def test_a_grid_ends_where_very_many_points_in_a_row_are_impossible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million would be looked at for an hour before the first trial; those that were are counted."""
    monkeypatch.setattr("competition.search.proposals.IN_VAIN", 40)
    space = {"model.filters": Range(choice=(64, 16)), "train.batch_size": Range(int=(1, 30))}
    tried, reasons = search(plan("grid", 3, space=space, impossible=no_widest), Fake(), results(tmp_path))
    assert ([attempt.values["train.batch_size"] for attempt in tried], len(reasons)) == ([1, 2, 3], 30)
    space["train.batch_size"] = Range(int=(1, 10**6))
    tried, reasons = search(plan("grid", 3, space=space, impossible=no_widest), Fake(), results(tmp_path))
    assert (tried, len(reasons)) == ([], 40)
    space = dict(reversed(space.items()))
    tried, reasons = search(plan("grid", 50, space=space, impossible=no_widest), Fake(), results(tmp_path))
    assert (len(tried), len(reasons)) == (50, 50)


def attempt(number: int, score: float | None, width: int = 0, seconds: float = 0.0) -> Attempt:
    values: Values = {"model.filters": width or number}
    outcome = Outcome((score,), "", "done", seconds) if score is not None else Outcome((), "no", "failed", seconds)
    return Attempt(Task(number, values, 0, 1, (), True, None), outcome)


def test_best_is_the_earliest_of_equals_and_each_point_once() -> None:
    tried = [attempt(1, 0.5), attempt(2, 0.9, 7), attempt(3, None), attempt(4, 0.9), attempt(5, 0.8, 7)]
    assert [each.number for each in best(plan(), tried, 3)] == [2, 4, 1]
    assert [each.number for each in best(plan(greater=False), tried, 2)] == [1, 5]


def test_a_curve_answers_what_it_reaches() -> None:
    def task(epochs: int, *stops: float | None, greater: bool = True) -> Task:
        return Task(1, {}, 0, epochs, stops, greater, None)

    curve = Curve((0.3, 0.5, 0.4))
    assert curve.answer(task(2)) == Outcome((0.3, 0.5), "", "done")
    assert curve.answer(task(2)).score == 0.5
    assert curve.answer(task(4)) is None
    assert replace(curve, ended=True).answer(task(4)) == Outcome((0.3, 0.5, 0.4), "", "done")
    failed = replace(curve, reason="the loss became nan")
    assert failed.answer(task(3)).kind == "done"
    assert failed.answer(task(4)) == Outcome((0.3, 0.5, 0.4), "the loss became nan", "failed")
    assert failed.answer(task(4)).score is None
    stopped = curve.answer(task(9, None, 0.6))
    assert stopped == Outcome((0.3, 0.5), "stopped after epoch 2: below the median", "stopped")
    assert stopped.score == 0.5
    assert curve.answer(task(3, None, 0.5)).kind == "done"  # only what is worse stops
    assert curve.answer(task(3, 0.2, 0.45)).kind == "done"
    assert curve.answer(task(9, 0.2, greater=False)).kind == "stopped"
    assert curve.answer(task(3, 0.3, 0.35, greater=False)).kind == "done"  # the best so far counts
    assert Curve((0.3, 0.5, 0.4, 0.6)).answer(task(4, None, None, 0.45)).kind == "done"


def test_bars_are_medians_of_mean_scores() -> None:
    curves = [(0.1, 0.5, 0.5), (0.2, 0.4, 0.8), (0.4, 0.8), (0.6, 0.4, 0.5), (0.9,)]
    assert bars(curves, 4) == pytest.approx((0.4, 0.4, None))  # three are too few
    assert bars(curves[:3], 4) == (None, None, None)
    assert bars(curves, 1) == ()


@pytest.mark.parametrize("greater", [True, False])
def test_trials_below_the_median_stop(greater: bool, tmp_path: Path) -> None:
    searched = plan("random", 20, prune=True, greater=greater)
    tried = found(searched, tmp_path)
    stopped = [attempt for attempt in tried if attempt.outcome.kind == "stopped"]
    assert 3 < len(stopped) < 15
    assert all(attempt.number > 4 for attempt in stopped)
    for attempt in stopped:
        earlier = [other.outcome.scores for other in tried[: attempt.number - 1]]
        medians = bars(earlier, 4)
        choose = max if greater else min
        bests = [choose(attempt.outcome.scores[: epoch + 1]) for epoch in range(attempt.epochs)]
        misses = [(low < bar) if greater else (low > bar) for low, bar in zip(bests, medians, strict=False)]
        assert misses == [False] * (attempt.epochs - 1) + [True]
        assert attempt.score == attempt.outcome.scores[-1]
        assert attempt.reason == f"stopped after epoch {attempt.epochs}: below the median"
    whole = found(replace(searched, params=searched.params.model_copy(update={"prune": False})), tmp_path)
    assert [attempt.epochs for attempt in whole] == [4] * 20  # what was stopped is trained to its end
    for attempt, longer in zip(tried, whole, strict=True):
        assert attempt.outcome.scores == longer.outcome.scores[: attempt.epochs]


def test_hyperband_is_not_pruned(tmp_path: Path) -> None:
    for attempt in found(plan("hyperband", 12, prune=True), tmp_path):
        assert attempt.task.bars == ()
        assert attempt.outcome.kind == "done"


def test_hyperband_goes_on_with_the_best(tmp_path: Path) -> None:
    """Their training goes on, in the same search: no epoch is trained twice."""
    tried = found(plan("hyperband", 13, epochs=9), tmp_path)
    longer = [attempt for attempt in tried if attempt.task.of]
    assert len(longer) > 3
    for attempt in longer:
        parent = tried[attempt.task.of - 1]
        assert attempt.values == parent.values
        assert attempt.epochs > parent.epochs
        assert attempt.outcome.scores[: parent.epochs] == parent.outcome.scores
    most = {str(attempt.values): attempt.epochs for attempt in tried}  # the later ones are longer
    assert trained(tmp_path) == sum(most.values())


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_no_trial_starts_after_the_minutes(workers: int, tmp_path: Path) -> None:
    """Of trials of 40 seconds each worker begins three before 2 minutes are over."""
    searched = plan("random", 30, minutes=2, workers=workers)
    counts = {len(simulated(searched, order, tmp_path, seconds=40)) for order in range(3)}
    assert counts == {3 * workers}
    assert len(simulated(searched, 1, tmp_path, seconds=1)) == 30


def test_a_search_out_of_time_ends_there_again(tmp_path: Path) -> None:
    """A trial that goes on with another has taken nothing before that one was chosen."""
    searched = plan("random", 9, minutes=1)
    held = results(tmp_path)
    for number, attempt in enumerate(found(plan("random", 4), tmp_path)):
        curve = held.read(attempt.task)
        held.write(attempt.task, replace(curve, spent=((4, 25.0 if number < 2 else 20.0),)))
    before = trained(tmp_path)
    assert [len(found(searched, tmp_path)) for _ in range(2)] == [3, 3]
    assert trained(tmp_path) == before

    searched = plan("hyperband", 30, epochs=9, minutes=2)
    remember = Remembering(Fake(), results(tmp_path / "hyperband"))
    first: list[Attempt] = []
    while isinstance(task := next_task(searched, first, lambda values: True), Task):
        outcome = remember(task)
        curve = remember.results.read(task)
        spent = tuple((at, 10.0 * at) for at, _ in curve.spent)
        remember.results.write(task, replace(curve, spent=spent))
        first.append(Attempt(task, replace(outcome, seconds=10.0 * len(outcome.scores))))
    assert [attempt.epochs for attempt in first] == [1] * 9 + [3] * 2
    assert found(searched, tmp_path / "hyperband") == first


def test_finalists_are_trained_on_the_next_fold(tmp_path: Path) -> None:
    searched = plan("random", 6, finalists=3, fold=2, fraction=0.2)
    tried, repeated = split(searched, found(searched, tmp_path))
    assert [attempt.task.of for attempt in repeated] == [attempt.number for attempt in best(searched, tried, 3)]
    assert [attempt.number for attempt in repeated] == [7, 8, 9]
    for attempt in repeated:
        first = tried[attempt.task.of - 1]
        assert (attempt.task.fold, attempt.values, attempt.epochs) == (0, first.values, first.epochs)
        assert (first.task.fraction, attempt.task.fraction) == (0.2, 1.0)
        assert attempt.outcome.scores != first.outcome.scores
    assert len(found(plan("random", 6, finalists=9, space=FEW, fold=2), tmp_path)) == 12


def test_trials_are_counted_out_of_those_that_there_can_be(capsys: pytest.CaptureFixture[str]) -> None:
    for tuner, most in (("random", 6), ("hyperband", 40)):  # which goes on with the points it has tried
        with Board(plan(tuner, 40, space=FEW), "accuracy") as board:
            board.add(attempt(1, 0.5))
        assert capsys.readouterr().out.startswith(f"  trial 1/{most}: ")


def test_the_time_left_counts_finalists_by_all_samples(capsys: pytest.CaptureFixture[str]) -> None:
    searched = plan("random", 3, finalists=2, fraction=0.5)
    outcome = Outcome((0.5,), "", "done", seconds=10.0)
    tasks = [Task(number, {"model.filters": number}, 0, 4, (), True, None, 0.5) for number in (1, 2, 3)]
    tasks += [Task(number, {"model.filters": of}, 1, 4, (), True, of) for number, of in ((4, 1), (5, 2))]
    with Board(searched, "accuracy") as board:
        for task in tasks:
            board.add(Attempt(task, outcome))
    left = [line.split("  ")[-1] for line in capsys.readouterr().out.splitlines()]
    assert left == ["60 s left", "50 s left", "40 s left", "20 s left", "0 s left"]


@pytest.mark.parametrize(
    ("changed", "left"),
    [
        ({"minutes": 1}, ["50 s left", "40 s left", "20 s left"]),
        ({"space": {"model.filters": Range(choice=(16, 32, 64, 128))}}, ["30 s left", "20 s left", "13 s left"]),
        ({}, ["16 min left", "16 min left", "22 min left"]),
    ],
)
def test_the_time_left_ends_with_the_minutes_and_the_space(
    changed: dict[str, Any], left: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The third trial goes on with the first: its 30 seconds are 20 more."""
    searched = plan("random", 100, **changed)
    with Board(searched, "accuracy") as board:
        for number, (filters, seconds) in enumerate(((16, 10.0), (32, 10.0), (16, 30.0)), start=1):
            task = Task(number, {"model.filters": filters}, 0, 4, (), True, None)
            board.add(Attempt(task, Outcome((0.5,), "", "done", seconds=seconds)))
    assert [line.split("  ")[-1] for line in capsys.readouterr().out.splitlines()] == left


class Dies:
    """Kills its process as often as it is told; counts in a file, for it does not outlive that."""

    def __init__(self, times: int, folder: Path) -> None:
        folder.mkdir()
        self.times, self.count = times, folder / "died"

    def start(self) -> str:
        return ""

    def __call__(self, task: Task, folder: Path) -> Curve:
        died = len(self.count.read_text()) if self.count.exists() else 0
        if died < self.times:
            self.count.write_text("x" * (died + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return Fake()(task, folder)


def test_a_training_that_was_killed_is_tried_twice(tmp_path: Path) -> None:
    with TrialProcess(Dies(1, tmp_path / "once")) as process:
        assert [attempt.reason for attempt in found(plan("random", 2), tmp_path / "0", process)] == ["", ""]
    with TrialProcess(Dies(2, tmp_path / "twice")) as process:
        tried = found(plan("random", 3), tmp_path / "1", process)
        assert [attempt.reason for attempt in tried] == [DIED, "", ""]
        again = found(plan("random", 3), tmp_path / "1", process)
        assert [attempt.reason for attempt in again] == ["", "", ""]
        assert [attempt.outcome.known for attempt in again] == [False, True, True]


class Counts(Fake):
    def __call__(self, task: Task, folder: Path) -> Curve:
        return Curve((float(os.getpid()),) * task.epochs)


def test_a_process_is_replaced_after_some_trials(tmp_path: Path) -> None:
    with TrialProcess(Counts()) as process:
        numbers = [attempt.score for attempt in found(plan("random", 21), tmp_path, process)]
    assert [numbers.count(number) for number in dict.fromkeys(numbers)] == [10, 10, 1]
    assert os.getpid() not in numbers
    assert not any(psutil.pid_exists(int(number)) for number in numbers)


def raised(task: Task, folder: Path) -> Curve:
    raise OSError(28, "No space left on device", "somewhere")


class Full(Fake):
    def __call__(self, task: Task, folder: Path) -> Curve:
        return raised(task, folder)


def test_an_error_of_the_process_is_ours(tmp_path: Path) -> None:
    with TrialProcess(Full()) as process, pytest.raises(OSError, match="No space left") as error:
        found(plan("random", 3), tmp_path, process)
    assert (error.value.errno, error.value.filename) == (28, "somewhere")
    assert "in raised" in error.value.__notes__[0]


def test_what_may_turn_out_better_is_forgotten_in_another_run(tmp_path: Path) -> None:
    task = Task(1, {"a": 1}, 0, 2, (), True, None)
    curve = Curve((), "MemoryError: ", lasting=False)
    results(tmp_path, "1").write(task, curve)
    assert results(tmp_path, "1").read(task) == curve
    assert results(tmp_path, "2").read(task) is None


def test_results_are_told_apart(tmp_path: Path) -> None:
    task, held = Task(1, {"a": 1, "b": 2.0}, 0, 2, (), True, None), results(tmp_path)
    held.write(task, Curve((0.1, 1 / 3)))
    assert held.read(replace(task, number=7, epochs=9, of=3, bars=(0.5,))) == Curve((0.1, 1 / 3))
    assert held.read(replace(task, values={"b": 2.0, "a": 1})) == Curve((0.1, 1 / 3))
    for other in (replace(task, fold=1), replace(task, values={"a": 1}), replace(task, values={"a": 1, "b": 2.5})):
        assert held.read(other) is None
    (held.of(task) / "result.json").write_text("{")  # the power went
    assert held.read(task) is None


def test_only_results_and_the_best_predictions_stay(tmp_path: Path) -> None:
    searched, held = plan("hyperband", 10, epochs=9, finalists=4), results(tmp_path)
    tried = split(searched, search(searched, Fake(), held)[0])[0]
    held.tidy(best(searched, tried, 3), may_go_on(searched, tried))
    (tmp_path / "trained.log").unlink()
    left = {path for path in tmp_path.glob("*/*") if path.is_file() and path.name != "result.json"}
    assert left == {held.predictions(attempt) for attempt in best(searched, tried, 3)}
    for path in left:
        assert len(np.load(path)) == int(path.stem.removeprefix("after-"))


@pytest.mark.parametrize("tuner", ["random", "hyperband"])
def test_what_a_longer_search_builds_on_outlives_the_shorter(tuner: str, tmp_path: Path) -> None:
    """The predictions of the best, whenever they are told again, and what hyperband goes on with."""
    folder = tmp_path / "two"
    for trials in (10, 10, 24):
        searched, held = plan(tuner, trials, epochs=9), results(folder)
        tried = search(searched, Fake(), held)[0]
        held.tidy(best(searched, tried, 3), may_go_on(searched, tried))
        assert all(held.predictions(attempt).exists() for attempt in best(searched, tried, 3))
    found(plan(tuner, 24, epochs=9), tmp_path / "one")
    assert trained(folder) == trained(tmp_path / "one")


def test_a_training_ended_leaves_no_state(tmp_path: Path) -> None:
    """Only hyperband may go on with it."""
    seen = []

    def look(tuner: str) -> None:
        folder = tmp_path / tuner
        search(
            plan(tuner, 8, epochs=9), Fake(), results(folder),
            on_trial=lambda attempt: seen.append((attempt.epochs, len(list(folder.glob("*/fit"))))),
        )  # fmt: skip

    look("random")
    assert [count for _, count in seen] == [0] * 8
    look("hyperband")
    assert max(count for _, count in seen) > 2


def test_hyperband_keeps_the_states_it_may_go_on_with() -> None:
    """Of a first rung with 9 places the best 3; nothing of what was before this bracket, nor of what is whole."""
    searched = plan("hyperband", 40, epochs=9)

    def rung(first: int, epochs: int, scores: list[float], of: int | None = None) -> list[Attempt]:
        return [
            replace(one, task=replace(one.task, epochs=epochs, of=of))
            for one in (attempt(first + place, score) for place, score in enumerate(scores))
        ]

    ended = rung(1, 1, [0.1, 0.9, 0.5, 0.2, 0.8])
    assert [one.number for one in may_go_on(searched, ended)] == [2, 5, 3]
    ended += rung(6, 3, [0.4, 0.3, 0.7], of=2)
    assert [one.number for one in may_go_on(searched, ended)] == [2, 5, 3, 8]
    ended += rung(9, 9, [0.6], of=8)
    assert [one.number for one in may_go_on(searched, ended)] == [2, 5, 3, 8]
    ended += rung(10, 3, [0.2, 0.1])
    assert [one.number for one in may_go_on(searched, ended)] == [10]
    assert may_go_on(plan("random", 40), ended) == []


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a competition of 36 images as prepare and augment leave it."""
    from competition.params import AugmentParams
    from competition.stages.augment import augment
    from competition.stages.prepare import prepare

    folder = tmp_path_factory.mktemp("prepared")
    raw = write_folder(folder / "raw", gala(train=36))
    prepare(prepare_params(folds=3), data_params(raw), out=folder / "prepare", seed=1)
    augment(AugmentParams(views=0, policy=()), prepared=folder / "prepare", out=folder / "augment", seed=1)
    return folder


def recipe(**changed: object) -> Recipe:
    tiny = {
        "model.blocks": 1, "model.convs_per_block": 1, "model.filters": 4, "model.dense_layers": 0, "train.epochs": 4,
        "train.batch_size": 8, "train.warmup_epochs": 0,
    }  # fmt: skip
    values = {name.replace("__", "."): value for name, value in changed.items()}
    return overlay(shipped_recipe(), {**tiny, **values})  # type: ignore[dict-item]


def test_only_what_may_change_a_score_is_in_the_key(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from competition import backend
    from competition.stages.tune import _plan

    def key(made: Path = prepared, seed: int = 1, of: Recipe | None = None, **changed: object) -> str:
        params = plan(**changed).params  # type: ignore[arg-type]
        folders, is_alone = (made / "prepare", made / "augment", tmp_path / "state"), params.workers == 1
        return _plan(params, of or recipe(), *folders, seed, 1, is_alone)[0].key

    same = {"trials": 99, "minutes": 9, "tuner": "tpe", "space": FEW, "workers": 3, "prune": True, "finalists": 2}
    assert key(**same) == key() == key(of=recipe(train__epochs=50, train__folds=2))
    keys = [key(), key(seed=2), key(of=recipe(model__filters=5)), key(of=recipe(train__batch_size=9)), key(epochs=5),
            key(fold=1), key(fraction=0.5)]  # fmt: skip
    for name in ("prepare/contract.json", "prepare/samples.csv", "prepare/train.npy", "augment/policy.json"):
        other = tmp_path / name.replace("/", "-")
        shutil.copytree(prepared, other)
        whole = (other / name).read_bytes()
        (other / name).write_bytes(whole[:-1] + (b" " if whole.endswith(b"\n") else b"x"))
        keys.append(key(other))
    weights = tmp_path / "some.weights.h5"
    backbone = FAMILIES["backbone"].schema(family="backbone", **{**BACKBONE, "weights": str(weights)})
    of = Recipe(model=backbone, train=recipe().train)
    for content in (b"one", b"two"):
        weights.write_bytes(content)
        keys.append(key(of=of))
    for name in ("XLA_FLAGS", "KERAS_BACKEND"):
        monkeypatch.setenv(name, "other")
        keys.append(key())
    for cards in (["T4"], ["T4", "T4"]):
        monkeypatch.setattr(backend, "cards", lambda cards=cards: [*cards, "driver"])
        keys.append(key())
        assert key(workers=2) == keys[15]  # a worker has one card, one that is alone has all
    assert len(set(keys)) == len(keys) == 17


@pytest.mark.parametrize("views", [0, 1])
def test_a_policy_is_made_ready_only_where_it_renders(prepared: Path, tmp_path: Path, views: int) -> None:
    """Each process that trains would take half a second for it."""
    from competition.batches import read_training_set
    from competition.params import AugmentParams
    from competition.stages.augment import augment

    flip = {"op": "HorizontalFlip", "p": 1.0}
    augment(AugmentParams(views=views, policy=(flip,)), prepared=prepared / "prepare", out=tmp_path, seed=1)
    training_set = read_training_set(prepared / "prepare", tmp_path)
    assert (len(training_set.views), training_set.policy.ops) == (views, () if views else (flip,))


@pytest.mark.slow
def test_training_scores_as_fit_does(prepared: Path, tmp_path: Path) -> None:
    """Epoch by epoch what a model is worth that ends there: the last one, or with patience the best."""
    from competition import backend
    from competition.batches import read_training_set
    from competition.fitting import fit

    backend.start(2)
    training_set = read_training_set(prepared / "prepare", prepared / "augment")

    def training(**changed: object) -> Training:
        given = recipe(**changed).model_dump_json()
        return Training(given, prepared / "prepare", prepared / "augment", seed=3, threads=2)

    task = Task(1, {"model.filters": 6}, 1, 4, (), True, None)
    whole = fit(recipe(model__filters=6), training_set, fold=1, seed=3)
    curve = training()(replace(task, epochs=2), tmp_path / "1")
    assert not curve.ended
    assert curve.scores == tuple(epoch.score for epoch in whole.history[:2])
    curve = training()(task, tmp_path / "1")  # goes on
    assert curve == Curve(tuple(epoch.score for epoch in whole.history))
    np.testing.assert_array_equal(np.load(predictions(tmp_path / "1", 4)), whole.probabilities)

    stopped = training()(replace(task, bars=(None, 1.5)), tmp_path / "2")
    assert stopped.scores == curve.scores[:2]
    assert not stopped.ended
    assert stopped.answer(replace(task, bars=(None, 1.5))).kind == "stopped"

    # Here it falls after its second epoch.
    patience = {"train__patience_epochs": 2, "train__epochs": 10, "train__learning_rate": 0.02}
    patient = fit(recipe(**patience), training_set, fold=1, seed=1)
    assert len(patient.history) < 10
    curve = replace(training(**patience), seed=1)(Task(1, {}, 1, 10, (), True, None), tmp_path / "3")
    assert curve.ended
    assert curve.scores == tuple(np.maximum.accumulate([epoch.score for epoch in patient.history]))
    assert curve.scores[-1] == patient.kept.score

    failed = training()(replace(task, values={"train.learning_rate": 1e30}), tmp_path / "4")
    assert "the loss became" in failed.reason
    assert len(failed.scores) < 4
    assert failed.lasting


def test_what_a_framework_raises_is_a_reason(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If memory ran out, it may be there another time; if the disk is full, no trial is to blame."""
    from competition import fitting

    training = Training(recipe().model_dump_json(), prepared / "prepare", prepared / "augment", 3, 1)
    task = Task(1, {}, 1, 4, (), True, None)

    def curve(error: Exception) -> Curve:
        def fit(*arguments: object, **named: object) -> None:
            raise error

        monkeypatch.setattr(fitting, "fit", fit)
        return training(task, tmp_path)

    assert curve(ValueError("\x1b[1mnegative\n dimension")) == Curve((), "ValueError: negative dimension")
    assert curve(MemoryError("9 GB")) == Curve((), "MemoryError: 9 GB", lasting=False)
    for told in ("failed to allocate 2.5GiB: CUDA_ERROR_OUT_OF_MEMORY: out of memory", "CUDA error: out of memory",
                 "cuDNN: CUDNN_STATUS_ALLOC_FAILED", "cuBLAS: CUBLAS_STATUS_ALLOC_FAILED",
                 "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
                 "to allocate 16 bytes. Error code 12 (Cannot allocate memory)"):  # fmt: skip
        assert not curve(RuntimeError(told)).lasting
    assert len(curve(RuntimeError(999 * "x")).reason) == 300
    with pytest.raises(OSError, match="No space"):
        curve(OSError(28, "No space left on device"))
    with pytest.raises(UnavailableError, match="weights"):
        curve(UnavailableError("the weights cannot be fetched"))


def test_a_training_takes_the_samples_that_its_task_says(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from competition import fitting

    asked = []

    def fit(*arguments: object, fraction: float, **named: object) -> None:
        asked.append(fraction)
        raise MemoryError

    monkeypatch.setattr(fitting, "fit", fit)
    training = Training(recipe().model_dump_json(), prepared / "prepare", prepared / "augment", 3, 1)
    for fraction in (0.2, 1.0):
        training(Task(1, {}, 1, 4, (), True, None, fraction), tmp_path)
    assert asked == [0.2, 1.0]


def test_a_model_is_looked_at_once_whatever_its_training(monkeypatch: pytest.MonkeyPatch) -> None:
    from competition.search import training
    from competition.tasks import Target

    asked = []
    monkeypatch.setattr(training, "check", lambda model, *_: asked.append(model.filters))
    impossible = Impossible(recipe().model_dump_json(), (8, 8, 1), Target("multiclass", ("a", "b"), 0, 1, False))
    for filters, size in itertools.product((4, 5), (64, 128, 256)):
        assert impossible({"model.filters": filters, "train.batch_size": size}) is None
    assert asked == [4, 5]
    impossible({"model.filters": 4, "train.start_size": 0.9})
    assert asked == [4, 5, 4]


def test_values_of_which_no_model_can_be_built_are_told(prepared: Path) -> None:
    from competition.tasks import Target

    target = Target("multiclass", ("a", "b"), 0, 1, False)
    impossible = Impossible(recipe().model_dump_json(), (8, 8, 1), target)
    assert impossible({"model.blocks": 2}) is None
    assert "too small for its window" in (impossible({"model.blocks": 5}) or "")
    assert impossible({"model.kernel_px": 2}) is not None
    assert "belong to images of one size" in (impossible({"train.start_size": 0.5}) or "")
    single = recipe().model_copy(update={"train": recipe().train.model_copy(update={"epochs": 1})})
    impossible = Impossible(single.model_dump_json(), (8, 8, 1), target)
    assert impossible({"train.start_size": 0.5}) is None  # its only epoch has whole images
    speednet = FAMILIES["speednet"].schema(family="speednet", widths=(8, 8), convs_per_group=1)
    impossible = Impossible(Recipe(model=speednet, train=recipe().train).model_dump_json(), (8, 8, 1), target)
    assert impossible({"train.start_size": 0.7}) is None
    assert "of 3 x 3 pixels: layer 9, MaxPooling2D" in (impossible({"train.start_size": 0.4}) or "")
    backbone = Recipe(model=FAMILIES["backbone"].schema(family="backbone", **BACKBONE), train=recipe().train)
    impossible = Impossible(backbone.model_dump_json(), (8, 8, 1), target)
    assert impossible({"model.size_px": 40}) is None
    assert "at least 32 x 32 pixels" in (impossible({"model.size_px": 31}) or "")
    assert "model.weights is lost.h5, and there is no such file" in (impossible({"model.weights": "lost.h5"}) or "")
