"""The command line: one command per stage, and the helpers. From here alone stages get their sections and paths.

Every command imports what it runs when it runs, so that ``compete --help`` answers at once.
"""

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from competition.errors import CompetitionError, lacks_memory
from competition.layout import LOCK, STATE

if TYPE_CHECKING:
    from competition.recipes import Params

app = typer.Typer(
    help="From a competition's downloaded images to a submission its grader accepts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ParamsPath = Annotated[Path, typer.Option("--params", help="The file of parameters.")]
DataDir = Annotated[Path, typer.Option("--data", help="The folder with a folder for each stage.")]
PARAMS, DATA = Path("params.yaml"), Path("data")

# What a full, read-only or forbidden disk raises, or a path to something else; no other OSError is the user's to mend.
DISK = {
    errno.ENOSPC: "cannot write to {}: no space is left; make room and run again",
    errno.EDQUOT: "cannot write to {}: the quota is used up; make room and run again",
    errno.EROFS: "cannot write to {}: it is read-only; make it writable, or work in another folder",
    errno.EACCES: "cannot open {}: access is not allowed; change its rights and run again",
    errno.EPERM: "cannot open {}: access is not allowed; change its rights and run again",
    errno.EISDIR: "cannot open {}: it is a folder; give the path of a file",
    errno.ENOTDIR: "cannot open {}: a part of this path is a file; give one that leads through folders",
    errno.EEXIST: "cannot make the folder {}: there is a file of this name; give another, or move the file away",
}

MEMORY = (
    "close other programs, or lower prepare.image_size_px, train.batch_size or the size of the model, and run it "
    "again: tune and train go on where they were"
)
MEMORY_LETTERS = 200  # of a framework's message, which may be pages


@contextmanager
def _told() -> Iterator[None]:
    """Turn what a user can act on into one clear message and exit code 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # stderr is so already: names may hold letters that a terminal has not
        sys.stdout.reconfigure(errors="backslashreplace")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends a command as Ctrl-C does, tidily
    try:
        yield
    except CompetitionError as error:
        print(f"compete: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print("\ncompete: stopped; run it again, and tune and train go on where they were", file=sys.stderr)
        raise typer.Exit(130) from None
    except Exception as error:
        if not (shortage := _shortage(error)):
            raise
        print(f"compete: {shortage}", file=sys.stderr)
        raise typer.Exit(1) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _shortage(error: Exception) -> str:
    """Say what a disk or the memory refused, and what to do; "" of any other error."""
    if lacks_memory(error):
        return f"memory ran out ({' '.join(str(error).split())[:MEMORY_LETTERS]}); {MEMORY}"
    if not isinstance(error, OSError):
        return ""
    number = error.errno or next((code for code in DISK if os.strerror(code) in str(error)), 0)
    return DISK[number].format(error.filename or "the disk") if number in DISK else ""


def _read(path: Path, checked: bool = True) -> "Params":
    """Read the parameters; where the ops of their policies matter they are checked too, which takes a second."""
    _own_package()
    from competition import policies, reading

    return reading.load(path, checks=(policies.check,) if checked else ())


def _own_package() -> None:
    """Refuse to run another copy of the package than the one in this folder, whose files DVC takes for what ran."""
    here, running = Path("competition").resolve(), Path(__file__).resolve().parent
    if here == running or not (here / "stages" / "prepare.py").is_file():
        return
    ours, theirs = ({path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.py")}
                    for folder in (here, running))  # fmt: skip
    differ = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    if differ:
        raise CompetitionError(
            f"this command runs {running}, and {here} differs from it in {len(differ)} of its files, as {differ[0]}; "
            "activate this project's own environment, or run 'pip install -e .' here"
        )


@contextmanager
def _stage(params: Path, data: Path) -> Iterator["Params"]:
    with _told():
        read = _read(params)
        from competition.locks import hold

        with hold(data.absolute().parent / LOCK):
            yield read


@app.command()
def init(
    download: Annotated[Path, typer.Argument(help="The competition's files as downloaded: a folder or an archive.")],
    metric: Annotated[
        str | None, typer.Option(help="What the competition scores.", show_default="found in a description, or guessed")
    ] = None,
    params: ParamsPath = PARAMS,
) -> None:
    """Look at a download, show what it is, and write that and a small image size into params.yaml."""
    with _told():
        from competition.initialise import initialise

        initialise(download, params, metric)


@app.command()
def preset(
    name: Annotated[str | None, typer.Argument(help="The one to write.", show_default="list them all")] = None,
    params: ParamsPath = PARAMS,
) -> None:
    """Write a model family, the search of an article or a recipe of ours into params.yaml, or list them."""
    with _told():
        from competition import policies
        from competition.console import say
        from competition.presets import apply, list_presets

        if name is None:
            for each in list_presets():
                say(f"{each.name}: {each.title}\n  source: {each.source}\n  expected: {each.expected}")
            return
        _own_package()
        replaced = apply(name, params, checks=(policies.check,))
        say(f"preset: replaced {', '.join(replaced)} in {params}")
        say("preset: all else is as it was; now run 'dvc repro'")


@app.command()
def prepare(params: ParamsPath = PARAMS, data: DataDir = DATA) -> None:
    """Decode the competition's images once; fix classes, folds and the submission's format."""
    with _stage(params, data) as read:
        from competition.stages.prepare import prepare as run

        run(read.prepare, read.data, out=data / "prepare", seed=read.seed)


@app.command()
def augment(params: ParamsPath = PARAMS, data: DataDir = DATA) -> None:
    """Render augmented views of the training images."""
    with _stage(params, data) as read:
        from competition.stages.augment import augment as run

        run(read.augment, prepared=data / "prepare", out=data / "augment", seed=read.seed)


@app.command()
def tune(
    params: ParamsPath = PARAMS,
    data: DataDir = DATA,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Let workers of other machines join: 0.0.0.0:5000 listens at port 5000 of all its networks. "
            "Anybody who reaches it can take part, so be in a network you trust. Without it nobody can join.",
        ),
    ] = None,
    here: Annotated[
        int | None, typer.Option(min=0, help="How many of the workers are on this machine, with --listen; else all.")
    ] = None,
    worker: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Work for the search that listens there, and write nothing. The same params.yaml, data/prepare and "
            "data/augment have to be here; tune.workers counts the workers of all machines.",
        ),
    ] = None,
) -> None:
    """Search for the values that score best."""
    if worker and (listen or here is not None):
        raise typer.BadParameter("--worker goes without --listen and --here")
    if here is not None and not listen:
        raise typer.BadParameter("--here goes with --listen")
    if worker:
        with _told():
            from competition.stages.tune import work

            read = _read(params)
            work(
                read.tune,
                read.recipe,
                chief=worker,
                prepared=data / "prepare",
                augmented=data / "augment",
                seed=read.seed,
                threads=read.threads,
            )
        return
    with _stage(params, data) as read:
        from competition.stages.tune import tune as run

        run(
            read.tune,
            read.recipe,
            prepared=data / "prepare",
            augmented=data / "augment",
            out=data / "tune",
            state=data.absolute().parent / STATE,
            seed=read.seed,
            threads=read.threads,
            listen=listen,
            here=here,
        )


@app.command()
def train(params: ParamsPath = PARAMS, data: DataDir = DATA) -> None:
    """Train one model per fold with the tuned values."""
    with _stage(params, data) as read:
        from competition.stages.train import train as run

        run(
            read.recipe,
            prepared=data / "prepare",
            augmented=data / "augment",
            tuned=data / "tune",
            out=data / "train",
            state=data.absolute().parent / STATE,
            seed=read.seed,
            threads=read.threads,
        )


@app.command()
def predict(
    params: Annotated[
        Path | None, typer.Option("--params", help="The file of parameters.", show_default="params.yaml")
    ] = None,
    data: DataDir = DATA,
    images: Annotated[
        Path | None, typer.Option(help="Predict this folder or archive of images instead; needs data/train only.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The CSV file to write, with --images.")] = None,
) -> None:
    """Write the submission for the test images, or predict a folder of other images."""
    if (images is None) != (out is None):
        raise typer.BadParameter("--images and --out go together")
    if images is None or out is None:
        with _stage(params or PARAMS, data) as read:
            from competition.stages.predict import predict as run

            run(
                read.predict,
                prepared=data / "prepare",
                trained=data / "train",
                out=data / "predict",
                seed=read.seed,
                threads=read.threads,
            )
        return
    with _told():
        from competition.stages.predict import PLAIN, predict_folder

        if params or PARAMS.exists():
            read = _read(params or PARAMS)
            views, seed, threads = read.predict, read.seed, read.threads
        else:
            views, seed, threads = PLAIN, 0, "auto"
        predict_folder(views, images=images, trained=data / "train", out=out, seed=seed, threads=threads)


@app.command()
def score(
    submission: Annotated[Path, typer.Argument(help="The CSV file to score.")],
    answers: Annotated[Path, typer.Argument(help="The CSV file of the true answers.")],
    metric: Annotated[str | None, typer.Option(help="Only this metric.", show_default="all that fit")] = None,
) -> None:
    """Score a submission against its answers by every metric that fits, with 95 % intervals."""
    with _told():
        from competition.console import say
        from competition.grading import grade

        for name, result in grade(submission, answers, seed=0, metric=metric).items():
            say(f"{name} {result}")


@app.command()
def verify(
    params: ParamsPath = PARAMS,
    data: DataDir = DATA,
    once: Annotated[
        bool, typer.Option("--once", help="Run once, and compare with what stands in --data.", show_default="run twice")
    ] = False,
) -> None:
    """Run all stages again, aside, and say whether every output is the same to the last byte."""
    with _stage(params, data) as read:
        from competition.verify import verify as run

        run(read, params=params, data=data, once=once)


@app.command()
def shapes(
    params: ParamsPath = PARAMS,
    data: DataDir = DATA,
    corner: Annotated[
        Literal["low", "high"] | None,
        typer.Option(
            help="With every number of tune.space at its lowest or highest, and of its other choices those "
            "by which the model has the most activations or the fewest (none if it cannot be built)."
        ),
    ] = None,
) -> None:
    """Show what each layer of the model puts out, holds and computes, before anything is trained."""
    with _told():
        from competition.console import counted, say
        from competition.layout import CONTRACT
        from competition.shapes import NEEDS_KERAS, MisfitError, jumps, table, trace
        from competition.tasks import Target

        read = _read(params, checked=False)
        recipe = read.recipe
        contract = data / "prepare" / CONTRACT
        if contract.exists():
            from competition.artifacts import read_json  # and pandas, which takes its time

            target, source = Target.of(read_json(contract)), str(contract)
        else:
            target = Target("multiclass", tuple(map(str, range(10))), 0, 1, False)
            source = "assumed, for 'compete prepare' has not run"
        shape = (*read.prepare.image_size_px, read.prepare.channels)
        size = " x ".join(map(str, shape))
        say(f"{recipe.model.family} on images of {size}; {counted(target.outputs, 'output')} ({source})")
        if corner:
            from competition.corner import corner as find_corner

            values, recipe = find_corner(recipe, read.tune.space, shape, target, high=corner == "high")
            named = ", ".join(f"{path}: {value}" for path, value in values.items())
            say(f"with {named or 'all values as they stand, for tune.space is empty'}")
        try:
            rows = trace(recipe.model, shape, target)
        except MisfitError as misfit:
            for line in table(misfit.rows, recipe.train.batch_size)[: 1 + len(misfit.rows)]:  # it adds up to no model
                say(line)
            raise
        told = [] if recipe.model.family in NEEDS_KERAS else jumps(rows)  # such a network is as its authors made it
        for line in [*table(rows, recipe.train.batch_size), *(f"note: {jump}" for jump in told)]:
            say(line)


@app.command()
def sample(
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("data/raw"),
) -> None:
    """Write the bundled digits as a competition: digits.zip, and its answers beside it."""
    with _told():
        from competition.console import say
        from competition.sample import write_sample

        for path in write_sample(out):
            say(f"wrote {path}")
