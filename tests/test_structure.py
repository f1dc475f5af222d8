"""The shape of the project: imports point down, dvc.yaml lists what a stage is made of, --help is quick."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from competition import cli
from competition.console import counted
from tests.conftest import ROOT

PACKAGE = ROOT / "competition"

# Each may import what stands above it.
LAYERS = [
    "errors",
    "layout",
    "seeds",
    "versions",
    "console",
    "arrays",
    "artifacts",
    "fields",
    "tasks",
    "models/softmax",
    "models/mlp",
    "models/conv",
    "models/resnet",
    "models/speednet",
    "models/backbone",
    "models/__init__",
    "scores",
    "params",
    "recipes",
    "reading",
    "presets",
    "parallel",
    "decisions",
    "raw/found",
    "raw/sources",
    "raw/metadata",
    "raw/tables",
    "raw/labels",
    "raw/matching",
    "raw/metrics",
    "raw/forms",
    "raw/folders",
    "raw/roles",
    "raw/rows",
    "raw/train_samples",
    "raw/test_samples",
    "raw/competition",
    "formats",
    "images",
    "audit",
    "splits",
    "affine",
    "policies",
    "pictures",
    "review",
    "grading",
    "submission",
    "sample",
    "locks",
    "initialise",
    "backend",
    "environment",
    "verify",
    "state",
    "shapes",
    "mixing",
    "batches",
    "building",
    "inference",
    "optimizers",
    "checkpoints",
    "fitting",
    "search/preloaded",
    "search/outcomes",
    "search/points",
    "search/proposals",
    "search/pruning",
    "search/schedule",
    "search/board",
    "search/results",
    "search/training",
    "search/processes",
    "search/oracle",
    "search/workers",
    "search/trials",
    "search/forecast",
    "search/summary",
    "corner",
    "stages/prepare",
    "stages/augment",
    "stages/tune",
    "stages/train",
    "stages/predict",
    "cli",
]


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def imports(path: Path) -> set[Path]:
    """List the modules of the package that a module imports, also inside functions, or names for another to import."""
    modules = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            modules.append(node.value)
    bases = [ROOT / module.replace(".", "/") for module in modules if module.split(".")[0] == "competition"]
    found = {file for base in bases for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()}
    return found - {path, PACKAGE / "__init__.py"}


def all_imports(path: Path) -> set[Path]:
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += imports(module)
            if module == PACKAGE / "models" / "__init__.py":
                waiting += sorted(module.parent.glob("*.py"))  # the families, which it finds by their files
    return seen


def modules() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]


def test_imports_point_down() -> None:
    for path in modules():
        if path.read_text().count("\n") < 5 and path.name == "__init__.py":
            continue
        assert name(path) in LAYERS, f"{name(path)} has no place in the layers"
        for imported in imports(path):
            if name(imported) in LAYERS:
                assert LAYERS.index(name(imported)) < LAYERS.index(name(path)), f"{name(path)} imports {name(imported)}"


def test_stages_never_import_each_other_nor_the_command_line() -> None:
    for path in (PACKAGE / "stages").glob("*.py"):
        assert not any(name(module).startswith(("stages", "cli")) for module in imports(path)), path
        assert not imported_packages(path) & {"typer", "dvc"}, path


def imported_packages(path: Path) -> set[str]:
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {full.split(".")[0] for full in names}


def test_tensorflow_and_keras_are_kept_in_their_places() -> None:
    for path in modules():
        packages = imported_packages(path)
        if name(path) != "backend":
            assert not packages & {"tensorflow", "torch", "jax"}, name(path)
        places = ("backend", "building", "optimizers", "checkpoints", "fitting", "search", "stages")
        if name(path).split("/")[0] not in places and name(path) not in ("models/backbone", "shapes"):
            assert not packages & {"keras", "keras_tuner"}, name(path)


@pytest.mark.parametrize("stage", ["prepare", "augment", "tune", "train", "predict"])
def test_dvc_lists_the_modules_of_a_stage(stage: str) -> None:
    """A change of any module a stage is made of runs it again, and of no other module."""
    pipeline = YAML(typ="safe").load(ROOT / "dvc.yaml")
    listed = set()
    for dependency in pipeline["stages"][stage]["deps"]:
        path = ROOT / dependency
        if dependency.startswith("competition/"):
            listed |= set(path.rglob("*.py")) if path.is_dir() else {path}
    needed = all_imports(PACKAGE / "stages" / f"{stage}.py")
    trivial = {path for path in listed if path.name == "__init__.py"}
    assert listed - trivial == needed - trivial


def test_dvc_stages_are_the_commands() -> None:
    pipeline = YAML(typ="safe").load(ROOT / "dvc.yaml")
    commands = {command.callback.__name__ for command in cli.app.registered_commands if command.callback}
    for stage, entry in pipeline["stages"].items():
        assert entry["cmd"] == f"compete {stage}"
        assert entry["outs"] == [f"data/{stage}"]
        assert stage in commands
        assert (PACKAGE / "stages" / f"{stage}.py").is_file()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom competition.cli import app\n"
        "done = CliRunner().invoke(app, ['--help'])\nassert done.exit_code == 0 and 'predict' in done.output\n"
        "heavy = ('keras', 'tensorflow', 'pandas', 'cv2', 'numpy', 'albumentations')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_counted_has_its_form_in_the_singular() -> None:
    assert counted(1, "view") == "1 view"
    assert counted(0, "view") == "0 views"
    assert counted(1347, "class", "classes") == "1,347 classes"
