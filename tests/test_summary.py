"""What is told of a search: known functions in place of training, and plots that DVC can fill."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from dvc_render.vega import VegaRenderer

from competition import decisions
from competition.params import Range
from competition.scores import Score, find_metric
from competition.search.outcomes import Values
from competition.search.points import draw
from competition.search.summary import beats, importance, parallel, tell
from competition.tasks import Target
from tests.conftest import ROOT

SPACE = {
    "model.filters": Range(choice=(32, 16, 64)),
    "model.layers": Range(int=(0, 3)),
    "model.dropout": Range(float=(0.0, 0.5), step=0.1, when={"model.layers": (2, 3)}),
    "train.rate": Range(float=(1e-4, 1e-1), sampling="log"),
    "train.optimizer": Range(choice=("adam", "sgd", "lion")),
}


@dataclass
class Tried:
    """A trial as far as a summary looks at it."""

    number: int
    values: Values
    score: float | None
    epochs: int = 4


def trials(score: Callable[[Values], float], count: int = 30, seed: int = 1) -> list[Tried]:
    rng = np.random.default_rng(seed)
    points = [draw(SPACE, rng) for _ in range(count)]
    return [Tried(number, values, score(values)) for number, values in enumerate(points, start=1)]


def shares(tried: list[Tried], seed: int = 1) -> dict[str, float]:
    table = importance(SPACE, tried, seed)
    assert list(table.columns) == ["path", "importance"]
    assert list(table["path"]) == list(SPACE)
    assert table["importance"].sum() == pytest.approx(1) and table["importance"].min() >= 0
    return dict(zip(table["path"], table["importance"], strict=True))


def by_rate_and_filters(values: Values) -> float:
    """Vary by the logarithm of the rate with a variance of 3 ** 2 / 12, by the filters with half of that."""
    return math.log10(values["train.rate"]) + 1.5 * {16: 0, 32: 0.5, 64: 1}[values["model.filters"]]


def by_dropout(values: Values) -> float:
    """Vary by what is there in half of the points only."""
    return (values["model.dropout"] - 0.1) ** 2 if "model.dropout" in values else 0.05


def by_optimizer_and_rate(values: Values) -> float:
    """Vary by the rate only through where its peak is for an optimizer."""
    peak = {"adam": -3, "sgd": -1.5, "lion": -3.5}[values["train.optimizer"]]
    return -((math.log10(values["train.rate"]) - peak) ** 2)


# The shares are those of the functions themselves, at 20,000 points.
@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (by_rate_and_filters, {"train.rate": 0.66, "model.filters": 0.34}),
        (by_dropout, {"model.dropout": 0.67, "model.layers": 0.33}),
        (by_optimizer_and_rate, {"train.rate": 0.54, "train.optimizer": 0.46}),
        (lambda values: {"adam": 1.0, "sgd": 0.0, "lion": 0.9}[values["train.optimizer"]], {"train.optimizer": 1}),
        (lambda values: 0.1 if values["train.rate"] > 0.02 else 0.9, {"train.rate": 1}),
    ],
)
def test_importance_is_that_of_a_known_function(score: Callable[[Values], float], expected: dict[str, float]) -> None:
    for seed in (1, 2):
        found = shares(trials(score, seed=seed))
        for path in SPACE:
            assert found[path] == pytest.approx(expected.get(path, 0), abs=0.2), (path, found)


def test_importance_is_a_function_of_its_seed() -> None:
    tried = trials(by_optimizer_and_rate, 12)
    assert shares(tried, 3) == shares(tried, 3) != shares(tried, 4)


def test_importance_is_not_that_of_epochs() -> None:
    """In two of three trials training ends early, which costs more than anything else does."""
    tried = trials(by_rate_and_filters)
    for trial in tried:
        trial.epochs = (1, 3, 9)[trial.number % 3]
        trial.score -= 10 * math.exp(-trial.epochs / 2)
    found = shares(tried)
    assert found["train.rate"] + found["model.filters"] > 0.75 and found["train.rate"] > found["model.filters"]


def test_importance_needs_trials_that_differ() -> None:
    scored, failed = trials(by_dropout, 5), [Tried(number, {}, None) for number in range(6, 20)]
    assert len(importance(SPACE, scored + failed, 1)) == len(SPACE)
    for few in (scored[:4] + failed, failed, trials(lambda values: 0.5)):
        table = importance(SPACE, few, 1)
        assert table.empty and list(table.columns) == ["path", "importance"]
    one = {"train.optimizer": Range(choice=("adam",))}
    repeated = [Tried(number, {"train.optimizer": "adam"}, number / 10, number) for number in range(1, 9)]
    assert importance(one, repeated, 1).empty


def test_trials_lie_between_the_ends_of_their_axes() -> None:
    tried = [
        Tried(1, {"model.filters": 32, "model.layers": 1, "train.rate": 1e-3, "train.optimizer": "lion"}, 0.5),
        Tried(2, {"model.filters": 16}, None),
        Tried(4, {"model.filters": 64, "model.layers": 3, "model.dropout": 0.5, "train.rate": 1e-4,
                  "train.optimizer": "adam"}, 0.9),
        Tried(5, {"model.filters": 16, "model.layers": 2, "model.dropout": 0.0, "train.rate": 0.1,
                  "train.optimizer": "sgd"}, 0.8),
    ]  # fmt: skip
    table = parallel(SPACE, tried)
    assert list(table.columns) == ["trial", "axis", "position", "text", "score"]
    rows = [(row.axis, round(row.position, 9), row.text) for row in table.itertuples() if row.trial == 1]
    assert rows == [
        ("model.filters", 0.5, "32"),
        ("model.layers", 0.333333333, "1"),
        ("model.dropout", 0, "not used"),
        ("train.rate", 0.333333333, "0.001"),
        ("train.optimizer", 1, "lion"),
        ("score", 0, "0.5000"),
    ]
    places = table.pivot(index="trial", columns="axis", values="position")
    assert list(places.index) == [1, 4, 5]
    assert list(places["score"]) == [0, 1, pytest.approx(0.75)]
    assert list(places["train.rate"]) == [pytest.approx(1 / 3), 0, 1]
    assert places["model.dropout"][4] == 1 and 0.05 < places["model.dropout"][5] < 0.2  # above those without
    assert set(table[table["trial"] == 4]["score"]) == {0.9}


def test_an_axis_ends_at_its_highest_value() -> None:
    """Which is below the end of the range where the steps do not meet it."""
    space = {"model.layers": Range(int=(1, 10), step=4), "model.dropout": Range(float=(0.0, 0.5), step=0.2),
             "model.blocks": Range(int=(1, 3), step=4)}  # fmt: skip
    points = zip((1, 5, 9), (0.0, 0.2, 0.4), (1, 1, 1), strict=True)
    tried = [Tried(number, dict(zip(space, point, strict=True)), 0.5) for number, point in enumerate(points, start=1)]
    table = parallel(space, tried)
    for path, places in zip(space, ([0, 0.5, 1], [0, 0.5, 1], [0.5] * 3), strict=True):
        assert list(table[table["axis"] == path]["position"]) == pytest.approx(places)


def test_trials_of_one_score_and_of_none() -> None:
    table = parallel(SPACE, trials(lambda values: 0.5, 3))
    assert set(table[table["axis"] == "score"]["position"]) == {0.5}
    assert table["position"].between(0, 1).all()
    none = parallel(SPACE, [Tried(1, {}, None)])
    assert none.empty and list(none.columns) == list(table.columns)


SINGLE = Target("multiclass", tuple("abcd"), 0, 1, False)
MULTI = Target("multilabel", tuple("abcd"), 0, 1, False)
ORDINAL = Target("ordinal", tuple("abcd"), 0, 1, False)
VALUE = Target("regression", ("value",), 0, 1, False)


def predicted(target: Target, n: int, skills: tuple[float, float], seed: int = 1) -> tuple[np.ndarray, ...]:
    """Return the truth and two predictions, the one better that has more skill; what is hard is hard for both."""
    rng = np.random.default_rng(seed)
    if target.task == "regression":
        truth = rng.random(n)
        hard = rng.normal(size=(n, 1))
        return truth, *(
            (truth[:, None] + (hard + 0.1 * rng.normal(size=(n, 1))) / skill).astype(np.float32) for skill in skills
        )
    k = len(target.classes)
    truth = (rng.random((n, k)) < 0.4).astype(np.uint8) if target.task == "multilabel" else rng.integers(0, k, n)
    right = truth if truth.ndim == 2 else np.eye(k)[truth]
    hard = rng.normal(size=(n, k))
    found = []
    for skill in skills:
        logits = hard + 0.1 * rng.normal(size=(n, k)) + skill * (right - 0.5)
        each = 1 / (1 + np.exp(-logits)) if truth.ndim == 2 else np.exp(logits)
        found.append((each if truth.ndim == 2 else each / each.sum(axis=1, keepdims=True)).astype(np.float32))
    return truth, *found


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("accuracy", SINGLE),
        ("f1_macro", SINGLE),
        ("f1_weighted", MULTI),
        ("log_loss", SINGLE),
        ("roc_auc_macro", MULTI),
        ("quadratic_kappa", ORDINAL),
        ("rmse", VALUE),
    ],
)
def test_the_difference_is_that_of_the_metric_and_its_interval_that_of_resampling_pairs(
    name: str, target: Target
) -> None:
    metric = find_metric(name)
    truth, first, second = predicted(target, 150, (3.0, 2.0))
    plain = decisions.plain(metric, target.task, len(target.classes), target.at_least_one)
    one, other = (decisions.apply(plain, target.task, each) for each in (first, second))
    sign = 1 if metric.greater else -1
    result = beats(metric, target, truth, first, second, seed=1)
    assert result.n == 150
    assert result.value == pytest.approx(sign * (metric(truth, one) - metric(truth, other)), abs=1e-12)
    assert result.value > 0
    rng = np.random.default_rng(7)
    rows = [rng.integers(0, 150, 150) for _ in range(600)]
    drawn = [sign * (metric(truth[some], one[some]) - metric(truth[some], other[some])) for some in rows]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert result.low == pytest.approx(low, abs=0.25 * (high - low))
    assert result.high == pytest.approx(high, abs=0.25 * (high - low))
    turned = beats(metric, target, truth, second, first, seed=1)
    assert (turned.value, turned.low, turned.high) == pytest.approx((-result.value, -result.high, -result.low))


def test_the_interval_is_one_of_95_percent() -> None:
    truth, first, second = predicted(SINGLE, 2000, (3.0, 2.5))
    better = np.log(first[np.arange(2000), truth]) - np.log(second[np.arange(2000), truth])
    result = beats(find_metric("log_loss"), SINGLE, truth, first, second, 1)
    assert result.value == pytest.approx(better.mean(), rel=1e-4)
    assert result.high - result.low == pytest.approx(2 * 1.96 * better.std() / math.sqrt(2000), rel=0.07)


def test_two_of_one_skill_are_told_apart_as_rarely_as_the_interval_says() -> None:
    apart = 0
    for seed in range(200):
        truth, first, second = predicted(SINGLE, 150, (2.0, 2.0), seed)
        result = beats(find_metric("log_loss"), SINGLE, truth, first, second, seed)
        apart += not result.low <= 0 <= result.high
    assert 2 <= apart <= 20  # 10 of 200 are expected


def test_pairs_tell_more_than_either_score_alone() -> None:
    truth, first, second = predicted(SINGLE, 300, (3.0, 2.0))
    shuffled = np.random.default_rng(3).permutation(300)
    paired = beats(find_metric("accuracy"), SINGLE, truth, first, second, 1)
    # The same two scores, but what is hard for one is not what is hard for the other.
    order = np.argsort(truth, kind="stable")
    other = order[np.argsort(np.argsort(truth[shuffled], kind="stable"), kind="stable")]
    mixed = np.empty_like(second)
    mixed[shuffled] = second[other]
    unpaired = beats(find_metric("accuracy"), SINGLE, truth, first, mixed, 1)
    assert unpaired.value == pytest.approx(paired.value)
    assert paired.high - paired.low < 0.8 * (unpaired.high - unpaired.low)


def test_many_samples_are_resampled_less(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, first, second = predicted(SINGLE, 150, (3.0, 2.0))
    args = find_metric("accuracy"), SINGLE, truth, first, second, 1
    all_of_them = beats(*args)
    monkeypatch.setattr("competition.search.summary.BUDGET", 150 * 200)
    fewer = beats(*args)
    assert fewer.value == all_of_them.value and (fewer.low, fewer.high) != (all_of_them.low, all_of_them.high)


def test_resamples_without_a_score_are_left_out() -> None:
    """A third of the resamples lack the only sample of the second class."""
    truth, target = np.array([0, 0, 0, 1]), Target("multiclass", ("a", "b"), 0, 1, False)
    first = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.5, 0.5]])
    result = beats(find_metric("roc_auc"), target, truth, first, 1 - first, 0)
    assert result.value == pytest.approx(1 / 3) and -1 <= result.low < result.high <= 1
    none = beats(find_metric("roc_auc"), target, np.zeros(4, np.int64), first, 1 - first, 0)
    assert math.isnan(none.value) and math.isnan(none.low) and math.isnan(none.high)


def test_the_sentence() -> None:
    assert tell(7, 3, Score(0.0041, -0.0012, 0.0093, 10_000)) == (
        "trial 7 beats trial 3 by 0.0041 (95 % interval -0.0012 to 0.0093, n = 10,000): within the noise"
    )
    assert tell(7, 3, Score(0.0041, 0.0012, 0.0093, 900)).endswith("n = 900): more than the noise")
    assert tell(7, 3, Score(-0.0041, -0.0093, -0.0012, 900)) == (
        "trial 3 beats trial 7 by 0.0041 (95 % interval 0.0012 to 0.0093, n = 900): more than the noise"
    )
    assert tell(7, 3, Score(0.0, -0.012, 0.0093, 900)) == (
        "trials 7 and 3 are equal (95 % interval of their difference -0.0120 to 0.0093, n = 900)"
    )


@pytest.mark.parametrize(
    ("template", "x", "y"),
    [
        ("parallel", "axis", "position"),
        ("search", "trial", "score"),
        ("bar_horizontal_sorted", "importance", "path"),
    ],
)
def test_dvc_fills_the_templates_and_they_read_what_is_there(template: str, x: str, y: str) -> None:
    tried = trials(by_rate_and_filters, 6)
    scores = [trial.score for trial in tried]
    table = {
        "parallel": parallel(SPACE, tried),
        "search": pd.DataFrame({"trial": range(6), "score": scores, "best": np.maximum.accumulate(scores)}),
        "bar_horizontal_sorted": importance(SPACE, tried, 1),
    }[template]
    rows = [{key: str(value) for key, value in row.items()} | {"rev": "workspace"} for row in table.to_dict("records")]
    renderer = VegaRenderer(rows, "plot", template=template, template_dir=str(ROOT / ".dvc" / "plots"), x=x, y=y)
    spec = json.loads(json.dumps(renderer.get_filled_template()))
    assert spec.pop("data") == {"values": rows}
    text = json.dumps(spec)
    assert "<DVC_METRIC" not in text
    made = set(re.findall(r'"as": "(\w+)"', text)) | {"label"}  # an axis has labels by itself
    read = {"".join(names) for names in re.findall(r'"field": "(\w+)"|datum\.(\w+)|datum\[\'(\w+)\'\]', text)}
    assert {x, y} <= read <= made | {*table.columns, "rev"}
