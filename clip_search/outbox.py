"""Schedule products for indexing, and wake a worker when the transaction commits.

This is a transactional outbox: the note that a product must be indexed is saved in the transaction that
changes the product, so both are committed or neither is.
"""

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
from .models.tables import naming_missing_tables
from .types import MODEL_SOURCE

logger = logging.getLogger(__name__)


@naming_missing_tables()
def schedule(
    document: BoundDocument,
    product_ids: Iterable[str],
    *,
    source: str = MODEL_SOURCE,
    wake: bool = True,
    images: bool = False,
) -> int:
    """Mark the entries of products as pending, in this transaction. Return the number of products.

    For more than ROWS_PER_STATEMENT products, one `RelatedChange` is saved instead: the worker that reads it
    marks the entries. A worker is woken when the transaction commits, unless `wake` is False: then the caller
    wakes a worker or indexes the products itself. With `images`, the image files are read again even if their
    signature is unchanged.
    """
    ids = list(dict.fromkeys(product_ids))
    if len(ids) > ROWS_PER_STATEMENT and source == MODEL_SOURCE:
        # The path "images" only says that the image files are read again.
        schedule_related(document, wake=wake, product_ids=ids, path="images" if images else "")
    elif ids:
        IndexEntry.objects.mark_changed(document, ids, source=source, images=images)
        if wake:
            wake_on_commit(document, ids)
    return len(ids)


@naming_missing_tables()
def schedule_related(document: BoundDocument, *, wake: bool = True, **change: Any) -> None:
    """Save a `RelatedChange` with these fields, so that a worker finds the products that it concerns.

    The worker is woken when the transaction commits, unless `wake` is False.
    """
    RelatedChange.objects.using(document.using).create(document=document.name, **change)
    if wake:
        wake_on_commit(document)


@dataclass(eq=False)
class CommitBatch:
    """The products that one transaction has scheduled; `run()` is called when the transaction commits.

    `run` is registered with `on_commit()` for every change, because the rollback of a savepoint removes the
    callbacks that were registered in it. Only the first call does something.
    """

    scheduled: dict[str, set[str]] = field(default_factory=dict)
    """Product ids by the name of their document."""
    has_run: bool = False

    def run(self) -> None:
        """Wake a worker for each document or, if the setting `QUEUE` is None, index the products here."""
        if self.has_run:
            return
        self.has_run = True
        for name, product_ids in self.scheduled.items():
            document = registry.get(name)
            try:
                if document and conf.queue:
                    queue.wake(document)
                elif document:
                    index_here(document, product_ids)
            except SetupError as error:  # raised, for example, if CLIP_SEARCH is no dict
                logger.error("Cannot index document=%s error=%s", name, in_one_line(error))


def wake_on_commit(document: BoundDocument, product_ids: Iterable[str] = ()) -> None:
    """Wake a worker for this document when the transaction commits.

    However often this is called in one transaction, only one RQ job is enqueued for each document.
    """
    hooks = (hook[1] for hook in reversed(connections[document.using].run_on_commit))
    registered = (getattr(hook, "__self__", None) for hook in hooks)
    # A batch is used again only if its callback is still registered and has not run. The rollback of a
    # savepoint removes callbacks; a TestCase's captureOnCommitCallbacks(execute=True) runs callbacks and
    # keeps them registered.
    usable = (hook for hook in registered if isinstance(hook, CommitBatch) and not hook.has_run)
    batch = next(usable, None) or CommitBatch()
    batch.scheduled.setdefault(document.name, set()).update(product_ids)
    transaction.on_commit(batch.run, using=document.using, robust=True)
