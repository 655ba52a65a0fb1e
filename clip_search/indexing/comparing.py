"""Compare the shop with the index: find products that need indexing, and points without a product."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import models

from ..documents.binding import BoundDocument
from ..models import IndexEntry, PostedProduct
from ..models.paging import pages
from ..types import MODEL_SOURCE, POSTED_SOURCE, Content, ImageStamp, Report
from .items import Item, is_same_content
from .reading import read_consistent_points, read_content, read_points, read_posted
from .targets import get_target
from .writing import state_of

ROWS_PER_PAGE = 2000
"""How many rows are compared at once.

The embedded store is opened for each page, which takes as long as comparing 500 products.
"""
COMPARED = ("uuid", "product_id", "source", "state", "revision", "claimed_revision")
"""The only columns of an entry that are read here: reading all columns takes twice as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The result of comparing one page of rows.

    `changed` contains the product ids that need indexing; `unchanged` counts the other products.
    """

    changed: Sequence[str]
    source: str = MODEL_SOURCE
    unchanged: Report = Report()  # noqa: RUF009 -- frozen
    is_stale: bool = False
    """True if the changed products must be removed from the index."""
    not_compared: str = ""
    """Why the replicas of the points could not be compared with each other, or ""."""


def compare(
    document: BoundDocument,
    *,
    only: Sequence[str] | None = None,
    size: int = ROWS_PER_PAGE,
    replicas: bool = False,
    words: Counter[str] | None = None,
) -> Iterator[Page]:
    """Compare every row and every posted product with its stored point, and yield the result of each page.

    Nothing is written, no image is opened, and the CLIP model is not loaded. With `only`, just these product
    ids are compared, and products that failed before count as changed, because their cause may be gone: an
    image may have been repaired in the storage, for example. With `replicas`, products whose point is not the
    same in all replicas count as changed. If `words` is given, the words of every product are counted in it,
    and products without an entry are read too. Raises StoreUnavailable, ModelChanged, ForeignCollection.
    """
    retry = only is not None
    for entries, rows, unknown in _rows(document, only, size, read_all=words is not None):
        yield compare_rows(document, rows, entries, unknown, retry=retry, replicas=replicas, words=words)
    posted = PostedProduct.objects.of(document)
    if only is not None:
        posted = posted.filter(uuid__in=[document.point_id(product_id) for product_id in only])
    for products in pages(posted, size):
        yield compare_posted(document, products, retry=retry, replicas=replicas, words=words)
    yield from stale(document, only=only, size=size)


def mark_changed(
    document: BoundDocument, found: Iterable[Page], *, unconfirmed: bool = False
) -> Iterator[Report]:
    """Mark the changed products of each page as pending, and yield the counts of its unchanged products.

    With `unconfirmed`, their points are written even if indexing reads a replica that has not changed.
    """
    for page in found:
        IndexEntry.objects.mark_changed(
            document, page.changed, source=page.source, take_over=False, unconfirmed=unconfirmed
        )
        yield page.unchanged


def _rows(
    document: BoundDocument, only: Sequence[str] | None, size: int, *, read_all: bool = False
) -> Iterator[tuple[dict[uuid.UUID, IndexEntry], list[Any], list[str]]]:
    """Yield for each page: its entries by point id, its rows, and the ids of products that have no entry.

    If each row is a product, the rows of a page without entries are not read, unless `read_all`: all its
    products are new.
    """
    selected = _selected_rows(document, only)
    for keys in pages(selected.prefetch_related(None).values_list("pk", named=True), size):
        page = selected.filter(pk__gte=keys[0].pk, pk__lte=keys[-1].pk)
        rows: list[Any] = []
        product_ids = [str(key.pk) for key in keys]
        if not document.rows_are_products:
            with document.in_its_language():
                rows = [row for row in page if document.may_qualify(row)]
                product_ids = [document.declaration.product_id(row) for row in rows]
        ids = {document.point_id(product_id): product_id for product_id in product_ids}
        entries = _entries(document, ids)
        if document.rows_are_products and (entries or read_all):
            with document.in_its_language():
                rows = list(page)
        yield entries, rows, [product_id for key, product_id in ids.items() if key not in entries]
        del page  # this queryset caches the rows, and would keep them in memory
        rows.clear()


def _selected_rows(document: BoundDocument, only: Sequence[str] | None) -> models.QuerySet[Any]:
    """Return the document's rows, or only those of the product ids in `only`."""
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
    replicas: bool = False,
    words: Counter[str] | None = None,
) -> Page:
    """Compare rows with their stored points, and return the result.

    `unknown` are ids of products without an entry; they count as changed. With `retry`, products that failed
    before count as changed too. Products that were posted after their row was saved are left to
    `compare_posted()`.
    """
    ids = {document.point_id(document.declaration.product_id(row)): row for row in rows}
    posted = {
        key
        for key, entry in entries.items()
        if entry.source == POSTED_SOURCE and entry.state != IndexEntry.State.REMOVED
    }
    own = {key: row for key, row in ids.items() if key in entries and key not in posted}
    new = [row for key, row in ids.items() if key not in entries] if words is not None else []
    with document.in_its_language():
        contents = {key: read_content(document, row) for key, row in own.items()}
        _count_words(document, words, contents.values())
        _count_words(document, words, (read_content(document, row) for row in new))
    page = _compare(document, [entries[key] for key in own], contents, retry=retry, replicas=replicas)
    return replace(page, changed=[*page.changed, *unknown])


def compare_posted(
    document: BoundDocument,
    products: Sequence[PostedProduct],
    *,
    retry: bool = False,
    replicas: bool = False,
    words: Counter[str] | None = None,
) -> Page:
    """Compare posted products with their stored points, and return the result.

    Products whose row the shop saved after they were posted are left out: the row is indexed instead.
    """
    entries = _entries(document, [product.uuid for product in products])
    own = [p for p in products if p.uuid in entries and entries[p.uuid].source == POSTED_SOURCE]
    contents = read_posted(document, own)
    _count_words(document, words, contents.values())
    theirs = [entries[product.uuid] for product in own]
    return _compare(document, theirs, contents, source=POSTED_SOURCE, retry=retry, replicas=replicas)


def _count_words(
    document: BoundDocument, words: Counter[str] | None, contents: Iterable[Content | str]
) -> None:
    """Count the words of products. An error text is no product."""
    if words is not None:
        for content in contents:
            if isinstance(content, Content):
                words.update(document.analyser.vocabulary_of(content.searched))


def _compare(
    document: BoundDocument,
    entries: Sequence[IndexEntry],
    contents: Mapping[uuid.UUID, Content | str],
    *,
    source: str = MODEL_SOURCE,
    retry: bool = False,
    replicas: bool = False,
) -> Page:
    """Compare the content of each entry's product with its stored point, and return the result.

    `contents` has the content, or an error text, by point id.
    """
    target = get_target(document)
    items = []
    for entry in entries:
        found = contents[entry.uuid]
        content, error = (None, found) if isinstance(found, str) else (found, "")
        items.append(target.item(entry, content, error))
    not_compared = ""
    if replicas:
        not_compared = read_consistent_points(target, items)
    else:
        read_points(target, items)
    changed, unchanged = [], []
    for item in items:
        if item.postponed:
            unchanged.append(Report(postponed=1))
        elif _differs(item, retry):
            changed.append(item.entry.product_id)
        else:
            unchanged.append(_count(item))
    return Page(changed=changed, source=source, unchanged=Report.total(unchanged), not_compared=not_compared)


def _differs(item: Item, retry: bool) -> bool:
    """Return True if the product must be indexed again. Of its image files, only the signatures are compared.

    A product that failed before must be indexed again if its error seems to be gone; with `retry`, always.
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
    """Return a report that counts an unchanged product. A pending product is counted when it is indexed."""
    if item.entry.state == IndexEntry.State.PENDING:
        return Report()
    without_image = int(item.content is not None and not item.content.images)
    if item.entry.state == IndexEntry.State.FAILED:
        return Report(failed=1, without_image=without_image)
    return Report(unchanged=1, without_image=without_image)


def _entries(document: BoundDocument, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, IndexEntry]:
    """Return the entries by point id. Only the columns in COMPARED are read."""
    entries = IndexEntry.objects.of(document).filter(uuid__in=list(ids))
    return {entry.uuid: entry for entry in entries.only(*COMPARED)}


def stale(
    document: BoundDocument, *, only: Sequence[str] | None = None, size: int = ROWS_PER_PAGE
) -> Iterator[Page]:
    """Yield pages of products in the index whose row no longer exists or no longer qualifies."""
    entries = IndexEntry.objects.of(document).filter(source=MODEL_SOURCE)
    entries = entries.exclude(state=IndexEntry.State.REMOVED).only("product_id")
    if only is not None:
        entries = entries.filter(uuid__in=[document.point_id(product_id) for product_id in only])
    for found in pages(entries, size):
        ids = [entry.product_id for entry in found]
        missing = set(ids) - document.qualifying(ids)
        if missing:
            yield Page(changed=sorted(missing), is_stale=True)


def removed(document: BoundDocument, *, size: int = ROWS_PER_PAGE) -> Iterator[Page]:
    """Yield pages of removed products whose tombstone is missing, in a collection or in one replica of it."""
    target = get_target(document)
    entries = IndexEntry.objects.of(document).filter(state=IndexEntry.State.REMOVED)
    for found in pages(entries.only("uuid", "product_id"), size):
        items = [target.item(entry) for entry in found]
        not_compared = read_consistent_points(target, items)
        missing = [item.entry.product_id for item in items if not _has_tombstones(item, len(target.writable))]
        yield Page(changed=missing, is_stale=True, not_compared=not_compared)


def _has_tombstones(item: Item, collections: int) -> bool:
    """Return True if so many collections have a tombstone of the item's product, or if that is not known."""
    tombstones = [point for point in (item.points or {}).values() if point.stamp.removed]
    return item.is_settled or len(tombstones) == collections


def orphans(document: BoundDocument, *, size: int = ROWS_PER_PAGE) -> Iterator[Page]:
    """Yield pages of product ids with a point but without an entry.

    Such points exist after an older backup of the database, or a snapshot of the store, was restored.
    """
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
