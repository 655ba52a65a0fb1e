"""The stages of one document, run one after the other, with threads between them."""

from __future__ import annotations

import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import timedelta

from django.db import Error as DatabaseError

from ..documents import Document
from ..exceptions import CollectionMissing, SetupError, SurroundingsError
from ..models import ROWS_PER_STATEMENT, IndexEntry
from ..types import Report
from .embedding import Stopped, decode, embed, needs_text
from .items import Item
from .reading import read
from .targets import Target, mend_missing, target
from .writing import backoff, finish, overtaken, write

LEASE = timedelta(seconds=60)
"""How long a claim holds without being renewed: as long as the entries of a killed worker wait."""
AHEAD = 2
"""Batches under way at once: one is embedded while the next is decoded."""
SECONDS_A_LOOK = 0.5
"""How often, while the model works, it is asked whether to stop or to renew a lease."""
MENDINGS = 3
"""How often a run puts up with a collection that is not there."""
BATCH = 128
"""Entries a claim. Large enough to share the cost of statements and of opening a store."""


class Pipeline:
    """The stages of one document, and the threads between them. Use as a context manager."""

    def __init__(self, document: Document, claiming: Callable[[], bool], abandon: Callable[[], bool]) -> None:
        self.document = document
        self.claiming = claiming
        self.abandon = abandon
        self._decoders = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="clip_search-decode")
        self._model = ThreadPoolExecutor(1, thread_name_prefix="clip_search-embed")
        self._mended = 0
        self._waiting: deque[tuple[Target, list[Item], Future[None] | None]] = deque()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()  # first, because a storage that hangs keeps a thread, and so this process, waiting
        self._decoders.shutdown(cancel_futures=True)
        self._model.shutdown(cancel_futures=True)

    def release(self) -> None:
        """Give back what is claimed and not finished."""
        for _, items, _ in self._waiting:
            IndexEntry.objects.of(self.document).release([item.entry for item in items])
        self._waiting.clear()

    def run(self, limit: int, only: Sequence[uuid.UUID] | None = None) -> Iterator[Report]:
        """Index what is due, batch by batch, until nothing is. Raises SurroundingsError, SetupError."""
        target(self.document)  # where the set-up is at fault, no entry is touched
        while True:
            with self._mending():
                claimed = self.claiming() and self._start(limit, only)
                if len(self._waiting) >= AHEAD or (self._waiting and not claimed):
                    yield self._finish()
                elif not claimed:
                    return

    def _start(self, limit: int, only: Sequence[uuid.UUID] | None) -> bool:
        """Claim a batch, read it and let the threads go at it. Returns whether there was one."""
        entries = IndexEntry.objects.of(self.document).claim(limit, LEASE, only)
        if not entries:
            return False
        with released_on_error(self.document, entries):
            # After the claim: a collection that began before it holds what is indexed of these entries.
            goal = target(self.document)
            items = read(goal, entries)
            for item in items:
                if not item.error:
                    decode(item, goal.encoder.image_size, self._decoders)
            work = any(item.decoded or needs_text(item) for item in items)
            embedding = self._model.submit(embed, goal, items, self.abandon) if work else None
            self._waiting.append((goal, items, embedding))
        return True

    def _finish(self) -> Report:
        goal, items, embedding = self._waiting[0]
        try:
            with released_on_error(self.document, [item.entry for item in items]):
                if embedding:
                    self._await(embedding)
                write(goal, [item for item in items if not overtaken(item)])
                return finish(goal, items)
        finally:
            self._waiting.popleft()

    def _await(self, embedding: Future[None]) -> None:
        """Wait for the model, and renew the leases of all that is under way. Raises Stopped."""
        renew_at = time.monotonic() + LEASE.total_seconds() / 3
        while not wait([embedding], timeout=SECONDS_A_LOOK).done:
            if self.abandon():
                raise Stopped  # the model, or a storage, may take longer than there is time
            if time.monotonic() > renew_at:
                renew_at = time.monotonic() + LEASE.total_seconds() / 3
                for _, items, _ in self._waiting:
                    IndexEntry.objects.of(self.document).renew([item.entry for item in items], LEASE)
        embedding.result()

    @contextmanager
    def _mending(self) -> Iterator[None]:
        try:
            yield
        except CollectionMissing:
            self.release()
            self._mended += 1
            if not mend_missing(self.document) and self._mended > MENDINGS:
                raise  # otherwise the collection was swapped for another since the claim


@contextmanager
def released_on_error(document: Document, entries: Sequence[IndexEntry]) -> Iterator[None]:
    """Give the entries back if this fails: at once if nothing is wrong with doing them now, else later."""
    queryset = IndexEntry.objects.of(document)
    try:
        yield
    except Exception as error:
        if isinstance(error, CollectionMissing | SetupError | Stopped):
            queryset.release(entries)
        elif isinstance(error, SurroundingsError | DatabaseError):
            queryset.release(entries, backoff(max(entry.attempts for entry in entries)), str(error))
        else:  # one of them may be the cause: with a delay of its own it is soon claimed without the rest
            for entry in entries:
                queryset.release([entry], backoff(entry.attempts), f"{type(error).__name__}: {error}")
        raise
    except BaseException:
        queryset.release(entries)
        raise


def index_due(
    document: Document,
    *,
    product_ids: Sequence[str] | None = None,
    limit: int | None = None,
    claiming: Callable[[], bool] = lambda: True,
    abandon: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Index what is due, or what of these products is, and yield a report a batch of `limit`, else `BATCH`.

    No more is claimed once `claiming()` is false; what is under way is given back once `abandon()` is
    true. Raises SurroundingsError when something outside does not work now, and SetupError when the
    settings cannot work; in both cases the entries are due as before.
    """
    limit = limit or BATCH
    with Pipeline(document, claiming, abandon) as pipeline:
        if product_ids is None:
            yield from pipeline.run(limit)
            return
        ids = [document.point_id(product_id) for product_id in product_ids]
        for start in range(0, len(ids), ROWS_PER_STATEMENT):
            yield from pipeline.run(limit, ids[start : start + ROWS_PER_STATEMENT])
