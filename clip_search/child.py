"""What each process of `parallel` runs. It is imported before Django is set up, so it imports no model."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import FrameType
from typing import Final

import django
from django.db import Error as DatabaseError

from .cores import cores
from .exceptions import ClipSearchError

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

    def stop(signum: int, frame: FrameType | None) -> None:
        signal.signal(
            signal.SIGTERM, signal.SIG_IGN
        )  # a second one would interrupt the release of the claims
        raise indexing.Stopped

    def is_orphaned() -> bool:
        parent = multiprocessing.parent_process()
        return parent is None or not parent.is_alive()

    def next_batch_size() -> int:
        return 0 if is_orphaned() else indexing.fair_share(document, task.processes, task.batch_size)

    document = next(document for document in registry if document.name == task.document)
    images.release_memory_early()
    writing.logger.addHandler(logging.NullHandler())  # the command shows what failed
    signal.signal(signal.SIGTERM, stop)
    if store:
        use_store(forwarded(store))
    with suppress(indexing.Stopped, BrokenPipeError):  # the parent wants or reads no more reports
        try:
            with get_store().keep_open():
                for report in indexing.index_due(
                    document,
                    product_ids=task.product_ids,
                    next_batch_size=next_batch_size,
                    should_abandon=is_orphaned,
                    threads=threads,
                ):
                    reports.send(report)
        except indexing.Stopped:
            return
        except ClipSearchError as error:
            reports.send(error)
        except DatabaseError as error:
            reports.send(DatabaseError(str(error)))  # not the driver's own exception: it may not be picklable
