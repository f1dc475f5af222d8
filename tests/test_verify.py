"""Two runs are compared: every kind of difference is named as what it is; a whole project is equal until it is not."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from competition import verify
from competition.errors import CompetitionError
from competition.reading import load
from competition.verify import difference, first_difference, value_differences
from tests.conftest import Project, digests, quick

Told = Callable[[str, bytes, bytes], str | None]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """What is said of two files of the same name."""

    def tell(name: str, one: bytes, other: bytes) -> str | None:
        paths = [tmp_path / folder / name for folder in ("one", "other")]
        for path, data in zip(paths, (one, other), strict=True):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        return difference(*paths)

    return tell


@pytest.mark.parametrize("name", ["oof.csv", "contract.json", "train.npy", "fold-0.weights.h5", "alike.png", "other"])
def test_equal_bytes_are_equal_whatever_they_are(told: Told, name: str) -> None:
    assert told(name, b"no such format", b"no such format") is None
    assert told(name, b"", b"") is None


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (b"id,p_a,p_b\nx,0.1,0.9\ny,0.3,0.8\n", "row 2 (id y), column p_a: '0.2' and '0.3'"),
        (b"id,p_a,p_b\nx,0.1,0.9\nz,0.2,0.8\n", "row 2, column id: 'y' and 'z'"),
        (b"id,p_a,p_c\nx,0.1,0.9\ny,0.2,0.8\n", "the header, column 3: 'p_b' and 'p_c'"),
        (b"id,p_a\nx,0.1\ny,0.2\n", "row 0: 3 and 2 cells"),
        (b"id,p_a,p_b\nx,0.1,0.9\n", "row 2: y,0.2,0.8 and nothing"),
        (b"id,p_a,p_b\nx,0.1,0.9\ny,0.2,0.8\nz,0,1\n", "row 3: nothing and z,0,1"),
        (b"", "row 0: id,p_a,p_b and nothing"),
        (
            b"id,p_a,p_b\r\nx,0.1,0.9\r\ny,0.2,0.8\r\n",
            "the contents are equal, and only written in another way; byte 10: 0x0a and 0x0d",
        ),
        (b"\xff\xfe", "byte 0: 0x69 and 0xff"),
    ],
)
def test_tables(told: Told, other: bytes, expected: str) -> None:
    assert told("oof.csv", b"id,p_a,p_b\nx,0.1,0.9\ny,0.2,0.8\n", other) == expected


def test_a_long_cell_is_shown_where_it_differs(told: Told) -> None:
    found = told("a.csv", b"id\n" + b"x" * 500 + b"1" + b"y" * 500, b"id\n" + b"x" * 500 + b"2" + b"y" * 500)
    assert found is not None
    assert f"{'x' * 30}1{'y' * 29}" in found
    assert f"{'x' * 30}2{'y' * 29}" in found
    assert len(found) < 200


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"pooled": {"accuracy": 0.5, "n": 7}}, "pooled.accuracy: 0.25 and 0.5"),
        ({"pooled": {"accuracy": 0.25, "n": 7.0}}, "pooled.n: 7 and 7.0"),
        ({"pooled": {"accuracy": 0.25}}, "pooled.n: 7 and nothing"),
        ({"pooled": {"accuracy": 0.25, "n": 7, "low": None}}, "pooled.low: nothing and null"),
        ({"classes": ["a", "é"]}, 'classes.1: "b" and "é"'),
        ({"classes": ["a"]}, 'classes: ["a", "b"] and ["a"]'),
        ({"classes": None}, 'classes: ["a", "b"] and null'),
    ],
)
def test_values(told: Told, changed: dict[str, object], expected: str) -> None:
    values = {"pooled": {"accuracy": 0.25, "n": 7}, "classes": ["a", "b"]}
    assert told("a.json", json.dumps(values).encode(), json.dumps({**values, **changed}).encode()) == expected
    assert told("a.yaml", json.dumps(values).encode(), json.dumps({**values, **changed}).encode()) == expected


def test_values_that_are_written_otherwise_or_cut_short(told: Told) -> None:
    found = told("a.json", b'{"a": 1}', b'{"a":  1}')
    assert found == "the contents are equal, and only written in another way; byte 6: 0x31 and 0x20"
    assert told("a.json", b'{"a": 1}', b'{"a": 1') == "byte 7: 0x7d and the end"
    assert told("a.yaml", b"a: 1\n", b"a: [\n") == "byte 3: 0x31 and 0x5b"


def test_every_value_that_differs_is_listed() -> None:
    then = {"python": "3.11", "packages": {"numpy": "2.4", "keras": "3.15"}, "cpu": {"features": ["avx2", "fma"]}}
    now = {"python": "3.12", "packages": {"numpy": "2.4", "keras": "3.16"}, "cpu": {"features": ["avx2"]}}
    assert list(value_differences(then, now)) == [
        'python: "3.11" and "3.12"',
        'packages.keras: "3.15" and "3.16"',
        'cpu.features: ["avx2", "fma"] and ["avx2"]',
    ]
    assert list(value_differences(then, then)) == []


def npy(array: np.ndarray, tmp_path: Path) -> bytes:
    np.save(tmp_path / "array.npy", array)
    return (tmp_path / "array.npy").read_bytes()


def test_arrays(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "CHUNK_ELEMENTS", 7)
    images = np.arange(200, dtype=np.uint8).reshape(5, 4, 5, 2)
    other = images.copy()
    other[3, 2, 4, 1] = 0
    other[4, 0, 0, 0] += 3
    assert told("a.npy", npy(images, tmp_path), npy(other, tmp_path)) == (
        "at [3, 2, 4, 1]: 149 and 0; 2 of 200 elements differ (1 %), by at most 149"
    )
    expected = "dtype uint8 and float32"
    assert told("a.npy", npy(images, tmp_path), npy(images.astype(np.float32), tmp_path)) == expected
    expected = "shape (5, 4, 5, 2) and (4, 4, 5, 2)"
    assert told("a.npy", npy(images, tmp_path), npy(images[:4], tmp_path)) == expected
    cut = told("a.npy", npy(images, tmp_path), npy(images, tmp_path)[:-1])
    assert cut == "byte 327: 0xc7 and the end"


def test_numbers_that_are_none(told: Told, tmp_path: Path) -> None:
    """NaN equals NaN here; a zero below zero differs in its bytes only."""
    floats = np.array([np.nan, 1, 2, np.inf], np.float32)
    other = np.array([np.nan, np.nan, 2.5, np.inf], np.float32)
    assert told("a.npy", npy(floats, tmp_path), npy(other, tmp_path)) == (
        "at [1]: 1.0 and nan; 2 of 4 elements differ (50 %), by at most 0.5"
    )
    found = told("a.npy", npy(np.zeros(2, np.float32), tmp_path), npy(-np.zeros(2, np.float32), tmp_path))
    assert found == "the contents are equal, and only written in another way; byte 131: 0x00 and 0x80"


def weights(tmp_path: Path, **arrays: np.ndarray) -> bytes:
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name.replace("__", "/")] = array
    return path.read_bytes()


def test_weights(told: Told, tmp_path: Path) -> None:
    kernel, bias = np.ones((3, 2), np.float32), np.zeros(2, np.float32)
    one = weights(tmp_path, layers__dense__vars__0=kernel, layers__dense__vars__1=bias)
    moved = weights(tmp_path, layers__dense__vars__0=kernel, layers__dense__vars__1=bias + 0.5)
    assert told("a.weights.h5", one, moved) == (
        "layers/dense/vars/1 at [0]: 0.0 and 0.5; 2 of 2 elements differ (100 %), by at most 0.5"
    )
    fewer = weights(tmp_path, layers__dense__vars__0=kernel)
    assert told("a.weights.h5", one, fewer) == "layers/dense/vars/1: a weight and nothing"
    wider = weights(tmp_path, layers__dense__vars__0=kernel.T, layers__dense__vars__1=bias)
    assert told("a.weights.h5", one, wider) == "layers/dense/vars/0 shape (3, 2) and (2, 3)"
    assert told("a.weights.h5", one, one[:100]) == f"byte 100: 0x{one[100]:02x} and the end"


def picture(image: np.ndarray, level: int = 3) -> bytes:
    return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, level])[1].tobytes()


def test_pictures(told: Told) -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    other = image.copy()
    other[4, 7] = (1, 2, 3)
    other[5, 0, 0] ^= 1
    values = image[4, 7].tolist()
    expected = f"pixel x 7, y 4: {values} and [1, 2, 3]; 2 of 54 pixels differ"
    assert told("a.png", picture(image), picture(other)) == expected
    assert told("a.png", picture(image), picture(image[:5])) == "9 x 6 pixels and 9 x 5 pixels"
    assert told("a.png", picture(image), picture(image[..., :1])) == "shape (6, 9, 3) and (6, 9)"
    found = told("a.png", picture(image), picture(image, 0))
    assert found and found.startswith("the contents are equal, and only written in another way; byte ")
    assert told("a.png", picture(image), b"") == "byte 0: 0x89 and the end"


def test_other_files_differ_in_a_byte(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "CHUNK_BYTES", 4)
    assert told("a.bin", b"0123456789", b"0123456x89") == "byte 7: 0x37 and 0x78"
    assert told("a.bin", b"01234567", b"0123456789") == "byte 8: the end and 0x38"
    assert told("a.bin", b"01234567", b"01234567") is None


def test_folders(tmp_path: Path) -> None:
    """The first file by name; one that is missing, one too many; the file that records time is passed over."""
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        (folder / "views").mkdir(parents=True)
        (folder / "env.json").write_text(str(folder))
        (folder / "b.txt").write_text("b")
        (folder / "views/0.bin").write_text("0")
    assert first_difference(one, other) is None
    (other / "views/0.bin").write_text("1")
    assert first_difference(one, other) == "views/0.bin: byte 0: 0x30 and 0x31"
    (other / "c.txt").write_text("1234")
    assert first_difference(one, other) == "c.txt: no such file and 4 bytes"
    (other / "b.txt").unlink()
    assert first_difference(one, other) == "b.txt: 1 bytes and no such file"
    assert first_difference(one, tmp_path / "nowhere") == "b.txt: 1 bytes and no such file"


def test_nothing_to_compare_with(project_folder: Project) -> None:
    said = project_folder.run("compete", "verify", "--once", code=1).stderr
    assert said == "compete: data holds no outputs to compare with; run 'dvc repro' first, or leave out --once\n"


@pytest.fixture
def project_folder(copy_project: Callable[[Path], Project], tmp_path: Path) -> Project:
    return copy_project(tmp_path / "project")


def turn(path: Path, place: int) -> None:
    """Change one bit of a file, not of what may be linked to it."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.unlink()
    path.write_bytes(data)


def test_changed_parameters_may_be_why_what_stands_there_differs(
    project_folder: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = project_folder.folder / "data"
    for folder, text in ((data / "prepare", "before"), (data / "train", "")):
        folder.mkdir()
        (folder / "samples.csv").write_text(text)

    def run(stage: str, params: Path, folder: Path) -> None:
        (folder / stage).mkdir(parents=True)
        (folder / stage / "samples.csv").write_text("after")

    monkeypatch.setattr(verify, "_run", run)
    read = load(params := project_folder.folder / "params.yaml")
    with pytest.raises(CompetitionError, match="'dvc status' tells whether parameters or files have changed since"):
        verify.verify(read, params=params, data=data, once=True)


@pytest.mark.slow
def test_a_project_is_equal_until_it_is_not(project_folder: Project) -> None:
    """Twice, and once against what stands there; then with a byte of an image and a cell of a table changed."""
    other = project_folder
    quick(other)  # four pipelines are to run
    other.set(tune__max_trials=0, train__folds=1, train__epochs=2)
    other.all_here()  # on both cores, where it takes more to be equal
    before = digests(other.folder)
    lines = other.run("compete", "verify", timeout=600).stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["prepare", "augment", "tune", "train", "predict", "equal"]
    assert all(line.endswith(" MB, equal") for line in lines[:-1])
    assert digests(other.folder) == before
    assert not list((other.folder / ".compete").glob("verify-*"))

    oof = other.folder / "data/train/oof.csv"
    rows = [line.split(",") for line in oof.read_text().splitlines()]
    was, rows[5][4] = rows[5][4], "0.5"
    oof.unlink()  # and not what may be linked to it
    oof.write_text("".join(",".join(row) + "\n" for row in rows))
    done = other.run("compete", "verify", "--once", code=1, timeout=600)
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["prepare", "augment", "tune"]
    where = f"oof.csv: row 5 (sample_id {rows[5][0]}), column {rows[0][4]}: '0.5' and '{was}'\n"
    assert f"compete: train differs between data and the new run: {where}" in done.stderr
    assert "data/train/env.json names the versions and the machine that are here" in done.stderr

    turn(other.folder / "data/prepare/train.npy", -1)
    env = other.folder / "data/train/env.json"
    env.write_text(env.read_text().replace('"keras": "', '"keras": "0.'))
    done = other.run("compete", "verify", "--once", code=1, timeout=600)
    assert done.stdout == ""
    assert "compete: prepare differs between data and the new run: train.npy: at [1346, 15, 15, 0]: " in done.stderr
    assert "; 1 of 344,832 elements differ (0.00029 %), by at most 1\n" in done.stderr
    assert '  - data/train/env.json and here: packages.keras: "0.' in done.stderr
    assert not list((other.folder / ".compete").glob("verify-*"))
