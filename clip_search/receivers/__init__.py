"""Django's signals schedule products for indexing."""

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

_connected: dict[str, list[Receiver]] = {}


def connect(document: BoundDocument) -> None:
    """Connect to the signals of everything that can change a product of this document.

    Anything in `related` that is no model, or has no such relation, is left out: a check reports it. A
    document that is connected already is connected anew: Django calls `ready()` again if a test changes
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
            if start or (relation.through, link.name) not in related:  # otherwise it is heard of below
                receivers.append(ThroughReceiver(relation, link))
    for model, path in related:
        if isinstance(model, models.base.ModelBase):
            with suppress(FieldDoesNotExist):
                receivers.append(RelatedReceiver(document, model, path))
    for receiver in receivers:
        receiver.connect()
    _connected[document.name] = receivers


def disconnect(document: BoundDocument) -> None:
    """Disconnect again, as tests do."""
    for receiver in _connected.pop(document.name, []):
        receiver.disconnect()
