"""The stages of one document, run one after the other, with threads between them.

    claim ─▶ read ─▶ load images ─▶ embed ─▶ write ─▶ finish
             rows,   threads        one      store    entries
             points                 thread

While one batch is embedded, the images of the next are loaded: at most `AHEAD` batches are under way. When
the model has finished a batch, it is written and the next one is read, in one opening of the store.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from django.db import Error as DatabaseError

from ..documents.binding import BoundDocument
from ..exceptions import BackendUnavailable, CollectionMissing, SetupError
from ..models import IndexEntry
from ..models.paging import ROWS_PER_STATEMENT
from ..types import Report
from .collections import recreate_missing
from .embedding import ImageLoader, Stopped, embed, split_by_model
from .items import Item
from .reading import read_items, read_points
from .targets import Target, get_target, opened
from .writing import backoff, finish, write

LEASE = timedelta(seconds=60)
"""How long a claim lasts without being renewed: as long as the entries of a killed worker wait."""
AHEAD = 2
"""Batches under way at once: one is embedded while the images of the next are loaded."""
POLL_SECONDS = 0.5
"""How often, while the model works, the pipeline looks whether to stop or to renew a lease."""
REPAIRS = 3
"""How often a run tolerates a missing collection."""
BATCH = 128
"""Entries a claim. Large enough to share the cost of statements and of opening a store."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Claimed entries on their way, and the model's work on those that need it."""

    target: Target
    items: Sequence[Item]
    embedding: Future[None] | None = None

    @property
    def entries(self) -> list[IndexEntry]:
        """The claimed entries."""
        return [item.entry for item in self.items]


class Pipeline:
    """The stages of one document, and the threads between them. Use as a context manager."""

    def __init__(
        self, document: BoundDocument, claiming: Callable[[], int], abandon: Callable[[], bool]
    ) -> None:
        self.document = document
        self.claiming = claiming
        self.abandon = abandon
        self._loader = ImageLoader()
        self._model = ThreadPoolExecutor(1, thread_name_prefix="clip_search-embed")
        self._repairs = 0
        self._waiting: deque[Batch] = deque()
        self._last_needed_model = True
        self._limit = BATCH
        self._renewed = time.monotonic()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()  # first, because a storage that hangs keeps a thread, and so this process, waiting
        self._loader.shut_down()
        self._model.shutdown(cancel_futures=True)

    def release(self) -> None:
        """Give back what is claimed and not finished."""
        for batch in self._waiting:
            IndexEntry.objects.of(self.document).release(batch.entries)
        self._waiting.clear()

    def run(self, only: Sequence[uuid.UUID] | None = None) -> Iterator[Report]:
        """Index what is due, batch by batch, until nothing is. Raises BackendUnavailable, SetupError."""
        get_target(self.document)  # if the settings are at fault, no entry is touched
        while True:
            with self._repairing():
                self._renew()
                first = self._waiting[0].embedding if self._waiting else None
                is_ready = first is not None and (first.done() or len(self._waiting) >= AHEAD)
                done = self._embedded() if is_ready else None
                self._limit = self.claiming()
                # a large batch if the last needed no model, since then opening the store costs most
                size = self._limit if self._last_needed_model else max(self._limit, ROWS_PER_STATEMENT)
                queryset = IndexEntry.objects.of(self.document)
                entries = queryset.claim(size, LEASE, only) if self._limit else []
                if not entries and not self._waiting:
                    return
                if not entries:
                    done = self._embedded()
                if report := self._step(done, entries):
                    yield report

    def _step(self, done: Batch | None, entries: Sequence[IndexEntry]) -> Report | None:
        """Write what is embedded or needs no model, and start the rest, in one opening of the store.

        The database is never written to while the store is open: a process that locks in the other order
        would deadlock with us.
        """
        batches = [done] if done else []
        try:
            with released_on_error(self.document, [*entries, *(done.entries if done else ())]):
                # after the claim: a collection that was created before it has what is indexed of these
                # entries
                target = get_target(self.document)
                items = read_items(target, entries, partial(self._renew, entries))
                with opened(target, *(batch.target for batch in batches)):
                    if done:
                        write(done.target, done.items)
                    read_points(target, items, vectors=True)
                    waiting, ready = split_by_model(items)
                    if ready:
                        write(target, ready)
                        batches.append(Batch(target, ready))
                if entries:
                    self._start(target, waiting)
                reports = [finish(batch.target, batch.items) for batch in batches]
                return Report.total(reports) if reports else None
        finally:
            if done:
                self._waiting.popleft()

    def _start(self, target: Target, items: Sequence[Item]) -> None:
        """Load and embed items in threads; what exceeds a batch is given back."""
        self._last_needed_model = bool(items)
        items, surplus = items[: self._limit], items[self._limit :]
        if surplus:
            IndexEntry.objects.of(self.document).release([item.entry for item in surplus])
        if items:
            for item in items:
                self._loader.load(item, target.encoder)
            embedding = self._model.submit(embed, target.encoder, items, self.abandon)
            self._waiting.append(Batch(target, items, embedding))

    def _embedded(self) -> Batch:
        """Wait for the oldest batch under way, renewing claims, and return it. Raises Stopped."""
        batch = self._waiting[0]
        with released_on_error(self.document, batch.entries):
            if batch.embedding:
                while not wait([batch.embedding], timeout=POLL_SECONDS).done:
                    if self.abandon():
                        raise Stopped  # the model, or a storage, may take longer than there is time
                    self._renew()
                batch.embedding.result()
        return batch

    def _renew(self, entries: Sequence[IndexEntry] = ()) -> None:
        """Renew the claims of these and of all entries under way, after a third of the lease."""
        if time.monotonic() < self._renewed + LEASE.total_seconds() / 3:
            return
        self._renewed = time.monotonic()
        claimed = [entry for batch in self._waiting for entry in batch.entries]
        IndexEntry.objects.of(self.document).renew([*claimed, *entries], LEASE)

    @contextmanager
    def _repairing(self) -> Iterator[None]:
        """Replace a collection that the store has lost, and go on."""
        try:
            yield
        except CollectionMissing:
            self.release()
            self._repairs += 1
            if not recreate_missing(self.document) and self._repairs > REPAIRS:
                raise  # otherwise the collection was swapped for another since the claim


@contextmanager
def released_on_error(document: BoundDocument, entries: Sequence[IndexEntry]) -> Iterator[None]:
    """Give the entries back if the block fails: at once if they could be indexed now, else after a delay."""
    queryset = IndexEntry.objects.of(document)
    try:
        yield
    except Exception as error:
        if isinstance(error, CollectionMissing | SetupError | Stopped):
            queryset.release(entries)
        elif isinstance(error, BackendUnavailable | DatabaseError):
            queryset.release(entries, backoff(max(entry.attempts for entry in entries)), str(error))
        else:  # one of them may be the cause: with a delay of its own, it is soon claimed without the others
            for entry in entries:
                queryset.release([entry], backoff(entry.attempts), f"{type(error).__name__}: {error}")
        raise
    except BaseException:
        queryset.release(entries)
        raise


def index_due(
    document: BoundDocument,
    *,
    product_ids: Sequence[str] | None = None,
    claiming: Callable[[], int] = lambda: BATCH,
    abandon: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Index what is due, or what of these products is, and yield a report for each batch.

    `claiming()` is called before each batch and returns its size, 0 for no more. Once `abandon()` returns
    True, batches under way are given back. Raises BackendUnavailable if something outside does not work now,
    and SetupError if the settings cannot work; in both cases the entries stay due.
    """
    with Pipeline(document, claiming, abandon) as pipeline:
        if product_ids is None:
            yield from pipeline.run()
            return
        ids = [document.point_id(product_id) for product_id in product_ids]
        for start in range(0, len(ids), ROWS_PER_STATEMENT):
            yield from pipeline.run(ids[start : start + ROWS_PER_STATEMENT])
