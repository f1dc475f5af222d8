"""train and predict with several seeds of a fold and with models of all samples."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from competition import inference
from competition.arrays import open_array
from competition.artifacts import read_samples
from competition.layout import CONTRACT, PROBABILITIES, pixels
from competition.tasks import Target
from tests.conftest import Project, quick

NAMES = [f"{name}.weights.h5" for name in ("fold-0", "fold-0-seed-1", "fold-1", "fold-1-seed-1", "all", "all-seed-1")]


@pytest.fixture(scope="module")
def ensemble(copy_project: Callable[[Path], Project], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a run with two folds, two seeds of each and two models of all samples, one view each."""
    project = copy_project(tmp_path_factory.mktemp("ensemble"))
    quick(project)
    project.set(
        tune__max_trials=0, train__seeds=2, train__refit=True, train__epochs=3, train__patience_epochs=2,
        predict__views=1,
    )  # fmt: skip
    project.all_here()
    return project.folder / "data"


def predicted(data: Path, name: str, split: str, step: int = 1) -> pd.DataFrame:
    """Predict the samples of a split with one model; mirrored with a step of -1 through the columns of pixels."""
    contract = json.loads((data / "train" / CONTRACT).read_text())
    model = keras.models.model_from_json(contract["architecture"])
    model.load_weights(data / "train" / name)
    samples = read_samples(data / "prepare")
    samples = samples[samples["split"] == split]
    images = open_array(data / "prepare" / pixels(split))[:, :, ::step]
    values = inference.predict(model, Target.of(contract), images, samples["row"].to_numpy(np.int64))
    return pd.DataFrame(values, index=samples["sample_id"].to_numpy(), columns=contract["classes"])


def probabilities(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype={"sample_id": str}).set_index("sample_id")
    table = table[[name for name in table.columns if name.startswith("p_")]]
    return table.rename(columns=lambda name: name.removeprefix("p_"))


@pytest.mark.slow
def test_the_seeds_of_a_fold_are_averaged(ensemble: Path) -> None:
    oof = pd.read_csv(ensemble / "train/oof.csv", dtype={"sample_id": str}).set_index("sample_id")
    for fold in (0, 1):
        of_seeds = [predicted(ensemble, name, "train") for name in NAMES[2 * fold : 2 * fold + 2]]
        rows = oof.index[oof["fold"] == fold]
        assert len(rows) > 100
        assert (of_seeds[0] - of_seeds[1]).loc[rows].abs().max().max() > 0.01
        mean = (of_seeds[0] + of_seeds[1]).loc[rows] / 2
        kept = probabilities(ensemble / "train/oof.csv").loc[rows]
        np.testing.assert_allclose(kept.to_numpy(), mean.to_numpy(), atol=1e-3)


@pytest.mark.slow
def test_models_of_all_samples_train_as_long_as_the_folds_in_the_mean(ensemble: Path) -> None:
    history = pd.read_csv(ensemble / "train/history.csv", dtype={"fold": str})
    folds = history[history["fold"] != "all"]
    best = folds.loc[folds.groupby(["fold", "seed"])["score"].idxmax(), "epoch"] + 1
    assert len(best) == 4
    for _, rows in history[history["fold"] == "all"].groupby("seed"):
        assert len(rows) == round(best.mean())
        assert rows["score"].isna().all()


@pytest.mark.slow
def test_all_models_are_blended(ensemble: Path) -> None:
    assert json.loads((ensemble / "train" / CONTRACT).read_text())["weights"] == NAMES
    of_models = [predicted(ensemble, name, "test") for name in NAMES]
    blended = probabilities(ensemble / "predict" / PROBABILITIES)
    mean = sum(of_models[1:], start=of_models[0]) / len(of_models)
    np.testing.assert_allclose(blended.to_numpy(), mean.loc[blended.index].to_numpy(), atol=1e-3)
    without_all = sum(of_models[1:4], start=of_models[0]) / 4
    assert (blended - without_all.loc[blended.index]).abs().max().max() > 0.01


@pytest.mark.slow
def test_mirrored_views_are_blended(ensemble: Path, tmp_path: Path) -> None:
    project = Project(tmp_path)
    shutil.copytree(ensemble.parent, tmp_path, dirs_exist_ok=True)
    project.set(predict__mirror=True)
    project.here("predict")
    blended = probabilities(tmp_path / "data/predict" / PROBABILITIES)
    sides = [sum(predicted(ensemble, name, "test", step) for name in NAMES) / len(NAMES) for step in (1, -1)]
    assert np.abs(sides[0] - sides[1]).to_numpy().max() > 0.1
    np.testing.assert_allclose(blended.to_numpy(), (sides[0] + sides[1]).loc[blended.index].to_numpy() / 2, atol=1e-3)
