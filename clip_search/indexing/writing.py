"""Write points, and record what became of each entry."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..models import IndexEntry
from ..types import IMAGE, TEXT, Point, Report
from .items import Item, same
from .reading import look_up
from .targets import Target, held, takes_several

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST_DELAY = 300.0
"""Seconds between two tries while the surroundings are at fault."""


def write(goal: Target, items: Sequence[Item]) -> None:
    """Bring every active collection up to the items. Raises StoreUnavailable."""
    with held(goal):
        look_up(goal, [item for item in items if not item.looked_up])
        ready = [item for item in items if not (item.error or item.postponed or overtaken(item))]
        gone = [Point(id=item.id, stamp=item.stamp) for item in ready if item.content is None]
        for collection in goal.collections:
            if gone:
                goal.store.drop(collection.name, gone)
        for collection in goal.writable:
            changed = [i for i in ready if i.content is not None and not up_to_date(i, collection.name)]
            if changed:
                several = takes_several(collection, goal.document)
                goal.store.put(collection.name, [point_of(item, several) for item in changed])


def up_to_date(item: Item, collection: str) -> bool:
    """Say whether the collection's point may stay as it is.

    It must say the same, and no revision may lie between: a worker that stalled with one of those
    could still write, and its older content would then not be fenced out.
    """
    point = item.points.get(collection)
    return (
        point is not None
        and point.stamp.revision >= item.entry.claimed_revision - 1
        and same(point.stamp, item.stamp)
    )


def overtaken(item: Item) -> int:
    """Return the revision of a point that is not older than this entry and yet says something else, or 0."""
    if item.error or item.postponed:
        return 0
    revisions = [
        point.stamp.revision
        for point in item.points.values()
        if point.stamp.revision >= item.entry.claimed_revision and not same(point.stamp, item.stamp)
    ]
    return max(revisions, default=0)


def point_of(item: Item, several: bool) -> Point:
    """Put an item's whole point together: of vectors that were made now, and of those that are kept."""
    import numpy as np

    vectors: dict[str, NDArray[np.float32]] = {}
    content, kept = item.content, item.kept.vectors if item.kept else {}
    if content and content.text:
        vectors[TEXT] = kept[TEXT] if item.text_vector is None else item.text_vector
    rows = item.kept_images | item.image_vectors
    shown = [rows[stamp.hash] for stamp in item.stamps if not stamp.error]
    if shown:
        vectors[IMAGE] = np.stack(shown) if several else shown[0]
    return Point(
        id=item.id, stamp=item.stamp, vectors=vectors, payload=dict(content.payload) if content else {}
    )


def finish(goal: Target, items: Sequence[Item]) -> Report:
    """Record what became of each entry, and say it."""
    entries = IndexEntry.objects.of(goal.document)
    by_state: dict[tuple[str, str], list[IndexEntry]] = {}
    for item in items:
        if item.postponed:
            entries.release([item.entry], backoff(item.entry.attempts), item.postponed)
        elif revision := overtaken(item):
            entries.overtake(item.entry, revision)
        else:
            by_state.setdefault(state_of(item), []).append(item.entry)
    for (state, error), group in by_state.items():
        entries.finish(group, state, goal.generation, error)
    entries.release([item.entry for item in items], written=True)  # those that were raised again meanwhile
    return Report.total(map(report_of, items))


def state_of(item: Item) -> tuple[str, str]:
    """Return the state that the entry has now, and what is wrong."""
    broken = broken_image(item)
    if item.error or broken:
        return IndexEntry.State.FAILED, item.error or broken
    if item.content is None:
        return IndexEntry.State.REMOVED, ""
    if not item.content.text and not item.stamps:
        return IndexEntry.State.FAILED, "There is nothing to search by: neither text nor an image."
    return IndexEntry.State.INDEXED, ""


def broken_image(item: Item) -> str:
    """Return what is wrong with the first broken image, of several which one it is; "" where none is."""
    for stamp, source in zip(item.stamps, item.sources, strict=False):
        if stamp.error:
            named = len(item.stamps) == 1 or source.name in stamp.error
            return stamp.error if named else f"{source.name}: {stamp.error}"
    return ""


def report_of(item: Item) -> Report:
    """Count one item."""
    if item.postponed:
        return Report(postponed=1)
    if overtaken(item):
        return Report()  # it is due again at once, and counted then
    state, _ = state_of(item)
    without_image = int(item.content is not None and not item.content.images)
    if state == IndexEntry.State.FAILED:
        return Report(failed=1, without_image=without_image)
    if state == IndexEntry.State.REMOVED:
        return Report(removed=1)
    if item.text_vector is not None or item.image_vectors:
        return Report(embedded=1, without_image=without_image)
    if any(same(point.stamp, item.stamp) for point in item.points.values()):
        return Report(unchanged=1, without_image=without_image)
    return Report(payload_only=1, without_image=without_image)


def backoff(attempts: int) -> float:
    """Return the seconds to wait after so many tries: exponential, with jitter, and never giving up."""
    longest = min(LONGEST_DELAY, 2.0 ** min(attempts, 16))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311
