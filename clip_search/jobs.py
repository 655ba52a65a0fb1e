"""The function that RQ jobs run, and the time that each job may take.

An RQ job only wakes a worker. What is to be indexed is in the index entries, not in the job.
"""

from __future__ import annotations

import logging
import time

from django.db import Error as DatabaseError

from . import indexing, queue
from .documents.binding import BoundDocument
from .documents.registry import registry
from .exceptions import AccessDenied, BackendUnavailable, ForeignCollection, in_one_line
from .indexing.related import expand_related
from .models import IndexEntry, RelatedChange
from .types import Report

logger = logging.getLogger(__name__)

SECONDS_PER_JOB = 20.0
"""How long an RQ job claims entries. It must be short: RQ's SimpleWorker sends no heartbeat during a job.

If more entries are due after this time, the job enqueues another one.
"""
SECONDS_TO_FINISH = 5.0
"""How long a worker that was asked to stop may finish its batches. Then it releases them."""


class WorkerState:
    """The state of this worker process: if it was asked to stop, and the number of workers of its queue."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Reset this to the state of a worker that was just started and is the only one."""
        self.workers = 1
        self._stop_requested: float | None = None

    def request_stop(self) -> None:
        """Make this process claim no more entries. Its batches have SECONDS_TO_FINISH seconds to finish."""
        self._stop_requested = self._stop_requested or time.monotonic()

    @property
    def is_stopping(self) -> bool:
        """Return True if the worker was asked to stop, so no more entries may be claimed."""
        return self._stop_requested is not None

    def must_abandon(self) -> bool:
        """Return True if the time to finish is over, so the claims on unfinished entries must be released."""
        requested = self._stop_requested
        return requested is not None and time.monotonic() - requested > SECONDS_TO_FINISH


worker_state = WorkerState()


def index_due(document_name: str) -> None:
    """Index the due entries of a document for up to SECONDS_PER_JOB seconds.

    Wake another worker if entries are still due after the first batch, and again when the time is over.
    """
    document = registry.get(document_name)
    if document is None:
        logger.warning("No document of this name is registered, nothing to do document=%s", document_name)
        return
    budget = TimeBudget(document)
    try:
        expand_related(document, goes_on=lambda: not budget.is_over)
        # An embedded store is closed after each batch: a worker that is paused or hangs must not keep it.
        for report in indexing.index_due(
            document, next_batch_size=budget.next_batch, should_abandon=worker_state.must_abandon
        ):
            budget.report += report
        budget.hand_over()
    except indexing.Stopped:
        logger.info("Stopping, unfinished products will be indexed later document=%s", document_name)
        budget.hand_over()
    except (BackendUnavailable, DatabaseError) as error:
        logger.warning(
            "Cannot index now, will try again document=%s error=%s", document_name, in_one_line(error)
        )
    except (AccessDenied, ForeignCollection) as error:
        # Do not stop the worker: the process manager, such as systemd, would start it again and again.
        logger.error("Cannot index document=%s error=%s", document_name, in_one_line(error))
    if products := budget.report.products:
        logger.info("Indexed document=%s products=%d seconds=%.2f", document_name, products, budget.seconds)


class TimeBudget:
    """Measures the time of one RQ job, and wakes another worker if it is too short for all due entries."""

    def __init__(self, document: BoundDocument) -> None:
        self.document = document
        self.report = Report()
        self._started = time.monotonic()
        self._claims = 0

    @property
    def seconds(self) -> float:
        """Return the seconds since the job began."""
        return time.monotonic() - self._started

    @property
    def is_over(self) -> bool:
        """Return True if the job must claim no more entries."""
        return worker_state.is_stopping or self.seconds >= SECONDS_PER_JOB

    def next_batch(self) -> int:
        """Return how many entries to claim next, or 0 to claim no more.

        The pipeline calls this before each claim. The second call wakes another worker if entries are still
        due, so that an idle one can help.
        """
        self._claims += 1
        if self._claims == 2:
            self._wake_another()
        return 0 if self.is_over else indexing.fair_share(self.document, worker_state.workers)

    def hand_over(self) -> None:
        """Wake another worker if entries are still due when this job must end.

        Products that were saved during this job need this too: the worker that their save woke may have found
        them claimed by this job.
        """
        if self.is_over:
            self._wake_another()

    def _wake_another(self) -> None:
        """Enqueue another RQ job if entries or related changes are due."""
        if _something_is_due(self.document):
            queue.wake(self.document)


def sweep() -> int:
    """Wake a worker for every document that has due entries or related changes.

    Idle workers call this regularly, because a save cannot wake a worker while Redis is down. Return the
    number of RQ jobs that were enqueued.
    """
    return sum(queue.wake(document) for document in registry if _something_is_due(document))


def _something_is_due(document: BoundDocument) -> bool:
    """Return True if the document has due entries or related changes; False if its database fails."""
    changes = RelatedChange.objects.using(document.using).filter(document=document.name)
    try:
        return IndexEntry.objects.of(document).due().exists() or changes.exists()
    except DatabaseError as error:  # go on with the other documents, which may be on another database
        logger.warning("Cannot look for due entries document=%s error=%s", document.name, in_one_line(error))
        return False
