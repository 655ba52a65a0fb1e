"""A declaration bound to its model: what the rest of the package asks of a document."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.files.storage import Storage
from django.db import Error as DatabaseError
from django.db import models, router
from django.utils import translation

from ..exceptions import ProductError
from ..types import Content, ImageSource, point_id
from . import paths
from .declaration import Declaration, overridden
from .fields import InvalidValue
from .ids import as_id, id_column, keys_of
from .text import normalise
from .watching import declared_paths, is_read_by_paths, watched_columns

if TYPE_CHECKING:
    from django.db.models.fields.files import FieldFile


class BoundDocument:
    """One registered document. The host's attributes and methods are reached through `declaration` alone."""

    def __init__(self, declaration: Declaration[Any]) -> None:
        self.declaration = declaration
        self.model: type[models.Model] = declaration.model
        self.name: str = declaration.name
        self.using: str = declaration.using

    def __repr__(self) -> str:
        return repr(self.declaration)

    # Rows.

    def in_its_language(self) -> AbstractContextManager[None]:
        """Return a context manager that activates the language in which content is read."""
        return translation.override(self.declaration.language or settings.LANGUAGE_CODE)

    def queryset(self) -> models.QuerySet[Any]:
        """Return the host's `get_queryset()` on the database that is written to."""
        return self.declaration.get_queryset().using(self.using)

    def rows(self) -> models.QuerySet[Any]:
        """Return `queryset()` with the declared relations prefetched from the same database.

        If the host prefetches relations itself, or a manager of the host does, a database router decides
        where they are read: Django accepts no second queryset for a relation.
        """
        rows: Any = self.queryset()
        alone = not rows._prefetch_related_lookups
        return rows.prefetch_related(*_prefetches(self, alone, tuple(router.routers)))  # type: ignore[no-any-return]

    def find(self, rows: models.QuerySet[Any], product_ids: Sequence[str]) -> dict[str, Any]:
        """Return the rows that qualify now, by product id, in the order of the ids. Others are missing."""
        keys = keys_of(product_ids, self.id_column, self.using)
        rows = rows.filter(**{f"{self.declaration.id_field}__in": keys})
        if not self.rows_are_products:
            rows = [row for row in rows if self.may_qualify(row)]  # type: ignore[assignment]
        found = {self.declaration.product_id(row): row for row in rows}
        # only what was asked for: an integer column reads " 1" as 1, and a collation "a" as "A"
        return {product_id: found[product_id] for product_id in product_ids if product_id in found}

    def qualifying(self, product_ids: Sequence[str]) -> set[str]:
        """Return the ids whose rows qualify now, reading as little as possible."""
        if not self.rows_are_products:
            return set(self.find(self.rows(), product_ids))
        keys = keys_of(product_ids, self.id_column, self.using)
        rows = self.queryset().filter(pk__in=keys)
        return {str(pk) for pk in rows.values_list("pk", flat=True)} & set(product_ids)

    def qualifies(self, row: Any) -> bool:
        """Return whether a row of `get_queryset()` has a point of its own."""
        if not self.declaration.should_index(row):
            return False
        return "index_as" not in self.overridden or self.declaration.index_as(row) == row

    def may_qualify(self, row: Any) -> bool:
        """Like `qualifies()`, but True if a host method raises: reading the row then reports the error."""
        try:
            return self.qualifies(row)
        except DatabaseError:
            raise
        except Exception:  # the host's code may raise anything
            return True

    def check_model(self, model: type[Any]) -> None:
        """Raise TypeError if rows of a model are no products. If `index_as` is overridden, any may be."""
        concrete = self.model._meta.concrete_model or self.model
        if "index_as" not in self.overridden and not issubclass(model, concrete):
            raise TypeError(f"{self.name!r} holds {concrete.__name__}, not {model.__name__}.")

    def checked_row(self, row: Any) -> Any:
        """Return the row, which may be a lazy object. Raises TypeError if it is of another model."""
        self.check_model(row.__class__)
        return row

    # Content.

    def content(self, row: Any) -> Content:
        """Read what a row says and shows now."""
        declared = self.declaration
        images = list(declared.get_images(row))[: declared.max_images]
        payload = declared.get_payload(row)
        if not isinstance(payload, Mapping):
            raise ProductError(f"The payload is {payload!r:.99}. Make get_payload() return a dict.")
        invalid = {key: value for key, value in payload.items() if isinstance(value, InvalidValue)}
        return Content(
            product_id=declared.product_id(row),
            text=declared.get_text(row),
            images=tuple(self.image_source(image) for image in images),
            payload={key: value for key, value in payload.items() if key not in invalid},
            invalid={key: value.message for key, value in invalid.items()},
            exact=tuple(dict.fromkeys(filter(None, map(normalise, declared.get_exact(row))))),
        )

    def image_source(self, image: FieldFile | ImageSource) -> ImageSource:
        """Return a file of Django's storage as an image that has not been read yet."""
        if isinstance(image, ImageSource):
            return image
        name, storage = str(image.name), image.storage
        return ImageSource(
            name=name,
            signature=self.declaration.image_signature(image),
            open=lambda: storage.open(name, "rb"),
            local=_is_local(storage),
        )

    # Ids.

    def point_id(self, product_id: str) -> uuid.UUID:
        """Return the id of the product's point, the same on every machine."""
        return point_id(self.name, product_id)

    def product_ids(self, rows: Iterable[Any]) -> list[str]:
        """Return the ids of the points that stand for these rows, each once."""
        if self.ids_are_keys and isinstance(rows, models.QuerySet):
            return [str(pk) for pk in rows.values_list("pk", flat=True)]
        parents = (self.declaration.index_as(row) for row in rows)
        return list(
            dict.fromkeys(self.declaration.product_id(parent) for parent in parents if parent is not None)
        )

    def as_id(self, value: Any) -> str:
        """Return a value of the id's field as a product id."""
        return as_id(value, self.id_column)

    def keys_of(self, product_ids: Iterable[str]) -> list[Any]:
        """Return the values of the id's field for product ids, without those that it cannot have."""
        return keys_of(product_ids, self.id_column, self.using)

    @cached_property
    def id_column(self) -> Any:
        """The column that holds the ids."""
        return id_column(self.model, self.declaration.id_field)

    # What can be told from the declaration.

    @property
    def multiple_images(self) -> bool:
        """Whether a point has a vector for each of several images."""
        return self.declaration.max_images > 1

    @cached_property
    def overridden(self) -> frozenset[str]:
        """The hooks that the host overrides."""
        return overridden(self.declaration)

    @cached_property
    def ids_are_keys(self) -> bool:
        """Whether a row's primary key is its product id, so that the row need not be read to know it."""
        return self.declaration.id_field == "pk" and not self.overridden & {"product_id", "index_as"}

    @cached_property
    def rows_are_products(self) -> bool:
        """Whether each row of `get_queryset()` is a product, so that none need be read to know it."""
        return self.ids_are_keys and "should_index" not in self.overridden

    @cached_property
    def is_read_by_paths(self) -> bool:
        """Whether a row is read by columns and relations alone."""
        return is_read_by_paths(self.declaration)

    @cached_property
    def watched_columns(self) -> frozenset[str] | None:
        """The columns whose change can change the index; None if any column may."""
        return watched_columns(self.declaration)

    def depends_on(self, relation: str) -> bool:
        """Return whether the index may depend on this relation of the model."""
        first = {path.split(".")[0] for _, path in declared_paths(self.declaration)}
        return self.watched_columns is None or relation in first


@lru_cache(maxsize=64)
def _prefetches(
    document: BoundDocument, alone: bool, routers: tuple[Any, ...]
) -> tuple[models.Prefetch[Any], ...]:
    """Return what to prefetch for the declared paths; `alone` if the host's queryset prefetches nothing."""
    using, lists = document.using if alone else None, alone and document.is_read_by_paths
    found = (
        prefetch
        for _, path in declared_paths(document.declaration)
        for prefetch in paths.prefetches(document.model, path, using, lists=lists)
    )
    return tuple(dict.fromkeys(found))


def _is_local(storage: Storage) -> bool:
    """Return whether a storage has its files on a local disk: by Django's contract only those have paths."""
    return storage.__class__.path is not Storage.path  # `type` would not see through a lazy object
