"""What prepare makes of like, constant and unreadable images, of given folds, and of every task."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from competition.artifacts import fingerprint
from competition.errors import CompetitionError, MistakesError
from competition.raw.tables import parse_table
from competition.stages.prepare import prepare
from tests.conftest import Files, data_params, prepare_params, write_folder

CLASSES = ("ant", "bee", "cow")


def photo(seed: int, size: int = 48) -> np.ndarray:
    """Return uint8 (size, size, 3) with coarse and fine structure like a photograph's, other ones for every seed."""
    rng, image = np.random.default_rng(seed), np.full((size, size, 3), 128.0)
    for cells, contrast in ((4, 60), (9, 40), (20, 25)):
        grid = rng.uniform(-contrast, contrast, (cells, cells, 1)) + rng.uniform(-15, 15, (cells, cells, 3))
        image += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(image, 10, 245).astype(np.uint8)


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def jpg(image: np.ndarray, quality: int = 70) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def competition(columns: dict[str, list[str]] | None = None, train: int = 24, test: int = 4) -> Files:
    """Return a competition of photographs that are nothing like each other."""
    files: Files = {f"train/{n}.png": png(photo(n)) for n in range(train)}
    files |= {f"test/{n}.png": png(photo(n)) for n in range(1000, 1000 + test)}
    table = {"id": [str(n) for n in range(train)], "label": [CLASSES[n % 3] for n in range(train)], **(columns or {})}
    files["train.csv"] = pd.DataFrame(table).to_csv(index=False).encode()
    files["test.csv"] = "".join(f"{line}\n" for line in ["id", *range(1000, 1000 + test)]).encode()
    return files


def run(folder: Path, files: Files, data: dict[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    """Prepare and return samples, report and contract."""
    root = write_folder(folder / "raw", files)
    params = prepare_params(**{"image_size_px": (32, 32), "channels": 3, "folds": 3, **changed})
    prepare(params, data_params(root, **(data or {})), out=folder / "prepare", seed=1)
    samples = parse_table((folder / "prepare/samples.csv").read_bytes(), "samples.csv")
    report, contract = (
        json.loads((folder / "prepare" / f"{name}.json").read_text()) for name in ("report", "contract")
    )
    train = samples[samples["split"] == "train"].set_index("sample_id")
    return {"samples": samples, "train": train, "report": report, "contract": contract}


def alike(files: Files, copies: dict[str, str], how: Any = None) -> Files:
    """Give images the content of others, as they are or encoded anew."""
    for copy, original in copies.items():
        image = cv2.imdecode(np.frombuffer(files[original], np.uint8), cv2.IMREAD_COLOR)
        files[copy] = files[original] if how is None else how(image)
    return files


HOW = {
    "same file": None,
    "encoded anew": lambda image: jpg(image, 60),
    "brighter": lambda image: png(cv2.add(image, (10, 10, 10, 0))),
    "half the size": lambda image: png(cv2.resize(image, (24, 24), interpolation=cv2.INTER_AREA)),
}


@pytest.mark.parametrize("how", HOW)
def test_like_images_share_a_fold(tmp_path: Path, how: str) -> None:
    """Ten pairs; without the audit some would straddle folds."""
    files = alike(competition(), {f"train/{n + 12}.png": f"train/{n}.png" for n in range(10)}, HOW[how])
    done = run(tmp_path, files)
    found = [n for n in range(10) if done["train"]["group"][str(n)]]
    for n in found:
        assert done["train"]["fold"][str(n)] == done["train"]["fold"][str(n + 12)]
        assert done["train"]["group"][str(n)] == done["train"]["group"][str(n + 12)] == f"like {n}"
    assert len(found) >= (10 if how == "same file" else 8)  # the audit would rather miss a pair than make one up
    assert done["report"]["alike"]["duplicates"]["count"] == len(found)
    assert done["report"]["alike"]["duplicates"]["exact"] == (10 if how == "same file" else 0)
    assert set(done["train"]["group"][[str(n) for n in (10, 11, 22, 23)]]) == {""}
    assert (tmp_path / "prepare/alike.png").exists()


def test_nothing_alike(tmp_path: Path) -> None:
    done = run(tmp_path, competition())
    assert {name: kind["count"] for name, kind in done["report"]["alike"].items()} == {
        "duplicates": 0, "conflicts": 0, "leaks": 0, "constant": 0, "in_test": 0, "constant_in_test": 0
    }  # fmt: skip
    assert set(done["train"]["group"]) == {""}
    assert not (tmp_path / "prepare/alike.png").exists()


def test_what_is_not_compared_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("competition.audit.BUCKET_IMAGES", 1)
    notes = run(tmp_path, competition())["report"]["notes"]
    assert any("of the comparisons were left out" in note for note in notes)


def test_duplicates_may_be_dropped(tmp_path: Path) -> None:
    files = alike(competition(), {"train/3.png": "train/0.png", "train/6.png": "train/0.png"})
    done = run(tmp_path, files, duplicates="drop")
    assert {"3", "6"} & set(done["train"].index) == set()
    assert "0" in done["train"].index
    assert done["report"]["alike"]["duplicates"]["dropped"] == 2
    assert done["train"]["group"]["0"] == ""


def test_conflicts_may_be_dropped(tmp_path: Path) -> None:
    """Of three like images with two labels none is to be trusted; a plain pair of duplicates stays."""
    files = alike(
        competition(), {"train/3.png": "train/0.png", "train/4.png": "train/0.png", "train/5.png": "train/2.png"}
    )
    done = run(tmp_path, files, conflicts="drop")
    assert {"0", "3", "4"} & set(done["train"].index) == set()
    assert {"2", "5"} <= set(done["train"].index)
    assert "'ant' and 'bee'" in done["report"]["alike"]["conflicts"]["listed"][0]


def test_duplicates_are_dropped_beside_conflicts_that_are_kept(tmp_path: Path) -> None:
    """Of three like images of one label and one of another, one of each label stays."""
    files = alike(competition(), {f"train/{copy}.png": "train/0.png" for copy in (3, 4, 6)})
    done = run(tmp_path, files, duplicates="drop")
    assert {"0", "3", "4", "6"} & set(done["train"].index) == {"0", "4"}
    assert done["train"]["group"]["0"] == done["train"]["group"]["4"] == "like 0"
    told = done["report"]["alike"]
    assert (told["duplicates"]["dropped"], told["conflicts"]["dropped"]) == (2, 0)


def test_leaks_are_told_and_may_be_dropped(tmp_path: Path) -> None:
    files = alike(competition(), {"test/1000.png": "train/7.png"}, HOW["brighter"])
    kept = run(tmp_path / "keep", files)
    assert kept["report"]["alike"]["leaks"]["count"] == 1
    assert "'7' and '1000'" in kept["report"]["alike"]["leaks"]["listed"][0]
    assert "7" in kept["train"].index
    dropped = run(tmp_path / "drop", files, leaks="drop")
    assert "7" not in dropped["train"].index
    assert len(dropped["samples"]) == 27


@pytest.mark.parametrize("kind", ["duplicates", "conflicts", "leaks", "constant"])
def test_each_may_end_the_stage(tmp_path: Path, kind: str) -> None:
    files = alike(
        competition(), {"train/3.png": "train/0.png", "train/4.png": "train/1.png", "train/8.png": "train/7.png"}
    )
    files = alike(files, {"test/1001.png": "train/11.png"})
    files["train/12.png"] = png(np.full((48, 48, 3), 77, np.uint8))
    with pytest.raises(MistakesError, match="set these to keep or drop"):
        run(tmp_path, files, **{kind: "fail"})
    assert not (tmp_path / "prepare").exists()


def test_constant_images_are_told_and_are_not_alike(tmp_path: Path) -> None:
    files = competition()
    for n, shade in ((0, 0), (1, 255), (2, 128)):
        files[f"train/{n}.png"] = png(np.full((48, 48, 3), shade, np.uint8))
    done = run(tmp_path / "keep", files)
    assert done["report"]["alike"]["constant"]["count"] == 3
    assert done["report"]["alike"]["duplicates"]["count"] == done["report"]["alike"]["conflicts"]["count"] == 0
    assert {"0", "1", "2"} & set(run(tmp_path / "drop", files, constant="drop")["train"].index) == set()


def test_like_images_join_the_groups_of_patients(tmp_path: Path) -> None:
    files = competition({"patient": [f"p{n // 2}" for n in range(24)]})
    done = run(tmp_path, alike(files, {"train/23.png": "train/0.png"}), {"label_column": "label"})
    assert len(set(done["train"]["fold"][["0", "1", "22", "23"]])) == 1
    assert done["report"]["chosen"]["group_column"]["value"] == "patient"


def test_frames_of_one_film(tmp_path: Path) -> None:
    """A group larger than a fold is told; if all are one group, the message says what can be done about it."""
    files = competition()
    frames = [(photo(5000) + np.random.default_rng(n).normal(0, 2, (48, 48, 3))).clip(0, 255) for n in range(24)]
    films: Files = {f"train/{n}.png": png(frame.astype(np.uint8)) for n, frame in enumerate(frames)}
    with pytest.raises(
        CompetitionError, match=r"1 group cannot make 3 folds; like images share a fold.*duplicates: drop"
    ):
        run(tmp_path / "one", files | films)
    some = {name: films[name] for name in list(films)[4:]}
    notes = run(tmp_path / "most", files | some)["report"]["notes"]
    assert any("the group 'like 4' holds 20 of 24 training samples, more than one of 3 folds" in note for note in notes)
    assert run(tmp_path / "none", files)["report"]["notes"] == []


def test_given_folds_are_used(tmp_path: Path) -> None:
    files = competition({"fold": [str(5 + n % 3) for n in range(24)]})
    done = run(tmp_path / "three", files)
    assert list(done["train"]["fold"]) == [str(n % 3) for n in range(24)]
    with pytest.raises(CompetitionError, match=r"the fold column holds 3 folds, and prepare\.folds is 4"):
        run(tmp_path / "four", files, folds=4)


def test_given_folds_are_counted_as_numbers(tmp_path: Path) -> None:
    files = competition({"fold": [str(n % 3) if n < 12 else f"{n % 3}.0" for n in range(24)]})
    assert list(run(tmp_path, files)["train"]["fold"]) == [str(n % 3) for n in range(24)]


def test_given_folds_are_counted_without_what_is_left_out(tmp_path: Path) -> None:
    """A fold all of whose images are damaged is none any more; where that is an error, it is told before the folds."""
    files = competition({"fold": [str(n % 4) if n < 8 else str(n % 2) for n in range(24)]})
    gone = [n for n in range(24) if n < 8 and n % 4 == 3]
    files |= {f"train/{n}.png": b"damaged" for n in gone}
    done = run(tmp_path / "damaged", files, folds=3, bad_samples="drop")
    assert len(done["train"]) == 24 - len(gone)
    assert set(done["train"]["fold"]) == {"0", "1", "2"}
    with pytest.raises(CompetitionError, match=r"the fold column holds 3 folds, .* set data\.fold_column: none"):
        run(tmp_path / "four", files, folds=4, bad_samples="drop")
    files = {name: data for name, data in files.items() if data != b"damaged"}
    assert len(run(tmp_path / "missing", files, folds=3, bad_samples="drop")["train"]) == 24 - len(gone)
    with pytest.raises(CompetitionError, match="2 bad samples"):
        run(tmp_path / "told", files, folds=4)


@pytest.mark.parametrize(("factor", "told"), [(16, "12 bits or fewer"), (1, "8 bits or fewer"), (256, None)])
def test_16_bits_that_are_fewer_are_told(tmp_path: Path, factor: int, told: str | None) -> None:
    """A scanner's 12 bits in files of 16 come out nearly black, which nobody would see in the scores alone."""
    files = competition() | {
        f"train/{n}.png": png(np.maximum(photo(n), 255 * (n == 3)).astype(np.uint16) * factor) for n in range(12)
    }
    notes = [note for note in run(tmp_path, files)["report"]["notes"] if "16 bits" in note]
    assert len(notes) == (told is not None)
    assert all(f"the 12 files of 16 bits hold numbers of {told}, so" in note for note in notes)


def test_sizes_and_modes_are_reported(tmp_path: Path) -> None:
    files = competition()
    files["train/0.png"] = png(photo(0, 20))
    files["train/1.png"] = jpg(photo(1, 100))
    files["train/2.png"] = png(cv2.cvtColor(photo(2), cv2.COLOR_BGR2GRAY))
    report = run(tmp_path, files)["report"]
    assert report["sizes_px"]["train"]["smallest"] == [20, 20]
    assert report["sizes_px"]["train"]["largest"] == [100, 100]
    assert report["modes"]["train"] == {"png rgb": 22, "jpeg rgb": 1, "png gray": 1}
    assert report["imbalance"] == 1.0


def test_a_test_image_that_cannot_be_read_keeps_its_row(tmp_path: Path) -> None:
    files = competition()
    files["test/1001.png"] = files["test/1001.png"][:60]
    done = run(tmp_path, files)
    row = done["samples"].set_index("sample_id").loc["1001"]
    assert "cut short" in row["problem"]
    assert any("1001.png" in problem for problem in done["report"]["test_problems"])
    assert done["report"]["problems"] == []
    assert done["contract"]["prior"] == [1 / 3] * 3


def test_every_task_has_its_contract(tmp_path: Path) -> None:
    values = [str(1.5 + n) for n in range(24)]
    tags = [("ant bee", "bee", "ant", "cow")[n % 4] for n in range(24)]
    ranks = [str(n % 4) for n in range(24)]
    flags = {"ant": [str(n % 2) for n in range(24)], "bee": [str(n % 3 // 2) for n in range(24)]}
    contracts = {
        "regression": run(tmp_path / "a", competition({"label": values}), {"metric": "rmse"}),
        "multilabel": run(tmp_path / "b", competition({"label": tags}), {"metric": "f1_samples"}),
        "ordinal": run(tmp_path / "c", competition({"label": ranks}), {"metric": "quadratic_kappa", "task": "ordinal"}),
        "flags": run(tmp_path / "d", competition(flags), {"metric": "roc_auc_macro", "label_column": ("ant", "bee")}),
    }
    told = {name: done["contract"] for name, done in contracts.items()}
    assert told["regression"]["target_range"] == [1.5, 24.5]
    assert told["regression"]["prior"] == [13.0]
    assert told["multilabel"]["classes"] == ["ant", "bee", "cow"]
    assert told["multilabel"]["prior"] == [0.5, 0.5, 0.25]
    assert told["multilabel"]["at_least_one"] and not told["flags"]["at_least_one"]
    assert told["ordinal"]["classes"] == ["0", "1", "2", "3"]
    assert told["flags"]["task"] == "multilabel"
    assert {name: contract["submission"]["kind"] for name, contract in told.items()} == {
        "regression": "value", "multilabel": "tags", "ordinal": "class", "flags": "columns"
    }  # fmt: skip
    assert set(contracts["multilabel"]["train"]["label"]) == {"ant|bee", "bee", "ant", "cow"}
    for name in "abcd":
        assert (tmp_path / name / "prepare/overview.png").exists()


def test_a_leak_takes_all_its_likenesses_along(tmp_path: Path) -> None:
    """Three equal training files and the same in test: none of the three may stay."""
    files = alike(competition(), dict.fromkeys(("train/3.png", "train/6.png", "test/1001.png"), "train/0.png"))
    dropped = run(tmp_path / "drop", files, leaks="drop")
    assert {"0", "3", "6"} & set(dropped["train"].index) == set()
    kept = run(tmp_path / "keep", files)
    assert len(set(kept["train"]["fold"][["0", "3", "6"]])) == 1


def test_given_folds_that_take_like_images_apart_are_told(tmp_path: Path) -> None:
    files = alike(competition({"fold": [str(n % 3) for n in range(24)]}), {"train/1.png": "train/0.png"})
    notes = run(tmp_path, files)["report"]["notes"]
    assert "the given folds take 1 group of like samples apart, first 'like 0'" in notes


def test_an_index_keeps_its_place_when_a_class_is_lost(tmp_path: Path) -> None:
    """The classes' numbers are the competition's; those of a class without a readable image stay free."""
    files = competition()
    files |= {f"train/{n}.png": b"" for n in range(1, 24, 3)}
    files["sample_submission.csv"] = b"id,label\n1000,0\n1001,2\n1002,0\n1003,0\n"
    done = run(tmp_path, files, bad_samples="drop")
    assert done["contract"]["classes"] == ["ant", "bee", "cow"]
    assert done["contract"]["submission"]["kind"] == "index"


def test_views_are_of_these_very_images(tmp_path: Path) -> None:
    """Also where samples and sizes are the same: images are cut otherwise, and one of them was mended."""
    files = competition()
    wide = alike({**files}, {name: name for name in files if name.endswith("png")}, lambda image: png(image[:24]))
    mended = {**wide, "train/3.png": files["train/3.png"]}
    made = []
    for name, given, resize in (
        ("a", wide, "squash"),
        ("b", wide, "squash"),
        ("c", wide, "pad"),
        ("d", mended, "squash"),
    ):
        run(tmp_path / name, given, resize=resize)
        made.append(tmp_path / name / "prepare")
    assert len({(folder / "samples.csv").read_bytes() for folder in made}) == 1
    first, again, *others = map(fingerprint, made)
    assert first == again
    assert len({first, *others}) == 3


@pytest.mark.parametrize("written", ["nan", "N/A", "None"])
def test_a_class_that_may_stand_for_no_label_is_told(tmp_path: Path, written: str) -> None:
    labels = [written if n % 3 == 2 else CLASSES[n % 3] for n in range(24)]
    done = run(tmp_path, competition({"label": labels}))
    assert done["contract"]["classes"] == sorted({*CLASSES[:2], written})
    said = f"class {written!r} has 8 samples; if it means that they have no label, take their rows out"
    assert said in done["report"]["notes"]
