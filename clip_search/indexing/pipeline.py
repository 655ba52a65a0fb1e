"""The stages of one document, run one after the other, with threads between them."""

from __future__ import annotations

import gc
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import cycle

from django.db import Error as DatabaseError

from ..documents import Document
from ..exceptions import CollectionMissing, SetupError, SurroundingsError
from ..models import ROWS_PER_STATEMENT, IndexEntry
from ..types import Report
from .embedding import Openers, Stopped, embed, split
from .items import Item
from .reading import Reading, items_of, look_up, read_contents
from .targets import Target, held, mend_missing, target
from .writing import backoff, finish, write

LEASE = timedelta(seconds=60)
"""How long a claim holds without being renewed: as long as the entries of a killed worker wait."""
AHEAD = 2
"""Batches under way at once: one is embedded while the next is decoded."""
SECONDS_A_LOOK = 0.5
"""How often, while the model works, it is asked whether to stop or to renew a lease."""
MENDINGS = 3
"""How often a run puts up with a collection that is not there."""
FEW = 8
"""New products that are embedded before the store is asked for them: to open it takes as long as one does."""
BATCH = 128
"""Entries a claim. Large enough to share the cost of statements and of opening a store."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Claimed entries on their way, and what the model does with those that need it."""

    goal: Target
    items: Sequence[Item]
    embedding: Future[None] | None = None

    @property
    def entries(self) -> list[IndexEntry]:
        return [item.entry for item in self.items]


class Pipeline:
    """The stages of one document, and the threads between them. Use as a context manager."""

    def __init__(
        self,
        document: Document,
        claiming: Callable[[], int],
        abandon: Callable[[], bool],
        readings: Mapping[uuid.UUID, Reading],
    ) -> None:
        self.document = document
        self.claiming = claiming
        self.abandon = abandon
        self.readings = readings
        self._openers = Openers()
        self._model = ThreadPoolExecutor(1, thread_name_prefix="clip_search-embed")
        self._mended = 0
        self._waiting: deque[Batch] = deque()
        self._embeds = True
        self._most = BATCH
        self._renewed = time.monotonic()
        self._generations = cycle([0] * 9 + [1])  # of Python's collector: the second has what batches held

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()  # first, because a storage that hangs keeps a thread, and so this process, waiting
        self._openers.shut_down()
        self._model.shutdown(cancel_futures=True)

    def release(self) -> None:
        """Give back what is claimed and not finished."""
        for batch in self._waiting:
            IndexEntry.objects.of(self.document).release(batch.entries)
        self._waiting.clear()

    def run(self, only: Sequence[uuid.UUID] | None = None) -> Iterator[Report]:
        """Index what is due, batch by batch, until nothing is. Raises SurroundingsError, SetupError."""
        target(self.document)  # where the set-up is at fault, no entry is touched
        while True:
            with self._mending():
                self._renew()
                done = self._embedded() if self._is_ready() else None
                entries = self._claim(only)
                if not entries and not self._waiting:
                    return
                if not entries:
                    done = self._embedded()
                if report := self._turn(done, entries):
                    yield report
            gc.collect(next(self._generations))  # a row and what was prefetched for it hold each other

    def _claim(self, only: Sequence[uuid.UUID] | None) -> list[IndexEntry]:
        """Claim a batch; a large one where nothing is embedded, as opening the store then costs the most."""
        self._most = self.claiming()
        if not self._most:
            return []
        size = self._most if self._embeds else max(self._most, ROWS_PER_STATEMENT)
        return IndexEntry.objects.of(self.document).claim(size, LEASE, only)

    def _turn(self, done: Batch | None, entries: Sequence[IndexEntry]) -> Report | None:
        """Write what is embedded and what needs no model, and start the rest: the store is opened once.

        It is never open while the database is written to: there might be somebody who does the reverse.
        """
        batches = [done] if done else []
        try:
            with released_on_error(
                self.document, [*entries, *(e for batch in batches for e in batch.entries)]
            ):
                # After the claim: a collection that began before it holds what is indexed of these entries.
                goal = target(self.document)
                renew = partial(self._renew, entries)
                contents = read_contents(self.document, entries, self.readings, renew)
                items = items_of(goal, entries, contents)
                look = bool(done) or not few_and_new(entries)
                with held(goal, *(batch.goal for batch in batches)) if look else nullcontext():
                    if done:
                        write(done.goal, done.items)
                    if look:
                        look_up(goal, items, vectors=True)
                    heavy, light = split(items)
                    if light:
                        write(goal, light)
                        batches.append(Batch(goal, light))
                if entries:
                    self._start(goal, heavy)
                reports = [finish(batch.goal, batch.items) for batch in batches]
                return Report.total(reports) if reports else None
        finally:
            if done:
                self._waiting.popleft()

    def _start(self, goal: Target, items: Sequence[Item]) -> None:
        """Let the threads go at what needs the model; what is too much at once is given back."""
        self._embeds = bool(items)
        items, surplus = items[: self._most], items[self._most :]
        if surplus:
            IndexEntry.objects.of(self.document).release([item.entry for item in surplus])
        if items:
            for item in items:
                self._openers.open(item, goal.encoder)
            embedding = self._model.submit(embed, goal, items, self.abandon)
            self._waiting.append(Batch(goal, items, embedding))

    def _is_ready(self) -> bool:
        """Say whether to take a batch back: it is done, or no more may be under way."""
        first = self._waiting[0].embedding if self._waiting else None
        return first is not None and (first.done() or len(self._waiting) >= AHEAD)

    def _embedded(self) -> Batch:
        """Return the oldest batch under way, once the model is done with it. Raises Stopped."""
        batch = self._waiting[0]
        with released_on_error(self.document, batch.entries):
            if batch.embedding:
                self._await(batch.embedding)
        return batch

    def _await(self, embedding: Future[None]) -> None:
        """Wait for the model, and hold on to the claims meanwhile. Raises Stopped."""
        while not wait([embedding], timeout=SECONDS_A_LOOK).done:
            if self.abandon():
                raise Stopped  # the model, or a storage, may take longer than there is time
            self._renew()
        embedding.result()

    def _renew(self, entries: Sequence[IndexEntry] = ()) -> None:
        """Hold on to the claims of these and of all under way, once a third of their time has passed."""
        if time.monotonic() < self._renewed + LEASE.total_seconds() / 3:
            return
        self._renewed = time.monotonic()
        claimed = [entry for batch in self._waiting for entry in batch.entries]
        IndexEntry.objects.of(self.document).renew([*claimed, *entries], LEASE)

    @contextmanager
    def _mending(self) -> Iterator[None]:
        try:
            yield
        except CollectionMissing:
            self.release()
            self._mended += 1
            if not mend_missing(self.document) and self._mended > MENDINGS:
                raise  # otherwise the collection was swapped for another since the claim


def few_and_new(entries: Sequence[IndexEntry]) -> bool:
    """Say whether the store most likely has none of these, and little is lost if it has."""
    return len(entries) <= FEW and all(entry.indexed_at is None for entry in entries)


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
    claiming: Callable[[], int] = lambda: BATCH,
    abandon: Callable[[], bool] = lambda: False,
    readings: Mapping[uuid.UUID, Reading] | None = None,
) -> Iterator[Report]:
    """Index what is due, or what of these products is, and yield a report a batch.

    `claiming()` is asked before each batch how large it is to be: 0 for no more. What is under way is given
    back once `abandon()` is true. `readings` spare reading again what was raised for their sake. Raises
    SurroundingsError when something outside does not work now, and SetupError when the settings cannot
    work; in both cases the entries are due as before.
    """
    with Pipeline(document, claiming, abandon, readings or {}) as pipeline:
        if product_ids is None:
            yield from pipeline.run()
            return
        ids = [document.point_id(product_id) for product_id in product_ids]
        for start in range(0, len(ids), ROWS_PER_STATEMENT):
            yield from pipeline.run(ids[start : start + ROWS_PER_STATEMENT])
