"""`Document`, the base class of a shop's documents, and the decorator `register`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from django.db import models

from . import outbox, searching
from .documents.binding import BoundDocument
from .documents.declaration import Declaration, Row
from .documents.registry import registry
from .documents.spelling import misspellings
from .exceptions import InvalidDeclaration
from .searching import Filters, SearchResults, Suggestions, Weights

DocumentClass = TypeVar("DocumentClass", bound="type[Declaration[Any]]")


class Document(Declaration[Row]):
    """The base class of a document, which says how the rows of one Django model become searchable.

    Class attributes declare what is indexed. Methods may be overridden::

        @register(Product)
        class ProductDocument(Document):
            text_fields = ["name", "description"]
            image_field = "images.original"

    With `class ProductDocument(Document[Product])`, type checkers know that results are `Product` rows.
    """

    @classmethod
    def search(
        cls,
        text: str,
        *,
        image: Any = None,
        filters: Filters | None = None,
        weights: Weights | None = None,
        min_score: float | None = None,
        everything: bool | None = None,
    ) -> SearchResults[Row]:
        """Return the products that match the words in `text`: see `clip_search.searching.search`."""
        return searching.search(
            registry.of_class(cls),
            text,
            image=image,
            filters=filters,
            weights=weights,
            min_score=min_score,
            everything=everything,
        )

    @classmethod
    def search_by_image(
        cls, image: Any, *, filters: Filters | None = None, min_score: float | None = None
    ) -> SearchResults[Row]:
        """Return the products whose images are most like a photo.

        See `clip_search.searching.search_by_image`.
        """
        return searching.search_by_image(registry.of_class(cls), image, filters=filters, min_score=min_score)

    @classmethod
    def similar_to(
        cls, product: Row | str | int, *, filters: Filters | None = None, min_score: float | None = None
    ) -> SearchResults[Row]:
        """Return the products that are most like `product`: see `clip_search.searching.similar_to`."""
        return searching.similar_to(registry.of_class(cls), product, filters=filters, min_score=min_score)

    @classmethod
    def suggest(cls, text: str, *, limit: int = 8) -> Suggestions:
        """Return what to suggest while a shopper types `text`: see `clip_search.searching.suggest`."""
        return searching.suggest(registry.of_class(cls), text, limit=limit)

    @classmethod
    def reindex(cls, rows: Iterable[Row], *, images: bool = False) -> int:
        """Schedule these rows for indexing. Return the number of products.

        Call this after `update()` or `bulk_create()`, for which Django sends no signals. With `images=True`,
        image files are read again even if their name, size and modification time are unchanged. Raises
        TypeError for rows of another Django model.
        """
        document = registry.of_class(cls)
        if isinstance(rows, models.QuerySet):
            document.check_model(rows.model)
            return outbox.schedule(document, document.product_ids(rows), images=images)
        product_ids = document.product_ids(map(document.checked_row, rows))
        return outbox.schedule(document, product_ids, images=images)


DECLARED = frozenset(
    name
    for base in (Declaration, Document)
    for name in (*vars(base), *base.__annotations__)
    if not name.startswith("_")
)
"""The names that a document class may declare, override or call."""


def register(model: type[models.Model]) -> Callable[[DocumentClass], DocumentClass]:
    """Register the decorated Document class for a Django model, as in `@register(Product)`.

    Raises InvalidDeclaration if the model has no table, if the class is no Document, if another document has
    the same name, or if the class has an attribute with a name that looks misspelt, such as `text_field`
    instead of `text_fields`. While Django starts, a check reports this instead.
    """
    if isinstance(model, type) and issubclass(model, Declaration):  # `@register` without a model
        registry.refuse(InvalidDeclaration(f"{model.__name__}: name the model, as in @register(Product)."))
        return cast("Callable[[DocumentClass], DocumentClass]", model)

    def decorate(document_class: DocumentClass) -> DocumentClass:
        try:
            registry.add(BoundDocument(_checked(document_class, model)(model)))
        except InvalidDeclaration as error:
            registry.refuse(error)
        return document_class

    return decorate


def _checked(document_class: DocumentClass, model: Any) -> DocumentClass:
    """Return the class. Raises InvalidDeclaration if it cannot be registered for this model."""
    name = getattr(document_class, "__name__", repr(document_class))
    if not (isinstance(document_class, type) and issubclass(document_class, Declaration)):
        raise InvalidDeclaration(f"{name} is no Document. Write `class {name}(Document):`.")
    if not (isinstance(model, type) and issubclass(model, models.Model)):
        raise InvalidDeclaration(f"{name} is registered for {model!r}, which is no model class.")
    if model._meta.abstract or model._meta.swapped:
        kind = "abstract" if model._meta.abstract else f"swapped for {model._meta.swapped}"
        raise InvalidDeclaration(f"{name}: {model.__name__} is {kind}. Register a model that has a table.")
    if not isinstance(document_class.name, str):
        raise InvalidDeclaration(f"{name}.name is {document_class.name!r}. Make it a string.")
    for attribute, meant in misspellings(document_class, DECLARED):
        raise InvalidDeclaration(
            f"{name} has an attribute {attribute!r}, which Document does not know. Did you "
            f"mean {meant!r}? If it is your own, give it another name, such as {'_' + attribute!r}."
        )
    return document_class
