"""The registry of documents."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import models

from ..exceptions import InvalidDeclaration
from .binding import BoundDocument
from .declaration import Declaration

logger = logging.getLogger(__name__)


class Registry:
    """All registered documents, in the order of their registration."""

    def __init__(self) -> None:
        self.documents: dict[str, BoundDocument] = {}
        """The documents by their names."""
        self._is_discovering = False
        self.mistakes: list[str] = []
        """Errors of classes that could not be registered when Django started. A system check reports them."""

    @contextmanager
    def discovering(self) -> Iterator[None]:
        """Collect errors of documents during the block instead of raising them, so that the shop starts."""
        self._is_discovering = True
        try:
            yield
        finally:
            self._is_discovering = False

    def refuse(self, error: InvalidDeclaration) -> None:
        """While Django starts, log an error and keep it for the system check. Otherwise raise it."""
        if not self._is_discovering:
            raise error
        logger.error("Cannot register a document error=%s", error)
        self.mistakes.append(str(error))

    def __iter__(self) -> Iterator[BoundDocument]:
        return iter(list(self.documents.values()))

    def __len__(self) -> int:
        return len(self.documents)

    def add(self, document: BoundDocument) -> None:
        """Register a document. Raises InvalidDeclaration if another document has the same name."""
        if document.name in self.documents:
            raise InvalidDeclaration(
                f"Two documents are named {document.name!r}. Give one of them another `name`."
            )
        self.documents[document.name] = document

    def remove(self, document: BoundDocument) -> None:
        """Remove a document from the registry; for tests."""
        self.documents.pop(document.name, None)

    def get(self, name: str) -> BoundDocument | None:
        """Return the document with this name, or None."""
        return self.documents.get(name)

    def of_class(self, document_class: type[Declaration[Any]]) -> BoundDocument:
        """Return the registered document of this class. Raises InvalidDeclaration if there is none."""
        for document in self.documents.values():
            if type(document.declaration) is document_class:
                return document
        name = document_class.__name__
        raise InvalidDeclaration(
            f"{name} is not registered. Decorate it with @register(Model); if it is, run `manage.py check`."
        )

    def of_model(self, model: type[models.Model]) -> list[BoundDocument]:
        """Return the documents that are registered for this model or for one of its parent models.

        A proxy model counts as the model that it is a proxy of.
        """
        concrete = model._meta.concrete_model
        return [d for d in self if concrete and issubclass(concrete, d.model._meta.concrete_model or d.model)]


registry = Registry()
