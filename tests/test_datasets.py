"""Real competitions, where their archives are at hand: found without a word in params.yaml, prepared at full size."""

from pathlib import Path

import pytest

from competition import policies
from competition.arrays import open_array
from competition.artifacts import read_json
from competition.raw.tables import parse_table
from competition.reading import load
from competition.stages.prepare import prepare
from tests.conftest import DATASETS, ROOT

pytestmark = pytest.mark.slow

FOUND = {
    "fashion-mnist": (60_000, 10_000, (28, 28, 1), ["id", "label"]),
    "cifar10": (50_000, 10_000, (32, 32, 3), ["id", "label"]),
    "dance-form": (294, 70, (96, 96, 3), ["Image", "Class"]),
    "natural-scenes": (1400, 100, (64, 64, 3), ["id", "desert", "mountain", "sea", "sunset", "trees"]),
}


@pytest.mark.parametrize("name", FOUND)
def test_prepare(name: str, tmp_path: Path) -> None:
    archive = DATASETS / f"{name}.zip"
    if not archive.exists():
        pytest.skip(f"{archive.name} is not in {DATASETS}")
    params = load(ROOT / "benchmarks" / f"{name}.yaml", checks=(policies.check,))
    data = params.data.model_copy(update={"root": str(archive)})
    prepare(params.prepare, data, out=tmp_path / "prepare", seed=1)
    train, test, shape, columns = FOUND[name]
    assert open_array(tmp_path / "prepare/train.npy").shape == (train, *shape)
    assert open_array(tmp_path / "prepare/test.npy").shape == (test, *shape)
    report, contract = (read_json(tmp_path / "prepare" / file) for file in ("report.json", "contract.json"))
    assert report["samples"] == {"train": train, "test": test}
    assert report["problems"] == []
    assert contract["submission"]["columns"] == columns
    assert contract["submission"]["id_column"] == columns[0]
    answers = parse_table((DATASETS / f"{name}-solution.csv").read_bytes(), "the answers")
    samples = parse_table((tmp_path / "prepare/samples.csv").read_bytes(), "samples.csv")
    test_rows = samples[samples["split"] == "test"]
    assert set(test_rows["sample_id"]) == set(answers.iloc[:, 0])
    if name != "natural-scenes":  # whose answers are a column for each class
        assert set(answers.iloc[:, 1]) <= set(contract["classes"])
    assert not {Path(file).parts[-2].lower() for file in test_rows["file"]} & {"train", "train images"}
