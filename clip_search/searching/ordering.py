"""Sort the products that a search finds by the values of filters."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from ..documents.binding import BoundDocument
from ..documents.fields import FilterField, Keyword
from ..exceptions import UnknownFilter
from ..stores.base import Condition, Store
from ..stores.filters import instant

RELEVANCE: Final = "relevance"


@dataclass(frozen=True, slots=True)
class OrderKey:
    """A filter to sort by, or "relevance", which sorts the best product first."""

    name: str
    descending: bool = False


def parse_order(document: BoundDocument, names: Sequence[str]) -> list[OrderKey]:
    """Return names such as "price" and "-published" as keys to sort by.

    Raises UnknownFilter, which lists the known names.
    """
    keys = []
    for name in names:
        key = OrderKey(name.removeprefix("-"), name.startswith("-"))
        if key.name not in document.declaration.filter_fields and name != RELEVANCE:
            known = ", ".join([*sorted(document.declaration.filter_fields), RELEVANCE])
            raise UnknownFilter(
                f"{document.name!r} cannot be ordered by {name!r}. It can be ordered by: {known}; "
                'a "-" before the name of a filter reverses the order.'
            )
        keys.append(key)
    return keys


def ordered(
    document: BoundDocument,
    store: Store,
    collection: str,
    keys: Sequence[OrderKey],
    *,
    conditions: Sequence[Condition],
    relevance: Mapping[uuid.UUID, float],
) -> list[uuid.UUID]:
    """Return the ids of all points that meet the conditions, sorted by the keys, each once.

    Points without a value come last, also in descending order. Of several values, the lowest counts, or the
    highest in descending order. Upper and lower case are the same. Points with equal values are sorted by
    relevance, the highest first, and then by id.
    """
    fields = document.declaration.filter_fields
    names = list(dict.fromkeys(key.name for key in keys if key.name in fields))
    with store.session(collection):
        rows = store.values(collection, names, conditions=conditions)
    found = sorted((point_id for point_id, _ in rows), key=lambda point_id: -relevance.get(point_id, 0.0))
    # sorts keep the order of equal items, so the most important key is the last to sort by
    for key in reversed(keys):
        if key.name == RELEVANCE:
            found.sort(key=lambda point_id: -relevance.get(point_id, 0.0))
            continue
        field, choose = fields[key.name], max if key.descending else min
        values = {point_id: _comparable(field, row[key.name]) for point_id, row in rows if key.name in row}
        chosen = {point_id: choose(several) for point_id, several in values.items() if several}
        with_value = [point_id for point_id in found if point_id in chosen]
        with_value.sort(key=chosen.__getitem__, reverse=key.descending)
        found = with_value + [point_id for point_id in found if point_id not in chosen]
    return found


def _comparable(field: FilterField, value: Any) -> list[Any]:
    """Return the values of one product as values that can be compared. Those of a wrong type are left out.

    In a tree, a path counts and those above it do not: otherwise all of "Home" would be equal.
    """
    values = value if isinstance(value, list) else [value]
    if isinstance(field, Keyword) and field.separator:
        parents = {level for each in values for level in field.levels(str(each))[:-1]}
        values = [each for each in values if each not in parents]
    comparable: list[Any] = []
    for each in values:
        if field.kind == "keyword":
            comparable += [each.casefold()] if isinstance(each, str) else []
        elif field.kind == "date":
            with suppress(TypeError, ValueError):
                comparable.append(instant(each))
        elif isinstance(each, int | float) and isinstance(each, bool) == (field.kind == "bool"):
            comparable.append(each)
    return comparable
