"""Look at a download and write what it is into the data section of ``params.yaml``, for the user to correct."""

import io
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from competition.artifacts import whole_file
from competition.console import counted, say
from competition.errors import SHOWN_SAMPLES, CompetitionError, UnreadableError
from competition.images import decode
from competition.params import DataParams
from competition.raw.competition import Competition, read_competition
from competition.raw.found import Found
from competition.raw.sources import Source, open_source
from competition.reading import read_yaml
from competition.scores import find_metric

LOOKED_AT = 64  # images whose size and colour decide those of all
LARGEST_PX = 64  # side up to which a first run on a CPU ends in minutes; raise it when the pipeline stands
WIDTH = 150  # columns of the table where no terminal tells its own


def initialise(download: Path, params: Path, metric: str | None) -> None:
    """Find out what a competition is and write it down.

    Args:
        download: the folder or archive as downloaded.
        params: the ``params.yaml`` to change; its comments and all other sections stay, but for the image size and
            channels.
        metric: what the competition scores; None to find or guess it.

    Raises:
        CompetitionError: there is no such download, it cannot be opened or it holds the project's data, and nothing is
            written. Or there is nothing to choose from, or more than one choice; then only the download's path is
            written, so that the user can go on by hand.
    """
    if not download.exists():  # a shell leaves ~ in quotes as it stands; what is nobody's home stays here too
        download = Path(os.path.expanduser(download))  # noqa: PTH111
    written = read_yaml(params, _yaml())
    _check(download, params, written, metric)
    root = _root(download, params)
    if root != root.encode(errors="replace").decode():
        raise CompetitionError(f"{root!r} is not UTF-8, and so no path that {params} can hold; rename it")
    data = _open_minded(root, metric)
    with tempfile.TemporaryDirectory(dir=params.absolute().parent, prefix=".init-") as scratch:
        source = open_source(download, Path(scratch))
        try:
            competition = read_competition(source, data, guess=metric is None)
        except CompetitionError as error:
            _fill(written["data"], data.model_dump())
            _write(params, written)
            raise CompetitionError(
                f"{error}\n{params} now names this download and leaves the rest to be found: set there what is asked "
                "for, then run 'dvc repro'"
            ) from None
        size = _image_size(source, competition)
    chosen = {"root": Found(root, "given", ""), **competition.chosen}
    chosen.setdefault("metric", Found(competition.metric, "given", ""))
    values = {key: chosen[key].value if key in chosen else default for key, default in data.model_dump().items()}
    _fill(written["data"], values)
    folds = competition.train["fold"].nunique() if (competition.train["fold"] != "").any() else 0
    if isinstance(written.get("prepare"), dict):
        _fill(written["prepare"], {key: found.value for key, found in size.items()})
    for section in ("prepare", "train") if folds > 1 else ():
        if isinstance(written.get(section), dict):
            _fill(written[section], {"folds": folds})
    _write(params, written)
    _show(chosen, values, competition, size)
    if folds > 1:
        say(f"init: set prepare.folds and train.folds to {folds}, as many as the column {values['fold_column']} has")
    beside = "".join(f" and prepare.{key}" for key in size) if isinstance(written.get("prepare"), dict) else ""
    say(f"init: wrote the data section{beside} of {params}; correct it where it is wrong, then run 'dvc repro'")
    if size and size["channels"].value == 3:
        say("init: for photographs, 'compete preset photos' writes how they are augmented, learned and searched")


def _check(download: Path, params: Path, written: Any, metric: str | None) -> None:
    """Refuse what cannot be written down, before anything is."""
    if metric is not None:
        try:
            find_metric(metric)
        except ValueError as error:
            raise CompetitionError(f"--metric: {error}") from None
    if not isinstance(written.get("data"), dict):
        raise CompetitionError(f"{params} has no data section; take it from the project's own params.yaml")
    if not download.exists():  # mistyped: what stands in params.yaml is of another
        raise CompetitionError(f"{download} is missing; give the path of the competition's files")
    outputs = params.resolve().parent / "data"
    if outputs.is_relative_to(download.resolve()):  # DVC would refuse it, in words about an output
        raise CompetitionError(
            f"{download} holds what the stages write, in {outputs}; put the competition's files into a folder of their "
            "own, as data/raw/NAME, and give that"
        )


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _write(params: Path, written: Any) -> None:
    """Write params.yaml, its lines ended as they were."""
    text = io.StringIO()
    _yaml().dump(written, text)
    newline = "\r\n" if b"\r\n" in params.read_bytes() else "\n"
    with whole_file(params) as file:
        file.write(text.getvalue().replace("\n", newline).encode())


def _root(download: Path, params: Path) -> str:
    """Write the path from the project's folder, which holds params.yaml, where it lies below that and we are there."""
    path, project = (Path(os.path.abspath(each)) for each in (download, params.parent))  # noqa: PTH100  (keep links)
    below = project == Path.cwd() and path.is_relative_to(project)
    return path.relative_to(project).as_posix() if below else str(path)


def _open_minded(root: str, metric: str | None) -> DataParams:
    auto: dict[str, Any] = dict.fromkeys(DataParams.model_fields, "auto")
    return DataParams(**{**auto, "root": root, "metric": metric or "accuracy", "merge_classes": {}})


def _image_size(source: Source, competition: Competition) -> dict[str, Found]:
    """Suggest size and channels from some of the training images; nothing if none of these can be read."""
    files = competition.train["file"]
    spread = np.unique(np.linspace(0, len(files) - 1, LOOKED_AT).astype(int))
    order = {name: position for position, name in enumerate(source.files)}
    sides, coloured = [], 0
    for file in sorted(files.iloc[spread], key=order.__getitem__):
        try:
            image = decode(source.read(file), channels=3)
        except UnreadableError:
            continue
        sides.append(image.shape[:2])
        coloured += bool((image != image[..., :1]).any())
    if not sides:
        return {}
    height, width = (int(side) for side in np.median(sides, axis=0))
    side = min(max(height, width), LARGEST_PX)
    images = counted(len(sides), "image")
    return {
        "image_size_px": Found([side, side], "guess", f"the median of {images} is {height} x {width}"),
        "channels": Found(3 if coloured else 1, "guess", f"{coloured or 'none'} of {images} in colour"),
    }


def _fill(section: Any, values: dict[str, Any]) -> None:
    """Set values in place, so that the comments on their lines stay."""
    for key, value in values.items():
        if isinstance(value, list | tuple):
            value = CommentedSeq(value)
            value.fa.set_flow_style()
        section[key] = value


def _show(chosen: dict[str, Found], values: dict[str, Any], competition: Competition, size: dict[str, Found]) -> None:
    console = Console()
    table = Table(title=f"{len(competition.train):,} training and {len(competition.test):,} test samples")
    for heading in ("data", "found", "how sure", "why"):
        table.add_column(heading, overflow="fold")
    for key, value in values.items():
        if found := chosen.get(key):
            shown = ", ".join(value) if isinstance(value, list | tuple) else str(value)
            table.add_row(key, escape(shown), found.surety, escape(found.why))
    for key, found in size.items():
        table.add_row(f"prepare.{key}", escape(str(found.value)), found.surety, escape(found.why))
    classes = competition.classes
    if competition.task != "regression":
        more = f" and {len(classes) - 10} more" if len(classes) > 10 else ""
        table.add_row("classes", escape(", ".join(classes[:10]) + more), "", f"{len(classes)} in this order")
    (console if console.is_terminal else Console(width=WIDTH)).print(table)
    for note in competition.notes:
        say(f"  note: {note}")
    problems = competition.problems + competition.test_problems
    for problem in problems[:SHOWN_SAMPLES]:
        say(f"  problem: {problem}")
    if len(problems) > SHOWN_SAMPLES:
        say(f"  problem: and {len(problems) - SHOWN_SAMPLES} more")
    if competition.problems:
        say("  set prepare.bad_samples: drop to go on without these")
