"""The attributes that a host declares and the methods that it may override: nothing else is on the class."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.core.exceptions import SuspiciousFileOperation
from django.db import DEFAULT_DB_ALIAS, models

from . import paths
from .fields import FilterField
from .ids import as_id, id_column
from .text import clean

if TYPE_CHECKING:
    from django.db.models.fields.files import FieldFile

    from ..types import ImageSource

Row = TypeVar("Row", bound=models.Model)


class Declaration(Generic[Row]):
    """How one model becomes searchable: class attributes declare, methods may be overridden."""

    model: type[Row]
    """The model that the document was registered for."""
    name: str = ""
    """Name of the document; the model's name in lower case by default."""
    using: str = DEFAULT_DB_ALIAS
    """The one database where the model and the index entries live."""
    language: str = ""
    """The language in which content is read, a Django language code; `LANGUAGE_CODE` by default.

    Otherwise the language of the request, or of the worker, would decide what is indexed."""
    id_field: str = "pk"
    """The unique field that `product_id()` reads. Change both or neither."""
    text_fields: Sequence[str] = ()
    """Paths of what the product says, in this order, such as `["name", "description"]`."""
    image_field: str | None = None
    """Path of what the product shows, such as `"images.original"`."""
    max_images: int = 1
    """How many images of a product are indexed."""
    exact_fields: Sequence[str] = ()
    """Paths of what a shopper may type exactly, such as `["sku", "name"]`."""
    filter_fields: Mapping[str, FilterField] = {}
    """What results can be filtered by, such as `{"price": Number("price")}`."""
    weights: Mapping[str, float] = {"text": 1.0, "image": 1.0}
    """How much the ranks by text and by image count in a search by words. Only their ratio counts."""
    query_prompt: str = "a photo of {query}"
    """The text that the model embeds for a query. CLIP was trained on captions (Radford et al., "Learning
    transferable visual models from natural language supervision", 2021, section 3.1.4)."""
    related: Mapping[type[models.Model], str | Sequence[str]] = {}
    """Models whose changes concern products, and the path from each to them: `{ProductImage: "product"}`."""
    reads: Sequence[str] | None = None
    """Paths that `get_queryset()` and the host's own methods read, beside the declared ones: `["is_public"]`.

    By default they may read anything, so that a save of any column counts as a change. If this is set,
    `save(update_fields=["views"])` of another column schedules nothing."""

    def __init__(self, model: type[Row]) -> None:
        self.model = model
        self.name = self.name or model.__name__.lower()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self.model._meta.label}>"

    def get_queryset(self) -> models.QuerySet[Row]:
        """Return the rows to index. Rows that are not in it are removed from the index."""
        return self.model._default_manager.all()

    def should_index(self, obj: Row) -> bool:
        """Return whether a row of `get_queryset()` is indexed, if a query cannot tell."""
        return True

    def get_text(self, obj: Row) -> str:
        """Return what the product says: the values of `text_fields`, without HTML."""
        texts = (clean(value) for path in self.text_fields for value in paths.values(obj, path))
        return ". ".join(text for text in texts if text)

    def get_images(self, obj: Row) -> Iterable[FieldFile | ImageSource]:
        """Return what the product shows, the most important image first."""
        return [file for file in paths.values(obj, self.image_field) if file] if self.image_field else []

    def get_payload(self, obj: Row) -> dict[str, Any]:
        """Return the JSON values to filter by and to return with a hit."""
        values = {key: field.read(obj) for key, field in self.filter_fields.items()}
        return {key: value for key, value in values.items() if value is not None}

    def get_exact(self, obj: Row) -> Iterable[str]:
        """Return what a shopper may type exactly: the values of `exact_fields`."""
        return [str(value) for path in self.exact_fields for value in paths.values(obj, path)]

    def product_id(self, obj: Row) -> str:
        """Return the product's id in the index, at most 255 characters."""
        return as_id(getattr(obj, self.id_field), id_column(self.model, self.id_field))

    def index_as(self, obj: Row) -> Any:
        """Return the row whose point stands for this one, such as a variant's parent; None for no point."""
        return obj

    def image_signature(self, file: FieldFile) -> str:
        """Return a string that changes when the file does, without reading it or asking a remote storage.

        By default it holds the name and, if the file is on a local disk, the size and the time of change.
        """
        try:
            stat = os.stat(file.path)  # noqa: PTH116 -- called for each image of a nightly run; Path is slower
        except NotImplementedError:  # a remote storage
            return str(file.name)
        except (OSError, ValueError, SuspiciousFileOperation):  # missing, or not the name of a file
            return f"{file.name}:missing"
        return f"{file.name}:{stat.st_size}:{stat.st_mtime_ns}"


HOOKS = frozenset(
    name for name, value in vars(Declaration).items() if callable(value) and not name.startswith("_")
)
"""The names of the methods that a host may override."""


def overridden(declaration: Declaration[Any]) -> frozenset[str]:
    """Return the hooks that a host overrides."""
    theirs = type(declaration)
    return frozenset(name for name in HOOKS if getattr(theirs, name) is not getattr(Declaration, name))
