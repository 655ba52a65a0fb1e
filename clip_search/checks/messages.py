"""Creates the messages of the checks. Callers write complete ids, so that a text search finds them."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Warning

from ..documents.binding import BoundDocument


def error(number: str, message: str, hint: str, document: Any = None) -> CheckMessage:
    """Return an error message of a check. `number` is its complete id."""
    return Error(message, hint=hint, obj=document, id=number)


def warning(number: str, message: str, hint: str, document: Any = None) -> CheckMessage:
    """Return a warning of a check. `number` is its complete id."""
    return Warning(message, hint=hint, obj=document, id=number)


def label_of(document: BoundDocument, attribute: str) -> str:
    """Return the name of a document's attribute for messages, such as "ProductDocument.weights"."""
    return f"{type(document.declaration).__name__}.{attribute}"
