"""Downloads as they come: what the reader chooses among much that is something else, and that it says so."""

import json
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from competition.errors import CompetitionError
from competition.raw.competition import Competition, read_competition
from competition.raw.forms import named_class
from competition.raw.labels import Labels
from competition.raw.metrics import read_metric
from competition.raw.sources import open_source
from tests.conftest import Files, data_params, png, write_folder


def read(folder: Path, files: Files, guess: bool = True, **changed: Any) -> Competition:
    write_folder(folder / "raw", files)
    return read_competition(open_source(folder / "raw", folder / "scratch"), data_params(folder / "raw", **changed),
                            guess=guess)  # fmt: skip


def csv(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def packed(files: Files) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def images(folder: str, names: list[str], shade: int = 0) -> Files:
    return {f"{folder}{name}": png(shade + 5 * number) for number, name in enumerate(names)}


NAMES = [f"{number:03}" for number in range(1, 13)]
KINDS = ["cat", "dog", "cow"] * 4


def simple(**tables: bytes) -> Files:
    """Return images in train/ and test/, and the tables."""
    files = images("train/", [f"{name}.png" for name in NAMES]) | images("test/", ["901.png", "902.png"], 100)
    return files | {name.replace("__", "."): data for name, data in tables.items()}


def train_csv(header: str = "id,label", more: list[str] | None = None) -> bytes:
    more = more or [""] * 12
    return csv(header, *(f"{n},{kind}{extra}" for n, kind, extra in zip(NAMES, KINDS, more, strict=True)))


def labels(competition: Competition) -> list[str]:
    return list(competition.train["label"])


@pytest.mark.parametrize(
    "written",
    [
        lambda name: name,
        lambda name: f"{name}.png",
        lambda name: f"train/{name}.png",
        lambda name: f"{name}.PNG",
        lambda name: name.lstrip("0"),
        lambda name: f"train/{name}",
        lambda name: f"../input/data/train/{name}.png",
        lambda name: f"train\\{name}.png",
    ],
    ids=[
        "no extension",
        "extension",
        "folder",
        "upper case",
        "lost zeros",
        "folder, no extension",
        "folders above",
        "backslash",
    ],
)
def test_ids(tmp_path: Path, written: Any) -> None:
    table = csv("picture,kind", *(f"{written(n)},{kind}" for n, kind in zip(NAMES, KINDS, strict=True)))
    competition = read(tmp_path, simple(train__csv=table))
    assert list(competition.train["file"]) == [f"train/{n}.png" for n in NAMES]
    assert labels(competition) == KINDS
    assert list(competition.train["sample_id"]) == [written(n) for n in NAMES]


def test_the_same_pictures_again(tmp_path: Path) -> None:
    """A second archive, records and DICOM beside the folder change nothing, and it is said what was taken."""
    files = simple(train__csv=train_csv())
    again = {name: data for name, data in files.items() if name.endswith("png")}
    files |= {"train.zip": packed(again), "train/001.dcm": b"DICM", "tfrecords/train.tfrec": b"\0"}
    competition = read(tmp_path, files)
    assert list(competition.train["file"]) == [f"train/{n}.png" for n in NAMES]
    assert competition.problems == []
    assert any("lie elsewhere, first train.zip/" in note for note in competition.notes)


def test_leaking_and_group_and_feature_columns(tmp_path: Path) -> None:
    """The column the submission asks for is the label; those in train only are told; patients share a fold."""
    rows = [f"{n},p{k % 6},{k},{'yes' if kind == 'cat' else 'no'},{int(kind == 'cat')}"
            for k, (n, kind) in enumerate(zip(NAMES, KINDS, strict=True))]  # fmt: skip
    files = simple(
        train__csv=csv("image_name,patient_id,age,benign_malignant,target", *rows),
        test__csv=csv("image_name,patient_id,age", "901,p9,1", "902,p8,2"),
        sample_submission__csv=csv("image_name,target", "901,0", "902,0"),
    )
    competition = read(tmp_path, files)
    assert labels(competition) == ["1" if kind == "cat" else "0" for kind in KINDS]
    assert list(competition.train["group"]) == [f"p{k % 6}" for k in range(12)]
    assert competition.form.kind == "probability"
    assert any("benign_malignant" in note and "in train only" in note for note in competition.notes)
    assert competition.chosen["group_column"].value == "patient_id"


def test_submission_columns_of_other_names_and_types(tmp_path: Path) -> None:
    """Kinds are names in train; the submission calls them otherwise, and its sample holds random whole numbers."""
    files = simple(train__csv=train_csv("picture,kind"), sample_submission__csv=csv("Id,Predicted", "902,2", "901,0"))
    competition = read(tmp_path, files)
    assert (competition.form.columns, competition.form.kind) == (("Id", "Predicted"), "index")
    assert list(competition.test["sample_id"]) == ["902", "901"]


def test_a_sample_without_answers_or_with_an_index(tmp_path: Path) -> None:
    files = simple(train__csv=train_csv(), sample_submission__csv=csv(",id,label", "0,901,", "1,902,"))
    competition = read(tmp_path, files)
    assert (competition.form.counter, competition.form.kind) == (0, "class")
    assert competition.form.value_columns == ("label",)


def test_folders_that_are_something_else(tmp_path: Path) -> None:
    """With a table of labels, folders of images are only places."""
    files = images("train/chain a/", [f"{n}.png" for n in NAMES[:6]])
    files |= images("train/chain b/", [f"{n}.png" for n in NAMES[6:]]) | images("test/", ["901.png"])
    competition = read(tmp_path, files | {"train.csv": train_csv("image,hotel_id")})
    assert labels(competition) == KINDS


def test_one_folder_for_both_splits(tmp_path: Path) -> None:
    files = images("images/", [f"{n}.png" for n in [*NAMES, "901", "902"]])
    files |= {"train.csv": train_csv(), "test.csv": csv("id", "901", "902")}
    competition = read(tmp_path, files)
    assert list(competition.test["file"]) == ["images/901.png", "images/902.png"]
    assert len(competition.train) == 12
    assert competition.problems == []


def test_file_name_prefixes(tmp_path: Path) -> None:
    files = images("train/", [f"{kind}.{n}.png" for n in range(4) for kind in ("cat", "hot-dog")])
    files |= images("test/", ["1.png", "2.png"])
    competition = read(tmp_path, files)
    assert labels(competition) == ["cat"] * 4 + ["hot-dog"] * 4
    assert competition.chosen["label_column"].surety == "guess"


def coco(split: str, key: str = "id") -> dict[str, Any]:
    names = NAMES if split == "train" else ["901", "902"]
    listed = [{key: number, "file_name": f"x/{n}.png", "location": number % 6} for number, n in enumerate(names)]
    if split == "test":
        return {"images": listed}
    marks = [{"id": 50 + n, "image_id": n, "category_id": KINDS.index(kind)} for n, kind in enumerate(KINDS)]
    named = [{"id": KINDS.index(kind), "name": kind} for kind in KINDS[:3]]
    return {"images": listed, "annotations": marks, "categories": named}


@pytest.mark.parametrize("as_list", [False, True])
def test_coco(tmp_path: Path, as_list: bool) -> None:
    """Ids meet their files in the JSON only; that of test is an object or a list."""
    files = images("train/x/", [f"{n}.png" for n in NAMES]) | images("test/x/", ["901.png", "902.png"])
    test = coco("test", "image_id")["images"] if as_list else coco("test")
    files |= {"train.json": json.dumps(coco("train")).encode(), "test.json": json.dumps(test).encode()}
    files["sample_submission.csv"] = csv("Id,Category", "1,0", "0,0")
    competition = read(tmp_path, files)
    assert labels(competition) == [str(KINDS.index(kind)) for kind in KINDS]
    assert dict(zip(competition.test["sample_id"], competition.test["file"], strict=True)) == {
        "1": "test/x/902.png",
        "0": "test/x/901.png",
    }
    assert set(competition.train["group"]) == {str(number) for number in range(6)}
    assert competition.form.kind == "class"


def test_an_image_annotated_twice(tmp_path: Path) -> None:
    """Its labels contradict each other, but where an image may have several they are all its."""
    rows = [*zip(NAMES, KINDS, strict=True), (NAMES[0], "dog"), (NAMES[1], "dog")]
    files = simple(train__csv=csv("id,label", *(f"{n},{kind}" for n, kind in rows)))
    assert read(tmp_path / "one", files).problems == ["'001' has 2 labels: 'cat', 'dog'"]
    several = read(tmp_path / "two", files, task="multilabel")
    assert several.problems == []
    assert labels(several)[:2] == ["cat|dog", "dog"]


def test_ids_that_look_like_numbers_or_have_dots(tmp_path: Path) -> None:
    names = ["1.2.826.0.1", "1e5", "7.0", "007", "NA", "1.2.826.0.2", "inf", "0x10"]
    files = images("train/", [f"{name}.png" for name in names]) | images("test/", ["1.2.826.0.3.png"])
    files["train.csv"] = csv("uid,label", *(f"{n},{kind}" for n, kind in zip(names, KINDS, strict=False)))
    competition = read(tmp_path, files)
    assert list(competition.train["sample_id"]) == names
    assert competition.problems == []


def test_given_fold_weight_and_group_columns(tmp_path: Path) -> None:
    more = [f",{k % 3},{0.5 + k},g{k % 6}" for k in range(12)]
    files = simple(train__csv=train_csv("id,label,fold,sample_weight,batch", more))
    competition = read(tmp_path, files, group_column="batch", label_column="label")
    assert list(competition.train["fold"]) == [str(k % 3) for k in range(12)]
    assert list(competition.train["weight"]) == [str(0.5 + k) for k in range(12)]
    assert list(competition.train["group"]) == [f"g{k % 6}" for k in range(12)]


@pytest.mark.parametrize(("cell", "told"), [("x", "holds 'x'; expected a number from 0"), ("-1", "holds '-1'")])
def test_a_weight_that_is_none(tmp_path: Path, cell: str, told: str) -> None:
    files = simple(train__csv=train_csv("id,label,sample_weight", [",1"] * 11 + [f",{cell}"]))
    with pytest.raises(CompetitionError, match=told):
        read(tmp_path, files, label_column="label")


def test_two_tables_that_could_be_it(tmp_path: Path) -> None:
    """The one the submission asks for is taken; of equals none."""
    files = simple(train__csv=train_csv(), train_annotations__csv=train_csv("id,note"))
    files["sample_submission.csv"] = csv("id,label", "901,cat", "902,cat")
    assert read(tmp_path / "one", files).chosen["train_table"].value == "train.csv"
    twins = simple(a__csv=train_csv(), b__csv=train_csv("id,target"))
    with pytest.raises(CompetitionError, match=r"a\.csv, b\.csv could each be the train table"):
        read(tmp_path / "two", twins)


def test_tables_in_pieces(tmp_path: Path) -> None:
    whole = train_csv().decode().splitlines()
    files = simple(train_1__csv=csv(*whole[:7]), train_2__csv=csv(whole[0], *whole[7:]))
    competition = read(tmp_path, files)
    assert labels(competition) == KINDS
    assert competition.chosen["train_table"].value == ["train_1.csv", "train_2.csv"]


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("Submissions are evaluated on the quadratic weighted kappa.", "quadratic_kappa"),
        ("We measure the area under the ROC curve. ", "roc_auc_macro"),
        ("Scored by multi-class logarithmic loss", "log_loss"),
        ("judged by Mean Average Precision @ 5 (MAP@5)", "map@5"),
        ("The metric is the macro F1 score", "f1_macro"),
        ("Leaderboard: categorization accuracy", "accuracy"),
        ("f1_score(actual, predicted, average='weighted')", "f1_weighted"),
        ("The error is the root mean squared error", "rmse"),
        ("Nothing here", "accuracy"),
    ],
)
def test_the_metric_is_read_from_a_description(tmp_path: Path, text: str, metric: str) -> None:
    numbered = csv("id,label", *(f"{n},{KINDS.index(kind)}" for n, kind in zip(NAMES, KINDS, strict=True)))
    files = simple(train__csv=numbered) | {"description.md": f"# A competition\n\n{text}\n".encode()}
    competition = read(tmp_path, files)
    assert competition.metric == metric
    assert competition.chosen["metric"].surety == ("guess" if "Nothing" in text else "likely")


def test_a_description_that_cannot_be_read_is_no_hint(tmp_path: Path) -> None:
    files = simple(train__csv=train_csv()) | {"README.md": b"evaluated by log loss"}
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    whole = (tmp_path / "raw.zip").read_bytes()
    assert whole.count(b"evaluated by log loss") == 1
    damaged = whole.replace(b"by log loss", b"by log l0ss")  # its sum is another
    for data, surety in ((whole, "likely"), (damaged, "guess")):
        (tmp_path / "raw.zip").write_bytes(data)
        source = open_source(tmp_path / "raw.zip", tmp_path / "scratch")
        competition = read_competition(source, data_params(tmp_path / "raw.zip"), guess=True)
        assert competition.chosen["metric"].surety == surety


def test_a_metric_that_does_not_fit_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        CompetitionError, match=r"data\.metric is rmse, which scores regression; the task is multiclass"
    ):
        read(tmp_path, simple(train__csv=train_csv()), guess=False, metric="rmse")


def test_positive_class(tmp_path: Path) -> None:
    files = simple(
        train__csv=csv("id,label", *(f"{n},{'cat' if k % 2 else 'dog'}" for k, n in enumerate(NAMES))),
        sample_submission__csv=csv("id,label", "901,0.5", "902,0.5"),
    )
    assert read(tmp_path / "auto", files).form.classes == ("dog",)
    assert read(tmp_path / "given", files, positive_class="cat").form.classes == ("cat",)
    with pytest.raises(CompetitionError, match=r"data\.positive_class is 'cow'; the classes are \['cat', 'dog'\]"):
        read(tmp_path / "wrong", files, positive_class="cow")
    told = "the sample submission shows '0.5', and ours has a class there: correct data.metric or data.submission"
    assert told in read(tmp_path / "metric", files, guess=False, metric="accuracy").notes
    files["sample_submission.csv"] = csv("id,label", "901,cat", "902,cat")
    notes = read(tmp_path / "unused", files, positive_class="cat").notes
    assert any(note.startswith("data.positive_class is not used: the submission is class") for note in notes)


def test_flags_where_the_sample_submission_shows_probabilities(tmp_path: Path) -> None:
    files = simple(
        train__csv=csv("id,sea,sky", *(f"{n},{k % 2},1" for k, n in enumerate(NAMES))),
        sample_submission__csv=csv("id,sea,sky", "901,0.5,0.5", "902,0.5,0.5"),
    )
    told = "the sample submission shows '0.5', and ours has 0 or 1 there: correct data.metric or data.submission"
    assert told in read(tmp_path / "labels", files, guess=False, metric="f1_samples").notes
    assert told not in read(tmp_path / "probabilities", files, guess=False, metric="log_loss").notes


@pytest.mark.parametrize(
    ("column", "positive", "surety"),
    [
        ("is_cat", "cat", "likely"),
        ("cat", "cat", "likely"),
        ("dog_probability", "dog", "likely"),
        ("p", "dog", "guess"),
        ("catalogue", "dog", "guess"),
        ("probCat", "cat", "likely"),
    ],
)
def test_the_submission_names_the_positive_class(tmp_path: Path, column: str, positive: str, surety: str) -> None:
    rows = (f"{n},{'cat' if k % 2 else 'dog'}" for k, n in enumerate(NAMES))
    files = simple(train__csv=csv("id,label", *rows), sample_submission__csv=csv(f"id,{column}", "901,0.5", "902,0.5"))
    competition = read(tmp_path, files)
    assert competition.form.classes == (positive,)
    assert competition.chosen["positive_class"].surety == surety


@pytest.mark.parametrize(
    ("column", "classes", "named"),
    [
        ("female", ("female", "male"), "female"),
        ("abnormal", ("abnormal", "normal"), "abnormal"),
        ("prob_not_tumor", ("not_tumor", "tumor"), "not_tumor"),
        ("is malignant?", ("benign", "malignant"), "malignant"),
        ("prediction", ("n", "y"), None),
        ("diagnosis", ("no", "yes"), None),
        ("prob_of_fraud", ("F", "T"), None),
        ("cat_or_dog", ("cat", "dog"), None),
    ],
)
def test_a_column_is_called_after_a_class_by_whole_words(
    column: str, classes: tuple[str, ...], named: str | None
) -> None:
    assert named_class(column, classes) == named


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("F1 score (micro)", "f1_micro"),
        ("F1 (micro-averaged)", "f1_micro"),
        ("F1 score with weighted averaging", "f1_weighted"),
        ('f1_score(y, p, average="macro")', "f1_macro"),
        ("Metric: f1_score (macro)", "f1_macro"),
        ("macro-averaged F1", "f1_macro"),
        ("mean F1_score", "f1_macro"),
        ("Top-5 accuracy", "top5_error"),
        ("sklearn.metrics.log_loss(y, p)", "log_loss"),
        ("cohen_kappa_score(y, p, weights='quadratic')", "quadratic_kappa"),
        ("balanced accuracy", ""),
        ("mean per-class accuracy", ""),
        ("PR AUC", ""),
        ("area under the precision-recall curve", ""),
        ("linear weighted kappa", ""),
        ("root mean squared logarithmic error", ""),
    ],
)
def test_a_metric_is_not_taken_for_one_that_is_called_alike(text: str, metric: str) -> None:
    labels = Labels("multiclass", ("1", "2", "3"), [], "")
    assert read_metric(f"Submissions are evaluated by {text}.", labels)[0] == metric


def test_an_area_under_the_curve_of_several_classes_has_another_name(tmp_path: Path) -> None:
    files = simple(train__csv=train_csv(), sample_submission__csv=csv("id,cat,cow,dog", "901,0,0,1"))
    with pytest.raises(
        CompetitionError, match=r"roc_auc, which scores two classes; .* 3 classes; set data.metric to roc_"
    ):
        read(tmp_path, files, guess=False, metric="roc_auc")


def test_a_column_for_a_class_that_train_lacks(tmp_path: Path) -> None:
    files = simple(train__csv=train_csv(), sample_submission__csv=csv("id,cat,cow,dog,owl", "901,0,0,0,1"))
    competition = read(tmp_path, files)
    assert competition.form.classes == ("cat", "cow", "dog", "")
    assert any("no training sample is owl" in note for note in competition.notes)


def test_whole_number_labels_and_a_column_for_each(tmp_path: Path) -> None:
    rows = (f"{n},{k % 3}" for k, n in enumerate(NAMES))
    files = simple(train__csv=csv("id,label", *rows), sample_submission__csv=csv("id,0,1,2", "901,0.3,0.3,0.4"))
    assert read(tmp_path, files).form.kind == "columns"


def test_the_submission_has_its_own_separator(tmp_path: Path) -> None:
    tags = ["a|b", "a", "b", "c", "a|c", "b|c"] * 2
    rows = (f"{n},{tag}" for n, tag in zip(NAMES, tags, strict=True))
    files = simple(train__csv=csv("id,tags", *rows), sample_submission__csv=csv("id,tags", "901,a b", "902,c"))
    assert read(tmp_path, files).form.separator == " "


def test_ranks_of_several_labels(tmp_path: Path) -> None:
    tags = ["a b", "a", "b", "c", "a c", "b c"] * 2
    files = simple(train__csv=csv("id,tags", *(f"{n},{tag}" for n, tag in zip(NAMES, tags, strict=True))))
    assert read(tmp_path, files, guess=False, metric="map@2").form.kind == "ranking"


def test_an_index_that_cannot_be_one(tmp_path: Path) -> None:
    files = simple(train__csv=train_csv(), sample_submission__csv=csv("id,label", "901,3", "902,1"))
    with pytest.raises(CompetitionError, match=r"holds '3' for one of 3 classes.*set data\.label_column"):
        read(tmp_path, files)


def test_a_column_called_label_that_the_test_table_has_too(tmp_path: Path) -> None:
    table = train_csv("id,label,source", [f",s{k % 2}" for k in range(12)])
    competition = read(tmp_path, simple(train__csv=table, test__csv=csv("id,label", "901,", "902,")))
    assert labels(competition) == KINDS


def test_quadratic_kappa_needs_numbers(tmp_path: Path) -> None:
    with pytest.raises(CompetitionError, match=r"data\.metric is quadratic_kappa and the classes are cat, cow, dog"):
        read(tmp_path, simple(train__csv=train_csv()), guess=False, metric="quadratic_kappa")


def test_a_metric_of_values_makes_whole_numbers_values(tmp_path: Path) -> None:
    files = simple(train__csv=csv("id,score", *(f"{n},{k}" for k, n in enumerate(NAMES))))
    competition = read(tmp_path, files, guess=False, metric="rmse")
    assert (competition.task, competition.form.kind) == ("regression", "value")


def test_a_value_that_is_missing_is_told(tmp_path: Path) -> None:
    values = ["1.5", "nan", *map(str, range(10))]
    competition = read(tmp_path, simple(train__csv=csv("id,v", *map(",".join, zip(NAMES, values, strict=True)))))
    assert competition.task == "regression"
    assert competition.problems == ["train.csv: '002' has the label 'nan'; expected a number"]


def test_ids_as_the_sample_shows_them(tmp_path: Path) -> None:
    """The test table writes extensions, and the sample, which shows one row, does not."""
    files = simple(train__csv=train_csv(), test__csv=csv("image", "901.png", "902.png"))
    files["sample_submission.csv"] = csv("Id,label", "902,cat")
    assert list(read(tmp_path, files).test["sample_id"]) == ["901", "902"]


def test_a_table_called_samples_and_one_s_own_submission(tmp_path: Path) -> None:
    files = simple(train_samples__csv=train_csv(), my_submission__csv=csv("id,label", "901,cat", "902,cow"))
    files["sample_submission.csv"] = csv("id,label", "901,cat", "902,cat")
    competition = read(tmp_path, files)
    assert competition.chosen["train_table"].value == "train_samples.csv"
    assert competition.chosen["sample_submission"].value == "sample_submission.csv"


def test_an_empty_id_is_no_image(tmp_path: Path) -> None:
    files = images("train/", ["0.png", "1.png", "2.png", "3.png"]) | images("test/", ["9.png"])
    files["train.csv"] = csv("id,label", "1,cat", "2,dog", "3,cat", ",dog")
    assert read(tmp_path, files).problems == ["train.csv: '' has no image in train"]


def test_json_that_is_no_table_is_passed_over(tmp_path: Path) -> None:
    files = simple(train__csv=train_csv()) | {"test_config.json": b'{"x": [1, 2]}', "sample.json": b"[1, 2]"}
    assert labels(read(tmp_path, files)) == KINDS


def test_a_download_without_images_is_told_by_what_it_holds(tmp_path: Path) -> None:
    files = {**{f"train/{n}.dcm": b"x" for n in NAMES}, "train.csv": train_csv(), "LICENSE": b"x"}
    with pytest.raises(CompetitionError, match=r"14 files \(12 \.dcm, 1 without an ending, 1 \.csv\) and no image"):
        read(tmp_path, files)


@pytest.mark.parametrize("image", ["{}-1.png", "{}/front.png", "{}_left.png"])
def test_an_id_with_several_images_is_told(tmp_path: Path, image: str) -> None:
    files = images("train/", [image.format(n) for n in NAMES]) | images("test/", ["901.png", "902.png"], 100)
    with pytest.raises(CompetitionError, match=f"called 'train/{image.format('001')}'; where an id has several images"):
        read(tmp_path, {**files, "train.csv": train_csv()}, train_table="train.csv")


@pytest.mark.parametrize("between", [" ", "  ", "\t", ",", ", "], ids=repr)
def test_a_text_file_of_names_and_labels(tmp_path: Path, between: str) -> None:
    """It is a table only where the user says so, for most text files are something else."""
    listed = csv(*(f"train/{name}.png{between}{kind}" for name, kind in zip(NAMES, KINDS, strict=True)))
    files = simple(lists__txt=listed, README__txt=b"Read me.\n")
    del files["test/902.png"]
    with pytest.raises(CompetitionError, match=r"; lists\.txt names images: .* set data\.train_table to lists\.txt$"):
        read(tmp_path, files)
    found = read(tmp_path, {}, train_table="lists.txt")
    assert labels(found) == KINDS
    assert list(found.test["sample_id"]) == ["901.png"]
    assert [note for note in found.notes if "called 'column 1', 'column 2'" in note]


@pytest.mark.parametrize("name", ["labels.xlsx", "a.mat", "labels.json"])
def test_a_file_that_may_hold_the_labels_and_is_no_table_is_named(tmp_path: Path, name: str) -> None:
    files = {**simple(), name: b'{"cat": ["001"], "dog": ["002"]}'}
    with pytest.raises(CompetitionError, match=f"; no table can be read from {name}: .* write them into a CSV$"):
        read(tmp_path, files)
    if not name.endswith(".json"):
        with pytest.raises(CompetitionError, match=f"no table can be read from {name} in .*; write it into a CSV"):
            read(tmp_path, {}, train_table=name)


def test_many_files_that_may_hold_the_labels_are_counted(tmp_path: Path) -> None:
    files = simple() | {f"boxes/{name}.xml": b"<x/>" for name in NAMES}
    with pytest.raises(CompetitionError, match=r"from boxes/001\.xml, boxes/002\.xml, boxes/003\.xml and 9 more: "):
        read(tmp_path, files)


def test_labels_guessed_from_names_where_a_file_may_know_better(tmp_path: Path) -> None:
    files = images("train/", [f"{kind}{name}.png" for name, kind in zip(NAMES, "ab" * 6, strict=True)])
    files |= images("test/", ["901.png"], 100) | {"train.xlsx": b"PK"}
    found = read(tmp_path, files)
    assert found.chosen["label_column"].value == "prefix"
    assert [note for note in found.notes if note.startswith("no table can be read from train.xlsx")]


def test_blanks_after_the_commas(tmp_path: Path) -> None:
    """Names and cells stay as they are written, and are found all the same."""
    rows = [f"{kind}, {name}.png, p{n // 2}, {n % 3}" for n, (name, kind) in enumerate(zip(NAMES, KINDS, strict=True))]
    found = read(tmp_path, simple(train__csv=csv("label, id, patient, fold", *rows)))
    assert {key: found.chosen[key].value for key in ("id_column", "label_column", "group_column", "fold_column")} == {
        "id_column": " id", "label_column": "label", "group_column": " patient", "fold_column": " fold"
    }  # fmt: skip
    assert list(found.train["sample_id"])[:2] == [" 001.png", " 002.png"]
    assert (labels(found), found.problems) == (KINDS, [])
    rows = [f"{name}.png, {kind}, {n}" for n, (name, kind) in enumerate(zip(NAMES, KINDS, strict=True))]
    assert read(tmp_path, {"train.csv": csv("id, Label , age", *rows)}).chosen["label_column"].value == " Label "


@pytest.mark.parametrize("sample", [True, False], ids=["sample", "no sample"])
@pytest.mark.parametrize(
    ("column", "train", "test"),
    [
        ("set", "Train", "Test"),
        ("Usage", "Training", "PublicTest"),
        ("is_test", "0", "1"),
        ("is_training_image", "True", "False"),
        ("partition", "0", "2"),
        ("Usage", "train", "Private"),
    ],
)
def test_a_table_for_both_splits_is_told(tmp_path: Path, column: str, train: str, test: str, sample: bool) -> None:
    """With two tables made of it, it is left aside."""
    files = images("images/", [f"{name}.png" for name in [*NAMES, "901", "902"]])
    rows = [f"{name}.png,{kind},{train}" for name, kind in zip(NAMES, KINDS, strict=True)]
    files["data.csv"] = csv(f"id,label,{column}", *rows, f"901.png,cat,{test}", f"902.png,,{test}")
    if sample:
        files["sample_submission.csv"] = csv("id,label", "901.png,cat", "902.png,cat")
    told = rf"; the column '{column}' of data\.csv says of each row .*: write them into two tables, train\.csv and test"
    with pytest.raises(CompetitionError, match=told):
        read(tmp_path, files)
    tables = {"train.csv": csv(f"id,label,{column}", *rows), "test.csv": csv("id", "901.png", "902.png")}
    found = read(tmp_path, tables)
    assert (found.chosen["train_table"].value, labels(found)) == ("train.csv", KINDS)
    assert list(found.test["sample_id"]) == ["901.png", "902.png"]


@pytest.mark.parametrize("column", ["ClassId", "class id", "Category-ID", "dx"])
def test_a_label_column_is_known_by_its_letters(tmp_path: Path, column: str) -> None:
    """As that of the German traffic signs, whose test table has it too, and that of HAM10000."""
    rows = [f"8,{name}.png,{kind},1" for name, kind in zip(NAMES, KINDS, strict=True)]
    tables = {
        "train__csv": csv(f"Width,Path,{column},Roi", *rows),
        "test__csv": csv(f"Width,Path,{column},Roi", "8,901.png,cat,1"),
    }
    found = read(tmp_path, simple(**tables))
    assert (found.chosen["label_column"].value, labels(found)) == (column, KINDS)


@pytest.mark.parametrize(("yes", "no"), [("True", "False"), ("TRUE", "FALSE"), ("1.0", "0")])
def test_flags_as_programs_write_them(tmp_path: Path, yes: str, no: str) -> None:
    rows = [
        f"{name}.png,{','.join(yes if kind == each else no for each in ('cat', 'cow', 'dog'))}"
        for name, kind in zip(NAMES, KINDS, strict=True)
    ]
    found = read(tmp_path, simple(train__csv=csv("id,cat,cow,dog", *rows), test__csv=csv("id", "901.png", "902.png")))
    assert (labels(found), found.problems, found.form.kind) == (KINDS, [], "columns")


def test_a_table_for_both_splits_is_told_where_the_images_lie_apart(tmp_path: Path) -> None:
    """Its rows of test have no image among those of train."""
    rows = [f"train/{name}.png,{kind},train" for name, kind in zip(NAMES, KINDS, strict=True)]
    found = read(tmp_path, simple(sports__csv=csv("path,label,data set", *rows, "test/901.png,cat,test")))
    assert found.problems == ["sports.csv: 'test/901.png' has no image in train"]
    assert [note for note in found.notes if note.startswith("the column 'data set' of sports.csv says of each row ")]


@pytest.mark.parametrize("header", [True, False], ids=["header", "no header"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", " "])
def test_the_submission_is_written_as_the_sample_is(tmp_path: Path, delimiter: str, header: bool) -> None:
    """A text file of lines such as ``1.png cat`` is a sample submission where the user says so."""
    head = [f"id{delimiter}label"] if header else []
    sample = csv(*head, *(f"{name}.png{delimiter}cat" for name in ("901", "902")))
    found = read(tmp_path, simple(train__csv=train_csv(), sample__txt=sample), sample_submission="sample.txt")
    assert list(found.test["sample_id"]) == ["901.png", "902.png"]
    assert (found.form.delimiter, found.form.header) == (delimiter, header)
    usual = delimiter == "," and header
    assert len([note for note in found.notes if note.startswith("the submission is written with")]) == (not usual)
    hint = "sample.txt names images: if it is the sample submission, set data.sample_submission to it"
    assert (hint in read(tmp_path, {}).notes, hint in found.notes) == (True, False)


@pytest.mark.parametrize(
    ("picture", "mask"),
    [
        ("{kind}/{kind} ({n}).png", "{kind}/{kind} ({n})_mask.png"),
        ("{kind}/{kind} ({n}).png", "{kind}/{kind} ({n})_mask_1.png"),
        ("{kind}/images/{n}.png", "{kind}/masks/{n}.png"),
    ],
)
def test_masks_in_class_folders_are_no_samples(tmp_path: Path, picture: str, mask: str) -> None:
    """As of the breast ultrasound images, and of the COVID-19 radiographs."""
    pictures = [f"train/{picture.format(kind=kind, n=n)}" for n, kind in enumerate(KINDS)]
    masks = [f"train/{mask.format(kind=kind, n=n)}" for n, kind in enumerate(KINDS)]
    found = read(tmp_path, images("", pictures) | images("", masks, 100) | images("test/", ["901.png"], 200))
    assert (sorted(found.train["file"]), found.classes) == (sorted(pictures), ("cat", "cow", "dog"))
    assert f"12 images are masks of others, by their names, as {min(masks)}: not used" in found.notes


def test_classes_called_like_masks(tmp_path: Path) -> None:
    """As of faces with and without one."""
    files = images("train/with_mask/", ["1.png", "2.png", "3_mask.png"]) | images("train/bare/", ["1.png", "2.png"], 50)
    found = read(tmp_path, files | images("test/", ["901.png"], 200))
    assert (len(found.train), found.classes) == (5, ("bare", "with_mask"))


@pytest.mark.parametrize(
    "sample", ["id,label\n901,0\n902,2\n", "id,class_0,class_1,class_2\n901,1,0,0\n902,1,0,0\n", ""]
)
def test_whole_numbers_with_a_fraction(tmp_path: Path, sample: str) -> None:
    """As pandas writes a column with missing cells; where it alone is known, it stays as it is."""
    numbers = [str(KINDS.index(kind)) for kind in KINDS]
    rows = [f"{name},{number}.0" for name, number in zip(NAMES, numbers, strict=True)]
    tables = {"train__csv": csv("id,label", *rows), "test__csv": csv("id", "901", "902")}
    if sample:
        tables["sample_submission__csv"] = sample.encode()
    found = read(tmp_path, simple(**tables))
    assert labels(found) == [number if sample else f"{number}.0" for number in numbers]
    mixed = csv("id,label", *rows[:6], *(row.removesuffix(".0") for row in rows[6:]))
    found = read(tmp_path, {"train.csv": mixed})
    assert (labels(found), found.classes) == (numbers, ("0", "1", "2"))
    assert "the label 0.0 is the class 0, and so with all that end in a point and zeros" in found.notes


def test_images_of_several_classes_may_be_of_many_labels(tmp_path: Path) -> None:
    files = simple(train__csv=csv(*train_csv().decode().split(), "001,cow", "002,cat"))
    told = "2 images have rows of several classes: if they may, set data.task to multilabel"
    found = read(tmp_path, files)
    assert (len(found.problems), told in found.notes) == (2, True)
    found = read(tmp_path, {}, task="multilabel")
    assert (found.problems, labels(found)[:2], told in found.notes) == ([], ["cat|cow", "cat|dog"], False)


def test_answers_beside_the_sample_submission_are_no_piece_of_train(tmp_path: Path) -> None:
    answers = csv("id,label", "901,dog", "902,cat")
    files = simple(
        train__csv=train_csv(), solution__csv=answers, sample_submission__csv=answers.replace(b"dog", b"cat")
    )
    found = read(tmp_path, files)
    assert (found.chosen["train_table"].value, labels(found), found.problems) == ("train.csv", KINDS, [])
    assert "solution.csv lists test images only: not used for training" in found.notes
    files = images("train/", ["1.png", "2.png", "3.png", "4.png"]) | images(
        "test/", ["1.png", "2.png", "3.png", "4.png"], 99
    )
    tables = {"a.csv": csv("id,label", "1,cat", "2,dog"), "b.csv": csv("id,label", "3,cat", "4,dog")}
    files |= tables | {"sample_submission.csv": csv("id,label", *(f"{n},cat" for n in range(1, 5)))}
    found = read(tmp_path / "alike", files)
    assert (labels(found), len(found.test)) == (["cat", "dog"] * 2, 4)
