"""`BoundDocument`: a registered document, with the methods that indexing and searching call."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.files.storage import Storage
from django.db import Error as DatabaseError
from django.db import models, router
from django.utils import translation

from ..exceptions import InvalidDeclaration, ProductError
from ..types import Content, ImageSource, point_id
from . import paths, querysets
from .declaration import Declaration, is_weight, overridden
from .fields import LABELS, InvalidValue, labelled
from .ids import as_id, keys_of, product_id_field
from .text import normalise
from .watching import declared_fields, declared_paths, is_read_by_paths, watched_fields
from .words import Analyser, analyser

if TYPE_CHECKING:
    from django.db.models.fields.files import FieldFile


class BoundDocument:
    """A registered document. `declaration` holds the attributes and methods that the shop wrote."""

    def __init__(self, declaration: Declaration[Any]) -> None:
        self.declaration = declaration
        self.model: type[models.Model] = declaration.model
        self.name: str = declaration.name
        self.using: str = declaration.using

    def __repr__(self) -> str:
        return repr(self.declaration)

    # Reading rows.

    @cached_property
    def analyser(self) -> Analyser:
        """The analyser that finds words in the document's language."""
        return analyser(self.declaration.language or settings.LANGUAGE_CODE)

    def in_its_language(self) -> AbstractContextManager[None]:
        """Return a context manager that activates the document's language, for reading content."""
        return translation.override(self.declaration.language or settings.LANGUAGE_CODE)

    def queryset(self) -> models.QuerySet[Any]:
        """Return the shop's `get_queryset()`, on the database `using`, without its order and its row locks.

        Raises InvalidDeclaration if it cannot be read in pages.
        """
        found: Any = self.declaration.get_queryset()
        if not isinstance(found, models.QuerySet) or not paths.kin(found.model, self.model):
            fault, remedy = f"is no QuerySet of {self.model.__name__}", "Run `manage.py check`."
        else:
            fault, remedy = querysets.mistake(found)
        if fault:
            raise InvalidDeclaration(f"{type(self.declaration).__name__}.get_queryset() {fault}. {remedy}")
        return querysets.ready(found, self.using)

    def rows(self) -> models.QuerySet[Any]:
        """Return `queryset()` and prefetch the relations of all declared paths from the same database.

        If the shop's queryset already prefetches something, the database router chooses the database of these
        relations instead, because Django raises ValueError for a relation with two different querysets.
        """
        rows: Any = querysets.loading(self.queryset(), self._declared_fields)
        alone = not rows._prefetch_related_lookups
        return rows.prefetch_related(*_prefetches(self, alone, tuple(router.routers)))  # type: ignore[no-any-return]

    def find(self, rows: models.QuerySet[Any], product_ids: Sequence[str]) -> dict[str, Any]:
        """Return {product id: row} for the rows to index now, in the order of `product_ids`.

        Ids that have no such row are left out.
        """
        keys = keys_of(product_ids, self.product_id_field, self.using)
        rows = rows.filter(**{f"{self.declaration.id_field}__in": keys})
        if not self.rows_are_products:
            rows = [row for row in rows if self.may_qualify(row)]  # type: ignore[assignment]
        found = {self.declaration.product_id(row): row for row in rows}
        # An integer field finds the row 1 for " 1", and some collations find "A" for "a": leave these out.
        return {product_id: found[product_id] for product_id in product_ids if product_id in found}

    def qualifying(self, product_ids: Sequence[str]) -> set[str]:
        """Return those of `product_ids` with a row that is to be indexed now.

        Only primary keys are read, unless an overridden method must see the rows.
        """
        if not self.rows_are_products:
            return set(self.find(self.rows(), product_ids))
        keys = keys_of(product_ids, self.product_id_field, self.using)
        rows = self.queryset().filter(pk__in=keys)
        return {str(pk) for pk in rows.values_list("pk", flat=True)} & set(product_ids)

    def qualifies(self, row: Any) -> bool:
        """Return whether this row of `get_queryset()` is indexed as a product of its own.

        It is if `should_index()` returns True and `index_as()` returns the row itself.
        """
        if not self.declaration.should_index(row):
            return False
        return "index_as" not in self.overridden or self.declaration.index_as(row) == row

    def may_qualify(self, row: Any) -> bool:
        """Like `qualifies()`, but return True if the shop's method raises.

        Indexing then reads the row, and records the error in its entry.
        """
        try:
            return self.qualifies(row)
        except DatabaseError:
            raise
        except Exception:  # the shop's own methods may raise any exception
            return True

    def check_model(self, model: type[Any]) -> None:
        """Raise TypeError unless `model` is the document's model or a subclass of it.

        If `index_as()` is overridden, every model is accepted.
        """
        concrete = self.model._meta.concrete_model or self.model
        if "index_as" not in self.overridden and not issubclass(model, concrete):
            raise TypeError(f"The document {self.name!r} is for {concrete.__name__}, not {model.__name__}.")

    def checked_row(self, row: Any) -> Any:
        """Return `row` unchanged. Raises TypeError if `check_model()` rejects its model.

        A SimpleLazyObject is accepted too.
        """
        self.check_model(row.__class__)
        return row

    # Reading content.

    def content(self, row: Any) -> Content:
        """Return the row's current content: text, images, payload and texts for exact matches.

        Raises ProductError if `get_payload()` does not return a dict.
        """
        declared = self.declaration
        images = list(declared.get_images(row))[: declared.max_images]
        payload = declared.get_payload(row)
        if not isinstance(payload, Mapping):
            raise ProductError(f"get_payload() returned {payload!r:.99}. It must return a dict.")
        invalid = {key: value for key, value in payload.items() if isinstance(value, InvalidValue)}
        valid = {key: value for key, value in payload.items() if key not in invalid}
        labels = labelled(declared.filter_fields, valid, row)
        exact, text = list(declared.get_exact(row)), declared.get_text(row)
        # by default the same text, which a shop's method need not return twice
        own_texts = declared.search_fields or "get_search_texts" in self.overridden
        searched = declared.get_search_texts(row) if own_texts else [(text, 1.0)]
        return Content(
            product_id=declared.product_id(row),
            text=text,
            searched=tuple(_searched(searched)),
            images=tuple(self.image_source(image) for image in images),
            payload=valid | ({LABELS: labels} if labels else {}),
            invalid={key: value.message for key, value in invalid.items()},
            exact=tuple(dict.fromkeys(filter(None, map(normalise, exact)))),
            codes=tuple(dict.fromkeys(exact)),
        )

    def image_source(self, image: FieldFile | ImageSource) -> ImageSource:
        """Return an image file as an ImageSource, which opens the file only when `open()` is called.

        An ImageSource is returned unchanged.
        """
        if isinstance(image, ImageSource):
            return image
        name, storage = str(image.name), image.storage
        return ImageSource(
            name=name,
            signature=self.declaration.image_signature(image),
            open=lambda: storage.open(name, "rb"),
            local=is_local(storage),
        )

    # Ids of products and points.

    def point_id(self, product_id: str) -> uuid.UUID:
        """Return the UUID of the product's point in the store. Every process computes the same one."""
        return point_id(self.name, product_id)

    def product_ids(self, rows: Iterable[Any]) -> list[str]:
        """Return the product ids under which these rows are indexed, without duplicates.

        For a variant, this may be the id of its parent: see `Declaration.index_as()`.
        """
        if self.ids_are_keys and isinstance(rows, models.QuerySet):
            return [str(pk) for pk in rows.values_list("pk", flat=True)]
        parents = (self.declaration.index_as(row) for row in rows)
        return list(
            dict.fromkeys(self.declaration.product_id(parent) for parent in parents if parent is not None)
        )

    def as_id(self, value: Any) -> str:
        """Return a value of the id field as a product id, which is a string."""
        return as_id(value, self.product_id_field)

    def keys_of(self, product_ids: Iterable[str]) -> list[Any]:
        """Return product ids as values of the id field. Ids that the field cannot hold are left out."""
        return keys_of(product_ids, self.product_id_field, self.using)

    @cached_property
    def product_id_field(self) -> Any:
        """The model field whose value is the product id."""
        return product_id_field(self.model, self.declaration.id_field)

    # Conclusions from the declaration.

    @property
    def multiple_images(self) -> bool:
        """Whether several images of a product are indexed, each with its own vector."""
        return self.declaration.max_images > 1

    @cached_property
    def overridden(self) -> frozenset[str]:
        """The names of the `Declaration` methods that the shop overrides."""
        return overridden(self.declaration)

    @cached_property
    def ids_are_keys(self) -> bool:
        """Whether each product id is the primary key of its row. Then no row must be read to know the id."""
        return self.declaration.id_field == "pk" and not self.overridden & {"product_id", "index_as"}

    @cached_property
    def rows_are_products(self) -> bool:
        """Whether every row of `get_queryset()` is indexed as a product of its own.

        If an overridden method decides that, the answer is False, and the rows must be read.
        """
        return self.ids_are_keys and "should_index" not in self.overridden

    @cached_property
    def is_read_by_paths(self) -> bool:
        """Whether content is read from declared fields and relations only, not by methods of the shop."""
        return is_read_by_paths(self.declaration)

    @cached_property
    def watched_fields(self) -> frozenset[str] | None:
        """The fields whose change can change the index, named as in `update_fields`; None for any field."""
        return watched_fields(self.declaration)

    @cached_property
    def _declared_fields(self) -> frozenset[str]:
        return declared_fields(self.declaration)

    def depends_on(self, relation: str) -> bool:
        """Return whether a change of this relation of the model may change the index."""
        first = {path.split(".")[0] for _, path in declared_paths(self.declaration)}
        return self.watched_fields is None or relation in first


def _searched(texts: Iterable[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Yield the texts that have words, with their weights. Raises ProductError if they are something else."""
    for pair in texts:
        text, weight = pair if isinstance(pair, tuple | list) and len(pair) == 2 else (None, 0)
        if not isinstance(text, str) or not is_weight(weight):
            raise ProductError(
                f"get_search_texts() returned {pair!r:.99}. It must return pairs of a text and a weight, "
                "which is a number above 0, such as those of search_fields."
            )
        if text:
            yield text, float(weight)


@lru_cache(maxsize=64)
def _prefetches(
    document: BoundDocument, alone: bool, routers: tuple[Any, ...]
) -> tuple[models.Prefetch[Any], ...]:
    """Return the Prefetch objects for the declared paths. `routers` is used only as part of the cache key.

    `alone` means that the shop's own queryset prefetches nothing.
    """
    using, lists = document.using if alone else None, alone and document.is_read_by_paths
    found = (
        prefetch
        for _, path in declared_paths(document.declaration)
        for prefetch in paths.prefetches(document.model, path, using, lists=lists)
    )
    return tuple(dict.fromkeys(found))


def is_local(storage: Storage) -> bool:
    """Return whether a storage keeps its files on a local disk: only such storages override `path()`."""
    return storage.__class__.path is not Storage.path  # type(default_storage) is LazyObject
