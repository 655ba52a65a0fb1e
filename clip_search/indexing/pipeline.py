"""Index the due entries of one document: claim, read, load images, embed, write, finish.

    claim ─▶ read ─▶ load images ─▶ embed ─▶ write ─▶ finish
             rows,   threads        one      store    entries
             points                 thread

While one batch is embedded, the images of the next batch are loaded. At most `BATCHES_UNDER_WAY` batches are
between reading and writing at any time. When a batch is embedded, the store is opened once: the batch is
written, and the stored points of the newly claimed entries are read.
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

from ..cores import cores
from ..documents.binding import BoundDocument
from ..encoders.base import SMALLEST_BATCH
from ..exceptions import BackendUnavailable, CollectionMissing, SetupError
from ..models import IndexEntry
from ..models.paging import ROWS_PER_STATEMENT, chunks
from ..models.retries import end_interrupted_transaction
from ..types import Report
from .collections import recreate_missing
from .delays import backoff
from .embedding import ImageLoader, Stopped, embed, split_by_embedding
from .items import Item
from .reading import read_items, read_points
from .targets import Target, get_target, opened
from .upgrading import prepare_for_words
from .vocabulary import add_words
from .writing import finish, refusals_recorded, write

LEASE = timedelta(seconds=60)
"""How long a claim lasts if it is not renewed. The entries of a killed worker wait this long."""
BATCHES_UNDER_WAY = 2
"""The most batches between reading and writing: one is embedded while the images of another are loaded."""
POLL_SECONDS = 0.5
"""How often the pipeline, while it waits for the CLIP model, checks whether to stop or to renew claims."""
MAX_RETRIES = 3
"""How often a pipeline tries again after CollectionMissing if no collection is missing."""
BATCH = 128
"""Entries per claim: enough that the SQL statements and opening the store cost little for each entry."""
LARGE_BATCH = ROWS_PER_STATEMENT


@dataclass(frozen=True, slots=True)
class Batch:
    """Claimed entries with the content of their products, and the future of their embedding.

    `embedding` is None if no item of the batch needs embedding.
    """

    target: Target
    items: Sequence[Item]
    embedding: Future[None] | None = None

    @property
    def entries(self) -> list[IndexEntry]:
        """Return the claimed entries of the batch."""
        return [item.entry for item in self.items]


class Pipeline:
    """Indexes the due entries of one document. It is a context manager that ends its threads on exit."""

    def __init__(
        self,
        document: BoundDocument,
        next_batch_size: Callable[[], int],
        should_abandon: Callable[[], bool],
        threads: int,
    ) -> None:
        self.document = document
        self.next_batch_size = next_batch_size
        self.should_abandon = should_abandon
        self._loader = ImageLoader(threads)
        self._embedding_thread = ThreadPoolExecutor(1, thread_name_prefix="clip_search-embed")
        self._is_closing = False
        self._retries = 0
        self._under_way: deque[Batch] = deque()
        self._last_needed_embedding = True
        self._limit = BATCH
        self._renewed = time.monotonic()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self._is_closing = True  # after an exception, such as Ctrl-C, the rest of a batch is not embedded
        if kind and not issubclass(kind, Exception | GeneratorExit):
            end_interrupted_transaction(self.document.using)
        self.release()  # first, because a thread that waits for a storage may delay the end of this method
        self._loader.shut_down()
        self._embedding_thread.shutdown(cancel_futures=True)

    def release(self) -> None:
        """Release the claims on all entries that are not finished."""
        for batch in self._under_way:
            IndexEntry.objects.of(self.document).release(batch.entries)
        self._under_way.clear()

    def run(self, only: Sequence[uuid.UUID] | None = None) -> Iterator[Report]:
        """Index due entries, batch by batch, and yield a report for each, until nothing is due.

        With `only`, other entries than those with these uuids are left alone. Raises BackendUnavailable,
        SetupError, Stopped, DatabaseError.
        """
        get_target(self.document)  # creates the first collection; if this raises, no entry is claimed
        while True:
            with self._recreating_collections():
                self._renew()
                first = self._under_way[0].embedding if self._under_way else None
                is_full = len(self._under_way) >= BATCHES_UNDER_WAY
                must_take_first = first is not None and (first.done() or is_full)
                embedded = self._wait_for_oldest() if must_take_first else None
                self._limit = self.next_batch_size()
                # If the previous batch needed no embedding, most of the time goes into opening the store. So
                # claim more entries each time.
                size = self._limit if self._last_needed_embedding else max(self._limit, LARGE_BATCH)
                queryset = IndexEntry.objects.of(self.document)
                entries = queryset.claim(size, LEASE, only) if self._limit else []
                if not entries and not self._under_way:
                    return
                if not entries:
                    embedded = self._wait_for_oldest()
                if report := self._step(embedded, entries):
                    yield report

    def _step(self, embedded: Batch | None, entries: Sequence[IndexEntry]) -> Report | None:
        """Write the embedded batch, read the new entries, write those that need no embedding, embed the rest.

        Return the report of all that was written, or None. The database is never written to while the store
        is open: a process that locks the two in the other order would deadlock with this one.
        """
        batches = [embedded] if embedded else []
        try:
            with released_on_error(self.document, [*entries, *(embedded.entries if embedded else ())]):
                # The target is read after the claim. So it has every collection that was created before the
                # claim, and these entries are written to all of them.
                target = get_target(self.document)
                prepare_for_words(target)
                items = read_items(target, entries, partial(self._renew, entries))
                targets = [target, *(batch.target for batch in batches)]
                with refusals_recorded(*targets), opened(*targets):
                    if embedded:
                        write(embedded.target, embedded.items)
                    read_points(target, items, vectors=True)
                    to_embed, ready = split_by_embedding(items)
                    if ready:
                        write(target, ready)
                        batches.append(Batch(target, ready))
                if entries:
                    self._start(target, to_embed)
                reports = [finish(batch.target, batch.items) for batch in batches]
                add_words(self.document, (item for batch in batches for item in batch.items))
                return Report.total(reports) if reports else None
        finally:
            if embedded:
                self._under_way.popleft()

    def _start(self, target: Target, items: Sequence[Item]) -> None:
        """Start to load and embed the items in threads. Items beyond the batch size lose their claim."""
        self._last_needed_embedding = bool(items)
        items, surplus = items[: self._limit], items[self._limit :]
        if surplus:
            IndexEntry.objects.of(self.document).release([item.entry for item in surplus])
        if items:
            for item in items:
                self._loader.load(item, target.encoder)
            embedding = self._embedding_thread.submit(embed, target.encoder, items, self._must_stop)
            self._under_way.append(Batch(target, items, embedding))

    def _wait_for_oldest(self) -> Batch:
        """Return the oldest batch under way when it is embedded. Claims are renewed while waiting.

        Raises Stopped, and the errors of embedding.
        """
        batch = self._under_way[0]
        with released_on_error(self.document, batch.entries):
            if batch.embedding:
                while not wait([batch.embedding], timeout=POLL_SECONDS).done:
                    if self.should_abandon():
                        raise Stopped  # embedding may take longer than the time that is left to stop
                    self._renew()
                batch.embedding.result()
        return batch

    def _must_stop(self) -> bool:
        """Return whether the embedding thread has to stop after the images that are being embedded."""
        return self._is_closing or self.should_abandon()

    def _renew(self, entries: Sequence[IndexEntry] = ()) -> None:
        """Renew the claims on `entries` and on the entries of all batches under way.

        Does nothing until a third of the lease has passed since the last renewal.
        """
        if time.monotonic() < self._renewed + LEASE.total_seconds() / 3:
            return
        self._renewed = time.monotonic()
        claimed = [entry for batch in self._under_way for entry in batch.entries]
        IndexEntry.objects.of(self.document).renew([*claimed, *entries], LEASE)

    @contextmanager
    def _recreating_collections(self) -> Iterator[None]:
        """Release all claims if the block raises CollectionMissing, and recreate what the store has lost."""
        try:
            yield
        except CollectionMissing:
            self.release()
            if not recreate_missing(self.document):  # a rebuild swapped the collection since the claim
                self._retries += 1
                if self._retries > MAX_RETRIES:
                    raise


@contextmanager
def released_on_error(document: BoundDocument, entries: Sequence[IndexEntry]) -> Iterator[None]:
    """Release the claims on the entries if the block raises, and raise the error again.

    The entries stay pending. After CollectionMissing, SetupError, Stopped and an interrupt they are due at
    once; after any other error they are due after a delay, which counts as a failed try.
    """
    queryset = IndexEntry.objects.of(document)
    try:
        yield
    except Exception as error:
        if isinstance(error, CollectionMissing):
            queryset.release(entries)
        elif isinstance(error, SetupError):
            queryset.release(entries, error=str(error))
        elif isinstance(error, BackendUnavailable | DatabaseError):
            queryset.release(entries, backoff(max(entry.attempts for entry in entries)), str(error))
        else:
            # One of the entries may be the cause. Each gets its own random delay, so that it is soon claimed
            # without the others.
            for entry in entries:
                queryset.release([entry], backoff(entry.attempts), f"{type(error).__name__}: {error}")
        raise
    except BaseException:
        end_interrupted_transaction(document.using)
        queryset.release(entries)
        raise


def fair_share(document: BoundDocument, processes: int, most: int = BATCH) -> int:
    """Return how many entries one of several processes should claim at once: the fewer are due, the fewer.

    With a constant number, one process would claim the last entries while the others are idle. This is guided
    self-scheduling (Polychronopoulos & Kuck, IEEE Transactions on Computers C-36, 1987). With one process, or
    if many entries are due, it is `most`.
    """
    if processes == 1:
        return most
    shares = BATCHES_UNDER_WAY * processes
    due = IndexEntry.objects.of(document).due()[: shares * most].count()
    return max(min(SMALLEST_BATCH, most), due // shares)


def index_due(
    document: BoundDocument,
    *,
    product_ids: Sequence[str] | None = None,
    next_batch_size: Callable[[], int] = lambda: BATCH,
    should_abandon: Callable[[], bool] = lambda: False,
    threads: int | None = None,
) -> Iterator[Report]:
    """Index the due entries of a document, or only those of `product_ids`, and yield a report for each batch.

    `next_batch_size()` is called before each claim; when it returns 0, no more entries are claimed. When
    `should_abandon()` returns True, the claims on unfinished entries are released and Stopped is raised.
    Images are loaded in `threads` threads, by default one for each core.
    Raises BackendUnavailable if something outside, such as Qdrant, does not work now, SetupError if the
    settings are wrong, and DatabaseError. After any error, the unfinished entries stay pending.
    """
    with Pipeline(document, next_batch_size, should_abandon, threads or cores()) as pipeline:
        if product_ids is None:
            yield from pipeline.run()
            return
        ids = [document.point_id(product_id) for product_id in product_ids]
        for some in chunks(ids):
            yield from pipeline.run(some)
