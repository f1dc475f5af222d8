"""tune: search the space for the values that score best on a validation fold."""

import time
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from ruamel.yaml import YAML

from competition import backend
from competition.artifacts import read_json, require, stage_folder, write_csv
from competition.console import say
from competition.errors import CompetitionError
from competition.layout import CONTRACT, HYPERPARAMETERS, POLICY, TRIALS
from competition.params import Recipe, TuneParams
from competition.reading import overlay
from competition.scores import Metric, find_metric
from competition.search.outcomes import Trial
from competition.seeds import derive


def tune(
    params: TuneParams,
    recipe: Recipe,
    *,
    prepared: Path,
    augmented: Path,
    out: Path,
    seed: int,
    threads: int | str,
) -> None:
    """Run trials, each a model trained on all folds but one and scored on that one by the competition's metric.

    Args:
        params: tuner, trials, epochs, fold, space.
        recipe: the model and train sections, over which a trial lays its values.
        prepared, augmented: the folders that prepare and augment wrote.
        out: the folder to write.
        seed: of the proposals, and of every trial alike, so that trials differ by their values alone.
        threads: CPU threads of a model.

    Writes:
        trials.csv: trial, score (empty if it failed), reason (why it failed, or which trial it repeats), and a column
            for each value of the space (empty where its condition does not hold).
        hyperparameters.yaml: dotted path: value, of the best trial; empty with ``max_trials: 0``.

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
            write_csv(folder / TRIALS, pd.DataFrame(columns=["trial", "score", "reason", *params.space]))
            (folder / HYPERPARAMETERS).write_text("{}\n")
            say("tune: no search; train takes the values of params.yaml")
            return
        backend.start(threads)
        from competition.search.trials import best, search
        from competition.search.workers import Job, Workers

        trial_recipe = overlay(recipe, {"train.epochs": params.epochs})
        job = Job(trial_recipe, prepared, augmented, params.fold, derive(seed, "tune", "fit"), threads)
        with Workers(job) as workers, _Board(params, metric) as board:
            trials = search(
                params,
                workers.evaluate,
                seed=derive(seed, "tune", "search"),
                greater=metric.greater,
                on_trial=board.add,
            )
        winner = best(trials, metric.greater)
        if winner is None:
            raise CompetitionError(
                f"all {len(trials)} trials failed, the first because of {trials[0].reason}; change tune.space, "
                "or the values it does not vary"
            )
        rows = [{"trial": t.number, "score": t.score, "reason": t.reason, **t.values} for t in trials]
        table = pd.DataFrame(rows, columns=["trial", "score", "reason", *params.space])
        write_csv(folder / TRIALS, table)
        with (folder / HYPERPARAMETERS).open("w", encoding="utf-8") as file:
            YAML().dump(winner.values, file)
    failed = sum(trial.score is None for trial in trials)
    say(
        f"tune: trial {winner.number} of {len(trials)} is best, {metric.name} {winner.score:.4f} on fold {params.fold}"
        + (f"; {failed} trials failed, see {out / TRIALS}" if failed else "")
    )


class _Board:
    """The trials as they end: a live table for somebody who looks on, a line each in a pipe."""

    def __init__(self, params: TuneParams, metric: Metric) -> None:
        self._max_trials, self._paths, self._metric = params.max_trials, list(params.space), metric
        self._rows: list[tuple[str, ...]] = []
        self._best: float | None = None
        self._start = time.monotonic()
        console = Console()
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> "_Board":
        if self._live:
            self._live.__enter__()
            self._live.update(self._table("…"), refresh=True)
        return self

    def __exit__(self, *raised: object) -> None:
        if self._live:
            self._live.__exit__(None, None, None)

    def add(self, trial: Trial) -> None:
        """Show a trial that has ended."""
        if trial.score is not None and (self._best is None or self._metric.better(trial.score, self._best)):
            self._best = trial.score
        values = [f"{trial.values[path]:.6g}" if isinstance(trial.values.get(path), float)
                  else str(trial.values.get(path, "")) for path in self._paths]  # fmt: skip
        score = f"{trial.score:.4f}" if trial.score is not None else f"failed: {trial.reason}"
        best = f"{self._best:.4f}" if self._best is not None else ""
        ended = trial.number
        left = self._left(ended)
        self._rows.append((str(ended), *values, score, best))
        if self._live:
            self._live.update(self._table(left), refresh=True)
        else:
            named = " ".join(f"{path}={value}" for path, value in zip(self._paths, values, strict=True) if value)
            say(f"  trial {ended}/{self._max_trials}: {named}  {self._metric.name} {score}  best {best}  {left} left")

    def _left(self, ended: int) -> str:
        seconds = (time.monotonic() - self._start) / ended * (self._max_trials - ended)
        return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"

    def _table(self, left: str) -> Table:
        table = Table(title=f"trial {len(self._rows)} of {self._max_trials}, {left} left")
        for heading in ("trial", *self._paths, self._metric.name, "best so far"):
            table.add_column(heading)
        for row in self._rows[-30:]:  # as many as a terminal shows
            table.add_row(*map(escape, row))
        return table
