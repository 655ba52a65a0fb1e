"""The work of the processes that `parallel` starts. It is imported before Django is set up."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import django
from django.db import Error as DatabaseError

from .cores import cores
from .exceptions import ClipSearchError, SetupError

if TYPE_CHECKING:
    from .documents.binding import BoundDocument

OBJECTS_BEFORE_GC: Final = 50_000
"""How many new objects start Python's garbage collector. With Python's own number, 700 to 2,000, it would
take a third of the time if many rows are in memory."""
TERMINATED: Final = 128 + signal.SIGTERM
"""The exit status of a process that SIGTERM ended. It has released its claims."""
TORCH_THREADS: Final = "OMP_NUM_THREADS"
"""The environment variable from which torch reads how many threads it may use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the processes of one command index together."""

    document: str
    product_ids: Sequence[str] | None
    """Only these products are indexed; None for all."""
    batch_size: int
    """The most products that a process claims at once."""
    processes: int
    """How many processes share the cores and the due entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The rows that one process compares with the index."""

    document: str
    ranges: Sequence[tuple[Any, Any]]
    """The primary key with which each page of rows begins, and that of the page after it, if there is one."""
    size: int
    """The most rows that are compared at once."""
    counts_words: bool


def compare(task: Comparison, answers: Connection, store: Connection | None) -> None:
    """Compare rows. Send the result of each page to the parent process, and at last the counted words."""
    with _working(task.document, answers, store) as document:
        from .indexing.comparing import compare_ranges

        gc.set_threshold(OBJECTS_BEFORE_GC)
        words = Counter[str]()
        counted = words if task.counts_words else None
        for page in compare_ranges(document, task.ranges, size=task.size, words=counted):
            answers.send(page)
        answers.send(words)


def run(task: Task, answers: Connection, store: Connection | None) -> None:
    """Index due entries until none is left, and send a report for each batch to the parent process.

    If the parent ends, or SIGTERM ends this process, the claims on unfinished entries are released.
    """
    was_ended = False

    def end(signum: int, frame: FrameType | None) -> None:
        nonlocal was_ended
        was_ended = True  # an exception might leave the database connection in a transaction

    def must_stop() -> bool:
        parent = multiprocessing.parent_process()
        return was_ended or parent is None or not parent.is_alive()

    def next_batch_size() -> int:
        return 0 if must_stop() else indexing.fair_share(document, task.processes, task.batch_size)

    threads = max(1, cores() // task.processes)
    os.environ.setdefault(TORCH_THREADS, str(threads))
    with _working(task.document, answers, store) as document:
        from . import images, indexing
        from .indexing import writing

        images.release_memory_early()
        writing.logger.addHandler(logging.NullHandler())  # the command shows what failed
        signal.signal(signal.SIGTERM, end)
        with suppress(indexing.Stopped):
            for report in indexing.index_due(
                document,
                product_ids=task.product_ids,
                next_batch_size=next_batch_size,
                should_abandon=must_stop,
                threads=threads,
            ):
                answers.send(report)
    if was_ended:
        sys.exit(TERMINATED)


@contextmanager
def _working(name: str, answers: Connection, store: Connection | None) -> Iterator[BoundDocument]:
    """Set up this process, and yield the document of this name.

    If `store` is given, the parent process reads and writes the store for this one. A ClipSearchError or
    DatabaseError of the block is sent to the parent. If the parent has ended, the block ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes, and the parent ends this one
    django.setup()
    from .documents.registry import registry
    from .stores import get_store, use_store
    from .stores.forwarding import forwarded

    if store:
        use_store(forwarded(store))
    with suppress(BrokenPipeError):
        try:
            document = registry.get(name)
            if document is None:
                raise SetupError(f"The document {name!r} is not registered when an app is loaded.")
            with get_store().keep_open():
                yield document
        except ClipSearchError as error:
            answers.send(error)
        except DatabaseError as error:
            answers.send(DatabaseError(str(error)))  # not the driver's own exception: it may not be picklable
