"""Blending, the gate, and scoring a submission as its grader would."""

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from competition.artifacts import read_json, write_csv, write_json
from competition.cli import app
from competition.decisions import Decision
from competition.errors import CompetitionError, MistakesError
from competition.images import ImageSpec
from competition.raw.forms import Form
from competition.scores import find_metric
from competition.stages.prepare import prepare
from competition.submission import blend, check_probabilities, fill, gate, write
from competition.tasks import Target
from tests.conftest import data_params, gala, png, prepare_params, write_folder

CLASSES = ("1e5", "NA", "None")
TARGET = Target("multiclass", CLASSES, 0, 1, False)
TAGS = Target("multilabel", CLASSES, 0, 1, True)
VALUE = Target("regression", ("Pawpularity",), 1, 100, False)
PLAIN = Decision("none")
IDS = ["007", "1e5", "None", "a,b.jpg"]


def form(kind: str = "class", columns: tuple[str, ...] = ("Image", "Class"), **changed: Any) -> Form:
    values = tuple(column for column in columns if column not in ("Image", ""))
    given = {"kind": kind, "columns": columns, "id_column": "Image", "counter": None, "counter_column": "",
             "value_columns": values, "classes": (), "separator": " ", "ranks": 0}  # fmt: skip
    return Form(**{**given, **changed})


def table(rows: list[list[float]], ids: list[str]) -> pd.DataFrame:
    return pd.DataFrame(np.float32(rows), index=ids, columns=CLASSES)


def test_blend_aligns_by_id_not_by_row() -> None:
    one = table([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2]], ["a", "b"])
    other = table([[0.0, 1.0, 0.0], [0.4, 0.5, 0.1]], ["b", "a"])
    blended = blend([one, other])
    assert (list(blended.index), tuple(blended.columns)) == (["a", "b"], CLASSES)
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


def mistakes(path: Path, shape: Form, target: Target) -> list[str]:
    """What the gate finds wrong with a submission for the one sample a."""
    try:
        gate(path, ["a"], shape, target)
    except MistakesError as error:
        return error.mistakes
    return []


def test_a_right_submission_passes_and_keeps_every_letter(tmp_path: Path) -> None:
    probabilities = table([[0.1, 0.8, 0.1], [0.9, 0.1, 0.0], [0.1, 0.2, 0.7], [0.1, 0.8, 0.1]], IDS)
    path = tmp_path / "submission.csv"
    write_csv(path, fill(probabilities, form(), TARGET, PLAIN))
    assert path.read_text() == 'Image,Class\n007,NA\n1e5,1e5\nNone,None\n"a,b.jpg",NA\n'
    gate(path, IDS, form(), TARGET)


def test_columns_may_stand_the_other_way_round(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    write_csv(path, fill(table([[1, 0, 0]], ["x"]), form(columns=("Class", "Image")), TARGET, PLAIN))
    assert path.read_text() == "Class,Image\n1e5,x\n"


RIGHT = ["007,NA", "1e5,1e5", "None,None", '"a,b.jpg",NA']


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["Image,Label", *RIGHT], "its columns are"),
        (["Class,Image", *RIGHT], "its columns are"),
        (["Image,Class", *RIGHT[:2]], "the submission lacks 2 ids of the competition, first 'None'"),
        (["Image,Class", *RIGHT, "new,NA", "newer,NA"], "2 ids are not the competition's, first 'new'"),
        (["Image,Class", *RIGHT[::-1]], "in another order or repeated"),
        (["Image,Class", *RIGHT, RIGHT[0]], "in another order or repeated"),
        (["Image,Class", *RIGHT[:3], '"a,b.jpg",'], "1 label is missing or no class of the competition, first ''"),
        (["Image,Class", *RIGHT[:3], '"a,b.jpg",Food'], "no class of the competition, first 'Food'"),
        (["Image,Class", "7,NA", *RIGHT[1:]], "the submission lacks 1 id of the competition, first '007'"),
    ],
)
def test_the_gate_refuses(tmp_path: Path, lines: list[str], told: str) -> None:
    with pytest.raises(MistakesError, match=told.replace("(", r"\(")):
        gate(written(tmp_path, lines), IDS, form(), TARGET)


@pytest.mark.parametrize("wrong", [[0.5, 0.4, 0.0], [float("nan"), 0.5, 0.5], [1.5, -0.5, 0.0]])
def test_probabilities_must_sum_to_one(wrong: list[float]) -> None:
    with pytest.raises(CompetitionError, match="are not from 0 to 1, with the sum 1, first those of 'b'"):
        check_probabilities(table([[1, 0, 0], wrong], ["a", "b"]), TARGET)


def test_independent_probabilities_need_no_sum_but_a_range() -> None:
    check_probabilities(table([[1, 1, 0.2]], ["a"]), TAGS)
    with pytest.raises(CompetitionError, match="are not from 0 to 1, first those of 'a'"):
        check_probabilities(table([[1, 1.1, 0.2]], ["a"]), TAGS)


@pytest.mark.parametrize(("inside", "outside"), [(100.0005, 100.002), (0.9995, 0.998)])
def test_a_value_may_leave_its_range_by_what_rounding_takes(inside: float, outside: float) -> None:
    check_probabilities(pd.DataFrame({"Pawpularity": np.float32([inside])}, index=["a"]), VALUE)
    with pytest.raises(CompetitionError, match="of 1 sample are not from 1 to 100, first those of 'b'"):
        check_probabilities(pd.DataFrame({"Pawpularity": np.float32([inside, outside])}, index=["a", "b"]), VALUE)


ROWS = [[0.1, 0.8, 0.1], [0.6, 0.1, 0.3]]
PER_CLASS = ("Image", "na", "none", "1e5")
UNSEEN = {
    "columns": ("Image", "na", "none", "new", "1e5"),
    "classes": ("NA", "None", "", "1e5"),
}  # new: not in training
FORMS = {
    "class": (form(), TARGET, "Image,Class\na,NA\nb,1e5\n"),
    "index": (form("index"), TARGET, "Image,Class\na,1\nb,0\n"),
    "probability": (form("probability", classes=("NA",)), TARGET, "Image,Class\na,0.8\nb,0.1\n"),
    "columns": (
        form("columns", PER_CLASS, classes=("NA", "None", "1e5")),
        TARGET,
        "Image,na,none,1e5\na,0.8,0.1,0.1\nb,0.1,0.3,0.6\n",
    ),
    "flags": (form("flags", PER_CLASS, classes=("NA", "None", "1e5")), TARGET, "Image,na,none,1e5\na,1,0,0\nb,0,0,1\n"),
    "flags of an unseen class": (form("flags", **UNSEEN), TARGET, "Image,na,none,new,1e5\na,1,0,0,0\nb,0,0,0,1\n"),
    "columns of an unseen class": (
        form("columns", **UNSEEN),
        TARGET,
        "Image,na,none,new,1e5\na,0.8,0.1,0,0.1\nb,0.1,0.3,0,0.6\n",
    ),
    "flags of tags": (form("flags", **UNSEEN), TAGS, "Image,na,none,new,1e5\na,1,0,0,0\nb,0,1,0,1\n"),
    "tags": (form("tags", separator="|"), TAGS, "Image,Class\na,NA\nb,1e5|None\n"),
    "ranking": (form("ranking", ranks=2), TARGET, "Image,Class\na,NA 1e5\nb,1e5 None\n"),
    "counted": (
        form(columns=("", "Image", "Class"), counter=1, counter_column=""),
        TARGET,
        ",Image,Class\n1,a,NA\n2,b,1e5\n",
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms(tmp_path: Path, name: str) -> None:
    """Every form of a submission, and that its own gate lets it pass."""
    shape, target, expected = FORMS[name]
    decision = Decision("thresholds", (0.5, 0.5, 0.2)) if target is TAGS else PLAIN
    path = tmp_path / "submission.csv"
    rounded = fill(table(ROWS, ["a", "b"]).round(6), shape, target, decision)
    if shape.kind in ("probability", "columns"):
        for column in shape.value_columns:
            rounded[column] = [f"{float(cell):.6g}" for cell in rounded[column]]
    write_csv(path, rounded)
    assert path.read_text() == expected
    gate(path, ["a", "b"], shape, target)


def test_a_value_is_written_and_stays_in_its_range(tmp_path: Path) -> None:
    raw = pd.DataFrame(np.float32([[47.25], [100.00001], [0.9999]]), index=["a", "b", "c"], columns=["Pawpularity"])
    path = tmp_path / "submission.csv"
    write_csv(path, fill(raw, form("value"), VALUE, PLAIN))
    assert path.read_text() == "Image,Class\na,47.25\nb,100\nc,1\n"
    gate(path, ["a", "b", "c"], form("value"), VALUE)


def test_rows_of_many_classes_still_sum_to_one_after_text(tmp_path: Path) -> None:
    """A thousand classes, most of them far below any fixed number of decimals."""
    rng = np.random.default_rng(1)
    raw = rng.dirichlet(np.full(1000, 0.01), 50).astype(np.float32)
    classes = tuple(f"c{number}" for number in range(1000))
    target = Target("multiclass", classes, 0, 1, False)
    shape = form("columns", ("Image", *classes), classes=classes)
    path = tmp_path / "submission.csv"
    ids = [str(number) for number in range(50)]
    write_csv(path, fill(pd.DataFrame(raw, index=ids, columns=classes), shape, target, PLAIN))
    numbers = pd.read_csv(path).drop(columns="Image").to_numpy()
    assert np.abs(numbers.sum(axis=1) - 1).max() < 1e-5
    assert numbers.min() >= 0 and numbers.max() <= 1
    gate(path, ids, shape, target)


@pytest.mark.parametrize(
    ("kind", "line", "told"),
    [
        ("index", "a,3", "no class of the competition, first '3'"),
        ("probability", "a,1.2", "1 answer is not from 0 to 1"),
        ("probability", "a,1.000001", "1 answer is not from 0 to 1"),
        ("probability", "a,-0.000001", "1 answer is not from 0 to 1"),
        ("probability", "a,nan", "1 answer is no number, first 'nan'"),
        ("value", "a,100.002", "1 answer is not from 1 to 100"),
        ("value", "a,0.998", "1 answer is not from 1 to 100"),
        ("flags", "a,1.0", "no class of the competition, first '1.0'"),
        ("tags", "a,Food NA", "no class of the competition, first 'Food NA'"),
        ("tags", "a,", "no class of the competition, first ''"),
        ("tags", "a,NA NA", "no class of the competition, first 'NA NA'"),
        ("ranking", "a,NA", "no class of the competition, first 'NA'"),
        ("ranking", "a,NA Food", "first 'NA Food'"),
    ],
)
def test_the_gate_refuses_answers(tmp_path: Path, kind: str, line: str, told: str) -> None:
    target = {"tags": TAGS, "flags": TAGS, "value": VALUE}.get(kind, TARGET)
    shape = form(kind, ranks=2, classes=("NA",) if kind == "probability" else ())
    (mistake,) = mistakes(written(tmp_path, ["Image,Class", line]), shape, target)
    assert told in mistake


def test_the_gate_refuses_rows_that_do_not_sum_to_one(tmp_path: Path) -> None:
    shape = form("columns", PER_CLASS, classes=("NA", "None", "1e5"))
    with pytest.raises(MistakesError, match="the probabilities of 1 row do not sum to 1"):
        gate(written(tmp_path, ["Image,na,none,1e5", "a,0.5,0.2,0.2"]), ["a"], shape, TARGET)


@pytest.mark.parametrize(
    ("shape", "target", "lines"),
    [
        (form("columns", PER_CLASS, classes=("NA", "None", "1e5")), TAGS, ["Image,na,none,1e5", "a,0.9,0.9,0.9"]),
        (form("value"), VALUE, ["Image,Class", "a,100.0009"]),  # as the text of a value rounds it
        (form("value"), VALUE, ["Image,Class", "a,0.9991"]),
        (form("tags"), replace(TAGS, at_least_one=False), ["Image,Class", "a,"]),
        (form("ranking", ranks=3), TARGET, ["Image,Class", "a,NA None 1e5"]),
    ],
)
def test_the_gate_lets_pass(tmp_path: Path, shape: Form, target: Target, lines: list[str]) -> None:
    assert mistakes(written(tmp_path, lines), shape, target) == []


@pytest.mark.parametrize("column", ["cat|dog|owl", "a;b;c", "a,b,c", "a\tb\tc"])
def test_the_gate_knows_what_stands_between_our_cells(tmp_path: Path, column: str) -> None:
    shape = form(columns=("Image", column))
    path = tmp_path / "submission.csv"
    write_csv(path, fill(table([[1, 0, 0]], ["a"]), shape, TARGET, PLAIN))
    gate(path, ["a"], shape, TARGET)  # raises nothing
    with pytest.raises(MistakesError, match="the competition lists"):
        gate(path, ["a"], form(), TARGET)


def test_a_cell_may_hold_thousands_of_tags(tmp_path: Path) -> None:
    csv.field_size_limit(131_072)  # as it stands where no table was read before
    tags = tuple(f"a tag with a long name {number}" for number in range(6000))
    target, shape = Target("multilabel", tags, 0, 1, False), form("tags", separator="|")
    path = tmp_path / "submission.csv"
    write_csv(path, fill(pd.DataFrame(1.0, index=["a"], columns=list(tags)), shape, target, PLAIN))
    assert path.stat().st_size > 131_072
    gate(path, ["a"], shape, target)  # raises nothing
    with pytest.raises(MistakesError, match="the submission lacks 1 id of the competition, first 'b'"):
        gate(path, ["b"], shape, target)


@pytest.mark.parametrize(
    ("line", "told"),
    [("a", "has the row ['a']; expected a cell for each of"), ('a,"NA', "cannot be read as a CSV file")],
)
def test_the_gate_refuses_what_is_no_table(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(CompetitionError, match=re.escape(told)):
        gate(written(tmp_path, ["Image,Class", line]), ["a"], form(), TARGET)


def test_probabilities_stay_whatever_the_gate_has_against_the_submission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import competition.stages.predict as stage

    prepared, trained, out = (tmp_path / name for name in ("prepare", "train", "predict"))
    prepare(prepare_params(), data_params(write_folder(tmp_path / "raw", gala())), out=prepared, seed=1)
    contract = read_json(prepared / "contract.json")
    trained.mkdir()
    write_json(trained / "contract.json", {**contract, "decision": PLAIN.to_json()})

    def predicted(params: Any, split: Any, *given: Any) -> pd.DataFrame:
        rows = np.tile(np.float32([1, 0, 0]), (len(split.sample_ids), 1))
        return pd.DataFrame(rows, index=split.sample_ids, columns=contract["classes"])

    def refuse(*given: Any) -> None:
        raise CompetitionError("no table")

    monkeypatch.setattr(stage, "_predict_split", predicted)
    monkeypatch.setattr(stage, "gate", refuse)
    with pytest.raises(CompetitionError, match="no table"):
        stage.predict(stage.PLAIN, prepared=prepared, trained=trained, out=out, seed=1, threads=1)
    assert [path.name for path in out.iterdir()] == ["probabilities.csv"]


@pytest.fixture
def of_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Predict a folder of one image, into a file in ``tmp_path``, by a model that says the same of every image."""
    import competition.stages.predict as stage

    write_json(
        tmp_path / "contract.json",
        {
            "task": "multiclass",
            "classes": ["cat", "dog"],
            "target_range": [0, 1],
            "at_least_one": False,
            "image": ImageSpec(8, 8, 1, "squash").to_json(),
            "submission": form().to_json(),
            "decision": PLAIN.to_json(),
        },
    )
    images = write_folder(tmp_path / "images", {"007.png": png()})

    def predict(says: list[float], out: str) -> None:
        def predicted(params: Any, split: Any, *given: Any) -> pd.DataFrame:
            rows = np.tile(np.float32(says), (len(split.sample_ids), 1))
            return pd.DataFrame(rows, index=split.sample_ids, columns=["cat", "dog"])

        monkeypatch.setattr(stage, "_predict_split", predicted)
        stage.predict_folder(stage.PLAIN, images=images, trained=tmp_path, out=tmp_path / out, seed=1, threads=1)

    return predict


def test_predictions_that_are_no_numbers_are_no_class(tmp_path: Path, of_any_folder: Callable[..., None]) -> None:
    with pytest.raises(CompetitionError, match=r"of 1 sample .* first those of '007\.png': nan, nan"):
        of_any_folder([np.nan, np.nan], "new.csv")
    assert not (tmp_path / "new.csv").exists()
    of_any_folder([0.1, 0.9], "new.csv")
    assert (tmp_path / "new.csv").read_text() == "Image,Class\n007.png,dog\n"


@pytest.mark.parametrize("out", ["contract.json/new.csv", "contract.json/deeper/new.csv"])
def test_a_file_where_the_folder_of_the_predictions_should_be_is_told(
    tmp_path: Path, of_any_folder: Callable[..., None], out: str
) -> None:
    with pytest.raises(CompetitionError, match=r"new\.csv cannot be written, for a file stands where its folder"):
        of_any_folder([0.1, 0.9], out)


def test_what_is_left_out_of_a_folder_to_predict_is_told(
    tmp_path: Path, of_any_folder: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images/gone.png").symlink_to(tmp_path / "nowhere.png")
    of_any_folder([0.1, 0.9], "new.csv")
    assert "  note: left out: " in (said := capsys.readouterr().out)
    assert "'gone.png' is a link to nothing\n" in said


@pytest.mark.parametrize("out", ["images/007.png", "images.ZIP", "images.tar.gz"])
def test_predictions_are_not_written_over_an_image_or_an_archive(
    tmp_path: Path, of_any_folder: Callable[..., None], out: str
) -> None:
    with pytest.raises(CompetitionError, match=r"is called like an image or an archive; expected the name of a CSV"):
        of_any_folder([0.1, 0.9], out)
    assert (tmp_path / "images/007.png").read_bytes() == png()


def score(folder: Path, submission: str, answers: str, *options: str) -> tuple[int, str]:
    (folder / "s.csv").write_text(submission)
    (folder / "a.csv").write_text(answers)
    done = CliRunner().invoke(app, ["score", str(folder / "s.csv"), str(folder / "a.csv"), *options])
    return done.exit_code, done.output + done.stderr


def test_score_aligns_by_id(tmp_path: Path) -> None:
    code, said = score(tmp_path, "Image,Class\nb,NA\na,x\nc,x\n", "Image,Class\na,x\nb,NA\nc,y\n")
    assert code == 0
    assert "accuracy 0.6667" in said


LABELS = "Image,Class\na,x\nb,NA\n"


@pytest.mark.parametrize(
    ("submission", "answers", "told"),
    [
        ("Image,Class\na,x\n", LABELS, "lacks 1 id, first 'b'"),
        ("Image,Class\na,x\nb,x\nc,x\n", LABELS, "has 1 id that"),
        ("Image,Class\na,x\na,x\nb,x\n", LABELS, "repeats 1 id, first 'a'"),
        ("id,Class\na,x\nb,x\n", LABELS, "expected the ids in a column called 'Image'"),
        ("Image\na\nb\n", LABELS, "expected the id and the answer"),
        ("Image,Class\n", LABELS, "s.csv has no row below its header"),
        ("id,a,b\n1,1,0\n", "id,a,b\n1,2,0\n", "a.csv has other numbers than 0 and 1; expected these in ['a', 'b']"),
        ("id,a,b\n1,x,0\n", "id,a,b\n1,1,0\n", "s.csv holds 'x' in a column of ['a', 'b']; expected numbers"),
        ("id,a,b\n1,1,0\n", "id,a,b\n1,1,\n", "a.csv holds '' in a column of ['a', 'b']; expected numbers"),
        ("id,a,c\n1,1,0\n", "id,a,b\n1,1,0\n", "s.csv has the columns ['a', 'c']; expected those of "),
        ("id,a\n1,x\n", "id,a\n1,x\n1,y\n", "a.csv repeats 1 id, first '1'"),
    ],
)
def test_score_refuses_tables_that_do_not_belong_together(
    tmp_path: Path, submission: str, answers: str, told: str
) -> None:
    code, said = score(tmp_path, submission, answers)
    assert code == 1
    assert told in said


def test_score_tells_a_file_that_is_missing(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["score", str(tmp_path / "s.csv"), str(tmp_path / "a.csv")])
    assert done.exit_code == 1
    assert "s.csv is missing; expected a CSV file of ids and answers" in done.output + done.stderr


def listed(column: str, cells: list[Any]) -> str:
    """Write a CSV file of ids from 1 on and a column."""
    return "\n".join([f"id,{column}", *(f"{number},{cell}" for number, cell in enumerate(cells, 1)), ""])


SEVERAL = "id,a,b\n1,1,1\n2,0,1\n"
SCORED = {
    "tags": ("id,tags\n1,a b\n2,b\n3,a\n", "id,tags\n1,a b\n2,a b\n3,a\n", "f1_samples 0.8889"),
    "tags and single answers": (
        listed("t", ["a|b", "a|b", "a", "b"]),
        listed("t", ["a", "b", "", "b"]),
        "f1_samples 0.5833",
    ),
    "ranking": ("id,c\n1,x y\n2,y x\n3,z y\n", "id,c\n1,x\n2,x\n3,y\n", "map@2 0.6667"),
    "probability": ("id,p\n1,0.9\n2,0.2\n3,0.4\n", "id,p\n1,1\n2,0\n3,1\n", "roc_auc 1.0000"),
    "columns": ("id,a,b\n1,0.9,0.1\n2,0.2,0.8\n", "id,b,a\n1,0,1\n2,1,0\n", "roc_auc 1.0000"),
    "columns of a class": ("id,a,b\n1,0.9,0.1\n2,0.2,0.8\n", "id,c\n1,a\n2,b\n", "log_loss 0.1643"),
    "columns called after classes": (
        "id,p_A,is b,c\n1,0.9,0.1,0\n2,0.2,0.8,0\n",
        "id,c\n1,a\n2,b\n",
        "log_loss 0.1643",
    ),
    "flags": ("id,a,b\n1,1,1\n2,0,1\n", "id,a,b\n1,1,1\n2,1,1\n", "f1_samples 0.8333"),
    "flags of several, and single answers": ("id,a,b\n1,1,1\n2,0,1\n", "id,a,b\n1,1,0\n2,0,1\n", "f1_samples 0.8333"),
    "0.5 and more of several are labels": (
        "id,a,b\n1,0.5,0.9\n2,0.49,1\n",
        "id,a,b\n1,1,1\n2,0,1\n",
        "f1_samples 1.0000",
    ),
    "probabilities of several": ("id,a,b\n1,0.5,0.9\n2,0.4,1\n", SEVERAL, "log_loss 0.3273"),
    "sure probabilities of other numbers": (listed("p", [0, 1, 1]), listed("c", [2, 3, 3]), "roc_auc 1.0000"),
    "a word among numbers": (listed("c", [1, "x"]), listed("c", [1, 2]), "accuracy 0.5000"),
    "sums of other than 1": ("id,a,b\n1,0.9,0.3\n2,0.2,0.7\n", "id,a,b\n1,1,0\n2,0,1\n", "roc_auc 1.0000"),
    "flags of one": ("id,a,b\n1,1,0\n2,0,1\n", "id,a,b\n1,1,0\n2,0,1\n", "log_loss "),
    "a class called by a fraction": (listed("c", ["0.7", "0.7"]), listed("c", ["x", "0.7"]), "accuracy 0.5000"),
    "value": ("id,v\n1,3.5\n2,4\n3,8\n", "id,v\n1,3\n2,4\n3,9\n", "rmse 0.6455"),
    "kappa": ("id,v\n1,0\n2,4\n3,2\n", "id,v\n1,0\n2,4\n3,3\n", "quadratic_kappa 0.9412"),
}


@pytest.mark.parametrize("name", SCORED)
def test_score_tells_the_form_from_the_files(tmp_path: Path, name: str) -> None:
    submission, answers, told = SCORED[name]
    code, said = score(tmp_path, submission, answers)
    assert code == 0, said
    assert told in said


@pytest.mark.parametrize(
    ("column", "classes", "first"),
    [
        ("benign", ("benign", "malignant"), True),
        ("Benign", ("benign", "malignant"), True),
        ("p_benign", ("benign", "malignant"), True),
        ("probability of no tumor", ("no_tumor", "tumor-like"), True),
        ("malignant", ("benign", "malignant"), False),
        ("is_malignant", ("benign", "malignant"), False),
        ("p", ("benign", "malignant"), False),
        ("benignity", ("benign", "malignant"), False),
        ("benign_malignant", ("benign", "malignant"), False),
        ("p_0", ("0", "1"), True),
        ("grade_0", ("0", "1"), False),
    ],
)
def test_a_probability_is_that_of_the_class_its_column_is_called_after(
    tmp_path: Path, column: str, classes: tuple[str, str], first: bool
) -> None:
    """Else of the second of the two; grade_0 is what the answers call theirs, and so names no class."""
    answers = listed("grade_0" if column == "grade_0" else "label", [classes[0], classes[1], classes[0]])
    code, said = score(tmp_path, listed(column, [0.9, 0.2, 0.8] if first else [0.1, 0.8, 0.2]), answers)
    assert code == 0, said
    assert "roc_auc 1.0000" in said and "accuracy 1.0000" in said


@pytest.mark.parametrize(
    ("submission", "metric", "told"),
    [
        (["x y", "z", "y z"], "map@2", "map@2 0.6667"),  # the second lists one class only, and that is not x
        (["x y", "z", "y z"], "top2_error", "top2_error 0.3333"),
        (["x y", "y z", "y z"], "map@5", "map@5 0.6667"),
        (["x y", "y z", "y z"], "top3_error", "top3_error 0.3333"),
        (["x y x", "y x z", "y z x"], "map@3", "map@3 0.8333"),
        (["x;y", "y; x", "y;z"], "map@2", "map@2 0.8333"),
        (['"x,y"', '"y,x"', '"y,z"'], "map@2", "map@2 0.8333"),
    ],
)
def test_a_ranking_scores_what_it_lists_and_nothing_else(
    tmp_path: Path, submission: list[str], metric: str, told: str
) -> None:
    code, said = score(tmp_path, listed("c", submission), listed("c", ["x", "x", "y"]), "--metric", metric)
    assert code == 0, said
    assert told in said


@pytest.mark.parametrize(
    ("submission", "answers", "told"),
    [
        ([40.1], [37.5], "rmse 2.6000"),
        ([40.1], [37], "rmse 3.1000"),
        ([1.5], [2], "rmse 0.5000"),
        ([40.1, 50.2], [37.5, 55.5], "rmse 4.1743"),
        ([40.1, 50.2], [37, 55], "rmse 4.0404"),
        ([0.9, 0.8], [1, 1], "log_loss 0.1643"),
        ([0.1], [0], "log_loss 0.1054"),
        ([2.5, -0.5], [1, 0], "roc_auc 1.0000"),
    ],
)
def test_values_and_probabilities_of_few_samples_are_no_labels(
    tmp_path: Path, submission: list[float], answers: list[float], told: str
) -> None:
    code, said = score(tmp_path, listed("c", submission), listed("c", answers))
    assert code == 0, said
    assert told in said


@pytest.mark.parametrize(
    ("submission", "answers", "told"),
    [
        ([0.9, 0.2, 0.1], ["a", "b", "c"], "holds the number '0.9', and "),
        ([0.9, 0.2], ["a", "a"], "the classes ['a']; expected one of these for each id, or a column for each class"),
        ([0.3], [5], "s.csv holds the number '0.3', and "),
        ([0.9, "nan", 0.1], [1, 0, 0], "s.csv holds 'nan' among numbers; expected a number for each id"),
        ([4.5, "", 3], [1.5, 2, 7], "s.csv holds '' among numbers"),
        (["1e999", 3, 2.5], [1.5, 2, 7], "s.csv holds '1e999' among numbers"),
    ],
)
def test_numbers_are_not_scored_as_labels(tmp_path: Path, submission: list[Any], answers: list[Any], told: str) -> None:
    code, said = score(tmp_path, listed("c", submission), listed("c", answers))
    assert code == 1, said
    assert told in said


@pytest.mark.parametrize("counter", ["", "index", "Unnamed: 0"])
def test_a_column_that_counts_the_rows_is_no_answer(tmp_path: Path, counter: str) -> None:
    code, said = score(tmp_path, f"{counter},id,c\n0,2,b\n1,1,a\n", listed("c", ["a", "b"]))
    assert code == 0, said
    assert "accuracy 1.0000" in said


def test_the_only_answer_counts_no_rows(tmp_path: Path) -> None:
    code, said = score(tmp_path, listed("index", [0, 1]), listed("c", [0, 1]))
    assert code == 0, said
    assert "accuracy 1.0000" in said


NAMES, NUMBERS, TAGGED = listed("c", ["a", "b", "c"]), listed("c", [0, 1, 2]), listed("t", ["a b", "b", "a"])
THREE = "id,a,b,c\n1,0.9,0.1,0\n2,0.2,0.7,0.1\n3,0.1,0.2,0.7\n"


@pytest.mark.parametrize(
    ("metric", "submission", "answers", "told"),
    [
        (
            "roc_auc",
            THREE,
            NAMES,
            "roc_auc is of two classes, not 3; take roc_auc_macro); the two files allow log_loss, ",
        ),
        ("quadratic_kappa", TAGGED, TAGGED, "quadratic_kappa is for multiclass and ordinal, and "),
        ("f1_samples", NAMES, NAMES, "a.csv is multiclass; the two files allow accuracy, "),
        ("f1_samples", THREE, NAMES, "a.csv is multiclass; the two files allow log_loss, "),
        (
            "quadratic_kappa",
            NAMES,
            NAMES,
            "wants whole numbers as classes, and not all are; the two files allow accuracy",
        ),
        ("quadratic_kappa", THREE, NAMES, "wants whole numbers as classes, and not all are"),
        ("quadratic_kappa", listed("c", [0, 2**40, 0]), listed("c", [0, 2**40, 0]), "wants whole numbers as classes"),
        ("rmse", NUMBERS, NUMBERS, "rmse is for regression, and "),
        ("log_loss", SEVERAL, SEVERAL, "log_loss wants probabilities, and "),
        ("roc_auc_macro", NUMBERS, NUMBERS, "roc_auc_macro wants probabilities, and "),
        ("kappa", NUMBERS, NUMBERS, "no metric is called 'kappa'"),
        ("log_loss", listed("c", ["a b", "b a", "c a"]), NAMES, "s.csv holds rankings; the two files allow map@2, "),
    ],
)
def test_a_metric_of_another_task_is_refused(
    tmp_path: Path, metric: str, submission: str, answers: str, told: str
) -> None:
    code, said = score(tmp_path, submission, answers, "--metric", metric)
    assert code == 1, said
    assert told in said


TRUE, GUESSED = [0, 1, 4, 0, 1, 4], [0, 1, 1, 0, 4, 4]


def test_ids_and_answers_under_other_names(tmp_path: Path) -> None:
    answers = "id,a,b\n1,1,0\n2,0,1\n"
    code, said = score(tmp_path, "sample_id,p_a,p_b\n1,1,0\n2,0,1\n", answers)
    assert code == 1
    assert "expected the ids in a column called 'id', as in " in said
    code, said = score(tmp_path, "id,a,c\n1,1,0\n2,0,1\n", answers)
    assert code == 1
    assert "a.csv, ['a', 'b']" in said
    code, said = score(tmp_path, answers, answers, "--metric", "acuracy")
    assert code == 1
    assert "--metric: no metric is called 'acuracy'; did you mean accuracy?" in said


@pytest.mark.parametrize(
    ("true", "guessed"),
    [
        (TRUE, GUESSED),
        (TRUE, [f"{grade}.0" for grade in GUESSED]),
        ([grade + 10 for grade in TRUE], [grade + 10.0 for grade in GUESSED]),
        ([grade - 3 for grade in TRUE], [grade - 3 for grade in GUESSED]),
    ],
)
def test_grades_that_nobody_has_are_not_closed_up(tmp_path: Path, true: list[Any], guessed: list[Any]) -> None:
    expected = find_metric("quadratic_kappa")(np.array(TRUE), np.array(GUESSED))
    code, said = score(tmp_path, listed("c", guessed), listed("c", true))
    assert code == 0, said
    assert f"quadratic_kappa {expected:.4f} " in said and "quadratic_kappa 0.4808 " in said
    assert "accuracy 0.6667 " in said


def test_columns_called_by_grades_are_these_grades(tmp_path: Path) -> None:
    submission = "id,0,4,1\n1,1,0,0\n2,0,0,1\n3,0,0,1\n4,1,0,0\n5,0,1,0\n6,0,1,0\n"
    code, said = score(tmp_path, submission, listed("c", TRUE), "--metric", "quadratic_kappa")
    assert code == 0, said
    assert "quadratic_kappa 0.4808 " in said


def test_columns_called_after_one_class_are_told(tmp_path: Path) -> None:
    code, said = score(tmp_path, "id,p_a,q_a,b\n1,1,0,0\n2,0,0,1\n", listed("c", ["a", "b"]))
    assert code == 1
    assert "has no column for the classes ['a'] of " in said


def test_two_numbers_may_be_classes_written_as_values(tmp_path: Path) -> None:
    code, said = score(tmp_path, listed("c", ["5.0", "10.0", "5.0"]), listed("c", [5, 10, 10]))
    assert code == 0, said
    assert "accuracy 0.6667" in said and "log_loss" not in said


@pytest.mark.parametrize("cells", [["1e5", "NA", "x"], ["1e5", "1e5", "1e5"], ["0.5 l", "0.7 l", "0.5"]])
def test_classes_that_look_like_numbers_are_classes(tmp_path: Path, cells: list[str]) -> None:
    """The answers need not have all of them."""
    code, said = score(tmp_path, listed("c", cells), listed("c", ["x", "x", "0.7 l"]))
    assert code == 0, said
    assert "accuracy 0." in said


def test_classes_that_only_the_submission_has_are_no_probabilities(tmp_path: Path) -> None:
    code, said = score(tmp_path, listed("c", [0, 1, 1]), listed("c", [1, 2, 1]))
    assert code == 0, said
    assert "accuracy 0.3333" in said and "log_loss" not in said


def test_a_class_of_several_words_that_the_answers_lack_is_no_ranking(tmp_path: Path) -> None:
    answers = listed("c", ["golden retriever", "siamese cat", "siamese cat"])
    code, said = score(tmp_path, listed("c", ["golden retriever", "persian cat", "siamese cat"]), answers)
    assert code == 0, said
    assert "accuracy 0.6667" in said and "map@" not in said


@pytest.mark.parametrize(("delimiter", "header"), [(";", True), ("\t", False), (" ", False)])
def test_a_submission_is_written_as_the_sample_is(tmp_path: Path, delimiter: str, header: bool) -> None:
    shape = form(delimiter=delimiter, header=header)
    path = tmp_path / "submission.csv"
    write(path, fill(table([[1, 0, 0], [0, 1, 0]], ["a b", "c"]), shape, TARGET, PLAIN), shape)
    gate(path, ["a b", "c"], shape, TARGET)
    first = '"a b"' if delimiter == " " else "a b"
    head = f"Image{delimiter}Class\n" if header else ""
    assert path.read_text() == f"{head}{first}{delimiter}1e5\nc{delimiter}NA\n"
    assert Form.from_json(shape.to_json()) == shape
    with pytest.raises(MistakesError, match="the submission lacks 1 id of the competition"):
        gate(path, ["a b", "c", "d"], shape, TARGET)


def test_the_usual_way_of_writing_goes_without_saying() -> None:
    assert not {"delimiter", "header"} & {*form().to_json()}
