"""The submission's form, told from the sample submission, the classes and the metric."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from competition.errors import CompetitionError
from competition.raw.forms import Form, find_form, show
from competition.raw.found import Findings
from competition.raw.labels import Labels
from tests.conftest import data_params

ANIMALS, PAIR = ("ant", "bee", "cow"), ("cat", "dog")


def find(
    answers: dict[str, list[str]],
    classes: tuple[str, ...] = ANIMALS,
    task: str = "multiclass",
    metric: str = "",
    separator: str = "",
    **changed: Any,
) -> tuple[Form, Findings]:
    """Tell the form of a sample submission with these columns beside the id."""
    rows = len(next(iter(answers.values())))
    shown = show(pd.DataFrame({"id": [f"i{row}" for row in range(rows)], **answers}), "id")
    findings = Findings()
    return find_form(
        shown, Labels(task, classes, [], separator), data_params(Path("raw"), **changed), metric, findings
    ), findings


FORMS: dict[str, tuple[dict[str, Any], str, tuple[str, ...], str]] = {
    "values": ({"answers": {"v": ["1"]}, "classes": ("v",), "task": "regression"}, "value", (), "labels are numbers"),
    "classes": ({"answers": {"c": ["ant", "bee"]}}, "class", (), "one class for each id"),
    "numbers of names": ({"answers": {"c": ["0", "2"]}}, "index", (), "whole numbers, where the classes are names"),
    "numbers of numbers": ({"answers": {"c": ["0", "2"]}, "classes": ("0", "1", "2")}, "class", (), "one class"),
    "a fraction for two": ({"answers": {"p": ["0.5"]}, "classes": PAIR}, "probability", ("dog",), "one number"),
    "a fraction for three": ({"answers": {"p": ["0.5"]}}, "class", (), "one class"),
    "0 for two": ({"answers": {"p": ["0"]}, "classes": PAIR}, "index", (), "whole numbers"),
    "0 for two, scored as a probability": (
        {"answers": {"p": ["0"]}, "classes": PAIR, "metric": "roc_auc"}, "probability", ("dog",), "one number",
    ),
    "a fraction for two, scored as a label": (
        {"answers": {"p": ["0.5"]}, "classes": PAIR, "metric": "accuracy"}, "class", (), "one class",
    ),
    "0 and 1": ({"answers": {"p": ["0"]}, "classes": ("0", "1")}, "probability", ("1",), "two classes called 0 and 1"),
    "0 and 1, scored as labels": (
        {"answers": {"p": ["0"]}, "classes": ("0", "1"), "metric": "f1_macro"}, "class", (), "one class",
    ),
    "columns": ({"answers": {"Bee": ["0"], "ant": ["0"], "cow": ["1"]}}, "columns", ("bee", "ant", "cow"), "3 columns"),
    "columns in other letters": (
        {"answers": {"fire_ant": ["0"], "BEE": ["0"]}, "classes": ("bee", "fire ant")}, "columns", ("fire ant", "bee"),
        "2 columns",
    ),
    "columns, scored as labels": (
        {"answers": {"ant": ["0"], "bee": ["0"], "cow": ["1"]}, "metric": "f1_macro"}, "flags", ANIMALS, "of 0 and 1",
    ),
    "tags in columns": (
        {"answers": {"ant": ["0"], "bee": ["1"], "cow": ["1"]}, "task": "multilabel"}, "flags", ANIMALS, "of 0 and 1",
    ),
    "likely tags in columns": (
        {"answers": {"ant": ["0"], "bee": ["0.5"], "cow": ["1"]}, "task": "multilabel"}, "columns", ANIMALS, "numbers",
    ),
    "tags in empty columns": (
        {"answers": {"ant": [""], "bee": [""], "cow": [""]}, "task": "multilabel"}, "columns", ANIMALS, "of numbers",
    ),
    "columns by number": (
        {"answers": {"p3": ["0"], "p1": ["0"]}, "classes": ("class 1", "class 3")}, "columns", ("class 3", "class 1"),
        "2 columns of numbers",
    ),
    "a column of no sample": (
        {"answers": {"ant": ["0"], "emu": ["0"], "bee": ["0"], "cow": ["0"]}}, "columns", ("ant", "", "bee", "cow"),
        "4 columns",
    ),
    "tags": ({"answers": {"t": ["ant bee"]}, "task": "multilabel"}, "tags", (), "several labels in a cell"),
    "given": ({"answers": {"p": ["0"]}, "classes": PAIR, "submission": "class"}, "class", (), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_forms_are_told(name: str) -> None:
    given, kind, classes, why = FORMS[name]
    form, findings = find(**given)
    assert (form.kind, form.classes) == (kind, classes)
    assert why in findings.chosen["submission"].why
    assert (findings.chosen["submission"].surety == "given") == (name == "given")


@pytest.mark.parametrize(
    ("cells", "metric", "ranks"),
    [
        (["ant bee", "bee cow"], "", 2),
        (["ant bee cow", "cow ant bee"], "", 3),
        (["ant gnu", "gnu bee"], "", 2),  # one is known, and the cell is no class
        (["ant"], "map@2", 2),
        (["ant"], "map@9", 3),  # no more than there are classes
        (["ant bee"], "map@3", 3),
        (["ant"], "top2_error", 2),
        (["ant"], "map@1", 0),
        (["ant"], "top1_error", 0),
        (["ant bee", "bee"], "", 0),
        (["emu gnu"], "", 0),
        (["1 2"], "", 0),
    ],
)
def test_rankings(cells: list[str], metric: str, ranks: int) -> None:
    form, _ = find({"c": cells}, metric=metric)
    assert (form.kind, form.ranks) == (("ranking", ranks) if ranks else ("class", 0))


def test_ranks_that_nothing_shows() -> None:
    classes = tuple("abcdefgh")
    assert find({"c": ["a"]}, classes, submission="ranking")[0].ranks == 5
    assert find({"c": ["7 8"]}, ("1", "2", "3"))[0].ranks == 2
    assert find({"c": ["hot dog"]}, ("dog", "hot dog"))[0].kind == "class"
    for cells in (["1 2", "3"], ["a b"]):
        assert find({"c": cells}, ("1", "2", "3"))[0].kind == "class"
    assert find({"c": ["a b"]}, ("a b", "c"))[0].kind == "class"


@pytest.mark.parametrize(
    ("cells", "given", "separator"),
    [(["ant, bee", "cow"], "|", ","), (["ant|bee"], " ", "|"), (["ant"], ";", ";"), (["ant"], "", " "),
     (["ant,gnu"], ";", ";")],
)  # fmt: skip
def test_what_stands_between_tags(cells: list[str], given: str, separator: str) -> None:
    assert find({"t": cells}, task="multilabel", separator=given)[0].separator == separator


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"answers": {"c": ["3"]}}, r"holds '3' for one of 3 classes, so it is not the class's place"),
        ({"answers": {"t": ["bee"]}, "classes": ("a bee", "b"), "task": "multilabel"}, "the class 'a bee' holds that"),
        (
            {"answers": {"a": ["0"], "b": ["0"]}, "submission": "class"},
            r"has the columns \['id', 'a', 'b'\], and its form",
        ),
        (
            {"answers": {"c": ["ant"]}, "submission": "tags"},
            "data.submission is tags and the task multiclass; expected",
        ),
        (
            {"answers": {"ant": ["0"], "x": ["0"]}},
            r"no sample is labelled \['x'\], no column is called \['bee', 'cow'\]",
        ),
        (
            {"answers": {"p3": ["0"], "p4": ["0"]}, "classes": ("class 1", "class 3")},
            r"no sample is labelled \['p3', 'p4'\]",
        ),
        ({"answers": {"p": ["0"]}, "classes": PAIR, "submission": "probability", "positive_class": "emu"}, "is 'emu'"),
        ({"answers": {"c": ["b"]}, "classes": ("a bee", "b"), "submission": "ranking"}, "is ranking with ' ' between"),
    ],
)
def test_what_fits_nothing_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(CompetitionError, match=told):
        find(**given)


@pytest.mark.parametrize(
    ("given", "surety", "told"),
    [
        ({"answers": {"c": ["2"]}}, "likely", "the submission's numbers are places in the order ant, bee, cow"),
        ({"answers": {"c": ["0.5"]}}, "guess", "shows '0.5', and ours has a class there"),
        ({"answers": {"c": ["emu"]}}, "guess", "shows 'emu', which is no class of the labels"),
        ({"answers": {"c": ["emu", "ant"]}}, "likely", None),
        ({"answers": {"c": ["ant", ""]}}, "likely", None),
        ({"answers": {"c": ["ant"]}, "metric": "log_loss"}, "likely", "the metric log_loss scores probabilities, and"),
        (
            {"answers": {"ant": ["0"], "emu": ["0"], "bee": ["0"], "cow": ["0"]}},
            "likely",
            "probability 0 in this column",
        ),
        (
            {"answers": {"t": ["ant bee"]}, "task": "multilabel", "metric": "log_loss"},
            "likely",
            "the metric log_loss scores probabilities, and",
        ),
        ({"answers": {"c": ["ant"]}, "positive_class": "ant"}, "likely", "data.positive_class is not used"),
        ({"answers": {"c": []}}, "guess", None),
    ],
)
def test_what_is_told_beside(given: dict[str, Any], surety: str, told: str | None) -> None:
    _, findings = find(**given)
    assert findings.chosen["submission"].surety == surety
    assert any(told in note for note in findings.notes) if told else not findings.notes


@pytest.mark.parametrize(
    ("column", "surety"),
    [("p", "sure"), ("Target", "sure"), ("is_bad_prediction", "sure"), ("p_bad", "likely"), ("bad", "likely")],
)
def test_of_0_and_1_the_probability_is_that_of_1(column: str, surety: str) -> None:
    form, findings = find({column: ["0.5"]}, ("0", "1"))
    assert form.classes == ("1",)
    assert findings.chosen["positive_class"].surety == surety


def test_a_column_that_counts() -> None:
    for column, cells, counter in (
        ("index", ["0", "1"], 0),
        ("Unnamed: 0", ["1", "2"], 1),
        ("index", ["2", "3"], None),
    ):
        shown = show(pd.DataFrame({column: cells, "id": ["a", "b"], "c": ["ant", "bee"]}), "id")
        assert (shown.counter, shown.counter_column) == (counter, column if counter is not None else "")
        assert list(shown.values) == (["c"] if counter is not None else [column, "c"])
