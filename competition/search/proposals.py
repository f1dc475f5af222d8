"""What a search tries next: a function of what it has tried.

Nothing is kept between two proposals. A search that was killed goes on as if it had not been, and one that is given
more trials begins with the same ones.
"""

import math
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, partial
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from competition.params import Range, Scalar, TuneParams
from competition.search.outcomes import Values
from competition.search.points import (
    Key,
    Space,
    count,
    draw,
    draw_many,
    encode,
    ends,
    enumerate_points,
    is_ordered,
    key_of,
    neighbour,
    ordered,
    resolve,
    rounded,
)
from competition.seeds import derive

if TYPE_CHECKING:
    import optuna

DRAWS = 1000  # in vain, before what is left of a space is listed, or the search ends if that cannot be
FEW_POINTS = 10_000  # of a space that is listed to find what is left of it
IN_VAIN = 50_000  # impossible points of a grid in a row, before the search ends; a minute or two go by
ASKED = 20  # proposals of one model before a point is drawn at random instead
CANDIDATES = 300  # points among which the Gaussian process chooses; all of a space that has no more
NEIGHBOURS = 100  # of the best point, besides
# Bounds of the kernel's lengths, where a range is 1 long. With 0.05 to 20 the regret after 20 trials was three to six
# times as large on two of three functions, for so few scores fit any length; so it was with one length for all ranges.
LENGTHS = (0.5, 2.0)
HEIGHTS = (0.1, 10.0)  # of the kernel: the variance of what it models, where that of the scores seen is 1
NOISE = 1e-3  # variance that a score has of itself, where all scores together have the variance 1
ETA = 3  # of the trials of a rung, one in so many goes on


@dataclass(frozen=True)
class Past:
    """One earlier trial, as a proposal sees it.

    Attributes:
        number: from 1.
        values: the active ones.
        score: None if it failed or runs still.
        running: whether it runs still.
    """

    number: int
    values: Values
    score: float | None
    running: bool


@dataclass(frozen=True)
class Proposal:
    """What to try.

    Attributes:
        values: the active ones.
        epochs: until which to train.
        continues: number of the trial whose training goes on; None if training begins.
    """

    values: Values
    epochs: int
    continues: int | None = None


class Signal(Enum):
    """Why nothing is proposed."""

    WAIT = "a running trial has to end first"
    END = "the search is over, or no other point was found"


def propose(
    params: TuneParams,
    *,
    seed: int,
    greater: bool,
    number: int,
    past: Sequence[Past],
    possible: Callable[[Values], bool],
) -> Proposal | Signal:
    """Propose the next trial of a search.

    No point is proposed twice, but by hyperband, which goes on with the best ones.

    Args:
        params: tuner, epochs and space.
        seed: of the search.
        greater: whether a higher score is a better one.
        number: of the trial, from 1.
        past: all trials before it, in any order.
        possible: whether a point may be tried at all.

    Returns:
        The trial, or why there is none; a function of the arguments and of nothing else.
    """
    trials = sorted(past, key=lambda trial: trial.number)
    ask = _Question(params.space, seed, 1 if greater else -1, number, trials, possible)
    if params.tuner == "hyperband":
        return _hyperband(ask, params.epochs)
    tuners: dict[str, Callable[[_Question], Values | None]] = {
        "random": _random,
        "grid": _grid,
        "bayesian": _bayesian,
        "tpe": _tpe,
    }
    values = tuners[params.tuner](ask)
    return Signal.END if values is None else Proposal(values, params.epochs)


@dataclass(frozen=True)
class _Question:
    """What every tuner is asked."""

    space: Space
    seed: int
    sign: int  # 1 if a higher score is a better one, else -1
    number: int
    past: list[Past]  # by number
    possible: Callable[[Values], bool]

    @cached_property
    def tried(self) -> set[Key]:
        return {key_of(trial.values) for trial in self.past}

    def passes(self, values: Values) -> bool:
        """Tell whether a point was not tried before and is possible."""
        return key_of(values) not in self.tried and self.possible(values)

    @property
    def scored(self) -> list[Past]:
        return [trial for trial in self.past if trial.score is not None]

    @property
    def is_early(self) -> bool:
        """Tell whether there is too little for a model: one point more than there are values spans the space."""
        return self.number <= len(self.space) + 1 or not self.scored

    def gain(self, trial: Past) -> float:
        """Return the score, turned so that more is better."""
        assert trial.score is not None
        return self.sign * trial.score

    def gain_or_worst(self, trial: Past) -> float:
        """Return the gain; that of the worst trial for one that failed, so that a model keeps away from there."""
        return min(map(self.gain, self.scored)) if trial.score is None else self.gain(trial)


def _random(ask: _Question) -> Values | None:
    """Draw a point; where draws fail, list what is left."""
    for attempt in range(DRAWS):
        values = draw(ask.space, np.random.default_rng(derive(ask.seed, "random", ask.number, attempt)))
        if ask.passes(values):
            return values
    if count(ask.space, FEW_POINTS) is None:
        return None
    points = list(enumerate_points(ask.space))
    order = np.random.default_rng(derive(ask.seed, "rest", ask.number)).permutation(len(points))
    return next((points[index] for index in order if ask.passes(points[index])), None)


def _grid(ask: _Question) -> Values | None:
    """Take the first point that was not tried; `TuneParams` lets no range without an end of values pass."""
    in_vain = 0
    for values in enumerate_points(ask.space):
        if ask.passes(values):
            return values
        in_vain = 0 if key_of(values) in ask.tried else in_vain + 1
        if in_vain == IN_VAIN:
            return None
    return None


def _bayesian(ask: _Question) -> Values | None:
    """Take the point from which a Gaussian process expects the greatest improvement.

    A failed trial counts as the worst score. A running one has the score that the process expects of it, so that the
    next is sought elsewhere.

    Source: Snoek, Larochelle and Adams 2012, arXiv 1206.2944 (Matern 5/2, expected improvement); Ginsbourger, Le Riche
    and Carraro 2010, "Kriging is well-suited to parallelize optimization" (running trials: the "kriging believer").
    """
    if ask.is_early:
        return _random(ask)
    rng = np.random.default_rng(derive(ask.seed, "bayesian", ask.number))
    points = _candidates(ask, rng)
    improvement = _expected_improvement(ask, np.stack([encode(ask.space, values) for values in points]))
    order = np.argsort(-improvement, kind="stable")
    return next((points[index] for index in order if ask.passes(points[index])), None) or _random(ask)


def _candidates(ask: _Question, rng: np.random.Generator) -> list[Values]:
    if count(ask.space, CANDIDATES) is not None:
        return list(enumerate_points(ask.space))
    best = max(ask.scored, key=ask.gain)
    near = [neighbour(ask.space, best.values, rng) for _ in range(NEIGHBOURS)]
    return near + draw_many(ask.space, rng, CANDIDATES)


def _expected_improvement(ask: _Question, points: np.ndarray) -> np.ndarray:
    """Return float64 (n,) for points (n, d)."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    def vectors(trials: list[Past]) -> np.ndarray:
        return np.stack([encode(ask.space, trial.values) for trial in trials])

    ended = [trial for trial in ask.past if not trial.running]
    running = [trial for trial in ask.past if trial.running]
    x, y = vectors(ended), np.array([ask.gain_or_worst(trial) for trial in ended])
    with threadpool_limits(1), warnings.catch_warnings():  # more threads would change the last bits, and are slower
        warnings.simplefilter("ignore")  # it says when the fit met its bounds
        kernel = ConstantKernel(1.0, HEIGHTS) * Matern(np.ones(x.shape[1]), LENGTHS, nu=2.5)
        model = GaussianProcessRegressor(kernel, alpha=NOISE, normalize_y=True).fit(x, y)
        if running:
            believed = vectors(running)
            x, y = np.concatenate([x, believed]), np.concatenate([y, model.predict(believed)])
            model = GaussianProcessRegressor(model.kernel_, alpha=NOISE, normalize_y=True, optimizer=None).fit(x, y)
        mean, deviation = model.predict(points, return_std=True)
    deviation = np.maximum(deviation, 1e-12)  # 0 at a point that was tried
    above = (mean - y.max()) / deviation
    density = np.exp(-(above**2) / 2) / math.sqrt(2 * math.pi)
    share = np.array([math.erfc(-number / math.sqrt(2)) / 2 for number in above])
    return deviation * (above * share + density)


def _tpe(ask: _Question) -> Values | None:
    """Ask Optuna's tree-structured Parzen estimator, which takes each value from where good trials are dense.

    A failed trial counts as the worst score, for of a failure Optuna learns nothing.

    On the function of the tests, all values together (``multivariate``) and the ranks of numeric choices each took a
    fifth off the regret; whether 3, 5 or 10 points are drawn before made no difference that 40 seeds could show.

    Source: Bergstra and others 2011, "Algorithms for Hyper-Parameter Optimization", as Optuna has it.
    """
    if ask.is_early:
        return _random(ask)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of every study it creates
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=0, multivariate=True, constant_liar=True, seed=derive(ask.seed, "tpe", ask.number)
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([_told(ask, trial) for trial in ask.past])
    for _ in range(ASKED):
        asked = study.ask()  # those in vain keep running, so that the next is sought elsewhere
        values = resolve(ask.space, ordered(ask.space), partial(_suggested, asked, ask.space))
        if ask.passes(values):
            return values
    return _random(ask)


def _told(ask: _Question, trial: Past) -> "optuna.trial.FrozenTrial":
    from optuna.trial import TrialState, create_trial

    return create_trial(
        state=TrialState.RUNNING if trial.running else TrialState.COMPLETE,
        value=None if trial.running else ask.gain_or_worst(trial),
        params={path: _rank(ask.space[path], value) for path, value in trial.values.items()},
        distributions={path: _distribution(ask.space[path]) for path in trial.values},
    )


def _rank(span: Range, value: Scalar) -> Scalar:
    """Put a rank for a number of a choice, so that Optuna knows what lies between two others."""
    return sorted(span.choice).index(value) if span.choice is not None and is_ordered(span) else value


def _distribution(span: Range) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    log = span.sampling == "log"
    if span.choice is not None:
        return IntDistribution(0, len(span.choice) - 1) if is_ordered(span) else CategoricalDistribution(span.choice)
    low, high = ends(span)  # of the steps: of an end that is none Optuna warns
    if span.integer is not None:
        return IntDistribution(int(low), int(high), log=log, step=int(span.step or 1))
    return FloatDistribution(float(low), float(high), log=log, step=span.step)


def _suggested(trial: "optuna.Trial", space: Space, path: str) -> Scalar:
    span = space[path]
    log = span.sampling == "log"
    if span.choice is not None and is_ordered(span):
        return sorted(span.choice)[trial.suggest_int(path, 0, len(span.choice) - 1)]
    if span.choice is not None:
        return span.choice[span.choice.index(trial.suggest_categorical(path, span.choice))]
    low, high = (float(end) for end in ends(span))
    if span.integer is not None:
        return trial.suggest_int(path, int(low), int(high), log=log, step=int(span.step or 1))
    return min(max(rounded(trial.suggest_float(path, low, high, log=log, step=span.step)), low), high)


def _hyperband(ask: _Question, epochs: int) -> Proposal | Signal:
    """Lay the trials out over the rungs of one bracket after the other, and fill the next place.

    A rung has fewer places where fewer trials of the rung before have a score, or where no new point is left.

    Source: Li and others 2016, "Hyperband", arXiv 1603.06560.
    """
    waiting = deque(ask.past)  # not yet in their places
    tried: set[Key] = set()
    for bracket in cycle(brackets(epochs)):
        places, until = bracket[0]
        rung: list[Past] = []
        while waiting and len(rung) < places and key_of(waiting[0].values) not in tried:
            tried.add(key_of(waiting[0].values))
            rung.append(waiting.popleft())
        if not waiting and len(rung) < places and (values := _random(ask)) is not None:
            return Proposal(values, until)
        if not rung:
            return Signal.END
        for places, until in bracket[1:]:
            if any(trial.running for trial in rung):
                return Signal.WAIT
            scored = [trial for trial in rung if trial.score is not None]
            best = sorted(scored, key=lambda trial: (-ask.gain(trial), trial.number))[:places]
            rung = [waiting.popleft() for _ in best[: len(waiting)]]
            if len(rung) < len(best):
                parent = best[len(rung)]
                return Proposal(parent.values, until, parent.number)
    raise AssertionError("cycle has no end")


def brackets(epochs: int) -> list[list[tuple[int, int]]]:
    """Return the places and epochs of each rung of each bracket, the one with most trials first.

    The numbers are those of table 1 of the paper, which rounds down where its pseudocode rounds up.

    Args:
        epochs: of the last rung of every bracket; the first rung of the first bracket has 1 to 3.
    """
    most = 0
    while ETA ** (most + 1) <= epochs:
        most += 1
    return [
        [
            ((most + 1) // (last + 1) * ETA**last // ETA**level, round(epochs / ETA ** (last - level)))
            for level in range(last + 1)
        ]
        for last in range(most, -1, -1)
    ]
