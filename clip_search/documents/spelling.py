"""Attributes of a document class that look like a misspelt declaration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from rapidfuzz.distance import OSA

from .declaration import Declaration

OTHER_NAMES: Final[Mapping[str, str]] = {
    "Meta": "text_fields",
    "fields": "text_fields",
    "search_fields": "text_fields",
    "filters": "filter_fields",
    "images": "image_field",
    "qs": "get_queryset",
    "queryset": "get_queryset",
    "get_qs": "get_queryset",
    "get_index_queryset": "get_queryset",
    "get_indexing_queryset": "get_queryset",
    "index_queryset": "get_queryset",
    "related_models": "related",
}
"""Names in other libraries and in Django's views and forms, and what the same thing is called here."""

SHORT: Final = 5
"""Letters of a name for which only one edit is a misspelling: "save" is two edits from "name"."""


def misspellings(
    document_class: type[Declaration[Any]], declared: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Yield the attributes of a class that look like one of `declared`, each with the name that it resembles.

    Names with a leading underscore are never looked at: those are the host's own.
    """
    known = frozenset(declared)
    for name in dict.fromkeys(name for base in _own_bases(document_class) for name in vars(base)):
        if name.startswith("_") or name in known:
            continue
        if name in OTHER_NAMES:
            yield name, OTHER_NAMES[name]
        elif near := [other for other in sorted(known) if _is_misspelling(name, other)]:
            yield name, min(near, key=lambda other: OSA.distance(name, other))


def _own_bases(document_class: type[Declaration[Any]]) -> list[type]:
    """Return the class and its bases, as far as they are the host's."""
    package = __name__.partition(".")[0]
    return [
        base
        for base in document_class.__mro__
        if base.__module__ not in ("builtins", "typing", f"{package}.document", Declaration.__module__)
    ]


def _is_misspelling(name: str, meant: str) -> bool:
    """Return whether a name is one edit from another, or two if it begins alike and is not short.

    An edit inserts, deletes or replaces a letter or swaps two neighbours. Errors in the first letter are rare
    (Pollock & Zamora, "Automatic spelling correction in scientific and scholarly text", Communications of
    the ACM 27, 1984), so "created" is taken for a name of its own, not for "related".
    """
    edits = OSA.distance(name, meant)
    return edits == 1 or (edits == 2 and len(meant) > SHORT and name[0] == meant[0])
