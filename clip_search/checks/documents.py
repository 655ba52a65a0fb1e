"""Checks of the documents: their attributes and the methods that they override."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from django.core.checks import CheckMessage
from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError, connections, models
from django.db.models.fields.reverse_related import ForeignObjectRel
from django.utils import translation

from ..documents import paths, querysets
from ..documents.binding import BoundDocument, is_local
from ..documents.declaration import WEIGHTS, is_weight
from ..documents.fields import RESERVED_KEYS, FilterField
from ..documents.registry import registry
from ..documents.watching import declared_paths
from .messages import error, label_of, warning
from .relations import check_noticed, check_related

NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
KEY: Final = re.compile(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*")
OVERWRITES: Final = ("file_overwrite", "overwrite_files", "allow_overwrite", "_allow_overwrite")
"""Names of the storage attribute for overwriting files: S3 and Google Cloud, Azure, others, Django."""


def check_documents(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Check every registered document, or only those of the given apps."""
    refused = [
        error("clip_search.E019", mistake, "Correct the class, or the arguments of register().")
        for mistake in registry.mistakes
    ]
    if not refused and not len(registry):
        hint = (
            "Write a class with @register(Model) in the file clip_documents.py of an app in INSTALLED_APPS."
        )
        refused = [warning("clip_search.W011", "No document is registered. Nothing can be searched.", hint)]
    chosen = [d for d in registry if app_configs is None or d.model._meta.app_config in app_configs]
    return refused + [message for document in chosen for message in check_document(document)]


def check_document(document: BoundDocument) -> list[CheckMessage]:
    """Check one document. If an attribute has the wrong type, the checks in `DECLARED` are skipped."""
    found = list(check_types(document))
    checks = PLAIN if found else PLAIN + DECLARED
    return found + [message for check in checks for message in check(document)]


# Checks of attributes with plain values.


def check_types(document: BoundDocument) -> Iterator[CheckMessage]:
    """Report attributes with a value of the wrong type. Such a document is not connected to signals."""
    for attribute, fits, wanted in (
        ("text_fields", _is_texts(document.declaration.text_fields), 'a list of paths, such as ["name"]'),
        ("exact_fields", _is_texts(document.declaration.exact_fields), 'a list of paths, such as ["sku"]'),
        (
            "search_fields",
            _is_weighted(document.declaration.search_fields),
            'a dict of paths with weights above 0, such as {"name": 3, "description": 1}',
        ),
        (
            "synonyms",
            _is_synonyms(document.declaration.synonyms),
            'a dict of words with lists of words, such as {"sofa": ["couch"]}',
        ),
        ("stop_words", _is_texts(document.declaration.stop_words), 'a list of words, such as ["shop"]'),
        ("everything", isinstance(document.declaration.everything, bool), "True or False"),
        (
            "reads",
            document.declaration.reads is None or _is_texts(document.declaration.reads),
            'None, or a list of paths such as ["is_public"]',
        ),
        (
            "image_field",
            document.declaration.image_field is None or isinstance(document.declaration.image_field, str),
            'a path, such as "images.original"',
        ),
        (
            "filter_fields",
            _is_filters(document.declaration.filter_fields),
            'a dict such as {"category": Keyword("category.slug")}',
        ),
        (
            "related",
            _is_related(document.declaration.related),
            'a dict such as {ProductImage: "product"}',
        ),
    ):
        if not fits:
            yield error(
                "clip_search.E111",
                f"{label_of(document, attribute)} has the wrong type.",
                f"Make it {wanted}.",
                document,
            )


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(path, str) for path in value)


def _is_weighted(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(path, str) and is_weight(weight) for path, weight in value.items()
    )


def _is_synonyms(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(word, str) and _is_texts(others) for word, others in value.items()
    )


def _is_related(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(paths, str) or _is_texts(paths) for paths in value.values()
    )


def _is_filters(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(field, FilterField) for key, field in value.items()
    )


def _name(document: BoundDocument) -> Iterator[CheckMessage]:
    if not (isinstance(document.name, str) and NAME.fullmatch(document.name)):
        hint = "Use at most 100 letters, digits, dots, hyphens and underscores."
        yield error(
            "clip_search.E101",
            f"{label_of(document, 'name')} is not valid: {document.name!r}",
            hint,
            document,
        )


def _using(document: BoundDocument) -> Iterator[CheckMessage]:
    if document.using not in connections:
        hint = f"Name a database of DATABASES. There are: {', '.join(connections)}."
        yield error(
            "clip_search.E102",
            f"{label_of(document, 'using')} names no database: {document.using!r}",
            hint,
            document,
        )


def _language(document: BoundDocument) -> Iterator[CheckMessage]:
    language: Any = document.declaration.language
    if language and not (isinstance(language, str) and translation.check_for_language(language)):
        hint = 'Use a Django language code, such as "en" or "pt-br", or leave it out for LANGUAGE_CODE.'
        yield error(
            "clip_search.E115", f"{label_of(document, 'language')} is unknown: {language!r}", hint, document
        )
    elif not document.analyser.algorithm:
        message = f"{type(document.declaration).__name__}: no stemmer for {document.analyser.language!r}."
        hint = (
            "Words are found only as they are spelled in the texts: not in the plural if a text has the "
            "singular. If the texts are in another language, set language or LANGUAGE_CODE."
        )
        yield warning("clip_search.W105", message, hint, document)


def _max_images(document: BoundDocument) -> Iterator[CheckMessage]:
    if not isinstance(document.declaration.max_images, int) or document.declaration.max_images < 1:
        hint = "Set it to 1 or more. For no images, leave out image_field."
        yield error("clip_search.E108", f"{label_of(document, 'max_images')} is less than 1.", hint, document)


def _weights(document: BoundDocument) -> Iterator[CheckMessage]:
    weights: Any = document.declaration.weights
    fits = (
        isinstance(weights, Mapping)
        and set(weights) <= set(WEIGHTS)
        and all(isinstance(weight, int | float) and weight >= 0 for weight in weights.values())
        and any({**WEIGHTS, **weights}.values())
    )
    if not fits:
        hint = 'Write numbers, not all zero: {"text": 1.0, "image": 1.0, "words": 1.0}.'
        yield error("clip_search.E112", f"{label_of(document, 'weights')} are not valid.", hint, document)


def _query_prompt(document: BoundDocument) -> Iterator[CheckMessage]:
    prompt: Any = document.declaration.query_prompt
    if not isinstance(prompt, str) or "{query}" not in prompt:
        hint = 'Write {query} where the words go, as in "a photo of {query}". For no prompt, write "{query}".'
        yield error(
            "clip_search.E113", f"{label_of(document, 'query_prompt')} has no {{query}}.", hint, document
        )


# Checks of overridden methods.


def _queryset(document: BoundDocument) -> Iterator[CheckMessage]:
    label = label_of(document, "get_queryset()")
    try:
        queryset = document.declaration.get_queryset()
    except DatabaseError:
        return  # get_queryset() reads the database, which may not be migrated yet
    except Exception as fault:  # the shop's own method may raise any exception
        hint = "Return a QuerySet of the document's model."
        yield error("clip_search.E107", f"{label} raises {type(fault).__name__}: {fault}", hint, document)
        return
    if not isinstance(queryset, models.QuerySet) or not paths.kin(queryset.model, document.model):
        hint = f"Return {document.model.__name__}.objects.filter(…)."
        yield error(
            "clip_search.E107", f"{label} is no QuerySet of {document.model.__name__}.", hint, document
        )
        return
    mistake, hint = querysets.mistake(queryset)
    if mistake:
        yield error("clip_search.E117", f"{label} {mistake}.", hint, document)


def _ids(document: BoundDocument) -> Iterator[CheckMessage]:
    key = document.model._meta.pk
    if isinstance(key, models.CompositePrimaryKey):
        hint = "Give it a primary key of one column, and the others a UniqueConstraint."
        yield error(
            "clip_search.E114",
            f"{document.model.__name__} has a primary key of several columns.",
            hint,
            document,
        )
    if "product_id" in document.overridden and document.declaration.id_field == "pk":
        hint = "Set id_field to the unique field that it reads, so that rows can be found by their ids."
        yield error(
            "clip_search.E109",
            f"{label_of(document, 'product_id()')} is overridden, but id_field is not set.",
            hint,
            document,
        )
    if document.declaration.id_field != "pk" and not _is_unique(
        document.model, document.declaration.id_field
    ):
        message = f"{label_of(document, 'id_field')} names no unique field: {document.declaration.id_field!r}"
        yield error("clip_search.E110", message, "Set id_field to a field with unique=True.", document)


def _is_unique(model: type[models.Model], name: str) -> bool:
    try:
        return isinstance(name, str) and bool(getattr(model._meta.get_field(name), "unique", False))
    except FieldDoesNotExist:
        return False


# Checks of paths and filters.


def _paths(document: BoundDocument) -> Iterator[CheckMessage]:
    for attribute, path in declared_paths(document.declaration):
        if mistake := paths.mistake(document.model, path):
            message = f"{label_of(document, attribute)}: {path!r}: {mistake}."
            reached = [
                document.model,
                *(step.related_model for _, step in paths.crossed(document.model, path)),
            ]
            yield error("clip_search.E103", message, _fields(reached[-1]), document)
    end = (
        paths.field(document.model, document.declaration.image_field)
        if document.declaration.image_field
        else None
    )
    if end and not isinstance(end, models.FileField) and "get_images" not in document.overridden:
        message = (
            f"{label_of(document, 'image_field')}: {document.declaration.image_field!r} is not a file field."
        )
        hint = 'Name the ImageField itself, across relations as in "images.original".'
        yield warning("clip_search.W102", message, hint, document)


def _storage(document: BoundDocument) -> Iterator[CheckMessage]:
    """Warn about a storage that may overwrite an image file without a change of `image_signature()`."""
    path = document.declaration.image_field
    end = paths.field(document.model, path) if path else None
    if not isinstance(end, models.FileField) or "image_signature" in document.overridden:
        return
    try:
        overwrites = any(getattr(end.storage, name, False) is True for name in OVERWRITES)
        unseen = overwrites and not is_local(end.storage)
    except Exception:  # a storage without its library or settings reports this when it is used
        return
    if unseen:
        storage = end.storage.__class__.__name__
        message = f"{label_of(document, 'image_field')}: {storage}, which stores {path!r}, overwrites files."
        hint = (
            "A new image with an old name is then not noticed. Make the storage choose new names "
            '("file_overwrite": False for S3), override image_signature(), or call reindex(…, images=True).'
        )
        yield warning("clip_search.W104", message, hint, document)


def _fields(model: type[models.Model]) -> str:
    names = (_accessor(field) for field in model._meta.get_fields())
    return f"{model.__name__} has: {', '.join(sorted(filter(None, names)))}."


def _accessor(field: Any) -> str | None:
    """Return the attribute name of a field. For a reverse relation, this is its accessor name."""
    if field.auto_created and not field.concrete:
        accessor: str | None = field.get_accessor_name()
        return accessor
    return str(field.name)


def _content(document: BoundDocument) -> Iterator[CheckMessage]:
    declared = document.declaration.text_fields or document.declaration.image_field
    if not declared and not document.overridden & {"get_text", "get_images"}:
        hint = "Declare text_fields or image_field, or override get_text() or get_images()."
        yield warning(
            "clip_search.W103",
            f"{type(document.declaration).__name__} has neither text nor image to search by.",
            hint,
            document,
        )


def _filter_keys(document: BoundDocument) -> Iterator[CheckMessage]:
    for key in document.declaration.filter_fields:
        label = f"{label_of(document, 'filter_fields')}: the key {key!r}"
        if key in RESERVED_KEYS:
            hint = f"Give it another name; {', '.join(sorted(RESERVED_KEYS))} are taken."
            yield error("clip_search.E105", f"{label} is reserved.", hint, document)
        elif not KEY.fullmatch(key):
            hint = 'Use letters, digits and single underscores: "__" comes before a lookup, as in price__lte.'
            yield error("clip_search.E105", f"{label} is not valid.", hint, document)


SAMPLES: Final = (
    (models.BooleanField, True),
    (models.DateTimeField, datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC)),
    (models.DateField, datetime.date(2024, 5, 1)),
    (models.DecimalField, Decimal(1)),
    (models.FloatField, 1.0),
    (models.IntegerField, 1),
    (models.CharField, "text"),
    (models.TextField, "text"),
)
"""Types of model fields, each with a value that such a field may have."""


def _filter_types(document: BoundDocument) -> Iterator[CheckMessage]:
    """Report filters whose type does not fit their model field, because no product would get a value."""
    if "get_payload" in document.overridden:
        return
    for key, field in document.declaration.filter_fields.items():
        for path in field.paths:
            if fault := _type_mistake(document.model, field, path):
                label = label_of(document, "filter_fields")
                message = f"{label}: {key!r} is a {field.kind}, but {path!r} {fault}."
                hint = 'Use the type of the column, Keyword("…") for any text, or from_= with a function.'
                yield error("clip_search.E116", message, hint, document)


def _type_mistake(model: type[models.Model], field: FilterField, path: str) -> str:
    column = paths.field(model, path)
    if isinstance(column, models.ForeignKey | ForeignObjectRel | models.ManyToManyField):
        return "" if field.kind == "keyword" else f"is a relation: name its column, as in '{path}.pk'"
    sample = next((value for kind, value in SAMPLES if isinstance(column, kind)), None)
    if sample is None:  # the path does not end at a field of these types
        return ""
    try:
        row = column.model()
        setattr(row, column.attname, sample)
        value = getattr(row, column.attname)  # other libraries, such as MoneyField, may return other types
    except Exception:  # the shop's own __init__ or descriptor may raise any exception
        return ""
    try:
        field.coerce(value)
    except (ValueError, TypeError):
        return f"is a {type(column).__name__} with values such as {value!r}"
    return ""


PLAIN: Final = (_name, _using, _language, _max_images, _weights, _query_prompt, _queryset, _ids)
DECLARED: Final = (_paths, _storage, _content, _filter_keys, _filter_types, check_related, check_noticed)
