"""What is wrong with a document, the queue and the workers: each in one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from django.utils.translation import ngettext

from ..indexing.counting import difference
from ..models import Collection, IndexEntry
from ..version import __version__
from .values import CollectionStatus, DocumentStatus, Finding, ModelStatus, QueueStatus

State = IndexEntry.State
MISSING: Final = "collection_missing"
"""The code of a collection that the store does not have."""
UNFINISHED: Final = "unfinished"
"""The code of a collection that a process has begun to create, to build or to replace, and left."""
STORE: Final = "store"
"""The code of a store that does not answer. It is said once, and not for each collection."""


def problems_of(
    document: DocumentStatus, model: ModelStatus, queue: QueueStatus | None, *, now: datetime, max_age: float
) -> Iterator[Finding]:
    """Yield what is wrong with a document. Nothing may be pending for more than `max_age` seconds."""
    name = document.name
    found = [
        *_not_indexed(document),
        *(fault for collection in document.collections for fault in _faults(name, collection, model)),
        *_waiting(document, queue, now=now, max_age=max_age),
        *_counts(document),
    ]
    for code, message in found:
        yield Finding(code=code, message=message, document=name)


def _not_indexed(document: DocumentStatus) -> Iterator[tuple[str, str]]:
    is_live = any(collection.state == Collection.State.LIVE for collection in document.collections)
    # most products that failed can be found by their text
    if document.rows and not (is_live and (document.entries[State.INDEXED] or document.points != 0)):
        rows = ngettext("%d row", "%d rows", document.rows) % document.rows
        name = document.name
        yield (
            "not_indexed",
            f"nothing of {name} can be found, but it has {rows}: run `manage.py clip_reindex {name}`",
        )


def _faults(name: str, collection: CollectionStatus, model: ModelStatus) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a collection of the document `name`."""
    is_live = collection.state == Collection.State.LIVE
    is_used = collection.state in (Collection.State.LIVE, Collection.State.BUILDING)
    if collection.error_code not in ("", STORE) and (is_used or collection.error_code != MISSING):
        yield collection.error_code, collection.error
    if is_live and collection.has_configured_model is False:
        yield (
            "other_model",
            f"the collection of {name} was built by another CLIP model than CLIP_SEARCH['MODEL'], "
            f"{model.name!r}: run `manage.py clip_rebuild {name}`, or restore the setting",
        )
    if is_live and not collection.fits_max_images:
        yield "max_images", f"max_images has changed: run `manage.py clip_rebuild {name}`"
    if collection.refusal and collection.state == Collection.State.CREATING:
        yield "not_created", f"collection {collection.name} of {name}: {collection.next_step}"
    elif collection.refusal:
        reason = collection.refusal.rstrip(".")
        yield (
            "write_refused",
            f"the store refused the last write to {collection.name}: {reason}. When the cause is removed, "
            "`manage.py clip_status --check-writes` tries again",
        )


def _waiting(
    document: DocumentStatus, queue: QueueStatus | None, *, now: datetime, max_age: float
) -> Iterator[tuple[str, str]]:
    """Yield a problem if something has been pending for too long, with what is known of the reason."""
    since = document.pending_since
    if since is None or (age := (now - since).total_seconds()) <= max_age:
        return
    count = document.entries[State.PENDING] + document.related_changes
    wait = ngettext("%d change of %s waits", "%d changes of %s wait", count) % (count, document.name)
    yield "pending", f"{wait}, the oldest for {duration(age)}: {_remedy(document, queue)}"


def _remedy(document: DocumentStatus, queue: QueueStatus | None) -> str:
    """Return what is known of why entries wait, and what to do."""
    if any(collection.is_leased for collection in document.collections):
        return "a rebuild is at work, wait until it ends"
    remedy = _workers(document, queue)
    if not document.pending_reasons:
        return remedy
    return f"{remedy}. The most frequent error is: {document.pending_reasons[0].reason}"


def _workers(document: DocumentStatus, queue: QueueStatus | None) -> str:
    """Return whether anything can index what waits, and what to do."""
    if queue is None:
        return f"run `manage.py clip_reindex {document.name}`"
    if queue.error:
        return "the queue cannot be used"  # and why is a problem of its own
    if queue.is_suspended:
        return "the workers are suspended, run `manage.py rqresume`"
    if not queue.workers:
        return f"no worker is alive, start one with `manage.py rqworker {queue.name}`"
    count = len(queue.workers)
    return ngettext("%d worker is alive, see its log", "%d workers are alive, see their logs", count) % count


def _counts(document: DocumentStatus) -> Iterator[tuple[str, str]]:
    name = document.name
    if document.points_differ and document.points is not None:
        yield "points_differ", difference(name, document.points, document.entries[State.INDEXED])
    if failed := document.entries[State.FAILED]:
        yield "failed", f"{failed} of {name} failed"


def notes_of(document: DocumentStatus) -> Iterator[Finding]:
    """Yield what is worth knowing about a document, and no fault."""
    name = document.name
    for collection in document.collections:
        if collection.next_step and not (collection.is_leased or collection.refusal):
            size = f"{collection.state}, {collection.points or 0} points"
            message = f"collection {collection.name} of {name} ({size}): {collection.next_step}"
            yield Finding(code=UNFINISHED, message=message, document=name)
        if collection.state == Collection.State.LIVE and not collection.has_words:
            message = (
                f"searches of {name} do not compare words yet: run `manage.py clip_reindex {name}`, "
                "which adds them without the CLIP model"
            )
            yield Finding(code="without_words", message=message, document=name)
    run = document.last_run
    if run and run.ended_at is None:
        message = f"the last clip_reindex of {name} has not ended: it is at work, or was killed"
        yield Finding(code="run_not_ended", message=message, document=name)


def notes_of_workers(queue: QueueStatus, model: ModelStatus) -> Iterator[Finding]:
    """Yield the workers that run another version of this package or another CLIP model than this process."""
    for worker in queue.workers:
        other = []
        if worker.version and worker.version != __version__:
            other.append(f"version {worker.version} (here: {__version__})")
        if worker.fingerprint and model.fingerprint not in ("", worker.fingerprint):
            other.append(f"another CLIP model, {worker.model!r} (here: {model.name!r})")
        if other:
            message = f"the worker {worker.name} on {worker.hostname} has {' and '.join(other)}: restart it"
            yield Finding(code="other_worker", message=message)


def duration(seconds: float) -> str:
    """Return "45 s", "12 min", "5 h" or "3 days"."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"
