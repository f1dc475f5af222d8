"""A search in several processes: whichever of them is killed, and whenever, it ends with the trials it would have had.

What it would have had is worked out without any process.
"""

import contextlib
import json
import multiprocessing
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest

from competition.errors import CompetitionError
from competition.search import processes, workers
from competition.search.outcomes import DIED, Attempt, Curve, Search, Task, Values
from competition.search.trials import lend_a_hand, search
from competition.search.workers import Address
from tests.conftest import ROOT
from tests.test_search import Fake, plan, results, simulated, trained

pytestmark = pytest.mark.slow

# Run in a process of its own, which may be killed.
MAIN = "from tests.test_workers import main; main()"
ALL = ("chief", "worker-0", "worker-1")
LIMIT_SECONDS = 100  # after which a test fails that would hang


def main() -> None:
    """Search as the arguments say, one after the other; print what happens, and at the end of each all trials."""
    watch(workers._Crew)
    for arguments in json.loads(sys.argv[1]):
        try:
            one(**arguments)
        except (CompetitionError, OSError) as error:
            print(json.dumps(f"error {error}"), flush=True)
        print("left", len(multiprocessing.active_children()), flush=True)


def one(
    *,
    folder: str,
    kind: str = "fake",
    seconds: float = 0.02,
    listen: str | None = None,
    here: int | None = None,
    join: str | None = None,
    key: str = "1",
    **changed: object,
) -> None:
    """Search, or help who does.

    Args:
        folder: of the results.
        kind: what stands for training.
        seconds: of an epoch of it.
        listen, here, join, key: of the search.
        changed: of its description.
    """
    evaluate = {"fake": Fake(seconds), "fails": Fake(fails=True), "full": Full(), "dies": Dies(most=16),
                "dead": Dead(), "broken": Fake(), "stalls": Stalls(seconds),
                "remarks": Fake(seconds, remark="there is a card")}[kind]  # fmt: skip
    searched, held = replace(two_workers(**changed), key=key), results(Path(folder))
    searched = replace(searched, impossible=broken) if kind == "broken" else searched
    if join:
        did = partial(print, "did", flush=True)
        return lend_a_hand(searched, evaluate, held, Address.read(join), lambda attempt: did(attempt.number))
    attempts, _ = search(
        searched, evaluate, held,
        on_trial=lambda attempt: print(f"trial {attempt.number}", flush=True),
        listen=Address.read(listen) if listen else None,
        here=here,
        on_start=lambda address: print(f"listens {address}", flush=True),
    )  # fmt: skip
    print(json.dumps([described(attempt) for attempt in attempts]), flush=True)
    return None


def two_workers(**changed: object) -> Search:
    return plan(**{"tuner": "tpe", "trials": 8, "workers": 2, "prune": True, **changed})  # type: ignore[arg-type]


def watch(crew: type[workers._Crew]) -> None:
    """Print the processes as they start, and who does what; wait but little for one that is gone."""
    start, hear = crew._start, crew._hear
    workers.LOST_TIMES, workers.LOST_SECONDS = 2, 2

    def started(self: workers._Crew, name: str, *arguments: int, **named: int) -> None:
        start(self, name, *arguments, **named)
        print(f"process {name} {self.processes[name].process_id}", flush=True)

    def heard(self: workers._Crew, name: str, message: object) -> None:
        hear(self, name, message)
        if isinstance(message, workers.Told):
            print("running", *(f"{number} {name}" for number, name in message.doers.items()), flush=True)

    crew._start, crew._hear = started, heard  # type: ignore[method-assign]


def described(attempt: Attempt) -> list[object]:
    assert attempt.outcome
    return [attempt.number, attempt.values, attempt.outcome.scores, attempt.outcome.kind, attempt.reason]


def broken(values: Values) -> str:
    raise OSError(5, "in the chief")


@dataclass(frozen=True)
class Full(Fake):
    """Finds no space on the disk."""

    def __call__(self, task: Task, folder: Path) -> Curve:
        raise OSError(28, "No space left on device")


@dataclass(frozen=True)
class Dies(Fake):
    """Takes all memory of a process for wide models."""

    def __call__(self, task: Task, folder: Path) -> Curve:
        if float(task.values["model.filters"]) > self.most:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(task, folder)


@dataclass(frozen=True)
class Stalls(Fake):
    """Trains once, and then without an end."""

    def __call__(self, task: Task, folder: Path) -> Curve:
        if trained(folder.parent):
            time.sleep(LIMIT_SECONDS)
        return super().__call__(task, folder)


@dataclass(frozen=True)
class Dead(Fake):
    """Does not even start."""

    def start(self) -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""


class Running:
    """Searches in a process of its own, one after the other.

    Args:
        arguments: of each.
    """

    def __init__(self, *arguments: dict[str, object]) -> None:
        for each in arguments:
            Path(str(each["folder"])).mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAIN, json.dumps(arguments, default=str)], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        self.lines: list[str] = [""]
        self.seen: list[psutil.Process] = []
        self._limit = threading.Timer(LIMIT_SECONDS, self.process.kill)
        self._limit.start()

    def until(self, wanted: str) -> str:
        """Read on to a line that begins so, and remember which processes there are."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if line.startswith(wanted):
                with contextlib.suppress(psutil.NoSuchProcess):
                    self.seen += psutil.Process(self.process.pid).children(recursive=True)
                return line.rstrip()
        raise AssertionError(f"ended before {wanted!r}: {self.lines} {self.process.stderr.read()}")  # type: ignore

    def number(self, name: str) -> int:
        """Return the last process id of one of the processes."""
        return int([line for line in self.lines if line.startswith(f"process {name} ")][-1].split()[2])

    def end(self, code: int = 0) -> list[str]:
        """Wait until it ends, and see that nothing of it is left."""
        assert self.process.stdout
        assert self.process.stderr
        # Not communicate: it drops what `until` has read ahead.
        said, errors = self.process.stdout.read(), self.process.stderr.read()
        self.process.wait()
        self._limit.cancel()
        self.errors = errors
        assert self.process.returncode == code, f"{self.process.returncode}: {self.lines} {said} {errors}"
        assert psutil.wait_procs(self.seen, timeout=10)[1] == []
        self.lines += said.splitlines()
        return self.lines

    def found(self) -> list[Any]:
        """Return what the searches came to, each its trials or an error; see that they left no process behind."""
        lines = self.end()
        assert {line for line in lines if line.startswith("left")} == {"left 0"}
        return [json.loads(line) for line in lines if line.startswith(("[", '"'))]


def expected(tmp_path: Path, **changed: object) -> list[object]:
    attempts = simulated(two_workers(**changed), 1, tmp_path / "expected")
    return json.loads(json.dumps([described(attempt) for attempt in sorted(attempts, key=lambda a: a.number)]))


def test_the_trials_are_the_same_if_a_worker_and_the_chief_are_killed(tmp_path: Path) -> None:
    searching = Running({"folder": tmp_path / "found", "seconds": 0.05, "finalists": 2})
    searching.until("trial")
    os.kill(searching.number("worker-1"), signal.SIGKILL)
    searching.until("process worker-1")
    searching.until("trial")
    os.kill(searching.number("chief"), signal.SIGKILL)
    searching.until("process chief")
    assert searching.found() == [expected(tmp_path, finalists=2)]
    started = [line.split()[1] for line in searching.lines if line.startswith("process")]
    assert started == [*ALL, "worker-1", *ALL]  # a new chief has new workers: what it hands out nobody trains still
    ended = [line for line in searching.lines if line.startswith("trial")]
    assert len(ended) == len(set(ended)) == 10
    assert trained(tmp_path / "found") <= trained(tmp_path / "expected")  # one may be killed before it is counted


@pytest.mark.parametrize(
    ("count", "endings"), [(1, (signal.SIGKILL,)), (2, (signal.SIGKILL, signal.SIGINT))], ids=["one", "two"]
)
def test_the_trials_are_the_same_if_the_search_is_killed(
    count: int, endings: tuple[signal.Signals, ...], tmp_path: Path
) -> None:
    """Kill it at random instants, end it by Ctrl-C, and let it end."""
    chance, quick = random.Random(count), {"folder": tmp_path / "found", "seconds": 0.06, "workers": count}
    for ending in endings:
        searching = Running(quick)
        searching.until("trial")
        time.sleep(chance.uniform(0, 0.6))
        if ending == signal.SIGINT:
            os.killpg(searching.process.pid, ending)
        else:
            searching.process.send_signal(ending)
        said = searching.end(-ending)
        assert not any(line.startswith("[") for line in said), "it ended before it was killed"
    wanted = expected(tmp_path, workers=count)
    if count == 1:  # it needs no process of its own
        ended = search(two_workers(workers=1), Fake(), results(tmp_path / "found"))[0]
        assert json.loads(json.dumps([described(attempt) for attempt in ended])) == wanted
    else:
        assert Running(quick).found() == [wanted]
    assert trained(tmp_path / "found") <= trained(tmp_path / "expected")


def test_searches_end_whatever_their_trials_do(tmp_path: Path) -> None:
    """Four workers do as many trials as one; errors and dead processes are told and not waited for."""
    searching = Running(
        {
            "folder": tmp_path / "four",
            "workers": 4,
            "seconds": 0,
            "tuner": "random",
            "trials": 44,
            "epochs": 1,
            "kind": "remarks",
        },
        {"folder": tmp_path / "band", "tuner": "hyperband", "trials": 14, "epochs": 9},
        {"folder": tmp_path / "fails", "kind": "fails"},
        {"folder": tmp_path / "full", "kind": "full"},
        {"folder": tmp_path / "dies", "kind": "dies", "tuner": "random", "trials": 10, "prune": False},
        {"folder": tmp_path / "dead", "kind": "dead"},
        {"folder": tmp_path / "broken", "kind": "broken"},
    )
    searching.until("trial")
    four, band, fails, full, dies, dead, broken = searching.found()
    assert four == expected(tmp_path, workers=4, tuner="random", trials=44, epochs=1)
    assert searching.errors.count("compete: there is a card\n") == 1  # though each process says it
    assert not [*(tmp_path / "four").rglob("oracle.json"), *(tmp_path / "four").rglob("trial.json")], "of KerasTuner"
    before = searching.lines[: next(place for place, line in enumerate(searching.lines) if line.startswith("["))]
    assert sum(line.startswith("process worker-") for line in before) > 4  # none does more than ten
    assert band == expected(tmp_path / "bands", tuner="hyperband", trials=14, epochs=9)
    assert trained(tmp_path / "band") == trained(tmp_path / "bands/expected")
    assert [(number, *rest) for number, _, *rest in fails] == [
        (number, [], "failed", "ValueError: negative dimension") for number in range(1, 9)
    ]
    assert full == "error [Errno 28] No space left on device"
    for _, values, scores, kind, reason in dies:
        killed = values["model.filters"] > 16
        assert (kind, reason, len(scores)) == (("failed", DIED, 0) if killed else ("done", "", 4))
    assert sum(kind == "failed" for _, _, _, kind, _ in dies) > 5  # more than a worker may die without a trial between
    assert sum(kind == "done" for _, _, _, kind, _ in dies) > 1
    assert re.match("error the process of the search's worker-[01] died 6 times", dead)
    assert broken == "error [Errno 5] in the chief"


def test_others_join_and_are_not_waited_for_when_they_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker here, one that joins; when that is killed in the midst of a trial, another does it.

    A proxy that the machine has for the web is not asked: nothing listens at this one.
    """
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    address = str(Address("127.0.0.1", 0).bound())
    shared = {"join": address, "kind": "stalls"}
    helping = Running({"folder": tmp_path / "a", "key": "2", **shared}, {"folder": tmp_path / "b", **shared})
    searching = Running({"folder": tmp_path / "found", "seconds": 0.08, "listen": address, "here": 1, "trials": 14})
    assert f"the search at {address} is another one" in helping.until('"error')
    name = helping.until("process worker-").split()[1]
    done = int(helping.until("did").split()[1])
    while not any(f"{number} {name}" in searching.lines[-1] for number in range(done + 1, 15)):
        searching.until("running")
    os.killpg(helping.process.pid, signal.SIGKILL)
    helping.end(-signal.SIGKILL)
    assert searching.found() == [expected(tmp_path, trials=14)]
    assert len([*(tmp_path / "found").glob("*/result.json")]) == 14  # what was found elsewhere is known here
    assert any(line.startswith(f"process {name}") for line in searching.lines)


def test_a_worker_does_not_wait_for_ever() -> None:
    nobody = Address("127.0.0.1", 0).bound()
    with pytest.raises(CompetitionError, match=f"no search answers at {nobody}"):
        workers._reach(nobody, patience=0.2)


def test_an_address_is_a_host_and_a_port() -> None:
    assert Address.read("[::1]:80") == Address("[::1]", 80)
    for wrong in ("5000", ":5000", "here:", "here:port", "here:²", "here:70000"):
        with pytest.raises(CompetitionError, match="expected HOST:PORT"):
            Address.read(wrong)
    free = Address.read("127.0.0.1:0").bound()
    with socket.socket() as taken:
        taken.bind((free.host, free.port))
        taken.listen()
        with pytest.raises(CompetitionError, match=f"cannot listen at 127.0.0.1:{free.port}: Address already in use"):
            free.bound()


def test_workers_have_a_card_each_where_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    for visible, cards in (("0,3", ["0", "3", "0"]), ("1", [None] * 3), ("", [None] * 3)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert [workers._card(number) for number in range(3)] == cards


def test_whoever_joins_or_stands_in_has_one_card_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spread over all, its trials would come to other bits than those of the others."""
    given: list[Any] = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.setattr(workers, "Child", lambda work, *arguments: given.append(arguments))
    listening = workers._Crew(None, Address("127.0.0.1", 1), ["worker-0", "worker-1"], print)  # type: ignore[arg-type]
    joined = workers._Crew(None, None, ["worker-a"], print)  # type: ignore[arg-type]
    for crew, name in ((listening, "worker-1"), (listening, "worker-a"), (joined, "worker-a")):
        crew._start(name)
    assert [arguments[1:3] for arguments in given] == [("worker-1", "3"), ("worker-a", "2"), ("worker-a", "2")]


def blocks() -> None:
    """Print whether the first process that this one starts hears Ctrl-C, as soon as it is there."""
    child = processes.Child(idle)
    status = Path(f"/proc/{child.process_id}/status").read_text(encoding="utf-8")
    child.kill()
    print(bool(int(status.partition("SigBlk:")[2].split()[0], 16) & 1 << signal.SIGINT - 1))


def idle(pipe: object) -> None:
    """Do nothing, in a process."""
    threading.Event().wait()


def imported() -> None:
    """Print which modules the second process that this one starts has imported when it begins."""
    for _ in range(2):
        child = processes.Child(say_imported)
        said = child.pipe.recv()
        child.kill()
    print(json.dumps(said))


def say_imported(pipe: Connection) -> None:
    pipe.send(sorted({"keras", "tensorflow", "sklearn", "competition.fitting"} & set(sys.modules)))
    threading.Event().wait()


def test_processes_have_keras_from_their_first_instant() -> None:
    code = "from tests.test_workers import imported; imported()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout) == ["competition.fitting", "keras", "tensorflow"], done.stderr


def test_no_process_hears_ctrl_c() -> None:
    """With the first one, multiprocessing starts a tracker, which lets the signal through again."""
    code = "from tests.test_workers import blocks; blocks()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n", done.stderr
