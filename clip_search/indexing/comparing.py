"""Compare the shop with the index: find products that need indexing, and points without a product."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
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
"""The only columns of an entry that are read here. They are read into tuples, because models take longer."""


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
) -> Generator[Page, None, None]:
    """Compare every row and every posted product with its stored point, and yield the result of each page.

    Nothing is written, no image is opened, and the CLIP model is not loaded. With `only`, just these product
    ids are compared, and products that failed before count as changed, because their cause may be gone: an
    image may have been repaired in the storage, for example. With `replicas`, products whose point is not the
    same in all replicas count as changed. If `words` is given, the words of every product are counted in it,
    and products without an entry are read too. Raises StoreUnavailable, ModelChanged, ForeignCollection.
    """
    rows = _selected_rows(document, only)
    yield from compare_table(
        document, rows, size=size, retry=only is not None, replicas=replicas, words=words
    )
    yield from compare_others(document, only=only, size=size, replicas=replicas, words=words)


def key_ranges(document: BoundDocument, *, size: int) -> list[tuple[Any, Any]]:
    """Return the primary key with which each page of rows begins, and that of the next page, or None."""
    keys = document.rows().prefetch_related(None).values_list("pk", named=True)
    first = [page[0].pk for page in pages(keys, size)]
    return list(zip_longest(first, first[1:]))


def compare_ranges(
    document: BoundDocument,
    ranges: Iterable[tuple[Any, Any]],
    *,
    size: int,
    words: Counter[str] | None = None,
) -> Iterator[Page]:
    """Compare the rows of some of the `key_ranges()`. See `compare()`."""
    for first, end in ranges:
        rows = document.rows().filter(pk__gte=first)
        if end is not None:
            rows = rows.filter(pk__lt=end)
        yield from compare_table(document, rows, size=size, words=words)


def compare_table(
    document: BoundDocument,
    selected: models.QuerySet[Any],
    *,
    size: int,
    retry: bool = False,
    replicas: bool = False,
    words: Counter[str] | None = None,
) -> Iterator[Page]:
    """Compare the selected rows of the document with their stored points. See `compare()`."""
    for entries, rows, unknown in _rows(document, selected, size, read_all=words is not None):
        yield compare_rows(document, rows, entries, unknown, retry=retry, replicas=replicas, words=words)


def compare_others(
    document: BoundDocument,
    *,
    only: Sequence[str] | None = None,
    size: int = ROWS_PER_PAGE,
    replicas: bool = False,
    words: Counter[str] | None = None,
) -> Iterator[Page]:
    """Compare posted products, and find products in the index whose row is gone. See `compare()`."""
    retry = only is not None
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
    document: BoundDocument, selected: models.QuerySet[Any], size: int, *, read_all: bool = False
) -> Iterator[tuple[dict[str, IndexEntry], list[Any], list[str]]]:
    """Yield for each page: its entries by product id, its rows, and the ids of products that have no entry.

    If each row is a product, the rows of a page without entries are not read, unless `read_all`: all its
    products are new.
    """
    for keys in pages(selected.prefetch_related(None).values_list("pk", named=True), size):
        page = selected.filter(pk__gte=keys[0].pk, pk__lte=keys[-1].pk)
        rows: list[Any] = []
        product_ids = [str(key.pk) for key in keys]
        if not document.rows_are_products:
            with document.in_its_language():
                rows = [row for row in page if document.may_qualify(row)]
                product_ids = [document.declaration.product_id(row) for row in rows]
        entries = _entries(document, [document.point_id(product_id) for product_id in product_ids])
        if document.rows_are_products and (entries or read_all):
            with document.in_its_language():
                rows = list(page)
        unknown = dict.fromkeys(product_id for product_id in product_ids if product_id not in entries)
        yield entries, rows, list(unknown)
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
    entries: Mapping[str, IndexEntry],
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
    by_id = {document.declaration.product_id(row): row for row in rows}
    posted = {
        product_id
        for product_id, entry in entries.items()
        if entry.source == POSTED_SOURCE and entry.state != IndexEntry.State.REMOVED
    }
    with document.in_its_language():
        own = [
            (entries[product_id], read_content(document, row))
            for product_id, row in by_id.items()
            if product_id in entries and product_id not in posted
        ]
        if words is not None:
            new = (row for product_id, row in by_id.items() if product_id not in entries)
            _count_words(document, words, (content for _, content in own))
            _count_words(document, words, (read_content(document, row) for row in new))
    page = _compare(document, own, retry=retry, replicas=replicas)
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
    posted = [
        product
        for product in products
        if product.product_id in entries and entries[product.product_id].source == POSTED_SOURCE
    ]
    contents = read_posted(document, posted)
    if words is not None:
        _count_words(document, words, contents.values())
    own = [(entries[product.product_id], contents[product.uuid]) for product in posted]
    return _compare(document, own, source=POSTED_SOURCE, retry=retry, replicas=replicas)


def _count_words(document: BoundDocument, words: Counter[str], contents: Iterable[Content | str]) -> None:
    """Count the words of products. An error text is no product."""
    for content in contents:
        if isinstance(content, Content):
            words.update(document.analyser.vocabulary_of(content.searched))


def _compare(
    document: BoundDocument,
    found: Iterable[tuple[IndexEntry, Content | str]],
    *,
    source: str = MODEL_SOURCE,
    retry: bool = False,
    replicas: bool = False,
) -> Page:
    """Compare products with their stored points, and return the result.

    `found` has the entry of each product, and its content or an error text.
    """
    target = get_target(document)
    items = [
        target.item(entry, error=content) if isinstance(content, str) else target.item(entry, content)
        for entry, content in found
    ]
    not_compared = ""
    if replicas:
        not_compared = read_consistent_points(target, items)
    else:
        read_points(target, items)
    changed, counts = [], Counter[str]()
    for item in items:
        if item.postponed:
            counts["postponed"] += 1
        elif _differs(item, retry):
            changed.append(item.entry.product_id)
        elif item.entry.state != IndexEntry.State.PENDING:  # a pending product is counted when it is indexed
            counts["failed" if item.entry.state == IndexEntry.State.FAILED else "unchanged"] += 1
            counts["without_image"] += item.content is not None and not item.content.images
    return Page(changed=changed, source=source, unchanged=Report(**counts), not_compared=not_compared)


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


def _entries(document: BoundDocument, ids: Sequence[uuid.UUID]) -> dict[str, Any]:
    """Return tuples of the columns in COMPARED of the entries with these point ids, by product id."""
    entries = IndexEntry.objects.of(document).filter(uuid__in=ids).values_list(*COMPARED, named=True)
    return {entry.product_id: entry for entry in entries}


def stale(
    document: BoundDocument, *, only: Sequence[str] | None = None, size: int = ROWS_PER_PAGE
) -> Iterator[Page]:
    """Yield pages of products in the index whose row no longer exists or no longer qualifies."""
    entries = IndexEntry.objects.of(document).filter(source=MODEL_SOURCE)
    entries = entries.exclude(state=IndexEntry.State.REMOVED)
    if only is not None:
        entries = entries.filter(uuid__in=[document.point_id(product_id) for product_id in only])
    for found in pages(entries.values_list("pk", "product_id", named=True), size):
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
