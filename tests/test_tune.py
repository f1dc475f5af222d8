"""`compete tune` as a user runs it: a raised budget, finalists, workers here and elsewhere, what goes wrong."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from competition.cli import app
from competition.search import workers
from competition.search.outcomes import Curve, Task
from competition.search.results import Results
from competition.search.schedule import split
from competition.search.trials import search
from competition.search.workers import Address
from competition.stages.tune import _Finalist, _lead, _remarks
from tests.conftest import Project, quick
from tests.test_pipeline import table
from tests.test_search import FEW, Fake, found, no_widest, plan

pytestmark = pytest.mark.slow

LIMIT_SECONDS = 100  # after which a command is ended that would hang


@pytest.fixture(scope="module")
def ready(copy_project: Callable[[Path], Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that is ready to be tuned, by points that do not depend on the number of workers."""
    project = copy_project(tmp_path_factory.mktemp("ready"))
    quick(project)
    project.set(threads=1, tune__tuner="random", model__blocks=1, augment__views=0, augment__policy=[])
    for stage in ("prepare", "augment"):
        project.run("compete", stage)
    return project


@pytest.fixture(scope="module")
def raised(ready: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, list[str]]:
    """A project in which two workers ran two trials, then one ran four and two finalists; what was said each time."""
    project, said = copied(ready, tmp_path_factory.mktemp("raised")), []
    for trials, count, finalists in ((2, 2, 1), (4, 1, 2)):
        project.set(tune__max_trials=trials, tune__workers=count, tune__finalists=finalists)
        said.append(project.run("compete", "tune", timeout=LIMIT_SECONDS).stdout)
        shutil.copyfile(project.folder / "data/tune/trials.csv", project.folder / f"{trials}.csv")
    return project, said


def copied(project: Project, folder: Path) -> Project:
    return Project(shutil.copytree(project.folder, folder / "other", symlinks=True))


def test_models_that_cannot_be_built_have_no_forecast(ready: Project, tmp_path: Path) -> None:
    project = copied(ready, tmp_path)
    project.set(model__blocks=9)
    done = project.here("tune", code=1)
    assert done.stdout.startswith("tune: no forecast, for no model drawn can be built")
    assert "points of tune.space that were drawn can be built, the first because layer " in done.stderr


def test_a_raised_budget_begins_with_the_same_trials(raised: tuple[Project, list[str]]) -> None:
    project, said = raised
    two, four = (table(project.folder / f"{trials}.csv") for trials in (2, 4))
    assert (len(two), len(four)) == (2, 4)
    assert four[:2].equals(two)
    assert all(four["score"])
    for each, trials, fold in zip(said, (two, four), (0, 1), strict=True):  # finalists are compared on the next fold
        first, second = trials.sort_values("score", ascending=False, kind="stable")["trial"][:2]
        told = [f"tune: on fold {fold} trial {a} beats trial {b} by " for a, b in ((first, second), (second, first))]
        assert any(line in each for line in told)
    assert "at most 2 trials, 2 at a time, x" in said[0]
    assert "were known from before" not in said[0]
    assert "tune: 2 of 4 trials were known from before" in said[1]
    assert "tune: up to 2 trainings are known from before" in said[1]


def test_two_trials_whose_predictions_are_elsewhere_are_not_compared_in_silence(tmp_path: Path) -> None:
    searched = plan(trials=2)
    tried = found(searched, tmp_path / "there")
    told = _lead(searched, tried, [], Results(tmp_path / "here", ""), tmp_path, 1)
    assert told.startswith("not all predictions of trials ")


def test_what_went_wrong_is_told_with_its_reason(tmp_path: Path) -> None:
    """Of finalists that fail nothing else is said: trials.csv holds the trials of the first fold alone."""
    searched = plan("grid", 2, space=FEW, finalists=2, impossible=no_widest)

    def fails_again(task: Task, folder: Path) -> Curve:
        return Curve((), "ResourceExhaustedError: out of memory") if task.fold else Fake()(task, folder)

    trials, passed_over = search(searched, fails_again, Results(tmp_path, ""))
    tried, repeated = split(searched, trials)
    finalists = [_Finalist(tried[again.task.of - 1], again) for again in repeated]
    told = _remarks(searched, tried, finalists, [*passed_over, "too wide"], tmp_path)
    assert told == [
        "2 of 2 finalists failed on fold 1, the first because of ResourceExhaustedError: out of memory",
        "1 point of tune.space cannot be built and was passed over, the first because too wide",
    ]


def test_finalists_are_chosen_by_the_mean_over_two_folds(raised: tuple[Project, list[str]]) -> None:
    project, said = raised
    trials = table(project.folder / "data/tune/trials.csv")
    finalists = table(project.folder / "data/tune/finalists.csv").astype(float)
    assert list(finalists.columns) == ["trial", "fold_0", "fold_1", "mean"]
    rows = trials.iloc[finalists["trial"].astype(int) - 1].astype({"score": float, "train.learning_rate": float})
    assert list(finalists["fold_0"]) == list(rows["score"]) == sorted(trials["score"].astype(float))[:1:-1]
    assert list(finalists["mean"]) == pytest.approx((finalists["fold_0"] + finalists["fold_1"]) / 2)
    assert list(finalists["fold_0"]) != list(finalists["fold_1"])
    number = int(finalists["trial"].iloc[finalists["mean"].argmax()])
    assert f"tune: trial {number} of 4 is best of 2 finalists, accuracy {finalists['mean'].max():.4f} " in said[1]
    values = YAML(typ="safe").load(project.folder / "data/tune/hyperparameters.yaml")
    best = rows["train.learning_rate"].iloc[finalists["mean"].argmax()]
    assert values == {"train.learning_rate": pytest.approx(best, rel=1e-8)}


def test_a_worker_joins_from_elsewhere(ready: Project, raised: tuple[Project, list[str]], tmp_path: Path) -> None:
    """It takes no lock and writes nothing: here it works in the folder of the search itself.

    Both together find, of the last two trials, what one alone has found.
    """
    project = copied(ready, tmp_path)
    project.set(tune__max_trials=4, tune__workers=2)
    address = str(Address("127.0.0.1", 0).bound())
    helping = subprocess.Popen(
        ["timeout", str(LIMIT_SECONDS), "compete", "tune", "--worker", address], cwd=project.folder,
        env=project.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert helping.stdout and helping.stdout.readline() == f"tune: works for the search at {address}\n"
        told = project.run("compete", "tune", "--listen", address, "--here", "1", timeout=LIMIT_SECONDS).stdout
        said = helping.communicate()[0]
    finally:
        helping.terminate()
        helping.wait()
    assert f"tune: others join with: compete tune --worker {address}" in told
    assert helping.returncode == 0, said
    assert "  trial " in said
    assert said.endswith("tune: the search has no trial any more\n")
    assert (project.folder / "data/tune/trials.csv").read_text() == (raised[0].folder / "4.csv").read_text()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--worker", "127.0.0.1:5000", "--listen", "127.0.0.1:5000"], "--worker goes without --listen and --here"),
        (["--worker", "127.0.0.1:5000", "--here", "1"], "--worker goes without --listen and --here"),
        (["--here", "1"], "--here goes with --listen"),
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["tune", *options])
    assert done.exit_code == 2
    assert told in done.stderr


def test_a_worker_that_nobody_answers(ready: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ready.folder)
    monkeypatch.setattr(workers, "PATIENCE_SECONDS", 0)
    done = CliRunner().invoke(app, ["tune", "--worker", "127.0.0.1:1"])
    assert done.exit_code == 1
    assert done.stderr.startswith("compete: no search answers at 127.0.0.1:1: ")
    assert done.stderr.count("\n") == 1
