"""A competition's files as a whole: its samples, task, metric and submission, and what is wrong with them."""

from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd

from competition.console import counted
from competition.errors import SHOWN_SAMPLES, CompetitionError, MistakesError
from competition.params import DataParams
from competition.raw.forms import Form, Shown, find_form, show
from competition.raw.found import Findings, Found
from competition.raw.labels import Labels, join
from competition.raw.matching import ImageIndex, is_in
from competition.raw.metrics import described_metric, guess_metric, two_sided
from competition.raw.roles import Tables, told_split
from competition.raw.rows import Reader, Rows, sample_rows, test_rows
from competition.raw.sources import ARCHIVES, IMAGES, Source, list_images
from competition.raw.tables import read_delimiter
from competition.raw.test_samples import read_test
from competition.raw.train_samples import read_train
from competition.scores import find_metric
from competition.tasks import JOINED, is_whole

SHOWN_KINDS = 4  # of files, where none is an image


@dataclass(frozen=True)
class Competition:
    """A competition as its files tell it.

    Attributes:
        train: columns sample_id, label (see `labels`), group, fold, weight ("" where there is none), file; the samples
            with nothing wrong, in the order of the table, or sorted by file where no table holds the labels.
        test: columns sample_id, file, problem; every sample the submission must hold, in its order. A sample that has
            no image has an empty ``file`` and a ``problem``.
        task: multiclass, multilabel, ordinal or regression.
        classes: in order; of a regression the name of the value alone.
        metric: what the competition scores.
        form: of the submission.
        chosen: what was found, by key of the data section.
        problems: what is wrong with training samples, a line each.
        test_problems: what is wrong with test samples, which keep their place in the submission all the same.
        notes: what is good to know, a line each.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    task: str
    classes: tuple[str, ...]
    metric: str
    form: Form
    chosen: dict[str, Found]
    problems: list[str]
    test_problems: list[str]
    notes: list[str]


def read_competition(source: Source, params: DataParams, guess: bool = False) -> Competition:
    """Match a competition's tables and folders to its images, and tell task, metric and submission form.

    Args:
        source: the competition's files.
        params: the data section.
        guess: whether to tell the metric too, whatever ``params.metric`` is.

    Raises:
        CompetitionError: there is nothing to choose from, or more than one choice.
    """
    images = list_images(source)
    if not images:
        raise CompetitionError(_no_images(source))
    index = ImageIndex(images)
    reader = Reader(source, params, index, Tables(source, index), Findings())
    reader.findings.notes += [f"left out: {line}" for line in source.left_out]
    sample = sample_rows(reader)
    shown = _show(reader, sample) if sample else None
    listed = test_rows(reader, sample)
    train, labels, label_names = read_train(reader, shown, listed, sample, guess)
    test, shown = read_test(reader, sample, shown, listed, label_names)
    metric, form = _tell_form(reader, shown, labels, guess)
    _check_apart(reader, train, test)
    _find_unlisted(reader, train, test)
    train = _without_problems(reader, train, labels)
    _check_returns(source, train, test, labels.classes, form.columns)
    return Competition(
        train=train,
        test=test,
        task=labels.task,
        classes=labels.classes,
        metric=metric,
        form=form,
        chosen=reader.findings.chosen,
        problems=reader.findings.problems,
        test_problems=reader.findings.test_problems,
        notes=reader.findings.notes,
    )


def _show(reader: Reader, sample: Rows) -> Shown:
    """Tell the columns of the sample submission apart, and how it is written; note what is unusual of that."""
    delimiter, header = read_delimiter(reader.source, sample.name), sample.name not in reader.tables.headless
    unusual = [] if header else ["without a header"]
    unusual += [] if delimiter == "," else [f"with {delimiter!r} between cells"]
    if unusual:
        reader.findings.notes.append(f"the submission is written {' and '.join(unusual)}, as {sample.name} is")
    return show(sample.table, sample.id_column, delimiter, header)


def _no_images(source: Source) -> str:
    archives = [name for name in source.files if name.lower().endswith(ARCHIVES)]
    if archives:
        return f"{source.path} holds no image but {', '.join(archives)}; set data.root to {source.path / archives[0]}"
    kinds = Counter(PurePosixPath(name).suffix.lower() or "without an ending" for name in source.files)
    held = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(SHOWN_KINDS))
    left_out = f" Left out were {'; '.join(source.left_out[:3])}." if source.left_out else ""
    return (
        f"{source.path} holds {len(source.files):,} files{f' ({held})' if held else ''} and no image among them; "
        f"expected files ending in {' '.join(IMAGES)}; set data.root in params.yaml to the competition's "
        f"files.{left_out}"
    )


def _tell_form(reader: Reader, shown: Shown, labels: Labels, guess: bool) -> tuple[str, Form]:
    """Tell the metric, if it is to be guessed, and the submission's form, which depends on it."""
    findings, params = reader.findings, reader.params
    numbered = all(is_whole(name) for name in labels.classes)
    if not guess:
        metric = find_metric(params.metric)
        if metric.name == "quadratic_kappa" and not numbered:
            raise CompetitionError(
                f"data.metric is quadratic_kappa and the classes are {', '.join(labels.classes[:5])}; expected whole "
                "numbers, so that their order is known: correct data.label_column or data.metric"
            )
        if labels.task not in metric.tasks:
            raise CompetitionError(
                f"data.metric is {params.metric}, which scores {', '.join(metric.tasks)}; the task is {labels.task}; "
                "correct data.metric or data.task"
            )
        if metric.name == "roc_auc" and not two_sided(labels):
            raise CompetitionError(
                f"data.metric is roc_auc, which scores two classes; the task is {labels.task} with "
                f"{len(labels.classes)} classes; set data.metric to roc_auc_macro, or correct data.label_column"
            )
        return params.metric, find_form(shown, labels, params, params.metric, findings)
    name, words, file = described_metric(reader.source, labels)
    if name and (name != "quadratic_kappa" or numbered):
        findings.choose("metric", name, "likely", f"{file} says {words!r}")
        return name, find_form(shown, labels, params, name, findings)
    form = find_form(shown, labels, params, "", findings)
    name = guess_metric(form.kind, labels, form.ranks)
    findings.choose("metric", name, "guess", f"usual where the submission is {form.kind}")
    return name, form


def _check_apart(reader: Reader, train: pd.DataFrame, test: pd.DataFrame) -> None:
    both = sorted({*train["file"]} & {*test["file"]} - {""})
    if both:
        raise CompetitionError(
            f"{reader.source.path}: {counted(len(both), 'image')} would be both in training and in test, first "
            f"{both[0]}; set data.train_folder and data.test_folder in params.yaml{told_split(reader.tables)}"
        )


def _check_returns(
    source: Source, train: pd.DataFrame, test: pd.DataFrame, classes: tuple[str, ...], columns: tuple[str, ...]
) -> None:
    """Refuse carriage returns: no quotes stand around them in a CSV file, where readers take them for a line's end."""
    for what, texts in (
        ("id", pd.concat([train["sample_id"], test["sample_id"]])),
        ("file", pd.concat([train["file"], test["file"]])),
        ("group", train["group"]),
        ("class", pd.Series(classes, dtype=str)),
        ("column", pd.Series(columns, dtype=str)),
    ):
        returning = texts[texts.str.contains("\r", regex=False)]
        if len(returning):
            raise CompetitionError(
                f"{source.path}: the {what} {returning.iloc[0]!r} holds a carriage return, which would end its line in "
                f"the submission; {len(returning)} of {len(texts)} do; take them out"
            )


def _find_unlisted(reader: Reader, train: pd.DataFrame, test: pd.DataFrame) -> None:
    """Note the images in the folder of either split that no row names, and those that lie elsewhere."""
    listed = {*train["file"], *test["file"]}
    for split in ("train", "test"):
        chosen = str(reader.findings.chosen[f"{split}_folder"].value)
        folder = "" if chosen == "." else chosen
        unlisted = [image for image in reader.index.images if image not in listed and is_in(image, folder)]
        if unlisted:
            have = "has" if len(unlisted) == 1 else "have"
            reader.findings.notes.append(
                f"{counted(len(unlisted), 'image')} in {folder or 'the top folder'} {have} no row in any table, first "
                f"{unlisted[0]}: not used"
            )
            listed |= set(unlisted)
    elsewhere = [image for image in reader.index.images if image not in listed]
    if elsewhere:
        reader.findings.notes.append(
            f"{counted(len(elsewhere), 'image lies', 'images lie')} elsewhere, first {elsewhere[0]}: not used"
        )


def _without_problems(reader: Reader, train: pd.DataFrame, labels: Labels) -> pd.DataFrame:
    """Leave out rows without image or label, and all rows of an image that is said to be two classes.

    Where an image may have several labels, those of all its rows are its labels.
    """
    findings = reader.findings
    train = train[(train["file"] != "") & train["label"].notna()]
    if labels.task == "multilabel" and not train["file"].is_unique:
        tags = train.groupby("file", sort=False)["label"].agg(lambda column: JOINED.join(column).split(JOINED))
        train = train.assign(label=train["file"].map(tags.map(lambda names: join(names, labels.classes))))
    repeated = train[train["file"].duplicated(keep=False)]  # mostly none, and grouping all takes seconds
    said = repeated.groupby("file", sort=False)["label"].agg(lambda column: list(dict.fromkeys(column)))
    several = said[said.map(len) > 1]
    id_of = train.drop_duplicates("file").set_index("file")["sample_id"].to_dict()
    for file, names in several.items():
        findings.problems.append(f"{id_of[file]!r} has {len(names)} labels: {', '.join(map(repr, names))}")
    if len(several) and labels.task == "multiclass":
        findings.notes.append(
            f"{len(several):,} images have rows of several classes: if they may, set data.task to multilabel"
        )
    train = train[~train["file"].isin(set(several.index))].drop_duplicates("file").reset_index(drop=True)
    if train["label"].nunique() < 2:
        what = "values" if labels.task == "regression" else "classes"
        heading = (
            f"{reader.source.path}: the training samples have {train['label'].nunique()} {what} "
            f"({', '.join(map(repr, train['label'].unique()))}); expected two or more; check data.label_column"
        )
        raise (
            MistakesError(f"{heading}, and:", findings.problems, shown=SHOWN_SAMPLES)
            if findings.problems
            else CompetitionError(heading)
        )
    return train
