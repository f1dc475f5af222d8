"""A few rounds of `tests.faults`; hundreds are for ``python -m tests.faults``."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.faults import BrokenError, Reference, Round, SkippedError, kill_at, run_round

pytestmark = pytest.mark.slow

SECONDS = {"prepare": 3, "augment": 3, "tune": 12, "train": 8, "predict": 6}  # roughly: instants are drawn from them


@pytest.fixture(scope="module")
def reference(ran: Path) -> Reference:
    return Reference(ran, dict(SECONDS))


@pytest.mark.parametrize(
    ("stage", "event", "number"),
    [
        ("prepare", "os.rename", 2),  # the old outputs are set aside, and the new ones not there
        ("augment", "os.remove", 3),  # the new outputs are there, and the old ones removed in part
        ("train", "os.rename", 2),  # the state of the second epoch is written, and not in its place
        ("tune", "os.rename", 4),  # the same of the result of the first trial
        ("predict", "os.rename", 1),  # all is written, and not in its place
    ],
)
def test_killed_right_before(reference: Reference, tmp_path: Path, stage: str, event: str, number: int) -> None:
    fault = partial(kill_at, event=event, number=number)
    assert run_round(reference, "kill-at", stage, 0, tmp_path / "round", fault)


# Seeds whose rounds break the stage once.
@pytest.mark.parametrize(
    ("kind", "stage", "seed"),
    [("kill", "prepare", 0), ("worker", "augment", 0), ("twice", "prepare", 1), ("disk", "prepare", 209)],
)
def test_a_round(reference: Reference, tmp_path: Path, kind: str, stage: str, seed: int) -> None:
    try:
        assert run_round(reference, kind, stage, seed, tmp_path / "round")
    except SkippedError as error:
        pytest.skip(str(error))


def leave_half(this: Round) -> bool:
    (this.outputs / "policy.json").write_text("{")
    return True


def change_an_input(this: Round) -> bool:
    path = this.project / "data/prepare/train.npy"
    data = path.read_bytes()
    path.write_bytes(data[:-1000] + bytes(255 - value for value in data[-1000:]))
    return True


@pytest.mark.parametrize(
    ("fault", "told"),
    [(leave_half, r"half-written .*: \['policy.json'\]"), (change_an_input, r"not equal .*: \[.*'view-0.npy'")],
)
def test_a_defect_is_told(reference: Reference, tmp_path: Path, fault: Callable[[Round], bool], told: str) -> None:
    """See the rounds fail that have to."""
    with pytest.raises(BrokenError, match=told):
        run_round(reference, "defect", "augment", 0, tmp_path / "round", fault)
