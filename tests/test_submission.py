"""Blending, the gate, and scoring a submission as its grader would."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from competition.artifacts import write_csv
from competition.cli import app
from competition.errors import CompetitionError, MistakesError
from competition.submission import blend, check_probabilities, decide, gate

CONTRACT = {"classes": ["1e5", "NA", "None"], "submission": {"columns": ["Image", "Class"], "id_column": "Image"}}
IDS = ["007", "1e5", "None", "a,b.jpg"]


def table(rows: list[list[float]], ids: list[str]) -> pd.DataFrame:
    return pd.DataFrame(np.float32(rows), index=ids, columns=CONTRACT["classes"])


def test_blend_aligns_by_id_not_by_row() -> None:
    one = table([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2]], ["a", "b"])
    other = table([[0.0, 1.0, 0.0], [0.4, 0.5, 0.1]], ["b", "a"])
    blended = blend([one, other])
    assert list(blended.index) == ["a", "b"]
    np.testing.assert_allclose(blended.to_numpy(), [[0.6, 0.3, 0.1], [0.1, 0.8, 0.1]], atol=1e-7)


def test_blend_refuses_other_samples_or_classes() -> None:
    one = table([[0.8, 0.1, 0.1]], ["a"])
    with pytest.raises(ValueError, match="different"):
        blend([one, table([[0.8, 0.1, 0.1]], ["b"])])
    with pytest.raises(ValueError, match="different"):
        blend([one, one[["NA", "1e5", "None"]]])


def written(folder: Path, lines: list[str]) -> Path:
    path = folder / "submission.csv"
    path.write_text("\n".join([*lines, ""]))
    return path


def test_a_right_submission_passes_and_keeps_every_letter(tmp_path: Path) -> None:
    probabilities = table([[0.1, 0.8, 0.1], [0.9, 0.1, 0.0], [0.1, 0.2, 0.7], [0.1, 0.8, 0.1]], IDS)
    path = tmp_path / "submission.csv"
    write_csv(path, decide(probabilities, ["Image", "Class"], "Image"))
    assert path.read_text() == 'Image,Class\n007,NA\n1e5,1e5\nNone,None\n"a,b.jpg",NA\n'
    gate(path, IDS, CONTRACT)


def test_columns_may_stand_the_other_way_round(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    write_csv(path, decide(table([[1, 0, 0]], ["x"]), ["Class", "Image"], "Image"))
    assert path.read_text() == "Class,Image\n1e5,x\n"


RIGHT = ["007,NA", "1e5,1e5", "None,None", '"a,b.jpg",NA']


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["Image,Label", *RIGHT], "its columns are"),
        (["Class,Image", *RIGHT], "its columns are"),
        (["Image,Class", *RIGHT[:3]], "1 ids of the competition are missing, first 'a,b.jpg'"),
        (["Image,Class", *RIGHT, "new,NA"], "1 ids are not the competition's, first 'new'"),
        (["Image,Class", *RIGHT[::-1]], "in another order or repeated"),
        (["Image,Class", *RIGHT, RIGHT[0]], "in another order or repeated"),
        (["Image,Class", *RIGHT[:3], '"a,b.jpg",'], "1 labels are missing or no class of the competition, first ''"),
        (["Image,Class", *RIGHT[:3], '"a,b.jpg",Food'], "no class of the competition, first 'Food'"),
        (["Image,Class", "7,NA", *RIGHT[1:]], "1 ids of the competition are missing, first '007'"),
    ],
)
def test_the_gate_refuses(tmp_path: Path, lines: list[str], told: str) -> None:
    with pytest.raises(MistakesError, match=told.replace("(", r"\(")):
        gate(written(tmp_path, lines), IDS, CONTRACT)


@pytest.mark.parametrize("wrong", [[0.5, 0.4, 0.0], [float("nan"), 0.5, 0.5]])
def test_probabilities_must_sum_to_one(wrong: list[float]) -> None:
    with pytest.raises(CompetitionError, match="do not sum to 1, first those of 'b'"):
        check_probabilities(table([[1, 0, 0], wrong], ["a", "b"]))


def score(folder: Path, submission: str, answers: str) -> tuple[int, str]:
    (folder / "s.csv").write_text(submission)
    (folder / "a.csv").write_text(answers)
    done = CliRunner().invoke(app, ["score", str(folder / "s.csv"), str(folder / "a.csv")])
    return done.exit_code, done.output + done.stderr


def test_score_aligns_by_id(tmp_path: Path) -> None:
    code, said = score(tmp_path, "Image,Class\nb,NA\na,x\nc,x\n", "Image,Class\na,x\nb,NA\nc,y\n")
    assert code == 0
    assert "accuracy 0.6667" in said


@pytest.mark.parametrize(
    ("submission", "told"),
    [
        ("Image,Class\na,x\n", "lacks 1 ids, first 'b'"),
        ("Image,Class\na,x\nb,x\nc,x\n", "has 1 ids that"),
        ("Image,Class\na,x\na,x\nb,x\n", "repeats 1 ids, first 'a'"),
        ("id,Class\na,x\nb,x\n", "has 'Image'"),
        ("Image\na\nb\n", "expected two"),
    ],
)
def test_score_refuses_other_ids(tmp_path: Path, submission: str, told: str) -> None:
    code, said = score(tmp_path, submission, "Image,Class\na,x\nb,NA\n")
    assert code == 1
    assert told in said
