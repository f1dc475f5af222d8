"""A small competition with everything strange in its names, from its files to its submission."""

from collections.abc import Callable
from pathlib import Path

import pytest

from competition.raw.tables import parse_table
from tests.conftest import Project, png, quick, write_zip

pytestmark = pytest.mark.slow

CLASSES = ("NA", "None", "1e5", "été, 日本", "p_NA")
TEST_IDS = ["1e5", "007", "None", "nan", "True", "Ünï cödé", "a.b.c", "0"]


def test_ids_and_labels_come_through_unchanged(copy_project: Callable[[Path], Project], tmp_path: Path) -> None:
    """Also when an image cannot be read: the submission still holds its row."""
    files, rows = {}, ["Bild Nr,group,Class"]
    for number in range(40):
        label = number % len(CLASSES)
        files[f"das archiv/Train Bilder/{number:03d}.png"] = png(20 + 40 * label + number)
        rows.append(f'{number:03d},{number // 10},"{CLASSES[label]}"')
    for number, sample_id in enumerate(TEST_IDS):
        files[f"das archiv/Test Bilder/{sample_id}.png"] = png(40 + 20 * number)
    files["das archiv/Test Bilder/007.png"] = png()[:60]
    files["das archiv/train.csv"] = "\r\n".join([*rows, ""]).encode("utf-8-sig")
    files["das archiv/sample_submission.csv"] = "\n".join(["Class,Bild Nr", *(f"NA,{i}" for i in TEST_IDS)]).encode()
    project = copy_project(tmp_path / "project")
    quick(project)
    project.set(
        data__root=str(write_zip(tmp_path / "Gala 2 é.zip", files)),
        data__metric="f1_weighted",
        prepare__bad_samples="drop",
        prepare__image_size_px=[8, 8],
        tune__max_trials=0,
        train__batch_size=8,
    )
    said = project.all_here()
    assert "predicted by the class shares: das archiv/Test Bilder/007.png: the file is cut short" in said
    submission = parse_table((project.folder / "data/predict/submission.csv").read_bytes(), "submission")
    assert list(submission.columns) == ["Class", "Bild Nr"]
    assert list(submission["Bild Nr"]) == TEST_IDS
    assert set(submission["Class"]) <= set(CLASSES)
    probabilities = parse_table((project.folder / "data/predict/probabilities.csv").read_bytes(), "probabilities")
    assert list(probabilities.columns) == ["sample_id", *(f"p_{name}" for name in sorted(CLASSES))]
    assert [float(value) for value in probabilities.iloc[1, 1:]] == pytest.approx([0.2] * 5)
    oof = parse_table((project.folder / "data/train/oof.csv").read_bytes(), "oof")
    assert set(oof["label"]) == set(CLASSES)
    assert list(oof["sample_id"]) == [f"{number:03d}" for number in range(40)]
    folds = oof.groupby(oof["sample_id"].str[1])["fold"].nunique()
    assert (folds == 1).all(), "a group was split"
    answers = tmp_path / "answers.csv"
    answers.write_text("\n".join(["Bild Nr,Class", *(f'{i},"été, 日本"' for i in TEST_IDS), ""]))
    assert "f1_weighted" in project.run("compete", "score", "data/predict/submission.csv", str(answers)).stdout
