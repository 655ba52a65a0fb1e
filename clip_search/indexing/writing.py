"""Write the points of claimed entries to the store, and record the result in each entry."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from django.utils import timezone

from ..documents.binding import BoundDocument
from ..exceptions import SetupError, StoreFull, StoreRefused, in_one_line
from ..models import Collection, IndexEntry
from ..signals import index_failed, indexed
from ..types import IMAGE, TEXT, Point, Report, Words
from .collections import has_multiple_images
from .delays import backoff
from .halving import in_halves
from .items import Item, is_same_content
from .reading import read_points
from .targets import Target, opened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)


def write(target: Target, items: Sequence[Item]) -> None:
    """Write the items' points to the store, and tombstones for products that must be removed.

    Points are written to the collections of the configured CLIP model, tombstones to every active collection.
    Raises StoreUnavailable, SetupError.
    """
    store = target.store
    with opened(target):
        read_points(target, [item for item in items if item.points is None and not item.is_settled])
        ready = [item for item in items if not (item.is_settled or newer_revision(item))]
        removed = [item for item in ready if item.content is None]
        stored = [item for item in ready if item.content is not None]
        for collection in target.collections:
            send(target, collection, removed, tombstone_of, store.drop)
        for collection in target.writable:
            multiple = has_multiple_images(collection, target.document)
            changed = [item for item in stored if not is_up_to_date(item, collection.name)]
            for item in changed:
                if item.content and item.words is None:
                    item.words = item.analyser.words_of(item.content.searched, item.content.codes)
            send(target, collection, changed, partial(point_of, multiple_images=multiple), store.put)
        for item in ready:
            item.entry.unconfirmed = item.is_settled


def send(
    target: Target,
    collection: Collection,
    items: Sequence[Item],
    as_point: Callable[[Item], Point],
    request: Callable[[str, Sequence[Point]], None],
) -> None:
    """Write the items' points to a collection by `request`. Items whose point is refused alone are settled.

    Items that are settled already, because another collection refused their point, are left out. Until all
    collections have accepted its point, the entry of an item is unconfirmed: a server that answers with an
    error may have written to some of the replicas.
    """

    def write_some(some: Sequence[Item]) -> None:
        points = [as_point(item) for item in some]
        for item in some:
            item.entry.unconfirmed = True
        request(collection.name, points)

    items = [item for item in items if not item.is_settled]
    if not items:
        return
    try:
        in_halves(items, write_some)
    except (StoreRefused, StoreFull, SetupError) as error:
        target.refusals[collection.name] = str(error)
        raise
    reasons = (item.error or item.postponed for item in items)
    target.refusals[collection.name] = next(filter(None, reasons), "")


@contextmanager
def refusals_recorded(target: Target, *others: Target) -> Iterator[None]:
    """After the block, save why the last write to each collection was refused, or that it succeeded."""
    try:
        yield
    finally:
        last: dict[str, str] = {}
        for one in (*others, target):
            last |= one.refusals
            one.refusals.clear()
        for collection in target.collections:
            reason = in_one_line(last.get(collection.name, ""))
            if reason or (collection.name in last and collection.refusal):
                rows = Collection.objects.of(target.document).filter(pk=collection.pk)
                rows.update(refusal=reason, refused_at=timezone.now() if reason else None)


def is_up_to_date(item: Item, collection: str) -> bool:
    """Return True if the collection's point need not be written again.

    Its content must be the same, and its revision at most one lower than the entry's. With a larger gap, a
    worker that stalled with a revision between the two could still write its older content over the point. If
    the last write is unconfirmed, the point was read from one replica, and another one may differ.
    """
    point = (item.points or {}).get(collection)
    return (
        point is not None
        and not item.entry.unconfirmed
        and point.stamp.revision >= item.entry.claimed_revision - 1
        and is_same_content(point.stamp, item.stamp)
    )


def newer_revision(item: Item) -> int:
    """Return the highest revision of those stored points that would reject this item's point, or 0.

    A stored point rejects a new point if the stored revision is equal or higher. A stored point with the same
    content does not count, because nothing need be written then, unless the last write is unconfirmed.
    """
    if item.is_settled:
        return 0
    revisions = [
        point.stamp.revision
        for point in (item.points or {}).values()
        if point.stamp.revision >= item.entry.claimed_revision
        and (item.entry.unconfirmed or not is_same_content(point.stamp, item.stamp))
    ]
    return max(revisions, default=0)


def tombstone_of(item: Item) -> Point:
    """Return the tombstone of an item's product."""
    return Point(id=item.entry.uuid, stamp=item.stamp)


def point_of(item: Item, *, multiple_images: bool) -> Point:
    """Return an item's point: its stamp, payload, words, and all vectors, embedded by this run or reused."""
    import numpy as np

    vectors: dict[str, NDArray[np.float32]] = {}
    content, reused = item.content, item.reusable.vectors if item.reusable else {}
    if content and content.text:
        vectors[TEXT] = reused[TEXT] if item.text_vector is None else item.text_vector
    rows = item.reusable_images | item.image_vectors
    shown = [rows[stamp.hash] for stamp in item.stamps if not stamp.error]
    if shown:
        vectors[IMAGE] = np.stack(shown) if multiple_images else shown[0]
    payload = dict(content.payload) if content else {}
    return Point(
        id=item.entry.uuid, stamp=item.stamp, vectors=vectors, payload=payload, words=item.words or Words()
    )


def finish(target: Target, items: Sequence[Item]) -> Report:
    """Record the result in each entry, send the signals, and return the counts."""
    entries = IndexEntry.objects.of(target.document)
    by_state: dict[tuple[str, str], list[IndexEntry]] = {}
    reports = []
    for item in items:
        if item.postponed:
            entries.release([item.entry], backoff(item.entry.attempts), item.postponed)
            reports.append(Report(postponed=1))
        elif revision := newer_revision(item):
            entries.overtake(item.entry, revision)  # due at once, with a revision that the point accepts
        else:
            state, error = state_of(item)
            by_state.setdefault((state, error), []).append(item.entry)
            reports.append(count(item, state))
    finished = sum(
        entries.finish(group, state, target.generation, error) for (state, error), group in by_state.items()
    )
    if finished < len(items):
        # Entries whose product was saved again since the claim are still claimed. They stay pending.
        entries.release([item.entry for item in items], written=True)
    send_signals(target.document, by_state)
    return Report.total(reports)


def send_signals(document: BoundDocument, by_state: Mapping[tuple[str, str], Sequence[IndexEntry]]) -> None:
    """Send the signals `indexed` and `index_failed`, and log the failures.

    If a receiver raises, Django logs the exception.
    """
    written: list[str] = []
    errors: dict[str, str] = {}
    for (state, error), group in by_state.items():
        if state == IndexEntry.State.INDEXED:
            written += [entry.product_id for entry in group]
        elif state == IndexEntry.State.FAILED:
            errors |= {entry.product_id: error for entry in group}
    sender = type(document.declaration)
    if written:
        indexed.send_robust(sender=sender, document=document.name, product_ids=written)
    for product_id, error in errors.items():
        reason = in_one_line(error)
        logger.warning("Failed document=%s product=%s reason=%s", document.name, product_id, reason)
    if errors:
        index_failed.send_robust(sender=sender, document=document.name, errors=errors)


def state_of(item: Item) -> tuple[str, str]:
    """Return the new state of the entry, and why the product cannot be indexed as it is, or ""."""
    if item.error:
        return IndexEntry.State.FAILED, item.error
    if item.content is None:
        return IndexEntry.State.REMOVED, ""
    for stamp, source in zip(item.stamps, item.content.images, strict=False):
        if stamp.error:
            is_named = len(item.stamps) == 1 or source.name in stamp.error
            return IndexEntry.State.FAILED, stamp.error if is_named else f"{source.name}: {stamp.error}"
    for key, message in item.content.invalid.items():
        return IndexEntry.State.FAILED, f"The filter {key!r} has no value: {message}."
    if not item.content.text and not item.stamps:
        return IndexEntry.State.FAILED, "The product has neither text nor an image to search by."
    return IndexEntry.State.INDEXED, ""


def count(item: Item, state: str) -> Report:
    """Return a report that counts this one item."""
    without_image = int(item.content is not None and not item.content.images)
    if state == IndexEntry.State.FAILED:
        return Report(failed=1, without_image=without_image)
    if state == IndexEntry.State.REMOVED:
        return Report(removed=1)
    if item.text_vector is not None or item.image_vectors:
        return Report(embedded=1, without_image=without_image)
    if any(is_same_content(point.stamp, item.stamp) for point in (item.points or {}).values()):
        return Report(unchanged=1, without_image=without_image)
    return Report(payload_only=1, without_image=without_image)
