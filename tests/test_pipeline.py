"""The whole pipeline on the bundled digits, as a user runs it: what runs again, what repeats, what a crash leaves."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from ruamel.yaml import YAML

from competition import backend, environment
from competition.arrays import open_array
from competition.raw.tables import parse_table
from tests.conftest import ROOT, Project, digests

pytestmark = pytest.mark.slow


def ran(project: Project) -> list[str]:
    """Run the pipeline and list the stages whose commands ran."""
    said = project.run("dvc", "repro").stdout
    return [line.removeprefix("> compete ") for line in said.splitlines() if line.startswith("> compete ")]


def table(path: Path) -> pd.DataFrame:
    return parse_table(path.read_bytes(), str(path))


def test_every_output_is_there(project: Project) -> None:
    data = project.folder / "data"
    assert {path.name for path in (data / "prepare").iterdir()} == {
        "samples.csv", "train.npy", "test.npy", "contract.json", "report.json", "overview.png"
    }  # fmt: skip
    assert {path.name for path in (data / "augment").iterdir()} == {
        "view-0.npy", "view-1.npy", "policy.json", "preview.png"
    }  # fmt: skip
    assert {path.name for path in (data / "tune").iterdir()} == {
        "trials.csv", "hyperparameters.yaml", "importance.csv", "parallel.csv"
    }  # fmt: skip
    assert {path.name for path in (data / "train").iterdir()} == {
        "fold-0.weights.h5", "fold-1.weights.h5", "contract.json", "oof.csv", "metrics.json", "history.csv",
        "mistakes.png", "env.json"
    }  # fmt: skip
    assert {path.name for path in (data / "predict").iterdir()} == {"probabilities.csv", "submission.csv"}


def test_samples_agree_with_the_archive(project: Project) -> None:
    """Follow images from the archive to their rows."""
    from competition.images import ImageSpec, decode, resize
    from competition.raw.sources import open_source

    samples = table(project.folder / "data/prepare/samples.csv")
    source = open_source(project.folder / "data/raw/digits.zip")
    true = table_of(source.read("train.csv")).set_index("Image")["Class"]
    spec = ImageSpec(16, 16, 1, "squash")
    train, test = (open_array(project.folder / f"data/prepare/{split}.npy") for split in ("train", "test"))
    assert (len(train), len(test)) == (1347, 450)
    for row in samples.sample(40, random_state=0).itertuples():
        array = train if row.split == "train" else test
        np.testing.assert_array_equal(array[int(row.row)], resize(decode(source.read(row.file), 1), spec))
        assert row.label == (true[row.sample_id] if row.split == "train" else "")


def table_of(data: bytes) -> pd.DataFrame:
    return parse_table(data, "table")


def test_trials_and_hyperparameters(project: Project) -> None:
    trials = table(project.folder / "data/tune/trials.csv")
    assert list(trials.columns) == ["trial", "score", "best", "epochs", "reason", "train.learning_rate"]
    assert float(trials["best"].iloc[-1]) == trials["score"].astype(float).max()
    best = trials.loc[trials["score"].astype(float).idxmax()]
    values = YAML(typ="safe").load(project.folder / "data/tune/hyperparameters.yaml")
    assert values["train.learning_rate"] == pytest.approx(float(best["train.learning_rate"]), rel=1e-8)
    contract = json.loads((project.folder / "data/train/contract.json").read_text())
    assert contract["recipe"]["train"]["learning_rate"] == values["train.learning_rate"]


def test_out_of_fold_predictions_are_by_the_model_that_did_not_see_them(project: Project) -> None:
    """Predict fold 1 again with its own model: the same probabilities; with the other model, others."""
    backend.start(2)  # as all that computes in here
    import keras

    from competition.inference import predict
    from competition.tasks import Target

    data = project.folder / "data"
    samples, oof = table(data / "prepare/samples.csv"), table(data / "train/oof.csv")
    train = samples[samples["split"] == "train"].set_index("sample_id")
    assert list(oof["sample_id"]) == list(train.index)
    assert list(oof["fold"]) == list(train["fold"])
    assert list(oof["label"]) == list(train["label"])
    contract = json.loads((data / "train/contract.json").read_text())
    fold = oof[oof["fold"] == "1"]
    expected = fold[[f"p_{name}" for name in contract["classes"]]].to_numpy(float)
    rows = train.loc[fold["sample_id"], "row"].to_numpy(int)
    model = keras.models.model_from_json(contract["architecture"])
    for number, same in ((1, True), (0, False)):
        model.load_weights(data / f"train/fold-{number}.weights.h5")
        found = predict(model, Target.of(contract), open_array(data / "prepare/train.npy"), rows)
        assert np.allclose(found, expected, atol=1e-5) == same


def test_metrics_come_from_the_out_of_fold_table(project: Project) -> None:
    oof = table(project.folder / "data/train/oof.csv")
    metrics = json.loads((project.folder / "data/train/metrics.json").read_text())
    assert metrics["pooled"]["accuracy"] == pytest.approx((oof["label"] == oof["predicted"]).mean(), abs=1e-6)
    assert metrics["pooled"]["low"] < metrics["pooled"]["accuracy"] < metrics["pooled"]["high"]
    assert metrics["pooled"]["n"] == metrics["fold 0"]["n"] + metrics["fold 1"]["n"] == 1347


def test_the_submission_is_scored(project: Project) -> None:
    answers = ROOT / "data/raw/digits-solution.csv"
    said = project.run("compete", "score", "data/predict/submission.csv", str(answers)).stdout
    assert float(said.split()[1]) > 0.8, said


def test_env_names_the_machine(project: Project) -> None:
    env = json.loads((project.folder / "data/train/env.json").read_text())
    assert env["backend"] == "tensorflow"
    assert env["packages"]["keras"]
    assert env["threads"] >= 1
    assert set(env["fold_seconds"]) == {"0", "1"}


def test_whether_a_project_is_clean_is_told_where_its_files_are(
    copy_project: Callable[[Path], Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder below, git would find nothing changed of files that are not there."""
    copy = copy_project(tmp_path).folder
    for folder, clean in ((copy, False), (copy / "data", None)):
        monkeypatch.chdir(folder)
        assert environment.describe(1)["clean"] is clean


def test_plots_and_metrics_render(project: Project) -> None:
    project.run("dvc", "plots", "show", "--out", "plots")
    page = (project.folder / "plots/index.html").read_text()
    for title in ("Out-of-fold confusion", "Metric on the validation fold", "Score of each trial"):
        assert title in page
    assert "pooled.accuracy" in project.run("dvc", "metrics", "show").stdout


def test_only_what_a_change_touches_runs(project: Project) -> None:
    before = digests(project.folder)
    assert ran(project) == []
    project.set(predict__views=3)
    assert ran(project) == ["predict"]
    project.set(predict__views=2)
    assert ran(project) == []
    project.set(train__epochs=4)
    assert ran(project) == ["train", "predict"]
    assert digests(project.folder)["data/train/fold-0.weights.h5"] != before["data/train/fold-0.weights.h5"]
    project.set(train__epochs=5)
    assert ran(project) == []
    assert digests(project.folder) == before


def test_predict_alone_needs_the_trained_folder_only(project: Project, tmp_path: Path) -> None:
    """Its labels are those that the same models give without test-time views."""
    shutil.copytree(project.folder / "data/train", tmp_path / "data/train")
    images = tmp_path / "new images"
    (images / "sub").mkdir(parents=True)
    from competition.raw.sources import open_source

    source = open_source(ROOT / "data/raw/digits.zip")
    names = [name for name in source.files if name.startswith("Test Images/")][:12]
    for number, name in enumerate(names):
        folder = images / "sub" if number % 2 else images
        (folder / Path(name).name).write_bytes(source.read(name))
    alone = Project(tmp_path)
    command = ["compete", "predict", "--images", "new images", "--out", "new.csv"]
    environment = {**project.environment}
    done = subprocess.run(command, cwd=alone.folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = table(tmp_path / "new.csv")
    assert list(found.columns) == ["Image", "Class"]
    assert len(found) == 12
    assert list(found["Image"]) == sorted(found["Image"])
    expected = table(project.folder / "data/predict/submission.csv").set_index("Image")["Class"]
    agree = [row.Class == expected[Path(row.Image).name] for row in found.itertuples()]
    assert np.mean(agree) >= 0.8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "new images", "new.csv"]


def test_a_second_command_is_refused_by_name(project: Project) -> None:
    """The first holds the lock until its end, however it ends."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom competition.locks import hold\n"
        "sys.argv = ['compete', 'train']\n"
        "with hold(Path('.compete/lock')):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout and holder.stdout.readline() == "held\n"
    before = digests(project.folder)
    said = project.run("compete", "prepare", code=1).stderr
    assert f"'compete train' (process {holder.pid}, since" in said
    assert digests(project.folder) == before
    holder.kill()
    holder.wait()
    project.run("compete", "prepare")


def test_a_wrong_parameter_writes_nothing(project: Project) -> None:
    before = digests(project.folder)
    params = project.folder / "params.yaml"
    written = params.read_text()
    params.write_text(written.replace("batch_size:", "batchsize:"))
    done = project.run("compete", "train", code=1)
    params.write_text(written)
    assert "train.batchsize: unknown key; did you mean train.batch_size?" in done.stderr
    assert done.stdout == ""
    assert digests(project.folder) == before


def test_failed_trials_do_not_end_the_search(project: Project, tmp_path: Path) -> None:
    """A layer of a billion units has no memory: it is told, not fatal. Nine poolings are not even tried."""
    other = Project(tmp_path / "other")
    shutil.copytree(project.folder, other.folder, symlinks=True)
    space = {"model.blocks": {"choice": [1, 9]}, "model.dense_units": {"choice": [16, 1_000_000_000]}}
    other.set(tune__space=space, tune__max_trials=4, tune__epochs=1, tune__tuner="random", train__warmup_epochs=0)
    said = other.here("tune").stdout
    trials = table(other.folder / "data/tune/trials.csv")
    assert list(trials["model.blocks"]) == ["1", "1"]
    good, bad = (trials[trials["model.dense_units"] == units].iloc[0] for units in ("16", "1000000000"))
    assert float(good["score"]) > 0
    assert (bad["score"], bad["epochs"]) == ("", "0")
    assert bad["reason"] != ""
    assert "1 trial failed" in said
    assert "2 points of tune.space cannot be built and were passed over" in said
    assert "no other point was found after 2 trials of 4" in said
    values = YAML(typ="safe").load(other.folder / "data/tune/hyperparameters.yaml")
    assert values == {"model.blocks": 1, "model.dense_units": 16}


def test_stages_that_do_not_belong_together_are_refused(project: Project, tmp_path: Path) -> None:
    """Run one by hand and not the next, take a file away, damage one: a clear line each, and nothing written."""
    other = Project(tmp_path / "other")
    shutil.copytree(project.folder, other.folder)  # no links: these files are spoiled
    data = other.folder / "data"

    def refused(stage: str, told: str) -> None:
        said = other.here(stage, code=1).stderr
        assert told in said
        assert said.startswith("compete: ")
        assert "Traceback" not in said

    other.set(train__folds=3, prepare__folds=3)
    refused("train", "no training sample is in fold 2: data/prepare has 2 folds; run 'compete prepare' again")
    other.set(
        train__folds=2, prepare__folds=2, predict__policy=[{"op": "RandomCrop", "p": 1.0, "height": 8, "width": 8}]
    )
    refused("predict", "RandomCrop turns an image of shape (16, 16, 1)")
    other.set(predict__policy=[{"op": "HorizontalFlip", "p": 1.0}], prepare__image_size_px=[20, 16])
    other.here("prepare")
    refused("train", "data/augment was made from another data/prepare; run 'compete augment' again")
    refused(
        "predict", "data/train was trained on another data/prepare: they differ in image; run 'compete train' again"
    )
    other.set(prepare__image_size_px=[16, 16])
    other.here("prepare")
    for file, stage, told in (
        ("train/fold-1.weights.h5", "predict", "is damaged or of another model"),
        ("tune/hyperparameters.yaml", "train", "holds no values; run 'compete tune' again"),
        ("augment/policy.json", "train", "is not valid JSON"),
    ):
        whole = (data / file).read_bytes()
        (data / file).write_bytes(whole[:0] if file.startswith("tune") else whole[: len(whole) // 2])
        refused(stage, told)
        (data / file).write_bytes(whole)
    for file, stage, told in (
        ("augment/view-1.npy", "train", "run 'compete augment' first"),
        ("prepare/test.npy", "predict", "run 'compete prepare' first"),
        ("train/fold-1.weights.h5", "predict", "run 'compete train' first"),
        ("prepare/samples.csv", "augment", "run 'compete prepare' first"),
    ):
        (data / file).rename(data / "away")
        refused(stage, f"data/{file} is missing; {told}")
        (data / "away").rename(data / file)
    assert digests(other.folder) == digests(project.folder)


def test_a_refused_submission_leaves_the_probabilities(project: Project, tmp_path: Path) -> None:
    """Spoil both contracts, as nothing in the pipeline would: one class has no name."""
    other = Project(tmp_path / "other")
    shutil.copytree(project.folder, other.folder)
    for stage in ("prepare", "train"):
        path = other.folder / "data" / stage / "contract.json"
        path.write_text(path.read_text().replace('"one"', '""'))
    said = other.here("predict", code=1).stderr
    assert "the submission was not written" in said
    assert [path.name for path in (other.folder / "data/predict").iterdir()] == ["probabilities.csv"]


def test_no_search_takes_the_parameters_as_they_stand(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "other")
    shutil.copytree(project.folder, other.folder, symlinks=True)
    other.set(tune__max_trials=0)
    other.here("tune")
    assert YAML(typ="safe").load(other.folder / "data/tune/hyperparameters.yaml") == {}
    assert len(table(other.folder / "data/tune/trials.csv")) == 0


def test_ctrl_c_ends_a_search_quietly(project: Project) -> None:
    before = digests(project.folder)
    project.set(tune__max_trials=50)
    process = subprocess.Popen(
        ["compete", "tune"], cwd=project.folder, env=project.environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell has it ignored
    )  # fmt: skip
    assert process.stdout and any("trial 1/50" in line for line in process.stdout)
    workers = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    project.set(tune__max_trials=2)
    assert workers
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert psutil.wait_procs(workers, timeout=10)[1] == []
    assert digests(project.folder) == before
