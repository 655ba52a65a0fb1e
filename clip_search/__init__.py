"""Search a Django storefront by meaning and by picture."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .documents import Bool, Date, Document, Keyword, Number, register
    from .exceptions import SearchUnavailable
    from .types import Hit

__version__ = "0.1.0"

__all__ = ["Bool", "Date", "Document", "Hit", "Keyword", "Number", "SearchUnavailable", "register"]

_ROOMS = {"Hit": ".types", "SearchUnavailable": ".exceptions"}


def __getattr__(name: str) -> Any:
    """Import public names on first use: Django imports this package before its apps are ready."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ROOMS.get(name, ".documents"), __name__), name)
