"""The facts about one document: what is indexed, what waits, and what is in its collections."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.models import Count, Min
from django.utils import timezone

from ..documents.binding import BoundDocument
from ..exceptions import (
    ClipSearchError,
    CollectionMismatch,
    CollectionMissing,
    ForeignCollection,
    SetupError,
    StoreRefused,
    StoreUnavailable,
)
from ..indexing.collections import is_compatible
from ..indexing.counting import PointCount, count_entries, count_points
from ..indexing.rebuilding import next_step
from ..models import Collection, IndexEntry, RelatedChange, Run
from ..stores import get_store
from ..stores.base import CLIP, Condition, Query
from ..stores.identity import check_contents
from ..types import IMAGE
from .findings import MISSING, STORE
from .values import CollectionStatus, DocumentStatus, ModelStatus, Reason, RunStatus

State = IndexEntry.State
TRUNCATED = Condition(key=f"{CLIP}.truncated", operator="eq", value=True)
WITHOUT_IMAGE = Condition(key=IMAGE, operator="has_vector", value=True, negated=True)
REASONS = 10
"""How many error texts are listed for each state."""
IDS = 5
"""How many product ids are listed for each error text, and of truncated texts."""


class Fault(NamedTuple):
    """Why a collection cannot be used or counted."""

    code: str
    message: str


class StoreProbe:
    """Counts points. After the store has not answered once, it is not asked again, to save the time."""

    def __init__(self) -> None:
        self.error = ""
        """Why the store does not answer, or ""."""

    def count(self, document: BoundDocument, collection: Collection) -> PointCount | Fault:
        """Return the number of points in a collection, or why it cannot be counted."""
        if self.error:
            return Fault(STORE, self.error)
        try:
            if collection.is_active and collection.is_ours:
                check_contents(get_store(), collection.name, collection.dimension)
            return count_points(document, collection)
        except CollectionMismatch as error:
            return Fault("foreign_collection", str(error))
        except CollectionMissing:
            name = collection.name
            return Fault(
                MISSING,
                f"the store has lost the collection {name}: run `manage.py clip_reindex {document.name}`",
            )
        except StoreRefused as error:  # which may be because of this collection
            return Fault("store_refused", str(error))
        except (StoreUnavailable, SetupError) as error:
            self.error = str(error)
            return Fault(STORE, self.error)


def document_status(document: BoundDocument, model: ModelStatus, store: StoreProbe) -> DocumentStatus:
    """Return the facts about a document. Raises DatabaseError and InvalidDeclaration."""
    rows = list(Collection.objects.of(document).order_by("generation", "pk"))
    counts = {row: store.count(document, row) for row in rows}
    live = next((row for row in rows if row.state == Collection.State.LIVE), None)
    counted = counts[live] if live else None
    found = counted if isinstance(counted, PointCount) else None
    without_image, truncated, truncated_ids = _point_facts(live if found else None)
    comparable = live is not None and live.is_ours and model.fingerprint in ("", live.fingerprint)
    since, changes = _pending_since(document)
    return DocumentStatus(
        name=document.name,
        model=document.model._meta.label,
        rows=document.queryset().count(),
        entries=found.entries if found else count_entries(document),
        pending_since=since,
        related_changes=changes,
        pending_reasons=_reasons(document, State.PENDING),
        failed_reasons=_reasons(document, State.FAILED),
        points=found.points if found else None,
        points_differ=comparable and found is not None and found.differs,
        without_image=without_image,
        truncated=truncated,
        truncated_ids=truncated_ids,
        collections=[_collection_status(document, row, counts[row], model) for row in rows],
        last_run=_last_run(document),
    )


def _collection_status(
    document: BoundDocument, row: Collection, counted: PointCount | Fault, model: ModelStatus
) -> CollectionStatus:
    fault = counted if isinstance(counted, Fault) else Fault("", "")
    try:
        row.check_installation()
    except ForeignCollection as error:
        fault = Fault("foreign_collection", str(error))
    return CollectionStatus(
        name=row.name,
        state=row.state,
        generation=row.generation,
        dimension=row.dimension,
        fingerprint=row.fingerprint,
        installation=row.installation,
        has_configured_model=row.fingerprint == model.fingerprint if model.fingerprint else None,
        fits_max_images=is_compatible(row, document),
        has_words=row.has_words,
        is_leased=row.lease is not None and row.lease > timezone.now(),
        next_step=next_step(row),
        points=counted.points if isinstance(counted, PointCount) else None,
        is_exact=not isinstance(counted, PointCount) or counted.is_exact,
        error_code=fault.code,
        error=fault.message,
        refusal=row.refusal,
        refused_at=row.refused_at,
    )


def _point_facts(live: Collection | None) -> tuple[int | None, int | None, Sequence[str]]:
    """Return how many points have no image and a truncated text, and product ids of the latter."""
    if live is None:
        return None, None, ()
    try:
        with get_store().session(live.name):
            without_image = get_store().count(live.name, conditions=[WITHOUT_IMAGE])
            return without_image, *find_truncated(live)
    except ClipSearchError:  # it has just answered, and the next call will say what is wrong
        return None, None, ()


def find_truncated(collection: Collection) -> tuple[int, list[str]]:
    """Return how many texts are longer than the CLIP model reads, and some of their product ids.

    Raises StoreUnavailable.
    """
    count = get_store().count(collection.name, conditions=[TRUNCATED])
    if not count:
        return 0, []
    points = get_store().query(collection.name, Query(conditions=[TRUNCATED], limit=IDS))
    return count, [point.stamp.product_id for point in points]


def _pending_since(document: BoundDocument) -> tuple[datetime | None, int]:
    """Return since when the oldest pending entry or related change waits, and the number of the latter."""
    pending = IndexEntry.objects.of(document).filter(state=State.PENDING)
    changes = RelatedChange.objects.using(document.using).filter(document=document.name)
    times = [
        pending.aggregate(since=Min("pending_since"))["since"],
        changes.aggregate(since=Min("created_at"))["since"],
    ]
    return min(filter(None, times), default=None), changes.count()


def _reasons(document: BoundDocument, state: str) -> list[Reason]:
    """Return the error texts of the entries in a state, the most frequent first."""
    entries = IndexEntry.objects.of(document).filter(state=state).exclude(error="")
    counted = entries.order_by().values_list("error").annotate(count=Count("pk"))
    return [
        Reason(
            reason=reason,
            count=count,
            product_ids=list(
                entries.filter(error=reason).order_by("product_id").values_list("product_id", flat=True)[:IDS]
            ),
        )
        for reason, count in counted.order_by("-count", "error")[:REASONS]
    ]


def _last_run(document: BoundDocument) -> RunStatus | None:
    run = Run.objects.of(document).order_by("-started_at").first()
    if run is None:
        return None
    return RunStatus(started_at=run.started_at, ended_at=run.ended_at, counts=run.counts, error=run.error)
