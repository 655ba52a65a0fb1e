"""`SearchResults`: what a search gives, lazy and sliceable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

from ..documents import Document
from ..exceptions import SearchTooDeep, UnknownFilter
from ..stores.base import CLIP, Found
from ..types import MODEL_SOURCE, Hit
from .filters import keyword_fields
from .ranking import DEPTH, Ranking
from .rows import raise_removal, rows_of

SPARES: Final = (0, 100, DEPTH)
"""How many ranks beyond a page are looked at while some of it turn out to be gone: three tries, then
the page is shown as it is."""


class SearchResults:
    """Products in rank order, lazy: nothing is asked until they are used.

    A slice is a SearchResults again, and its bounds reach the engine. Iterating gives model instances,
    each with `search_score`; `hits()` gives `Hit` values. Works in Django's Paginator and DRF's
    pagination. Using it raises SearchUnavailable; slicing it at DEPTH or beyond raises SearchTooDeep.

    A product that was posted and has no row in the shop keeps its place among the hits, and is passed
    over where instances are iterated.
    """

    def __init__(self, ranking: Ranking, start: int = 0, stop: int | None = None) -> None:
        self._ranking = ranking
        self._start = start
        self._stop = stop
        self._page: list[Found] | None = None
        self._shown: list[Hit] | None = None

    def __repr__(self) -> str:
        return f"<SearchResults of {self.document.name!r} from {self._start} to {self._end}>"

    @property
    def document(self) -> Document:
        """Whose products these are."""
        return self._ranking.document

    # What a list has.

    def __iter__(self) -> Iterator[Any]:
        return iter(self._instances())

    def __getitem__(self, key: int | slice) -> Any:
        if isinstance(key, slice):
            return self._slice(key)
        if key < 0:
            raise ValueError("Negative indexing is not supported: the end of a ranking is not known.")
        hits = self._slice(slice(key, key + 1))._resolved() if self._shown is None else self._shown[key:]
        if hits and hits[0].instance is not None:
            return hits[0].instance
        raise IndexError("No product is at this rank.")

    def __len__(self) -> int:
        return self.count() if self._shown is None else len(self._instances())

    def __bool__(self) -> bool:
        if self._stop is None and self._page is None:
            return bool(self[:1])
        return bool(self._raw() if self._shown is None else self._shown)

    def _slice(self, key: slice) -> SearchResults:
        if key.step is not None or (key.start or 0) < 0 or (key.stop or 0) < 0:
            raise ValueError("Slice results forwards, without a step.")
        start = self._start + (key.start or 0)
        stop = self._stop if key.stop is None else self._start + key.stop
        if self._stop is not None and stop is not None:
            stop = min(stop, self._stop)
        _check_depth(start, stop)
        return SearchResults(self._ranking, start, stop)

    # What only a search has.

    def count(self) -> int:
        """Return how many there are to page through: never more than DEPTH."""
        return max(min(self._ranking.total(), self._end) - self._start, 0)

    def hits(self, *, with_rows: bool = False) -> list[Hit]:
        """Return the hits, without touching the shop's rows.

        `with_rows` gives each hit its row as `instance`, and drops those whose row is gone.
        """
        if with_rows or self._shown is not None:
            return list(self._resolved())
        return [_hit(found) for found in self._raw()]

    def facet(self, key: str, *, limit: int = 100) -> dict[str, int]:
        """Count the products that are found, per value of a keyword, the `limit` most frequent first.

        An empty value is none. Raises UnknownFilter.
        """
        if key not in (known := keyword_fields(self.document)):
            raise UnknownFilter(f"{key!r} is no keyword filter. There are: {', '.join(known) or 'none'}.")
        counts = self._ranking.facet(key, limit + 1)  # one of them may be ""
        return dict([(value, count) for value, count in counts.items() if value][:limit])

    def held(self) -> AbstractContextManager[None]:
        """Ask for a page, the count and facets at the cost of opening an embedded store once."""
        return self._ranking.held()

    @property
    def _end(self) -> int:
        return DEPTH if self._stop is None else min(self._stop, DEPTH)

    def _raw(self) -> list[Found]:
        if self._page is None:
            self._page = self._ranking.found(self._start, self._end)
        return self._page

    def _instances(self) -> list[Any]:
        return [hit.instance for hit in self._resolved() if hit.instance is not None]

    def _resolved(self) -> list[Hit]:
        """Return the hits with their rows; where a row is gone, what is behind it moves up."""
        if self._shown is None:
            shown: list[Hit] = []
            wanted = max(self._end - self._start, 0)
            for spare in SPARES:
                end = min(self._end + spare, DEPTH)
                found = self._ranking.found(self._start, end) if spare else self._raw()
                shown = self._with_rows(found)
                nobody_is_gone, that_is_all = len(shown) == len(found), len(found) < end - self._start
                if len(shown) >= wanted or nobody_is_gone or that_is_all:
                    break
            self._shown = shown[:wanted]
        return self._shown

    def _with_rows(self, found: list[Found]) -> list[Hit]:
        """Return the hits that may be shown. Those of the shop whose row is gone are raised for removal."""
        rows = rows_of(self.document, found)
        gone = {
            rank: one
            for rank, one in enumerate(found, self._start)
            if one.stamp.source == MODEL_SOURCE and one.stamp.product_id not in rows
        }
        if gone:
            raise_removal(self.document, list(gone.values()))
            self._ranking.leave_out(gone)
        return [
            _hit(one, rows.get(one.stamp.product_id))
            for rank, one in enumerate(found, self._start)
            if rank not in gone
        ]


def _check_depth(start: int, stop: int | None) -> None:
    """Raise SearchTooDeep where a window lies too deep, or is larger than there are results.

    One that begins before DEPTH ends there, as `count()` does: the last one of a pager may reach over. One
    that begins just there is empty: DRF asks for it where the offset is the count.
    """
    deep = start >= DEPTH if stop is None else stop > start > DEPTH
    if deep or (stop is not None and stop - start > DEPTH):
        raise SearchTooDeep(f"Results end at {DEPTH}: {start} to {stop} was asked for. Filter instead.")


def _hit(found: Found, instance: Any = None) -> Hit:
    if instance is not None:
        instance.search_score = found.score
    return Hit(
        product_id=found.stamp.product_id,
        score=found.score,
        payload={key: value for key, value in found.payload.items() if key != CLIP},
        source=found.stamp.source,
        instance=instance,
    )
