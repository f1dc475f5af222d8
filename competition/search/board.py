"""The trials of a search as they end, for somebody who looks on."""

import statistics

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from competition.console import counted, say
from competition.search.outcomes import Attempt, Search, best
from competition.search.points import most_trials
from competition.search.schedule import seconds_added

SHOWN_ROWS = 30  # as many as a terminal shows


class Board:
    """A live table in a terminal, a line for each trial in a pipe.

    Args:
        search: what is searched.
        metric: name of what is scored.
    """

    def __init__(self, search: Search, metric: str) -> None:
        self._search, self._metric, self._paths = search, metric, list(search.params.space)
        self._rows: list[tuple[str, ...]] = []
        self._tried: list[Attempt] = []
        self._most = most_trials(search.params)
        self._repeated = 0
        console = Console()
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> "Board":
        if self._live:
            self._live.__enter__()
            self._live.update(self._table("…"), refresh=True)
        return self

    def __exit__(self, *raised: object) -> None:
        if self._live:
            self._live.__exit__(None, None, None)

    def add(self, trial: Attempt) -> None:
        """Show a trial that has ended."""
        params = self._search.params
        is_repeated = trial.task.fold != params.fold
        if is_repeated:
            self._repeated += 1
        else:
            self._tried.append(trial)
        name = f"{trial.task.of} on fold {trial.task.fold}" if is_repeated else f"{trial.number}"
        values = [f"{trial.values[path]:.6g}" if isinstance(trial.values.get(path), float)
                  else str(trial.values.get(path, "")) for path in self._paths]  # fmt: skip
        score = f"{trial.score:.4f}" if trial.score is not None else f"failed: {trial.reason}"
        if trial.score is not None and trial.reason:
            score += f", {trial.reason}"
        leader = "".join(f"{each.score:.4f}" for each in best(self._search, self._tried))
        left = self._left()
        self._rows.append((name, *values, score, leader))
        if self._live:
            self._live.update(self._table(left), refresh=True)
        else:
            named = " ".join(f"{path}={value}" for path, value in zip(self._paths, values, strict=True) if value)
            of = "" if is_repeated else f"/{self._most}"
            say(f"  trial {name}{of}: {named}  {self._metric} {score}  best {leader}  {left} left")

    def _left(self) -> str:
        """Tell how long the rest takes if it goes on like this; training that was known from before counts too."""
        params = self._search.params
        added = seconds_added(self._tried)
        mean = statistics.fmean(added) / params.workers if added else 0.0
        seconds = 0.0 if self._repeated else mean * (self._most - len(added))
        if params.minutes:
            seconds = min(seconds, max(60 * params.minutes - mean * len(added), 0.0))
        seconds += mean * (params.repeats - self._repeated) / params.fraction  # a finalist trains on all samples
        return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"

    def _table(self, left: str) -> Table:
        table = Table(title=f"{counted(len(self._tried), 'trial')} of {self._most}, {left} left")
        for heading in ("trial", *self._paths, self._metric, "best so far"):
            table.add_column(heading)
        for row in self._rows[-SHOWN_ROWS:]:
            table.add_row(*map(escape, row))
        return table
