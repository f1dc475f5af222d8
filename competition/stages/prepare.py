"""prepare: from a competition's files to one array per split, labels, folds and the contract."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from competition.artifacts import check_space, open_array, stage_folder, write_csv, write_json
from competition.console import say
from competition.errors import SHOWN_SAMPLES, CompetitionError, MistakesError
from competition.images import Decoded, ImageSpec, write_images
from competition.layout import CONTRACT, OVERVIEW, REPORT, SAMPLES, pixels
from competition.params import DataParams, PrepareParams
from competition.pictures import Line, write_sheet
from competition.raw.competition import Competition, read_competition
from competition.raw.sources import Source, open_source
from competition.seeds import derive
from competition.splits import make_folds

SHOWN_CLASSES = 40  # of more classes, the overview shows the 20 largest and the 20 smallest
SHOWN_IMAGES = 10  # of each class


def prepare(params: PrepareParams, data: DataParams, *, out: Path, seed: int) -> None:
    """Decode a competition once, and fix its classes, folds and submission format.

    Args:
        params: image size, folds, what to do with bad samples.
        data: where the files are and which table and column is what.
        out: the folder to write.
        seed: draws the folds.

    Reads:
        The folder or archive ``data.root``; nothing is unpacked.

    Writes:
        samples.csv: sample_id, split (train, test), row (in the split's array), label (empty in test), fold (-1 in
            test), group, file, problem (why a test image could not be read). Training samples in the order of their
            table, test samples in that of the submission.
        train.npy, test.npy: uint8 (n, h, w, c); a row that samples.csv does not name is black.
        contract.json: task, metric, classes in order, image size and value range, submission columns, class shares.
        report.json: what was chosen, counts, image sizes, problems.
        overview.png: images of each class beside its name and counts.

    A healthy run:
        On the bundled digits: 1,347 training and 450 test samples, 10 classes, 0 problems.

    Raises:
        CompetitionError: the data cannot be understood, or are bad and ``bad_samples`` is fail. Nothing is written.
    """
    source = open_source(Path(data.root))
    competition = read_competition(source, data)
    height, width = params.image_size_px
    spec = ImageSpec(height, width, params.channels, params.resize)
    with stage_folder(out) as folder:
        samples, decoded, problems = _decode(source, competition, spec, folder)
        if params.bad_samples == "fail":
            _refuse(source, competition.problems + problems)
        _check_enough(source, samples, problems)
        samples["fold"] = _folds(samples, params.folds, derive(seed, "prepare", "folds"), competition.grouped)
        train = samples[samples["split"] == "train"]
        classes = sorted(train["label"].unique())
        columns = ["sample_id", "split", "row", "label", "fold", "group", "file", "problem"]
        write_csv(folder / SAMPLES, samples[columns])
        write_json(folder / CONTRACT, _contract(competition, spec, data.metric, params.folds, train, classes))
        report = _report(competition, samples, decoded, classes, params.folds, competition.problems + problems)
        write_json(folder / REPORT, report)
        _overview(folder, train, classes)
    _tell(report)


def _refuse(source: Source, problems: list[str]) -> None:
    if problems:
        raise MistakesError(
            f"{source.path} has {len(problems)} bad sample{'s' if len(problems) > 1 else ''}; mend them, or set "
            "prepare.bad_samples: drop to go on without them and have them all listed in report.json:",
            problems,
            shown=SHOWN_SAMPLES,
        )


def _check_enough(source: Source, samples: pd.DataFrame, problems: list[str]) -> None:
    """Refuse what is left when the unreadable images are gone, if nothing can be learned or predicted from it."""
    classes = samples.loc[samples["split"] == "train", "label"].nunique()
    readable = int(((samples["split"] == "test") & (samples["problem"] == "")).sum())
    if classes < 2 or not readable:
        raise MistakesError(
            f"{source.path}: the images that can be read are of {classes} classes in train, and {readable} in test; "
            "expected two classes or more, and a test image:",
            problems,
            shown=SHOWN_SAMPLES,
        )


def _decode(
    source: Source, competition: Competition, spec: ImageSpec, folder: Path
) -> tuple[pd.DataFrame, dict[str, Decoded], list[str]]:
    """Write both arrays; return all good samples with their rows, what was decoded, and the problems met."""
    order = {file: position for position, file in enumerate(source.files)}
    train = competition.train.assign(split="train", problem="")
    test = competition.test.assign(split="test", label="", group="")
    count = len(train) + len(test)
    check_space(folder, count * int(np.prod(spec.shape)))
    tables, decodings = [], {}
    problems: list[str] = []
    for split, table in (("train", train), ("test", test)):
        # Rows lie in reading order, so that an archive is passed through once; a test sample without a file comes last.
        files = sorted({file for file in table["file"] if file}, key=order.__getitem__)
        row_of = {file: row for row, file in enumerate(files)}
        decoded = write_images(files, source.read, folder / pixels(split), spec, f"prepare {split}")
        table = table.assign(row=[row_of.get(file, -1) for file in table["file"]])
        unreadable = table["row"].isin(list(decoded.unreadable))
        problems += decoded.unreadable.values()
        if split == "train":
            table = table[~unreadable]
        else:
            table.loc[unreadable, "problem"] = [decoded.unreadable[row] for row in table.loc[unreadable, "row"]]
        tables.append(table)
        decodings[split] = decoded
    return pd.concat(tables, ignore_index=True), decodings, problems


def _folds(samples: pd.DataFrame, folds: int, seed: int, grouped: bool) -> np.ndarray:
    is_train = (samples["split"] == "train").to_numpy()
    train = samples[is_train]
    fold_of = np.full(len(samples), -1, np.int64)
    groups = train["group"].to_numpy(str) if grouped else None
    try:
        fold_of[is_train] = make_folds(train["label"].to_numpy(str), groups, folds, seed)
    except ValueError as error:
        raise CompetitionError(f"{error}; set prepare.folds lower") from None
    return fold_of


def _contract(
    competition: Competition, spec: ImageSpec, metric: str, folds: int, train: pd.DataFrame, classes: list[str]
) -> dict[str, Any]:
    counts = train["label"].value_counts()
    return {
        "task": "multiclass",
        "metric": metric,
        "classes": classes,
        "class_fractions": [int(counts[name]) / len(train) for name in classes],
        "image": spec.to_json(),
        "value_range": [0, 255],
        "folds": folds,
        "submission": {"columns": list(competition.columns), "id_column": competition.id_column},
    }


def _report(
    competition: Competition,
    samples: pd.DataFrame,
    decoded: dict[str, Decoded],
    classes: list[str],
    folds: int,
    problems: list[str],
) -> dict[str, Any]:
    counts = samples[samples["split"] == "train"]["label"].value_counts()
    rare = [f"class {name!r} has {counts[name]} samples, fewer than the {folds} folds"
            for name in classes if counts[name] < folds]  # fmt: skip
    return {
        "samples": {split: int((samples["split"] == split).sum()) for split in ("train", "test")},
        "classes": {name: int(counts[name]) for name in classes},
        "folds": {str(fold): int(count) for fold, count in sorted(Counter(samples["fold"]).items()) if fold >= 0},
        "sizes_px": {split: _sizes(decoded[split].sizes) for split in ("train", "test")},
        "chosen": competition.chosen,
        "notes": rare,
        "problems": problems,
    }


def _sizes(sizes: np.ndarray) -> dict[str, list[int]]:
    readable = sizes[sizes[:, 0] > 0]
    if not len(readable):
        return {}
    return {
        name: [int(side) for side in function(readable, axis=0)]
        for name, function in (("smallest", np.min), ("median", np.median), ("largest", np.max))
    }


def _overview(folder: Path, train: pd.DataFrame, classes: list[str]) -> None:
    images = open_array(folder / pixels("train"))
    counts = train["label"].value_counts()
    shown = classes
    if len(classes) > SHOWN_CLASSES:
        by_count = sorted(classes, key=lambda name: (-counts[name], name))
        shown = by_count[: SHOWN_CLASSES // 2] + by_count[-SHOWN_CLASSES // 2 :]
    lines = []
    for name in shown:
        rows = train.loc[train["label"] == name, "row"].to_numpy()
        spread = np.unique(np.linspace(0, len(rows) - 1, SHOWN_IMAGES).astype(int))
        lines.append(Line(f"{name}\n{counts[name]:,} images", [images[row] for row in rows[spread]]))
    write_sheet(folder / OVERVIEW, lines)


def _tell(report: dict[str, Any]) -> None:
    counts = report["samples"]
    for what, value in report["chosen"].items():
        say(f"  {what}: {value or 'the top folder'}")
    for note in report["notes"]:
        say(f"  note: {note}")
    for problem in report["problems"]:
        say(f"  dropped: {problem}")
    say(
        f"prepare: {counts['train']:,} training and {counts['test']:,} test samples, {len(report['classes'])} classes, "
        f"{len(report['problems'])} problems"
    )
