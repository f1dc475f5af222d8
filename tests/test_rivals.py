"""The side-by-side benchmark, but for the training: its arguments, arrays, priors, scores and table."""

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import keras_tuner
import numpy as np
import pytest

from competition.artifacts import read_samples
from competition.errors import CompetitionError
from competition.grading import grade
from competition.stages.prepare import prepare
from tests.conftest import ROOT, data_params, gala, prepare_params, write_folder

sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "benchmarks" / "rivals")]

import autokeras_rival  # noqa: E402
import kerastuner_rival  # noqa: E402
import rivals  # noqa: E402

LABELS = np.array([0, 1, 1, 2, 2, 2, 2, 1])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent = tmp_path_factory.mktemp("competition")
    folder, root = parent / "prepare", write_folder(parent / "raw", gala(train=12, test=4))
    prepare(prepare_params(), data_params(root), out=folder, seed=1)
    return folder


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    path = tmp_path / "arrays.npz"
    images = np.random.default_rng(0).integers(0, 256, (8, 12, 12, 3), np.uint8)
    np.savez(path, x_train=images, y_train=LABELS, x_test=images[:5])
    return path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["rivals", *map(str, arguments)])


def start(monkeypatch: pytest.MonkeyPatch, arrays: Path, minutes: float, attempt: kerastuner_rival.Attempt) -> Path:
    """Let a rival attempt it from now on."""
    out = arrays.with_name("predictions.npy")
    call(monkeypatch, "--arrays", arrays, "--minutes", minutes, "--out", out)
    monkeypatch.setattr(kerastuner_rival, "START", time.monotonic())
    kerastuner_rival.run(attempt, ("numpy",))
    return out


def told(out: Path) -> dict[str, Any]:
    return json.loads(out.with_suffix(".json").read_text())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "cifar10"}, "invalid choice"),
        ({"--minutes": "0"}, "expected more than 0"),
        ({"--minutes": "nan"}, "expected more than 0"),
        ({"--only": "nobody"}, "invalid choice"),
        ({"--only": "autokeras"}, "needs --rivals-python"),
        ({"--rivals-python": "nowhere/python"}, "nowhere/python is missing"),
        ({"--ours": "nowhere.yaml"}, "nowhere.yaml is missing"),
        ({"--datasets": "nowhere"}, "fashion-mnist.zip is missing"),
    ],
)
def test_wrong_arguments_are_told(
    changed: dict[str, str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("fashion-mnist.zip", "fashion-mnist-solution.csv"):
        (tmp_path / name).touch()
    given = {"name": "fashion-mnist", "--datasets": str(tmp_path), "--minutes": "1", "--only": "kerastuner", **changed}
    name = given.pop("name")
    call(monkeypatch, name, *(part for option in given.items() for part in option))
    with pytest.raises(SystemExit) as ended:
        rivals.main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_rivals_get_the_prepared_images_shuffled(prepared: Path, tmp_path: Path) -> None:
    rivals.write_arrays(prepared, tmp_path / "arrays.npz")
    arrays, samples = np.load(tmp_path / "arrays.npz"), read_samples(prepared)
    assert {name: (arrays[name].shape, str(arrays[name].dtype)) for name in arrays} == {
        "x_train": ((12, 8, 8, 1), "uint8"),
        "y_train": ((12,), "int64"),
        "x_test": ((4, 8, 8, 1), "uint8"),
    }
    train, test = (samples[samples["split"] == split] for split in ("train", "test"))
    images, classes = np.load(prepared / "train.npy"), sorted(set(train["label"]))
    known = {
        images[row].tobytes(): classes.index(label) for row, label in zip(train["row"], train["label"], strict=True)
    }
    assert len(known) == 12
    assert [known[image.tobytes()] for image in arrays["x_train"]] == list(arrays["y_train"])
    assert list(arrays["y_train"]) != [known[images[row].tobytes()] for row in train["row"]]
    assert (arrays["x_test"] == np.load(prepared / "test.npy")[test["row"]]).all()


def test_predictions_are_scored_by_sample_id(prepared: Path, tmp_path: Path) -> None:
    names = ["misc", "Food", "Attire", "Attire"]
    classes = json.loads((prepared / "contract.json").read_text())["classes"]
    samples = read_samples(prepared)
    test = samples.loc[samples["split"] == "test", "sample_id"]
    answers = tmp_path / "answers.csv"
    rows = [f"{sample_id},{name}" for sample_id, name in zip(test, names, strict=True)]
    answers.write_text("\n".join(["Image,Class", *rows[::-1], ""]))  # another order than the predictions
    probabilities = np.full((4, 3), 0.2, np.float32)
    probabilities[range(4), [classes.index(name) for name in [*names[:3], "misc"]]] = 0.6
    np.save(tmp_path / "rival.npy", probabilities)
    rivals.submit(tmp_path / "rival.npy", prepared, tmp_path / "rival.csv")
    score = grade(tmp_path / "rival.csv", answers, seed=0, metric="accuracy")["accuracy"]
    assert (score.value, score.n) == (0.75, 4)
    assert score.low < 0.75 < score.high


def test_predictions_that_are_no_probabilities_are_refused(prepared: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "rival.npy", np.full((4, 3), np.nan, np.float32))
    with pytest.raises(CompetitionError, match="4 samples are not from 0 to 1"):
        rivals.submit(tmp_path / "rival.npy", prepared, tmp_path / "rival.csv")


def line(name: str, **changed: Any) -> dict[str, Any]:
    versions = {"keras-tuner": "1.4.8", "autokeras": "3.0.0"}
    base = {"name": name, "value": 0.5, "low": 0.4, "high": 0.6, "seconds": 90.0, "trials": 3, "begun": 3, "note": ""}
    return {**base, "versions": versions, **changed}


RESULT = {"name": "dance-form", "metric": "f1_weighted", "minutes": 2.0, "n": 1070}


def test_the_table_has_a_line_for_each_contender(tmp_path: Path) -> None:
    written = tmp_path / "rivals-dance-form.json"
    rivals.record(written, RESULT, line("autokeras", trials=0, begun=1, note=kerastuner_rival.NOTHING))
    rivals.record(written, RESULT, line("competition", value=0.64449, low=0.53641))
    assert rivals.table([written]).splitlines() == [
        "| data | contender | metric [95 %] | wall time | trials |",
        "|---|---|---|---|---|",
        "| dance-form (n = 1,070) | this project | f1_weighted **0.6445** [0.5364, 0.6000] | 1.5 of 2 min | 3 |",
        "| dance-form (n = 1,070) | AutoKeras 3.0.0 | f1_weighted **0.5000** [0.4000, 0.6000] | 1.5 of 2 min "
        "| 0 of 1 begun; nothing finished in time: the class prior |",
    ]


def test_what_is_known_of_the_others_stays_only_if_it_had_the_same_time(tmp_path: Path) -> None:
    written = tmp_path / "rivals-dance-form.json"

    def names() -> list[str]:
        return [known["name"] for known in json.loads(written.read_text())["contenders"]]

    rivals.record(written, RESULT, line("kerastuner"))
    rivals.record(written, RESULT, line("kerastuner", value=0.7))
    rivals.record(written, RESULT, line("competition"))
    assert names() == ["competition", "kerastuner"]
    assert "**0.7000**" in rivals.table([written])
    rivals.record(written, {**RESULT, "minutes": 3.0}, line("autokeras"))
    assert names() == ["autokeras"]


def test_a_rival_that_fails_is_scored_by_what_it_had_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], folder: Path) -> tuple[float, int]:
        kerastuner_rival.Result(folder / "autokeras.npy", np.ones((2, 1)), ())
        sys.exit("python ended with -9")

    monkeypatch.setattr(rivals, "run", fail)
    found = rivals.run_rival("autokeras", Path("python"), 1.0, tmp_path, tmp_path / "arrays.npz")
    assert found["note"] == kerastuner_rival.NOTHING
    assert found["seconds"] >= 0


def test_the_prior_is_the_share_of_each_class() -> None:
    predicted = kerastuner_rival.prior(LABELS, 5)
    assert predicted.dtype == np.float32
    assert (predicted == np.tile(np.float32([0.125, 0.375, 0.5]), (5, 1))).all()


@pytest.mark.parametrize("found", [True, False])
def test_a_rival_says_whether_it_predicts_the_prior(
    found: bool, arrays: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    predicted = np.eye(3)[[0, 1, 2, 0, 1]]

    def attempt(*given: Any) -> None:
        given[-1].trials = 7
        if found:
            given[-1].keep(predicted)

    out = start(monkeypatch, arrays, 1, attempt)
    saved = np.load(out)
    assert saved.dtype == np.float32
    assert (saved == (predicted if found else kerastuner_rival.prior(LABELS, 5))).all()
    assert told(out)["note"] == ("" if found else kerastuner_rival.NOTHING)
    assert told(out)["trials"] == 7
    assert told(out)["versions"] == {"numpy": np.__version__}
    assert (kerastuner_rival.NOTHING in capsys.readouterr().out) is not found


@pytest.mark.parametrize("found", [True, False])
def test_a_rival_that_goes_on_after_its_time_is_ended_with_what_it_has_kept(
    found: bool, arrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(kerastuner_rival.os, "_exit", codes.append)

    def attempt(*given: Any) -> None:
        if found:
            given[-1].keep(np.full((5, 3), 1 / 3))
        until = time.monotonic() + 30
        while not codes and time.monotonic() < until:
            time.sleep(0.01)

    out = start(monkeypatch, arrays, 0.001, attempt)
    assert codes == [0]
    wanted = np.full((5, 3), np.float32(1 / 3)) if found else kerastuner_rival.prior(LABELS, 5)
    assert (np.load(out) == wanted).all()
    assert told(out)["note"] == ("" if found else kerastuner_rival.NOTHING)


@pytest.mark.parametrize(
    ("minutes", "missing", "message"), [("0", False, "expected more than 0"), ("1", True, "is missing")]
)
def test_wrong_arguments_of_a_rival_are_told(
    minutes: str,
    missing: bool,
    message: str,
    arrays: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = arrays.with_name("nowhere.npz") if missing else arrays
    call(monkeypatch, "--arrays", given, "--minutes", minutes, "--out", arrays.with_name("out.npy"))
    with pytest.raises(SystemExit):
        kerastuner_rival.run(lambda *given: None, ("numpy",))
    assert message in capsys.readouterr().err


def test_kerastuner_without_time_begins_nothing(arrays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(kerastuner_rival, "START", now)
    result = kerastuner_rival.Result(arrays.with_name("out.npy"), np.ones((8, 2)), ())
    images = np.zeros((8, 12, 12, 3), np.uint8)
    kerastuner_rival.attempt(images, np.repeat([0, 1], 4), images, now + 1, result)
    assert (result.begun, result.trials, result.note) == (0, 0, kerastuner_rival.NOTHING)


@pytest.mark.parametrize("shape", [(28, 28, 1), (96, 64, 3)])
def test_the_models_of_the_search_have_a_probability_for_each_class(shape: tuple[int, int, int]) -> None:
    hp = keras_tuner.HyperParameters()
    kerastuner_rival.build_model(hp, shape, 4)
    for space in hp.space:
        hp.values[space.name] = getattr(space, "max_value", True)
    hp.values |= {"filters": 16, "units": 64}
    model = kerastuner_rival.build_model(hp, shape, 4)
    predicted = model.predict_on_batch(np.zeros((2, *shape), np.uint8))
    assert predicted.shape == (2, 4)
    assert np.allclose(predicted.sum(axis=1), 1, atol=1e-5)


def fail() -> None:
    raise RuntimeError("too many failures")


@pytest.mark.parametrize("fit", [fail, lambda: time.sleep(60)], ids=["fails", "hangs"])
def test_autokeras_without_a_trial_predicts_nothing_in_time(
    fit: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a stand-in, for AutoKeras has an environment of its own."""
    trials = {"0": SimpleNamespace(trial_id="0", status="FAILED", message="Traceback\nValueError: no\n")}

    class Classifier:
        tuner = SimpleNamespace(oracle=SimpleNamespace(trials=trials))

        def __init__(self, **given: Any) -> None:
            pass

        def fit(self, *given: Any, **options: Any) -> None:
            fit()

    data_utils = ModuleType("autokeras.utils.data_utils")
    stand_ins: dict[str, dict[str, Any]] = {
        "autokeras": {"ImageClassifier": Classifier},
        "autokeras.tuners": {},
        "autokeras.tuners.task_specific": {"ImageClassifierTuner": object},
        "autokeras.utils": {"data_utils": data_utils},
        "tree": {"map_structure": lambda function, data: tuple(map(function, data))},
    }
    for name, content in stand_ins.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    handler = signal.getsignal(signal.SIGALRM)
    result = kerastuner_rival.Result(tmp_path / "out.npy", np.ones((8, 3)), ())
    images = np.zeros((8, 12, 12, 3), np.uint8)
    start = time.monotonic()
    try:
        autokeras_rival.attempt(images, LABELS, images, start + 0.5, result)
    finally:
        signal.signal(signal.SIGALRM, handler)
    assert time.monotonic() - start < 50
    assert (result.begun, result.trials, result.note) == (1, 0, kerastuner_rival.NOTHING)
    shapes = data_utils.dataset_shape((images, LABELS))  # Python's integers, which Keras takes as sizes
    assert [type(side) for shape in shapes for side in tuple(shape)] == [int] * 5
