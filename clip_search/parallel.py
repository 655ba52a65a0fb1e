"""Compare the products of a document with the index, and index its due entries, in several processes.

Python's lock lets only one thread of a process run Python code, so one process cannot use many cores if the
CLIP model is fast. Each process that indexes has a pipeline of its own, and claims batches as a queue worker
does. Each process that compares has a part of the rows.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Final

from . import child, indexing
from .cores import cores
from .documents.binding import BoundDocument
from .exceptions import ClipSearchError
from .indexing import comparing
from .indexing.comparing import Page
from .indexing.targets import get_target
from .models import IndexEntry
from .stores import get_store
from .stores.forwarding import serve
from .types import Report

logger = logging.getLogger(__name__)

CORES_A_PROCESS: Final = 4
"""About how many cores one process can use if the CLIP model takes no time, as on a GPU."""
PRODUCTS_A_PROCESS: Final = indexing.BATCH
"""The fewest due products for which another process is started: it has to load the CLIP model first."""
ROWS_A_PROCESS: Final = 10_000
"""The fewest rows for which another process compares: starting it takes as long as comparing 4,000 rows."""
SECONDS_TO_STOP: Final = 10.0
"""How long the processes may take to release their claims when the command ends. Then they are killed."""


class ProcessFailed(ClipSearchError):
    """A process of the command failed. The unfinished products stay pending."""


def best_count() -> int:
    """Return how many processes use all cores of this machine: one on up to seven cores."""
    return max(1, cores() // CORES_A_PROCESS)


def index_due(
    document: BoundDocument,
    *,
    processes: int = 1,
    product_ids: Sequence[str] | None = None,
    batch_size: int = indexing.BATCH,
    should_abandon: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Index the due entries of a document, or only those of `product_ids`, and yield a report for each batch.

    Up to `processes` child processes are started, but only one for each PRODUCTS_A_PROCESS due products. If
    one is enough, this process does the work itself. If a child process is killed, the others go on, and its
    entries are due again when their claims have expired. When `should_abandon()` returns True, the claims on
    unfinished entries are released and Stopped is raised. Raises what `indexing.index_due()` raises, and
    ProcessFailed.
    """
    if processes > 1:
        entries = IndexEntry.objects.of(document).due()
        if product_ids is not None:
            entries = entries.filter(uuid__in=[document.point_id(product_id) for product_id in product_ids])
        processes = min(processes, ceil(entries.count() / PRODUCTS_A_PROCESS))
    if processes > 1:
        task = child.Task(
            document=document.name, product_ids=product_ids, batch_size=batch_size, processes=processes
        )
        yield from _in_processes(task, should_abandon)
    else:
        yield from indexing.index_due(
            document,
            product_ids=product_ids,
            next_batch_size=lambda: batch_size,
            should_abandon=should_abandon,
        )


def compare(
    document: BoundDocument,
    *,
    processes: int,
    only: Sequence[str] | None = None,
    words: Counter[str] | None = None,
) -> Generator[Page, None, None]:
    """Like `comparing.compare()`, but compare the rows in up to `processes` processes, this one included.

    There is only one for each ROWS_A_PROCESS rows, and one in all with `only`. Raises ProcessFailed if a
    child process is killed.
    """
    size = comparing.ROWS_PER_PAGE
    ranges = comparing.key_ranges(document, size=size) if processes > 1 and only is None else []
    processes = min(processes, len(ranges) * size // ROWS_A_PROCESS)
    if processes > 1:
        get_target(document)  # creates the first collection
        parts = [
            child.Comparison(
                document=document.name, ranges=ranges[n::processes], size=size, counts_words=words is not None
            )
            for n in range(1, processes)
        ]
        own = comparing.compare_ranges(document, ranges[::processes], size=size, words=words)
        yield from _compare_in_processes(own, parts, words)
        yield from comparing.compare_others(document, words=words)
    else:
        yield from comparing.compare(document, only=only, words=words)


def _compare_in_processes(
    own: Iterator[Page], parts: Sequence[child.Comparison], words: Counter[str] | None
) -> Iterator[Page]:
    """Start a process for each part. Yield the pages of `own` and of the parts, and add their words."""
    running: dict[Connection, SpawnProcess] = {}
    try:
        for part in parts:
            _start(child.compare, part, running)
        own_page = next(own, None)
        while own_page or running:
            if own_page:
                yield own_page
                own_page = next(own, None)
            for connection, message in _received(running, 0 if own_page else None):
                if message is None:
                    raise ProcessFailed(
                        "A process that compared products was killed, or failed with the message above. "
                        "Run the command again."
                    )
                if isinstance(message, Page):
                    yield message
                    continue
                if words is not None:
                    words.update(message)
                running.pop(connection).join()
                connection.close()
    finally:
        _stop(running)


def _in_processes(task: child.Task, should_abandon: Callable[[], bool]) -> Iterator[Report]:
    """Start the processes of a task, and yield their reports until all have ended."""
    running: dict[Connection, SpawnProcess] = {}
    killed = 0
    try:
        for _ in range(task.processes):
            _start(child.run, task, running)
        while running:
            if should_abandon():
                raise indexing.Stopped
            for connection, message in _received(running, indexing.POLL_SECONDS):
                if message is None:
                    killed += _was_killed(running.pop(connection))
                    connection.close()
                else:
                    yield message
    finally:
        _stop(running)
    if killed == task.processes:
        raise ProcessFailed(
            "All processes of the command were killed. If the memory did not suffice, use fewer --processes. "
            "The unfinished products stay pending."
        )


def _received(
    running: Mapping[Connection, SpawnProcess], timeout: float | None = None
) -> Iterator[tuple[Connection, Any]]:
    """Wait until processes have sent something, and yield it with their connections. Raise what is an error.

    None means that a process has ended, perhaps while it sent something.
    """
    ready = wait(list(running), timeout)
    for connection in [connection for connection in running if connection in ready]:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            message = None
        if isinstance(message, Exception):
            raise message
        yield connection, message


def _start(
    run: Callable[..., None], task: child.Task | child.Comparison, running: dict[Connection, SpawnProcess]
) -> None:
    """Start a process, and add it to `running` by the connection from which its answers are read.

    Raises ProcessFailed if this process must not start others.
    """
    if multiprocessing.current_process().daemon:
        raise ProcessFailed(
            "--processes: this process is a daemon of multiprocessing, as those of Celery are, and may not "
            "start others. Run the command without --processes."
        )
    context = multiprocessing.get_context("spawn")  # after a fork, neither CUDA nor OpenMP works
    ours, theirs = context.Pipe(duplex=False)
    store = get_store()
    calls = context.Pipe() if store.is_exclusive else None
    process = context.Process(
        target=run, args=(task, theirs, calls and calls[1]), name="clip_search", daemon=True
    )
    with _interrupts_ignored():  # so that each process that was started is among the running ones
        process.start()
        running[ours] = process
        theirs.close()  # so that reading from `ours` ends when the process ends
        if calls:
            calls[1].close()
            serving = threading.Thread(
                target=serve, args=(store, calls[0]), name="clip_search-store", daemon=True
            )
            serving.start()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C during the block: a process that is started then ignores it from its very beginning."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _was_killed(process: SpawnProcess) -> bool:
    """Return whether a process that has ended was killed. Raises ProcessFailed if it ended with an error."""
    process.join()
    code = process.exitcode or 0
    was_killed = code < 0 or code == child.TERMINATED
    if was_killed:
        logger.warning("A process was killed, its products stay pending pid=%d status=%d", process.pid, code)
    elif code:
        raise ProcessFailed(f"A process ended with status {code}. Its own message is above.")
    return was_killed


def _stop(running: dict[Connection, SpawnProcess]) -> None:
    """End all processes, which then release their claims."""
    for process in running.values():
        process.terminate()
    until = time.monotonic() + SECONDS_TO_STOP
    for connection, process in running.items():
        process.join(max(0.0, until - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
        connection.close()
