"""The messages of the checks. Ids are written out, so that they can be searched for."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Warning

from ..documents.binding import BoundDocument


def error(number: str, message: str, hint: str, document: Any = None) -> CheckMessage:
    """Return an error; `number` is its whole id."""
    return Error(message, hint=hint, obj=document, id=number)


def warning(number: str, message: str, hint: str, document: Any = None) -> CheckMessage:
    """Return a warning; `number` is its whole id."""
    return Warning(message, hint=hint, obj=document, id=number)


def label_of(document: BoundDocument, attribute: str) -> str:
    """Return an attribute of a document's class as messages name it."""
    return f"{type(document.declaration).__name__}.{attribute}"
