"""What comes next in a search: a function of its trials, whenever and wherever they ran.

With n workers a trial knows the trials that are n or more before it, and of those between only what they try. So it is
the same whichever of them ended first. What needs no scores, as a random point does, waits for none.
"""

import heapq
from collections.abc import Callable, Sequence
from itertools import pairwise

from competition.search.outcomes import Attempt, Search, Task, Values, best
from competition.search.points import Key, key_of
from competition.search.proposals import Past, Signal, brackets, propose
from competition.search.pruning import bars

LEARNING = ("bayesian", "tpe")  # tuners that go by the scores of the trials just before


def next_task(search: Search, trials: Sequence[Attempt], possible: Callable[[Values], bool]) -> Task | Signal:
    """Say what to do next.

    Args:
        search: what is searched.
        trials: all that have begun.
        possible: whether values may be tried at all.
    """
    params = search.params
    tried, repeated = split(search, trials)
    if not repeated:
        task = _next_trial(search, tried, possible)
        if task is not Signal.END or not params.repeats:
            return task
        if any(trial.outcome is None for trial in tried):
            return Signal.WAIT
    chosen = best(search, tried, params.repeats)
    if len(repeated) == len(chosen):
        return Signal.END
    trial = chosen[len(repeated)]
    fold = (params.fold + 1) % search.folds
    return Task(len(trials) + 1, trial.values, fold, trial.epochs, (), search.greater, trial.number, fraction=1.0)


def split(search: Search, trials: Sequence[Attempt]) -> tuple[list[Attempt], list[Attempt]]:
    """Part the trials of the search, in their order, from those that repeat the best of them on the next fold."""
    in_order = sorted(trials, key=lambda trial: trial.number)
    fold = search.params.fold
    return [t for t in in_order if t.task.fold == fold], [t for t in in_order if t.task.fold != fold]


def is_late(search: Search, tried: Sequence[Attempt]) -> bool:
    """Tell whether the next trial would start after as long as the search may take.

    It goes by the seconds of training, which are on record, and not by a clock: a search that is run again ends where
    it ended before. The workers are taken to begin each trial in its turn, as soon as one is free and the trials that
    it has to know have ended. What starting processes takes does not count.
    """
    workers = search.params.workers
    free = [0.0] * workers  # when each worker is
    ends = [0.0]  # of the first trials, when the last of them had ended
    for place, seconds in enumerate(seconds_added(_known(search, tried))):
        begun = max(heapq.heappop(free), ends[max(place + 1 - workers, 0)])
        heapq.heappush(free, begun + seconds)
        ends.append(max(ends[-1], begun + seconds))
    return 0 < search.params.minutes <= ends[-1] / 60


def seconds_added(tried: Sequence[Attempt]) -> list[float]:
    """Return what each trial took; of one that goes on with a training, what it took beyond that."""
    spent: dict[Key, float] = {}
    added = []
    for trial in tried:
        point = key_of(trial.values)
        before, seconds = spent.get(point, 0.0), trial.outcome.seconds if trial.outcome else 0.0
        spent[point] = max(before, seconds)
        added.append(spent[point] - before)
    return added


def _known(search: Search, tried: Sequence[Attempt]) -> Sequence[Attempt]:
    """Return the trials that the next one has to know."""
    return tried[: max(len(tried) + 1 - search.params.workers, 0)]


def may_go_on(search: Search, ended: Sequence[Attempt]) -> list[Attempt]:
    """Return the trials whose training hyperband may go on with; others' state is of no use any more.

    Those are the best of every rung of the bracket that is being filled, as many as the next rung may have places.
    """
    if search.params.tuner != "hyperband":
        return []
    places: dict[int, int] = {}
    for bracket in brackets(search.params.epochs):
        for (_, until), (count, _) in pairwise(bracket):
            places[until] = max(count, places.get(until, 0))
    tried = split(search, ended)[0]
    starts = [later.number for earlier, later in pairwise(tried) if earlier.task.of and not later.task.of]
    now = [attempt for attempt in tried if attempt.number >= max(starts, default=1)]
    rungs = {until: [attempt for attempt in now if attempt.task.epochs == until] for until in places}
    return [attempt for until, count in places.items() for attempt in best(search, rungs[until], count)]


def _next_trial(search: Search, tried: Sequence[Attempt], possible: Callable[[Values], bool]) -> Task | Signal:
    params, number = search.params, len(tried) + 1
    known = _known(search, tried)
    learns, prunes = params.tuner in LEARNING, params.prune and params.tuner != "hyperband"
    if number > params.max_trials:
        return Signal.END
    if (learns or prunes or params.minutes) and any(trial.outcome is None for trial in known):
        return Signal.WAIT
    if is_late(search, tried):
        return Signal.END
    # The tuners that do not learn so propose the same whatever they are told, if they propose anything.
    seen = [trial.number <= len(known) if learns else trial.outcome is not None for trial in tried]
    proposal = propose(
        params,
        seed=search.seed,
        greater=search.greater,
        number=number,
        past=[_past(trial, is_seen) for trial, is_seen in zip(tried, seen, strict=True)],
        possible=possible,
    )
    if isinstance(proposal, Signal):
        return proposal
    curves = [trial.outcome.scores for trial in known if trial.outcome and trial.score is not None]
    stops = bars(curves, proposal.epochs) if prunes else ()
    epochs, continues = proposal.epochs, proposal.continues
    return Task(number, proposal.values, params.fold, epochs, stops, search.greater, continues, params.fraction)


def _past(trial: Attempt, is_seen: bool) -> Past:
    return Past(trial.number, trial.values, trial.score if is_seen else None, running=not is_seen)
