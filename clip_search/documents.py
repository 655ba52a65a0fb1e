"""`Document`: how one model becomes searchable content; the registry of documents."""

from __future__ import annotations

import datetime
import html
import os
import re
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from django.core.exceptions import SuspiciousFileOperation, ValidationError
from django.core.files.storage import Storage
from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db import Error as DatabaseError
from django.db.models.fields.files import FieldFile
from django.utils.html import strip_tags

from . import paths
from .exceptions import InvalidDeclaration
from .types import Content, ImageSource, point_id

if TYPE_CHECKING:
    from .searching import SearchResults

DocumentClass = TypeVar("DocumentClass", bound="type[Document]")

HOOKS = ("get_queryset", "should_index", "get_text", "get_images", "get_payload", "get_exact", "index_as")
RESERVED_KEYS = frozenset(
    {"_clip", "metadata", "name", "description"}
    | {"q", "image_file", "facets", "page", "page_size", "min_score"}
    | {"text", "product", "document", "limit"}
)
"""Keys that no filter can have: those of payloads, and what endpoints and template tags take themselves."""


class FilterField:
    """A payload value to filter by, read from a path. `coerce` gives its JSON value or raises ValueError."""

    kind: ClassVar[Literal["keyword", "number", "bool", "date"]]

    def __init__(self, path: str) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def coerce(self, value: Any) -> Any:
        raise NotImplementedError


class Keyword(FilterField):
    """An exact string, such as a slug."""

    kind = "keyword"

    def coerce(self, value: Any) -> str:
        return str(value)


class Number(FilterField):
    """An int, float or Decimal; compared as float64."""

    kind = "number"

    def coerce(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
            raise ValueError(f"{value!r} is not a number")
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        if number != number or number in (float("inf"), float("-inf")):
            raise ValueError(f"{value!r} is not a finite number")
        return number


class Bool(FilterField):
    """True or False; "true", "false", "1" and "0" are understood too."""

    kind = "bool"
    _words: ClassVar[Mapping[str, bool]] = {"true": True, "1": True, "false": False, "0": False}

    def coerce(self, value: Any) -> bool:
        if isinstance(value, str):
            if value.lower() not in self._words:
                raise ValueError(f"{value!r} is not true or false")
            return self._words[value.lower()]
        return bool(value)


class Date(FilterField):
    """A date or datetime, or either in ISO 8601; a naive one is taken as UTC. Kept as RFC 3339 in UTC."""

    kind = "date"

    def coerce(self, value: Any) -> str:
        if isinstance(value, str):
            value = datetime.datetime.fromisoformat(value)
        if not isinstance(value, datetime.date):
            raise ValueError(f"{value!r} is not a date")
        if not isinstance(value, datetime.datetime):
            value = datetime.datetime.combine(value, datetime.time())
        aware: datetime.datetime = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
        try:
            return aware.astimezone(datetime.UTC).isoformat()
        except OverflowError as error:
            raise ValueError(f"{value!r} has no date in UTC") from error


class Document:
    """How one model becomes searchable. Class attributes declare; methods may be overridden."""

    name: str = ""
    """Name of the document; the model's name in lower case by default."""
    using: str = DEFAULT_DB_ALIAS
    """The one database where the model and the index entries live."""
    id_field: str = "pk"
    """The unique field that `product_id` reads. Change both or neither."""
    text_fields: Sequence[str] = ()
    image_field: str | None = None
    max_images: int = 1
    exact_fields: Sequence[str] = ()
    filter_fields: Mapping[str, FilterField] = {}
    weights: Mapping[str, float] = {"text": 1.0, "image": 1.0}
    """How much the ranks by text and by image count in a search by words."""
    query_prompt: str = "a photo of {query}"
    """What the model is asked in a search by words: CLIP was trained on captions (Radford et al., "Learning
    transferable visual models from natural language supervision", 2021, section 3.1.4)."""
    related: Mapping[type[models.Model], str | Sequence[str]] = {}

    def __init__(self, model: type[models.Model]) -> None:
        self.model = model
        self.name = self.name or model.__name__.lower()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self.model._meta.label}>"

    # What a host may override.

    def get_queryset(self) -> models.QuerySet[Any]:
        """Return the rows to index; what is not in it is removed from the index."""
        return self.model._default_manager.all()

    def should_index(self, obj: Any) -> bool:
        """Say whether this row of `get_queryset()` is indexed, where a query cannot."""
        return True

    def get_text(self, obj: Any) -> str:
        """Return what the product says: `text_fields` in their order, without HTML."""
        texts = (clean(value) for path in self.text_fields for value in paths.values(obj, path))
        return ". ".join(text for text in texts if text)

    def get_images(self, obj: Any) -> Iterable[FieldFile | ImageSource]:
        """Return what the product shows, the most important first."""
        return [file for file in paths.values(obj, self.image_field) if file] if self.image_field else []

    def get_payload(self, obj: Any) -> dict[str, Any]:
        """Return the JSON values to filter by and to show with a hit."""
        payload = {}
        for key, field in self.filter_fields.items():
            found = [field.coerce(value) for value in paths.values(obj, field.path)]
            if len(found) > 1 or paths.crosses_many(self.model, field.path):
                payload[key] = found
            elif found:
                payload[key] = found[0]
        return payload

    def get_exact(self, obj: Any) -> Iterable[str]:
        """Return what a shopper may type exactly: the values of `exact_fields`."""
        return [str(value) for path in self.exact_fields for value in paths.values(obj, path)]

    def product_id(self, obj: Any) -> str:
        """Return the product's id in the index, at most 255 characters."""
        return self.as_id(getattr(obj, self.id_field))

    def index_as(self, obj: Any) -> Any:
        """Return the row whose point stands for this one: a variant's parent, or None for no point."""
        return obj

    def image_signature(self, file: FieldFile) -> str:
        """Return what changes when the file does, without reading it or asking a remote storage."""
        try:
            stat = _local_stat(file)
        except (OSError, ValueError, SuspiciousFileOperation):  # a name may be no path, or lead elsewhere
            return f"{file.name}:missing"
        return f"{file.name}:{stat.st_size}:{stat.st_mtime_ns}" if stat else str(file.name)

    # What a host calls.

    @classmethod
    def search(cls, text: str, **options: Any) -> SearchResults:
        """Find products by words: see `clip_search.searching.search`."""
        from . import searching

        return searching.search(cls.instance(), text, **options)

    @classmethod
    def search_by_image(cls, image: Any, **options: Any) -> SearchResults:
        """Find products by a photo: see `clip_search.searching.search_by_image`."""
        from . import searching

        return searching.search_by_image(cls.instance(), image, **options)

    @classmethod
    def similar_to(cls, product: Any, **options: Any) -> SearchResults:
        """Find products like this one: see `clip_search.searching.similar_to`."""
        from . import searching

        return searching.similar_to(cls.instance(), product, **options)

    @classmethod
    def reindex(cls, queryset: Iterable[Any]) -> int:
        """Have these rows indexed anew, as after `update()` or `bulk_create()`. Returns how many.

        Raises TypeError for rows of another model.
        """
        from . import jobs

        document = cls.instance()
        if isinstance(queryset, models.QuerySet):
            document.check_model(queryset.model)
            return jobs.request(document, document.product_ids(queryset))
        return jobs.request(document, document.product_ids(map(document.checked_row, queryset)))

    @classmethod
    def instance(cls) -> Document:
        """Return the registered instance of this class. Raises InvalidDeclaration."""
        for document in registry:
            if type(document) is cls:
                return document
        raise InvalidDeclaration(f"{cls.__name__} is not registered. Decorate it with @register(Model).")

    # What the package calls.

    def check_model(self, model: type[Any]) -> None:
        """Raise TypeError where rows of a model are no products; `index_as` may take any."""
        concrete = self.model._meta.concrete_model or self.model
        if "index_as" not in self.overridden and not issubclass(model, concrete):
            raise TypeError(f"{self.name!r} holds {concrete.__name__}, not {model.__name__}.")

    def checked_row(self, row: Any) -> Any:
        """Return a row, or a lazy object that stands for one. Raises TypeError for another model's."""
        self.check_model(row.__class__)
        return row

    def point_id(self, product_id: str) -> uuid.UUID:
        """Return the id of the product's point, the same on every machine."""
        return point_id(self.name, product_id)

    def rows(self) -> models.QuerySet[Any]:
        """Return `get_queryset()` on the write database, with the declared relations prefetched from there.

        What a method of the host, or a prefetch of his, may see of them is as he has it; where he prefetches,
        or a manager of his does, a router decides: Django takes no second queryset for a relation.
        """
        rows: Any = self.get_queryset().using(self.using)
        alone = not rows._prefetch_related_lookups
        using, lists = self.using if alone else None, alone and self.reads_by_paths
        prefetches = (
            prefetch
            for _, path in self.declared_paths()
            for prefetch in paths.prefetches(self.model, path, using, lists=lists)
        )
        return rows.prefetch_related(*dict.fromkeys(prefetches))  # type: ignore[no-any-return]

    def resolve(self, product_ids: Sequence[str]) -> dict[str, Any]:
        """Return the rows that qualify now, by product id: gone and unpublished ones are missing."""
        keys = list(self._keys(product_ids))
        rows = self.rows().filter(**{f"{self.id_field}__in": keys})
        found = {self.product_id(row): row for row in rows if self.may_qualify(row)}
        return {product_id: found[product_id] for product_id in product_ids if product_id in found}

    def qualifying(self, product_ids: Sequence[str]) -> set[str]:
        """Return those of the ids whose rows qualify now, reading no more than that takes."""
        if not self.rows_are_products:
            return set(self.resolve(product_ids))
        rows = self.get_queryset().using(self.using).filter(pk__in=list(self._keys(product_ids)))
        return {str(pk) for pk in rows.values_list("pk", flat=True)} & set(product_ids)

    def qualifies(self, row: Any) -> bool:
        """Say whether a row of `get_queryset()` has a point of its own."""
        if not self.should_index(row):
            return False
        return "index_as" not in self.overridden or self.index_as(row) == row

    def may_qualify(self, row: Any) -> bool:
        """Say the same, and yes where the host's own method raises: reading the row then says why."""
        try:
            return self.qualifies(row)
        except DatabaseError:
            raise
        except Exception:  # the host's code may raise anything
            return True

    def content(self, row: Any) -> Content:
        """Read what a row says and shows now."""
        images = list(self.get_images(row))[: self.max_images]
        return Content(
            product_id=self.product_id(row),
            text=self.get_text(row),
            images=tuple(self.image_source(image) for image in images),
            payload=self.get_payload(row),
            exact=tuple(dict.fromkeys(filter(None, map(normalise, self.get_exact(row))))),
        )

    def image_source(self, image: FieldFile | ImageSource) -> ImageSource:
        """Return a file of Django's storage as an image that is not read yet."""
        if isinstance(image, ImageSource):
            return image
        name, storage = str(image.name), image.storage
        return ImageSource(
            name=name,
            signature=self.image_signature(image),
            open=lambda: storage.open(name, "rb"),
            local=_is_local(storage),
        )

    def product_ids(self, rows: Iterable[Any]) -> list[str]:
        """Return the ids of the points that stand for these rows, each once."""
        if self.ids_are_keys and isinstance(rows, models.QuerySet):
            return [str(pk) for pk in rows.values_list("pk", flat=True)]
        parents = (self.index_as(row) for row in rows)
        return list(dict.fromkeys(self.product_id(parent) for parent in parents if parent is not None))

    @cached_property
    def overridden(self) -> frozenset[str]:
        """Which hooks the host overrides."""
        return frozenset(name for name in HOOKS if getattr(type(self), name) is not getattr(Document, name))

    @property
    def ids_are_keys(self) -> bool:
        """Whether a row's primary key is its product id, so that no row need be read to know it."""
        own_id = type(self).product_id is not Document.product_id
        return not own_id and self.id_field == "pk" and "index_as" not in self.overridden

    @property
    def rows_are_products(self) -> bool:
        """Whether each row of `get_queryset()` is a product, and none need be read to know it."""
        return self.ids_are_keys and "should_index" not in self.overridden

    def as_id(self, value: Any) -> str:
        """Return a value of the id's field as an id: a row that was made by hand has what it was given.

        The database gives a UUID, whose text is another than its hex digits, in which it may have been given.
        """
        try:
            return str(self._id_column.to_python(value))
        except ValidationError:
            return str(value)

    @property
    def multiple_images(self) -> bool:
        """Whether a point has a vector for each of several images."""
        return self.max_images > 1

    @property
    def _id_column(self) -> Any:
        field: Any = (
            self.model._meta.pk if self.id_field == "pk" else self.model._meta.get_field(self.id_field)
        )
        while field.remote_field:
            field = field.target_field
        return field

    def _keys(self, product_ids: Sequence[str]) -> Iterator[Any]:
        for product_id in product_ids:
            try:
                key = self._id_column.to_python(product_id)
            except ValidationError:
                continue  # an id that the model cannot have, such as a posted "test-123"
            if _can_be_asked(self._id_column, key, self.using):
                yield key

    def declared_paths(self) -> list[tuple[str, str]]:
        """Return every path that is declared, each with the attribute that declares it."""
        found = [("text_fields", path) for path in self.text_fields]
        found += [("image_field", self.image_field)] if self.image_field else []
        found += [("exact_fields", path) for path in self.exact_fields]
        return found + [("filter_fields", field.path) for field in self.filter_fields.values()]

    def reads(self, relation: str) -> bool:
        """Say whether the index may depend on this relation of the model."""
        declared = {path.split(".")[0] for _, path in self.declared_paths()}
        return self.watched_columns is None or relation in declared

    @cached_property
    def reads_by_paths(self) -> bool:
        """Whether a row is read by columns and relations alone: a method of the host may read anything."""
        own_id = type(self).product_id is not Document.product_id
        return not own_id and not self.overridden - {"get_queryset"} and None not in self._first_columns

    @cached_property
    def watched_columns(self) -> frozenset[str] | None:
        """The columns whose change can change the index; None if any column may.

        Of `get_queryset()` the query itself says which columns it filters by.
        """
        columns = _filtered_columns(self.get_queryset()) if self.reads_by_paths else None
        return None if columns is None else frozenset(columns.union(*filter(None, self._first_columns)))

    @property
    def _first_columns(self) -> list[set[str] | None]:
        ids = [] if self.id_field == "pk" else [self.id_field]
        declared = [*ids, *(path for _, path in self.declared_paths())]
        return [paths.first_columns(self.model, path) for path in declared]


def _filtered_columns(queryset: models.QuerySet[Any]) -> set[str] | None:
    """Return the model's own columns that a queryset filters by; None where that cannot be read off."""
    query, columns = queryset.query, set()
    if query.combinator or query.distinct or query.is_sliced or query.annotations:
        return None
    nodes: list[Any] = list(query.where.children)
    while nodes:
        node = nodes.pop()
        if hasattr(node, "children"):
            nodes += node.children
            continue
        target = getattr(getattr(node, "lhs", None), "target", None)
        if target is None or _compares_columns(node.rhs):
            return None
        columns |= {target.name, target.attname}
    joins: list[Any] = [join.join_field for join in query.alias_map.values() if hasattr(join, "join_field")]
    if any(field.one_to_many or field.many_to_many for field in joins):
        return None
    return columns | {name for field in joins for name in (field.name, getattr(field, "attname", field.name))}


def _compares_columns(value: Any) -> bool:
    """Say whether the right side of a lookup is, or lists, something that the database works out."""
    return any(
        hasattr(v, "resolve_expression") for v in (value if isinstance(value, paths.LISTS) else [value])
    )


def _can_be_asked(field: Any, key: Any, using: str) -> bool:
    """Say whether a database can be asked for a key: some raise for an integer that they could not hold.

    The field's validators are for forms: rows from before them, or that came past them, are to be found.
    """
    if not isinstance(field, models.IntegerField):
        return True
    lowest, highest = connections[using].ops.integer_field_range(field.get_internal_type())
    return bool(lowest <= key <= highest)


def _is_local(storage: Storage) -> bool:
    """Say whether a storage has its files on a disk here: only such a one has paths, as Django asks of it."""
    return storage.__class__.path is not Storage.path  # of which `type` would not see through a lazy one


def _local_stat(file: FieldFile) -> os.stat_result | None:
    try:
        return os.stat(file.path)  # noqa: PTH116 -- a nightly run asks for each image, and Path takes as long
    except NotImplementedError:
        return None


_BREAKS = re.compile(
    r"</?(?:address|article|aside|blockquote|br|d[dlt]|div|figure|footer|h[1-6]|header|hr|li|main|nav|ol|option"
    r"|p|pre|section|t[dhr]|table|ul)\b",
    re.IGNORECASE,
)
"""Tags between which a shopper sees two words, though no space is written there."""


def clean(value: Any) -> str:
    """Return text as a shopper reads it: no HTML, entities resolved, single spaces."""
    text = str(value)
    if "<" in text:
        text = strip_tags(_BREAKS.sub(r" \g<0>", text))
    return " ".join(html.unescape(text).split())


_LETTERS = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ı": "i"})
"""What shoppers type for letters that Unicode does not take apart."""


def normalise(value: str) -> str:
    """Return the form in which exact words are compared: without case, accents, spaces and punctuation.

    A + or # that follows a letter or digit stays: C is not C#, nor is a Galaxy S20 a Galaxy S20+.
    """
    folded = unicodedata.normalize("NFKD", value).casefold()
    decomposed = unicodedata.normalize("NFKD", folded).translate(_LETTERS)
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return "".join(re.findall(r"[^\W_]+[+#]*", bare))


class Registry:
    """The documents of this process, by name."""

    def __init__(self) -> None:
        self._documents: dict[str, Document] = {}

    def __iter__(self) -> Iterator[Document]:
        return iter(list(self._documents.values()))

    def __len__(self) -> int:
        return len(self._documents)

    def add(self, document: Document) -> None:
        """Register. Raises InvalidDeclaration where another document has the name."""
        if document.name in self._documents:
            raise InvalidDeclaration(
                f"Two documents are named {document.name!r}. Give one of them another `name`."
            )
        self._documents[document.name] = document

    def remove(self, document: Document) -> None:
        """Forget a document, as tests do."""
        self._documents.pop(document.name, None)

    def get(self, name: str) -> Document | None:
        """Return the document of that name."""
        return self._documents.get(name)

    def of_model(self, model: type[models.Model]) -> list[Document]:
        """Return the documents of a model, of what it is a proxy of, and of its parents."""
        concrete = model._meta.concrete_model
        return [d for d in self if concrete and issubclass(concrete, d.model._meta.concrete_model or d.model)]


registry = Registry()


def register(model: type[models.Model]) -> Callable[[DocumentClass], DocumentClass]:
    """Register a Document class for a model: `@register(Product)`."""

    def decorate(document_class: DocumentClass) -> DocumentClass:
        registry.add(document_class(model))
        return document_class

    return decorate
