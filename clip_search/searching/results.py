"""`SearchResults`: what a search returns, lazy and sliceable."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final, Generic, TypeVar, overload

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

SPARES: Final = (0, 100, DEPTH)
"""How many ranks beyond a page are read if rows of it are gone: three tries, then the page stays short."""


class SearchResults(Generic[Row]):
    """Products in rank order, lazy: nothing is asked until they are used.

    A slice is a SearchResults again, and its bounds reach the store. Iterating yields model instances, each
    with `search_score`; `hits()` returns `Hit` values. Works with Django's Paginator and DRF's pagination.
    Using it raises SearchUnavailable if search cannot answer. Slicing it beyond rank 1,000 raises
    SearchTooDeep.

    A posted product without a row in the shop keeps its rank among the hits, and is skipped when instances
    are iterated.
    """

    def __init__(self, ranking: Ranking, start: int = 0, stop: int | None = None) -> None:
        self.document = ranking.document
        self._ranking = ranking
        self._start = start
        self._stop = stop
        self._end = DEPTH if stop is None else min(stop, DEPTH)
        self._points: list[ScoredPoint] | None = None
        self._shown: list[Hit] | None = None

    def __repr__(self) -> str:
        return f"<SearchResults of {self.document.name!r} from {self._start} to {self._end}>"

    # What a list has.

    def __iter__(self) -> Iterator[Row]:
        return iter([hit.instance for hit in self._hits() if hit.instance is not None])

    @overload
    def __getitem__(self, key: int) -> Row: ...

    @overload
    def __getitem__(self, key: slice) -> SearchResults[Row]: ...

    def __getitem__(self, key: int | slice) -> Row | SearchResults[Row]:
        if not isinstance(key, slice):
            return self._at(key)
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
        return SearchResults(self._ranking, start, stop)

    def _at(self, rank: int) -> Row:
        if rank < 0:
            raise ValueError("Negative indexing is not supported: the end of a ranking is not known.")
        page = slice(rank, rank + 1)
        hits = self[page]._hits() if self._shown is None else self._shown[page]
        if not hits or hits[0].instance is None:
            raise IndexError("No product is at this rank.")
        return hits[0].instance  # type: ignore[no-any-return]

    def __len__(self) -> int:
        if self._shown is None:
            return self.count()
        return sum(hit.instance is not None for hit in self._shown)

    def __bool__(self) -> bool:
        if self._stop is None and self._points is None:
            return bool(self[:1])
        return bool(self._read() if self._shown is None else self._shown)

    # What a queryset has.

    def filter(self, **lookups: Any) -> SearchResults[Row]:
        """Return the results that meet these lookups too, such as `price__lte=20`. Raises UnknownFilter."""
        return self._narrowed(parse_filters(self.document, lookups))

    def exclude(self, **lookups: Any) -> SearchResults[Row]:
        """Return the results that do not meet all of these lookups. Raises UnknownFilter."""
        return self._narrowed(parse_exclusion(self.document, lookups))

    def _narrowed(self, conditions: list[Condition]) -> SearchResults[Row]:
        if self._start or self._stop is not None:
            raise TypeError("Cannot filter results once a slice has been taken.")
        query = self._ranking.query
        query = replace(query, conditions=[*query.conditions, *conditions])
        return SearchResults(Ranking(self.document, query))

    def count(self) -> int:
        """Return how many products there are to page through: at most 1,000."""
        return max(min(self._ranking.total(), self._end) - self._start, 0)

    def exists(self) -> bool:
        """Return whether anything is found."""
        return bool(self)

    def first(self) -> Row | None:
        """Return the first product, or None."""
        for page in (self[:1], self):  # the first hits may be posted products without a row
            for row in page:
                return row
        return None

    # What only a search has.

    def hits(self, *, with_rows: bool = False) -> list[Hit]:
        """Return the hits, without reading the shop's rows.

        `with_rows` sets each hit's row as `instance`, and leaves out hits whose row is gone.
        """
        if with_rows or self._shown is not None:
            return list(self._hits())
        return [_hit(point) for point in self._read()]

    def facet(self, key: str, *, limit: int = 100) -> dict[str, int]:
        """Count the products that are found for each value of a keyword, the `limit` most frequent first.

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

    async def __aiter__(self) -> AsyncIterator[Row]:
        for row in await sync_to_async(lambda: list(self))():
            yield row

    async def acount(self) -> int:
        """Like `count()`."""
        return await sync_to_async(self.count)()

    async def aexists(self) -> bool:
        """Like `exists()`."""
        return await sync_to_async(self.exists)()

    async def afirst(self) -> Row | None:
        """Like `first()`."""
        return await sync_to_async(self.first)()

    async def ahits(self, *, with_rows: bool = False) -> list[Hit]:
        """Like `hits()`."""
        return await sync_to_async(self.hits)(with_rows=with_rows)

    # How it is read.

    def _read(self) -> list[ScoredPoint]:
        """Return the points of this page."""
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

    def _hits(self) -> list[Hit]:
        """Return the hits with their rows. If a row is gone, the hits behind it move up."""
        if self._shown is None:
            shown: list[Hit] = []
            wanted = max(self._end - self._start, 0)
            for spare in SPARES:
                end = min(self._end + spare, DEPTH)
                points = self._ranking.page(self._start, end) if spare else self._read()
                shown = self._with_rows(points)
                nothing_gone, nothing_more = len(shown) == len(points), len(points) < end - self._start
                if len(shown) >= wanted or nothing_gone or nothing_more:
                    break
            self._shown = shown[:wanted]
        return self._shown

    def _with_rows(self, points: list[ScoredPoint]) -> list[Hit]:
        """Return the hits that may be shown. Products of the shop whose row is gone are to be removed."""
        document = self.document
        rows = document.find(document.queryset(), [point.stamp.product_id for point in points])
        shown, gone = [], {}
        for rank, point in enumerate(points, self._start):
            row = rows.get(point.stamp.product_id)
            if row is None and point.stamp.source == MODEL_SOURCE:
                gone[rank] = point
            else:
                shown.append(_hit(point, row))
        if gone:
            schedule_removal(document, list(gone.values()))
            self._ranking.leave_out(gone)
        return shown


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
