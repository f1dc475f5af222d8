"""What a model is to predict, from label texts and back."""

import numpy as np
import pytest

from competition.tasks import Target, grades, is_whole, to_whole

MULTICLASS = Target("multiclass", ("ant", "bee", "cat"), 0, 1, False)
ORDINAL = Target("ordinal", ("0", "1", "2", "10"), 0, 1, False)
MULTILABEL = Target("multilabel", ("ant", "bee", "cat"), 0, 1, False)
REGRESSION = Target("regression", ("Pawpularity",), 1, 100, False)

TEXTS = {
    MULTICLASS: ["bee", "ant", "cat", "bee"],
    ORDINAL: ["10", "0", "2", "1"],
    MULTILABEL: ["ant|cat", "", "bee", "ant|bee|cat"],
    REGRESSION: ["1", "100", "47.5", "3"],
}


@pytest.mark.parametrize("target", TEXTS, ids=lambda target: target.task)
def test_what_is_trained_towards_is_what_is_read_back(target: Target) -> None:
    """A model that put out its targets exactly would be decided to have every label right."""
    truth = target.truth(TEXTS[target])
    coded = target.encode(truth)
    assert coded.dtype == np.float32
    assert coded.shape == (4, target.outputs)
    assert coded.min() >= 0 and coded.max() <= 1
    decoded = target.decode(coded)
    assert decoded.shape == (4, len(target.classes))
    assert target.texts(target.likeliest(decoded)) == TEXTS[target]


@pytest.mark.parametrize("target", [MULTICLASS, ORDINAL], ids=lambda target: target.task)
def test_probabilities_of_exclusive_classes_sum_to_1(target: Target) -> None:
    """Also where the outputs for "above this class" do not fall from class to class."""
    outputs = np.random.default_rng(1).random((50, target.outputs), np.float32)
    if target.task == "multiclass":
        outputs /= outputs.sum(axis=1, keepdims=True)
    decoded = target.decode(outputs)
    assert (decoded >= 0).all()
    assert np.allclose(decoded.sum(axis=1), 1, atol=1e-6)


def test_ordinal_targets_count_the_classes_below() -> None:
    assert ORDINAL.encode(np.array([0, 2, 3])).tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_a_value_cannot_leave_its_range() -> None:
    assert REGRESSION.decode(np.float32([[0], [0.5], [1]])).tolist() == [[1], [50.5], [100]]


def test_what_is_predicted_of_an_image_that_cannot_be_read() -> None:
    assert MULTICLASS.prior(np.array([0, 0, 2, 1])) == [0.5, 0.25, 0.25]
    assert MULTICLASS.prior(np.array([0, 1])) == [0.5, 0.5, 0]
    assert MULTILABEL.prior(np.uint8([[1, 0, 1], [1, 0, 0]])) == [1.0, 0.0, 0.5]
    assert REGRESSION.prior(np.array([10.0, 20.0])) == [15.0]


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), ("-3", -3), ("+3", 3), ("10.", 10), ("10.00", 10), (" 5 ", 5), ("9" * 300, int("9" * 300))],
)
def test_what_is_a_whole_number(text: str, number: int) -> None:
    assert is_whole(text)
    assert to_whole(text) == number


@pytest.mark.parametrize("text", ["", "1.5", "1e3", "9" * 301, "1 2", "a1", "1a", "1.0.0", "--1", "."])
def test_what_is_no_whole_number(text: str) -> None:
    assert not is_whole(text)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("2", "3", "10"), (0, 1, 8)),
        (("-1", "1.0"), (0, 2)),
        (("1", "two"), None),
        (("0", str(2**31 - 1)), (0, 2**31 - 1)),
        (("-1", str(2**31 - 1)), None),
    ],
)
def test_grades(classes: tuple[str, ...], expected: tuple[int, ...] | None) -> None:
    assert grades(classes) == expected


def test_a_target_is_that_of_its_contract() -> None:
    for target in TEXTS:
        contract = {"task": target.task, "classes": list(target.classes), "target_range": [target.low, target.high],
                    "at_least_one": target.at_least_one}  # fmt: skip
        assert Target.of(contract) == target
        assert (target.activation == "softmax") == (target is MULTICLASS)
