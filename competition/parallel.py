"""Run one function over many chunks of work on all cores, in order, with bounded memory and a progress bar."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from competition.console import progress_bar
from competition.errors import CompetitionError

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")

START_ERRORS = (ConnectionError, EOFError)  # a process, or the server it is forked from, was killed while it started


def cores() -> int:
    """Count the cores this process may use; a container is often given less than its machine has."""
    from joblib import cpu_count  # type: ignore[import-untyped]  # a fifth of a second

    return int(cpu_count())


def forked_from(*modules: str) -> BaseContext:
    """Return what starts processes that have these modules imported.

    On Linux a server imports them once, from now on, and is forked for each process, which takes 50 ms and shares its
    memory. It has no threads but those of OpenBLAS, which are made anew, and like what is forked from it, it never
    hears Ctrl-C. The modules are those of the first call in a process; later ones, and all on other systems, are
    imported by each process itself.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    with deaf():
        forkserver.ensure_running()
    return context


@contextmanager
def deaf() -> Iterator[None]:
    """Let no process that is started meanwhile ever hear Ctrl-C: in the midst of its imports it would not end quietly.

    We hear it, and end them.
    """
    resource_tracker.ensure_running()  # its own start would let the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off what Ctrl-C and SIGTERM do."""
    heard: list[int] = []

    def hear(number: int, frame: object) -> None:
        heard.append(number)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for first in heard[:1]:
            signal.raise_signal(first)


def follow_parent() -> None:
    """End this worker process without a word on Ctrl-C, and when its parent is gone, however the parent went."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as it is in the background of a shell
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        assert parent is not None
        parent.join()
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, daemon=True).start()


def _keep_freed_memory() -> None:
    """Let glibc keep the pages of freed images for the next: to ask the kernel for them anew takes 5 % of decoding."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    trim_threshold, mmap_threshold = -1, -3  # their numbers in malloc.h
    mallopt(mmap_threshold, 32 << 20)  # larger images are few and go back at once; 32 MB is the most it takes
    mallopt(trim_threshold, 64 << 20)


def _start_worker(initializer: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    follow_parent()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # so that nobody waits for the images at hand
    _keep_freed_memory()
    import cv2

    cv2.setNumThreads(0)  # the processes are the parallelism
    initializer(*arguments)


def _run_here(
    function: Callable[[Chunk], Result],
    chunks: Sequence[Chunk],
    initializer: Callable[..., None],
    arguments: tuple[Any, ...],
) -> Iterator[Result]:
    """Do what a single worker would: a second passes before a process has started and imported what it needs."""
    import cv2

    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)  # as in a worker
    try:
        initializer(*arguments)
        yield from map(function, chunks)
    finally:
        cv2.setNumThreads(threads)


def run_chunks(
    function: Callable[[Chunk], Result],
    chunks: Sequence[Chunk],
    *,
    size: Callable[[Chunk], int],
    description: str,
    initializer: Callable[..., None],
    arguments: tuple[Any, ...],
    modules: Sequence[str] = (),
) -> Iterator[Result]:
    """Yield ``function(chunk)`` for every chunk, in the order of the chunks.

    Args:
        function: a module-level function; runs in worker processes, or in this one if there is but one chunk.
        chunks: picklable pieces of work.
        size: how far a finished chunk moves the progress bar.
        description: what the bar says.
        initializer, arguments: called once in each worker before its first chunk.
        modules: that workers share where they are forked, beside that of ``function``; as in `forked_from`.

    Raises:
        CompetitionError: a worker process died.
        Exception: whatever ``function`` raised.
    """
    if len(chunks) < 2:
        yield from _run_here(function, chunks, initializer, arguments)
        return
    workers = min(cores(), len(chunks))
    context = forked_from(function.__module__, *modules)
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, _start_worker, (initializer, arguments))
    remaining = iter(chunks)
    waiting: deque[tuple[Chunk, Future[Result]]] = deque()

    def submit(count: int) -> None:
        waiting.extend((chunk, pool.submit(function, chunk)) for chunk in islice(remaining, count))

    try:
        with _undisturbed():  # a process that starts when we have ended would not find what it shares with us
            submit(2 * workers)  # enough to keep every worker busy, no more than that in memory
        with progress_bar() as progress:
            task = progress.add_task(description, total=sum(map(size, chunks)))
            while waiting:
                chunk, future = waiting.popleft()
                result = future.result()
                submit(1)
                yield result
                progress.advance(task, size(chunk))
    except (BrokenProcessPool, *START_ERRORS):
        # A broken pool ends its workers, but waits for ever for one that it was just about to start.
        for worker in set(multiprocessing.active_children()) - others:
            worker.kill()
        raise CompetitionError(
            f"{description}: a worker process was killed, most often because memory ran out; "
            "close other programs and run the command again"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
