"""What tests of the signal receivers use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clip_search import Document
from clip_search.documents.binding import BoundDocument
from clip_search.indexing import related
from clip_search.models import IndexEntry
from tests.conftest import registered

Raised = Callable[[], set[str]]


class Watch:
    def __init__(self, document: BoundDocument) -> None:
        self.document = document

    def __call__(self, *, follow: bool = True) -> set[str]:
        if follow:
            related.expand_related(self.document)
        waiting = IndexEntry.objects.of(self.document).filter(state="pending")
        found = set(waiting.values_list("product_id", flat=True))
        waiting.update(state="indexed")
        return found


@contextmanager
def connected(model, **attributes) -> Iterator[Watch]:
    """Register a document and connect its receivers while the block runs."""
    document_class = type("Declared", (Document,), {"name": "declared", **attributes})
    with registered(document_class, model) as document:
        yield Watch(document)


def ids(*rows) -> set[str]:
    return {str(row.pk) for row in rows}
