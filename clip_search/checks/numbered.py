"""How a check says something."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Warning


def error(number: int, message: str, hint: str, obj: Any = None) -> CheckMessage:
    """Return clip_search.E<number>."""
    return Error(message, hint=hint, obj=obj, id=f"clip_search.E{number:03}")


def warning(number: int, message: str, hint: str, obj: Any = None) -> CheckMessage:
    """Return clip_search.W<number>."""
    return Warning(message, hint=hint, obj=obj, id=f"clip_search.W{number:03}")
