"""The OpenAPI schema, for drf-spectacular. Imported only where that is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from ..searching import LOOKUP_NOTES, keyword_fields, lookups
from . import posting
from .answers import ProblemSerializer
from .described import Operation, operation_of

if TYPE_CHECKING:
    from drf_spectacular.utils import Direction

    from ..documents import FilterField

ALWAYS: Final = (400, 401, 403, 429, 503)
"""Statuses that every endpoint may answer with."""
DESCRIPTIONS: Final = {
    400: "What was sent is not usable; the field at fault is named.",
    401: "Nobody is logged in.",
    403: "Not allowed.",
    404: "There is no such thing.",
    409: "Somebody else's request had the last word.",
    413: "The request is too large.",
    415: "The request is of a type that is not read.",
    429: "Too many requests; `Retry-After` says when to try again.",
    503: "Qdrant or the model is unavailable; `Retry-After` says when to try again.",
}
TYPES: Final[Mapping[str, Mapping[str, str]]] = {
    "keyword": {"type": "string"},
    "number": {"type": "number"},
    "bool": {"type": "boolean"},
    "date": {"type": "string", "description": "A date or a time, ISO 8601."},
}


class ApiSchema(AutoSchema):
    """Reads what `described` says of the endpoints."""

    @property
    def _operation(self) -> Operation:
        operation = operation_of(self.view, self.method)
        assert operation is not None, "is_excluded() was not asked"  # noqa: S101
        return operation

    def is_excluded(self) -> bool:
        return operation_of(self.view, self.method) is None

    def get_operation_id(self) -> str:
        return f"clip_search_{self._operation.name}"

    def get_tags(self) -> list[str]:
        return ["clip_search"]

    def get_serializer_name(self, serializer: Any, direction: Direction) -> str:
        # a shop has a serializer called Product too, most likely
        return f"ClipSearch{super().get_serializer_name(serializer, direction)}"

    def get_description(self) -> str:  # type: ignore[override]
        return " ".join((getattr(self.view, self.method.lower()).__doc__ or "").split())

    def get_override_parameters(self) -> list[Any]:
        operation = self._operation
        parameters: list[Any] = [operation.query] if operation.query else []
        return parameters + (filter_parameters() if operation.filters else [])

    def get_request_serializer(self) -> Any:
        operation = self._operation
        return dict.fromkeys(operation.body_types, operation.body) if operation.body_types else operation.body

    def get_response_serializers(self) -> Any:
        operation = self._operation
        answers: dict[int, Any] = dict(operation.answers)
        for status in sorted({*ALWAYS, *operation.errors}):
            answers[status] = OpenApiResponse(ProblemSerializer, description=DESCRIPTIONS[status])
        return answers


def filter_parameters() -> list[OpenApiParameter]:
    """Return the filters of the document that the endpoints search, as they stand in a query string."""
    try:
        document = posting.api_document()
    except posting.NoDocument:
        return []
    return [_parameter(name, field, lookup) for name, (field, lookup) in lookups(document).items()]


def _parameter(name: str, field: FilterField, lookup: str) -> OpenApiParameter:
    schema = dict(TYPES["bool" if lookup == "isnull" else field.kind])
    if lookup != "in":
        return OpenApiParameter(name, type=schema, description=LOOKUP_NOTES[lookup])
    many = {"type": "array", "items": schema}
    return OpenApiParameter(name, type=many, description=LOOKUP_NOTES[lookup], style="form", explode=False)


class FacetsExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """Facets: names joined by commas."""

    target_class = "clip_search.api.serializers.NamesField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        try:
            known = keyword_fields(posting.api_document())
        except posting.NoDocument:
            known = []
        return {"type": "string", "description": f"Joined by commas, of: {', '.join(known) or 'none'}."}


class MetadataExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """Metadata: anything."""

    target_class = "clip_search.api.serializers.MetadataField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return {"nullable": True, "description": "Free text, JSON, or a Python dict as text."}


class UploadExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """The bytes of a file."""

    target_class = "clip_search.api.serializers.UploadField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return {"type": "string", "format": "binary"}
