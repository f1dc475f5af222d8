"""train: one model per fold with the tuned values, and what each predicts of the samples it never saw."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from competition import backend, environment
from competition.artifacts import check_space, require, stage_folder, write_csv, write_json
from competition.batches import TrainingSet, read_training_set
from competition.console import progress_bar, say
from competition.errors import CompetitionError
from competition.layout import CONTRACT, ENV, HISTORY, HYPERPARAMETERS, METRICS, MISTAKES, OOF, weights
from competition.params import Recipe
from competition.pictures import Line, write_sheet
from competition.reading import overlay
from competition.scores import Score, score
from competition.seeds import derive

if TYPE_CHECKING:
    from competition.fitting import Fitted

SHOWN_MISTAKES = 40
MISTAKES_PER_LINE = 10
QUIET_SECONDS = 30  # after which a pipe, which shows no progress bar, is told of an epoch


def train(
    recipe: Recipe,
    *,
    prepared: Path,
    augmented: Path,
    tuned: Path,
    out: Path,
    seed: int,
    threads: int | str,
) -> None:
    """Train one model per fold and predict every training sample out of fold.

    Args:
        recipe: the model and train sections.
        prepared, augmented, tuned: the folders of the stages before; the hyperparameters of tune are laid over the
            recipe.
        out: the folder to write.
        seed: of weights, dropout and data order; each fold derives its own.
        threads: CPU threads of a model.

    Writes:
        fold-<k>.weights.h5: the model validated on fold k.
        contract.json: prepare's contract, and architecture (Keras JSON), recipe and trained folds: all that predict
            needs.
        oof.csv: sample_id, fold, label, predicted, and p_<class> for each class, float32; the samples of the trained
            folds in the order of samples.csv.
        metrics.json: the metric pooled over all out-of-fold samples and of each fold, each with its 95 % interval.
        history.csv: fold, epoch, loss, val_loss, score (the metric), learning_rate.
        mistakes.png: the samples most surely taken for another class.
        env.json: time, versions, machine. The one file whose bytes differ from run to run.

    A healthy run:
        On the bundled digits: accuracy 0.99 on 1,347 samples out of fold.

    Raises:
        CompetitionError: a file of an earlier stage is missing, or the loss is no longer a number.
    """
    training_set = read_training_set(prepared, augmented)
    values = YAML(typ="safe").load(require(tuned / HYPERPARAMETERS, "compete tune"))
    if not isinstance(values, dict):
        raise CompetitionError(f"{tuned / HYPERPARAMETERS} holds no values; run 'compete tune' again")
    recipe = overlay(recipe, values)
    backend.start(threads)
    with stage_folder(out) as folder:
        started = time.time()
        histories, oof, seconds, architecture = [], [], {}, ""
        for fold in range(recipe.train.folds):
            fold_start = time.monotonic()
            fitted = _train_fold(recipe, training_set, fold, seed)
            # HDF5 brings the process down when the disk is full, so ask first; it adds some KB for each layer.
            check_space(folder, 5 * fitted.model.count_params() + 1_000_000)
            fitted.model.save_weights(folder / weights(fold))
            architecture = fitted.architecture
            histories.append(pd.DataFrame([{"fold": fold, **asdict(epoch)} for epoch in fitted.history]))
            oof.append(_oof_rows(training_set, fold, fitted.probabilities))
            seconds[str(fold)] = round(time.monotonic() - fold_start, 3)
        table = pd.concat(oof).sort_values("position").drop(columns="position")
        scores = _scores(training_set, table, seed)
        write_csv(folder / OOF, table)
        write_csv(folder / HISTORY, pd.concat(histories))
        write_json(folder / METRICS, _metrics(training_set, scores))
        write_json(folder / CONTRACT, _contract(training_set, recipe, architecture))
        _mistakes(folder / MISTAKES, training_set, table)
        times = {"started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)), "fold_seconds": seconds}
        write_json(folder / ENV, {**times, **environment.describe(threads)})
    say(f"train: {training_set.contract['metric']} out of fold {scores['pooled']}")


def _train_fold(recipe: Recipe, training_set: TrainingSet, fold: int, seed: int) -> "Fitted":
    from competition.fitting import Epoch, fit

    metric = training_set.contract["metric"]
    told = time.monotonic()
    with progress_bar() as progress:
        task = progress.add_task(f"fold {fold}", total=recipe.train.epochs)

        def show(epoch: Epoch) -> None:
            nonlocal told
            line = f"fold {fold}, loss {epoch.loss:.4f}, val loss {epoch.val_loss:.4f}, {metric} {epoch.score:.4f}"
            progress.update(task, advance=1, description=line)
            if progress.disable and time.monotonic() - told > QUIET_SECONDS:
                say(f"  {line}, epoch {epoch.epoch + 1} of {recipe.train.epochs}")
                told = time.monotonic()

        fitted = fit(recipe, training_set, fold=fold, seed=derive(seed, "train", fold), on_epoch=show)
    kept = fitted.kept
    say(
        f"  fold {fold}: {metric} {kept.score:.4f}, val loss {kept.val_loss:.4f}, loss {kept.loss:.4f} "
        f"after epoch {kept.epoch + 1} of {len(fitted.history)}"
    )
    return fitted


def _oof_rows(training_set: TrainingSet, fold: int, probabilities: np.ndarray) -> pd.DataFrame:
    positions = np.flatnonzero(training_set.folds == fold)
    classes = np.array(training_set.classes, object)
    table = pd.DataFrame(
        {
            "position": positions,
            "sample_id": training_set.sample_ids[positions],
            "fold": fold,
            "label": classes[training_set.labels[positions]],
            "predicted": classes[probabilities.argmax(axis=1)],
        }
    )
    return table.join(pd.DataFrame(probabilities, columns=[f"p_{name}" for name in training_set.classes]))


def _scores(training_set: TrainingSet, table: pd.DataFrame, seed: int) -> dict[str, Score]:
    index = {name: number for number, name in enumerate(training_set.classes)}

    def scored(rows: pd.DataFrame, name: str) -> Score:
        truth, predicted = (rows[column].map(index).to_numpy(np.int64) for column in ("label", "predicted"))
        return score(training_set.contract["metric"], truth, predicted, len(index), derive(seed, "bootstrap", name))

    folds = {f"fold {fold}": scored(rows, f"fold {fold}") for fold, rows in table.groupby("fold")}
    return {"pooled": scored(table, "pooled"), **folds}


def _metrics(training_set: TrainingSet, scores: dict[str, Score]) -> dict[str, Any]:
    metric = training_set.contract["metric"]
    return {
        name: {metric: round(s.value, 6), "low": round(s.low, 6), "high": round(s.high, 6), "n": s.n}
        for name, s in scores.items()
    }


def _contract(training_set: TrainingSet, recipe: Recipe, architecture: str) -> dict[str, Any]:
    return {
        **training_set.contract,
        "trained_folds": list(range(recipe.train.folds)),
        "recipe": recipe.model_dump(mode="json"),
        "architecture": architecture,
    }


def _mistakes(path: Path, training_set: TrainingSet, table: pd.DataFrame) -> None:
    """Show the samples most surely taken for another class, the surest first."""
    columns = [f"p_{name}" for name in training_set.classes]
    probabilities = table[columns].to_numpy()
    position = {sample_id: number for number, sample_id in enumerate(training_set.sample_ids)}
    wrong = table.assign(sureness=probabilities.max(axis=1))[table["label"] != table["predicted"]]
    wrong = wrong.sort_values(["sureness", "sample_id"], ascending=[False, True]).head(SHOWN_MISTAKES)
    images = [training_set.images[training_set.rows[position[sample_id]]] for sample_id in wrong["sample_id"]]
    captions = [f"{row.sample_id}\nis {row.label}\n{row.sureness:.2f} {row.predicted}" for row in wrong.itertuples()]
    lines = [
        Line("", images[start : start + MISTAKES_PER_LINE], captions[start : start + MISTAKES_PER_LINE])
        for start in range(0, len(images), MISTAKES_PER_LINE)
    ]
    write_sheet(path, lines or [Line("no mistakes", [])])
