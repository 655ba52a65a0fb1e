"""The lazy lists that a search returns: `SearchResults` contains rows, `HitResults` contains hits."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final, Generic, Self, TypeVar, overload

from asgiref.sync import sync_to_async
from django.db.models import Model

from ..documents.fields import LABELS
from ..signals import search_performed
from ..stores.base import CLIP, Condition
from ..types import MODEL_SOURCE, Facet, Hit
from .facets import parse_facets
from .filters import parse_exclusion, parse_filters
from .ordering import parse_order
from .ranking import RankedPoint, Ranking
from .removal import schedule_removal

Row = TypeVar("Row", bound=Model)
Found = TypeVar("Found")

SPARE_RANKS: Final = (0, 100, 1000)
"""How many more ranks each try reads if rows of a page no longer exist.

After three tries, the page stays short.
"""


class Results(Generic[Found]):
    """A lazy list of results: a slice reads only its own ranks from the store.

    It works with Django's Paginator and DRF's pagination. Using it raises SearchUnavailable if the index or
    the CLIP model cannot be used.
    """

    def __init__(self, ranking: Ranking, start: int = 0, stop: int | None = None) -> None:
        self.document = ranking.document
        self._ranking = ranking
        self._start = start
        self._stop = stop
        self._points: list[RankedPoint] | None = None
        self._found: list[Found] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.document.name!r} from {self._start} to {self._stop}>"

    @abstractmethod
    def _window(self, ranking: Ranking, start: int = 0, stop: int | None = None) -> Self:
        """Return results of the same class for the ranks from `start` to `stop` - 1."""

    @abstractmethod
    def _read(self) -> list[Found]:
        """Return the results at these ranks: rows or hits, depending on the class."""

    # The methods of a list.

    def __iter__(self) -> Iterator[Found]:
        return iter(self._all())

    @overload
    def __getitem__(self, key: int) -> Found: ...

    @overload
    def __getitem__(self, key: slice) -> Self: ...

    def __getitem__(self, key: int | slice) -> Found | Self:
        if not isinstance(key, slice):
            if key < 0:
                raise ValueError("Negative indexing is not supported.")
            page = slice(key, key + 1)
            found = self[page]._all() if self._found is None else self._found[page]
            if not found:
                raise IndexError(f"There is no result {key}: the list is shorter.")
            return found[0]
        if key.step is not None or (key.start or 0) < 0 or (key.stop or 0) < 0:
            raise ValueError("A slice of results can have neither a step nor a negative start or stop.")
        start = self._start + (key.start or 0)
        stop = self._stop if key.stop is None else self._start + key.stop
        if self._stop is not None and stop is not None:
            stop = min(stop, self._stop)
        return self._window(self._ranking, start, stop)

    def __len__(self) -> int:
        return self.count() if self._found is None else len(self._found)

    def __bool__(self) -> bool:
        if self._stop is None and self._found is None:
            return bool(self[:1])
        return bool(self._all())

    # The methods of a queryset.

    def filter(self, **lookups: Any) -> Self:
        """Return only the results that meet these filters, such as `price__lte=20`.

        Raises UnknownFilter, BadFilterValue.
        """
        return self._narrowed(parse_filters(self.document, lookups))

    def exclude(self, **lookups: Any) -> Self:
        """Return the results without those that meet all of these filters.

        Raises UnknownFilter, BadFilterValue.
        """
        return self._narrowed(parse_exclusion(self.document, lookups))

    def _narrowed(self, conditions: list[Condition]) -> Self:
        """Return new results that meet these conditions too."""
        if self._start or self._stop is not None:
            raise TypeError("Cannot filter results once a slice has been taken.")
        query = self._ranking.query
        query = replace(query, conditions=[*query.conditions, *conditions])
        return self._window(self._ranking.with_query(query))

    def order_by(self, *names: str) -> Self:
        """Return the same results sorted by filters, such as `order_by("price", "-released")`.

        A "-" before the name reverses the order; "relevance" stands for the order that a search has. Without
        names, the results have that order again. Products without a value come last, and those with equal
        values are sorted by relevance. Raises UnknownFilter.
        """
        order = parse_order(self.document, names)
        if self._start or self._stop is not None:
            raise TypeError("Cannot reorder results once a slice has been taken.")
        return self._window(self._ranking.with_query(self._ranking.query, order=order))

    def count(self) -> int:
        """Return the number of results."""
        total = self._ranking.total()
        return max((total if self._stop is None else min(total, self._stop)) - self._start, 0)

    def exists(self) -> bool:
        """Return True if there is a result."""
        return bool(self)

    def first(self) -> Found | None:
        """Return the first result, or None if there is none."""
        return next(iter(self[:1]), None)

    # Methods that neither a list nor a queryset has.

    def facets(self, *names: str, limit: int = 100, **options: Any) -> dict[str, Facet]:
        """Return, for each of these filters, its values with the number of products that have them.

        Without names, all filters are counted. For a number, `price=[10, 20]` gives the bounds between which
        products are counted; for a date, `released="month"` gives the period. A keyword has at most `limit`
        values, in a tree at each place.

        Every product that the query finds is counted, even outside the slice. Each facet is counted without
        the filters on itself. Raises UnknownFilter, BadFilterValue.
        """
        return self._ranking.facets(parse_facets(self.document, names, options), limit)

    @property
    def corrected(self) -> str:
        """The query with its spelling corrected, such as "teapot" for "teapto", or ""."""
        reading = self._ranking.reading()
        return reading.corrected if reading else ""

    @property
    def dropped(self) -> tuple[str, ...]:
        """The words that no product has, and that were left out of the query."""
        reading = self._ranking.reading()
        return reading.dropped if reading else ()

    @property
    def closest(self) -> Self:
        """The products that are nearest in meaning, if nothing is found: at most 12, otherwise none.

        They are not results: neither the count, nor the facets, nor the order speak of them.
        """
        return self._window(self._ranking.with_query(self._ranking.query, is_closest=True))

    def session(self) -> AbstractContextManager[None]:
        """Return a context manager that opens an embedded store once for all that its block reads.

        Without this, the page, the count and the facets open the store again.
        """
        return self._ranking.session()

    # The same methods for asynchronous code. Each runs in a thread.

    async def __aiter__(self) -> AsyncIterator[Found]:
        for found in await sync_to_async(self._all)():
            yield found

    async def acount(self) -> int:
        """Return `count()`, computed in a thread."""
        return await sync_to_async(self.count)()

    async def aexists(self) -> bool:
        """Return `exists()`, computed in a thread."""
        return await sync_to_async(self.exists)()

    async def afirst(self) -> Found | None:
        """Return `first()`, computed in a thread."""
        return await sync_to_async(self.first)()

    # Reading the results.

    def _all(self) -> list[Found]:
        """Return all results of this slice. They are read once."""
        if self._found is None:
            self._found = self._read()
        return self._found

    def _page(self) -> list[RankedPoint]:
        """Return the points at the ranks of this slice, and send `search_performed` when they are read."""
        if self._points is None:
            started = time.monotonic()
            self._points = self._ranking.page(self._start, self._stop)
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
        """Return the hits with their rows.

        Hits whose row no longer exists are left out; later hits fill the page.
        """
        if self._stop is None:
            return self._with_rows(self._page())
        shown: list[Hit] = []
        wanted = max(self._stop - self._start, 0)
        for spare in SPARE_RANKS:
            end = self._stop + spare
            points = self._ranking.page(self._start, end) if spare else self._page()
            shown = self._with_rows(points)
            all_shown, no_more = len(shown) == len(points), len(points) < end - self._start
            if len(shown) >= wanted or all_shown or no_more:
                break
        return shown[:wanted]

    def _with_rows(self, points: list[RankedPoint]) -> list[Hit]:
        """Return the hits that may be shown, with their rows.

        Hits whose row no longer exists are left out, and their removal from the index is scheduled. A posted
        product needs no row if the ranking is `with_posted`.
        """
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
            schedule_removal(document, [point.stamp.product_id for point in gone.values()])
            self._ranking.leave_out(gone)
        return shown


class SearchResults(Results[Row]):
    """The rows of the products that a search found, best first. Each row has an attribute `search_score`.

    Posted products that have no row in the shop are left out; `hits()` includes them.
    """

    def hits(self, *, with_rows: bool = False) -> HitResults:
        """Return the results as a lazy list of hits, which includes posted products that have no row.

        With `with_rows=True`, each hit's row is read and set as `instance`, and hits whose row no longer
        exists are left out.
        """
        ranking = self._ranking.with_query(self._ranking.query, with_posted=True)
        return HitResults(ranking, self._start, self._stop, with_rows=with_rows)

    async def ahits(self, *, with_rows: bool = False) -> list[Hit]:
        """Return the list of hits that `hits()` describes, read in a thread."""
        return await sync_to_async(lambda: list(self.hits(with_rows=with_rows)))()

    def _window(self, ranking: Ranking, start: int = 0, stop: int | None = None) -> Self:
        return type(self)(ranking, start, stop)

    def _read(self) -> list[Row]:
        return [hit.instance for hit in self._hits_with_rows()]


class HitResults(Results[Hit]):
    """The products that a search found, best first, as `Hit` objects: product id, score and payload."""

    def __init__(
        self, ranking: Ranking, start: int = 0, stop: int | None = None, *, with_rows: bool = False
    ) -> None:
        super().__init__(ranking, start, stop)
        self._reads_rows = with_rows

    def _window(self, ranking: Ranking, start: int = 0, stop: int | None = None) -> Self:
        return type(self)(ranking, start, stop, with_rows=self._reads_rows)

    def _read(self) -> list[Hit]:
        return self._hits_with_rows() if self._reads_rows else [_hit(point) for point in self._page()]


def _hit(point: RankedPoint, instance: Any = None) -> Hit:
    """Return a point as a hit. If its row is given as `instance`, set `search_score` on the row."""
    if instance is not None:
        instance.search_score = point.place.score
    return Hit(
        product_id=point.stamp.product_id,
        score=point.place.score,
        basis=point.place.basis,
        relevance=point.place.relevance,
        payload={key: value for key, value in point.payload.items() if key not in (CLIP, LABELS)},
        source=point.stamp.source,
        instance=instance,
    )
