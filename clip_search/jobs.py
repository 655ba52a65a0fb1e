"""The function that RQ runs, and its time budget. A job is a wake-up call: it carries no content."""

from __future__ import annotations

import logging
import time

from django.db import Error as DatabaseError

from . import indexing, queue
from .documents.binding import BoundDocument
from .documents.registry import registry
from .encoders.base import SMALLEST_BATCH
from .exceptions import BackendUnavailable, in_one_line
from .indexing.related import expand_related
from .models import IndexEntry, RelatedChange
from .types import Report

logger = logging.getLogger(__name__)

SECONDS_A_JOB = 20.0
"""RQ's SimpleWorker sends no heartbeat during a job, so jobs are short and enqueue the rest."""
SECONDS_TO_FINISH = 5.0
"""After a request to stop, a batch under way may finish this long; then it is released."""


class WorkerState:
    """What this worker process knows: whether it was asked to stop, and how many workers share its queue."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget a request to stop and the other workers."""
        self.workers = 1
        self._stop_requested: float | None = None

    def request_stop(self) -> None:
        """Ask this process to claim no more work."""
        self._stop_requested = self._stop_requested or time.monotonic()

    @property
    def is_stopping(self) -> bool:
        """Whether no more work is to be claimed."""
        return self._stop_requested is not None

    def must_abandon(self) -> bool:
        """Return whether the batch under way is to be given back."""
        requested = self._stop_requested
        return requested is not None and time.monotonic() - requested > SECONDS_TO_FINISH


worker_state = WorkerState()


def index_due(document_name: str) -> None:
    """Index what is due of a document for a while. If more is due, other workers are woken too."""
    document = registry.get(document_name)
    if document is None:
        logger.warning("No such document any more document=%s", document_name)
        return
    budget = TimeBudget(document)
    try:
        expand_related(document, goes_on=lambda: not budget.is_over)
        for report in indexing.index_due(
            document, claiming=budget.next_batch, abandon=worker_state.must_abandon
        ):
            budget.report += report
        budget.hand_over()
    except indexing.Stopped:
        logger.info("Stopping, the batch under way is given back document=%s", document_name)
        budget.hand_over()
    except (BackendUnavailable, DatabaseError) as error:
        logger.warning(
            "Cannot index now, will try again document=%s error=%s", document_name, in_one_line(error)
        )
    if products := budget.report.products:
        logger.info("Indexed document=%s products=%d seconds=%.2f", document_name, products, budget.seconds)


class TimeBudget:
    """The time that one job works."""

    def __init__(self, document: BoundDocument) -> None:
        self.document = document
        self.report = Report()
        self._started = time.monotonic()
        self._claims = 0

    @property
    def seconds(self) -> float:
        """Seconds since the job began."""
        return time.monotonic() - self._started

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be claimed."""
        return worker_state.is_stopping or self.seconds >= SECONDS_A_JOB

    def next_batch(self) -> int:
        """Return how many products to claim next, 0 for no more. Called before each batch.

        Before the second batch, what is left is announced once, for a worker that is idle.
        """
        self._claims += 1
        if self._claims == 2:
            self._announce()
        return 0 if self.is_over else fair_share(self.document)

    def hand_over(self) -> None:
        """Announce what is left if the time is over.

        Products that were saved during this job were announced while this job had claimed them.
        """
        if self.is_over:
            self._announce()

    def _announce(self) -> None:
        if _something_is_due(self.document):
            queue.wake(self.document)


def fair_share(document: BoundDocument) -> int:
    """Return how many products this worker should claim at once: the fewer are left, the fewer.

    Otherwise one worker would hold what the others, idle by then, could do. This is guided self-scheduling
    (Polychronopoulos & Kuck, IEEE Transactions on Computers C-36, 1987) with two batches under way.
    """
    if worker_state.workers == 1:
        return indexing.BATCH
    shares = indexing.AHEAD * worker_state.workers
    due = IndexEntry.objects.of(document).due()[: shares * indexing.BATCH].count()
    return max(SMALLEST_BATCH, due // shares)


def sweep() -> int:
    """Wake a worker for every document of which something is due. Return for how many."""
    return sum(queue.wake(document) for document in registry if _something_is_due(document))


def _something_is_due(document: BoundDocument) -> bool:
    changes = RelatedChange.objects.using(document.using).filter(document=document.name)
    try:
        return IndexEntry.objects.of(document).due().exists() or changes.exists()
    except DatabaseError as error:  # the other documents may live on another database
        logger.warning("Cannot sweep document=%s error=%s", document.name, in_one_line(error))
        return False
