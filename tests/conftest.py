"""What the tests share: a builder of small competitions, and a copy of the project to run commands in."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import chdir
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from filelock import FileLock
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from competition.cli import app
from competition.layout import STAGES
from competition.params import DataParams, PrepareParams
from competition.reading import load
from competition.recipes import Recipe

ROOT = Path(__file__).parent.parent
DATASETS = Path(os.environ.get("COMPETITION_DATASETS", ROOT.parent / "shared" / "datasets"))

Files = dict[str, bytes]


@cache
def shipped_recipe() -> Recipe:
    """Return the recipe of the project's own params.yaml."""
    return load(ROOT / "params.yaml").recipe


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what is slow: with several processes, the short tests fill up the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def png(shade: int = 128, size: tuple[int, int] = (8, 8)) -> bytes:
    """Encode an image around a shade, with a texture that no other shade has and a darker left half."""
    coarse = np.random.default_rng(shade).integers(-60, 61, (5, 5, 3)).astype(np.float32)
    image = np.clip(shade + cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)
    image[:, : size[1] // 2] //= 2
    return cv2.imencode(".png", image)[1].tobytes()


def gala(train: int = 12, test: int = 4, classes: tuple[str, ...] = ("Attire", "Food", "misc")) -> Files:
    """Return the files of a small competition in the gala challenge's layout; images differ in shade by class."""
    files: Files = {}
    rows = ["Image,Class"]
    for number in range(train):
        label = number % len(classes)
        files[f"Train Images/image{number}.png"] = png(60 + 60 * label + number)
        rows.append(f"image{number}.png,{classes[label]}")
    files["train.csv"] = "\n".join([*rows, ""]).encode()
    names = [f"image{1000 + number}.png" for number in range(test)]
    files |= {f"Test Images/{name}": png(60 + 10 * number) for number, name in enumerate(names)}
    files["test.csv"] = "\n".join(["Image", *names, ""]).encode()
    return files


def write_folder(folder: Path, files: Files) -> Path:
    """Write files into a folder; a name that ends in / makes an empty folder."""
    for name, data in files.items():
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return folder


def write_zip(path: Path, files: Files) -> Path:
    """Write files into a zip."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def data_params(root: Path, **changed: Any) -> DataParams:
    """Return a data section that leaves all but ``root`` to be found."""
    values: dict[str, Any] = dict.fromkeys(DataParams.model_fields, "auto")
    return DataParams(**{**values, "root": str(root), "metric": "accuracy", "merge_classes": {}, **changed})


def prepare_params(**changed: Any) -> PrepareParams:
    """Return a prepare section for tiny images that keeps what is alike."""
    kept = dict.fromkeys(("duplicates", "conflicts", "leaks", "constant"), "keep")
    given = {"image_size_px": (8, 8), "channels": 1, "resize": "squash", "folds": 2, "bad_samples": "fail",
             "alike_bits": 8, **kept}  # fmt: skip
    return PrepareParams(**{**given, **changed})


def set_values(params: Path, values: dict[str, Any]) -> None:
    """Set values of a params.yaml by dotted path."""
    yaml = YAML(typ="safe")  # comments that follow a replaced section would stand in the wrong place
    written = yaml.load(params)
    for dotted, value in values.items():
        *sections, key = dotted.split(".")
        section = written
        for name in sections:
            section = section[name]
        section[key] = value
    yaml.dump(written, params)


class Project:
    """A copy of the project with its own params.yaml and data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def set(self, **values: object) -> None:
        """Set values of params.yaml by dotted path, its dots written as two underscores."""
        set_values(self.folder / "params.yaml", {name.replace("__", "."): value for name, value in values.items()})

    def run(self, *command: str, code: int = 0, timeout: int = 300) -> subprocess.CompletedProcess[str]:
        """Run a command in the project and check its exit code."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == code, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def here(self, stage: str, code: int = 0) -> Result:
        """Run a stage's command in this process, which has the packages imported, with two threads, as all that trains
        in here."""
        self.set(threads=2)
        with chdir(self.folder):
            done = CliRunner().invoke(app, [stage])
        assert done.exit_code == code, f"{stage} ended with {done.exit_code}:\n{done.output}\n{done.exception!r}"
        return done

    def all_here(self) -> str:
        """Run all stages in this process, which is faster than ``dvc repro`` by far; return what they said."""
        return "".join(self.here(stage).stdout for stage in STAGES)

    @property
    def environment(self) -> dict[str, str]:
        """The package of the copy and the programs of this Python; not the log level that libraries set here."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        kept = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
        return {**kept, "PATH": path, "PYTHONPATH": str(self.folder)}


@pytest.fixture(scope="session")
def copy_project() -> Callable[[Path], Project]:
    """Copy what git tracks, and what it would, into a folder with a repository of its own."""

    def copy(folder: Path) -> Project:
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
            if (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/", "dvc.lock")):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
        return Project(folder)

    return copy


def quick(project: Project) -> None:
    """Set parameters with which the whole pipeline on the digits takes seconds, and every stage still does its work."""
    project.set(
        threads=1,  # several such run at a time
        augment__views=2,
        model__filters=8,
        model__dense_units=16,
        tune__max_trials=2,
        tune__epochs=2,
        tune__space={"train.learning_rate": {"float": [1.0e-3, 8.0e-3], "sampling": "log"}},
        prepare__folds=2,
        train__folds=2,
        train__epochs=5,
        predict__views=2,
    )


@pytest.fixture(scope="session")
def ran(copy_project: Callable[[Path], Project], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a quick project all of whose stages have run, once for all processes of pytest; to be copied."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "ran"
    with FileLock(shared / "ran.lock"):
        if not folder.exists():
            project = copy_project(shared / "ran.partial")
            quick(project)
            project.all_here()
            project.folder.rename(folder)
    return folder


@pytest.fixture(scope="session")
def project(copy_project: Callable[[Path], Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that was run once, without the answers in reach."""
    project = copy_project(tmp_path_factory.mktemp("project"))
    quick(project)
    (project.folder / "data/raw/digits-solution.csv").unlink()
    project.run("dvc", "repro")
    return project


def digests(folder: Path) -> dict[str, str]:
    """Hash every output of every stage, but the one file that records time and machine."""
    files = [path for stage in STAGES for path in sorted((folder / "data" / stage).rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name != "env.json"
    }
