"""Finding what must be indexed anew: the walk over every row, and the products behind related changes."""

from __future__ import annotations

import gc
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.db import Error as DatabaseError
from django.db import connections, models, transaction
from django.utils import timezone

from . import indexing
from .documents import Document
from .models import IndexEntry, PostedProduct, RelatedChange
from .types import MODEL_SOURCE, POSTED_SOURCE, Content, ImageStamp, Report

logger = logging.getLogger(__name__)

WALK = 2000
"""Rows a page of the walk: for each, the embedded store is opened, which takes as long as comparing 500."""
COMPARED = ("uuid", "product_id", "source", "state", "revision", "claimed_revision")
"""What the walk asks of an entry."""
PAGE = 500
"""Products a step of an expanded change, and rows a step of the housekeeping."""
TOMBSTONES_KEPT = timedelta(days=30)
"""Longer than any worker stalls: until then a tombstone fences out what it would still write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of the walk: which of its products need indexing, and how many do not."""

    changed: Sequence[str]
    source: str = MODEL_SOURCE
    unchanged: Report = Report()  # noqa: RUF009 -- frozen
    gone: bool = False
    readings: Mapping[uuid.UUID, indexing.Reading] = field(default_factory=dict)
    """Of those that need no model: what they say."""


# The walk.


def walk(
    document: Document, *, only: Sequence[str] | None = None, page: int = WALK, readings: bool = False
) -> Iterator[Page]:
    """Compare every row with its point, in pages by primary key, and yield what differs.

    Nothing is written, no image is opened and no model loaded. With `only`, these products are compared, and
    those that failed differ: what was wrong may be mended without a sign of it. With `readings`, a page has
    what was read of products that need no model, and with that their rows. Raises StoreUnavailable,
    ModelChanged.
    """
    readings = readings and document.rows_are_products
    for entries, rows, unknown in _rows(document, only, page):
        yield compare(document, rows, entries, unknown, readings=readings, retry=only is not None)
    posted = PostedProduct.objects.of(document)
    if only is not None:
        posted = posted.filter(uuid__in=[document.point_id(product_id) for product_id in only])
    for products in _pages(posted, "pk", page):
        yield compare_posted(document, products, retry=only is not None)
    yield from gone(document, only=only, page=page)


def raise_changed(document: Document, pages: Iterable[Page]) -> Iterator[Report]:
    """Raise what the walk finds, page by page, and yield the counts of what it leaves alone.

    What pages have readings of is indexed at once, and counted too.
    """
    for page in pages:
        IndexEntry.objects.raise_revision(document, page.changed, source=page.source, take=False)
        yield page.unchanged
        if page.readings:
            ids = [reading.content.product_id for reading in page.readings.values()]
            yield from indexing.index_due(document, product_ids=ids, readings=page.readings)
        del page  # and the rows that its readings hold, before the next page is read


def _rows(
    document: Document, only: Sequence[str] | None, size: int
) -> Iterator[tuple[dict[uuid.UUID, IndexEntry], list[Any], list[str]]]:
    """Yield the entries of a page, its rows, and the ids of products that have no entry.

    Where rows are products, entries are read first: a row that was read after its entry says at least what
    was saved before that entry's revision. And a page that has none of them needs no rows.
    """
    asked = _asked(document, only)
    for keys in _pages(asked.prefetch_related(None).values_list("pk", named=True), "pk", size):
        page = asked.filter(pk__gte=keys[0].pk, pk__lte=keys[-1].pk)
        if document.rows_are_products:
            rows, there = [], [str(key.pk) for key in keys]
        else:
            rows = [row for row in page if document.may_qualify(row)]
            there = [document.product_id(row) for row in rows]
        ids = {document.point_id(product_id): product_id for product_id in there}
        entries = _entries(document, ids)
        if document.rows_are_products and entries:
            rows = list(page)
        yield entries, rows, [product_id for key, product_id in ids.items() if key not in entries]
        del page  # it has the rows too
        rows.clear()


def _asked(document: Document, only: Sequence[str] | None) -> models.QuerySet[Any]:
    if only is None:
        return document.rows()
    return document.rows().filter(pk__in=[row.pk for row in document.resolve(only).values()])


def compare(
    document: Document,
    rows: Sequence[Any],
    entries: Mapping[uuid.UUID, IndexEntry],
    unknown: Sequence[str],
    *,
    readings: bool = False,
    retry: bool = False,
) -> Page:
    """Say which of these rows, as far as they have one of these entries, differ from their points.

    The `unknown`, which have none, do in any case, and with `retry` those that failed.
    """
    ids = {document.point_id(document.product_id(row)): row for row in rows}
    removed = IndexEntry.State.REMOVED
    theirs = {
        key for key, e in entries.items() if e.source == POSTED_SOURCE and e.state != removed
    }  # whoever raised it last is its source
    mine = {key: row for key, row in ids.items() if key in entries and key not in theirs}
    contents = {key: indexing.content_or_fault(document.content, row) for key, row in mine.items()}
    page = _compare(document, [entries[key] for key in mine], contents, readings=readings, retry=retry)
    return replace(page, changed=[*page.changed, *unknown])


def compare_posted(document: Document, products: Sequence[PostedProduct], *, retry: bool = False) -> Page:
    """Say which of these posted products, where theirs is the last word, differ from their points."""
    entries = _entries(document, [product.uuid for product in products])
    mine = [p for p in products if p.uuid in entries and entries[p.uuid].source == POSTED_SOURCE]
    contents = {product.uuid: indexing.content_or_fault(product.content, document) for product in mine}
    theirs = [entries[product.uuid] for product in mine]
    return _compare(document, theirs, contents, source=POSTED_SOURCE, retry=retry)


def _compare(
    document: Document,
    entries: Sequence[IndexEntry],
    contents: Mapping[uuid.UUID, Content | str],
    *,
    source: str = MODEL_SOURCE,
    readings: bool = False,
    retry: bool = False,
) -> Page:
    goal = indexing.target(document)
    items = indexing.items_of(goal, entries, contents)
    indexing.look_up(goal, items)
    differing = {item.id: item for item in items if _differs(item, retry)}
    rest = [item for item in items if item.id not in differing]
    return Page(
        changed=[item.entry.product_id for item in differing.values()],
        source=source,
        unchanged=Report.total(map(_count, rest)),
        readings={
            key: indexing.Reading(revision=item.entry.revision, content=item.content)
            for key, item in differing.items()
            if readings and item.content and _needs_no_model(item)
        },
    )


def _count(item: indexing.Item) -> Report:
    """Count a product that stays as it is; one that is due already is counted when it is indexed."""
    if item.entry.state == IndexEntry.State.PENDING:
        return Report()
    without_image = int(item.content is not None and not item.content.images)
    if item.entry.state == IndexEntry.State.FAILED:
        return Report(failed=1, without_image=without_image)
    return Report(unchanged=1, without_image=without_image)


def _differs(item: indexing.Item, retry: bool) -> bool:
    """Say whether the point must be written anew, judging images by their signatures alone.

    What failed is too where nothing that is wrong with it is seen any more, or to `retry` it in any case.
    """
    if item.entry.state == IndexEntry.State.REMOVED or item.error:
        return True
    known = {image.signature: image for image in item.known.images} if item.known else {}
    item.stamps = tuple(
        known.get(source.signature, ImageStamp(signature=source.signature, hash=""))
        for source in item.sources
    )
    failed = IndexEntry.State.FAILED
    if item.entry.state == failed and (retry or indexing.state_of(item)[0] != failed):
        return True
    expected = len(item.points) > 0
    return not expected or not all(indexing.same(p.stamp, item.stamp) for p in item.points.values())


def _needs_no_model(item: indexing.Item) -> bool:
    """Say whether a product that differs does so in nothing that was embedded, going by its stamps."""
    if item.known is None or any(image.error for image in item.stamps):
        return False
    return (item.known.text_hash, item.known.images) == (item.stamp.text_hash, item.stamps)


def _entries(document: Document, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, IndexEntry]:
    """Return the entries of those ids, with what the walk asks of them: all would take twice as long."""
    entries = IndexEntry.objects.of(document).filter(uuid__in=list(ids))
    return {entry.uuid: entry for entry in entries.only(*COMPARED)}


def gone(document: Document, *, only: Sequence[str] | None = None, page: int = WALK) -> Iterator[Page]:
    """Yield the products that are in the index and whose rows are gone or qualify no longer."""
    entries = IndexEntry.objects.of(document).filter(source=MODEL_SOURCE)
    entries = entries.exclude(state=IndexEntry.State.REMOVED).only("product_id")
    if only is not None:
        entries = entries.filter(uuid__in=[document.point_id(product_id) for product_id in only])
    for found in _pages(entries, "pk", page):
        ids = [entry.product_id for entry in found]
        missing = set(ids) - document.qualifying(ids)
        if missing:
            yield Page(changed=sorted(missing), gone=True)


def _pages(queryset: models.QuerySet[Any], key: str, size: int) -> Iterator[list[Any]]:
    """Yield lists of rows in the order of a unique key; each query starts where the last one ended.

    A list is emptied when the next is asked for, so that one page is in memory, never two.
    """
    ordered, last = queryset.order_by(key), None
    while rows := list((ordered if last is None else ordered.filter(**{f"{key}__gt": last}))[:size]):
        last = getattr(rows[-1], key)
        yield rows
        rows.clear()
        gc.collect(0)  # a row and what is prefetched for it hold each other


def orphans(document: Document, *, page: int = WALK) -> Iterator[Page]:
    """Yield the products that have a point, and no entry that says so: the store knows more than we do."""
    goal = indexing.target(document)
    for collection in goal.collections:
        last: uuid.UUID | None = None
        while points := goal.store.scroll(collection.name, after=last, limit=page):
            last = points[-1].id
            living = {point.id: point.stamp.product_id for point in points if not point.stamp.removed}
            there = IndexEntry.objects.of(document).filter(uuid__in=list(living))
            known = set(there.exclude(state=IndexEntry.State.REMOVED).values_list("uuid", flat=True))
            unknown = [product_id for key, product_id in living.items() if key not in known]
            if unknown:
                yield Page(changed=unknown, gone=True)


# Related changes.


def expand_related(document: Document, *, goes_on: Callable[[], bool] = lambda: True) -> list[str]:
    """Raise the products behind every related change of a document, while it goes on. Returns their ids.

    A change that cannot be followed, because the host's code raises or its model is gone, stays and is
    logged each time; it keeps nothing else waiting.
    """
    changes = RelatedChange.objects.using(document.using).filter(document=document.name)
    raised: list[str] = []
    broken: list[int] = []
    while goes_on():
        with transaction.atomic(using=document.using):
            change = _first_free(changes.exclude(pk__in=broken))
            if change is None:
                return raised
            try:
                with transaction.atomic(using=document.using):
                    raised += _step(document, change)
            except DatabaseError:
                raise
            except Exception:
                logger.exception("Cannot follow a related change, it stays change=%s", change)
                broken.append(change.pk)
    return raised


def _first_free(changes: models.QuerySet[RelatedChange]) -> RelatedChange | None:
    if connections[changes.db].features.has_select_for_update_skip_locked:
        changes = changes.select_for_update(skip_locked=True)
    return changes.order_by("pk").first()


def _step(document: Document, change: RelatedChange) -> list[str]:
    """Raise the next products of a change, and record how far that is; the last step removes the change."""
    listed = change.product_ids is not None  # products that were saved, not what they are related to
    rows, cursor = (_listed if listed else _found)(document, change)
    IndexEntry.objects.raise_revision(document, rows, take=listed)
    if cursor:  # as an update, because a worker on a database without SKIP LOCKED may have removed it
        RelatedChange.objects.using(document.using).filter(pk=change.pk).update(cursor=cursor)
    else:
        change.delete(using=document.using)
    return rows


def _listed(document: Document, change: RelatedChange) -> tuple[list[str], str]:
    start = int(change.cursor or 0)
    ids = change.product_ids or []
    return ids[start : start + PAGE], str(start + PAGE) if start + PAGE < len(ids) else ""


def _found(document: Document, change: RelatedChange) -> tuple[list[str], str]:
    model = apps.get_model(change.model)
    related = model._base_manager.using(document.using).filter(pk=change.object_id)
    keys = related.values(f"{change.path}__pk")
    queryset = document.model._base_manager.using(document.using).filter(pk__in=keys).order_by("pk")
    rows = list((queryset.filter(pk__gt=change.cursor) if change.cursor else queryset)[:PAGE])
    return document.product_ids(rows), str(rows[-1].pk) if len(rows) == PAGE else ""


# Housekeeping.


def purge_tombstones(document: Document) -> int:
    """Remove the entries and the tombstones of what was removed long ago. Returns how many."""
    old = IndexEntry.objects.of(document).filter(
        state=IndexEntry.State.REMOVED, claim=None, indexed_at__lt=timezone.now() - TOMBSTONES_KEPT
    )
    goal, purged = indexing.target(document), 0
    for entries in _pages(old, "pk", PAGE):
        ids = [entry.uuid for entry in entries]
        for collection in goal.collections:
            goal.store.purge(collection.name, ids)
        keys = [entry.pk for entry in entries]
        purged += old.filter(pk__in=keys).delete()[0]
    return purged
