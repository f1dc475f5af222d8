"""params.yaml: every value explained, every mistake told."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from competition import params, policies, recipes
from competition.errors import CompetitionError, MistakesError
from competition.models import FAMILIES
from competition.presets import apply
from competition.reading import load, overlay
from tests.conftest import ROOT, set_values, shipped_recipe

TEXT = (ROOT / "params.yaml").read_text()


def changed(folder: Path, *changes: tuple[str, str]) -> Path:
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "params.yaml"
    path.write_text(text)
    return path


def mistakes(path: Path) -> list[str]:
    with pytest.raises(MistakesError) as caught:
        load(path, checks=(policies.check,))
    return caught.value.mistakes


@pytest.mark.parametrize(
    "path", [ROOT / "params.yaml", *sorted((ROOT / "benchmarks").rglob("*.yaml"))], ids=lambda p: p.name
)
def test_files_of_the_project_load(path: Path) -> None:
    assert load(path, checks=(policies.check,)).prepare.folds >= 2


def test_every_parameter_is_explained_on_its_line() -> None:
    for line in TEXT.splitlines():
        key = line.strip().split(":")[0]
        in_space = key.startswith(("model.", "train."))
        if line.startswith("  ") and key.isidentifier() and not in_space:
            assert "# " in line, f"{line!r} has no comment"


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = changed(
        tmp_path,
        ("threads: auto", "threads: many"),
        ("channels: 1 ", "channels: 2 "),
        ("  filters: 32", "  filterz: 32"),
        ("learning_rate: 0.002", "learning_rate: '0.002'"),
        ("batch_norm: true", "batch_norm: 1"),
        ("folds: 5  ", "folds: 1  "),
        ("  class_weights: none", "  # class_weights: none"),
        ("{op: Affine, p: 1.0, rotate", "{op: Afine, p: 1.0, rotate"),
    )
    told = mistakes(path)
    for expected in (
        "threads: is 'many'; expected 'auto' or a whole number",
        "prepare.channels: is 2; expected 1 or 3",
        "model.filters: is missing; expected a whole number",
        "model.filterz: unknown key of family conv; did you mean model.filters?",
        "train.learning_rate: is '0.002'; expected a number",
        "train.class_weights: is missing; expected 'none' or 'balanced'",
        "model.batch_norm: is 1; expected true or false",
        "prepare.folds: is 1; expected greater than or equal to 2",
        "augment.policy.0.op: 'Afine' is no albumentations op; did you mean Affine?",
    ):
        assert expected in told


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seed: 1 ", "# seed: 1 ", "seed: is missing; expected a whole number"),
        ("image_size_px: [16, 16]", "image_size_px: [16]", "prepare.image_size_px.1: is missing"),
        ("{float: [0.1, 0.5]", "{float: [0.1]", "tune.space.model.dense_dropout.float.1: is missing"),
        ("fold: 0 ", "fold: 5 ", "tune.fold: is 5; prepare.folds is 5, so the folds are 0 to 4"),
        ("folds: 5    ", "folds: 4    ", "train.folds: is 5; prepare.folds is 4, expected at most that many"),
        ("warmup_epochs: 1", "warmup_epochs: 4", "train.warmup_epochs: is 4.0; expected fewer than tune.epochs"),
        (
            "kernel_px: 3",
            "kernel_px: 4",
            "model.kernel_px: is 4; expected an odd number, so that a kernel has a centre",
        ),
        ("family: conv ", "family: konv ", "model.family: is 'konv'; expected one of 'backbone', 'conv', 'mlp', "),
        ("tuner: bayesian ", "tuner: grid ", "space.train.learning_rate has no step; give it a choice of values"),
        ("model.filters:", "model.filter:", "tune.space.model.filter: model.filter is no value of"),
        ("model.filters:", "train.epochs:", "tune.space.train.epochs: train.epochs cannot be tuned"),
        ("model.filters:", "train.seeds:", "tune.space.train.seeds: train.seeds cannot be tuned"),
        ("[16, 16]", "[16]", "prepare.image_size_px.1: is missing"),
        ("[16, 16]", "[16, 16, 3]", "prepare.image_size_px: has 3 values; expected at most 2"),
        ("{choice: [16, 24, 32]}", "{choice: []}", "tune.space.model.filters.choice: has 0 values; expected 1 or more"),
        ("{choice: [16,", "{choice: [0,", "tune.space.model.filters: is 0; expected greater than or equal to 1"),
        ("{float: [0.1, 0.5]", "{float: [0.5, 1.0]", "tune.space.model.dense_dropout: is 1.0; expected less than 1"),
        ("family: conv ", "family: [conv] ", "model.family: is ['conv']; expected one of 'backbone', 'conv', 'mlp', "),
        (
            "{choice: [16, 24, 32]}",
            "{int: [1, 1e30]}",
            "tune.space.model.filters.int.1: is 1e+30; expected a whole number",
        ),
        ("root: data/raw/digits.zip", "root: ''", "data.root: is ''; expected text that is not empty"),
        ("label_column: auto", "label_column: [a]", "data.label_column: expected text or 2 or more in a list"),
        ("merge_classes: {}", "merge_classes: {a: b}", "data.merge_classes.a: is 'b'; expected a list"),
        ("block_dropout: 0.1", "block_dropout: [x]", "model.block_dropout.0: is 'x'; expected a number"),
        ("{choice: [16, 24, 32]}", "{choice: [16, 24], int: [1, 2]}", "has choice and int of choice, int and float"),
        (
            "sampling: log}\n",
            "sampling: log, when: {model.blocks: [1]}}\n",
            "model.blocks is not another value of the space",
        ),
    ],
)
def test_one_mistake(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert any(told in line for line in mistakes(changed(tmp_path, (old, new))))


@pytest.mark.parametrize(("old", "new"), [
    ("family: conv ", "family: [conv] "),  # the keys of no family are known, so neither is a path of the space
    ("family: conv ", "family: konv "),
    ("block_dropout: 0.1", "block_dropout: [x]"),  # and not that the list has no values
    ("fold: 0 ", "fold: x "),
])  # fmt: skip
def test_one_mistake_is_told_once(tmp_path: Path, old: str, new: str) -> None:
    assert len(mistakes(changed(tmp_path, (old, new)))) == 1


def test_a_range_of_any_length_is_read(tmp_path: Path) -> None:
    high = 10**30
    space = load(changed(tmp_path, ("{choice: [16, 24, 32]}", f"{{int: [1, {high}]}}"))).tune.space
    assert space["model.filters"].integer == (1, high)


@pytest.mark.parametrize(("network", "hint"), [
    ("mobilnetv2", "did you mean MobileNetV2 or "),
    ("x", "expected one of ConvNeXtBase, "),
])  # fmt: skip
def test_a_network_that_keras_does_not_have_is_told_where_it_stands(tmp_path: Path, network: str, hint: str) -> None:
    """Before a trial is spent on it, and without Keras."""
    path = changed(tmp_path)
    apply("backbone", path)
    set_values(path, {"model.network": network, "tune.space": {"model.network": {"choice": ["VGG16", f"{network}s"]}}})
    told = mistakes(path)
    assert len(told) == 2
    for line, where, name in zip(told, ("model", "tune.space.model"), (network, f"{network}s"), strict=True):
        assert line.startswith(f"{where}.network: is {name}, which keras.applications does not have; {hint}")


@pytest.mark.parametrize(("section", "views"), [("augment", 0), ("predict", 1)])
def test_views_need_a_policy(tmp_path: Path, section: str, views: int) -> None:
    yaml = YAML()
    raw = yaml.load(TEXT)
    raw[section]["policy"] = []
    path = tmp_path / "params.yaml"
    yaml.dump(raw, path)
    assert any(
        f"policy is empty, so all views would be the same; set views: {views}" in line for line in mistakes(path)
    )


@pytest.mark.parametrize("text", ["train:\n", "train: yes\n", "trian:\n  epochs: 1\n"])
def test_a_section_that_is_no_section(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT[: TEXT.index("\ntrain:")] + "\n" + text + TEXT[TEXT.index("\npredict:") :])
    assert any(line.startswith("train: ") for line in mistakes(path))


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"model.kernel_px": {"int": [3, 7]}}, "tune.space.model.kernel_px: is 4; expected an odd number"),
        ({"train.warmup_epochs": {"int": [0, 30]}}, "train.warmup_epochs: is 4; expected fewer than tune.epochs"),
        ({"model.filters": {"chioce": [1]}}, "did you mean tune.space.model.filters.choice?"),
        (
            {"train.optimizer": {"choice": ["adam", "sgd"]},
             "train.weight_decay": {"float": [0.0, 0.1], "when": {"train.optimizer": ["adamw"]}}},
            "tune.space.train.weight_decay.when: train.optimizer is never 'adamw'",
        ),
        (
            {"model.blocks": {"int": [1, 3]}, "model.filters": {"choice": [1], "when": {"model.blocks": ["2"]}}},
            "tune.space.model.filters.when: model.blocks is never '2'",
        ),
        (
            {"model.blocks": {"int": [1, 3], "step": 2},
             "model.filters": {"choice": [1], "when": {"model.blocks": [3, 2]}}},
            "tune.space.model.filters.when: model.blocks is never 2",
        ),
        (
            {"model.dense_dropout": {"float": [0.1, 0.4], "step": 0.1},
             "model.filters": {"choice": [1], "when": {"model.dense_dropout": [0.3, 0.25]}}},
            "tune.space.model.filters.when: model.dense_dropout is never 0.25",
        ),
        (
            {"model.dense_dropout": {"float": [0.1, 0.4]},
             "model.filters": {"choice": [1], "when": {"model.dense_dropout": [0.3]}}},
            "tune.space.model.filters.when: model.dense_dropout has no steps, so it is hardly ever 0.3; write a choice",
        ),
    ],
)  # fmt: skip
def test_mistakes_of_a_space(tmp_path: Path, space: dict[str, object], told: str) -> None:
    yaml = YAML()
    raw = yaml.load(TEXT)
    raw["tune"]["space"] = space
    path = tmp_path / "params.yaml"
    yaml.dump(raw, path)
    found = mistakes(path)
    assert any(told in line for line in found), found


def test_what_cannot_be_tuned_is_not_taken_for_misspelt(tmp_path: Path) -> None:
    found = mistakes(changed(tmp_path, ("model.filters:", "train.epochs:")))
    assert not any("did you mean" in line for line in found), found


def test_a_good_space_has_no_mistakes(tmp_path: Path) -> None:
    yaml = YAML()
    raw = yaml.load(TEXT)
    raw["tune"]["space"] = {
        "model.kernel_px": {"int": [3, 7], "step": 2},
        "model.blocks": {"int": [1, 3]},
        "model.filters": {"choice": [8, 16], "when": {"model.blocks": [2, 3]}},
    }
    path = tmp_path / "params.yaml"
    yaml.dump(raw, path)
    assert len(load(path, checks=(policies.check,)).tune.space) == 3


def test_unknown_arguments_of_an_op_are_refused(tmp_path: Path) -> None:
    path = changed(tmp_path, ("rotate: [-12, 12]", "rotat: [-12, 12]"))
    assert "augment.policy.0.rotat: Affine has no such argument; did you mean rotate?" in mistakes(path)


def test_yaml_1_2_numbers(tmp_path: Path) -> None:
    path = changed(tmp_path, ("learning_rate: 0.002", "learning_rate: 1e-05"))
    assert load(path).train.learning_rate == 1e-5


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seed: 1 ", "seed: [1 ", "not valid YAML in line"),
        ("seed: 1 ", "seed: 1\nseed: 2 ", "duplicate key"),
        ("merge_classes: {}", "merge_classes: &a {cat: *a}", "an alias names what it stands in"),
    ],
)
def test_broken_yaml(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(CompetitionError, match=told):
        load(changed(tmp_path, (old, new)))


@pytest.mark.parametrize(
    ("name", "read"),
    [("007", "7"), ("1e5", "100000.0"), ("true", "True"), ("2020-01-01", "datetime.date(2020, 1, 1)"),
     ("null", "None"), ("[a, b]", "('a', 'b')")],
)  # fmt: skip
def test_a_class_whose_name_yaml_does_not_read_as_text(tmp_path: Path, name: str, read: str) -> None:
    found = mistakes(changed(tmp_path, ("merge_classes: {}", f"merge_classes: {{{name}: [a]}}")))
    assert len(found) == 1
    assert found[0].startswith("data.merge_classes.")
    assert found[0].endswith(f": the name is read as {read} and not as text; write it in quotes")
    quoted = load(changed(tmp_path, ("merge_classes: {}", f"merge_classes: {{'{name}': [a]}}")))
    assert quoted.data.merge_classes == {name: ("a",)}


def test_overlay_lays_values_and_checks_them() -> None:
    recipe = shipped_recipe()
    laid = overlay(recipe, {"model.filters": 7, "train.learning_rate": 0.5})
    assert (laid.model.filters, laid.train.learning_rate) == (7, 0.5)
    assert laid.train.batch_size == recipe.train.batch_size
    with pytest.raises(MistakesError, match=r"warmup_epochs is 1\.0; expected fewer than epochs, which is 1"):
        overlay(recipe, {"train.epochs": 1})
    with pytest.raises(MistakesError, match=r"model\.filters"):
        overlay(recipe, {"model.filters": -1})


def test_schema_has_no_defaults() -> None:
    """A default in code is a parameter that nobody sees in params.yaml; only entries of the space have some."""
    known = [*vars(params).values(), recipes.Params, recipes.Recipe, *(family.schema for family in FAMILIES.values())]
    sections = [value for value in known if isinstance(value, type) and issubclass(value, params.Section)]
    for section in sections:
        if section not in (params.Section, params.Range):
            assert all(field.is_required() for field in section.model_fields.values()), section
