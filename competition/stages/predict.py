"""predict: blend all models and test-time views into probabilities, and these into a submission."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from competition import backend, inference
from competition.arrays import open_array
from competition.artifacts import check_space, read_json, read_samples, require, stage_folder, write_csv
from competition.console import counted, progress_bar, say
from competition.decisions import Decision
from competition.errors import SHOWN_SAMPLES, CompetitionError, MistakesError
from competition.images import ImageSpec, write_images
from competition.layout import CONTRACT, PROBABILITIES, SUBMISSION, UNPACKED, pixels, view
from competition.params import PredictParams
from competition.policies import Policy, write_views
from competition.raw.forms import Form
from competition.raw.sources import ARCHIVES, IMAGES, Source, list_images, open_source
from competition.submission import blend, check_probabilities, fill, gate, write
from competition.tasks import Target

PLAIN = PredictParams(views=1, mirror=False, policy=())  # the image as it is, for a folder far from any params.yaml


def predict(params: PredictParams, *, prepared: Path, trained: Path, out: Path, seed: int, threads: int | str) -> None:
    """Predict the test split.

    Args:
        params: test-time views.
        prepared: the folder that prepare wrote; its test images are used, and its contract is compared.
        trained: the folder that train wrote.
        out: the folder to write.
        seed: of the test-time views.
        threads: CPU threads of a model.

    Writes:
        probabilities.csv: sample_id, and p_<class> for each class (or the value), float32; the mean over models and
            views, with ``mirror`` also of each view's mirror image. A sample whose image could not be read has the
            class shares (or mean value) of the training set.
        submission.csv: as the competition wants it; only if `gate` lets it pass, else the probabilities stand alone.

    A healthy run:
        On the bundled digits: 450 rows; accuracy 0.99 by ``compete score``.

    Raises:
        CompetitionError: a file of an earlier stage is missing, or the submission would be refused.
    """
    contract = read_json(require(trained / CONTRACT, "compete train"))
    samples = read_samples(prepared)
    _check_same(contract, read_json(require(prepared / CONTRACT, "compete prepare")), trained, prepared)
    images = require(prepared / pixels("test"), "compete prepare")
    test = samples[samples["split"] == "test"]
    readable = test[test["problem"] == ""].sort_values("row")
    refused, form, target = None, Form.from_json(contract["submission"]), Target.of(contract)
    decision = Decision.from_json(contract["decision"])
    with stage_folder(out) as folder:
        split = _Split(images, list(readable["sample_id"]), readable["row"].to_numpy(np.int64))
        probabilities = _predict_split(params, split, trained, contract, folder, seed, threads)
        probabilities = probabilities.reindex(test["sample_id"])
        probabilities.loc[(test["problem"] != "").to_numpy()] = np.float32(contract["prior"])
        check_probabilities(probabilities, target)
        named = probabilities.add_prefix("p_").reset_index(names="sample_id")
        write_csv(folder / PROBABILITIES, named)
        write(folder / SUBMISSION, fill(probabilities, form, target, decision), form)
        try:
            gate(folder / SUBMISSION, list(test["sample_id"]), form, target)
        except CompetitionError as error:  # the probabilities took long to compute and are good: keep them
            (folder / SUBMISSION).unlink()
            refused = error
    if refused:
        raise refused
    say(f"predict: {counted(len(test), 'row')} in {out / SUBMISSION}")


def _check_same(contract: dict[str, Any], other: dict[str, Any], trained: Path, prepared: Path) -> None:
    differ = [key for key in ("task", "classes", "target_range", "image", "submission") if contract[key] != other[key]]
    if differ:
        raise CompetitionError(
            f"{trained} was trained on another {prepared}: they differ in {', '.join(differ)}; "
            "run 'compete train' again"
        )


def predict_folder(
    params: PredictParams, *, images: Path, trained: Path, out: Path, seed: int, threads: int | str
) -> None:
    """Predict the images of a folder or archive that is part of no competition.

    Args:
        params: test-time views.
        images: a folder or archive; an image's id is its path in there.
        trained: the folder that train wrote. Nothing else is read.
        out: the CSV file to write, in the submission's columns, sorted by id.
        seed, threads: as in `predict`.

    Raises:
        CompetitionError: no image there, or unreadable ones, or predictions are no numbers, or ``out`` is called like
            an image or an archive; nothing is written.
    """
    contract = read_json(require(trained / CONTRACT, "compete train"))
    if out.is_dir():
        raise CompetitionError(f"{out} is a folder; expected the name of a CSV file to write")
    if out.name.lower().endswith((*IMAGES, *ARCHIVES)):  # it may be one of those to predict
        raise CompetitionError(f"{out} is called like an image or an archive; expected the name of a CSV file to write")
    if not images.exists():
        raise CompetitionError(f"{images} is missing; give --images a folder or an archive that exists")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise CompetitionError(f"{out} cannot be written, for a file stands where its folder should be") from None
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        source = open_source(images, Path(scratch) / UNPACKED)
        _predict_source(params, source, trained, out, Path(scratch), contract, seed, threads)


def _predict_source(
    params: PredictParams,
    source: Source,
    trained: Path,
    out: Path,
    folder: Path,
    contract: dict[str, Any],
    seed: int,
    threads: int | str,
) -> None:
    for line in source.left_out:
        say(f"  note: left out: {line}")
    files = list_images(source)
    if not files:
        raise CompetitionError(f"{source.path} holds no image; expected files called like .jpg or .png")
    spec = ImageSpec(**contract["image"])
    check_space(folder, len(files) * int(np.prod(spec.shape)))
    decoded = write_images(files, source.read, folder / pixels("test"), spec, "decode")
    if decoded.unreadable:
        raise MistakesError(
            f"{source.path} has {counted(len(decoded.unreadable), 'unreadable image')}; take them out or mend them:",
            list(decoded.unreadable.values()),
            shown=SHOWN_SAMPLES,
        )
    split = _Split(folder / pixels("test"), files, np.arange(len(files)))
    probabilities = _predict_split(params, split, trained, contract, folder, seed, threads).sort_index()
    form, target = Form.from_json(contract["submission"]), Target.of(contract)
    check_probabilities(probabilities, target)
    write(folder / SUBMISSION, fill(probabilities, form, target, Decision.from_json(contract["decision"])), form)
    gate(folder / SUBMISSION, list(probabilities.index), form, target)
    (folder / SUBMISSION).replace(out)
    say(f"predict: {counted(len(files), 'row')} in {out}")


@dataclass(frozen=True)
class _Split:
    """An array of images, and which of its rows is which sample."""

    images: Path
    sample_ids: list[str]
    rows: np.ndarray


def _predict_split(
    params: PredictParams,
    split: _Split,
    trained: Path,
    contract: dict[str, Any],
    folder: Path,
    seed: int,
    threads: int | str,
) -> pd.DataFrame:
    """Average the probabilities of all models and views: float32, sample ids as index, classes as columns."""
    rendered = _render_views(params, split, folder, seed)
    views = [open_array(path) for path in (split.images, *rendered)]
    if params.mirror:
        views = [side for images in views for side in (images, images[:, :, ::-1])]
    backend.start(threads)
    import keras

    index, target = pd.Index(split.sample_ids), Target.of(contract)

    def tables() -> Iterator[pd.DataFrame]:
        names = contract["weights"]
        with progress_bar() as progress:
            task = progress.add_task("predict", total=len(names) * len(views))
            for name in names:
                model = keras.models.model_from_json(contract["architecture"])
                _load(model, require(trained / name, "compete train"))
                for images in views:
                    probabilities = inference.predict(model, target, images, split.rows)
                    yield pd.DataFrame(probabilities, index=index, columns=contract["classes"])
                    progress.advance(task)
                keras.backend.clear_session()

    blended = blend(tables())
    for path in rendered:
        path.unlink()
    return blended


def _load(model: Any, path: Path) -> None:
    try:
        model.load_weights(path)
    except (OSError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CompetitionError(f"{path} is damaged or of another model ({reason}); run 'compete train' again") from None


def _render_views(params: PredictParams, split: _Split, folder: Path, seed: int) -> list[Path]:
    """Render the test-time views after the first, which is the image itself."""
    if params.views == 1:
        return []
    images = open_array(split.images)
    Policy(params.policy, images.shape[1:])  # refuses here, in words, what a worker could only fail at
    check_space(folder, (params.views - 1) * images.nbytes)
    sample_ids = [""] * len(images)
    for row, sample_id in zip(split.rows, split.sample_ids, strict=True):
        sample_ids[row] = sample_id
    outs = {number: folder / view(number) for number in range(1, params.views)}
    write_views(split.images, sample_ids, params.policy, outs, seed=seed, purpose="predict")
    return list(outs.values())
