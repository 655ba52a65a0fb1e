"""`get_status()`: gather the facts about all documents, the queue and the store, and say what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db import Error as DatabaseError
from django.utils import timezone

from ..conf import DEFAULTS, conf
from ..documents.binding import BoundDocument
from ..documents.registry import registry
from ..encoders import get_encoder
from ..encoders.model_files import Source
from ..exceptions import ClipSearchError, ModelUnavailable, SetupError, StoreUnavailable, in_one_line
from ..indexing.leftovers import find_leftovers
from ..models.tables import naming_missing_tables
from ..stores import store_path
from ..version import __version__
from .documents import StoreProbe, document_status
from .findings import STORE, notes_of, notes_of_workers, problems_of
from .values import DocumentStatus, Finding, LeftoverStatus, ModelStatus, QueueStatus, Status, StoreStatus
from .workers import queue_status
from .writes import try_writes

MAX_AGE = 900.0
"""Seconds for which entries may be pending."""


def get_status(
    documents: Sequence[BoundDocument] = (), *, max_age: float = MAX_AGE, check_writes: bool = False
) -> Status:
    """Return the status of these documents. Without any, return that of all, with what is left over.

    What fails is a problem in the result, not an exception. The CLIP model is neither loaded nor downloaded.
    With `check_writes`, each collection is written to, in a way that changes nothing.
    """
    now = timezone.now()
    model, queue, store = model_status(), queue_status(), StoreProbe()
    facts: list[DocumentStatus] = []
    problems: list[Finding] = []
    for document in documents or registry:
        try:
            with naming_missing_tables():
                if check_writes:
                    try_writes(document)
                found = document_status(document, model, store)
        except (DatabaseError, ClipSearchError) as error:  # not of the store, but of the database or the shop
            message = f"{document.name} cannot be read: {in_one_line(error)}"
            problems.append(Finding(code="document", message=message, document=document.name))
        else:
            facts.append(found)
            problems += problems_of(found, model, queue, now=now, max_age=max_age)
    leftovers, failure = (None, "") if documents else _leftovers(store)
    problems = [*_general(model, store, queue), *problems]
    notes = [note for found in facts for note in notes_of(found)]
    notes += notes_of_workers(queue, model) if queue else ()
    if failure:
        notes.append(Finding(code="leftovers", message=f"cannot look for leftovers: {failure}"))
    return Status(
        version=__version__,
        checked_at=now,
        installation=conf.installation,
        model=model,
        store=StoreStatus(backend=_store_path(), error=store.error),
        queue=queue,
        documents=facts,
        leftovers=leftovers,
        problems=problems,
        notes=notes,
    )


def model_status() -> ModelStatus:
    """Return the configured CLIP model, with its fingerprint if its files are on this machine."""
    fingerprint = error = ""
    try:
        if conf.encoder == DEFAULTS["ENCODER"]:
            for setting, name in (("MODEL", conf.model), ("TEXT_MODEL", conf.text_model)):
                if name and Source(setting, name).cached_folder() is None:
                    raise ModelUnavailable(
                        f"{Source(setting, name)} is not on this machine, so it cannot be compared with the "
                        "collections. Search or index once, which downloads it."
                    )
        fingerprint = get_encoder().fingerprint
    except ClipSearchError as failure:
        error = in_one_line(failure)
    return ModelStatus(
        name=conf.model,
        text_model=conf.text_model or "",
        encoder=conf.encoder,
        fingerprint=fingerprint,
        error=error,
    )


def _store_path() -> str:
    """Return the dotted path of the configured store's class, or "" if the settings name none."""
    try:
        return store_path(conf.qdrant)
    except SetupError:
        return ""


def _general(model: ModelStatus, store: StoreProbe, queue: QueueStatus | None) -> Iterator[Finding]:
    """Yield what is wrong with the model, the store and the queue."""
    for code, error in (
        ("model", model.error),
        (STORE, store.error),
        ("queue", queue.error if queue else ""),
    ):
        if error:
            yield Finding(code=code, message=error)


def _leftovers(store: StoreProbe) -> tuple[list[LeftoverStatus] | None, str]:
    """Return what is left over, or None and the reason why it cannot be looked for."""
    if store.error:
        return None, store.error
    try:
        found = find_leftovers()
    except (StoreUnavailable, SetupError) as error:
        store.error = str(error)
        return None, store.error
    except DatabaseError as error:
        return None, in_one_line(error)
    return [LeftoverStatus(description=one.description, kept=one.kept) for one in found], ""
