"""Receivers of Django's signals, which schedule changed products for indexing."""

from __future__ import annotations

from contextlib import suppress

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from ..documents import paths, watching
from ..documents.binding import BoundDocument
from .base import Receiver, pause
from .many_to_many import ManyToManyReceiver, ThroughReceiver
from .products import ProductReceiver
from .related import RelatedReceiver

__all__ = ["connect", "disconnect", "pause"]

_receivers_of: dict[BoundDocument, list[Receiver]] = {}


def connect(document: BoundDocument) -> None:
    """Connect receivers for all models whose changes can change products of this document.

    Entries of `related` that are not models, or whose path is wrong, are skipped here; a system check reports
    them. A second call replaces the receivers of the first: Django calls `ready()` again if a test changes
    `INSTALLED_APPS`.
    """
    disconnect(document)
    receivers: list[Receiver] = [ProductReceiver(document)]
    related = list(watching.related_paths(document.declaration))
    for start, model, field in dict.fromkeys(watching.many_to_many(document.declaration)):
        receivers.append(relation := ManyToManyReceiver(document, field, model, start))
        if relation.through is None or relation.through._meta.auto_created:
            continue
        for link in paths.links(relation.through, model):
            if start or (relation.through, link.name) not in related:  # otherwise a RelatedReceiver listens
                receivers.append(ThroughReceiver(relation, link))
    for model, path in related:
        if isinstance(model, models.base.ModelBase):
            with suppress(FieldDoesNotExist):
                receivers.append(RelatedReceiver(document, model, path))
    for receiver in receivers:
        receiver.connect()
    _receivers_of[document] = receivers


def disconnect(document: BoundDocument) -> None:
    """Undo `connect()`; for tests."""
    for receiver in _receivers_of.pop(document, []):
        receiver.disconnect()
