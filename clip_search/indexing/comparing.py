"""Compare the shop with the index: which products need indexing, and which points stand for nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import models

from ..documents.binding import BoundDocument
from ..models import IndexEntry, PostedProduct
from ..models.paging import pages
from ..types import MODEL_SOURCE, POSTED_SOURCE, Content, ImageStamp, Report
from .items import Item, is_same_content
from .reading import read_content, read_points, read_posted
from .targets import get_target
from .writing import state_of

ROWS_A_PAGE = 2000
"""For each page the embedded store is opened, which takes as long as comparing 500 products."""
COMPARED = ("uuid", "product_id", "source", "state", "revision", "claimed_revision")
"""The columns of an entry that comparing needs: to read all of them takes twice as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The result for one page: the ids of products that need indexing, and the counts of the others."""

    changed: Sequence[str]
    source: str = MODEL_SOURCE
    unchanged: Report = Report()  # noqa: RUF009 -- frozen
    is_stale: bool = False
    """Whether the products are to be removed from the index."""


def compare(
    document: BoundDocument, *, only: Sequence[str] | None = None, size: int = ROWS_A_PAGE
) -> Iterator[Page]:
    """Compare every row with its point, in pages by primary key, and yield what differs.

    Nothing is written, no image is opened and no model is loaded. With `only`, these product ids are
    compared, and those that failed count as changed: the fault may have been corrected without a trace.
    Raises StoreUnavailable, ModelChanged.
    """
    retry = only is not None
    for entries, rows, unknown in _rows(document, only, size):
        yield compare_rows(document, rows, entries, unknown, retry=retry)
    posted = PostedProduct.objects.of(document)
    if only is not None:
        posted = posted.filter(uuid__in=[document.point_id(product_id) for product_id in only])
    for products in pages(posted, size):
        yield compare_posted(document, products, retry=retry)
    yield from stale(document, only=only, size=size)


def mark_changed(document: BoundDocument, found: Iterable[Page]) -> Iterator[Report]:
    """Mark the products that differ as changed, page by page, and yield the counts of the others."""
    for page in found:
        IndexEntry.objects.mark_changed(document, page.changed, source=page.source, take_over=False)
        yield page.unchanged


def _rows(
    document: BoundDocument, only: Sequence[str] | None, size: int
) -> Iterator[tuple[dict[uuid.UUID, IndexEntry], list[Any], list[str]]]:
    """Yield the entries of a page, its rows, and the ids of products that have no entry.

    If rows are products, a page without any entry needs no rows.
    """
    asked = _asked(document, only)
    for keys in pages(asked.prefetch_related(None).values_list("pk", named=True), size):
        page = asked.filter(pk__gte=keys[0].pk, pk__lte=keys[-1].pk)
        rows: list[Any] = []
        product_ids = [str(key.pk) for key in keys]
        if not document.rows_are_products:
            with document.in_its_language():
                rows = [row for row in page if document.may_qualify(row)]
                product_ids = [document.declaration.product_id(row) for row in rows]
        ids = {document.point_id(product_id): product_id for product_id in product_ids}
        entries = _entries(document, ids)
        if document.rows_are_products and entries:
            with document.in_its_language():
                rows = list(page)
        yield entries, rows, [product_id for key, product_id in ids.items() if key not in entries]
        del page  # it has the rows too
        rows.clear()


def _asked(document: BoundDocument, only: Sequence[str] | None) -> models.QuerySet[Any]:
    rows = document.rows()
    if only is None:
        return rows
    return rows.filter(pk__in=[row.pk for row in document.find(rows, only).values()])


def compare_rows(
    document: BoundDocument,
    rows: Sequence[Any],
    entries: Mapping[uuid.UUID, IndexEntry],
    unknown: Sequence[str],
    *,
    retry: bool = False,
) -> Page:
    """Compare rows that have one of these entries with their points.

    The `unknown`, which have no entry, count as changed, and with `retry` those that failed.
    """
    ids = {document.point_id(document.declaration.product_id(row)): row for row in rows}
    posted = {  # the last caller decided what these are made from
        key
        for key, entry in entries.items()
        if entry.source == POSTED_SOURCE and entry.state != IndexEntry.State.REMOVED
    }
    own = {key: row for key, row in ids.items() if key in entries and key not in posted}
    with document.in_its_language():
        contents = {key: read_content(document, row) for key, row in own.items()}
    page = _compare(document, [entries[key] for key in own], contents, retry=retry)
    return replace(page, changed=[*page.changed, *unknown])


def compare_posted(
    document: BoundDocument, products: Sequence[PostedProduct], *, retry: bool = False
) -> Page:
    """Compare posted products with their points, without those that were saved by the shop since."""
    entries = _entries(document, [product.uuid for product in products])
    own = [p for p in products if p.uuid in entries and entries[p.uuid].source == POSTED_SOURCE]
    contents = read_posted(document, own)
    theirs = [entries[product.uuid] for product in own]
    return _compare(document, theirs, contents, source=POSTED_SOURCE, retry=retry)


def _compare(
    document: BoundDocument,
    entries: Sequence[IndexEntry],
    contents: Mapping[uuid.UUID, Content | str],
    *,
    source: str = MODEL_SOURCE,
    retry: bool = False,
) -> Page:
    target = get_target(document)
    items = []
    for entry in entries:
        found = contents[entry.uuid]
        content, error = (None, found) if isinstance(found, str) else (found, "")
        items.append(Item(entry=entry, fingerprint=target.encoder.fingerprint, content=content, error=error))
    read_points(target, items)
    changed, unchanged = [], []
    for item in items:
        if _differs(item, retry):
            changed.append(item.entry.product_id)
        else:
            unchanged.append(_count(item))
    return Page(changed=changed, source=source, unchanged=Report.total(unchanged))


def _differs(item: Item, retry: bool) -> bool:
    """Return whether the point must be written again, judging images by their signatures alone.

    What failed counts as changed if nothing is visibly wrong with it any more, or with `retry` in any case.
    """
    if item.entry.state == IndexEntry.State.REMOVED or item.error or item.content is None:
        return True
    known = {image.signature: image for image in item.reusable.stamp.images} if item.reusable else {}
    item.stamps = tuple(
        known.get(source.signature, ImageStamp(signature=source.signature, hash=""))
        for source in item.content.images
    )
    failed = IndexEntry.State.FAILED
    if item.entry.state == failed and (retry or state_of(item)[0] != failed):
        return True
    return not item.points or not all(is_same_content(p.stamp, item.stamp) for p in item.points.values())


def _count(item: Item) -> Report:
    """Return the counts of a product that stays as it is. One that is due is counted when it is indexed."""
    if item.entry.state == IndexEntry.State.PENDING:
        return Report()
    without_image = int(item.content is not None and not item.content.images)
    if item.entry.state == IndexEntry.State.FAILED:
        return Report(failed=1, without_image=without_image)
    return Report(unchanged=1, without_image=without_image)


def _entries(document: BoundDocument, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, IndexEntry]:
    """Return the entries of those ids, with the columns that comparing needs."""
    entries = IndexEntry.objects.of(document).filter(uuid__in=list(ids))
    return {entry.uuid: entry for entry in entries.only(*COMPARED)}


def stale(
    document: BoundDocument, *, only: Sequence[str] | None = None, size: int = ROWS_A_PAGE
) -> Iterator[Page]:
    """Yield the products in the index whose rows are gone or do not qualify any more."""
    entries = IndexEntry.objects.of(document).filter(source=MODEL_SOURCE)
    entries = entries.exclude(state=IndexEntry.State.REMOVED).only("product_id")
    if only is not None:
        entries = entries.filter(uuid__in=[document.point_id(product_id) for product_id in only])
    for found in pages(entries, size):
        ids = [entry.product_id for entry in found]
        missing = set(ids) - document.qualifying(ids)
        if missing:
            yield Page(changed=sorted(missing), is_stale=True)


def orphans(document: BoundDocument, *, size: int = ROWS_A_PAGE) -> Iterator[Page]:
    """Yield the products with a point but without an entry, as after a restored database."""
    target = get_target(document)
    for collection in target.collections:
        last: uuid.UUID | None = None
        while points := target.store.scroll(collection.name, after=last, limit=size):
            last = points[-1].id
            living = {point.id: point.stamp.product_id for point in points if not point.stamp.removed}
            entries = IndexEntry.objects.of(document).filter(uuid__in=list(living))
            known = set(entries.exclude(state=IndexEntry.State.REMOVED).values_list("uuid", flat=True))
            unknown = [product_id for key, product_id in living.items() if key not in known]
            if unknown:
                yield Page(changed=unknown, is_stale=True)
