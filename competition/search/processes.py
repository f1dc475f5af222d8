"""Processes of ours: each ends with the one that started it, however that one ends."""

import pickle
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from competition.errors import CompetitionError
from competition.parallel import START_ERRORS, deaf, follow_parent, forked_from
from competition.search.outcomes import Curve, Evaluate, Task
from competition.search.results import DiedError

PRELOADED = "competition.search.preloaded"
TRIALS_PER_PROCESS = 10  # TensorFlow keeps 7 to 10 MB of each trial until its process ends


class Child:
    """A process, and the pipe between us and it.

    Args:
        work: a module-level function; it is called in the process with its end of the pipe and the arguments.
        arguments: picklable.
    """

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        context = forked_from(PRELOADED)
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(  # type: ignore[attr-defined]
            target=_begin, args=(work, theirs, arguments), daemon=True
        )
        try:
            # What is forked is deaf already, and may have to wait for the server's imports.
            with nullcontext() if context.get_start_method() == "forkserver" else deaf():
                self._process.start()
            self.sentinel: int | None = self._process.sentinel
        except START_ERRORS:
            self.sentinel = None
        finally:
            theirs.close()

    @property
    def is_alive(self) -> bool:
        return self.sentinel is not None and self._process.is_alive()

    @property
    def process_id(self) -> int | None:
        return self._process.pid

    def wait(self) -> None:
        """Wait until it has said something, or is dead."""
        wait([self.pipe] if self.sentinel is None else [self.pipe, self.sentinel])

    def said(self) -> list[Any]:
        """Return what it has said since it was last asked."""
        messages: list[Any] = []
        try:
            while self.pipe.poll():
                messages.append(self.pipe.recv())
        except (EOFError, OSError):  # it is dead, and this may be half a message
            pass
        return messages

    def kill(self) -> None:
        """End it; what it does is written so that it may end anywhere."""
        if self.sentinel is not None:
            self._process.kill()
            self._process.join()
        self.pipe.close()


def _begin(work: Callable[..., None], pipe: Connection, arguments: tuple[Any, ...]) -> None:
    follow_parent()
    work(pipe, *arguments)


class TrialProcess:
    """A process that trains, so that a trial that takes all memory takes only itself.

    It is replaced when it has died or has done its number of trials.
    """

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._child: Child | None = None
        self._done = 0
        forked_from(PRELOADED)  # its imports begin now

    def __enter__(self) -> "TrialProcess":
        return self

    def __exit__(self, *raised: object) -> None:
        self.end()

    def start(self) -> str:
        """Do nothing: it starts by itself, and of a card that is not used the process it belongs to tells."""
        return ""

    def end(self) -> None:
        """End the process."""
        if self._child:
            self._child.kill()
        self._child, self._done = None, 0

    def __call__(self, task: Task, folder: Path) -> Curve:
        """Train in the process.

        Raises:
            DiedError: the process died.
        """
        self._child = self._child or Child(_train, self._evaluate)
        try:
            self._child.pipe.send((task, folder))
            self._child.wait()
            answer = self._child.pipe.recv()
        except (EOFError, OSError):
            self.end()
            raise DiedError from None
        self._done += 1
        if isinstance(answer, Exception) or self._done == TRIALS_PER_PROCESS:
            self.end()
        if isinstance(answer, Exception):
            raise answer
        return answer


def _train(pipe: Connection, evaluate: Evaluate) -> None:
    evaluate.start()
    while True:
        try:
            task, folder = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(evaluate(task, folder))
        except Exception as error:
            pipe.send(portable(error))


def portable(error: Exception) -> Exception:
    """Return an error that can be sent to another process, with its traceback as text."""
    if isinstance(error, CompetitionError):
        return CompetitionError(str(error))
    try:
        sent = pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its own way of pickling raises
        sent = RuntimeError(f"{type(error).__name__}: {error}")
    sent.add_note("in a process of the search:\n" + "".join(traceback.format_exception(error)))
    return sent
