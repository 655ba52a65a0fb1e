"""Search the products of a Django shop by meaning and by image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .document import Document, register
    from .documents.fields import Bool, Date, Keyword, Number
    from .exceptions import SearchUnavailable
    from .types import Hit

__all__ = ["Bool", "Date", "Document", "Hit", "Keyword", "Number", "SearchUnavailable", "register"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used.

    Django imports this package before it is ready for models, so they cannot be imported above.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import document, exceptions, types
    from .documents import fields

    for module in (document, fields, exceptions, types):
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(name)
