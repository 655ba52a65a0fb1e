"""What the endpoints take and answer, said beside them in plain values: drf-spectacular only reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Final, TypeVar

from rest_framework.schemas import DefaultSchema
from rest_framework.schemas.inspectors import ViewInspector
from rest_framework.serializers import BaseSerializer

Handler = TypeVar("Handler", bound=Callable[..., Any])
Serializer = type[BaseSerializer[Any]]

ATTRIBUTE: Final = "clip_search_operation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one endpoint."""

    name: str
    answers: Mapping[int, Serializer | None]
    """The body by status, None for one without a body."""
    errors: tuple[int, ...] = ()
    """Statuses beyond those that every endpoint may answer with."""
    query: Serializer | None = None
    body: Serializer | None = None
    body_types: tuple[str, ...] = field(default=())
    filters: bool = False
    """Whether the document's filters are taken as query parameters too."""


def described(**facts: Any) -> Callable[[Handler], Handler]:
    """Say what a method of an endpoint takes and answers: the fields of `Operation`."""

    def note(handler: Handler) -> Handler:
        setattr(handler, ATTRIBUTE, Operation(**facts))
        return handler

    return note


def operation_of(view: object, method: str) -> Operation | None:
    """Return what was said of a method, None where it is not for clients."""
    return getattr(getattr(view, method.lower(), None), ATTRIBUTE, None)


def inspector() -> ViewInspector:
    """Return what reads the descriptions: drf-spectacular's, where that is installed (extra `schema`)."""
    if find_spec("drf_spectacular") is None:
        return DefaultSchema()
    from .openapi import ApiSchema

    return ApiSchema()
