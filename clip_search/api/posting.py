"""What the endpoints do with what was posted: keep it, have it indexed, say how that stands."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from django.db import Error as DatabaseError
from django.db import transaction
from django.http import Http404
from rest_framework.exceptions import APIException, ValidationError

from .. import jobs
from ..conf import conf
from ..documents import Document, registry
from ..exceptions import SetupError, SurroundingsError, in_one_line
from ..models import Collection, IndexEntry, PostedProduct, discard_image, persistently, store_image
from ..types import POSTED_SOURCE

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile
    from django.utils.functional import _StrPromise

    Image = UploadedFile[Any]

logger = logging.getLogger(__name__)

RETRY_AFTER: Final = 10
JOB_ID: Final = re.compile(
    r"(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(?P<revision>[0-9]{1,19})", re.ASCII
)


class NoDocument(SetupError):
    """The endpoints do not know which document they feed. Set CLIP_SEARCH["API_DOCUMENT"]."""


class Unavailable(APIException):
    """A 503 with `Retry-After`."""

    status_code = 503
    default_code = "unavailable"

    def __init__(self, detail: str | _StrPromise, wait: int = RETRY_AFTER) -> None:
        super().__init__(detail)
        self.wait = wait


class Conflict(APIException):
    """Somebody else's request had the last word."""

    status_code = 409
    default_code = "conflict"


def api_document() -> Document:
    """Return the document that the endpoints feed and search. Raises NoDocument."""
    names = sorted(document.name for document in registry)
    name = conf.api_document or (names[0] if len(names) == 1 else "")
    document = registry.get(name)
    if document is None:
        known = ", ".join(names) or "none is registered"
        raise NoDocument(f'CLIP_SEARCH["API_DOCUMENT"] must name a document, {name!r} does not: {known}.')
    return document


def keep(
    document: Document, product_id: str, fields: Mapping[str, Any], image: Image | None = None
) -> IndexEntry:
    """Store what was posted and raise its entry, in one transaction. Wakes nobody.

    Raises StorageUnavailable, and what the database raises; no file of a post that failed is left.
    """
    name = store_image(image) if image else ""

    def record() -> IndexEntry:
        with transaction.atomic(using=document.using):
            PostedProduct.objects.keep(document, product_id, fields, name)
            jobs.request(document, [product_id], source=POSTED_SOURCE, wake=False)
            return _entry(document, product_id)

    try:
        return persistently(document.using, record)
    except BaseException:
        if name:
            discard_image(name)
        raise


def _entry(document: Document, product_id: str) -> IndexEntry:
    return IndexEntry.objects.of(document).get(uuid=document.point_id(product_id))


def index(document: Document, product_id: str) -> int:
    """Index what was posted, here and now, and return the dimension of its embedding.

    Raises Unavailable, Conflict, or ValidationError where the product cannot be indexed as it is.
    """
    try:
        entry = jobs.index_now(document, product_id)
    except (NotImplementedError, RecursionError):
        raise
    except (SurroundingsError, SetupError, DatabaseError, RuntimeError) as error:  # torch has no narrower one
        logger.warning(
            "Cannot index now document=%s product_id=%r error=%s",
            document.name,
            product_id,
            in_one_line(error),
        )
        reason = "The model failed." if isinstance(error, RuntimeError) else type(error).__doc__
        raise Unavailable(_kept(product_id, reason)) from error
    if entry.state == IndexEntry.State.PENDING:
        raise Unavailable(_kept(product_id, "A worker is busy with it."))
    if entry.state == IndexEntry.State.REMOVED:
        raise Conflict(f"Product {product_id} was deleted meanwhile.")
    if entry.state == IndexEntry.State.FAILED:
        raise ValidationError(_fault(document, entry))
    live = Collection.objects.live(document)
    if live is None:
        raise Unavailable(_kept(product_id, "The store has just lost its collection."))
    return live.dimension


def _kept(product_id: str, reason: str | None) -> str:
    return f"Product {product_id} is kept and will be indexed, but not now. {reason or ''}".strip()


def _fault(document: Document, entry: IndexEntry) -> dict[str, list[str]]:
    """Name the field at fault. An image that was posted earlier may be it: the text is then searchable."""
    posted = PostedProduct.objects.of(document).filter(uuid=entry.uuid).exclude(image="")
    return {"image_file" if posted.exists() else "detail": [entry.error]}


def announce(document: Document, entry: IndexEntry) -> tuple[IndexEntry, str]:
    """Have a worker index the entry, and say what came of asking.

    With `QUEUE = None` there is none to ask: the product is indexed here, and the answer says so.
    """
    product_id = entry.product_id
    if conf.queue is None:
        jobs.index_here(document, [product_id])
        entry = _entry(document, product_id)
        if entry.state == IndexEntry.State.PENDING:
            return entry, _kept(product_id, None)
        return entry, f'Product {product_id} was handled at once: CLIP_SEARCH["QUEUE"] is None'
    if jobs.wake(document):
        return entry, f"Product {product_id} queued for indexing"
    return entry, f"Product {product_id} is kept; the queue is down, an idle worker will find it"


def forget(document: Document, product_id: str) -> bool:
    """Drop what was posted for a product; the shop's own row, if any, is looked at again.

    Returns whether anything had been posted.
    """

    def discard() -> bool:
        with transaction.atomic(using=document.using):
            if not PostedProduct.objects.discard(document, product_id):
                return False
            jobs.request(document, [product_id])
            return True

    return persistently(document.using, discard)


def job_id(entry: IndexEntry) -> str:
    """Return the public name of the entry's latest revision."""
    return f"{entry.uuid}.{entry.revision}"


def job(document: Document, name: str) -> dict[str, Any]:
    """Return how a job stands. Raises Http404 where there never was such a one."""
    parts = JOB_ID.fullmatch(name)
    entry = parts and IndexEntry.objects.of(document).filter(uuid=parts["uuid"]).first()
    if not parts or not entry or not 0 < int(parts["revision"]) <= entry.revision:
        raise Http404
    revision = int(parts["revision"])
    return {
        "job_id": name,
        "product_id": entry.product_id,
        "status": job_status(entry, revision),
        "error": entry.error,
        "revision": revision,
        "indexed_revision": entry.indexed_revision,
        "attempts": entry.attempts,
    }


def job_status(entry: IndexEntry, revision: int) -> str:
    """Return "queued", "indexing", "indexed", "failed", or "removed": deleted since it was posted."""
    if entry.indexed_revision >= revision:
        return "removed" if entry.state == IndexEntry.State.REMOVED else "indexed"
    if entry.state == IndexEntry.State.FAILED:
        return "failed"
    if entry.is_being_indexed and entry.claimed_revision >= revision:
        return "indexing"
    return "queued"
