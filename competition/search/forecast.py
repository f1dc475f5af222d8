"""How long a search takes and what it writes, reckoned before it begins from the multiply-adds of its models."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from statistics import fmean

import numpy as np

from competition.console import counted
from competition.errors import CompetitionError
from competition.parallel import cores
from competition.params import TrainParams, TuneParams
from competition.reading import overlay
from competition.recipes import Recipe
from competition.search.outcomes import Values
from competition.search.points import corners, draw_many, most_trials
from competition.search.proposals import brackets
from competition.search.trials import SHOWN
from competition.shapes import FLOAT_BYTES, Row, Shape, trace
from competition.tasks import Target

# Measured in seconds of one core of an AMD EPYC, with TensorFlow, on convolutions of 4 to 64 filters over 16 to 32 px.
SHARE = 0.5  # of a matrix product's rate that a network reaches at least; 0.6 to 0.9 from 32 filters on
STEP_SECONDS = 0.004  # of a training step besides its multiply-adds
TRIAL_SECONDS = 3.0  # to build a model and trace its training; 2.4 to 3.2
IMPORT_SECONDS = 4.0  # of Keras, once; 3.1 to 4.3

DRAWS = 64  # random points of the space, whose mean stands for a trial
FORWARD_PASSES = 3  # that a training step costs: forward, and back to the activations and to the weights
MOMENTS = {"adam": 2, "adamw": 2, "sgd": 1, "rmsprop": 1, "lion": 1, "muon": 2}  # for each weight
SMALL_BYTES = 20_000  # a trial's result and folders

SIDE = 1024  # of the measured matrix product; 15 ms on one core
RATE_SECONDS = 0.2  # that the measuring may take, but at least two products


@dataclass(frozen=True)
class Forecast:
    """What a search comes to at most: pruning and early stopping make it shorter.

    Attributes:
        trials: those of the finalists not included.
        finalists: trials that are repeated on another fold, on all samples.
        workers: trials at a time.
        seconds_low, seconds, seconds_high: of one trial at the cheapest, on average over the space, and at the dearest.
        finalist_seconds: of one finalist, on average over the space.
        total_seconds: of the search, each taking its average.
        bytes: on disk while it runs.
    """

    trials: int
    finalists: int
    workers: int
    seconds_low: float
    seconds: float
    seconds_high: float
    finalist_seconds: float
    total_seconds: float
    bytes: int

    def __str__(self) -> str:
        at_a_time = f", {self.workers} at a time," if self.workers > 1 else ""
        again = f" and {self.finalists} finalists x {_told(self.finalist_seconds)}" if self.finalists else ""
        return (
            f"at most {counted(self.trials, 'trial')}{at_a_time} x {_told(self.seconds)} ({_told(self.seconds_low)} to "
            f"{_told(self.seconds_high)}){again} = about {_told(self.total_seconds)} on this CPU; "
            f"{self.bytes / 1e6:,.1f} MB"
        )


def forecast(
    params: TuneParams, recipe: Recipe, shape: Shape, target: Target, n_train: int, n_val: int, rate_flops: float
) -> Forecast | None:
    """Reckon with random points of the space, and with its lowest and its highest.

    Of trials of six models, 4 epochs each on one core, it said 0.95 to 1.7 times what was measured. Views that are
    rendered anew for every epoch (``augment.views: 0``) are not in it.

    Args:
        params: the search.
        recipe: over which a trial lays its values.
        shape: height, width and channels of the images.
        target: what is to be predicted.
        n_train, n_val: samples outside and in the validation fold.
        rate_flops: floating point operations a second of all workers together, as `measure_rate` finds them.

    Returns:
        None if no model of those points can be built, or be told without Keras.
    """
    trials = most_trials(params)
    ends = list(_models(recipe, (next(corners(params.space, high=high)) for high in (False, True)), shape, target))
    drawn = list(_models(recipe, draw_many(params.space, np.random.default_rng(0), DRAWS), shape, target))
    known = drawn + ends
    if not known:
        return None
    rate = rate_flops / params.workers

    def reckon(epochs: float, samples: int) -> tuple[list[float], float]:
        each = [TRIAL_SECONDS + epochs * _epoch_seconds(laid.train, rows, samples, n_val, rate) for laid, rows in known]
        return each, fmean(each[: len(drawn)] or each)

    each, seconds = reckon(_mean_epochs(params, trials), max(1, round(n_train * params.fraction)))
    if params.minutes:
        trials = min(trials, math.ceil(60 * params.minutes * params.workers / seconds))
    finalists = min(params.repeats, trials)
    finalist_seconds = reckon(params.epochs, n_train)[1]
    held = trials if params.tuner == "hyperband" else min(params.workers, trials)  # states that training may go on from
    predictions = n_val * len(target.classes) * FLOAT_BYTES
    state = max(_state_bytes(laid.train, rows) for laid, rows in known) + predictions
    rounds, final_rounds = (math.ceil(each / params.workers) for each in (trials, finalists))
    return Forecast(
        trials=trials,
        finalists=finalists,
        workers=params.workers,
        seconds_low=min(each),
        seconds=seconds,
        seconds_high=max(each),
        finalist_seconds=finalist_seconds,
        total_seconds=rounds * seconds + final_rounds * finalist_seconds + IMPORT_SECONDS,
        bytes=(held + params.workers) * state + (SHOWN + finalists) * predictions + (trials + finalists) * SMALL_BYTES,
    )


def measure_rate(threads: int) -> float:
    """Measure the float32 operations a second of a matrix product on so many of the cores, in a fraction of a second.

    It is the rate of the CPU; of a machine with a card it says nothing.
    """
    matrix = np.ones((SIDE, SIDE), np.float32)
    fastest, end = math.inf, time.monotonic() + RATE_SECONDS
    matrix @ matrix  # the first one also starts the threads
    while fastest == math.inf or time.monotonic() < end:
        start = time.perf_counter()
        matrix @ matrix
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * SIDE**3 / fastest * min(1.0, threads / cores())


def _models(
    recipe: Recipe, points: Iterable[Values], shape: Shape, target: Target
) -> Iterator[tuple[Recipe, list[Row]]]:
    """Yield the recipe and its layers at points of the space, but where it cannot be built."""
    for values in points:
        with suppress(CompetitionError):
            laid = overlay(recipe, values)
            yield laid, trace(laid.model, shape, target)


def _epoch_seconds(params: TrainParams, rows: Sequence[Row], samples: int, n_val: int, rate_flops: float) -> float:
    passes = FORWARD_PASSES * samples + n_val
    operations = 2 * passes * sum(row.multiply_adds for row in rows)
    return operations / (rate_flops * SHARE) + math.ceil(samples / params.batch_size) * STEP_SECONDS


def _state_bytes(params: TrainParams, rows: Sequence[Row]) -> int:
    copies = 1 + MOMENTS[params.optimizer] + (params.average_decay > 0) + (params.patience_epochs > 0)
    return copies * FLOAT_BYTES * sum(row.parameters for row in rows)


def _mean_epochs(params: TuneParams, trials: int) -> float:
    """Return how many epochs a trial trains; by hyperband one that goes on trains those that it has not yet."""
    if params.tuner != "hyperband":
        return params.epochs
    trained: list[int] = []
    for bracket in cycle(brackets(params.epochs)):
        before = 0
        for places, until in bracket:
            trained += [until - before] * places
            before = until
        if len(trained) >= trials:
            break
    return fmean(trained[:trials])


def _told(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
