"""Bad input: prepare names what is wrong and what to do, and writes nothing; or goes on without it, if told to."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from competition import artifacts, images
from competition.arrays import open_array
from competition.artifacts import read_json, read_samples, stage_folder
from competition.cli import app
from competition.errors import CompetitionError, MistakesError
from competition.images import ImageSpec, decode, resize
from competition.raw.competition import read_competition
from competition.raw.rows import MISSING
from competition.raw.sources import open_source
from competition.stages.prepare import prepare
from tests.conftest import ROOT, Files, Project, data_params, gala, png, prepare_params, write_folder, write_zip
from tests.test_raw import pack

Change = Callable[[Files], None]
MEND = "mend them, or set prepare.bad_samples: drop"
JPEG = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))[1].tobytes()


def run(root: Path, out: Path, **changed: Any) -> None:
    prepare(prepare_params(channels=3, **changed), data_params(root), out=out, seed=1)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return every file and folder below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def refusal(tmp_path: Path, root: Path, *, earlier: bool = True, **changed: Any) -> str:
    """Return what prepare says when it refuses, once it is certain that it changed nothing on the disk."""
    home = tmp_path / "data"
    home.mkdir()
    if earlier:
        write_folder(home, {"prepare/samples.csv": b"earlier", "prepare/train.npy": b"earlier"})
    before = contents(home)
    with pytest.raises(CompetitionError) as caught:
        run(root, home / "prepare", **changed)
    assert contents(home) == before
    return str(caught.value)


def classes(labels: tuple[str, ...] = ("cat", "dog"), each: int = 4) -> Files:
    """Return a competition whose folders are its classes."""
    files = {f"train/{label}/{number}.png": png(50 * number) for label in labels for number in range(each)}
    return files | {"test/1.png": png()}


def without(files: Files, *names: str) -> Files:
    return {name: data for name, data in files.items() if name not in names}


def with_row(files: Files, *rows: str) -> Files:
    return files | {"train.csv": files["train.csv"] + "".join(f"{row}\n" for row in rows).encode()}


# Files ------------------------------------------------------------------------------------------------------------


def test_missing_folder(tmp_path: Path) -> None:
    told = refusal(tmp_path, tmp_path / "nonesuch")
    assert "nonesuch is missing" in told
    assert "data.root" in told


def test_missing_folder_below_a_home(tmp_path: Path) -> None:
    assert refusal(tmp_path, Path("~/nonesuch")).endswith("('~' stands for no folder there: write it out)")


def test_empty_folder(tmp_path: Path) -> None:
    told = refusal(tmp_path, write_folder(tmp_path, {"raw/": b""}) / "raw")
    assert str(tmp_path / "raw") in told
    assert "data.root" in told


def test_folder_of_archives(tmp_path: Path) -> None:
    """An archive in the folder is read where it lies."""
    write_folder(tmp_path, {"raw/": b""})
    write_zip(tmp_path / "raw" / "gala.zip", gala())
    run(tmp_path / "raw", tmp_path / "prepare")
    assert read_json(tmp_path / "prepare" / "report.json")["samples"] == {"train": 12, "test": 4}


@pytest.mark.parametrize("name", ["Train Images/x.png", "Test Images/x.png"])
def test_an_image_without_a_row_is_noted(tmp_path: Path, name: str) -> None:
    run(write_folder(tmp_path / "raw", gala() | {name: png()}), tmp_path / "prepare")
    report = read_json(tmp_path / "prepare" / "report.json")
    assert report["samples"] == {"train": 12, "test": 4}
    assert [note for note in report["notes"] if name in note and "not used" in note]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("damage", ["cut", "text", "empty", "bytes"])
def test_damaged_archive(tmp_path: Path, kind: str, damage: str) -> None:
    """An archive that is cut, no archive, empty, or changed in its middle is named, with the way out."""
    path = pack(tmp_path, kind, gala())
    data = path.read_bytes()
    path.write_bytes({
        "cut": data[: len(data) // 2],
        "text": b"<html>please log in</html>\n",
        "empty": b"",
        "bytes": data[: len(data) // 3] + b"\xff" * (len(data) // 3) + data[2 * len(data) // 3 :],
    }[damage])  # fmt: skip
    told = refusal(tmp_path, path)
    assert path.name in told
    assert "download it again" in told or (damage == "bytes" and "mend" in told)


def test_damaged_table_in_an_archive(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "raw.zip", gala())
    path.write_bytes(path.read_bytes().replace(b"image3.png,Attire", b"image3.png,attire"))
    told = refusal(tmp_path, path)
    assert "train.csv" in told
    assert "raw.zip" in told
    assert "download it again" in told


def test_damaged_image_in_an_archive(tmp_path: Path) -> None:
    damaged = "Train Images/image3.png"
    path = write_zip(tmp_path / "raw.zip", gala() | {damaged: png()[:-4] + b"#!?#"})
    path.write_bytes(path.read_bytes().replace(b"#!?#", b"#!!#"))
    told = refusal(tmp_path, path)
    assert f"{damaged}: the archive is damaged there" in told
    assert MEND in told


def test_archive_of_an_unknown_kind(tmp_path: Path) -> None:
    """A zip packed in a way that Python cannot unpack, as Windows does with big ones, is no traceback."""
    path = write_zip(tmp_path / "raw.zip", gala())
    data = path.read_bytes()
    for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        parts = data.split(mark)
        data = mark.join([parts[0], *(part[: place - 4] + b"\x09\0" + part[place - 2 :] for part in parts[1:])])
    path.write_bytes(data)
    told = refusal(tmp_path, path)
    assert "raw.zip" in told
    assert "unpack it and set data.root to the folder" in told


# Tables -----------------------------------------------------------------------------------------------------------

TABLES: dict[str, tuple[Files, tuple[str, ...]]] = {
    "train.csv not UTF-8": (
        gala() | {"train.csv": "Image,Class\nimage0.png,Käse\n".encode("latin-1")},
        ("train.csv", "UTF-8", "save it as UTF-8"),
    ),
    "train.csv without rows": (gala() | {"train.csv": b"Image,Class\n"}, ("train.csv", "no rows")),
    "test.csv without rows": (gala() | {"test.csv": b"Image\n"}, ("test.csv", "no rows")),
    "train.csv of no bytes": (gala() | {"train.csv": b""}, ("train.csv", "download it again")),
    "only one class": (gala(classes=("Attire",)), ("raw", "1 class", "'Attire'", "data.label_column")),
    "only one class folder": (classes(("cat",)), ("train", "1 folder", "a folder for each class")),
    "one of two class folders empty": (
        without(classes(), *(f"train/dog/{n}.png" for n in range(4))) | {"train/dog/": b""},
        ("'train/dog'", "holds no image"),
    ),
    "ids of other images": (
        gala() | {"train.csv": b"Image,Class\nx.png,Food\ny.png,misc\n"},
        ("train.csv", "x.png", "Images/image", "data.id_column"),
    ),
    "test ids of other images": (
        gala() | {"test.csv": b"Image\nx.png\n"},
        ("test.csv", "x.png", "data.id_column"),
    ),
    "the same test id twice": (
        gala() | {"test.csv": gala()["test.csv"] + b"image1000.png\n"},
        ("test.csv", "image1000.png"),
    ),
    "no test images": (
        {name: data for name, data in gala().items() if "est" not in name},
        ("no test images", "data.test_folder"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_bad_table(tmp_path: Path, case: str) -> None:
    files, words = TABLES[case]
    told = refusal(tmp_path, write_folder(tmp_path / "raw", files))
    assert [word for word in words if word not in told] == [], told


# Samples ----------------------------------------------------------------------------------------------------------

EXTRA = {"Train Images/x.png": png()}
SAMPLES: dict[str, tuple[Files, tuple[str, ...]]] = {
    "an empty class folder": (classes() | {"train/bird/": b""}, ("'train/bird'", "holds no image")),
    "an id without an image": (
        without(gala(), "Train Images/image3.png"),
        ("train.csv", "'image3.png'", "no image in Train Images"),
    ),
    "an id with two labels": (with_row(gala(), "image0.png,Food"), ("'image0.png'", "'Attire', 'Food'")),
    "an empty label": (with_row(gala() | EXTRA, "x.png,"), ("train.csv", "'x.png'", "empty label")),
    "a blank label": (with_row(gala() | EXTRA, "x.png,  "), ("train.csv", "'x.png'", "empty label")),
}


@pytest.mark.parametrize("case", SAMPLES)
def test_bad_sample(tmp_path: Path, case: str) -> None:
    files, words = SAMPLES[case]
    told = refusal(tmp_path, write_folder(tmp_path / "raw", files))
    assert [word for word in (*words, "1 bad sample;", MEND, str(tmp_path / "raw")) if word not in told] == [], told


def test_id_that_could_be_two_images(tmp_path: Path) -> None:
    files = with_row(gala() | EXTRA | {"Train Images/x.jpg": JPEG}, "x,Food")
    told = refusal(tmp_path, write_folder(tmp_path / "raw", files))
    assert "train.csv: 'x' could be Train Images/x.jpg or Train Images/x.png" in told
    assert MEND in told


UNREADABLE = {
    "a JPEG cut short": ("Train Images/image3.png", JPEG[: len(JPEG) // 2], "cut short"),
    "a file of no bytes": ("Train Images/image3.png", b"", "empty"),
    "a text called like an image": ("Train Images/image3.png", b"no image at all", "no image"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_unreadable_image(tmp_path: Path, case: str) -> None:
    name, data, word = UNREADABLE[case]
    told = refusal(tmp_path, write_folder(tmp_path / "raw", gala() | {name: data}))
    assert f"  - {name}: " in told
    assert word in told
    assert MEND in told


def test_more_folds_than_samples(tmp_path: Path) -> None:
    told = refusal(tmp_path, write_folder(tmp_path / "raw", gala(train=4)), folds=5)
    assert "4 samples" in told
    assert "5 folds" in told
    assert "prepare.folds" in told


TEST_SAMPLES: dict[str, tuple[Files, str]] = {
    "without an image": (without(gala(), "Test Images/image1001.png"), "no image in Test Images"),
    "cut short": (gala() | {"Test Images/image1001.png": JPEG[: len(JPEG) // 2]}, "cut short"),
    "of no bytes": (gala() | {"Test Images/image1001.png": b""}, "the file is empty"),
}


@pytest.mark.parametrize("case", TEST_SAMPLES)
def test_bad_test_sample_keeps_its_row(tmp_path: Path, case: str) -> None:
    """A submission is never short: what is wrong with a test sample is told, and stops nothing."""
    files, word = TEST_SAMPLES[case]
    run(write_folder(tmp_path / "raw", files), tmp_path / "prepare")
    test = split(tmp_path / "prepare", "test")
    assert list(test["sample_id"]) == [f"image{number}.png" for number in range(1000, 1004)]
    assert [bool(problem) for problem in test["problem"]] == [False, True, False, False]
    told = read_json(tmp_path / "prepare" / "report.json")["test_problems"]
    assert len(told) == 1 and "image1001.png" in told[0] and word in told[0]


def test_several_bad_samples_are_told_together(tmp_path: Path) -> None:
    """One message names them all, those that a table shows and those that only decoding shows."""
    files = gala(train=24, test=6)
    files |= {
        "Train Images/image4.png": b"",
        "Train Images/image5.png": b"text",
        "Train Images/image7.png": JPEG[:99],
    }
    files = without(with_row(files, "image6.png,Food"), "Train Images/image3.png")
    told = refusal(tmp_path, write_folder(tmp_path / "raw", files), earlier=False)
    named = ["image4", "image5", "image7", "image6", "image3"]
    assert [name for name in named if f"{name}.png" not in told] == [], told
    assert "5 bad samples" in told


def test_very_many_bad_samples_fit_on_a_screen(tmp_path: Path) -> None:
    files = without(gala(train=60), *(f"Train Images/image{number}.png" for number in range(50)))
    with pytest.raises(MistakesError) as caught:
        run(write_folder(tmp_path / "raw", files), tmp_path / "data" / "prepare")
    assert len(caught.value.mistakes) == 50
    assert "50 bad samples" in str(caught.value)
    assert str(caught.value).endswith("and 30 more")
    assert contents(tmp_path / "data") == {}


def test_same_row_twice_is_no_mistake(tmp_path: Path) -> None:
    path = write_folder(tmp_path, with_row(gala(), "image0.png,Attire"))
    competition = read_competition(open_source(path), data_params(path))
    assert competition.problems == []
    assert list(competition.train["sample_id"]) == [f"image{number}.png" for number in range(12)]


# bad_samples: drop ------------------------------------------------------------------------------------------------

LEFT = [f"image{number}.png" for number in range(6, 24)]
DROPPED = {
    "image0.png": "2 labels",
    "image1.png": "empty label",
    "image2.png": "no image",
    "image3.png": "cut short",
    "image4.png": "empty",
    "image5.png": "no image",
    "Test Images/image1001.png": "cut short",
    "image1002.png": "no image",
}


@pytest.fixture(scope="module")
def dropped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Files, Path]:
    """A competition with one bad sample of every kind, prepared without them."""
    files = with_row(gala(train=24), "image0.png,Food", "image6.png,Attire")
    files["train.csv"] = files["train.csv"].replace(b"image1.png,Food", b"image1.png,")
    files |= {
        "Train Images/image3.png": JPEG[: len(JPEG) // 2],
        "Train Images/image4.png": b"",
        "Train Images/image5.png": b"text",
        "Train Images/more.png": png(),
        "Test Images/image1001.png": JPEG[:-50],
    }
    files = without(files, "Train Images/image2.png", "Test Images/image1002.png")
    folder = tmp_path_factory.mktemp("dropped")
    run(write_zip(folder / "raw.zip", files), folder / "prepare", bad_samples="drop")
    return files, folder / "prepare"


def pixels(data: bytes) -> np.ndarray:
    return resize(decode(data, 3), ImageSpec(8, 8, 3, "squash"))


def split(folder: Path, name: str) -> pd.DataFrame:
    samples = read_samples(folder)
    return samples[samples["split"] == name]


def test_dropped_training_samples(dropped: tuple[Files, Path]) -> None:
    """The good ones are left, each once, with its label, its own pixels and a fold."""
    files, folder = dropped
    train, rows = split(folder, "train"), open_array(folder / "train.npy")
    assert list(train["sample_id"]) == LEFT
    assert list(train["label"]) == [("Attire", "Food", "misc")[number % 3] for number in range(6, 24)]
    assert sorted(set(train["fold"])) == [0, 1]
    assert set(train["problem"]) == {""}
    for sample in train.itertuples():
        assert (rows[sample.row] == pixels(files[f"Train Images/{sample.sample_id}"])).all()


def test_dropped_test_samples(dropped: tuple[Files, Path]) -> None:
    """Every test sample keeps its place in the submission; what has no image says why."""
    files, folder = dropped
    test, rows = split(folder, "test").set_index("sample_id"), open_array(folder / "test.npy")
    assert list(test.index) == [f"image{number}.png" for number in range(1000, 1004)]
    assert test["problem"]["image1002.png"] == MISSING
    assert "cut short" in test["problem"]["image1001.png"]
    assert not rows[test["row"]["image1001.png"]].any()
    for name in ("image1000.png", "image1003.png"):
        assert test["problem"][name] == ""
        assert (rows[test["row"][name]] == pixels(files[f"Test Images/{name}"])).all()
    assert set(test["fold"]) == {-1}


@pytest.mark.parametrize("name", DROPPED)
def test_dropped_samples_are_listed(dropped: tuple[Files, Path], name: str) -> None:
    report = read_json(dropped[1] / "report.json")
    lines = [line for line in report["test_problems" if "image10" in name else "problems"] if name in line]
    assert len(lines) == 1
    assert DROPPED[name] in lines[0]


def test_report_counts_what_is_left(dropped: tuple[Files, Path]) -> None:
    report = read_json(dropped[1] / "report.json")
    assert len(report["problems"]) + len(report["test_problems"]) == len(DROPPED)
    assert report["samples"] == {"train": 18, "test": 4}
    assert report["classes"] == {"Attire": 6, "Food": 6, "misc": 6}


def test_dropped_class_folder(tmp_path: Path) -> None:
    """A class folder without an image is no class."""
    path = write_folder(tmp_path / "raw", classes() | {"train/bird/": b""})
    run(path, tmp_path / "prepare", bad_samples="drop")
    assert read_json(tmp_path / "prepare" / "contract.json")["classes"] == ["cat", "dog"]
    assert "'train/bird'" in read_json(tmp_path / "prepare" / "report.json")["problems"][0]


@pytest.mark.parametrize("left", [1, 0])
def test_too_little_is_left(tmp_path: Path, left: int) -> None:
    """Where all readable images are of one class, or none is readable, drop refuses too and names a reason."""
    bad = {name: b"" for name in classes() if name.startswith(("train/dog/", "train/cat/")[: 2 - left])}
    told = refusal(tmp_path, write_folder(tmp_path / "raw", classes() | bad), bad_samples="drop")
    assert f"{left} class" in told
    assert "train/dog/0.png" in told


# The disk ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("free_bytes", [0, 2_000_000])
def test_full_disk_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    def usage(path: Path) -> Any:
        return shutil._ntuple_diskusage(10**9, 10**9 - free_bytes, free_bytes)  # type: ignore[attr-defined]

    def work(*arguments: Any) -> NoReturn:
        pytest.fail("the work began")

    monkeypatch.setattr(artifacts.shutil, "disk_usage", usage)
    monkeypatch.setattr("competition.stages.prepare.write_images", work)
    told = refusal(tmp_path, write_folder(tmp_path / "raw", gala()), image_size_px=(512, 512))
    assert str(tmp_path / "data") in told
    assert "no space is left" in told
    assert "make room" in told


def test_failed_renaming_brings_the_earlier_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens while the new folder takes its place, one complete folder is there afterwards."""
    write_folder(tmp_path, {"prepare/samples.csv": b"earlier"})
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name == ".prepare.partial":
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="denied"), stage_folder(tmp_path / "prepare") as folder:
        (folder / "samples.csv").write_bytes(b"new")
    assert contents(tmp_path) == {"prepare": None, "prepare/samples.csv": b"earlier"}


# The command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a params.yaml, a competition and what an earlier prepare wrote."""
    write_folder(tmp_path, {f"raw/{name}": data for name, data in gala().items()})
    write_folder(tmp_path, {"data/prepare/samples.csv": b"earlier"})
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    Project(tmp_path).set(data__root=str(tmp_path / "raw"))
    return tmp_path


def command(home: Path) -> str:
    """Return the one line with which ``compete prepare`` refuses, once it is certain that nothing was written."""
    before = contents(home)
    done = CliRunner().invoke(app, ["prepare", "--params", str(home / "params.yaml"), "--data", str(home / "data")])
    assert done.exit_code == 1, done.exception
    assert done.stderr.startswith("compete: ")
    assert done.stderr.endswith("\n")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    after = contents(home)
    assert {name: after[name] for name in after if not name.startswith(".compete")} == before
    return done.stderr


def full(*arguments: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_disk_that_fills_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "write_rows", full)
    told = command(home)
    assert "no space is left" in told
    assert "make room" in told


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 9 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ],
)
def test_memory_that_runs_out(home: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(images, "write_rows", refuse)
    told = command(home)
    assert told.startswith(f"compete: memory ran out ({error}); close other programs, or lower prepare.image_size_px")


@pytest.mark.parametrize(
    ("number", "word", "advice"),
    [
        (errno.EROFS, "read-only", "make it writable"),
        (errno.EACCES, "not allowed", "change its rights"),
        (errno.ENOSPC, "no space is left", "make room"),
    ],
)
def test_folder_that_cannot_be_written(
    home: Path, monkeypatch: pytest.MonkeyPatch, number: int, word: str, advice: str
) -> None:
    mkdir = Path.mkdir

    def refuse(self: Path, *arguments: Any, **named: Any) -> None:
        if self.name == ".prepare.partial":
            raise OSError(number, os.strerror(number), str(self))
        mkdir(self, *arguments, **named)

    monkeypatch.setattr(Path, "mkdir", refuse)
    told = command(home)
    assert str(home / "data") in told
    assert word in told
    assert advice in told


def test_missing_params(home: Path) -> None:
    (home / "params.yaml").unlink()
    told = command(home)
    assert "params.yaml is missing" in told
    assert "--params" in told
    assert not (home / ".compete").exists()


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["prepare", "--params", "folder"], "cannot open folder: it is a folder; give the path of a file"),
        (["init", "folder", "--params", "folder"], "cannot open folder: it is a folder; give the path of a file"),
        (["sample", "--out", "file"], "cannot make the folder file: there is a file of this name"),
        (["sample", "--out", "file/below"], "cannot open file/below: a part of this path is a file"),
        (["prepare", "--data", "file"], "cannot open file/.prepare.partial: a part of this path is a file"),
        (["shapes", "--data", "folder"], "contract.json is not valid JSON"),
    ],
)
def test_paths_to_something_else(home: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], told: str) -> None:
    monkeypatch.chdir(home)
    write_folder(home, {"file": b"", "folder/prepare/contract.json": b"{"})
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("compete: ")
    assert told in done.stderr


def test_another_copy_of_the_package(
    copy_project: Callable[[Path], Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC takes the files of this folder for what ran: the environment of another clone is refused, unless equal."""
    copy = copy_project(tmp_path).folder
    monkeypatch.chdir(copy)
    assert CliRunner().invoke(app, ["shapes"]).exit_code == 0
    (copy / "competition/models/tiny.py").write_text("")
    for command in (["shapes"], ["prepare"], ["preset", "mlp"]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 1
        assert f"this command runs {ROOT / 'competition'}, and {copy / 'competition'} differs from it" in done.stderr
        assert "in 1 of its files, as models/tiny.py" in done.stderr
        assert "run 'pip install -e .' here" in done.stderr
    assert not (copy / "data/prepare").exists()


def test_letters_that_a_terminal_has_not(home: Path) -> None:
    """A latin or a pure ASCII one: they are shown by their number, and nothing ends in a traceback."""
    labels = ("é", "日本")
    files = {f"raw/train/{label}/{number}.png": png(number + 9 * len(label)) for number in range(4) for label in labels}
    files["raw/test/9.png"] = png(99)
    write_folder(home / "other", files)
    project = Project(home)
    environment = {**project.environment, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "from competition.cli import app; app()", "init", "other/raw"]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert r"\xe9" in done.stdout
    assert r"\u65e5\u672c" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_says_what_to_do_next(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def stop(*_: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(10)

    monkeypatch.setattr("competition.initialise.initialise", stop)
    done = CliRunner().invoke(app, ["init", "data/raw/digits.zip"])
    assert done.exit_code == 130
    assert "compete: stopped; run it again" in done.stderr


def test_a_folder_to_score_is_not_called_missing(tmp_path: Path) -> None:
    answers = tmp_path / "answers.csv"
    answers.write_text("id,label\n1,a\n")
    for paths in ([tmp_path, answers], [answers, tmp_path]):
        done = CliRunner().invoke(app, ["score", *map(str, paths)])
        assert done.exit_code == 1
        assert done.stderr == f"compete: cannot open {tmp_path}: it is a folder; give the path of a file\n"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("init", "found in a description, or guessed"),
        ("preset", "list them all"),
        ("predict", "params.yaml"),
        ("score", "all that fit"),
        ("verify", "run twice"),
    ],
)
def test_help_tells_what_an_option_left_out_means(command: str, told: str) -> None:
    """Square brackets in the text itself are markup, and would vanish."""
    done = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert f"[default: ({told})]" in done.stdout
