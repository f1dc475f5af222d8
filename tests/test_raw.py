"""Reading a competition's files: which image is which sample, in every layout they come in."""

import io
import pickle
import re
import tarfile
import time
import unicodedata
from pathlib import Path

import pytest

from competition.errors import CompetitionError
from competition.raw.competition import Competition, read_competition
from competition.raw.matching import ImageIndex, only_says, says
from competition.raw.roles import Tables
from competition.raw.rows import MISSING
from competition.raw.sources import Source, open_source
from tests.conftest import Files, data_params, gala, png, write_folder, write_zip

KINDS = ["folder", "zip", "tar", "tar.gz"]
WRAPPERS = ["", "wrapper/", "training data/", "contest 2024/"]
GALA = gala()


def pack(folder: Path, kind: str, files: Files) -> Path:
    """Write files as a folder or an archive."""
    if kind == "folder":
        return write_folder(folder / "raw", files)
    if kind == "zip":
        return write_zip(folder / "raw.zip", files)
    path = folder / f"raw.{kind}"
    with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def read(path: Path, **changed: str | tuple[str, ...]) -> Competition:
    return read_competition(open_source(path), data_params(path, **changed))


def refusal(path: Path, **changed: str | tuple[str, ...]) -> str:
    with pytest.raises(CompetitionError) as caught:
        read(path, **changed)
    return str(caught.value)


def labels(competition: Competition) -> dict[str, str]:
    """Return the label of each training file, in order."""
    return dict(zip(competition.train["file"], competition.train["label"], strict=True))


def of_test(competition: Competition) -> dict[str, str]:
    """Return the file of each test sample, in order."""
    return dict(zip(competition.test["sample_id"], competition.test["file"], strict=True))


def below(wrapper: str, files: Files) -> Files:
    return {wrapper + name: data for name, data in files.items()}


def csv(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def numbered(train: int, test: int) -> Files:
    """Return a competition whose ids are numbers without extension, the same ones in train and test."""
    files = {f"train/{number}.png": png(number) for number in range(1, train + 1)}
    files |= {f"test/{number}.png": png(100 + number) for number in range(1, test + 1)}
    files["trainLabels.csv"] = csv("id,label", *(f"{n},{'cat' if n % 2 else 'dog'}" for n in range(1, train + 1)))
    files["sampleSubmission.csv"] = csv("id,label", *(f"{n},cat" for n in range(1, test + 1)))
    return files


# Layouts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("kind", KINDS)
def test_gala(tmp_path: Path, kind: str, wrapper: str) -> None:
    """A folder and every archive, with and without a folder around everything, give the same samples."""
    path = pack(tmp_path, kind, below(wrapper, GALA))
    source = open_source(path)
    competition = read_competition(source, data_params(path))
    classes = ["Attire", "Food", "misc"]
    assert labels(competition) == {f"{wrapper}Train Images/image{n}.png": classes[n % 3] for n in range(12)}
    assert list(competition.train["sample_id"]) == [f"image{n}.png" for n in range(12)]
    assert of_test(competition) == {f"image{n}.png": f"{wrapper}Test Images/image{n}.png" for n in range(1000, 1004)}
    assert (competition.form.columns, competition.form.id_column) == (("Image", "Class"), "Image")
    assert (competition.problems, set(competition.train["group"])) == ([], {""})
    for name, data in GALA.items():
        assert source.read(wrapper + name) == data


def class_folders(train: str, test: str, classes: tuple[str, ...] = ("cat", "dog")) -> Files:
    """Return images in folders called like their classes, and test images some of which have the same names."""
    files = {f"{train}{label}/{n}.png": png(n) for label in classes for n in (1, 2)}
    return files | {f"{test}{n}.png": png(100 + n) for n in (1, 2, 10)}


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "unlisted"])
@pytest.mark.parametrize(
    ("train", "test"),
    [("train/", "test/"), ("", "test/"), ("Training Set/", "Test Set/"), ("train/train/", "test/test/")],
)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_class_folders(tmp_path: Path, wrapper: str, train: str, test: str, listed: bool) -> None:
    """The folders of train, or of the top, are the classes; the test images are those of test."""
    files = class_folders(train, test)
    if listed:
        files["sample_submission.csv"] = csv("name,kind", "10,cat", "2,cat", "1,cat")
    competition = read(pack(tmp_path, "zip", below(wrapper, files)))
    assert labels(competition) == {
        f"{wrapper}{train}{label}/{number}.png": label for label in ("cat", "dog") for number in (1, 2)
    }
    numbers = (10, 2, 1) if listed else (1, 10, 2)
    assert list(competition.test["file"]) == [f"{wrapper}{test}{number}.png" for number in numbers]
    assert competition.form.columns == (("name", "kind") if listed else ("id", "label"))
    assert competition.problems == []


@pytest.mark.parametrize("kind", KINDS)
def test_class_folders_in_every_kind(tmp_path: Path, kind: str) -> None:
    competition = read(pack(tmp_path, kind, class_folders("train/", "test/")))
    assert list(competition.train["label"]) == ["cat", "cat", "dog", "dog"]
    assert of_test(competition) == {f"{number}.png": f"test/{number}.png" for number in (1, 10, 2)}


@pytest.mark.parametrize("top", ["train/", ""])
@pytest.mark.parametrize("label", ["latest", "protest", "test bench"])
def test_class_called_like_a_split(tmp_path: Path, top: str, label: str) -> None:
    """A class whose name holds the word test is not the test folder."""
    competition = read(write_folder(tmp_path, class_folders(top, "test/", ("cat", label))))
    assert list(competition.train["label"]) == ["cat", "cat", label, label]
    assert of_test(competition) == {f"{number}.png": f"test/{number}.png" for number in (1, 10, 2)}


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("Test Images", "test"),
        ("test_stg1.zip", "test"),
        ("a/TestBilder", "test"),
        ("testing", "test"),
        ("tests", "test"),
        ("testimgs", "test"),
        ("test2019", "test"),
        ("train_val2019", "train"),
        ("TRAIN", "train"),
        ("trainImages", "train"),
        ("training data", "train"),
        ("trainset", "train"),
        ("trainval", "train"),
        ("latest", ""),
        ("000_Reptilia_Testudines_x", ""),
        ("trainers", ""),
        ("trains", ""),
        ("testé", ""),
        ("train and test", "train test"),
    ],
)
def test_folders_that_say_a_split(folder: str, split: str) -> None:
    assert " ".join(name for name in ("train", "test") if says(name, folder)) == split


def test_folders_that_say_nothing_but_a_split() -> None:
    tests = ["test", "test.zip", "test.tar.gz", "test_stg2", "Test Images", "testB", "test-jpg v2", "public_test"]
    assert [name for name in tests if not only_says("test", name)] == []
    assert [name for name in ("test bench", "latest", "set", "test_tube", "testé") if only_says("test", name)] == []


def test_classes_that_begin_like_a_split(tmp_path: Path) -> None:
    competition = read(write_folder(tmp_path, class_folders("", "test/", ("boots", "testudines", "trainers"))))
    assert sorted(set(competition.train["label"])) == ["boots", "testudines", "trainers"]
    assert of_test(competition) == {f"{number}.png": f"test/{number}.png" for number in (1, 10, 2)}


@pytest.mark.parametrize("folder", ["000_Reptilia_Testudines_x", "test bench"])
@pytest.mark.parametrize("test", ["test/", "data/new/test/"])
def test_folders_in_train_are_of_train(tmp_path: Path, folder: str, test: str) -> None:
    """Whatever they are called, where the test images lie elsewhere."""
    files = {f"train/{'cat' if n % 2 else folder}/{n}.png": png(n) for n in range(8)}
    listed = files | {f"{test}{n}.png": png(90 + n) for n in range(8)}
    listed["train.csv"] = csv("id,label", *(f"{n},{'ab'[n % 2]}" for n in range(8)))
    competition = read(write_folder(tmp_path / "listed", listed | {"sample_submission.csv": csv("id,label", "1,a")}))
    assert list(labels(competition)) == list(files)
    assert of_test(competition) == {"1": f"{test}1.png"}
    assert competition.problems == []
    unlisted = {name: data for name, data in listed.items() if not name.endswith("csv")}
    competition = read(write_folder(tmp_path / "unlisted", unlisted))
    assert set(competition.train["label"]) == {"cat", folder}
    assert list(competition.test["file"]) == [f"{test}{n}.png" for n in range(8)]


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize(
    ("test", "other"),
    [("test/", "test.zip/"), ("test_stg1/", "test_stg2/"), ("Test A/", "Test B/"), ("test/", "a/test/")],
)
def test_a_second_test_folder_is_no_class(tmp_path: Path, wrapper: str, test: str, other: str) -> None:
    files = below(wrapper, class_folders("", test))
    if other.endswith(".zip/"):
        again = write_zip(tmp_path / "test.zip", {f"{n}.png": png(100 + n) for n in (1, 2, 10)})
        files[wrapper + other.strip("/")] = again.read_bytes()
    else:
        files |= {f"{wrapper}{other}{n}.png": png(150 + n) for n in (1, 2)} | {f"{wrapper}test_old/": b""}
    path = write_folder(tmp_path / "raw", files)
    for train_folder in ("auto", wrapper.strip("/") or "."):
        competition = read(path, train_folder=train_folder)
        assert list(competition.train["label"]) == ["cat", "cat", "dog", "dog"]
        assert list(competition.test["file"]) == [f"{wrapper}{test}{number}.png" for number in (1, 10, 2)]
        assert competition.problems == []
        told = f"the images of {wrapper}{other.strip('/')}, which says test, are not used for training"
        assert told in competition.notes


@pytest.mark.parametrize("key", ["group_column", "fold_column", "weight_column"])
def test_columns_need_a_table(tmp_path: Path, key: str) -> None:
    """A column that the user names is not passed over where the labels stand in no table."""
    path = write_folder(tmp_path, class_folders("train/", "test/"))
    told = refusal(path, **{key: "patient"})
    assert f"data.{key} is 'patient', and the labels of {path} stand in no table" in told
    assert f"set data.train_table to it, or data.{key} to none" in told
    assert len(read(path, **{key: "none"}).train) == 4


@pytest.mark.parametrize(("train", "test"), [(8, 10), (10, 8), (8, 8)])
def test_ids_that_both_splits_use(tmp_path: Path, train: int, test: int) -> None:
    """An id without extension means the image of its own split."""
    competition = read(pack(tmp_path, "zip", numbered(train, test)))
    assert list(labels(competition)) == [f"train/{number}.png" for number in range(1, train + 1)]
    assert of_test(competition) == {str(number): f"test/{number}.png" for number in range(1, test + 1)}
    assert competition.problems == []


def test_ids_that_both_splits_use_without_a_training_image(tmp_path: Path) -> None:
    """An image that is missing in train is not sought in test."""
    files = numbered(8, 10)
    del files["train/3.png"]
    competition = read(pack(tmp_path, "zip", files))
    assert list(labels(competition)) == [f"train/{number}.png" for number in (1, 2, 4, 5, 6, 7, 8)]
    assert len(competition.problems) == 1
    assert "'3' has no image in train" in competition.problems[0]


def test_ids_that_both_splits_use_without_a_test_image(tmp_path: Path) -> None:
    """An image that is missing in test is not sought in train."""
    files = numbered(10, 8)
    del files["test/3.png"]
    competition = read(pack(tmp_path, "zip", files))
    assert of_test(competition) == {str(n): f"test/{n}.png" if n != 3 else "" for n in range(1, 9)}
    assert list(competition.test["problem"]) == [MISSING if n == 3 else "" for n in range(1, 9)]
    assert list(labels(competition)) == [f"train/{number}.png" for number in range(1, 11)]


def test_ids_that_both_splits_use_with_images_that_no_table_names(tmp_path: Path) -> None:
    """Unlisted test images do not send the listed ids to train; that they are not used is told."""
    files = numbered(8, 10)
    files["sampleSubmission.csv"] = csv("id,label", "1,cat", "2,cat", "3,cat", "4,cat")
    competition = read(pack(tmp_path, "zip", files))
    assert of_test(competition) == {str(number): f"test/{number}.png" for number in range(1, 5)}
    assert competition.problems == []
    assert "6 images in test have no row in any table, first test/5.png: not used" in competition.notes


def test_both_splits_in_one_folder(tmp_path: Path) -> None:
    files = {name.replace("Train Images", "all").replace("Test Images", "all"): GALA[name] for name in GALA}
    competition = read(write_folder(tmp_path, files))
    assert list(labels(competition)) == [f"all/image{number}.png" for number in range(12)]
    assert list(of_test(competition).values()) == [f"all/image{number}.png" for number in range(1000, 1004)]
    assert competition.problems == []


def test_both_splits_in_folders_that_could_be_either(tmp_path: Path) -> None:
    """Where nothing tells which folder the ids mean, the training images do not become the test images."""
    files = {name.replace("train/", "a/").replace("test/", "b/"): data for name, data in numbered(8, 8).items()}
    path = write_folder(tmp_path, files)
    told = refusal(path)
    assert "data.train_folder" in told
    assert "data.test_folder" in told
    competition = read(path, train_folder="a", test_folder="b")
    assert of_test(competition) == {str(number): f"b/{number}.png" for number in range(1, 9)}


@pytest.mark.parametrize(
    ("pictures", "masks"), [("images", "masks"), ("img", "labels"), ("a", "TrainMasks"), ("faces", "train_annotations")]
)
def test_masks_beside_the_images(tmp_path: Path, pictures: str, masks: str) -> None:
    """Files called like the images that only go with them are not taken, nor where they are more or fewer."""
    files = numbered(20, 4)
    for n in range(1, 21):
        files |= {f"train/{pictures}/{n}.png": files.pop(f"train/{n}.png"), f"train/{masks}/{n}.png": png(200)}
    competition = read(write_folder(tmp_path / "equal", files))
    assert list(labels(competition)) == [f"train/{pictures}/{n}.png" for n in range(1, 21)]
    competition = read(write_folder(tmp_path / "more", files | {f"train/{pictures}/x.png": png(99)}))
    assert list(labels(competition)) == [f"train/{pictures}/{n}.png" for n in range(1, 21)]
    del files[f"train/{pictures}/7.png"]
    competition = read(write_folder(tmp_path / "fewer", files))
    assert competition.problems == [f"trainLabels.csv: '7' has no image in train/{pictures}"]


@pytest.mark.parametrize("kind", KINDS)
def test_junk(tmp_path: Path, kind: str) -> None:
    """What file managers leave behind is no sample, no class and no table."""
    junk = ["__MACOSX/Train Images/._image0.png", "__MACOSX/._train.csv", ".DS_Store", "._train.csv",
            "Train Images/.DS_Store", "Train Images/._image0.png"]  # fmt: skip
    source = open_source(pack(tmp_path, kind, dict.fromkeys(junk, b"junk") | GALA))
    assert sorted(source.files) == sorted(GALA)
    assert source.folders == ("Test Images", "Train Images")
    assert read_competition(source, data_params(source.path)).problems == []


# Names ------------------------------------------------------------------------------------------------------------

ODD = ["7", "007", "0", "1e5", "1.0", "-1", "NA", "nan", "None", "null", "True", "inf"]


def test_odd_ids_and_labels(tmp_path: Path) -> None:
    """Every id and label stays exactly the text it was."""
    files = {f"train/{name}.png": png() for name in ODD} | {f"test/{name}.png": png() for name in ODD}
    files["train.csv"] = csv("id,label", *(f"{name},{label}" for name, label in zip(ODD, ODD[::-1], strict=True)))
    files["sample_submission.csv"] = csv("id,label", *(f"{name},0" for name in ODD))
    competition = read(pack(tmp_path, "zip", files))
    assert labels(competition) == {f"train/{name}.png": label for name, label in zip(ODD, ODD[::-1], strict=True)}
    assert of_test(competition) == {name: f"test/{name}.png" for name in ODD}
    assert competition.problems == []


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("header", ["id,digit", "digit,id"])
def test_labels_that_are_ids_too(tmp_path: Path, header: str, missing: bool) -> None:
    """The id column is the one that names all the images, not the one whose few values happen to be names."""
    files = {f"train/{number}.png": png(number) for number in range(12) if number != 11 or not missing}
    files |= {f"test/{number}.png": png(number) for number in range(12, 15)}
    rows = [f"{n},{n % 3}" if header == "id,digit" else f"{n % 3},{n}" for n in range(12)]
    files |= {"train.csv": csv(header, *rows), "test.csv": csv("id", "12", "13", "14")}
    competition = read(pack(tmp_path, "zip", files))
    assert competition.chosen["id_column"].value == "id"
    assert labels(competition) == {f"train/{n}.png": str(n % 3) for n in range(11 if missing else 12)}


@pytest.mark.parametrize(("digits", "ending"), [(1, ".png"), (3, ".png"), (1, ""), (3, "")])
@pytest.mark.parametrize("counter", ["", "index", "Unnamed: 0", "no", "id"])
def test_row_numbers_are_no_images(tmp_path: Path, counter: str, digits: int, ending: str) -> None:
    """Where images are numbers, the column that counts the rows names them all too, and others."""
    names = [f"{number:0{digits}}" for number in (7, 3, 1, 9, 0, 4, 8, 2, 6, 5)]
    files = {f"train/{name}.png": png(int(name)) for name in names}
    files |= {f"test/{number}.png": png(90 + number) for number in (10, 11)}
    lines = [f"{row},{name}{ending},{'ab'[int(name) % 2]}" for row, name in enumerate(names)]
    files["train.csv"] = csv(f"{counter},image,label", *lines)
    competition = read(write_folder(tmp_path, files))
    assert competition.chosen["file_column"].value == "image"
    assert [(file, label) for file, label in labels(competition).items()] == [
        (f"train/{name}.png", "ab"[int(name) % 2]) for name in names
    ]


def test_row_numbers_that_name_more_images(tmp_path: Path) -> None:
    """An image that is missing does not make them the images' names."""
    numbers = [7, 3, 1, 12, 9, 0, 4, 8, 2, 6, 5]
    files = {f"train/{n}.png": png(n) for n in range(11)} | {f"test/{n}.png": png(90 + n) for n in (13, 14)}
    for counter in ("index", "no"):
        files["train.csv"] = csv(
            f"{counter},image,label", *(f"{i},{n}.png,{'ab'[n % 2]}" for i, n in enumerate(numbers))
        )
        competition = read(write_folder(tmp_path / counter, files))
        assert list(labels(competition)) == [f"train/{n}.png" for n in numbers if n != 12]
        assert competition.problems == ["train.csv: '12.png' has no image in train"]


def test_row_numbers_are_no_test_ids(tmp_path: Path) -> None:
    files = {name: data for name, data in numbered(8, 8).items() if name != "sampleSubmission.csv"}
    files["test.csv"] = csv(",id", "1,3", "2,1", "3,8", "4,2")
    competition = read(write_folder(tmp_path, files))
    assert of_test(competition) == {number: f"test/{number}.png" for number in "3182"}
    files["sampleSubmission.csv"] = csv(",id,label", "1,3,cat", "2,1,cat", "3,8,cat", "4,2,cat")
    competition = read(write_folder(tmp_path, files))
    assert of_test(competition) == {number: f"test/{number}.png" for number in "3182"}


def test_an_id_that_counts_up_is_one(tmp_path: Path) -> None:
    """A value that happens to name an image for each row does not take its place."""
    files = numbered(8, 8)
    files["trainLabels.csv"] = csv("id,score", *(f"{n},{9 - n}" for n in range(1, 9)))
    for sample in ("id,score", "Id,score", "image,score"):
        files["sampleSubmission.csv"] = csv(sample, *(f"{n},0.5" for n in range(1, 9)))
        competition = read(write_folder(tmp_path / sample, files), task="regression", metric="rmse")
        assert labels(competition) == {f"train/{n}.png": str(9 - n) for n in range(1, 9)}


NAMES = ["Straße 1.png", "Été à Paris.png", "Ωmega.png", "写 真.png"]


def foreign(form: str, ids: str) -> Files:
    """Return a competition with names of many scripts, those of files and those of ids each in a Unicode form."""
    files = {unicodedata.normalize(form, f"Bilder für Übung/{name}"): png(n) for n, name in enumerate(NAMES)}
    files |= {unicodedata.normalize(form, f"Prüfung/Ä {name}"): png(90 + n) for n, name in enumerate(NAMES)}
    rows = [f"{name},{'Käse' if n % 2 else 'Brot'}" for n, name in enumerate(NAMES)]
    files["train.csv"] = unicodedata.normalize(ids, "\n".join(["Bild,Klasse", *rows, ""])).encode()
    files["test.csv"] = unicodedata.normalize(ids, "\n".join(["Bild", *(f"Ä {name}" for name in NAMES), ""])).encode()
    return files


@pytest.mark.parametrize("ids", ["NFC", "NFD"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("kind", KINDS)
def test_foreign_names(tmp_path: Path, kind: str, form: str, ids: str) -> None:
    """Spaces and letters of any script match, in either Unicode form; the id stays as the table writes it."""
    files = foreign(form, ids)
    path = pack(tmp_path, kind, files)
    source = open_source(path)
    competition = read_competition(source, data_params(path))
    assert list(competition.train["sample_id"]) == [unicodedata.normalize(ids, name) for name in NAMES]
    assert [source.read(file) for file in competition.train["file"]] == [png(n) for n in range(4)]
    assert [source.read(file) for file in competition.test["file"]] == [png(90 + n) for n in range(4)]
    assert competition.problems == []


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_folders_with_foreign_names_can_be_set(tmp_path: Path, form: str) -> None:
    """A folder is found by the name params.yaml gives it, whatever the Unicode form of either."""
    path = pack(tmp_path, "zip", foreign(form, "NFC"))
    competition = read(path, train_folder="Bilder für Übung", test_folder="Prüfung")
    assert (len(competition.train), len(competition.test), competition.problems) == (4, 4, [])


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_classes_are_called_alike_in_either_form(tmp_path: Path, form: str) -> None:
    """A class that is a folder has the name the submission wants, however the archive writes its accents."""
    names = [f"train/{name}" for name in ("Käse/1.png", "Käse/2.png", "Brot/3.png")] + ["test/4.png"]
    competition = read(pack(tmp_path, "zip", {unicodedata.normalize(form, name): png() for name in names}))
    assert sorted(set(competition.train["label"])) == ["Brot", "Käse"]


@pytest.mark.parametrize("encoding", ["utf-8", "cp437"])
def test_zip_that_does_not_tell_its_encoding(tmp_path: Path, encoding: str) -> None:
    """Names in UTF-8 without the flag, as macOS writes them, and names in the old code page."""
    written, length = "Élan ü.png", len("Élan ü.png".encode(encoding))
    files = {f"train/{'#' * length}": png(1), "train/b.png": png(2), "test/c.png": png(3)}
    files |= {"train.csv": csv("id,label", f"{written},x", "b.png,y"), "test.csv": csv("id", "c.png")}
    path = write_zip(tmp_path / "raw.zip", files)
    path.write_bytes(path.read_bytes().replace(b"#" * length, written.encode(encoding)))
    competition = read(path)
    assert labels(competition) == {f"train/{written}": "x", "train/b.png": "y"}
    assert open_source(path).read(f"train/{written}") == png(1)


# Tables -----------------------------------------------------------------------------------------------------------


def rewritten(train: bytes) -> dict[str, bytes]:
    """Return the same table as different programs write it."""
    lines = train.decode().splitlines()
    quoted = [",".join(f'"{cell}"' for cell in line.split(",")) for line in lines]
    return {
        "BOM": b"\xef\xbb\xbf" + train,
        "CRLF": train.replace(b"\n", b"\r\n"),
        "BOM and CRLF": b"\xef\xbb\xbf" + train.replace(b"\n", b"\r\n"),
        "quoted": csv(*quoted),
        "BOM and quoted": b"\xef\xbb\xbf" + csv(*quoted),
        "trailing comma": csv(lines[0], *(f"{line}," for line in lines[1:])),
        "trailing comma, also in the header": csv(*(f"{line}," for line in lines)),
        "no last newline": train.rstrip(b"\n"),
        "empty last lines": train + b"\n\n",
    }


@pytest.mark.parametrize("written", rewritten(GALA["train.csv"]))
def test_table_as_programs_write_it(tmp_path: Path, written: str) -> None:
    plain = labels(read(write_folder(tmp_path / "plain", GALA)))
    files = GALA | {name: rewritten(GALA[name])[written] for name in ("train.csv", "test.csv")}
    competition = read(write_folder(tmp_path / "raw", files))
    assert labels(competition) == plain
    assert len(competition.test) == 4
    assert (competition.form.columns, competition.problems) == (("Image", "Class"), [])


def test_quoted_cells(tmp_path: Path) -> None:
    """A comma, a quote and a line break inside quotes belong to the cell."""
    files = GALA | {"train.csv": b'Image,Class\nimage0.png,"Food, ""hot"""\nimage1.png,"two\nlines"\n'}
    competition = read(write_folder(tmp_path, files))
    assert list(competition.train["label"]) == ['Food, "hot"', "two\nlines"]


@pytest.mark.parametrize("line", [1, 5])
def test_unquoted_comma(tmp_path: Path, line: int) -> None:
    """A row with more cells than the header is refused with its line, never cut."""
    lines = GALA["train.csv"].decode().splitlines()
    lines[line] += ", drinks"
    told = refusal(write_folder(tmp_path, GALA | {"train.csv": csv(*lines)}))
    assert "train.csv" in told
    assert f"line {line + 1}" in told


def test_row_that_is_too_short(tmp_path: Path) -> None:
    lines = GALA["train.csv"].decode().splitlines()
    lines[3] = "image2.png"
    told = refusal(write_folder(tmp_path, GALA | {"train.csv": csv(*lines)}))
    assert "train.csv" in told
    assert "line 4 has fewer cells" in told


def test_order_of_test_samples(tmp_path: Path) -> None:
    """The sample submission's order, without one the test table's, without either that of the sorted files."""
    files = GALA | {
        "sample_submission.csv": csv("Kind,Name", "x,image1002", "x,image1000", "x,image1003", "x,image1001"),
        "test.csv": csv("Image", "image1003.png", "image1001.png", "image1000.png", "image1002.png"),
    }
    path = write_folder(tmp_path, files)
    competition = read(path)
    assert list(competition.test["sample_id"]) == ["image1002", "image1000", "image1003", "image1001"]
    assert (competition.form.columns, competition.form.id_column) == (("Kind", "Name"), "Name")
    competition = read(path, sample_submission="none")
    assert list(competition.test["sample_id"]) == ["image1003.png", "image1001.png", "image1000.png", "image1002.png"]
    assert competition.form.columns == ("Image", "Class")
    competition = read(path, sample_submission="none", test_table="none")
    assert list(competition.test["sample_id"]) == ["image1000.png", "image1001.png", "image1002.png", "image1003.png"]
    assert (competition.form.columns, competition.form.id_column) == (("Image", "Class"), "Image")


@pytest.mark.parametrize(
    ("column", "setting", "grouped"),
    [("group", "auto", True), ("patient", "patient", True), ("group", "none", False)],
)
def test_group_column(tmp_path: Path, column: str, setting: str, grouped: bool) -> None:
    lines = GALA["train.csv"].decode().splitlines()
    rows = [f"{line},p{number // 4}" for number, line in enumerate(lines[1:])]
    path = write_folder(tmp_path, GALA | {"train.csv": csv(f"{lines[0]},{column}", *rows)})
    competition = read(path, group_column=setting)
    assert list(competition.train["group"]) == [f"p{n // 4}" if grouped else "" for n in range(12)]
    assert list(competition.train["label"])[:3] == ["Attire", "Food", "misc"]


# What params.yaml says --------------------------------------------------------------------------------------------


@pytest.fixture
def doubled(tmp_path: Path) -> Path:
    """A competition that has two of everything."""
    files: Files = {}
    for size, shade in (("full", 50), ("small", 100)):
        files |= {f"{size}/{number}.png": png(shade + number) for number in range(6)}
        files |= {f"hidden-{size}/{number}.png": png(shade + number) for number in range(6, 9)}
    files["labels-a.csv"] = csv("image,copy,coarse,fine", *(f"{n},{5 - n},c{n % 2},f{n % 3}" for n in range(6)))
    files["labels-b.csv"] = csv("image,copy,coarse,fine", *(f"{n},{5 - n},C{n % 2},F{n % 3}" for n in range(6)))
    files |= {"test-a.csv": csv("image", "6", "7"), "test-b.csv": csv("image", "8")}
    files |= {"sample-a.csv": csv("image,kind", "7,", "6,"), "sample-b.csv": csv("image,sort", "8,")}
    return write_folder(tmp_path, files)


@pytest.mark.parametrize("size", ["full", "small"])
@pytest.mark.parametrize("table", ["a", "b"])
def test_what_is_set_is_used(doubled: Path, size: str, table: str) -> None:
    competition = read(
        doubled, train_table=f"labels-{table}.csv", test_table=f"test-{table}.csv", sample_submission="none",
        train_folder=size, test_folder=f"hidden-{size}", id_column="image", label_column="coarse", group_column="fine",
    )  # fmt: skip
    small = table == "a"
    assert labels(competition) == {f"{size}/{n}.png": f"{'c' if small else 'C'}{n % 2}" for n in range(6)}
    assert list(competition.train["group"]) == [f"{'f' if small else 'F'}{n % 3}" for n in range(6)]
    assert of_test(competition) == {n: f"hidden-{size}/{n}.png" for n in (("6", "7") if small else ("8",))}
    assert competition.form.columns == ("image", "coarse")


def test_other_columns_and_the_submission_can_be_set(doubled: Path) -> None:
    competition = read(
        doubled, train_table="labels-a.csv", test_table="none", sample_submission="sample-a.csv",
        train_folder="small", test_folder="hidden-full", id_column="copy", label_column="fine",
    )  # fmt: skip
    assert labels(competition) == {f"small/{5 - n}.png": f"f{n % 3}" for n in range(6)}
    assert of_test(competition) == {"7": "hidden-full/7.png", "6": "hidden-full/6.png"}
    assert competition.form.columns == ("image", "kind")


def test_class_folders_beside_a_table_can_be_set(tmp_path: Path) -> None:
    files = class_folders("photos/", "test/") | {"names.csv": csv("file,remark", "1,x", "2,y")}
    competition = read(write_folder(tmp_path, files), train_table="none", train_folder="photos")
    assert sorted(set(competition.train["label"])) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("train_table", "train.csv"),
        ("test_table", "test.csv"),
        ("sample_submission", "test.csv"),
        ("train_folder", "'Train Images'"),
        ("test_folder", "'Test Images'"),
        ("id_column", "['Image', 'Class']"),
        ("label_column", "['Image', 'Class']"),
        ("group_column", "['Image', 'Class']"),
    ],
)
def test_wrong_setting(tmp_path: Path, key: str, found: str) -> None:
    """A name that is not there is refused with itself, where to set it, and what is there."""
    told = refusal(write_folder(tmp_path, GALA), **{key: "Nonesuch"})
    assert "Nonesuch" in told
    assert found in told
    assert "data." in told


@pytest.mark.parametrize(
    ("extra", "key"),
    [
        ({"train_2.csv": "train.csv"}, "data.train_table"),
        ({"test_ids.csv": "test.csv"}, "data.test_table"),
        ({"sample_submission.csv": "test.csv", "sample_2.csv": "test.csv"}, "data.sample_submission"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_several_candidates(tmp_path: Path, extra: dict[str, str], key: str) -> None:
    """Tables that could each be the one are refused by name, with the setting that chooses."""
    path = write_folder(tmp_path, GALA | {name: GALA[same] for name, same in extra.items()})
    told = refusal(path)
    assert key in told
    assert all(name in told for name in extra)


def test_several_tables_of_labels(tmp_path: Path) -> None:
    files = {name: data for name, data in GALA.items() if name != "train.csv"}
    path = write_folder(tmp_path, files | {"labels.csv": GALA["train.csv"], "more.csv": GALA["train.csv"]})
    told = refusal(path)
    assert "labels.csv, more.csv" in told
    assert "data.train_table" in told
    assert len(read(path, train_table="more.csv").train) == 12


def test_tables_of_labels_with_other_columns(tmp_path: Path) -> None:
    """Of tables that are one in pieces, only what all of them hold is read."""
    half = {"more/a.png": png(1), "more/b.png": png(2)}
    half["more.csv"] = csv("Class,Image,by", "Food,a.png,x", "misc,b.png,y")
    joined = read(write_folder(tmp_path / "more", GALA | half), train_table=("train.csv", "more.csv"))
    assert list(joined.train["label"])[-2:] == ["Food", "misc"]
    assert "columns by: in some tables of labels: not used" in joined.notes
    told = refusal(tmp_path / "more", train_table=("train.csv", "test.csv"))
    assert "train.csv and test.csv share the columns ['Image'] of ['Image', 'Class']" in told
    assert "correct data.train_table" in told


@pytest.mark.parametrize("key", ["group_column", "fold_column", "weight_column"])
def test_the_label_taken_for_something_else(tmp_path: Path, key: str) -> None:
    told = refusal(write_folder(tmp_path, GALA), **{key: "Class"})
    assert f"has the columns ['Image', 'Class'], of which data.{key} takes 'Class'; set data.label_column" in told


def test_several_label_columns(doubled: Path) -> None:
    told = refusal(doubled, train_table="labels-a.csv", test_table="none", sample_submission="none", id_column="image")
    assert "['image', 'copy', 'coarse', 'fine']" in told
    assert "data.label_column" in told


def test_source_crosses_processes(tmp_path: Path) -> None:
    """A source can be sent to a worker process, and reads the same there."""
    for kind in KINDS:
        source = open_source(pack(tmp_path, kind, GALA))
        sent: Source = pickle.loads(pickle.dumps(source))
        assert sent.files == source.files
        assert sent.read("train.csv") == GALA["train.csv"]


def test_sample_submission_that_shows_a_few_rows_only(tmp_path: Path) -> None:
    """Its columns are the submission's, the rows are those of test.csv."""
    files = gala() | {"sample_submission.csv": b"Name,Kind\nimage1002.png,x\nimage1000.png,x\n"}
    competition = read(write_folder(tmp_path, files))
    assert list(competition.test["sample_id"]) == [f"image{1000 + number}.png" for number in range(4)]
    assert competition.form.columns == ("Name", "Kind")
    assert competition.problems == []
    assert "the rows of the submission are those of test.csv" in competition.notes


def test_sample_submission_of_other_images_than_the_test_table(tmp_path: Path) -> None:
    files = gala() | {"Test Images/x.png": png(), "sample_submission.csv": b"Name,Kind\nimage1002.png,x\nx.png,x\n"}
    with pytest.raises(CompetitionError, match=r"not the same; set data\.test_table to none if"):
        read(write_folder(tmp_path, files))


def test_many_contradictions_take_linear_time() -> None:
    """Eight times the rows may take some sixteen times as long, not sixty-four."""
    seconds = []
    for count in (1000, 8000):
        names = [f"{number}.png" for number in range(count)]
        rows = [f"{name},{label}" for name in names for label in "ab"] + ["t.png,a", "u.png,b"]
        table = "\n".join(["id,label", *rows]).encode()
        files = (*(f"train/{name}" for name in [*names, "t.png", "u.png"]), "test/1.png", "train.csv")
        source = Source(Path("made-up"), files, ("train", "test"), lambda name, table=table: table)
        start = time.perf_counter()
        assert len(read_competition(source, data_params(Path("made-up"))).problems) == count
        seconds.append(time.perf_counter() - start)
    assert seconds[1] < 24 * seconds[0]


def test_many_tables_take_linear_time() -> None:
    """Some 30 ms; as each was compared with all before it, whenever they were asked for, 75 s."""
    names = tuple(f"{number}/{file}" for number in range(1000) for file in ("boxes.csv", f"boxes-{number}.csv"))
    cells = {name: csv("x,y", f"{number // 2},b", *["1,2"] * (number % 3)) for number, name in enumerate(names)}
    cells["999/boxes.csv"] = cells["0/boxes.csv"]
    tables = Tables(Source(Path("made-up"), names, (), cells.__getitem__), ImageIndex(["a.png"]))
    for name in names:
        tables.get(name)
    start = time.process_time()
    for _ in range(5):
        assert tables.good(names) == [name for name in names if name != "999/boxes.csv"]
    assert time.process_time() - start < 2
    assert tables.good(["999/boxes.csv", "0/boxes.csv"]) == ["999/boxes.csv"]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    elsewhere = write_folder(tmp_path / "disk", {"a/1.png": png(), "b/2.png": png()})
    root = write_folder(tmp_path / "root", {"test/3.png": png()})
    (root / "train").symlink_to(elsewhere)
    (root / "train" / "a" / "round").symlink_to(elsewhere)
    assert open_source(root).files == ("test/3.png", "train/a/1.png", "train/b/2.png")


# How sure it is ---------------------------------------------------------------------------------------------------


def test_two_columns_of_images_that_could_both_be_meant_are_a_guess(tmp_path: Path) -> None:
    files = numbered(4, 2) | {f"train/r{n}.png": png(50 + n) for n in range(1, 5)}
    rows = [f"{n}.png,r{n}.png,{'cat' if n % 2 else 'dog'}" for n in range(1, 5)]
    root = write_folder(tmp_path, files | {"trainLabels.csv": csv("left,right,label", *rows)})
    chosen = read(root).chosen
    assert (chosen["id_column"].value, chosen["id_column"].surety) == ("left", "guess")
    assert "'right' could be it as well" in chosen["file_column"].why
    assert chosen["train_folder"].surety == "sure"
    assert read(root, file_column="right").chosen["file_column"].surety == "given"


@pytest.mark.parametrize("names", [("name", "copy"), ("id", "image")], ids=["the same names", "other names"])
def test_a_second_column_of_the_images_that_decides_nothing_leaves_it_sure(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    files = numbered(4, 2)
    second = "" if "copy" in names else ".png"
    rows = [f"{n},{n}{second},{'cat' if n % 2 else 'dog'}" for n in range(1, 5)]
    root = write_folder(tmp_path, files | {"trainLabels.csv": csv(f"{','.join(names)},label", *rows)})
    assert read(root).chosen["file_column"].surety == "sure"


def test_two_folders_of_images_of_the_same_names_are_a_guess(tmp_path: Path) -> None:
    files = numbered(4, 2)
    for split in ("train", "test"):
        files |= {f"{kind}/{name}": data for kind in ("near", "rgb") for name, data in files.items()
                  if name.startswith(split)}  # fmt: skip
    files = {name: data for name, data in files.items() if not name.startswith(("train/", "test/"))}
    root = write_folder(tmp_path, files)
    found = read(root)
    for split in ("train", "test"):
        chosen = found.chosen[f"{split}_folder"]
        assert (chosen.value, chosen.surety) == (f"rgb/{split}", "guess")
        assert chosen.why.endswith(f"so does near/{split}")
    assert found.chosen["id_column"].surety == "sure"
    assert read(root, train_folder="near/train").chosen["train_folder"].surety == "given"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b"id,label\n", b'id,"la\rbel"\n', r"the column 'la\\rbel' holds a carriage return"),
        (b"cat", b'"c\rat"', r"the class 'c\\rat' holds a carriage return"),
        (b"2,", b'"\r2",', r"the id '\\r2' holds a carriage return"),
    ],
)
def test_a_carriage_return_is_refused(tmp_path: Path, old: bytes, new: bytes, told: str) -> None:
    """Python writes it into a CSV file without quotes, and no reader takes it for a part of its cell."""
    files = numbered(4, 2)
    files |= {name: files[name].replace(old, new) for name in ("trainLabels.csv", "sampleSubmission.csv")}
    assert re.search(told, refusal(write_folder(tmp_path, files)))


def test_two_test_folders_that_no_table_lists_are_a_guess(tmp_path: Path) -> None:
    files = {name: data for name, data in numbered(4, 2).items() if not name.startswith("test/")}
    del files["sampleSubmission.csv"]
    files |= {f"{kind}_test/{n}.png": png(100 + n) for kind, n in (("private", 1), ("public", 2))}
    root = write_folder(tmp_path, files)
    found = read(root).chosen["test_folder"]
    assert (found.value, found.surety, found.why) == (
        "private_test", "guess", "holds 1 image; public_test could be it as well"
    )  # fmt: skip
    assert read(root, test_folder="public_test").chosen["test_folder"].surety == "given"


def test_the_column_whose_values_the_submission_shows_is_the_label(tmp_path: Path) -> None:
    """As in Happywhale: species is called like a label, and individuals are wanted."""
    files = numbered(8, 2)
    rows = [f"{n},{'whale' if n % 2 else 'dolphin'},{n % 3}a{n % 3}" for n in range(1, 9)]
    files["trainLabels.csv"] = csv("id,species,individual_id", *rows)
    files["sampleSubmission.csv"] = csv("id,predictions", "1,0a0 1a1 2a2", "2,0a0 1a1 2a2")
    found = read(write_folder(tmp_path / "shown", files))
    assert (found.chosen["label_column"].value, found.chosen["label_column"].surety) == ("individual_id", "sure")
    assert (found.form.kind, found.classes) == ("ranking", ("0a0", "1a1", "2a2"))
    files["sampleSubmission.csv"] = csv("id,predictions", "1,x y", "2,x y")
    found = read(write_folder(tmp_path / "unknown", files))
    assert (found.chosen["label_column"].value, found.chosen["submission"].surety) == ("species", "guess")
    assert any("shows 'x y', which is no class" in note for note in found.notes)
    files["trainLabels.csv"] = csv("id,category", *(f"{n},{n % 3}" for n in range(1, 9)))
    files["sampleSubmission.csv"] = csv("id,category", "1,177", "2,35")  # drawn, as in iWildCam 2020
    assert read(write_folder(tmp_path / "drawn", files)).chosen["submission"].surety == "likely"


def test_a_group_that_only_train_has_is_not_surely_the_label(tmp_path: Path) -> None:
    """As in ISIC 2019: metadata beside the labels, with the lesion in train only."""
    files = {name: data for name, data in numbered(8, 2).items() if not name.endswith(".csv")}
    files["Training_Labels.csv"] = csv("image,MEL,NV", *(f"{n},{n % 2}.0,{1 - n % 2}.0" for n in range(1, 9)))
    files["Training_Metadata.csv"] = csv("image,age,lesion_id", *(f"{n},5{n},L{n // 2}" for n in range(1, 9)))
    files["Test_Metadata.csv"] = csv("image,age", "1,51", "2,52")
    root = write_folder(tmp_path, files)
    found = read(root)
    assert (found.chosen["train_table"].value, found.classes) == ("Training_Labels.csv", ("MEL", "NV"))
    alone = read(root, train_table="Training_Metadata.csv").chosen["label_column"]
    assert (alone.value, alone.surety) == ("lesion_id", "guess")


def test_flags_that_the_test_table_has_too(tmp_path: Path) -> None:
    """As Roboflow exports them: a table of the same columns in the folder of each split."""
    files = {name: data for name, data in numbered(4, 2).items() if not name.endswith(".csv")}
    files["train/_classes.csv"] = csv("filename, cat, dog", *(f"{n}.png, {n % 2}, {int(n > 2)}" for n in range(1, 5)))
    files["test/_classes.csv"] = csv("filename, cat, dog", "1.png, 0, 1", "2.png, 1, 0")
    found = read(write_folder(tmp_path, files))
    assert (found.task, found.chosen["label_column"].surety) == ("multilabel", "guess")


def test_a_benchmark_is_a_sample_submission(tmp_path: Path) -> None:
    """And no piece of the training table, whose columns it has."""
    files = numbered(4, 2)
    files["all_cats_benchmark.csv"] = files.pop("sampleSubmission.csv").replace(b"1,", b"7,").replace(b"2,", b"8,")
    files |= {f"test/{n}.png": png(100 + n) for n in (7, 8)}
    found = read(write_folder(tmp_path, files))
    assert (found.chosen["train_table"].value, len(found.train)) == ("trainLabels.csv", 4)
    assert list(found.test["sample_id"]) == ["7", "8"]


def test_a_table_whose_label_column_nothing_tells_is_named(tmp_path: Path) -> None:
    files = numbered(4, 2)
    del files["trainLabels.csv"]
    files["Entries.csv"] = csv("Image Index,Finding,View", *(f"{n}.png,{'ab'[n % 2]},PA" for n in range(1, 5)))
    files["sampleSubmission.csv"] = csv("id,answer", "1,0", "2,0")
    told = refusal(write_folder(tmp_path, files))
    assert told.endswith(
        "; Entries.csv names images: if it holds their labels, set data.label_column to one of its columns"
    )
    assert read(tmp_path, label_column="Finding").classes == ("a", "b")


def test_groups_in_another_table_are_told(tmp_path: Path) -> None:
    """As at DrivenData: the site stands beside the file, in another table than the labels."""
    files = numbered(12, 2)
    files["train_features.csv"] = csv("id,filepath,site", *(f"{n},train/{n}.png,S{n // 2}" for n in range(1, 13)))
    found = read(write_folder(tmp_path, files), train_table="trainLabels.csv")
    assert found.chosen["group_column"].value == "none"
    assert any("train_features.csv has the column 'site'" in note for note in found.notes)
