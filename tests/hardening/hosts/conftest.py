"""Documents for models that are made with packages which shops use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import models

from clip_search import Document
from clip_search.checks.documents import check_document
from clip_search.documents.registry import registry
from clip_search.models import Collection, IndexEntry
from clip_search.stores import get_store

Declare = Callable[..., type[Document]]


@pytest.fixture
def declare(register_document) -> Declare:
    """Return a function that registers a document for a model, until the test ends."""

    def add(model: type[models.Model], **attributes: Any) -> type[Document]:
        values = {"name": f"host-{model._meta.model_name}", "text_fields": ["name"]} | attributes
        document_class = type(f"{model.__name__}Document", (Document,), values)
        register_document(document_class, model)
        return document_class

    return add


def payloads(document_class: type[Document]) -> dict[str, dict[str, Any]]:
    """Return the payloads in the index by product id. Every product must be indexed without an error."""
    name = registry.of_class(document_class).name
    entries = IndexEntry.objects.filter(document=name).exclude(state__in=("indexed", "removed"))
    assert list(entries.values_list("product_id", "state", "error")) == []
    collection = Collection.objects.filter(document=name, state="live").first()
    points = get_store().scroll(collection.name) if collection else []
    return {p.stamp.product_id: dict(p.payload) for p in points if not p.stamp.removed}


def said(document_class: type[Document]) -> dict[str, str]:
    """Return the hints of the checks by their numbers."""
    messages = check_document(registry.of_class(document_class))
    return {message.id.removeprefix("clip_search."): message.hint for message in messages}
