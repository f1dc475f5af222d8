"""Run a search: the oracle proposes, something trains, every outcome is recorded."""

import warnings
from collections.abc import Callable, Sequence

from competition.search.outcomes import Attempt, Evaluate, Search, Task, best
from competition.search.results import Remembering, Results
from competition.search.schedule import may_go_on, split
from competition.search.workers import LOCAL, Address, Work, join, supervise

SHOWN = 3  # best trials whose predictions are kept, besides those of the finalists


def search(
    search: Search,
    evaluate: Evaluate,
    results: Results,
    *,
    on_trial: Callable[[Attempt], None] = lambda trial: None,
    listen: Address | None = None,
    here: int | None = None,
    on_start: Callable[[Address], None] = lambda address: None,
) -> tuple[list[Attempt], list[str]]:
    """Search the space for the best score.

    Trials whose results are known answer at once, and one that was under way goes on. So a search that was killed, at
    any instant, ends with the same trials as one that was not, and one for more trials begins with the same.

    Args:
        search: what is searched.
        evaluate: trains with some values; here, or with several workers in each of them.
        results: what is known, and where to keep more.
        on_trial: told of every trial as it ends.
        listen: where workers of other machines find this search; None for none of them.
        here: workers on this machine; None for all.
        on_start: told where the chief listens, if there is one.

    Returns:
        The trials in their order, and why points of the space were passed over, a reason for each.
    """
    ended: list[Attempt] = []

    def keep(trial: Attempt, running: Sequence[Task]) -> None:
        ended.append(trial)
        results.learn(trial)
        results.forget_predictions(ended, shown(search, ended))
        wanted = [attempt.values for attempt in may_go_on(search, ended)] + [task.values for task in running]
        for attempt in ended:
            if attempt.values not in wanted:
                results.forget_fit(attempt.task)
        on_trial(trial)

    if search.params.workers == 1 and listen is None:
        return _alone(search, Remembering(evaluate, results), keep)
    address = (listen or Address(LOCAL, 0)).bound()
    on_start(address)
    work = Work(search, evaluate, results, address.near)
    return supervise(work, listen=address, here=search.params.workers if here is None else here, on_trial=keep)


def shown(search: Search, trials: Sequence[Attempt]) -> list[Attempt]:
    """Return the trials whose predictions are kept."""
    tried, repeated = split(search, trials)
    return best(search, tried, SHOWN) + repeated


def lend_a_hand(
    search: Search, evaluate: Evaluate, results: Results, chief: Address, on_trial: Callable[[Attempt], None]
) -> None:
    """Work for a search that another process runs, until it has no trial any more.

    Args:
        search: what is searched, as far as it is known here: all but the space and how much of it.
        evaluate: trains with some values.
        results: a folder that no other process uses.
        chief: where it listens.
        on_trial: told of every trial that was done here.
    """

    def tidy(trial: Attempt, running: Sequence[Task]) -> None:
        results.forget_predictions([trial], [])
        results.forget_fit(trial.task)
        on_trial(trial)

    join(Work(search, evaluate, results, chief), on_trial=tidy)


def _alone(
    search: Search, remembering: Remembering, on_trial: Callable[[Attempt, Sequence[Task]], None]
) -> tuple[list[Attempt], list[str]]:
    """Run it from here, a trial after the other."""
    from competition.search.oracle import Oracle, Tuner

    oracle = Oracle(search)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="keras_tuner")  # of a failed trial's score, and of its own old calls
        Tuner(oracle, remembering, lambda trial: on_trial(trial, ())).run()
    if oracle.error:
        raise oracle.error
    return oracle.told(), oracle.sieve.reasons
