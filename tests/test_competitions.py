"""Replicas of the layouts of real competitions, from the download to a submission that their graders accept."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from ruamel.yaml import YAML

from competition import policies, reading
from competition.errors import CompetitionError
from competition.initialise import initialise
from competition.raw.competition import read_competition
from competition.raw.sources import open_source
from competition.recipes import Params
from tests.conftest import ROOT, data_params, gala, png, set_values, write_folder
from tests.replicas import REPLICAS, Replica

# The smallest work with which every stage still does its own.
SMALL = {
    "prepare.image_size_px": [8, 8],
    "prepare.folds": 2,
    "augment.views": 0,
    "augment.policy": [],
    "model": {"family": "softmax"},
    "tune.max_trials": 0,
    "tune.space": {},
    "train.epochs": 2,
    "train.folds": 2,
    "predict.views": 1,
    "predict.policy": [],
}


FORMS = {
    "class per id": "class",
    "class index per id": "index",
    "probability per id": "probability",
    "column per class": "columns",
    "0/1 columns": "flags",
    "tags per id": "tags",
    "ranked k per id": "ranking",
    "value per id": "value",
}


def started(replica: Replica, folder: Path) -> Params:
    """Write a replica's download and let init write params.yaml."""
    download, params = folder / "download", folder / "params.yaml"
    download.mkdir()
    root = replica.write(download)
    params.write_text((ROOT / "params.yaml").read_text())
    initialise(root, params, None)
    set_values(params, {**SMALL, **replica.edits})
    return reading.load(params, checks=(policies.check,))


@pytest.mark.slow
@pytest.mark.parametrize("replica", REPLICAS, ids=lambda replica: replica.name)
def test_straight_from_the_download(replica: Replica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """init, the five stages, and the competition's own rules on what comes out."""
    from competition.stages.augment import augment
    from competition.stages.predict import predict
    from competition.stages.prepare import prepare
    from competition.stages.train import train
    from competition.stages.tune import tune

    monkeypatch.chdir(tmp_path)
    read = started(replica, tmp_path)
    folders = {name: tmp_path / name for name in ("prepare", "augment", "tune", "train", "predict")}
    made = {"prepared": folders["prepare"], "augmented": folders["augment"]}
    prepare(read.prepare, read.data, out=folders["prepare"], seed=1)
    augment(read.augment, prepared=folders["prepare"], out=folders["augment"], seed=1)
    tune(read.tune, read.recipe, **made, out=folders["tune"], state=tmp_path / "state", seed=1, threads=2)
    train(read.recipe, **made, tuned=folders["tune"], out=folders["train"], state=tmp_path / "state", seed=1, threads=2)
    predict(read.predict, prepared=folders["prepare"], trained=folders["train"], out=folders["predict"], seed=1,
            threads=2)  # fmt: skip
    contract = json.loads((folders["prepare"] / "contract.json").read_text())
    assert contract["task"] == replica.task
    assert contract["submission"]["kind"] == FORMS[replica.form]
    assert replica.mistakes((folders["predict"] / "submission.csv").read_bytes()) == []


def test_comments_stay(tmp_path: Path) -> None:
    """init changes values of the data section, and the image size; every comment and every other value stays."""
    replica = next(replica for replica in REPLICAS if replica.name.startswith("ranzcr"))
    params = tmp_path / "params.yaml"
    text = (ROOT / "params.yaml").read_text()
    params.write_text(text)
    (tmp_path / "download").mkdir()
    initialise(replica.write(tmp_path / "download"), params, "roc_auc_macro")
    after = params.read_text()
    comments = [line.partition("# ")[2] for line in text.splitlines()]
    assert [line.partition("# ")[2] for line in after.splitlines()] == comments
    before, now = (YAML(typ="safe").load(each) for each in (text, after))
    for section in now:
        same = now[section] == before[section]
        assert same == (section not in ("data", "prepare")), section
    assert now["data"]["metric"] == "roc_auc_macro"
    assert now["data"]["group_column"] == "PatientID"


@pytest.mark.parametrize("colourful", [True, False])
def test_the_preset_of_photographs_is_named(
    colourful: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What params.yaml augments by is for digits, which nobody mirrors."""
    gray = cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes()
    files = {name: data if colourful or name.endswith(".csv") else gray for name, data in gala().items()}
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text())
    initialise(write_folder(tmp_path / "raw", files), params, "f1_weighted")
    assert ("'compete preset photos'" in capsys.readouterr().out) == colourful


def test_init_leaves_a_way_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing tells what is what, init names the download and the user goes on in params.yaml."""
    monkeypatch.chdir(tmp_path)
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text())
    write_folder(tmp_path / "raw", {"a.csv": b"id,x,y\n1,2,3\n"} | {"train/1.png": png(), "test/2.png": png(2)})
    with pytest.raises(CompetitionError, match=r"params\.yaml now names this download"):
        initialise(Path("raw"), params, None)
    assert YAML(typ="safe").load(params)["data"]["root"] == "raw"
    with pytest.raises(CompetitionError, match=r"--metric: .*acuracy.*did you mean accuracy"):
        initialise(Path("raw"), params, "acuracy")


def test_a_mistyped_path_leaves_the_parameters(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text())
    with pytest.raises(CompetitionError, match=r"/nowhere is missing; give the path of the competition's files$"):
        initialise(tmp_path / "nowhere", params, None)
    assert params.read_text() == (ROOT / "params.yaml").read_text()


def test_init_finds_a_home_that_the_shell_left_in_quotes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "my digits.zip").write_bytes((ROOT / "data/raw/digits.zip").read_bytes())
    initialise(Path("~/my digits.zip"), params, None)
    assert YAML(typ="safe").load(params)["data"]["root"] == str(tmp_path / "my digits.zip")
    with pytest.raises(CompetitionError, match=r"^~nobody-of-this-name/nowhere is missing"):
        initialise(Path("~nobody-of-this-name/nowhere"), params, None)


def test_a_path_that_params_cannot_hold_is_refused(tmp_path: Path) -> None:
    params, download = tmp_path / "params.yaml", tmp_path / os.fsdecode(b"caf\xe9")
    params.write_text((ROOT / "params.yaml").read_text())
    write_folder(download, gala())
    with pytest.raises(CompetitionError, match=r"caf\\udce9' is not UTF-8, .*; rename it"):
        initialise(download, params, None)
    assert params.read_text() == (ROOT / "params.yaml").read_text()


def test_other_lines_and_their_ends_stay(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    text = (ROOT / "params.yaml").read_text()
    params.write_bytes(text.replace("\n", "\r\n").encode())
    initialise(write_folder(tmp_path / "raw", gala()), params, "accuracy")
    before, after = text.split("\n"), params.read_bytes().decode().split("\r\n")
    assert after[-1] == ""
    assert all("\n" not in line for line in after)
    start = next(number for number, line in enumerate(before) if line.startswith("  resize:"))
    assert after[start - len(before) :] == before[start:]


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (b"seed: [1", r"params\.yaml is not valid YAML in line 1: "),
        (b"seed: 1\nseed: 2\n", r"params\.yaml is not valid YAML in line 2: found duplicate key"),
        (b"seed: 1 # \xe9\n", r"params\.yaml is not valid YAML: "),
        (b"data: " + b"[" * 500 + b"]" * 500, r"params\.yaml is not valid YAML: it is nested too deep"),
        (b"seed: " + b"9" * 5000, r"params\.yaml is not valid YAML: .*4300 digits.*value has 5000 digits$"),
        (b"seed: 2024-13-45", r"params\.yaml is not valid YAML: month must be in 1\.\.12"),
        (b"- 1\n", r"params\.yaml holds no sections"),
    ],
)
def test_init_tells_what_is_wrong_with_the_file(tmp_path: Path, broken: bytes, told: str) -> None:
    params = tmp_path / "params.yaml"
    params.write_bytes(broken)
    with pytest.raises(CompetitionError, match=told):
        initialise(write_folder(tmp_path / "raw", gala()), params, None)
    assert params.read_bytes() == broken


def test_the_path_is_written_from_the_folder_of_the_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or whole, where the command runs elsewhere: in another folder the same path would lead to nothing."""
    params = tmp_path / "params.yaml"
    (tmp_path / "sub").mkdir()
    write_folder(tmp_path / "sub/raw", gala())
    for folder, written in ((tmp_path, "sub/raw"), (tmp_path / "sub", str(tmp_path / "sub/raw"))):
        params.write_text((ROOT / "params.yaml").read_text())
        monkeypatch.chdir(folder)
        there = os.path.relpath(tmp_path, folder)
        initialise(Path(there, "sub/raw"), Path(there, "params.yaml"), "accuracy")
        assert reading.load(params).data.root == written


@pytest.mark.parametrize("download", [".", "data"])
def test_the_project_is_no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, download: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "data/raw", gala())
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    with pytest.raises(CompetitionError, match=r"holds what the stages write, in .*/data; put the competition's files"):
        initialise(Path(download), Path("params.yaml"), "accuracy")
    assert (tmp_path / "params.yaml").read_text() == (ROOT / "params.yaml").read_text()
    initialise(Path("data/raw"), Path("params.yaml"), "accuracy")


def test_init_leaves_the_settings_where_a_file_is_no_download(tmp_path: Path) -> None:
    params, text = tmp_path / "params.yaml", (ROOT / "params.yaml").read_text()
    params.write_text(text)
    for name, data in {"README.md": b"words", "cut.zip": b"PK\x03\x04 and no more"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CompetitionError):
            initialise(tmp_path / name, params, "accuracy")
        assert params.read_text() == text


def test_init_tells_why_there_are_three_channels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = gala()
    gray = cv2.imdecode(np.frombuffer(files["Train Images/image0.png"], np.uint8), cv2.IMREAD_GRAYSCALE)
    files["Train Images/image0.png"] = cv2.imencode(".png", gray)[1].tobytes()
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text())
    initialise(write_folder(tmp_path / "raw", files), params, None)
    (told,) = (line for line in capsys.readouterr().out.splitlines() if "│ prepare.channels " in line)
    assert "11 of 12 images in colour" in told


def test_init_takes_over_given_folds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text())
    files = gala() | {"train.csv": b"Image,Class,fold\n" + b"".join(
        f"image{n}.png,{'ab'[n % 2]},{n % 3}\n".encode() for n in range(12))}  # fmt: skip
    initialise(write_folder(tmp_path / "raw", files), params, "accuracy")
    written = YAML(typ="safe").load(params)
    assert (written["prepare"]["folds"], written["train"]["folds"]) == (3, 3)
    said = capsys.readouterr().out
    assert "set prepare.folds and train.folds to 3, as many as the column fold has" in said
    assert f"wrote the data section and prepare.image_size_px and prepare.channels of {params};" in said


@pytest.mark.parametrize("top", ["", "wrapper/"])
def test_what_init_writes_reads_the_same(tmp_path: Path, top: str) -> None:
    """Also where no one folder holds the training images, and the test images are numbered as they are."""
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text())
    files = {f"{top}train_{n % 2}/{n}.png": png(n) for n in range(8)}
    files |= {f"{top}test/{n}.png": png(90 + n) for n in range(9)}
    files["train.csv"] = b"id,label\n" + b"".join(b"%d,%s\n" % (n, b"ab"[n % 2 : n % 2 + 1]) for n in range(9))
    files["sample_submission.csv"] = b"id,label\n" + b"".join(b"%d,a\n" % n for n in range(9))
    root = write_folder(tmp_path / "raw", files)
    initialise(root, params, "accuracy")
    first = read_competition(open_source(root), data_params(root))
    again = read_competition(open_source(root), reading.load(params).data)
    assert list(first.train["file"]) == [f"{top}train_{n % 2}/{n}.png" for n in range(8)]
    assert first.problems == [f"train.csv: '8' has no image in {top.strip('/') or 'the data'}"]
    assert (again.train.equals(first.train), again.test.equals(first.test)) == (True, True)
    assert (again.problems, again.test_problems) == (first.problems, [])
