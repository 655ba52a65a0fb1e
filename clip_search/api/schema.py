"""Describes the endpoints for OpenAPI, if drf-spectacular is installed (extra `schema`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from rest_framework import serializers
from rest_framework.schemas import DefaultSchema

from ..documents.fields import FilterField
from ..posting import NoDocument, api_document
from ..searching import LOOKUP_NOTES, PERIODS, facet_options, lookups

if TYPE_CHECKING:
    from drf_spectacular.openapi import AutoSchema
    from drf_spectacular.utils import (
        Direction,
        OpenApiParameter,
        OpenApiResponse,
        extend_schema,
        extend_schema_field,
    )

    Base = serializers.Serializer[Any]
else:
    Base = serializers.Serializer
    try:
        from drf_spectacular.openapi import AutoSchema
        from drf_spectacular.utils import (
            OpenApiParameter,
            OpenApiResponse,
            extend_schema,
            extend_schema_field,
        )
    except ImportError:
        AutoSchema, extend_schema, extend_schema_field = DefaultSchema, None, None

Described = TypeVar("Described", bound=Callable[..., Any])

ALWAYS: Final = (400, 401, 403, 429, 503)
"""HTTP statuses of errors with which every endpoint may answer."""
DESCRIPTIONS: Final[Mapping[int, str]] = {
    400: "The input is not valid; the answer names the field.",
    401: "The client is not authenticated.",
    403: "The client has no permission.",
    404: "Not found.",
    409: "Another request was the last to change the product.",
    411: "The body has no `Content-Length`.",
    413: "The request is too large.",
    415: "The content type, or the encoding of the body, is not supported.",
    429: "Too many requests; `Retry-After` says when to try again.",
    503: "Qdrant or the model is unavailable; `Retry-After` says when to try again.",
}
TYPES: Final[Mapping[str, Mapping[str, str]]] = {
    "keyword": {"type": "string"},
    "number": {"type": "number"},
    "bool": {"type": "boolean"},
    "date": {"type": "string", "description": "A date or a time, ISO 8601."},
}


class ProblemSerializer(Base):
    """An error: either `detail`, or a list of messages for each invalid field."""

    detail = serializers.JSONField(required=False)


class ApiSchema(AutoSchema):
    """The OpenAPI schema of the endpoints.

    It prefixes component names with `ClipSearch`, so that they do not clash with the shop's own. It adds the
    document's filters, and the options of their facets, to the search endpoints as query parameters.
    """

    def get_tags(self) -> list[str]:
        return ["clip_search"]

    def get_serializer_name(self, serializer: Any, direction: Direction) -> str:
        # a shop most likely has a serializer called Product too
        return f"ClipSearch{super().get_serializer_name(serializer, direction)}"

    def get_override_parameters(self) -> list[Any]:
        parameters: list[Any] = super().get_override_parameters()
        return parameters + (filter_parameters() if getattr(self.view, "is_search_view", False) else [])


def operation(
    name: str, *, responses: Mapping[int, Any], errors: tuple[int, ...] = (), **options: Any
) -> Callable[[Described], Described]:
    """Return a decorator that describes a method of a view in the OpenAPI schema.

    `errors` are HTTP statuses besides those in `ALWAYS`. `options` are passed to drf-spectacular's
    `extend_schema`.
    """
    if extend_schema is None:
        return lambda handler: handler
    answers: dict[int, Any] = dict(responses)
    for status in sorted({*ALWAYS, *errors}):
        answers.setdefault(status, OpenApiResponse(ProblemSerializer, description=DESCRIPTIONS[status]))
    return extend_schema(operation_id=f"clip_search_{name}", responses=answers, **options)


def field_schema(schema: dict[str, Any]) -> Callable[[Described], Described]:
    """Return a decorator that sets the OpenAPI schema of a serializer field."""
    return (lambda field: field) if extend_schema_field is None else extend_schema_field(schema)


def hidden(handler: Described) -> Described:
    """Decorate a method of a view, so that the OpenAPI schema leaves it out."""
    return handler if extend_schema is None else extend_schema(exclude=True)(handler)


def filter_parameters() -> list[Any]:
    """Return the filters and facet options of the document that is searched, as OpenAPI query parameters."""
    try:
        document = api_document()
    except NoDocument:
        return []
    filters = [_parameter(name, field, lookup) for name, (field, lookup) in lookups(document).items()]
    return filters + [_option(name, key, field) for name, (key, field) in facet_options(document).items()]


def _parameter(name: str, field: FilterField, lookup: str) -> Any:
    schema = dict(TYPES["bool" if lookup == "isnull" else field.kind])
    if lookup != "in":
        return OpenApiParameter(name, type=schema, description=LOOKUP_NOTES[lookup])
    return _list(name, schema, LOOKUP_NOTES[lookup])


def _option(name: str, key: str, field: FilterField) -> Any:
    if field.kind == "number":
        note = f"Count the facet {key} between these numbers."
        return _list(name, dict(TYPES["number"]), note)
    schema = {"type": "string", "enum": list(PERIODS)}
    return OpenApiParameter(name, type=schema, description=f"Count the facet {key} by this period.")


def _list(name: str, schema: dict[str, str], description: str) -> Any:
    many = {"type": "array", "items": schema}
    return OpenApiParameter(name, type=many, description=description, style="form", explode=False)
