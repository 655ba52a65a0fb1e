"""`Declaration`: the attributes that a shop sets on its document class, and the methods to override."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from django.core.exceptions import SuspiciousFileOperation
from django.db import DEFAULT_DB_ALIAS, models

from . import paths
from .fields import FilterField
from .ids import as_id, product_id_field
from .text import clean

if TYPE_CHECKING:
    from django.db.models.fields.files import FieldFile

    from ..types import ImageSource

Row = TypeVar("Row", bound=models.Model)
WEIGHTS: Final[Mapping[str, float]] = {"text": 1.0, "image": 1.0, "words": 1.0}
"""The default of `Declaration.weights`."""


class Declaration(Generic[Row]):
    """Declares how rows of one model are indexed: set class attributes, and override methods if needed."""

    model: type[Row]
    """The Django model that the document class is registered for."""
    name: str = ""
    """The document's name; by default, the model's name in lower case."""
    using: str = DEFAULT_DB_ALIAS
    """The alias of the database that holds both the model's rows and the index entries."""
    language: str = ""
    """The language of the texts: a Django language code; by default, `LANGUAGE_CODE`.

    It is active while rows are read, so translated texts do not depend on the language of the request or
    worker that reads them. It also chooses how words are reduced to stems, and which words do not count."""
    id_field: str = "pk"
    """The unique field that `product_id()` reads. If you override `product_id()`, set this too."""
    text_fields: Sequence[str] = ()
    """Paths to the product's texts, such as `["name", "description"]`. They are joined in this order."""
    search_fields: Mapping[str, float] = {}
    """Paths to the texts whose words find the product, with their weights: `{"name": 3, "description": 1}`.

    By default, these are the words of `get_text()`, all with the same weight."""
    synonyms: Mapping[str, Sequence[str]] = {}
    """Words that mean the same, such as `{"sofa": ["couch", "settee"]}`. They find each other."""
    stop_words: Sequence[str] = ()
    """Words that say nothing in this shop, in addition to those of the language: `["shop", "online"]`."""
    everything: bool = False
    """Whether a search by words ranks the whole shop, as for texts that say little.

    Otherwise it finds only products with these words, and products as near in meaning as they are."""
    image_field: str | None = None
    """Path to the product's image or images, such as `"images.original"`."""
    max_images: int = 1
    """How many images of a product are indexed at most."""
    exact_fields: Sequence[str] = ()
    """Paths to texts such as `["sku", "name"]`. A product whose text equals the query comes first."""
    filter_fields: Mapping[str, FilterField] = {}
    """The filters of a search by their names, such as `{"price": Number("price")}`."""
    weights: Mapping[str, float] = WEIGHTS
    """How much the meaning of the text, the image and the words count in the order of a search by words.

    Only the ratio of the three matters. What is not named has the weight 1."""
    query_prompt: str = "a photo of {query}"
    """The sentence that is embedded for a search; `{query}` stands for the shopper's words.

    CLIP was trained on image captions, so the query is written as one (Radford et al., "Learning transferable
    visual models from natural language supervision", 2021, section 3.1.4)."""
    related: Mapping[type[models.Model], str | Sequence[str]] = {}
    """Other models whose changes affect products, with the path to these products.

    For example, `{ProductImage: "product"}`."""
    reads: Sequence[str] | None = None
    """Other paths that the methods you override read, including `get_queryset()`: `["is_public"]`.

    If this is None, these methods may read any field, so every save of a product schedules its indexing. If
    this is set, `save(update_fields=["views"])` schedules nothing, unless a path names the field."""

    def __init__(self, model: type[Row]) -> None:
        self.model = model
        self.name = self.name or model.__name__.lower()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self.model._meta.label}>"

    def get_queryset(self) -> models.QuerySet[Row]:
        """Return the rows to index. A row that is not in this queryset is removed from the index.

        Its order and its row locks are ignored. Slices, `values()`, and combined querysets such as `union()`
        raise InvalidDeclaration.
        """
        return self.model._default_manager.all()

    def should_index(self, obj: Row) -> bool:
        """Return whether to index this row of `get_queryset()`. Use it if a query cannot decide that."""
        return True

    def get_text(self, obj: Row) -> str:
        """Return the product's text: the values of `text_fields` without HTML, joined by `". "`."""
        texts = (clean(value) for path in self.text_fields for value in paths.values(obj, path))
        return ". ".join(text for text in texts if text)

    def get_search_texts(self, obj: Row) -> Iterable[tuple[str, float]]:
        """Return the texts whose words find the product, each with its weight: those of `search_fields`."""
        if not self.search_fields:
            return [(self.get_text(obj), 1.0)]
        return [
            (clean(value), weight)
            for path, weight in self.search_fields.items()
            for value in paths.values(obj, path)
        ]

    def get_images(self, obj: Row) -> Iterable[FieldFile | ImageSource]:
        """Return the product's images, the most important first. Only the first `max_images` are indexed."""
        return [file for file in paths.values(obj, self.image_field) if file] if self.image_field else []

    def get_payload(self, obj: Row) -> dict[str, Any]:
        """Return the JSON values that are stored with the product, for filters and for `Hit.payload`."""
        values = {key: field.read(obj) for key, field in self.filter_fields.items()}
        return {key: value for key, value in values.items() if value is not None}

    def get_exact(self, obj: Row) -> Iterable[str]:
        """Return the texts that match a query exactly: the values of `exact_fields`."""
        return [str(value) for path in self.exact_fields for value in paths.values(obj, path)]

    def product_id(self, obj: Row) -> str:
        """Return the product's id in the index: a string of at most 255 characters."""
        return as_id(getattr(obj, self.id_field), product_id_field(self.model, self.id_field))

    def index_as(self, obj: Row) -> Any:
        """Return the row that is indexed in place of `obj`, such as the parent of a variant.

        Return None if `obj` is not to be indexed.
        """
        return obj

    def image_signature(self, file: FieldFile) -> str:
        """Return a string that changes when the image file changes.

        By default, the string holds the file's name and, on a local disk, its size and modification time. The
        file is not read, and a remote storage is not asked.
        """
        try:
            stat = os.stat(file.path)  # noqa: PTH116 -- called for each image of `clip_reindex`; Path is slower
        except NotImplementedError:  # a remote storage
            return str(file.name)
        except (OSError, ValueError, SuspiciousFileOperation):  # the file is missing, or its name is invalid
            return f"{file.name}:missing"
        return f"{file.name}:{stat.st_size}:{stat.st_mtime_ns}"


def is_weight(value: Any) -> bool:
    """Return whether a value can be the weight of a searched text: a finite number above 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


HOOKS = frozenset(
    name for name, value in vars(Declaration).items() if callable(value) and not name.startswith("_")
)
"""The names of the methods that a shop may override."""


def overridden(declaration: Declaration[Any]) -> frozenset[str]:
    """Return the names of the `Declaration` methods that the shop's class overrides."""
    theirs = type(declaration)
    return frozenset(name for name in HOOKS if getattr(theirs, name) is not getattr(Declaration, name))
