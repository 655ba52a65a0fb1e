"""What each process of `parallel` runs. It is imported before Django is set up, so it imports no model."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, Final

import django
from django.db import Error as DatabaseError

from .cores import cores
from .exceptions import ClipSearchError

OBJECTS_A_COLLECTION: Final = 50_000
"""How many new objects start Python's garbage collector (by default 700).

With many rows in memory, it would take a third of the time."""
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


def compare(task: Comparison, pages: Connection, store: Connection | None) -> None:
    """Compare rows. Send the result of each page to the parent process, and at last the counted words.

    If `store` is given, the parent process reads the store for this one. A ClipSearchError or DatabaseError
    is sent too, and ends this process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes, and the parent ends this one
    django.setup()
    from .documents.registry import registry
    from .indexing.comparing import compare_ranges
    from .stores import get_store, use_store
    from .stores.forwarding import forwarded

    gc.set_threshold(OBJECTS_A_COLLECTION)
    document = next(document for document in registry if document.name == task.document)
    if store:
        use_store(forwarded(store))
    words = Counter[str]()
    counted = words if task.counts_words else None
    with suppress(BrokenPipeError):  # the parent has ended
        try:
            with get_store().keep_open():
                for page in compare_ranges(document, task.ranges, size=task.size, words=counted):
                    pages.send(page)
            pages.send(words)
        except ClipSearchError as error:
            pages.send(error)
        except DatabaseError as error:
            pages.send(DatabaseError(str(error)))  # not the driver's own exception: it may not be picklable


def run(task: Task, reports: Connection, store: Connection | None) -> None:
    """Index due entries until none is left, and send a report for each batch to the parent process.

    If `store` is given, the parent process reads and writes the store for this one.

    A ClipSearchError or DatabaseError is sent too, and ends this process. If the parent ends, or terminates
    this process, the claims on unfinished entries are released.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes, and the parent ends this one
    threads = max(1, cores() // task.processes)
    os.environ.setdefault(TORCH_THREADS, str(threads))
    django.setup()
    from . import images, indexing
    from .documents.registry import registry
    from .indexing import writing
    from .stores import get_store, use_store
    from .stores.forwarding import forwarded

    was_ended = False

    def end(signum: int, frame: FrameType | None) -> None:
        nonlocal was_ended
        was_ended = True  # an exception might leave the database connection in a transaction

    def must_stop() -> bool:
        parent = multiprocessing.parent_process()
        return was_ended or parent is None or not parent.is_alive()

    def next_batch_size() -> int:
        return 0 if must_stop() else indexing.fair_share(document, task.processes, task.batch_size)

    document = next(document for document in registry if document.name == task.document)
    images.release_memory_early()
    writing.logger.addHandler(logging.NullHandler())  # the command shows what failed
    signal.signal(signal.SIGTERM, end)
    if store:
        use_store(forwarded(store))
    with suppress(indexing.Stopped, BrokenPipeError):  # the parent wants or reads no more reports
        try:
            with get_store().keep_open():
                for report in indexing.index_due(
                    document,
                    product_ids=task.product_ids,
                    next_batch_size=next_batch_size,
                    should_abandon=must_stop,
                    threads=threads,
                ):
                    reports.send(report)
        except ClipSearchError as error:
            reports.send(error)
        except DatabaseError as error:
            reports.send(DatabaseError(str(error)))  # not the driver's own exception: it may not be picklable
