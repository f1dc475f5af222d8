"""Read a competition's files: which images are samples of which split, their labels, and what is wrong with them."""

from dataclasses import dataclass, field
from pathlib import PurePosixPath

import pandas as pd

from competition.errors import SHOWN_SAMPLES, CompetitionError, MistakesError
from competition.params import DataParams
from competition.raw.matching import ImageIndex, Match, is_in, says
from competition.raw.sources import ARCHIVES, IMAGES, Source, list_images, normal
from competition.raw.tables import read_table, role, table_names

LABEL_NAMES = ("label", "class", "target", "category")
MISSING = "the competition lists it, and there is no image for it"


@dataclass(frozen=True)
class Competition:
    """A competition as its files tell it.

    Attributes:
        train: columns sample_id, label, group, file; the samples with nothing wrong, in the order of the table, or
            sorted by file where folders are the classes.
        test: columns sample_id, file, problem; every sample the submission must hold, in its order. A sample that has
            no image has an empty ``file`` and a ``problem``.
        columns: the submission's columns.
        id_column: the one of ``columns`` that names the sample.
        chosen: what was found where ``params.yaml`` says auto.
        problems: what is wrong, a line each.
        grouped: whether ``group`` holds anything.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    columns: tuple[str, str]
    id_column: str
    chosen: dict[str, str]
    problems: list[str]
    grouped: bool


@dataclass
class _Reader:
    """What the parts of the reading share."""

    source: Source
    params: DataParams
    index: ImageIndex
    chosen: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_competition(source: Source, params: DataParams) -> Competition:
    """Match a competition's tables and folders to its images.

    Raises:
        CompetitionError: there is nothing to choose from, or more than one choice.
    """
    images = list_images(source)
    if not images:
        raise CompetitionError(_no_images(source))
    reader = _Reader(source, params, ImageIndex(images))
    tables = _choose_tables(reader)
    train, label_name, id_name = _read_train(reader, tables["train_table"])
    test, columns, id_column = _read_test(reader, tables, label_name, id_name)
    _check_apart(reader, train, test)
    _find_unlisted(reader, train, test)
    train = _without_problems(reader, train)
    return Competition(
        train=train,
        test=test,
        columns=columns,
        id_column=id_column,
        chosen=reader.chosen,
        problems=reader.problems,
        grouped=bool((train["group"] != "").any()),
    )


def _no_images(source: Source) -> str:
    archives = [name for name in source.files if name.lower().endswith(ARCHIVES)]
    if archives:
        return f"{source.path} holds no image but {', '.join(archives)}; set data.root to {source.path / archives[0]}"
    return (
        f"{source.path} holds {len(source.files)} files and no image among them; expected files ending in "
        f"{' '.join(IMAGES)}; set data.root in params.yaml to the competition's files"
    )


def _choose_tables(reader: _Reader) -> dict[str, str | None]:
    """Choose the train table, the test table and the sample submission."""
    names = table_names(reader.source)
    tables: dict[str, str | None] = {}
    for wanted in ("train", "test", "sample_submission"):
        key = wanted if wanted == "sample_submission" else f"{wanted}_table"
        given = getattr(reader.params, key)
        if given != "auto":
            tables[key] = None if given == "none" else given
            continue
        fitting = [name for name in names if role(name) == wanted]
        if wanted == "train":
            called_train = [name for name in fitting if "train" in PurePosixPath(name).stem.lower()]
            fitting = called_train or [name for name in fitting if _holds_labels(reader, name)]
        if len(fitting) > 1:
            raise CompetitionError(
                f"{reader.source.path}: {', '.join(fitting)} could each be the {wanted.replace('_', ' ')} table; "
                f"set data.{key} in params.yaml to one of them, or to none"
            )
        tables[key] = fitting[0] if fitting else None
        reader.chosen[key] = tables[key] or "none"
    return tables


def _holds_labels(reader: _Reader, name: str) -> bool:
    table = read_table(reader.source, name)
    return len(table.columns) > 1 and reader.index.id_column(table) is not None


def _id_column(reader: _Reader, table: pd.DataFrame, name: str) -> str:
    given = reader.params.id_column
    if given != "auto" and given in table.columns:
        return given
    if given != "auto" and role(name) == "train":
        raise CompetitionError(f"{name} has the columns {list(table.columns)}; data.id_column is {given!r}")
    column = reader.index.id_column(table)
    if column is None:
        example = f"; its first row is {table.iloc[0].to_dict()}" if len(table) else ", because it has no rows"
        raise CompetitionError(
            f"no column of {name} names an image{example}, and an image is called {reader.index.images[0]!r}; "
            "check that the images are complete, or set data.id_column"
        )
    return column


def _folder(reader: _Reader, split: str) -> str | None:
    given: str = getattr(reader.params, f"{split}_folder")
    if given == "auto":
        return None
    given = normal(given)
    if given not in reader.source.folders:
        raise CompetitionError(
            f"{reader.source.path} holds no folder {given!r}; data.{split}_folder can be one of "
            f"{', '.join(map(repr, reader.source.folders))}"
        )
    return given


# Train ------------------------------------------------------------------------------------------------------------


def _read_train(reader: _Reader, table_name: str | None) -> tuple[pd.DataFrame, str, str]:
    """Return the training samples, also the wrong ones, and the names of the label and id columns."""
    if table_name is None:
        return _read_class_folders(reader), "label", "id"
    table = read_table(reader.source, table_name)
    id_name = _id_column(reader, table, table_name)
    group_name = _group_column(reader, table, table_name)
    label_name = _label_column(reader, table, table_name, {id_name, group_name})
    match = reader.index.match(table[id_name], "train", _folder(reader, "train"))
    if not match.hits:
        raise CompetitionError(
            f"none of the {len(table)} values of {id_name!r} in {table_name} is the name of an image in "
            f"{match.folder or reader.source.path}; check data.root, data.id_column and data.train_folder"
        )
    reader.chosen |= {"id_column": id_name, "label_column": label_name, "train_folder": match.folder}
    reader.chosen["group_column"] = group_name or "none"
    train = pd.DataFrame(
        {
            "sample_id": table[id_name],
            "label": table[label_name],
            "group": table[group_name] if group_name else "",
            "file": _files(reader, table[id_name], match, table_name),
        }
    )
    for row in train[train["label"].str.strip() == ""].itertuples():
        reader.problems.append(f"{table_name}: {row.sample_id!r} has an empty label")
    return train, label_name, id_name


def _group_column(reader: _Reader, table: pd.DataFrame, table_name: str) -> str | None:
    given = reader.params.group_column
    if given == "none":
        return None
    if given == "auto":
        return next((column for column in table.columns if column.lower() == "group"), None)
    if given not in table.columns:
        raise CompetitionError(f"{table_name} has the columns {list(table.columns)}; data.group_column is {given!r}")
    return given


def _label_column(reader: _Reader, table: pd.DataFrame, table_name: str, taken: set[str | None]) -> str:
    given = reader.params.label_column
    if given != "auto":
        if given not in table.columns:
            raise CompetitionError(
                f"{table_name} has the columns {list(table.columns)}; data.label_column is {given!r}"
            )
        return given
    others = [column for column in table.columns if column not in taken]
    named = [column for column in others if column.lower() in LABEL_NAMES]
    for columns in (others, named):
        if len(columns) == 1:
            return columns[0]
    raise CompetitionError(
        f"{table_name} has the columns {list(table.columns)}; set data.label_column in params.yaml to the one that "
        "holds the class"
    )


def _files(reader: _Reader, ids: pd.Series, match: Match, table_name: str) -> list[str]:
    files = []
    for sample_id in ids:
        found = match.files[sample_id]
        if not found:
            reader.problems.append(f"{table_name}: {sample_id!r} has no image in {match.folder or 'the data'}")
        elif len(found) > 1:
            reader.problems.append(f"{table_name}: {sample_id!r} could be {' or '.join(found)}")
        files.append(found[0] if len(found) == 1 else "")
    return files


def _read_class_folders(reader: _Reader) -> pd.DataFrame:
    test_folder = _test_folder(reader)
    top = _class_top(reader, test_folder)
    prefix = f"{top}/" if top else ""
    files_of: dict[str, list[str]] = {
        folder.removeprefix(prefix): []
        for folder in reader.source.folders
        if is_in(folder, top) and "/" not in folder.removeprefix(prefix) and folder != test_folder
    }
    for image in sorted(reader.index.images):
        label, below, _ = image.removeprefix(prefix).partition("/")
        if below and label in files_of and is_in(image, top):
            files_of[label].append(image)
    rows = []
    for label, files in files_of.items():
        if not files:
            reader.problems.append(f"the class folder {prefix + label!r} holds no image")
        rows += [(file.removeprefix(prefix), label, "", file) for file in files]
    if len(files_of) < 2:
        raise CompetitionError(
            f"{reader.source.path} has no table of labels, and {top or 'it'} has {len(files_of)} folders of images; "
            "expected a folder for each class, or a CSV with the names of the images and their classes: "
            "set data.train_table or data.train_folder in params.yaml"
        )
    reader.chosen |= {"train_folder": top, "label_column": "the folder's name", "group_column": "none"}
    return pd.DataFrame(rows, columns=["sample_id", "label", "group", "file"])


def _class_top(reader: _Reader, test_folder: str | None) -> str:
    """Find the folder whose folders are the classes: one called train, else below what merely wraps everything."""
    given = _folder(reader, "train")
    if given is not None:
        return given
    folders = [folder for folder in reader.source.folders if folder != test_folder]
    named = [folder for folder in folders if says("train", folder)]
    top = min(named, key=lambda folder: (folder.count("/"), folder), default="")
    while True:
        depth = top.count("/") + 1 if top else 0
        below = [folder for folder in folders if is_in(folder, top) and folder.count("/") == depth]
        if len(below) != 1 or not any(is_in(folder, below[0]) for folder in folders):
            return top
        top = below[0]


# Test -------------------------------------------------------------------------------------------------------------


def _test_folder(reader: _Reader) -> str | None:
    given = _folder(reader, "test")
    named = [folder for folder in reader.source.folders if says("test", folder)]
    return given if given is not None else min(named, key=lambda name: (name.count("/"), name), default=None)


def _read_test(
    reader: _Reader, tables: dict[str, str | None], label_name: str, id_name: str
) -> tuple[pd.DataFrame, tuple[str, str], str]:
    """Return the test samples, the submission's columns and which of them names the sample."""
    table_name = tables["sample_submission"] or tables["test_table"]
    if table_name is None:
        return _read_test_folder(reader), (id_name, label_name), id_name
    table = read_table(reader.source, table_name)
    id_column = _id_column(reader, table, table_name)
    columns = (id_column, label_name)
    if table_name == tables["sample_submission"]:
        if len(table.columns) != 2:
            raise CompetitionError(
                f"{table_name} has the columns {list(table.columns)}; expected two, the id and the class; "
                "for another table set data.sample_submission, or none to build the submission from the test table"
            )
        columns = (table.columns[0], table.columns[1])
        if tables["test_table"] is not None:
            table, table_name = _complete(reader, table, id_column, table_name, tables["test_table"])
    repeated = table[id_column][table[id_column].duplicated()]
    if len(repeated):
        raise CompetitionError(f"{table_name}: {len(repeated)} ids stand there twice, first {repeated.iloc[0]!r}")
    match = reader.index.match(table[id_column], "test", _folder(reader, "test"))
    reader.chosen["test_folder"] = match.folder
    test = pd.DataFrame({"sample_id": table[id_column], "file": _files(reader, table[id_column], match, table_name)})
    test["problem"] = test["file"].map(lambda file: "" if file else MISSING)
    return test, columns, id_column


def _complete(
    reader: _Reader, sample: pd.DataFrame, id_column: str, sample_name: str, test_name: str
) -> tuple[pd.DataFrame, str]:
    """Take the rows of the test table where the sample submission only shows a few of them."""
    listed = read_table(reader.source, test_name)
    listed_column = _id_column(reader, listed, test_name)

    def images(ids: pd.Series) -> set[str]:  # the two tables may write their ids differently
        match = reader.index.match(ids, "test", _folder(reader, "test"))
        return {file for files in match.files.values() for file in files}

    shown, wanted = images(sample[id_column]), images(listed[listed_column])
    if wanted <= shown:
        return sample, sample_name
    if shown < wanted:
        reader.chosen["rows of the submission"] = test_name
        return listed.rename(columns={listed_column: id_column}), test_name
    raise CompetitionError(
        f"{sample_name} lists {len(shown)} images and {test_name} {len(wanted)}, not the same; set data.test_table to "
        "none if the sample submission is right, or data.sample_submission to none if the test table is"
    )


def _read_test_folder(reader: _Reader) -> pd.DataFrame:
    folder = _test_folder(reader)
    files = sorted(image for image in reader.index.images if folder is not None and is_in(image, folder))
    if not files:
        raise CompetitionError(
            f"{reader.source.path} has no test images: neither a sample submission, nor a table with test in its name, "
            "nor a folder called test; set data.test_table or data.test_folder in params.yaml"
        )
    reader.chosen["test_folder"] = folder or ""
    return pd.DataFrame(
        {"sample_id": [file.removeprefix(f"{folder}/") for file in files], "file": files, "problem": ""}
    )


# Both -------------------------------------------------------------------------------------------------------------


def _check_apart(reader: _Reader, train: pd.DataFrame, test: pd.DataFrame) -> None:
    both = sorted({*train["file"]} & {*test["file"]} - {""})
    if both:
        raise CompetitionError(
            f"{reader.source.path}: {len(both)} images would be both training and test samples, first {both[0]}; "
            "set data.train_folder and data.test_folder in params.yaml"
        )


def _find_unlisted(reader: _Reader, train: pd.DataFrame, test: pd.DataFrame) -> None:
    """Tell of images in the folder of either split that no row names."""
    listed = {*train["file"], *test["file"]}
    folders = {reader.chosen["train_folder"], reader.chosen["test_folder"]}
    reader.problems += [
        f"{image} has no row in any table, so it has no label and no place in the submission"
        for image in reader.index.images
        if image not in listed and any(is_in(image, folder) for folder in folders)
    ]


def _without_problems(reader: _Reader, train: pd.DataFrame) -> pd.DataFrame:
    """Leave out rows without image or label, and all rows of an image that is said to be two classes."""
    train = train[(train["file"] != "") & (train["label"].str.strip() != "")]
    labels = train.groupby("file", sort=False)["label"].agg(lambda column: list(dict.fromkeys(column)))
    id_of = train.drop_duplicates("file").set_index("file")["sample_id"].to_dict()
    for file, said in labels[labels.map(len) > 1].items():
        reader.problems.append(f"{id_of[file]!r} has {len(said)} labels: {', '.join(map(repr, said))}")
    undecided = set(labels[labels.map(len) > 1].index)
    train = train[~train["file"].isin(undecided)].drop_duplicates("file").reset_index(drop=True)
    if train["label"].nunique() < 2:
        heading = (
            f"{reader.source.path}: the training samples have {train['label'].nunique()} classes "
            f"({', '.join(map(repr, train['label'].unique()))}); expected two or more; check data.label_column"
        )
        raise (
            MistakesError(f"{heading}, and:", reader.problems, shown=SHOWN_SAMPLES)
            if reader.problems
            else CompetitionError(heading)
        )
    return train
