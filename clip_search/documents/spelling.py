"""Finds attributes of a document class that look like misspelt names of `Document`'s own attributes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from rapidfuzz.distance import OSA

from .declaration import Declaration

OTHER_NAMES: Final[Mapping[str, str]] = {
    "Meta": "text_fields",
    "fields": "text_fields",
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
"""Names from other libraries and from Django's views and forms, with the name of the same thing here."""

SHORT: Final = 5
"""In a name of at most this many letters, only one edit is allowed: with two, "save" would match "name"."""


def misspellings(
    document_class: type[Declaration[Any]], declared: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Yield (attribute, similar name) for each attribute of a class that resembles one of `declared`.

    Names that start with an underscore are skipped, so a shop can use these freely.
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
    """Return the class and its base classes, without those of this package and of Python itself."""
    package = __name__.partition(".")[0]
    return [
        base
        for base in document_class.__mro__
        if base.__module__ not in ("builtins", "typing", f"{package}.document", Declaration.__module__)
    ]


def _is_misspelling(name: str, meant: str) -> bool:
    """Return whether `name` is one edit away from `meant`.

    An edit inserts, deletes or replaces a letter, or swaps two neighbours. Two edits are allowed if `meant`
    is longer than `SHORT` and both names start with the same letter. So "created" is not taken for
    "related": people rarely mistype the first letter (Pollock & Zamora, "Automatic spelling correction in
    scientific and scholarly text", Communications of the ACM 27, 1984).
    """
    edits = OSA.distance(name, meant)
    return edits == 1 or (edits == 2 and len(meant) > SHORT and name[0] == meant[0])
