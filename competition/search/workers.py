"""Several trials at a time: KerasTuner's chief and its workers, each a process, watched over by this one.

The chief asks the oracle; a worker asks the chief, trains, and tells it. KerasTuner starts none of them, waits for ever
for one that died, and ends long after the last trial. So this process starts them, puts another in the place of one
that died, and ends them all when the last trial has been told. A new worker is given the trial of the one before it; a
new chief hands out all trials again, and what was trained is known.
"""

import os
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, NoReturn

from competition import backend
from competition.console import warn
from competition.errors import CompetitionError
from competition.parallel import forked_from
from competition.search.outcomes import Attempt, Evaluate, Outcome, Search, Task
from competition.search.processes import PRELOADED, TRIALS_PER_PROCESS, Child, portable
from competition.search.results import Remembering, Results

if TYPE_CHECKING:
    from competition.search.oracle import Oracle

ORACLE = "competition.search.oracle"  # it imports KerasTuner
CHIEF = "chief"  # KerasTuner knows it by this in its name
LOCAL = "127.0.0.1"
ANY = ("0.0.0.0", "[::]")  # all networks of a machine
TOLD_SECONDS = 0.05  # between two looks of the chief at what has ended
LEAVE_SECONDS = 3  # that workers of other machines have to hear that the search is over
PATIENCE_SECONDS = 120  # that a worker of another machine waits for the chief
MOST_LOST = 20  # answers of a chief, one after the other, that a worker does without; a new chief costs one or two
LOST_PAUSE_SECONDS = 0.25  # after each
MOST_DEATHS = 5  # of one process between two trials; a killed trial is given up before
LOST_TIMES = 5  # the longest trial, after which a trial of another machine is done here too
LOST_SECONDS = 60  # but no less
FIRST_SECONDS = 600  # the same before any trial has ended


@dataclass(frozen=True)
class Address:
    """Where a chief listens."""

    host: str
    port: int

    @classmethod
    def read(cls, text: str) -> "Address":
        """Read HOST:PORT.

        Raises:
            CompetitionError: it is something else.
        """
        host, colon, port = text.rpartition(":")
        if not (colon and host and port.isdecimal() and int(port) < 1 << 16):
            raise CompetitionError(f"{text!r} is no address; expected HOST:PORT, as {LOCAL}:5000")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def near(self) -> "Address":
        """What to call from this machine."""
        return Address(LOCAL, self.port) if self.host in ANY else self

    @property
    def far(self) -> "Address":
        """What to call from another."""
        return Address(socket.gethostname(), self.port) if self.host in ANY else self

    def bound(self) -> "Address":
        """Return the same with a free port for 0.

        Raises:
            CompetitionError: nothing can listen there.
        """
        try:
            with socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET) as bound:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                bound.bind((self.host.strip("[]"), self.port))
                return Address(self.host, bound.getsockname()[1])
        except OSError as error:
            raise CompetitionError(f"cannot listen at {self}: {error.strerror}; take another address") from None


@dataclass(frozen=True)
class Work:
    """What a worker needs.

    Attributes:
        search: what is searched.
        evaluate: made ready in each process, for it trains there.
        results: what is known.
        chief: where to ask.
    """

    search: Search
    evaluate: Evaluate
    results: Results
    chief: Address


@dataclass(frozen=True)
class Told:
    """Said by a chief when something has changed.

    Attributes:
        ended: trials since it last said something.
        running: all that run now.
        doers: for each number of those, the name of who does it.
    """

    ended: list[Attempt]
    running: list[Task]
    doers: dict[int, str]


@dataclass(frozen=True)
class Over:
    """Said by a chief: all trials have ended.

    Attributes:
        reasons: why points were passed over, one for each.
    """

    reasons: list[str]


@dataclass(frozen=True)
class Remark:
    """Said by a worker that has started, of what is to be known of its machine."""

    text: str


class Renew:
    """Said by a worker that has done as many trials as a process may."""


class Stop:
    """Said by a worker that is told that there is no trial any more."""


OnTrial = Callable[[Attempt, Sequence[Task]], None]


def supervise(work: Work, *, listen: Address, here: int, on_trial: OnTrial) -> tuple[list[Attempt], list[str]]:
    """Run a search in a chief and workers.

    Args:
        work: what to do.
        listen: where the chief listens, the same as ``work.chief`` as seen from this machine.
        here: workers on this machine.
        on_trial: told of every trial as it ends, and what runs then.

    Returns:
        The trials in their order, and why points were passed over, a reason for each.

    Raises:
        CompetitionError: a process cannot be kept alive.
        Exception: what a process could not go on after.
    """
    crew = _Crew(work, listen, [f"worker-{number}" for number in range(here)], on_trial)
    try:
        crew.start()
        while crew.over is None:
            crew.watch()
    finally:
        crew.kill()
    return [crew.trials[number] for number in sorted(crew.trials)], crew.over.reasons


def join(work: Work, *, on_trial: OnTrial) -> None:
    """Work for the chief of another process or machine until it has no trial any more.

    Raises:
        CompetitionError: no chief answers, or it searches something else.
        Exception: what the worker could not go on after.
    """
    # No other on any machine has this name, and no word is in it: KerasTuner takes what is called chief for one.
    crew = _Crew(work, None, [f"worker-{uuid.uuid4().hex}"], on_trial)
    try:
        crew.start()
        while crew.processes:
            crew.watch()
    finally:
        crew.kill()


class _Crew:
    """The processes and what they have told.

    Args:
        work: what to do.
        listen: where the chief listens; None if it is not ours.
        names: of the workers.
        on_trial: told of every trial as it ends.
    """

    def __init__(self, work: Work, listen: Address | None, names: list[str], on_trial: OnTrial) -> None:
        self.trials: dict[int, Attempt] = {}
        self.over: Over | None = None
        self.processes: dict[str, Child] = {}
        forked_from(PRELOADED, ORACLE)  # its imports begin now; KerasTuner is wanted by all of these processes
        self._work, self._listen, self._names, self._on_trial = work, listen, names, on_trial
        self._doing: dict[str, Task] = {}  # by the workers here
        self._remarks: set[str] = set()  # that were passed on
        self._deaths: dict[str, int] = {}  # since a trial has ended
        self._since: dict[tuple[int, str], float] = {}  # when a trial was first heard to run

    def start(self) -> None:
        """Start all that do not run."""
        for name in [CHIEF, *self._names] if self._listen else self._names:
            if name not in self.processes:
                self._start(name)

    def _start(self, name: str, most_trials: int = TRIALS_PER_PROCESS) -> None:
        if name == CHIEF:
            child = Child(_chief, self._work.search, self._listen)
        else:
            place = self._names.index(name) if name in self._names else 0  # who stands in for another machine's
            patience = None if self._listen else PATIENCE_SECONDS
            child = Child(_worker, self._work, name, _card(place), most_trials, patience)
        self.processes[name] = child

    def watch(self) -> None:
        """Wait for something to happen, and do what it asks for."""
        pipes = [child.pipe for child in self.processes.values()]
        ends = [child.sentinel for child in self.processes.values() if child.sentinel is not None]
        wait([*pipes, *ends], timeout=1)
        for name, child in list(self.processes.items()):
            is_alive = child.is_alive  # asked first: what it said before it died is heard
            for message in child.said():
                self._hear(name, message)
            if not is_alive and self.processes.get(name) is child:
                self._bury(name)
        self._stand_in()

    def _hear(self, name: str, message: object) -> None:
        if isinstance(message, Exception):
            raise message
        if isinstance(message, Remark):
            if message.text not in self._remarks:
                warn(message.text)
            self._remarks.add(message.text)
        elif isinstance(message, Task):
            self._doing[name] = message
        elif isinstance(message, Attempt):
            self._doing.pop(name, None)
            if not self._listen:
                self._record([message], [])
        elif isinstance(message, Told):
            now = time.monotonic()
            self._since = {who: self._since.get(who, now) for who in message.doers.items()}
            self._record(message.ended, message.running)
        elif isinstance(message, Over):
            self.over = message
        else:
            self._end(name)
            if isinstance(message, Renew) and name in self._names:
                self._start(name)

    def _record(self, ended: list[Attempt], running: list[Task]) -> None:
        for trial in ended:
            self._deaths.clear()
            if trial.number not in self.trials:  # a new chief tells of all
                self.trials[trial.number] = trial
                self._on_trial(trial, running)

    def _end(self, name: str) -> None:
        self._doing.pop(name, None)
        self.processes.pop(name).kill()

    def _bury(self, name: str) -> None:
        """Put another in the place of one that died."""
        if name in self._doing:
            self._work.results.count_death(self._doing[name])
        self._deaths[name] = self._deaths.get(name, 0) + 1
        if self._deaths[name] > MOST_DEATHS:
            raise CompetitionError(
                f"the process of the search's {name} died {self._deaths[name]} times, most often because memory ran "
                "out; lower tune.workers, or close other programs"
            )
        # A new chief hands out what is being trained once more, so nobody may train it still.
        for ended in list(self.processes) if name == CHIEF else [name]:
            self._end(ended)
        self.start()

    def _stand_in(self) -> None:
        """Do a trial of another machine here, if it is the last to be waited for and takes far too long.

        There is no other way to know that the machine is gone. If it is not, both find the same.
        """
        if not self._since or any(name in self.processes for _, name in self._since):
            return
        seconds = [trial.outcome.seconds for trial in self.trials.values() if trial.outcome]
        patience = max(LOST_TIMES * max(seconds), LOST_SECONDS) if seconds else FIRST_SECONDS
        (_, name), since = min(self._since.items(), key=lambda pair: pair[1])
        if time.monotonic() - since > patience:
            self._start(name, most_trials=1)

    def kill(self) -> None:
        """End all processes."""
        for child in self.processes.values():
            child.kill()


def _card(number: int) -> str | None:
    """Return which of several graphics cards is a worker's; None if there are not several."""
    cards = backend.visible_cards()
    return cards[number % len(cards)] if len(cards) > 1 else None


def _introduce(name: str, address: Address) -> None:
    """Tell KerasTuner what this process is; it reads it here only."""
    os.environ["KERASTUNER_TUNER_ID"] = name
    os.environ["KERASTUNER_ORACLE_IP"] = address.host
    os.environ["KERASTUNER_ORACLE_PORT"] = str(address.port)
    os.environ["no_grpc_proxy"] = address.host.strip("[]")  # noqa: SIM112 (its name; nor does `_reach` go through one)


def _chief(pipe: Connection, search: Search, listen: Address) -> None:
    """Be the chief: serve until killed."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # it trains nothing
    backend.start(1)
    _introduce(CHIEF, listen)
    from competition.search.oracle import Oracle, Tuner

    def nothing(*arguments: object) -> NoReturn:
        raise AssertionError("a chief tries nothing")

    warnings.filterwarnings("ignore", module="keras_tuner")  # of a failed trial's score
    oracle = Oracle(search)
    tuner = Tuner(oracle, nothing, nothing)

    def serve() -> None:
        try:
            tuner.search()  # returns long after the last trial
        except Exception as error:
            oracle.error = error

    threading.Thread(target=serve, daemon=True).start()
    try:
        _tell(pipe, oracle)
    except Exception as error:
        pipe.send(portable(error))


def _tell(pipe: Connection, oracle: "Oracle") -> None:
    """Tell what changes, and of the end."""
    told: set[int] = set()
    before: list[Task] = []
    while not oracle.error:
        time.sleep(TOLD_SECONDS)
        attempts = oracle.told()
        doers = {int(trial.trial_id) + 1: name for name, trial in list(oracle.ongoing_trials.items())}
        ended = [attempt for attempt in attempts if attempt.outcome and attempt.number not in told]
        running = [attempt.task for attempt in attempts if not attempt.outcome]
        told.update(attempt.number for attempt in ended)
        if ended or running != before:
            pipe.send(Told(ended, running, {task.number: doers.get(task.number, "") for task in running}))
            before = running
        if not running and (oracle.is_over or len(attempts) == oracle.max_trials):
            break
    if oracle.error:
        raise oracle.error
    leave = time.monotonic() + LEAVE_SECONDS
    while oracle.tuner_ids and time.monotonic() < leave:
        time.sleep(TOLD_SECONDS)
    pipe.send(Over(oracle.sieve.reasons))
    threading.Event().wait()


def _worker(
    pipe: Connection, work: Work, name: str, card: str | None, most_trials: int, patience: float | None
) -> None:
    """Be a worker: ask for trials until there is none, or it is time for a new process."""
    if card is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = card
    try:
        if remark := work.evaluate.start():
            pipe.send(Remark(remark))
        pipe.send(_ask(pipe, work, name, most_trials, patience))
    except Exception as error:
        pipe.send(portable(error))
    threading.Event().wait()  # what it said is heard, and it is ended


def _ask(pipe: Connection, work: Work, name: str, most_trials: int, patience: float | None) -> Renew | Stop:
    _introduce(name, work.chief)
    import grpc  # type: ignore[import-untyped]

    from competition.search.oracle import SEARCH, EnoughError, LostError, Oracle, Tuner, be_patient

    be_patient(PATIENCE_SECONDS)
    remembering = Remembering(work.evaluate, work.results)
    done = lost = 0

    def answer(task: Task) -> Outcome:
        pipe.send(task)
        return remembering(task)

    def tell(trial: Attempt) -> None:
        nonlocal done, lost
        done, lost = done + 1, 0
        pipe.send(trial)

    while True:
        _reach(work.chief, patience)
        try:
            tuner = Tuner(Oracle(work.search), answer, tell, most_trials - done)
            if tuner.oracle.get_space().get(SEARCH) != work.search.key:
                raise CompetitionError(
                    f"the search at {work.chief} is another one; the same are wanted: seed, model, train, the epochs, "
                    "fraction and fold of tune, data/prepare, data/augment, this package and those it uses, threads "
                    "(auto: the cores, shared out over tune.workers), the CPU's features, the models of the cards"
                )
            tuner.run()
            return Stop()
        except EnoughError:
            return Renew()
        except (grpc.RpcError, LostError) as error:  # there is a new chief, or will be
            lost += 1
            if lost > MOST_LOST:
                raise CompetitionError(
                    f"the chief of the search at {work.chief} fails again and again: {error}"
                ) from None
            time.sleep(LOST_PAUSE_SECONDS)


def _reach(chief: Address, patience: float | None) -> None:
    """Wait until somebody listens.

    Raises:
        CompetitionError: nobody does for as many seconds.
    """
    start = time.monotonic()
    while True:
        try:
            socket.create_connection((chief.host.strip("[]"), chief.port), timeout=5).close()
            return
        except OSError:
            if patience is not None and time.monotonic() - start > patience:
                raise CompetitionError(
                    f"no search answers at {chief}: it has ended, it was stopped, or it listens somewhere else"
                ) from None
            time.sleep(TOLD_SECONDS)
