"""Presets: every one fits, says what it is, and leaves the rest of params.yaml as it was."""

import re
import shutil
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from competition import policies, presets, shapes
from competition.cli import app
from competition.errors import CompetitionError, MistakesError
from competition.models import FAMILIES
from competition.params import Range
from competition.presets import FOLDER, apply, list_presets
from competition.reading import load, overlay
from competition.recipes import Params, Recipe
from competition.search.outcomes import Values
from competition.search.points import is_active
from competition.tasks import Target
from tests.conftest import ROOT

TEXT = (ROOT / "params.yaml").read_text()
NAMES = [preset.name for preset in list_presets()]
SEARCHES = [name for name in NAMES if name.endswith(("-tpe", "-bayes", "-random"))]
TEN = Target("multiclass", tuple("abcdefghij"), 0.0, 1.0, False)


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT)
    return path


@cache
def applied(name: str) -> Params:
    """Read the params.yaml of the project with a preset in it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_text(TEXT)
        apply(name, path)
        return load(path, checks=(policies.check,))


def sections(text: str) -> dict[str, str]:
    """Cut a file before every line that begins a section."""
    return {part.split(":")[0]: part for part in re.split(r"^(?=\w+:)", text, flags=re.MULTILINE)}


def keys(text: str) -> dict[tuple[str, str], str]:
    """Cut the sections of a file before every line that begins a key."""
    return {
        (name, part.split(":")[0].strip()): part
        for name, section in sections(text).items()
        for part in re.split(r"^(?=  \w+:)", section, flags=re.MULTILINE)[1:]
    }


def comments(text: str) -> dict[tuple[str, str], str]:
    """Read the comment of every key, that below its line included, without what stands after 'here:'."""
    found = {}
    for key, lines in keys(text).items():
        below = re.match(r".*?# (.*\n(?: {20,}#.*\n)*)", lines)
        words = re.sub(r"\s*\n\s*#?\s*", " ", below[1] if below else "")
        found[key] = words.split(" here: ")[0].strip()
    return found


@cache
def raw(name: str) -> dict[str, Any]:
    return YAML(typ="safe").load(FOLDER / f"{name}.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_fits_and_keeps_the_rest(name: str, params: Path) -> None:
    apply(name, params)
    once = params.read_bytes()
    read = load(params, checks=(policies.check,))
    written = YAML(typ="safe").load(params)
    for section, values in raw(name).items():
        if section != "preset":
            assert {key: written[section][key] for key in values} == values
    assert read.seed == 1

    before, after = keys(TEXT), keys(params.read_text())
    touched = {(section, key) for section, values in raw(name).items() for key in values}
    for key, lines in before.items():
        if key not in touched and key[0] != "model":
            assert after[key] == lines
    assert sections(params.read_text())["data"] == sections(TEXT)["data"]
    assert list(sections(params.read_text())) == list(sections(TEXT))

    apply(name, params)
    assert params.read_bytes() == once


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_sets_neither_data_nor_seed(name: str) -> None:
    assert set(raw(name)) <= {"preset", "prepare", "augment", "model", "tune", "train", "predict"}


def test_presets_may_follow_one_another(params: Path) -> None:
    for name in [*NAMES, NAMES[0]]:
        apply(name, params)
        assert f"\n  family: {raw(name)['model']['family']} " in params.read_text()


# How many models there are, for how long and on what: a family's preset leaves them to the one who set them.
LEFT = {"precision", "deterministic", "patience_epochs", "folds", "seeds", "refit"}


@pytest.mark.parametrize("family", [name for name in NAMES if name in FAMILIES])
def test_a_family_leaves_nothing_of_what_another_preset_trained_by(family: str, params: Path) -> None:
    for name in NAMES:
        assert set(raw(name)["train"]) - LEFT <= set(raw(family)["train"]), name
    assert "mirror" in raw(family)["predict"]

    alone = applied(family)
    for name in ("speednet", "cifar10"):
        params.write_text(TEXT.replace("average_decay: 0.0 ", "average_decay: 0.9 "))
        apply(name, params)
        apply(family, params)
        read = load(params)
        assert read.train.model_dump(exclude=LEFT) == alone.train.model_dump(exclude=LEFT)
        assert read.predict.mirror == alone.predict.mirror == (family == "speednet")


def test_every_family_has_a_preset() -> None:
    families = [name for name in NAMES if name in FAMILIES]
    assert families == NAMES[: len(families)] == ["backbone", "conv", "mlp", "resnet", "softmax", "speednet"]
    for name in families:
        assert raw(name)["model"]["family"] == name


@pytest.mark.parametrize("name", NAMES)
def test_comments_are_those_of_params_yaml(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()
    family = raw(name)["model"]["family"]
    everywhere = comments(TEXT)
    own = comments((FOLDER / f"{family}.yaml").read_text())
    for (section, key), comment in comments(text).items():
        if section == "preset":
            continue
        assert comment, f"{section}.{key} has no comment"
        expected = own if section == "model" else everywhere
        assert comment == expected[section, key]
        if section == "model" and key != "family" and family == "conv":
            assert comment == everywhere[section, key]
    shared = everywhere["model", "family"].split("; those below")[0]
    assert comments(text)["model", "family"].startswith(shared)
    for line in text.splitlines():
        if re.match(r" +(model|train)\.", line):
            assert "}  # " in line, f"{line!r} has no comment"


def test_a_key_of_two_families_with_one_meaning_has_one_comment() -> None:
    conv, mlp = (comments((FOLDER / f"{family}.yaml").read_text()) for family in ("conv", "mlp"))
    for one, other in [("dense_layers", "hidden_layers"), ("dense_units", "units"), ("activation", "activation")]:
        assert conv["model", one] == mlp["model", other]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_preset_writes_lies_in_its_space(name: str) -> None:
    read = applied(name)
    written = read.recipe.model_dump()
    for dotted, span in read.tune.space.items():
        value: Any = written
        for part in dotted.split("."):
            value = value[int(part)] if part.isdigit() else value[part]
        assert span.holds(value), f"{dotted} is {value}"


def corners(space: dict[str, Range], values: Values) -> Iterator[Values]:
    """List the points with every number of the model at an end of its range, and each of the other choices."""
    left = [path for path in space if path.startswith("model.") and path not in values]
    active = [path for path in left if is_active(space, path, values)]
    if not active:
        yield values
        return
    ends = space[active[0]].ends
    if not isinstance(ends[0], str):
        ends = (min(ends), max(ends))
    for end in ends:
        yield from corners(space, {**values, active[0]: end})


@pytest.mark.parametrize("name", NAMES)
def test_every_corner_of_a_space_is_a_model(name: str) -> None:
    read = applied(name)
    # A family's preset says nothing of the images: the smallest that it is for.
    shape = (*(read.prepare.image_size_px if name not in FAMILIES else (32, 32)), read.prepare.channels)
    points = list(corners(read.tune.space, {}))
    assert points
    for values in points:
        assert shapes.check(overlay(read.recipe, values).model, shape, TEN) is None, values


def test_shapes_would_tell_a_corner_that_is_no_model() -> None:
    """That the test before this one can fail: with valid padding, 28 px do not bear a fourth block."""
    read = applied("fashion-mnist-cnn-bayes")
    values = {"model.blocks": 4, "model.filters": 32, "model.padding": "valid"}
    filters = Recipe(model=read.model.model_copy(update={"filters": 32}), train=read.train)
    assert "too small" in str(shapes.check(overlay(filters, values).model, (28, 28, 1), TEN))


ARTICLES: dict[str, tuple[str, int, dict[str, list[Any]]]] = {
    "fashion-mnist-mlp-tpe": ("tpe", 30, {
        "model.hidden_layers": [2, 3],
        "model.units.0": [128, 512, 1024],
        "model.units.2": [128, 1024],
        "model.activation": ["relu", "sigmoid"],
        "model.dropout.1": [0.0, 0.5, 0.95],
        "train.optimizer": ["adam", "sgd", "rmsprop"],
        "train.learning_rate": [0.001, 0.01, 0.1],
        "train.batch_size": [128, 256, 512],
    }),
    "fashion-mnist-vgg-tpe": ("tpe", 30, {
        "model.filters": [16, 32],
        "model.block_dropout.0": [0.0, 0.95],
        "model.dense_layers": [1, 2],
        "model.dense_units.1": [256, 512, 1024],
        "model.dense_dropout.1": [0.0, 0.95],
    }),
    "fashion-mnist-mlp-bayes": ("bayesian", 30, {
        "model.hidden_layers": [1, 2, 3],
        "model.units.0": [50, 350],
        "model.dropout": [0.0, 0.1, 0.2],
        "train.optimizer": ["sgd", "adam"],
        "train.learning_rate": [0.1, 0.01, 0.001],
    }),
    "fashion-mnist-cnn-bayes": ("bayesian", 100, {
        "model.blocks": [1, 2, 3],
        "model.filters.0": [32, 64],
        "model.padding": ["same", "valid"],
        "model.dense_units": [25, 150],
        "train.optimizer": ["sgd", "adam"],
    }),
    "cifar10-cnn-random": ("random", 20, {
        "model.blocks": [2, 3, 4, 5],
        "model.filters.0": [32, 64, 256],
        "model.filters.4": [32, 256],
        "model.dense_layers": [1, 2],
    }),
    "gala-cnn-tpe": ("tpe", 30, {
        "model.convs_per_block.1": [2, 3],
        "model.kernel_px.0": [3, 5],
        "model.dense_units.0": [256, 512, 1024],
        "model.dense_dropout.1": [0.0, 0.95],
        "train.optimizer": ["adam", "sgd", "rmsprop"],
        "train.batch_size": [64, 128],
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", SEARCHES)
def test_a_space_holds_what_the_article_had(name: str) -> None:
    read = applied(name)
    tuner, trials, held = ARTICLES[name]
    assert (read.tune.tuner, read.tune.max_trials, read.train.folds) == (tuner, trials, 1)
    for path, values in held.items():
        assert all(read.tune.space[path].holds(value) for value in values), path
    assert (read.augment.views, read.augment.policy, read.predict.views) == (0, (), 1)


def test_epochs_and_hold_outs_of_the_articles() -> None:
    dense = applied("fashion-mnist-mlp-tpe")
    assert (dense.tune.epochs, dense.train.epochs, dense.prepare.folds) == (20, 40, 6)
    assert applied("fashion-mnist-vgg-tpe").tune.epochs == 15
    softmax = applied("fashion-mnist-softmax")
    assert (softmax.train.optimizer, softmax.train.learning_rate, softmax.tune.max_trials) == ("sgd", 0.1, 0)
    bayes = applied("fashion-mnist-mlp-bayes")
    assert bayes.train.momentum == 0.9
    gala = applied("gala-cnn-tpe")
    assert (gala.prepare.image_size_px, gala.prepare.channels, gala.model.dense_layers) == ((48, 48), 1, 2)


def test_what_is_replaced_is_told(params: Path) -> None:
    assert apply("fashion-mnist-mlp-tpe", params) == [
        "prepare (image_size_px, channels, folds)", "augment", "model", "tune", "train", "predict",
    ]  # fmt: skip
    told = CliRunner().invoke(app, ["preset", "conv", "--params", str(params)])
    assert told.exit_code == 0
    assert "preset: replaced model, tune (space), train (epochs, batch_size, " in told.stdout
    assert "dvc repro" in told.stdout


def test_the_list_tells_all() -> None:
    told = CliRunner().invoke(app, ["preset"])
    assert told.exit_code == 0
    for preset in list_presets():
        assert f"{preset.name}: {preset.title}" in told.stdout
        assert f"source: {preset.source}" in told.stdout
        assert f"expected: {preset.expected}" in told.stdout


def test_an_unknown_name(params: Path) -> None:
    told = CliRunner().invoke(app, ["preset", "fashion-minst", "--params", str(params)])
    assert told.exit_code == 1
    assert "there is no preset 'fashion-minst'; did you mean fashion-mnist" in told.stderr
    assert params.read_text() == TEXT
    with pytest.raises(CompetitionError, match="there is no preset 'xyz'; 'compete preset' lists them all"):
        apply("xyz", params)


@pytest.mark.parametrize(
    ("name", "old", "new", "mistake"),
    [
        ("mlp", "  fold: 0 ", "  fold: 7 ", "tune.fold: is 7; prepare.folds is 5"),
        ("mlp", "tuner: bayesian ", "tuner: grid ", "space.train.learning_rate has no step"),
        ("mlp", "metric: accuracy ", "metric: acuracy ", "data.metric"),
        ("gala-cnn-tpe", "channels: 1 ", "chanels: 1 ", "prepare.chanels: unknown key"),
    ],
)
def test_a_preset_that_does_not_fit_changes_nothing(name: str, old: str, new: str, mistake: str, params: Path) -> None:
    assert old in TEXT
    params.write_text(TEXT.replace(old, new))
    before = params.read_bytes()
    with pytest.raises(MistakesError, match=f"the preset {name} does not fit the other values of") as caught:
        apply(name, params)
    assert any(mistake in line for line in caught.value.mistakes), caught.value.mistakes
    assert params.read_bytes() == before
    assert [path.name for path in params.parent.iterdir()] == ["params.yaml"]


def test_a_policy_that_is_wrong_is_told(params: Path) -> None:
    params.write_text(TEXT.replace("rotate: [-6, 6]", "rotat: [-6, 6]"))
    before = params.read_bytes()
    told = CliRunner().invoke(app, ["preset", "mlp", "--params", str(params)])
    assert told.exit_code == 1
    assert "predict.policy.0.rotat: Affine has no such argument" in told.stderr
    assert params.read_bytes() == before


def test_a_model_section_that_is_wrong_is_mended(params: Path) -> None:
    """What somebody does who is told that a family has other keys."""
    params.write_text(TEXT.replace("family: conv ", "family: mlp "))
    apply("mlp", params)
    assert load(params).model.family == "mlp"


def test_comments_around_a_section_stay(params: Path) -> None:
    mine = TEXT.replace("\nmodel:", "\n# mine, above\n\nmodel:").replace("\ntune:", "\n# mine, below\ntune:")
    mine = mine.replace("  resize: squash", "  # mine, of resize\n  resize: squash")
    params.write_text("# mine, first\n" + mine + "# mine, last\n")
    apply("cifar10", params)
    written = params.read_text()
    for comment in ("first", "above", "below", "of resize", "last"):
        assert written.count(f"# mine, {comment}\n") == 1
    assert "# mine, above\n\nmodel:" in written
    assert "\n\n# mine, below\ntune:" in written
    assert "  # mine, of resize\n  resize: squash" in written
    assert written.endswith("# mine, last\n")


def test_ends_of_lines_stay_those_of_the_file(params: Path) -> None:
    apply("gala-cnn-tpe", params)
    unix = params.read_bytes()
    params.write_bytes(TEXT.replace("\n", "\r\n").encode())
    apply("gala-cnn-tpe", params)
    assert params.read_bytes() == unix.replace(b"\n", b"\r\n")
    params.write_text(TEXT.rstrip("\n"))
    apply("gala-cnn-tpe", params)
    assert params.read_bytes() == unix


def test_the_last_line_may_have_no_end(params: Path) -> None:
    params.write_text(TEXT.rstrip("\n"))
    apply("mlp", params)
    assert not params.read_text().endswith("\n")
    params.write_text(TEXT[: TEXT.rindex("\n  policy:")])
    apply("cifar10", params)
    assert len(load(params).predict.policy) == 1


def test_a_key_that_is_missing_is_added_to_its_section(params: Path) -> None:
    lines = [line for line in TEXT.splitlines(keepends=True) if not line.startswith("  channels:")]
    params.write_text("".join(lines))
    apply("cifar10", params)
    assert load(params).prepare.channels == 3


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (TEXT, "seed: [", "is not valid YAML in line"),
        (TEXT, "", "is not written with each key on a line of its own"),
        ("seed: 1 ", "seed: 1\nseed: 2 ", "duplicate key"),
        ("\naugment:\n", "\naugment: {views: 0, policy: []}\nagument:\n", "augment is not written with each key on a"),
        ("\naugment:\n", "\nagument:\n", "has no section augment"),
    ],
)
def test_a_file_that_cannot_be_changed(old: str, new: str, told: str, params: Path) -> None:
    params.write_text(TEXT.replace(old, new))
    before = params.read_bytes()
    with pytest.raises(CompetitionError, match=told) as caught:
        apply("cifar10", params)
    assert "partial" not in str(caught.value)
    assert params.read_bytes() == before


def test_a_file_that_is_missing_or_no_text(params: Path) -> None:
    params.write_bytes(b"\xff\xfe")
    with pytest.raises(CompetitionError, match="is not valid UTF-8"):
        apply("conv", params)
    params.unlink()
    with pytest.raises(CompetitionError, match="is missing"):
        apply("conv", params)


def test_presets_are_packaged() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["competition"]
    packaged = {path for pattern in patterns for path in Path(presets.__file__).parent.glob(pattern)}
    assert set(FOLDER.iterdir()) <= packaged


@pytest.mark.parametrize(
    ("name", "measured"), [("cifar10", "cifar10"), ("fashion-mnist", "fashion-mnist"), ("photos", "dance-form")]
)
def test_what_is_measured_is_the_preset(name: str, measured: str, tmp_path: Path) -> None:
    """The file of a benchmark holds its preset: written again, nothing changes."""
    written = ROOT / "benchmarks" / f"{measured}.yaml"
    copy = tmp_path / "params.yaml"
    shutil.copyfile(written, copy)
    apply(name, copy)
    assert copy.read_bytes() == written.read_bytes()
