"""What a search returns, lazy and sliceable: `SearchResults` of rows, and `HitResults` of hits."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final, Generic, Self, TypeVar, overload

from asgiref.sync import sync_to_async
from django.db.models import Model

from ..exceptions import SearchTooDeep, UnknownFilter
from ..signals import search_performed
from ..stores.base import CLIP, Condition, ScoredPoint
from ..types import MODEL_SOURCE, Hit
from .filters import keyword_fields, parse_exclusion, parse_filters
from .ranking import DEPTH, Ranking
from .removal import schedule_removal

Row = TypeVar("Row", bound=Model)
Found = TypeVar("Found")

SPARES: Final = (0, 100, DEPTH)
"""How many ranks beyond a page are read if rows of it are gone: three tries, then the page stays short."""


class Results(Generic[Found]):
    """What the results of rows and of hits share: they are lazy, and their slices reach the store.

    They work with Django's Paginator and DRF's pagination. Using them raises SearchUnavailable; slicing them
    beyond rank 1,000 raises SearchTooDeep.
    """

    def __init__(self, ranking: Ranking, start: int = 0, stop: int | None = None) -> None:
        self.document = ranking.document
        self._ranking = ranking
        self._start = start
        self._stop = stop
        self._end = DEPTH if stop is None else min(stop, DEPTH)
        self._points: list[ScoredPoint] | None = None
        self._found: list[Found] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.document.name!r} from {self._start} to {self._end}>"

    @abstractmethod
    def _window(self, ranking: Ranking, start: int = 0, stop: int | None = None) -> Self:
        """Return results of the same kind for some ranks."""

    @abstractmethod
    def _read(self) -> list[Found]:
        """Return what is found at these ranks."""

    # What a list has.

    def __iter__(self) -> Iterator[Found]:
        return iter(self._all())

    @overload
    def __getitem__(self, key: int) -> Found: ...

    @overload
    def __getitem__(self, key: slice) -> Self: ...

    def __getitem__(self, key: int | slice) -> Found | Self:
        if not isinstance(key, slice):
            if key < 0:
                raise ValueError("Negative indexing is not supported: the end of a ranking is not known.")
            page = slice(key, key + 1)
            found = self[page]._all() if self._found is None else self._found[page]
            if not found:
                raise IndexError("No product is at this rank.")
            return found[0]
        if key.step is not None or (key.start or 0) < 0 or (key.stop or 0) < 0:
            raise ValueError("Slice results forwards, without a step.")
        start = self._start + (key.start or 0)
        stop = self._stop if key.stop is None else self._start + key.stop
        if self._stop is not None and stop is not None:
            stop = min(stop, self._stop)
        # A window that begins before DEPTH ends there, as `count()` does: the last page of a paginator may
        # exceed it. A window that begins at DEPTH is empty: DRF asks for it if the offset is the count.
        deep = start >= DEPTH if stop is None else stop > start > DEPTH
        if deep or (stop is not None and stop - start > DEPTH):
            raise SearchTooDeep(f"Results end at {DEPTH}: {start} to {stop} was asked for. Filter instead.")
        return self._window(self._ranking, start, stop)

    def __len__(self) -> int:
        return self.count() if self._found is None else len(self._found)

    def __bool__(self) -> bool:
        if self._stop is None and self._found is None:
            return bool(self[:1])
        return bool(self._all())

    # What a queryset has.

    def filter(self, **lookups: Any) -> Self:
        """Return the results that meet these lookups too, such as `price__lte=20`. Raises UnknownFilter."""
        return self._narrowed(parse_filters(self.document, lookups))

    def exclude(self, **lookups: Any) -> Self:
        """Return the results that do not meet all of these lookups. Raises UnknownFilter."""
        return self._narrowed(parse_exclusion(self.document, lookups))

    def _narrowed(self, conditions: list[Condition]) -> Self:
        if self._start or self._stop is not None:
            raise TypeError("Cannot filter results once a slice has been taken.")
        query = self._ranking.query
        query = replace(query, conditions=[*query.conditions, *conditions])
        return self._window(self._ranking.of(query))

    def count(self) -> int:
        """Return how many products there are to page through: at most 1,000."""
        return max(min(self._ranking.total(), self._end) - self._start, 0)

    def exists(self) -> bool:
        """Return whether anything is found."""
        return bool(self)

    def first(self) -> Found | None:
        """Return what is found first, or None."""
        return next(iter(self[:1]), None)

    # What only a search has.

    def facet(self, key: str, *, limit: int = 100) -> dict[str, int]:
        """Count what is found for each value of a keyword, the `limit` most frequent first.

        Empty values are not counted. Raises UnknownFilter.
        """
        if key not in (known := keyword_fields(self.document)):
            raise UnknownFilter(f"{key!r} is no keyword filter. There are: {', '.join(known) or 'none'}.")
        counts = self._ranking.facet(key, limit + 1)  # one of them may be ""
        return dict([(value, count) for value, count in counts.items() if value][:limit])

    def session(self) -> AbstractContextManager[None]:
        """Return a context manager in which a page, the count and facets open an embedded store only once."""
        return self._ranking.session()

    # The same for asynchronous code, in a thread.

    async def __aiter__(self) -> AsyncIterator[Found]:
        for found in await sync_to_async(self._all)():
            yield found

    async def acount(self) -> int:
        """Like `count()`."""
        return await sync_to_async(self.count)()

    async def aexists(self) -> bool:
        """Like `exists()`."""
        return await sync_to_async(self.exists)()

    async def afirst(self) -> Found | None:
        """Like `first()`."""
        return await sync_to_async(self.first)()

    # How it is read.

    def _all(self) -> list[Found]:
        if self._found is None:
            self._found = self._read()
        return self._found

    def _page(self) -> list[ScoredPoint]:
        """Return the points at these ranks."""
        if self._points is None:
            started = time.monotonic()
            self._points = self._ranking.page(self._start, self._end)
            search_performed.send_robust(
                sender=type(self.document.declaration),
                document=self.document.name,
                query=self._ranking.query,
                start=self._start,
                hits=len(self._points),
                seconds=time.monotonic() - started,
            )
        return self._points

    def _hits_with_rows(self) -> list[Hit]:
        """Return the hits with their rows. If a row is gone, the hits behind it move up."""
        shown: list[Hit] = []
        wanted = max(self._end - self._start, 0)
        for spare in SPARES:
            end = min(self._end + spare, DEPTH)
            points = self._ranking.page(self._start, end) if spare else self._page()
            shown = self._with_rows(points)
            nothing_gone, nothing_more = len(shown) == len(points), len(points) < end - self._start
            if len(shown) >= wanted or nothing_gone or nothing_more:
                break
        return shown[:wanted]

    def _with_rows(self, points: list[ScoredPoint]) -> list[Hit]:
        """Return the hits that may be shown. Products whose row is gone are to be removed."""
        document = self.document
        rows = document.find(document.queryset(), [point.stamp.product_id for point in points])
        shown, gone = [], {}
        for rank, point in enumerate(points, self._start):
            row = rows.get(point.stamp.product_id)
            if row is None and (point.stamp.source == MODEL_SOURCE or not self._ranking.is_with_posted):
                gone[rank] = point
            else:
                shown.append(_hit(point, row))
        if gone:
            schedule_removal(document, list(gone.values()))
            self._ranking.leave_out(gone)
        return shown


class SearchResults(Results[Row]):
    """The shop's rows in rank order, each with `search_score`.

    Posted products without a row in the shop are left out; `hits()` has them.
    """

    def hits(self, *, with_rows: bool = False) -> HitResults:
        """Return the same search as hits, lazy too, with posted products that have no row in the shop.

        With `with_rows` each hit's row is read and set as `instance`; hits whose row is gone are left out.
        """
        ranking = self._ranking.of(self._ranking.query, with_posted=True)
        return HitResults(ranking, self._start, self._stop, with_rows=with_rows)

    async def ahits(self, *, with_rows: bool = False) -> list[Hit]:
        """Return the hits at these ranks: see `hits()`."""
        return await sync_to_async(lambda: list(self.hits(with_rows=with_rows)))()

    def _window(self, ranking: Ranking, start: int = 0, stop: int | None = None) -> Self:
        return type(self)(ranking, start, stop)

    def _read(self) -> list[Row]:
        return [hit.instance for hit in self._hits_with_rows()]


class HitResults(Results[Hit]):
    """Hits in rank order: ids, scores and payloads."""

    def __init__(
        self, ranking: Ranking, start: int = 0, stop: int | None = None, *, with_rows: bool = False
    ) -> None:
        super().__init__(ranking, start, stop)
        self._reads_rows = with_rows

    def _window(self, ranking: Ranking, start: int = 0, stop: int | None = None) -> Self:
        return type(self)(ranking, start, stop, with_rows=self._reads_rows)

    def _read(self) -> list[Hit]:
        return self._hits_with_rows() if self._reads_rows else [_hit(point) for point in self._page()]


def _hit(point: ScoredPoint, instance: Any = None) -> Hit:
    if instance is not None:
        instance.search_score = point.score
    return Hit(
        product_id=point.stamp.product_id,
        score=point.score,
        payload={key: value for key, value in point.payload.items() if key != CLIP},
        source=point.stamp.source,
        instance=instance,
    )
