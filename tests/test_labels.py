"""What stands in label cells: classes, tags, values."""

from typing import Any

import pandas as pd
import pytest

from competition.errors import CompetitionError
from competition.raw.found import Findings
from competition.raw.labels import Labels, consecutive, from_cells, from_columns, is_number, natural


def read(cells: list[str], **changed: object) -> tuple[Labels, list[str]]:
    told: list[str] = []
    options = {"task": "auto", "separator": "auto", "merge": {}, "fractions": False, **changed}
    labels = from_cells(
        pd.Series(cells, name="label"), tell=lambda row, what: told.append(f"{row} {what}"), findings=Findings(),
        **options,
    )  # fmt: skip
    return labels, told


CELLS = {
    "names": (["cat", "dog", "cat"], "multiclass", ("cat", "dog"), ""),
    "names of several words": (
        ["Sugar beet", "Common Chickweed", "Fat Hen", "Loose Silky-bent", "Common wheat"],
        "multiclass",
        ("Common Chickweed", "Common wheat", "Fat Hen", "Loose Silky-bent", "Sugar beet"),
        "",
    ),
    "a name inside a name": (["dog", "hot dog", "cat"], "multiclass", ("cat", "dog", "hot dog"), ""),
    "names of which some are words of others": (
        [*(f"{kind} dog" for kind in "tuvwxyz"), "red fox", "red dog", "red cow", "dog", "fox", "cow"],
        "multiclass",
        ("cow", "dog", "fox", "red cow", "red dog", "red fox", *(f"{kind} dog" for kind in "tuvwxyz")),
        "",
    ),
    "as many words as names": (["a b", "b a"], "multiclass", ("a b", "b a"), ""),
    "crossed names": (
        ["red apple", "green apple", "red pear", "green pear"],
        "multiclass",
        ("green apple", "green pear", "red apple", "red pear"),
        "",
    ),
    "whole numbers": (["2", "10", "0", "1"], "multiclass", ("0", "1", "2", "10"), ""),
    "spaced tags": (["scab rust", "scab", "rust", "healthy"], "multilabel", ("healthy", "rust", "scab"), " "),
    "comma tags": (["a, b", "b, c", "a, c", "a, b, c"], "multilabel", ("a", "b", "c"), ","),
    "pipe tags": (["No Finding", "Mass|Fluid", "Fluid", "Mass"], "multilabel", ("Fluid", "Mass", "No Finding"), "|"),
    "numbered tags": (["448 782", "2429 448", "782", "448"], "multilabel", ("448", "782", "2429"), " "),
    "more digits than Python reads": (["9" * 5000, "1"], "multiclass", ("1", "9" * 5000), ""),
    "fractions": (["1.5", "2", "3.25"], "regression", ("label",), ""),
}


@pytest.mark.parametrize("name", CELLS)
def test_tasks_are_told_from_cells(name: str) -> None:
    cells, task, classes, separator = CELLS[name]
    labels, told = read(cells)
    assert (labels.task, labels.classes, labels.separator, told) == (task, classes, separator, [])


def test_whole_numbers_are_values_where_the_submission_has_fractions() -> None:
    assert read(["1", "50", "99"], fractions=True)[0].task == "regression"
    assert read(["0", "1", "1"], fractions=True)[0].task == "multiclass"  # a probability


def test_tags_are_written_in_class_order() -> None:
    assert read(["b a", "a", "b", "c"])[0].texts == ["a|b", "a", "b", "c"]


def test_the_user_is_right() -> None:
    assert read(["a b", "a", "b", "c"], separator="none")[0].task == "multiclass"
    assert read(["a/b", "a"], separator="/")[0].texts == ["a|b", "a"]
    assert read(["3", "1"], task="regression")[0].texts == ["3", "1"]
    with pytest.raises(CompetitionError, match="only multilabel has tags"):
        read(["a b"], separator=" ", task="multiclass")


@pytest.mark.parametrize(
    ("cells", "given", "task", "separator"),
    [
        (["a", "b"], {}, ("multiclass", "sure"), ("none", "likely")),
        (["a b", "a", "b"], {}, ("multilabel", "likely"), (" ", "likely")),
        (["a b", "a", "b"], {"task": "multilabel"}, ("multilabel", "given"), (" ", "likely")),
        (["a/b", "a"], {"separator": "/"}, ("multilabel", "given"), ("/", "given")),
        (["a b", "a", "b"], {"separator": "none"}, ("multiclass", "given"), ("none", "given")),
        (["1", "2"], {"task": "ordinal"}, ("ordinal", "given"), ("none", "likely")),
        (["1.5", "2"], {}, ("regression", "likely"), ("none", "sure")),
        (["1", "2"], {"task": "regression"}, ("regression", "given"), ("none", "sure")),
    ],
)
def test_how_sure_the_task_and_the_separator_are(
    cells: list[str], given: dict[str, Any], task: tuple[str, str], separator: tuple[str, str]
) -> None:
    chosen = Findings()
    options = {"task": "auto", "separator": "auto", "merge": {}, "fractions": False, **given}
    from_cells(pd.Series(cells, name="label"), tell=lambda row, what: None, findings=chosen, **options)
    assert {key: (found.value, found.surety) for key, found in chosen.chosen.items()} == {
        "task": task,
        "label_separator": separator,
    }


def test_merged_labels_are_one_class() -> None:
    with pytest.raises(
        CompetitionError, match=r"names the label 'fox', which no training sample has; .* cat, dog, wolf"
    ):
        read(["cat", "dog", "wolf"], merge={"canine": ("dog", "fox")})
    labels, _ = read(["cat", "dog", "wolf"], merge={"canine": ("dog", "wolf")})
    assert (labels.classes, labels.texts) == (("canine", "cat"), ["cat", "canine", "canine"])


def test_wrong_cells_are_told() -> None:
    labels, told = read(["cat", " ", "dog"])
    assert labels.texts == ["cat", None, "dog"]
    assert told == ["1 has an empty label"]
    labels, told = read(["1.5", "x"], task="regression")
    assert labels.texts == ["1.5", None]
    assert told == ["1 has the label 'x'; expected a number"]


def test_a_class_with_a_bar_in_its_name_is_refused_among_tags() -> None:
    with pytest.raises(CompetitionError, match=r"samples\.csv"):
        read(["a|x b", "b"], separator=" ")


def columns(
    task: str = "auto", merge: dict[str, tuple[str, ...]] | None = None, **values: list[str]
) -> tuple[Labels, list[str]]:
    told: list[str] = []
    labels = from_columns(
        pd.DataFrame(values), task=task, merge=merge or {}, tell=lambda row, what: told.append(f"{row} {what}"),
        findings=Findings(),
    )  # fmt: skip
    return labels, told


def test_columns_of_0_and_1() -> None:
    one, _ = columns(rust=["1", "0", "0"], healthy=["0", "1", "1"])
    assert (one.task, one.classes, one.texts) == ("multiclass", ("rust", "healthy"), ["rust", "healthy", "healthy"])
    several, _ = columns(sea=["1", "0", "1.0"], sun=["1", "0", "0"])
    assert (several.task, several.texts) == ("multilabel", ["sea|sun", "", "sea"])
    words, _ = columns(sea=["True", " false", "true "], sun=["False", "0.0", "1"])
    assert (words.task, words.texts) == ("multilabel", ["sea", "", "sea|sun"])
    wrong, told = columns(sea=["1", "0", "2"], sun=["0", "1", "0"])
    assert (wrong.task, wrong.texts) == ("multiclass", ["sea", "sun", None])  # the wrong row decides nothing
    assert told == ["2 has the labels ['2', '0']; expected 0 or 1 in each column"]


def test_merged_columns_are_one_class() -> None:
    merged, _ = columns(merge={"water": ("sea", "lake")}, sun=["0", "1"], sea=["1", "0"], lake=["1", "0"])
    assert (merged.classes, merged.texts) == (("sun", "water"), ["water", "sun"])


@pytest.mark.parametrize(
    ("task", "second", "told"),
    [
        ("multiclass", "1", r"data\.task is multiclass, and rows of \['sea', 'sun'\] have more or fewer than one 1"),
        ("ordinal", "1", r"data\.task is ordinal, and .*; expected multilabel"),
        ("regression", "0", r"data\.task is regression, and "),
        ("auto", "3", r"the columns \['sea', 'sun'\] hold values like \{'sea': '1', 'sun': '3'\}; expected 0 or 1"),
    ],
)
def test_columns_that_are_not_the_task_are_refused(task: str, second: str, told: str) -> None:
    with pytest.raises(CompetitionError, match=told):
        columns(task, sea=["1", "0"], sun=[second, second])


@pytest.mark.parametrize(("task", "surety"), [("auto", "sure"), ("multiclass", "given")])
def test_columns_have_no_separator(task: str, surety: str) -> None:
    chosen = Findings()
    table = pd.DataFrame({"sea": ["1", "0"], "sun": ["0", "1"]})
    labels = from_columns(table, task=task, merge={}, tell=lambda row, what: None, findings=chosen)
    assert labels.separator == ""
    assert {key: (found.value, found.surety) for key, found in chosen.chosen.items()} == {
        "task": ("multiclass", surety),
        "label_separator": ("none", "sure"),
    }


def test_half_of_the_rows_may_be_wrong() -> None:
    assert columns(sea=["1", "7"], sun=["0", "0"])[0].texts == ["sea", None]
    assert columns("multilabel", sea=["1"], sun=["0"])[0].task == "multilabel"


@pytest.mark.parametrize("text", ["1", "-1.", "+.5", "1.5e-3", "2E5", " 3 ", "007", "1e308"])
def test_what_is_a_number(text: str) -> None:
    assert is_number(text)


@pytest.mark.parametrize("text", ["", ".", "e5", "1e", "1,5", "1 2", "nan", "inf", "1e309", "0x1", "--1"])
def test_what_is_no_number(text: str) -> None:
    assert not is_number(text)


def test_a_missing_value_makes_no_classes_of_the_others() -> None:
    for missing in ("", "NaN", "n/a", "None"):
        labels, told = read(["1.5", missing, "2"])
        assert (labels.task, labels.texts) == ("regression", ["1.5", None, "2"])
        assert told == [f"1 has the label {missing!r}; expected a number"]
    assert read(["1.5", "unknown", "2"])[0].task == "multiclass"
    assert read(["", "nan"])[0].task == "multiclass"


def test_classes_are_sorted_as_people_count() -> None:
    assert natural(["10", "9", "-1"]) == ("-1", "9", "10")
    assert natural(["b", "a", "10", "9"]) == ("10", "9", "a", "b")
    assert natural(["10.0", "2.0", "+1"]) == ("+1", "2.0", "10.0")
    assert columns(**{"2": ["1", "0", "0"], "0": ["0", "1", "0"], "10": ["0", "0", "1"]})[0].classes == ("0", "2", "10")


def test_names_of_as_many_words_are_no_tags() -> None:
    names = [f"{plant} {ill}" for plant in ("Apple", "Corn", "Grape") for ill in ("rust", "scab", "blight")]
    assert read(names)[0].task == "multiclass"


def test_a_column_with_a_bar_in_its_name_is_refused() -> None:
    with pytest.raises(CompetitionError, match=r"the class 'x\|y' holds"):
        columns(**{"x|y": ["1", "0"], "z": ["1", "1"]})


def test_a_number_that_is_read_as_infinity_is_none() -> None:
    labels, told = read(["1.5", "1e999", "-1e999", "2"], task="regression")
    assert labels.texts == ["1.5", None, None, "2"]
    assert told[0] == "1 has the label '1e999'; expected a number"


@pytest.mark.parametrize(
    ("cells", "first"), [(["1", "2", "3"], 1), (["0"], 0), (["2", "3"], None), (["1", "3"], None), (["9" * 5000], None)]
)
def test_rows_that_are_counted(cells: list[str], first: int | None) -> None:
    assert consecutive(pd.Series(cells)) == first
