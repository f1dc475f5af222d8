"""prepare: from a competition's files to one array per split, labels, folds and the contract."""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from competition.arrays import open_array
from competition.artifacts import check_space, file_digest, stage_folder, write_csv, write_json
from competition.audit import find_duplicates
from competition.console import counted, say
from competition.errors import SHOWN_SAMPLES, CompetitionError, MistakesError
from competition.images import Decoded, ImageSpec, write_images
from competition.layout import ALIKE, CONTRACT, OVERVIEW, REPORT, SAMPLES, UNPACKED, pixels
from competition.params import DataParams, PrepareParams
from competition.pictures import Line, in_lines, write_sheet
from competition.raw.competition import Competition, read_competition
from competition.raw.sources import Source, open_source
from competition.review import Review, review
from competition.seeds import derive
from competition.splits import given_folds, make_folds, strata
from competition.tasks import Target, is_whole

SHOWN_CLASSES = 40  # of more classes, the overview shows the 20 largest and the 20 smallest
SHOWN_IMAGES = 10  # of each class
SHOWN_PAIRS = 60  # of like images
PAIRS_PER_LINE = 5
MISSING = {"nan", "NaN", "NA", "N/A", "n/a", "<NA>", "null", "NULL", "None"}  # as programs write that there is no label
TOLD_CLASSES = 10  # on the console; all are in report.json
GIVEN_FOLDS = "correct prepare.folds, or set data.fold_column: none"
COLUMNS = ["sample_id", "split", "row", "label", "fold", "group", "weight", "file", "problem"]


def prepare(params: PrepareParams, data: DataParams, *, out: Path, seed: int) -> None:
    """Decode a competition once, and fix its classes, folds, metric and submission format.

    Args:
        params: image size, folds, what to do with bad, like and constant samples.
        data: where the files are, which table and column is what, and the metric.
        out: the folder to write.
        seed: draws the folds.

    Reads:
        The folder or archive ``data.root``. Only archives inside archives are unpacked, and .7z.

    Writes:
        samples.csv: sample_id, split (train, test), row (in the split's array), label (empty in test; see
            `competition.tasks`), fold (-1 in test), group (what must share a fold; the competition's, or like images),
            weight (empty if there are none), file, problem (why a test image could not be read). Training samples in
            the order of their table, test samples in that of the submission.
        train.npy, test.npy: uint8 (n, h, w, c); a row that samples.csv does not name is black, or an image that was
            dropped.
        contract.json: task, metric, classes in order, range of a value, image size and value range, hash of
            train.npy, submission form, what to predict of an image that cannot be read.
        report.json: what was chosen and how sure that is, counts, image sizes and modes, like and constant images,
            problems (of training samples, which are left out) and test_problems (of test samples, which stay).
        overview.png: images of each class beside its name and counts.
        alike.png: images that are alike, where there are any.

    A healthy run:
        On the bundled digits: 1,347 training and 450 test samples, 10 classes, 0 problems.

    Raises:
        CompetitionError: the data cannot be understood, or are bad and the parameter for that is fail. Nothing is
            written.
    """
    height, width = params.image_size_px
    spec = ImageSpec(height, width, params.channels, params.resize)
    with stage_folder(out) as folder:
        source = open_source(Path(data.root), folder / UNPACKED)
        competition = read_competition(source, data)
        _check_folds(competition, params)
        samples, decoded = _decode(source, competition, spec, folder)
        shutil.rmtree(folder / UNPACKED, ignore_errors=True)
        problems = competition.problems + list(decoded["train"].unreadable.values())
        test_problems = competition.test_problems + list(decoded["test"].unreadable.values())
        if params.bad_samples == "fail":
            _refuse(source, problems)
        _check_enough(source, samples, problems + test_problems, competition.task)
        reviewed = _review(samples, decoded, folder, params, competition.notes.append)
        samples["group"] = reviewed.group_of
        samples = samples.drop(index=list(reviewed.dropped)).reset_index(drop=True)
        _check_enough(source, samples, problems, competition.task)
        train = samples[samples["split"] == "train"]
        target = _target(competition, train)
        truth = target.truth(list(train["label"]))
        samples["fold"] = -1
        samples.loc[train.index, "fold"] = _folds(train, target, truth, params.folds, derive(seed, "prepare", "folds"))
        write_csv(folder / SAMPLES, samples[COLUMNS])
        pixels_digest = file_digest(folder / pixels("train"))
        write_json(folder / CONTRACT, _contract(competition, target, truth, spec, params.folds, pixels_digest))
        report = _report(competition, samples, target, truth, decoded, params.folds, reviewed)
        report |= {"problems": problems, "test_problems": test_problems}
        write_json(folder / REPORT, report)
        _overview(folder, train, target, truth)
    _tell(report, competition, reviewed)


def _refuse(source: Source, problems: list[str]) -> None:
    if problems:
        raise MistakesError(
            f"{source.path} has {len(problems)} bad sample{'s' if len(problems) > 1 else ''}; mend them, or set "
            "prepare.bad_samples: drop to go on without them and have them all listed in report.json:",
            problems,
            shown=SHOWN_SAMPLES,
        )


def _check_enough(source: Source, samples: pd.DataFrame, problems: list[str], task: str) -> None:
    """Refuse what is left, if nothing can be learned or predicted from it."""
    labels = samples.loc[samples["split"] == "train", "label"].nunique()
    readable = int(((samples["split"] == "test") & (samples["problem"] == "")).sum())
    if labels < 2 or not readable:
        what = "values" if task == "regression" else "classes"
        raise MistakesError(
            f"{source.path}: the images that can be read are of {labels} {what} in train, and {readable} in test; "
            f"expected two {what} or more, and a test image:",
            problems or ["the others were dropped, as prepare.duplicates, conflicts, leaks or constant says"],
            shown=SHOWN_SAMPLES,
        )


def _decode(
    source: Source, competition: Competition, spec: ImageSpec, folder: Path
) -> tuple[pd.DataFrame, dict[str, Decoded]]:
    """Write both arrays; return all good samples with their rows, and what was decoded."""
    order = {file: position for position, file in enumerate(source.files)}
    train = competition.train.assign(split="train", problem="")
    test = competition.test.assign(split="test", label="", group="", fold="", weight="")
    count = len(train) + len(test)
    check_space(folder, count * int(np.prod(spec.shape)))
    tables, decodings = [], {}
    for split, table in (("train", train), ("test", test)):
        # Rows lie in reading order, so that an archive is passed through once; a test sample without a file comes last.
        files = sorted({file for file in table["file"] if file}, key=order.__getitem__)
        row_of = {file: row for row, file in enumerate(files)}
        decoded = write_images(files, source.read, folder / pixels(split), spec, f"prepare {split}")
        table = table.assign(row=[row_of.get(file, -1) for file in table["file"]])
        unreadable = table["row"].isin(list(decoded.unreadable))
        if split == "train":
            table = table[~unreadable]
        else:
            table.loc[unreadable, "problem"] = [decoded.unreadable[row] for row in table.loc[unreadable, "row"]]
        tables.append(table)
        decodings[split] = decoded
    return pd.concat(tables, ignore_index=True), decodings


def _review(
    samples: pd.DataFrame,
    decoded: dict[str, Decoded],
    folder: Path,
    params: PrepareParams,
    tell: Callable[[str], None],
) -> Review:
    """Look for like and constant images among all that can be read, of both splits; tell what limits it."""
    arrays = {split: open_array(folder / pixels(split)) for split in ("train", "test")}
    readable = samples[(samples["row"] >= 0) & (samples["problem"] == "")]
    splits, rows = readable["split"].to_numpy(str), readable["row"].to_numpy()

    def gather(name: str) -> np.ndarray:
        found = [getattr(decoded[split], name)[rows[splits == split]] for split in ("train", "test")]
        return np.concatenate(found)  # samples are train before test

    constant = gather("constant")
    pairs = find_duplicates(
        gather("digests"),
        gather("hashes"),
        constant,
        lambda position: arrays[str(splits[position])][rows[position]],
        params.alike_bits,
        tell,
    )
    own = [pair for pair in pairs if (splits[pair.first], rows[pair.first]) != (splits[pair.second], rows[pair.second])]
    reviewed = review(readable, own, constant, params)
    if reviewed.refused:
        raise MistakesError(
            "the images are not what prepare.duplicates, conflicts, leaks and constant ask for; set these to keep or "
            "drop, or mend the data:",
            reviewed.refused,
            shown=SHOWN_SAMPLES,
        )
    # From positions among the readable samples to those among all.
    where = readable.index.to_numpy()
    group_of = np.full(len(samples), "", object)
    group_of[where] = reviewed.group_of
    shown = [(int(where[first]), int(where[second]), text) for first, second, text in reviewed.shown]
    images = [(arrays[samples["split"][a]][samples["row"][a]], arrays[samples["split"][b]][samples["row"][b]])
              for a, b, _ in shown[:SHOWN_PAIRS]]  # fmt: skip
    _write_alike(folder, samples, shown[:SHOWN_PAIRS], images)
    return replace(reviewed, dropped={int(where[each]) for each in reviewed.dropped}, group_of=list(group_of))


def _write_alike(
    folder: Path, samples: pd.DataFrame, shown: list[tuple[int, int, str]], images: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    """Show like images side by side."""
    ids, labels = samples["sample_id"], samples["label"]
    tiles: list[np.ndarray] = []
    captions: list[str] = []
    for (first, second, text), both in zip(shown, images, strict=True):
        tiles += both
        captions += [f"{ids[first]}\n{labels[first]}\n{text}", f"{ids[second]}\n{labels[second] or 'test'}"]
    if tiles:
        write_sheet(folder / ALIKE, in_lines(tiles, captions, 2 * PAIRS_PER_LINE))


def _target(competition: Competition, train: pd.DataFrame) -> Target:
    """Fix the classes that are left, and the range of a value."""
    low, high = 0.0, 1.0
    if competition.task == "regression":
        values = train["label"].astype(float)
        low, high = float(values.min()), float(values.max())
    if competition.task == "ordinal" and not all(is_whole(name) for name in competition.classes):
        raise CompetitionError(
            f"the classes are {list(competition.classes)[:SHOWN_CLASSES]}; for data.task: ordinal they must be whole "
            "numbers, so that their order is known; set data.task: multiclass"
        )
    classes = competition.classes
    if competition.task == "multiclass" and competition.form.kind == "class":
        present = set(train["label"])  # a class may have gone with its unreadable images
        classes = tuple(name for name in classes if name in present)
    at_least_one = competition.task == "multilabel" and bool((train["label"] != "").all())
    return Target(competition.task, classes, low, high, at_least_one)


def _check_folds(competition: Competition, params: PrepareParams) -> None:
    """Refuse, before anything is decoded, a number of given folds that leaving out samples cannot make right."""
    given, choices = competition.train["fold"], (params.duplicates, params.conflicts, params.leaks, params.constant)
    if not (given != "").any() or (competition.problems and params.bad_samples == "fail"):  # these are told first
        return
    fewer = given.nunique() > params.folds and "drop" in (params.bad_samples, *choices)
    if given.nunique() != params.folds and not fewer:
        raise CompetitionError(
            f"the fold column holds {given.nunique()} folds, and prepare.folds is {params.folds}; {GIVEN_FOLDS}"
        )


def _folds(train: pd.DataFrame, target: Target, truth: np.ndarray, folds: int, seed: int) -> np.ndarray:
    groups, remedy = train["group"].to_numpy(str), "correct prepare.folds"
    grouped = bool((groups != "").any())
    try:
        if (train["fold"] != "").any():
            remedy = GIVEN_FOLDS
            return given_folds(train["fold"].to_numpy(str), folds)
        if grouped:
            remedy = (
                "like images share a fold, and so do those of one data.group_column; lower prepare.folds, set "
                "prepare.duplicates: drop, or data.group_column: none"
            )
        return make_folds(strata(target.task, truth), groups if grouped else None, folds, seed)
    except ValueError as error:
        raise CompetitionError(f"{error}; {remedy}") from None


def _contract(
    competition: Competition, target: Target, truth: np.ndarray, spec: ImageSpec, folds: int, pixels_digest: str
) -> dict[str, Any]:
    return {
        "task": target.task,
        "metric": competition.metric,
        "classes": list(target.classes),
        "target_range": [target.low, target.high],
        "at_least_one": target.at_least_one,
        "prior": target.prior(truth),
        "image": spec.to_json(),
        "value_range": [0, 255],
        "pixels": pixels_digest,
        "folds": folds,
        "submission": competition.form.to_json(),
    }


def _report(
    competition: Competition,
    samples: pd.DataFrame,
    target: Target,
    truth: np.ndarray,
    decoded: dict[str, Decoded],
    folds: int,
    reviewed: Review,
) -> dict[str, Any]:
    counts = _counts(target, truth)
    rare = [f"class {name!r} has {counted(count, 'sample')}, fewer than the {folds} folds"
            for name, count in counts.items() if count < folds]  # fmt: skip
    missing = [f"class {name!r} has {counted(count, 'sample')}; if it means that they have no label, take their rows "
               "out"
               for name, count in counts.items() if name in MISSING]  # fmt: skip
    report: dict[str, Any] = {
        "task": target.task,
        "metric": competition.metric,
        "submission": competition.form.kind,
        "samples": {split: int((samples["split"] == split).sum()) for split in ("train", "test")},
        "classes": counts,
        "folds": {str(fold): int(count) for fold, count in sorted(Counter(samples["fold"]).items()) if fold >= 0},
        "sizes_px": {split: _sizes(decoded[split].sizes) for split in ("train", "test")},
        "modes": {split: decoded[split].modes for split in ("train", "test")},
        "alike": reviewed.report,
        "chosen": {key: {"value": found.value, "surety": found.surety, "why": found.why}
                   for key, found in competition.chosen.items()},
        "notes": competition.notes + rare + missing + _straddling(samples) + _uneven(samples, folds) + _dark(decoded),
    }  # fmt: skip
    if target.task == "regression":
        lowest, median, highest = np.quantile(truth, [0, 0.5, 1])
        report["values"] = {"lowest": float(lowest), "median": float(median), "highest": float(highest)}
    elif counts:
        report["imbalance"] = round(max(counts.values()) / max(min(counts.values()), 1), 2)
    return report


def _straddling(samples: pd.DataFrame) -> list[str]:
    """Tell of groups that folds given by the competition take apart."""
    grouped = samples[(samples["split"] == "train") & (samples["group"] != "")]
    apart = grouped.groupby("group")["fold"].nunique()
    count = int((apart > 1).sum())
    if not count:
        return []
    return [f"the given folds take {counted(count, 'group')} of like samples apart, first {apart.idxmax()!r}"]


def _uneven(samples: pd.DataFrame, folds: int) -> list[str]:
    """Tell of a group that is larger than a fold should be."""
    groups = samples.loc[samples["split"] == "train", "group"]
    sizes = groups[groups != ""].value_counts()
    if not len(sizes) or sizes.iloc[0] * folds <= len(groups):
        return []
    return [
        f"the group {sizes.index[0]!r} holds {sizes.iloc[0]:,} of {len(groups):,} training samples, more than one of "
        f"{folds} folds should: the folds are uneven, and with them the models and their scores"
    ]


def _dark(decoded: dict[str, Decoded]) -> list[str]:
    """Tell of files of 16 bits that all use the lower ones only, such as the 12 bits of a scanner."""
    levels = np.concatenate([each.brightest[each.brightest >= 0] for each in decoded.values()])
    if not len(levels) or levels.max() >= 128:
        return []
    used = int(levels.max()).bit_length()
    return [
        f"the {len(levels):,} files of 16 bits hold numbers of {8 + used} bits or fewer, so their images come out dark "
        f"(with {2**used} of 256 levels); multiply their numbers by {2 ** (8 - used)}, or save them in 8 bits"
    ]


def _counts(target: Target, truth: np.ndarray) -> dict[str, int]:
    if target.task == "regression":
        return {}
    counts = truth.sum(axis=0) if target.task == "multilabel" else np.bincount(truth, minlength=len(target.classes))
    return {name: int(count) for name, count in zip(target.classes, counts, strict=True)}


def _sizes(sizes: np.ndarray) -> dict[str, list[int]]:
    readable = sizes[sizes[:, 0] > 0]
    if not len(readable):
        return {}
    return {
        name: [int(side) for side in function(readable, axis=0)]
        for name, function in (("smallest", np.min), ("median", np.median), ("largest", np.max))
    }


def _overview(folder: Path, train: pd.DataFrame, target: Target, truth: np.ndarray) -> None:
    images = open_array(folder / pixels("train"))
    lines = []
    for title, members in _overview_lines(target, truth):
        rows = train["row"].to_numpy()[members]
        spread = np.unique(np.linspace(0, len(rows) - 1, min(SHOWN_IMAGES, len(rows))).astype(int))
        lines.append(Line(f"{title}\n{counted(len(rows), 'image')}", [images[row] for row in rows[spread]]))
    write_sheet(folder / OVERVIEW, lines)


def _overview_lines(target: Target, truth: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return titles, and which samples (by position) stand beside each."""
    if target.task == "regression":
        bins = strata(target.task, truth)
        members = [np.flatnonzero(bins == number) for number in np.unique(bins)]
        return [(f"{truth[rows].min():g} to {truth[rows].max():g}", rows) for rows in members]
    counts = _counts(target, truth)
    shown = list(counts)
    if len(shown) > SHOWN_CLASSES:
        by_count = sorted(shown, key=lambda name: (-counts[name], name))
        shown = by_count[: SHOWN_CLASSES // 2] + by_count[-SHOWN_CLASSES // 2 :]
    column = {name: position for position, name in enumerate(target.classes)}
    if target.task == "multilabel":
        return [(name, np.flatnonzero(truth[:, column[name]])) for name in shown]
    return [(name, np.flatnonzero(truth == column[name])) for name in shown]


def _tell(report: dict[str, Any], competition: Competition, reviewed: Review) -> None:
    counts = report["samples"]
    for key, found in competition.chosen.items():
        say(f"  {key}: {found.value}" + (f" ({found.surety})" if found.surety != "given" else ""))
    for note in report["notes"]:
        say(f"  note: {note}")
    for line in reviewed.lines:
        say(f"  alike: {line}")
    for what, key in (("dropped", "problems"), ("predicted by the class shares", "test_problems")):
        for problem in report[key][:SHOWN_SAMPLES]:
            say(f"  {what}: {problem}")
        if len(report[key]) > SHOWN_SAMPLES:
            say(f"  {what}: and {len(report[key]) - SHOWN_SAMPLES} more, see {REPORT}")
    _tell_images(report)
    classes = f"{counted(len(report['classes']), 'class', 'classes')}, " if report["classes"] else ""
    say(
        f"prepare: {counts['train']:,} training and {counts['test']:,} test samples, {classes}"
        f"{counted(len(report['problems'] + report['test_problems']), 'problem')}"
    )


def _tell_images(report: dict[str, Any]) -> None:
    """Tell what the images are: how many of each class, how large, of which kind."""
    if counts := report["classes"]:
        ordered = sorted(counts, key=lambda name: (-counts[name], name))
        ends = ordered if len(ordered) <= TOLD_CLASSES else [*ordered[: TOLD_CLASSES - 1], ordered[-1]]
        told = ", ".join(f"{name} {counts[name]:,}" for name in ends)
        say(f"  classes: {told}; the largest is {report['imbalance']:g} times the smallest")
    for split in ("train", "test"):
        sizes, modes = report["sizes_px"][split], report["modes"][split]
        if sizes:
            smallest, median, largest = (" x ".join(map(str, sizes[key])) for key in ("smallest", "median", "largest"))
            kinds = ", ".join(f"{name} {count:,}" for name, count in modes.items())
            say(f"  {split} images: {kinds}; {smallest} to {largest} px, median {median}")
