"""Break stages at random and run them again: is what comes out, to the last byte, what it is without a fault?

``python -m tests.faults --rounds 100 --out benchmarks/faults.json`` runs a small project once, untouched. In every
round a copy of it is broken in one of these ways, looked at, and run again:

    kill         its main process is killed at a random instant
    kill-rename  a process is killed right before it renames, removes or makes something in data/ or .compete/
    worker       a process that the main one started is killed at a random instant
    disk         the disk is too small, or is filled by something else at a random instant; then there is room again
    readonly     the disk is read-only, or becomes so at a random instant; then it can be written to again
    twice        a second command starts beside the first
    twice-dvc    dvc starts beside a command, or beside another dvc

In half of the rounds other outputs of the stage stand there from before, and in half of them the state of a fit is
saved after every epoch. A round draws all it does from its seed, which is told where it fails; what depends on an
instant may still need a few tries to fail again.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from competition.layout import ENV, STAGES
from tests.conftest import ROOT, Project, set_values

VALUES: dict[str, Any] = {
    "augment.views": 2,
    "model.filters": 8,
    "model.dense_units": 16,
    "prepare.folds": 2,
    "tune.max_trials": 3,
    "tune.epochs": 3,
    "tune.space": {"train.learning_rate": {"float": [1.0e-3, 8.0e-3], "sampling": "log"}},
    "train.folds": 2,
    "train.epochs": 6,
    "train.average_decay": 0.9,
    "train.mixup": 0.2,
    "train.patience_epochs": 4,
    "train.refit": True,
    "predict.views": 2,
}
TIMEOUT_SECONDS = 900
GONE_SECONDS = 60  # that the processes of a killed one may take to end
OLD = "old.txt"  # tells a stage's outputs of before from those it writes
EVENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")
LINE_BYTES = 128
ROOM = "256m"

# Every Python process of a faulty run loads this as its sitecustomize: the product knows nothing of faults.
HOOK = """
import os, signal, sys

FOLDER, LOG, EVENTS, LINE_BYTES, FATAL, SAVE_SHARE = {constants!r}


def hook(event, arguments):
    if event == "open" and SAVE_SHARE is not None and "competition.fitting" in sys.modules:
        sys.modules["competition.fitting"].SAVE_SHARE = SAVE_SHARE
    if event not in EVENTS:
        return
    path, at = os.fsdecode(arguments[0]), arguments[2 if event in ("os.rename", "os.mkdir") else 1]
    path = os.path.join(os.readlink(f"/proc/self/fd/{{at}}") if at >= 0 else os.getcwd(), path)
    if not path.startswith((f"{{FOLDER}}/data/", f"{{FOLDER}}/.compete/")):
        return
    log = os.open(f"{{LOG}}.{{event}}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{{os.getpid()}} {{path[len(FOLDER):]}}".encode().ljust(LINE_BYTES)[:LINE_BYTES - 1] + b"\\n")
    number = os.lseek(log, 0, os.SEEK_CUR) // LINE_BYTES  # of all processes together
    os.close(log)
    if [event, number] == FATAL:
        os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(hook)
"""


Process = subprocess.Popen[bytes]


class BrokenError(AssertionError):
    """What must not happen did."""


class SkippedError(Exception):
    """This machine does not allow it."""


def check(holds: bool, told: str) -> None:
    if not holds:
        raise BrokenError(told)


def snapshot(folder: Path) -> dict[str, str] | None:
    """Hash every file of a folder, but for the content of the one that records time; None if there is no folder."""
    if not folder.is_dir():
        return None
    return {
        path.relative_to(folder).as_posix(): "" if path.name == ENV else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@dataclass
class Reference:
    """A project all of whose stages have run, untouched.

    Attributes:
        folder: params.yaml, data, and the package that it ran with.
        seconds: that each stage took.
    """

    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)
    _counts: dict[tuple[str, bool], Counter[str]] = field(default_factory=dict)

    def outputs(self, stage: str) -> dict[str, str]:
        found = snapshot(self.folder / "data" / stage)
        assert found, stage
        return found

    def duration(self, stage: str) -> float:
        """Return how long a stage takes; measured if it is not known."""
        if stage not in self.seconds:
            self.counts(stage, has_old=False)
        return self.seconds[stage]

    def counts(self, stage: str, has_old: bool) -> Counter[str]:
        """Count what a stage renames, removes and makes that saves after every epoch."""
        if (stage, has_old) not in self._counts:
            with tempfile.TemporaryDirectory(dir=self.folder.parent, prefix="count-") as folder:
                trial = Round(self, stage, random.Random(0), Path(folder), has_old=has_old, saves_all=True)
                trial.copy()
                start = time.monotonic()
                check(trial.wait(trial.start(faulty=True)) == 0, trial.said())
                self.seconds.setdefault(stage, time.monotonic() - start)
                trial.check_equal()
                self._counts[stage, has_old] = trial.counted()
        return self._counts[stage, has_old]


def make_reference(folder: Path, values: dict[str, Any]) -> Reference:
    """Run all stages of a small project in a folder, with the package as it is now; or take what stands there."""
    known = folder / "seconds.json"
    if known.exists():
        return Reference(folder, json.loads(known.read_text()))
    shutil.rmtree(folder, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "competition", folder / "competition", ignore=ignored)
    (folder / "data/raw").mkdir(parents=True)
    (folder / ".dvc").mkdir()
    for name in ("params.yaml", "dvc.yaml", ".dvcignore", ".dvc/config", "data/.gitignore", "data/raw/digits.zip"):
        shutil.copyfile(ROOT / name, folder / name)
    set_values(folder / "params.yaml", VALUES | values)
    reference = Reference(folder)
    for stage in STAGES:
        start = time.monotonic()
        Project(folder).run("compete", stage, timeout=TIMEOUT_SECONDS)
        reference.seconds[stage] = round(time.monotonic() - start, 3)
        print(f"reference: {stage} took {reference.seconds[stage]:.1f} s", flush=True)
    shutil.rmtree(folder / ".compete")
    known.write_text(json.dumps(reference.seconds))
    return reference


@dataclass
class Round:
    """A copy of the reference in which one stage is about to run, and be broken.

    Attributes:
        folder: of this round; the project is in it, beside what its commands say.
        has_old: whether other outputs of the stage stand there.
        saves_all: whether a faulty run saves the state of a fit after every epoch.
    """

    reference: Reference
    stage: str
    rng: random.Random
    folder: Path
    has_old: bool
    saves_all: bool
    processes: list[Process] = field(default_factory=list)

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def outputs(self) -> Path:
        return self.project / "data" / self.stage

    def copy(self) -> None:
        """Copy params.yaml, the raw data and the stages before; links would let a stage spoil the reference."""
        self.project.mkdir(exist_ok=True)
        shutil.copyfile(self.reference.folder / "params.yaml", self.project / "params.yaml")
        for name in ("raw", *STAGES[: STAGES.index(self.stage) + self.has_old]):
            shutil.copytree(self.reference.folder / "data" / name, self.project / "data" / name)
        if self.has_old:
            (self.outputs / OLD).write_text("of before\n")

    def start(self, *command: str, faulty: bool = False, fatal: tuple[str, int] | None = None) -> Process:
        """Start the stage, or another command, in a session of its own, with the package of the reference.

        Args:
            command: the stage's if there is none.
            faulty: whether the hook is loaded.
            fatal: at which event to die, and at the how many-th.
        """
        number = len(self.processes) + 1
        paths = [str(self.reference.folder)]
        if faulty:
            hooks = self.folder / f"hook-{number}"
            hooks.mkdir()
            log = str(self.folder / f"log-{number}")
            saves = 1e9 if self.saves_all else None
            constants = (str(self.project), log, EVENTS, LINE_BYTES, list(fatal) if fatal else None, saves)
            (hooks / "sitecustomize.py").write_text(HOOK.format(constants=constants))
            paths.insert(0, str(hooks))
        environment = Project(self.project).environment | {"PYTHONPATH": os.pathsep.join(paths)}
        with (self.folder / f"said-{number}").open("wb") as said:
            process = subprocess.Popen(
                command or ("compete", self.stage), cwd=self.project, env=environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def end(self) -> None:
        """End what a fault that was not survived has left."""
        for process in self.processes:
            for each in in_session(process.pid):
                each.kill()
            process.wait()

    def said(self, process: Process | None = None) -> str:
        """Return the end of what a command said on stderr; of the last one, if none is given."""
        number = self.processes.index(process or self.processes[-1]) + 1
        return (self.folder / f"said-{number}").read_text(errors="replace")[-2000:]

    def counted(self) -> Counter[str]:
        """Count what the last command renamed, removed and made."""
        logs = {event: self.folder / f"log-{len(self.processes)}.{event}" for event in EVENTS}
        return Counter({event: log.stat().st_size // LINE_BYTES for event, log in logs.items() if log.exists()})

    def wait(self, process: Process) -> int:
        """Wait for a command and all that it started; return its exit code."""
        try:
            code = process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            for each in in_session(process.pid):
                each.kill()
            process.wait()
            raise BrokenError(f"it did not end in {TIMEOUT_SECONDS} s") from None
        end = time.monotonic() + GONE_SECONDS
        while left := in_session(process.pid):
            if time.monotonic() > end:
                names = [" ".join(each.cmdline()) for each in left]
                for each in left:
                    each.kill()
                raise BrokenError(f"processes outlive the command: {names}")
            time.sleep(0.05)
        return code

    def sleep(self) -> None:
        """Wait until an instant of the stage's duration."""
        time.sleep(self.rng.uniform(0, self.reference.duration(self.stage)))

    def check_visible(self) -> None:
        """Nothing half-written is to be seen: there is no folder, or the whole old or new one."""
        seen = snapshot(self.outputs)
        new = self.reference.outputs(self.stage)
        old = new | {OLD: hashlib.sha256(b"of before\n").hexdigest()}
        if seen is None or seen == new or (self.has_old and seen == old):
            return
        nearest = old if self.has_old and OLD in seen else new
        differ = sorted({name for name, _ in seen.items() ^ nearest.items()})
        raise BrokenError(f"half-written outputs are to be seen: {differ}")

    def check_refused(self, code: int, *, expected: str = "") -> None:
        """A command that could not do its work said so in one line, or did it."""
        said = self.said()
        check(code in (0, 1), f"it ended with {code}: {said}")
        if code:
            is_clear = said.startswith("compete: ") and said.count("\n") == 1 and expected in said
            check(is_clear, f"expected one line with '{expected}': {said}")

    def finish(self) -> None:
        """Run the stage without a fault: it is equal to the reference, and nothing is left over."""
        code = self.wait(self.start())
        check(code == 0, f"run again it ended with {code}: {self.said()}")
        self.check_equal()

    def check_equal(self) -> None:
        expected, found = self.reference.outputs(self.stage), snapshot(self.outputs) or {}
        differ = sorted({name for name, _ in expected.items() ^ found.items()})
        check(not differ, f"not equal to the run without a fault: {differ}")
        left = [path.name for path in self.outputs.parent.iterdir() if path.name.startswith(".") and path.is_dir()]
        check(not left, f"left over: {left}")
        check(not (self.project / ".compete/lock.json").exists(), "the lock still has a holder")
        for stage in STAGES[: STAGES.index(self.stage)]:
            check(snapshot(self.project / "data" / stage) == self.reference.outputs(stage), f"data/{stage} has changed")


def in_session(leader: int) -> list[psutil.Process]:
    """List the living processes of a session."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            pass
    return found


def kill(this: Round) -> bool:
    process = this.start(faulty=this.saves_all)
    this.sleep()
    process.kill()
    code = this.wait(process)
    check(code in (0, -signal.SIGKILL), f"it ended with {code}: {this.said()}")
    return code != 0


def kill_rename(this: Round) -> bool:
    this.saves_all = True
    counts = this.reference.counts(this.stage, this.has_old)
    event = this.rng.choice(sorted(counts))
    return kill_at(this, event, this.rng.randint(1, counts[event]))


def kill_at(this: Round, event: str, number: int) -> bool:
    """Kill a process right before it does something for the how many-th time; True if it came that far.

    Where that is a process that trains, the main one goes on without it.
    """
    code = this.wait(this.start(faulty=True, fatal=(event, number)))
    if code != -signal.SIGKILL:
        this.check_refused(code, expected="killed")
    return this.counted()[event] >= number


def worker(this: Round) -> bool:
    process = this.start(faulty=this.saves_all)
    this.sleep()
    while process.poll() is None:
        if children := spawned(process.pid):
            this.rng.choice(children).kill()
            break
        time.sleep(0.01)
    is_hit = process.poll() is None
    this.check_refused(this.wait(process), expected="killed")
    return is_hit


def spawned(main: int) -> list[psutil.Process]:
    """List what a process has started to work for it."""
    try:
        children = psutil.Process(main).children(recursive=True)
        return [each for each in children if "multiprocessing.forkserver" in " ".join(each.cmdline())]
    except psutil.NoSuchProcess:
        return []


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[str], bool]]:
    """Make a folder a disk in memory, and give what changes its options."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        raise SkippedError("mounting a file system is not allowed here")

    def change(options: str) -> bool:
        remount = ["mount", "-o", f"remount,{options}", str(folder)]
        return subprocess.run(remount, capture_output=True).returncode == 0

    try:
        yield change
    except BrokenError:
        shutil.copytree(folder, folder.with_name(f"{folder.name}-kept"))  # of the first failure it is to be looked at
        raise
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def disk(this: Round, change: Callable[[str], bool], folder: Path) -> bool:
    usage = shutil.disk_usage(folder)
    if this.rng.random() < 0.5:
        left_bytes = this.rng.randint(0, 4 << 20)
        check(change(f"size={usage.used + left_bytes}"), "the disk cannot be made smaller")
        code = this.wait(this.start(faulty=this.saves_all))
        change(f"size={ROOM}")
    else:
        process = this.start(faulty=this.saves_all)
        this.sleep()
        left_bytes = this.rng.choice((0, 4096, 65536))
        filler = folder / "filler"
        with suppress(OSError):  # the stage wrote meanwhile
            filler.write_bytes(bytes(max(0, shutil.disk_usage(folder).free - left_bytes)))
        code = this.wait(process)
        filler.unlink()
    this.check_refused(code, expected="no space is left")
    return code != 0


def readonly(this: Round, change: Callable[[str], bool], folder: Path) -> bool:
    if folder == this.project:  # where the lock is open for writing, so it can only be done before
        change("ro")
    process = this.start(faulty=this.saves_all)
    this.sleep()
    while not change("ro") and process.poll() is None:  # busy while a file is open for writing
        time.sleep(0.01)
    code = this.wait(process)
    change("rw")
    this.check_refused(code, expected="read-only")
    return code != 0


def twice(this: Round) -> bool:
    """Start a second command beside the first: at the same moment, or while the first is held up at some instant."""
    first = this.start(faulty=this.saves_all)
    is_held = this.rng.random() < 0.5
    if is_held:
        await_lock(this, first)
        time.sleep(this.rng.uniform(0, this.reference.duration(this.stage) / 2))
        if stop(first):
            return False
    second = this.start(faulty=this.saves_all)
    if is_held:
        code = this.wait(second)
        first.send_signal(signal.SIGCONT)
        check(code == 1 and this.wait(first) == 0, f"the second was to be refused, not {code}: {this.said(second)}")
    codes = {process: this.wait(process) for process in (first, second)}
    said = [this.said(process) for process in codes]
    check(sorted(codes.values()) == [0, 1], f"exactly one was to run, not {[*codes.values()]}: {said}")
    refusal = next(this.said(process) for process, code in codes.items() if code)
    check(refusal.startswith("compete: another command works on this project: "), refusal)
    this.check_equal()
    return True


def await_lock(this: Round, process: Process) -> None:
    while process.poll() is None and not (this.project / ".compete/lock.json").exists():
        time.sleep(0.01)


def stop(process: Process) -> bool:
    """Hold a process up; True if it had ended."""
    if process.poll() is None:
        process.send_signal(signal.SIGSTOP)
    return process.poll() is not None


def twice_dvc(this: Round) -> bool:
    """Run the stage by DVC twice at the same time, or by DVC beside a command of one's own."""
    shutil.copytree(this.reference.folder, this.project)
    commands = "git init --quiet && dvc commit --force --quiet"
    check(this.wait(this.start("bash", "-c", commands)) == 0, f"no project for dvc: {this.said()}")
    by_dvc = ("dvc", "repro", "--force", "--single-item", this.stage)
    first_command = by_dvc if this.rng.random() < 0.5 else ("compete", this.stage)
    first = this.start(*first_command)
    await_lock(this, first)
    second = this.start(*by_dvc)
    codes, said = [this.wait(first), this.wait(second)], [this.said(first), this.said(second)]
    check(codes[0] == 0 and codes[1] != 0, f"exactly one was to run, not {codes}: {said}")
    this.check_visible()
    this.check_equal()
    code = this.wait(this.start("dvc", "repro"))
    check(code == 0, f"dvc repro ended with {code}: {this.said()}")
    for stage in STAGES:
        check(snapshot(this.project / "data" / stage) == this.reference.outputs(stage), f"data/{stage} is not equal")
    return True


KINDS: dict[str, Callable[[Round], bool]] = {
    "kill": kill,
    "kill-rename": kill_rename,
    "worker": worker,
    "twice": twice,
    "twice-dvc": twice_dvc,
}
DISKS = {"disk": disk, "readonly": readonly}
STAGES_OF = {"worker": ("prepare", "augment", "tune", "predict")}  # train starts no process


def run_round(
    reference: Reference, kind: str, stage: str, seed: int, folder: Path, fault: Callable[[Round], bool] | None = None
) -> bool:
    """Break a stage, once or more, look at it, and run it again.

    Args:
        reference: what it is compared with.
        kind: one of `KINDS` and `DISKS`; with a ``fault`` only a name.
        stage: its name.
        seed: of all that is drawn.
        folder: to work in; it must not exist.
        fault: breaks the stage instead: once, over old outputs, saving after every epoch.

    Returns:
        Whether the fault struck.

    Raises:
        BrokenError: what came out is not what it is without a fault.
        SkippedError: it cannot be tried here.
    """
    rng = random.Random(f"{seed} {kind} {stage}")
    has_old, saves_all = (rng.random() < 0.5 or fault is not None for _ in range(2))
    times = 1 if fault or kind == "twice" else rng.choice((1, 1, 1, 2, 3))
    this = Round(reference, stage, rng, folder, has_old=has_old, saves_all=saves_all)
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        if kind in DISKS:
            small = this.project if rng.random() < 0.5 else this.project / "data"
            fault = partial(DISKS[kind], change=stack.enter_context(small_disk(small)), folder=small)
        fault = fault or KINDS[kind]
        stack.callback(this.end)
        if kind == "twice-dvc":
            return fault(this)
        this.copy()
        is_hit = False
        for _ in range(times):
            is_hit |= fault(this)
            this.check_visible()
            if rng.random() < 0.5:
                shutil.rmtree(this.outputs, ignore_errors=True)  # as DVC does before it runs a stage again
        this.finish()
    return is_hit


def main() -> int:
    """Run rounds as the arguments say; return 1 if one failed."""
    kinds = [*KINDS, *DISKS]
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Break stages, and run them again.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the first round; each has one more than the one before")
    parser.add_argument("--stage", choices=STAGES, help="only this one")
    parser.add_argument("--kinds", default=",".join(kinds), help="some of %(default)s")
    parser.add_argument("--folder", type=Path, help="keeps the reference, which is taken if it stands there")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=JSON", help="values of params.yaml, by dotted path"
    )
    parser.add_argument("--out", type=Path, help="a JSON file of what came of each kind and stage")
    given = parser.parse_args()
    chosen = given.kinds.split(",")
    if unknown := set(chosen) - set(kinds):
        parser.error(f"no such kinds: {sorted(unknown)}; there are {kinds}")
    values = {name: json.loads(value) for name, _, value in (each.partition("=") for each in given.set)}
    folder = (given.folder or Path(tempfile.mkdtemp(prefix="faults-"))).absolute()
    reference = make_reference(folder / "reference", values)
    counts: Counter[tuple[str, str, str]] = Counter()
    failures: list[str] = []
    kept: Path | None = None
    for seed in range(given.seed, given.seed + given.rounds):
        drawn = random.Random(f"{seed} round")
        kind = drawn.choice(chosen)
        stage = given.stage or drawn.choice(STAGES_OF.get(kind, STAGES))
        place, start = folder / f"round-{kind}-{stage}-{seed}", time.monotonic()
        counts[kind, stage, "rounds"] += 1
        told = "equal"
        try:
            counts[kind, stage, "struck"] += run_round(reference, kind, stage, seed, place)
            counts[kind, stage, "equal"] += 1
        except SkippedError as error:
            counts[kind, stage, "skipped"] += 1
            told = f"skipped: {error}"
        except BrokenError as error:
            told = f"FAILED: {error}"
            again = f"--rounds 1 --seed {seed} --kinds {kind} --stage {stage}"
            failures.append(f"{again}: {error}")
            kept = kept or place
        if place != kept:
            shutil.rmtree(place, ignore_errors=True)
        print(f"{seed} {kind} {stage}: {told} ({time.monotonic() - start:.0f} s)", flush=True)
    print(f"\n{'kind':12} {'stage':8} rounds struck  equal skipped")
    lines = []
    for kind, stage in sorted({(kind, stage) for kind, stage, _ in counts}):
        numbers = {what: counts[kind, stage, what] for what in ("rounds", "struck", "equal", "skipped")}
        told = "{rounds:6} {struck:6} {equal:6} {skipped:7}".format(**numbers)
        print(f"{kind:12} {stage:8} {told}")
        lines.append({"kind": kind, "stage": stage, **numbers})
    if given.out:
        given.out.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
    total = [sum(count for (*_, what), count in counts.items() if what == each) for each in ("rounds", "equal")]
    print(f"{total[0]} rounds, {total[1]} equal, {len(failures)} failed")
    for failure in failures:
        print(f"FAILED {failure}")
    if kept:
        print(f"the folder of the first failure: {kept}")
    elif not given.folder:
        shutil.rmtree(folder)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
