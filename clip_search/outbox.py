"""Scheduling products for indexing, and the wake-up when the transaction commits."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import connections, transaction

from . import queue
from .conf import conf
from .documents.binding import BoundDocument
from .documents.registry import registry
from .exceptions import SetupError, in_one_line
from .indexing.inline import index_here
from .models import IndexEntry, RelatedChange
from .models.paging import ROWS_PER_STATEMENT
from .types import MODEL_SOURCE

logger = logging.getLogger(__name__)


def schedule(
    document: BoundDocument,
    product_ids: Iterable[str],
    *,
    source: str = MODEL_SOURCE,
    wake: bool = True,
    images: bool = False,
) -> int:
    """Schedule products for indexing when the transaction commits. Return how many there are.

    Callers that index the products themselves, or wake a worker themselves, pass `wake=False`. With `images`,
    the image files are read again, also if their signatures say that they are the same.
    """
    ids = list(dict.fromkeys(product_ids))
    if len(ids) > ROWS_PER_STATEMENT and source == MODEL_SOURCE:
        # one statement; a worker marks the entries
        schedule_related(document, wake=wake, product_ids=ids, path="images" if images else "")
    elif ids:
        IndexEntry.objects.mark_changed(document, ids, source=source, images=images)
        if wake:
            wake_on_commit(document, ids)
    return len(ids)


def schedule_related(document: BoundDocument, *, wake: bool = True, **change: Any) -> None:
    """Record a change that concerns products which a worker will find. See `RelatedChange`."""
    RelatedChange.objects.using(document.using).create(document=document.name, **change)
    if wake:
        wake_on_commit(document)


@dataclass(eq=False)
class CommitBatch:
    """What one transaction scheduled, announced once when it commits.

    `run` is registered for every change, because a savepoint that is rolled back removes its callbacks; the
    first callback that is called does the work of all.
    """

    scheduled: dict[str, set[str]] = field(default_factory=dict)
    """Product ids by the name of their document."""
    done: bool = False

    def run(self) -> None:
        """Wake a worker, or index here if no queue is set."""
        if self.done:
            return
        self.done = True
        for name, product_ids in self.scheduled.items():
            document = registry.get(name)
            try:
                if document and conf.queue:
                    queue.wake(document)
                elif document:
                    index_here(document, product_ids)
            except SetupError as error:  # CLIP_SEARCH is no dict
                logger.error("Cannot index document=%s error=%s", name, in_one_line(error))


def wake_on_commit(document: BoundDocument, product_ids: Iterable[str] = ()) -> None:
    """Wake a worker for this document when the transaction commits, once per transaction."""
    hooks = (hook[1] for hook in reversed(connections[document.using].run_on_commit))
    registered = (getattr(hook, "__self__", None) for hook in hooks)
    # A batch that a rollback removed is not registered any more, and would wake nobody. One that is done is
    # still registered in a TestCase, after captureOnCommitCallbacks(execute=True).
    waiting = (hook for hook in registered if isinstance(hook, CommitBatch) and not hook.done)
    batch = next(waiting, None) or CommitBatch()
    batch.scheduled.setdefault(document.name, set()).update(product_ids)
    transaction.on_commit(batch.run, using=document.using, robust=True)
