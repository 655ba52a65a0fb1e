"""Count a collection's points, and compare the number with the index entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import Count
from django.utils.translation import ngettext

from ..documents.binding import BoundDocument
from ..models import Collection, IndexEntry
from ..stores import get_store

State = IndexEntry.State


@dataclass(frozen=True, slots=True, kw_only=True)
class PointCount:
    """The number of points in a collection, and the number of its document's entries in each state."""

    points: int
    entries: Mapping[str, int]
    is_exact: bool
    """False if the server counts approximately only."""
    is_settled: bool
    """True if no entry is pending, and none has changed while the points were counted."""

    @property
    def expected(self) -> range:
        """The numbers of points that fit the entries. Some of the products that failed have a point."""
        indexed = self.entries[State.INDEXED]
        return range(indexed, indexed + self.entries[State.FAILED] + 1)

    @property
    def differs(self) -> bool:
        """Whether there are more or fewer points than the entries say, as after a restored backup."""
        return self.is_exact and self.is_settled and self.points not in self.expected


def count_points(document: BoundDocument, collection: Collection) -> PointCount:
    """Count the points of a collection of this document. Raises StoreUnavailable."""
    before = count_entries(document)
    points = get_store().count(collection.name)
    return PointCount(
        points=points,
        entries=before,
        is_exact=get_store().counts_exactly(collection.name),
        is_settled=not before[State.PENDING] and before == count_entries(document),
    )


def difference(document: str, points: int, indexed: int) -> str:
    """Return a sentence for a collection with other points than its document's entries say."""
    said = ngettext("%d point", "%d points", points) % points
    return (
        f"the collection of {document} has {said}, but {indexed} of its products are indexed: "
        f"run `manage.py clip_verify {document}`"
    )


def count_entries(document: BoundDocument) -> dict[str, int]:
    """Return the number of the document's entries in each state."""
    entries = IndexEntry.objects.of(document).order_by()
    found = dict(entries.values_list("state").annotate(Count("pk")))
    return {state: found.get(state, 0) for state in State.values}
