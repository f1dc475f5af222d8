"""What stands in a stage's folder is complete, whatever happens; small files come back as they were."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from competition.arrays import create_array, open_array, write_rows
from competition.artifacts import read_csv, stage_folder, write_csv, write_json
from competition.errors import CompetitionError


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_stage_folder_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "data" / "train"
    with stage_folder(out) as folder:
        (folder / "one").write_text("1")
        assert not out.exists()
    assert tree(tmp_path) == {"data/train/one": "1"}
    with stage_folder(out) as folder:
        (folder / "two").write_text("2")
        assert tree(out) == {"one": "1"}
    assert tree(tmp_path) == {"data/train/two": "2"}


def test_an_error_leaves_what_stood_there(tmp_path: Path) -> None:
    out = tmp_path / "train"
    with stage_folder(out) as folder:
        (folder / "one").write_text("1")
    with pytest.raises(KeyboardInterrupt), stage_folder(out) as folder:
        (folder / "two").write_text("2")
        raise KeyboardInterrupt
    assert tree(tmp_path) == {"train/one": "1"}


@pytest.mark.parametrize("instant", ["writing", "between the renames", "before the end"])
def test_the_next_run_clears_up_after_a_killed_one(tmp_path: Path, instant: str) -> None:
    """Lay out what a kill at each instant leaves; a refused run after it finds the old outputs."""
    old, partial = tmp_path / ("train" if instant == "writing" else ".train.old"), tmp_path / ".train.partial"
    new = tmp_path / "train" if instant == "before the end" else partial
    for folder, text in ((old, "old"), (new, "new")):
        folder.mkdir()
        (folder / "one").write_text(text)
    with pytest.raises(CompetitionError), stage_folder(tmp_path / "train"):
        raise CompetitionError("refused")
    assert tree(tmp_path) == {"train/one": "new" if instant == "before the end" else "old"}


def test_rows_are_written_where_they_belong(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    create_array(path, (5, 2, 3))
    rows = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    write_rows(path, 3, rows)
    write_rows(path, 1, rows[:1] + 100)
    found = open_array(path)
    assert (found.shape, found.dtype) == ((5, 2, 3), np.uint8)
    np.testing.assert_array_equal(found[3:], rows)
    np.testing.assert_array_equal(found[1], rows[0] + 100)
    assert not found[[0, 2]].any()
    np.save(tmp_path / "b.npy", np.zeros((5, 2, 3), np.uint8))
    assert path.stat().st_size == (tmp_path / "b.npy").stat().st_size


def test_tables_keep_every_cell(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    cells = ["007", "1e5", "NA", "None", "", "a,b", 'say "x"', "日本 é", " edge "]
    numbers = np.random.default_rng(0).random(len(cells), dtype=np.float32)
    write_csv(path, pd.DataFrame({"sample_id": cells, "p": numbers}))
    found = read_csv(path, ["sample_id", "p"])
    assert list(found["sample_id"]) == cells
    assert (found["p"].astype(np.float32) == numbers).all()
    assert b"\r" not in path.read_bytes()
    with pytest.raises(CompetitionError, match=r"\['fold'\] are missing; run the stage that writes it again"):
        read_csv(path, ["fold"])


def test_json_refuses_what_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"score": float("nan")})


def test_an_old_folder_half_removed_does_not_come_back(tmp_path: Path) -> None:
    """Killed while it was removed, and the new one taken away before the stage runs again, as DVC does."""
    (tmp_path / ".out.old").mkdir()
    with stage_folder(tmp_path / "out"):
        assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
