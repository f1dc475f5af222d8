"""train: one model per fold with the tuned values, and what each predicts of the samples it never saw."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from competition import backend, decisions, environment
from competition.artifacts import check_space, require, stage_folder, write_csv, write_json
from competition.batches import TrainingSet, read_training_set
from competition.console import progress_bar, say, warn
from competition.decisions import Decision
from competition.errors import CompetitionError, DivergedError
from competition.layout import (
    CONTRACT,
    ENV,
    HISTORY,
    HYPERPARAMETERS,
    METRICS,
    MISTAKES,
    OOF,
    POLICY,
    SAMPLES,
    pixels,
    weights,
)
from competition.params import TrainParams
from competition.pictures import Line, in_lines, write_sheet
from competition.reading import overlay
from competition.recipes import Recipe
from competition.scores import SMALL, Score, find_metric, sample_losses, score
from competition.seeds import derive
from competition.shapes import first_shape
from competition.state import forget, keyed

if TYPE_CHECKING:
    from competition.fitting import Fitted

SHOWN_MISTAKES = 40
MISTAKES_PER_LINE = 10
MIN_DECIDED = 20  # samples out of fold; on fewer a decision is fitted to chance
MOST_DECIDED = 300_000_000  # predictions; beyond, fitting takes longer than a minute for each fold
DECISION_PARTS = 5  # that stand for folds where only one was trained
FEW_STEPS = 100  # of the weights
QUIET_SECONDS = 30  # after which a pipe, which shows no progress bar, is told of an epoch


def train(
    recipe: Recipe,
    *,
    prepared: Path,
    augmented: Path,
    tuned: Path,
    out: Path,
    state: Path,
    seed: int,
    threads: int | str,
) -> None:
    """Train one model per fold and predict every training sample out of fold.

    Args:
        recipe: the model and train sections.
        prepared, augmented, tuned: the folders of the stages before; the hyperparameters of tune are laid over the
            recipe.
        out: the folder to write.
        state: the project's folder of what a killed run left; what is there is gone on with.
        seed: of weights, dropout and data order; each fold derives its own.
        threads: CPU threads of a model.

    Writes:
        fold-<k>.weights.h5: the model validated on fold k; fold-<k>-seed-<s>.weights.h5 its further seeds;
            all.weights.h5 with ``refit``, trained for the mean of the epochs that the folds kept.
        contract.json: prepare's contract, and architecture (Keras JSON), recipe, names of the weights and decision:
            all that predict needs.
        oof.csv: sample_id, fold, label, predicted, and p_<class> for each class (or the value), float32; the samples
            of the trained folds in the order of samples.csv, each as it is: without the test-time views of predict.
        metrics.json: the metric pooled over all out-of-fold samples, decided (with the decision, which for each fold
            was fitted on the others), and of each fold without it; each with its 95 % interval.
        history.csv: fold (all for refit), seed, epoch, loss, val_loss, score (the metric, without decision),
            learning_rate.
        mistakes.png: the samples most surely taken for another class.
        env.json: time (of a fold also what a killed run had taken for the epochs that are gone on with), versions,
            machine. The one file whose bytes differ from run to run.

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
    backend.start(threads, recipe.train.deterministic)
    parameters = {"seed": seed, **recipe.model_dump(mode="json", exclude={"train": {"folds"}})}
    inputs = [prepared / SAMPLES, prepared / CONTRACT, prepared / pixels("train"), augmented / POLICY, *recipe.files]
    state = keyed(state, "train", parameters, inputs, threads)
    with stage_folder(out) as folder:
        started = time.time()
        trained = _train_all(recipe, training_set, folder, state, seed)
        decision, kept, decided, results = _decide(training_set, trained.positions, trained.raw, seed)
        table = _oof_table(training_set, trained.positions, decided, trained.raw)
        write_csv(folder / OOF, table)
        write_csv(folder / HISTORY, trained.history)
        write_json(folder / METRICS, _metrics(training_set, results))
        write_json(folder / CONTRACT, _contract(training_set, recipe, trained.names, decision))
        _mistakes(folder / MISTAKES, training_set, trained.positions, table)
        times = {"started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)), "fold_seconds": trained.seconds}
        write_json(folder / ENV, {**times, **environment.describe(threads)})
    forget(state)
    metric = training_set.contract["metric"]
    say(f"train: {metric} out of fold {results['pooled']}")
    if "decided" in results:
        told = "which is kept" if kept else "no better, so it is left out"
        say(f"train: {metric} with {decision.kind} fitted on the other folds {results['decided']}, {told}")
    if few := _few_steps(recipe.train, training_set.folds):
        warn(few)


def _few_steps(params: TrainParams, folds: np.ndarray) -> str:
    """Tell of a training that ends before it has learned much, as of few samples in large batches; else nothing."""
    samples = int(np.count_nonzero(folds))  # without fold 0, and of the others about as many
    size = max(1, min(params.batch_size, samples))
    steps = params.epochs * (samples // size) // params.accumulate_batches
    if steps >= FEW_STEPS:
        return ""
    return (
        f"{params.epochs} epochs of {samples:,} samples in batches of {size:,} are {steps} steps, and fewer than "
        f"{FEW_STEPS} are seldom enough; lower train.batch_size or raise train.epochs"
    )


@dataclass(frozen=True)
class _Trained:
    """What came of all models.

    Attributes:
        names: of their weights.
        history: as in history.csv.
        seconds: of each fold.
        positions: int64 (n,), the samples predicted out of fold, ascending.
        raw: float32 (n, k), what was predicted of them.
    """

    names: list[str]
    history: pd.DataFrame
    seconds: dict[str, float]
    positions: np.ndarray
    raw: np.ndarray


def _train_all(recipe: Recipe, training_set: TrainingSet, folder: Path, state: Path, seed: int) -> _Trained:
    """Train the models of every fold, and with ``refit`` those of all samples; write their weights."""
    histories: list[pd.DataFrame] = []
    predictions, predicted, seconds, names = [], [], {}, []
    folds: list[int | None] = [*range(recipe.train.folds), *([None] if recipe.train.refit else [])]
    for fold in folds:
        fold_start, seconds_before, of_seeds = time.monotonic(), 0.0, []
        until = _refit_epochs(histories) if fold is None else None
        for number in range(recipe.train.seeds):
            names.append(weights(fold, number))
            fitted = _train_one(recipe, training_set, fold, number, until, seed, state / Path(names[-1]).stem)
            # HDF5 brings the process down when the disk is full, so ask first; it adds some KB for each layer.
            check_space(folder, 5 * fitted.model.count_params() + 1_000_000)
            fitted.model.save_weights(folder / names[-1])
            key = {"fold": "all" if fold is None else fold, "seed": number, "kept": fitted.kept.epoch}
            histories.append(pd.DataFrame([{**key, **asdict(epoch)} for epoch in fitted.history]))
            of_seeds.append(fitted.probabilities)
            seconds_before += fitted.seconds_before
        if fold is not None:
            predictions.append(np.mean(of_seeds, axis=0, dtype=np.float64).astype(np.float32))
            predicted.append(np.flatnonzero(training_set.folds == fold))
        seconds["all" if fold is None else str(fold)] = round(seconds_before + time.monotonic() - fold_start, 3)
    positions = np.concatenate(predicted)
    order = np.argsort(positions)
    history = pd.concat(histories).drop(columns="kept")
    return _Trained(names, history, seconds, positions[order], np.concatenate(predictions)[order])


def _refit_epochs(histories: list[pd.DataFrame]) -> int:
    """Return how long to train on all samples: as long as the folds did until the epoch they kept, in the mean."""
    return round(np.mean([table["kept"].iloc[0] + 1 for table in histories if "all" not in set(table["fold"])]))


def _train_one(
    recipe: Recipe, training_set: TrainingSet, fold: int | None, number: int, until: int | None, seed: int, state: Path
) -> "Fitted":
    from competition.fitting import Epoch, fit

    metric = training_set.contract["metric"]
    name = ("all samples" if fold is None else f"fold {fold}") + (f", seed {number}" if recipe.train.seeds > 1 else "")
    told = time.monotonic()

    def tell(epoch: Epoch) -> str:
        validated = "" if fold is None else f", val loss {epoch.val_loss:.4f}, {metric} {epoch.score:.4f}"
        return f"{name}, loss {epoch.loss:.4f}{validated}"

    with progress_bar() as progress:
        task = progress.add_task(name, total=until or recipe.train.epochs)

        def show(epoch: Epoch) -> None:
            nonlocal told
            progress.update(task, advance=1, description=tell(epoch))
            if progress.disable and time.monotonic() - told > QUIET_SECONDS:
                say(f"  {tell(epoch)}, epoch {epoch.epoch + 1} of {until or recipe.train.epochs}")
                told = time.monotonic()

        # The first seed of a fold is the one that `seeds: 1` has.
        of_fold = derive(seed, "train", "all" if fold is None else fold, *([number] if number else []))
        try:
            fitted = fit(recipe, training_set, fold=fold, seed=of_fold, until=until, state=state, on_epoch=show)
        except DivergedError as error:
            raise DivergedError(f"{name}: {error}") from None
    kept = fitted.kept
    say(f"  {tell(kept)} after epoch {kept.epoch + 1} of {len(fitted.history)}")
    return fitted


def _oof_table(training_set: TrainingSet, positions: np.ndarray, decided: np.ndarray, raw: np.ndarray) -> pd.DataFrame:
    target = training_set.target
    table = pd.DataFrame(
        {
            "sample_id": training_set.sample_ids[positions],
            "fold": training_set.folds[positions],
            "label": target.texts(training_set.truth[positions]),
            "predicted": target.texts(decided),
        }
    )
    return table.join(pd.DataFrame(raw, columns=[f"p_{name}" for name in target.classes]))


def _decide(
    training_set: TrainingSet, positions: np.ndarray, raw: np.ndarray, seed: int
) -> tuple[Decision, bool, np.ndarray, dict[str, Score]]:
    """Fit the decision out of fold, and keep it if it helps where it was not fitted.

    Args:
        training_set: truth and folds.
        positions: int64 (n,), samples predicted out of fold.
        raw: float32 (n, k), what was predicted of them.
        seed: of the intervals, and of the parts where only one fold was trained.

    Returns:
        The decision kept; whether it is a fitted one; the labels (or values) that it decides of each sample, fitted on
        the other folds; and the scores: ``pooled`` and of each fold without it, ``decided`` with it, likewise.
    """
    target, truth, folds = training_set.target, training_set.truth[positions], training_set.folds[positions]
    metric = find_metric(training_set.contract["metric"], target.grades)
    plain = decisions.plain(metric, target.task, len(target.classes), target.at_least_one)
    predicted = decisions.apply(plain, target.task, raw)
    results = {"pooled": score(metric, truth, predicted, derive(seed, "bootstrap", "pooled"))}
    decision, decided = plain, predicted
    if plain.kind != "none" and len(positions) >= MIN_DECIDED and raw.size <= MOST_DECIDED:
        parts = folds
        if len(np.unique(folds)) == 1:
            parts = np.random.default_rng(derive(seed, "parts")).permutation(len(positions)) % DECISION_PARTS
        crossed = decisions.cross_fit(metric, target.task, truth, raw, parts, target.at_least_one)
        if not np.array_equal(crossed, predicted):  # of accuracy, say, the plain decision is the best there is
            results["decided"] = score(metric, truth, crossed, derive(seed, "bootstrap", "pooled"))
        if "decided" in results and metric.better(results["decided"].value, results["pooled"].value):
            decision, decided = decisions.fit(metric, target.task, truth, raw, target.at_least_one), crossed
    for fold in np.unique(folds):
        rows = folds == fold
        results[f"fold {fold}"] = score(metric, truth[rows], predicted[rows], derive(seed, "bootstrap", f"fold {fold}"))
    labels = decided if decision.kind in decisions.LABEL_KINDS else target.likeliest(raw)
    return decision, decision is not plain, labels, results


def _metrics(training_set: TrainingSet, results: dict[str, Score]) -> dict[str, Any]:
    metric = training_set.contract["metric"]

    def number(value: float) -> float | None:
        if not np.isfinite(value):
            return None
        return float(f"{value:.6g}") if abs(value) < SMALL else round(value, 6)

    return {
        name: {metric: number(s.value), "low": number(s.low), "high": number(s.high), "n": s.n}
        for name, s in results.items()
    }


def _contract(training_set: TrainingSet, recipe: Recipe, names: list[str], decision: Decision) -> dict[str, Any]:
    from competition import building

    shape, precision = training_set.shape, backend.precision(recipe.train.precision)
    any_size = first_shape(recipe.train, shape) is not None
    architecture = building.architecture(recipe.model, shape, training_set.target, precision, any_size=any_size)
    return {
        **training_set.contract,
        "decision": decision.to_json(),
        "weights": names,
        "recipe": recipe.model_dump(mode="json"),
        "architecture": architecture,
    }


def _mistakes(path: Path, training_set: TrainingSet, positions: np.ndarray, table: pd.DataFrame) -> None:
    """Show the worst mistakes: samples most surely taken for another class, or whose prediction is furthest off."""
    target = training_set.target
    probabilities = table[[f"p_{name}" for name in target.classes]].to_numpy()
    if target.exclusive:  # the likeliest class is not always the one that is decided
        how_bad = probabilities[np.arange(len(table)), target.truth(list(table["predicted"]))]
    else:
        how_bad = sample_losses(target.task, training_set.truth[positions], probabilities)
    shown = table.assign(position=positions, how_bad=how_bad)
    if target.task != "regression":
        shown = shown[shown["label"] != shown["predicted"]]
    shown = shown.sort_values(["how_bad", "sample_id"], ascending=[False, True]).head(SHOWN_MISTAKES)
    images = [training_set.images[training_set.rows[position]] for position in shown["position"]]
    captions = [
        f"{row.sample_id}\nis {row.label}\n" + (f"{row.how_bad:.2f} {row.predicted}" if target.exclusive
                                                 else f"not {row.predicted}")
        for row in shown.itertuples()
    ]  # fmt: skip
    write_sheet(path, in_lines(images, captions, MISTAKES_PER_LINE) or [Line("no mistakes", [])])
