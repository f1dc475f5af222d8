"""Labels that no table holds: the folders of the classes, or what the files' names begin with."""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import pandas as pd

from competition.console import counted
from competition.errors import CompetitionError
from competition.params import DataParams
from competition.raw.found import Findings, Surety
from competition.raw.matching import ASIDE, is_in, only_says, says, says_aside, split_of
from competition.raw.sources import Source, normal, parents

VALIDATION = ("val", "valid", "validation", "dev")
PLACES = ("folder", "subfolder", "prefix")  # where data.label_column may say a label is, without a table


def given_folder(source: Source, params: DataParams, split: str) -> str | None:
    """Return the folder that the user names for a split; None for auto.

    Raises:
        CompetitionError: there is no such folder.
    """
    given: str = getattr(params, f"{split}_folder")
    if given == "auto":
        return None
    given = "" if given == "." else normal(given)
    if given not in source.folders and given:
        raise CompetitionError(
            f"{source.path} holds no folder {given!r}; data.{split}_folder can be one of "
            f"{', '.join(map(repr, source.folders[:50]))}"
        )
    return given


def test_folder(source: Source, params: DataParams, images: Iterable[str]) -> str | None:
    """Return the folder of the test images: the one given, else the first of `test_folders`."""
    given = given_folder(source, params, "test")
    return given if given is not None else next(iter(test_folders(source, images)), None)


def test_folders(source: Source, images: Iterable[str]) -> list[str]:
    """List the topmost folders that say test and hold an image; those in one that says train only where there are no
    others."""
    holding = _holding(images)
    named = [folder for folder in source.folders if says("test", folder) and folder in holding]
    named = [folder for folder in named if _is_apart(folder)] or named
    topmost = min((folder.count("/") for folder in named), default=0)
    return sorted(folder for folder in named if folder.count("/") == topmost)


def _is_apart(folder: str) -> bool:
    return split_of(folder, apart=True) == "test"


def _tests(source: Source, params: DataParams, test: str | None) -> list[str]:
    """List the folder of the test images and the topmost others that say test and nothing else."""
    apart = test is None or _is_apart(test) or params.test_folder != "auto"
    tests = [] if test is None else [test]
    taken = [*tests, given_folder(source, params, "train") or ""]
    for folder in source.folders:  # sorted, so that those above come first
        if only_says("test", folder) and split_of(folder, apart) == "test":
            around = any(is_in(f"{each}/", folder) for each in taken)
            if not around and not _in_any(folder, tests):
                tests.append(folder)
    return tests


def _in_any(name: str, folders: Iterable[str]) -> bool:
    return any(name == folder or is_in(name, folder) for folder in folders)


def _holding(images: Iterable[str]) -> set[str]:
    """Name all folders that hold images, at any depth."""
    direct = {image.rpartition("/")[0] for image in images}  # few, where images are many
    return {holding for folder in direct for holding in (folder, *parents(folder))} - {""}


def read_folders(
    source: Source, params: DataParams, images: Sequence[str], known: set[str], findings: Findings
) -> pd.DataFrame:
    """Read training samples whose labels stand in no table.

    Args:
        source: the competition's files.
        params: the data section.
        images: all images.
        known: words of the sample submission, some of which may be classes.
        findings: takes what is chosen and what is wrong.

    Returns:
        Columns sample_id (the path below the training folder, or from the validation folder on), label, file; sorted by
        file.

    Raises:
        CompetitionError: there are no two folders of classes and no two prefixes.
    """
    test = test_folder(source, params, images)
    tests = _tests(source, params, test)
    train_images = sorted(image for image in images if not _in_any(image, tests))
    tops = _tops(source, params, tests, train_images)
    masks = _masks(train_images, tops, params.label_column != "subfolder")
    if masks:
        findings.notes.append(f"{len(masks):,} images are masks of others, by their names, as {min(masks)}: not used")
    train_images = [image for image in train_images if image not in masks]
    inside = [(top, image) for image in train_images for top in tops if is_in(image, top)]
    below = [(image, _below(image, top)) for top, image in inside]
    column = params.label_column
    place = column if column in PLACES else _place(below, known)
    rows = [
        (name if top == tops[0] else f"{PurePosixPath(top).name}/{name}", label, file)
        for (top, _), (file, name) in zip(inside, below, strict=True)
        if (label := _label(name, place))
    ]
    classes = dict.fromkeys(row[1] for row in rows)
    empty = _empty(source, tops, tests, classes) if place == "folder" else []
    findings.problems += [f"the class folder {folder!r} holds no image" for folder in empty]
    if not classes or len(classes) + len(empty) < 2:
        raise CompetitionError(
            f"{source.path} has no table of labels, and {tops[0] or 'it'} has {len(classes)} folders of images; "
            "expected a folder for each class, or a CSV with the names of the images and their classes: "
            "set data.train_table or data.train_folder in params.yaml"
        )
    _choose_no_columns(source, params, findings)
    what = {"folder": "folders", "subfolder": "folders two levels down", "prefix": "beginnings of file names"}[place]
    surety: Surety = "given" if column in PLACES else "likely" if place == "folder" else "guess"
    findings.choose("train_table", "none", "likely", "no table holds labels")
    findings.choose("label_column", place, surety, f"{len(classes)} {what}, as {next(iter(classes))!r}")
    findings.choose("train_folder", tops[0] or ".", "likely", counted(len(rows), "image"))
    for top in tops[1:]:
        findings.notes.append(f"the images of {top} are used for training too")
    holding = _holding(images)
    for folder in tests:
        if folder != test and folder in holding:
            findings.notes.append(f"the images of {folder}, which says test, are not used for training")
    if place == "folder":
        findings.notes += [f"the folder {name!r} says test and is taken for a class" for name in classes
                           if says("test", name)]  # fmt: skip
    return pd.DataFrame(rows, columns=["sample_id", "label", "file"])


def _choose_no_columns(source: Source, params: DataParams, findings: Findings) -> None:
    for key in ("group_column", "fold_column", "weight_column"):
        given: str = getattr(params, key)
        if given not in ("auto", "none"):
            raise CompetitionError(
                f"data.{key} is {given!r}, and the labels of {source.path} stand in no table; expected a table with "
                f"this column; set data.train_table to it, or data.{key} to none"
            )
        findings.choose(key, "none", "sure", "there is no table")


def _tops(source: Source, params: DataParams, tests: list[str], images: Sequence[str]) -> list[str]:
    """Find the folder whose folders are the classes, one called train, else below what merely wraps everything; and
    one called valid beside it."""
    given = given_folder(source, params, "train")
    holding = _holding(images)
    folders = [folder for folder in source.folders if not _in_any(folder, tests)]
    if given is not None:
        return [given, *_validation(folders, given, holding)]
    named = [folder for folder in folders if says("train", folder) and folder in holding]
    top = min(named, key=lambda folder: (folder.count("/"), folder), default="")
    validation = _validation(folders, top, holding) if named else []
    while True:
        depth = top.count("/") + 1 if top else 0
        below = [folder for folder in folders if is_in(folder, top) and folder.count("/") == depth and folder != top]
        if len(below) != 1:
            return [top, *validation]
        prefixes = {_prefix(PurePosixPath(image).name) for image in images if is_in(image, below[0])}
        if len(prefixes - {""}) < 2 and not any(is_in(folder, below[0]) for folder in folders):
            return [top, *validation]
        top = below[0]


def _validation(folders: list[str], train: str, holding: set[str]) -> list[str]:
    beside = train.rpartition("/")[0]
    return [
        folder
        for folder in folders
        if folder.rpartition("/")[0] == beside
        and folder != train
        and PurePosixPath(folder).name.lower() in VALIDATION
        and folder in holding
    ]


def _masks(images: Sequence[str], tops: list[str], folders: bool) -> set[str]:
    """Find the images that only go with others: ``cat/1_mask.png`` beside ``cat/1.png``, and, with ``folders``,
    ``cat/masks/1.png`` beside ``cat/images/1.png``."""
    bare = {image.rpartition(".")[0] for image in images}
    masks = {image for image in images if (other := _masked(image)) is not None and other in bare}
    own = {image.rpartition("/")[0] for image in images}  # few, where images are many
    deep = {folder for folder in own for top in tops if is_in(folder, top) and "/" in _below(folder, top)}
    aside = {folder for folder in deep if folders and says_aside(folder.rpartition("/")[2])}
    around = {folder.rpartition("/")[0] for folder in aside}
    beside = {folder for folder in own - aside if folder.rpartition("/")[0] in around}
    pictures = {_in_class(name) for name in bare if name.rpartition("/")[0] in beside}
    laid_aside = [image for image in images if image.rpartition("/")[0] in aside]
    return masks | {image for image in laid_aside if _in_class(image.rpartition(".")[0]) in pictures}


def _masked(image: str) -> str | None:
    """Name, without extension, the image that one is the mask of by its name."""
    folder, between, name = image.rpartition("/")
    stem = name.rpartition(".")[0]
    found = ASIDE.search(stem.lower())
    return f"{folder}{between}{stem[: found.start()].rstrip(' _-.')}" if found else None


def _in_class(image: str) -> tuple[str, str]:
    """Return the folder above an image's own, and its name."""
    folder, _, name = image.rpartition("/")
    return folder.rpartition("/")[0], name


def _below(image: str, top: str) -> str:
    return image.removeprefix(f"{top}/" if top else "")


def _place(below: list[tuple[str, str]], known: set[str]) -> str:
    """Tell where the label is: in the first folder, in the deepest one, or in the file's name."""
    parts = [PurePosixPath(name).parts for _, name in below]
    depths = {len(names) for names in parts}
    if depths == {1}:
        return "prefix" if all(_prefix(names[0]) for names in parts) else "folder"
    if min(depths, default=1) < 3:
        return "folder"
    first, last = {names[0] for names in parts}, {names[-2] for names in parts}
    if len(last) == 1:
        return "folder"
    if known & first and not known & last:
        return "folder"
    if known & last and not known & first:
        return "subfolder"
    # Folders of a class in folders of its kind hold many images each; those of a patient in a class hold few.
    return "subfolder" if len(parts) >= 5 * len(last) else "folder"


def _label(name: str, place: str) -> str:
    parts = PurePosixPath(name).parts
    if place == "prefix":
        return _prefix(parts[-1])
    if len(parts) < 2:
        return ""
    return parts[0] if place == "folder" else parts[-2]


def _prefix(name: str) -> str:
    """Return what a file's name begins with, up to its number: ``cat`` of ``cat.12.jpg``."""
    found = re.match(r"(.*?[^\W\d])[\W_]*\d", name)
    return found[1] if found else ""


def _empty(source: Source, tops: list[str], tests: list[str], classes: dict[str, None]) -> list[str]:
    return [
        folder
        for folder in source.folders
        if folder.rpartition("/")[0] == tops[0]
        and not any(is_in(f"{test}/", folder) for test in tests)
        and folder not in tops
        and PurePosixPath(folder).name not in classes
    ]
