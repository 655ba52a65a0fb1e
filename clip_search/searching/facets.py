"""Count the products that a search finds by the values of its filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from django.utils.translation import gettext

from ..documents.binding import BoundDocument
from ..documents.fields import BETWEEN, LABELS, Bool, Date, FilterField, Keyword, Number
from ..exceptions import BadFilterValue
from ..stores.base import Condition, Store
from ..types import Facet, FacetValue
from .filters import filter_field
from .ranges import PERIODS, dates, numbers

MAX_BOUNDS: Final = 100
WHOLE_TREE: Final = 10_000
"""How many values are read from the store if the facet must not be cut, as with a tree."""
OPTIONS: Final = {"number": "ranges", "date": "period"}
"""How requests and template tags call the option of a facet, as in "price__ranges"."""


def facet_options(document: BoundDocument) -> dict[str, tuple[str, FilterField]]:
    """Return {"price__ranges": ("price", its field), …}: what names the option of a facet, outside Python."""
    return {
        f"{key}__{OPTIONS[field.kind]}": (key, field)
        for key, field in document.declaration.filter_fields.items()
        if field.kind in OPTIONS
    }


def parse_facets(document: BoundDocument, names: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return {filter: its option} for the facets to count, or for all filters if none is named.

    The option of a number is a list of bounds, that of a date a period; None leaves the choice to the facet.
    Raises UnknownFilter, BadFilterValue.
    """
    wanted = {**dict.fromkeys(names), **options} or dict.fromkeys(document.declaration.filter_fields)
    return {name: _option(name, filter_field(document, name), option) for name, option in wanted.items()}


def _option(name: str, field: FilterField, option: Any) -> Any:
    if option is None:
        return None
    if isinstance(field, Number):
        advice = f"give a list of at most {MAX_BOUNDS} numbers, such as [10, 20, 50]"
        try:
            if isinstance(option, str | bytes) or not 0 < len(option) <= MAX_BOUNDS:
                raise ValueError("it is not such a list")
            return sorted({field.coerce(bound) for bound in option})
        except (TypeError, ValueError) as error:
            raise BadFilterValue(
                f"The facet {name!r} does not accept {option!r:.200}: {error}; {advice}."
            ) from error
    known = f"give one of {', '.join(PERIODS)}" if isinstance(field, Date) else "it has no options"
    if not isinstance(field, Date) or option not in PERIODS:
        raise BadFilterValue(f"The facet {name!r} does not accept {option!r:.200}: {known}.")
    return option


def facets(
    document: BoundDocument,
    store: Store,
    collection: str,
    wanted: Mapping[str, Any],
    *,
    found: Sequence[Condition],
    filters: Sequence[Condition],
    limit: int = 100,
) -> dict[str, Facet]:
    """Return the facets that `parse_facets()` has returned as `wanted`, in this order.

    `found` describes what the query finds without filters; `filters` are those that the shopper chose. Each
    facet is counted without the filters on itself, so that the other values can be chosen too. Exclusions
    always count. A keyword has at most `limit` values, in a tree at each place.
    """
    declared = document.declaration.filter_fields
    own = {key: [each for each in filters if each.key == key and not each.negated] for key in wanted}
    conditions = {key: [*found, *(each for each in filters if each not in own[key])] for key in wanted}
    counted: dict[str, Facet] = {}
    values: dict[str, list[Sequence[Any]]] = {}
    together: dict[str, list[str]] = {}
    """Numbers and dates whose values are read in one request: all that the search is not filtered by."""
    with store.session(collection):
        for key in wanted:
            field, source = declared[key], _Source(store, collection, key, conditions[key])
            if isinstance(field, Keyword):
                counted[key] = _keywords(field, source, own[key], limit)
            elif isinstance(field, Bool):
                counted[key] = _bools(field, source, own[key])
            else:
                together.setdefault(key if own[key] else "", []).append(key)
        for keys in together.values():
            rows = store.values(collection, keys, conditions=conditions[keys[0]])
            for key in keys:
                values[key] = [_as_list(row[key]) for _, row in rows if key in row]
    for key, read in values.items():
        field = declared[key]
        if isinstance(field, Date):
            counted[key] = dates(field, read, own[key], wanted[key])
        else:
            counted[key] = numbers(read, own[key], wanted[key])
    return {key: counted[key] for key in wanted}


def _as_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else (value,)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the counts of one keyword or bool come from."""

    store: Store
    collection: str
    key: str
    conditions: Sequence[Condition]

    def counts(
        self, limit: int, *, labelled: bool = False, among: Sequence[str] = (), everywhere: bool = False
    ) -> tuple[dict[Any, int], dict[Any, str]]:
        """Return {value: count} and {value: label}, if there are labels.

        Only products with one of the values `among` are counted, if there are any; `everywhere` counts all
        products of the collection.
        """
        conditions = [] if everywhere else [*self.conditions]
        if among:
            conditions.append(Condition(key=self.key, operator="in", value=list(among)))
        key = f"{LABELS}.{self.key}" if labelled else self.key
        counts: dict[Any, int] = {}
        labels: dict[Any, str] = {}
        found = self.store.facet(self.collection, key, conditions=conditions, limit=limit)
        for value, count in found.items():
            if labelled:
                value, _, label = str(value).rpartition(BETWEEN)
                if label:
                    labels.setdefault(value, label)
            # a value has two labels while products wait to be indexed after a change of its label
            counts[value] = counts.get(value, 0) + count
        return counts, labels


def _keywords(field: Keyword, source: _Source, own: Sequence[Condition], limit: int) -> Facet:
    labelled = bool(field.label_paths)
    asked = WHOLE_TREE if field.separator else 2 * limit + 1  # "" may be among them, and values of two labels
    counts, labels = source.counts(asked, labelled=labelled)
    exact = source.store.counts_exactly(source.collection)
    was_cut = len(counts) > limit
    chosen = [value for each in own for value in _chosen_values(each)]
    if missing := [value for value in chosen if value not in counts]:
        rest, more = source.counts(WHOLE_TREE, labelled=labelled, among=missing) if was_cut else ({}, {})
        if labelled and not all(value in more for value in missing):  # take the labels of any product
            more = source.counts(WHOLE_TREE, labelled=True, among=missing, everywhere=True)[1]
        labels = more | labels
        for value in missing:
            for level in field.levels(value):
                counts.setdefault(level, rest.get(level, 0))
    listed = [
        FacetValue(
            value=value,
            label=labels.get(value) or field.last_part(value),
            count=count,
            chosen=value in chosen,
        )
        for value, count in counts.items()
        if value and isinstance(value, str)  # an overridden `get_payload()` may return numbers
    ]
    if field.separator:
        return Facet(_tree(field, listed, limit), exact=exact)
    listed.sort(key=lambda each: (-each.count, each.value))
    return Facet([each for rank, each in enumerate(listed) if rank < limit or each.chosen], exact=exact)


def _chosen_values(condition: Condition) -> list[Any]:
    if condition.operator == "eq":
        return [condition.value]
    return list(condition.value) if condition.operator == "in" else []


def _tree(field: Keyword, listed: Sequence[FacetValue], limit: int) -> list[FacetValue]:
    """Return the values without a parent, with those below them as `children`, ordered by their labels."""
    kept = {level for each in listed if each.chosen for level in field.levels(each.value)}
    below: dict[str, list[FacetValue]] = {}
    for each in sorted(listed, key=lambda each: (-each.count, each.value)):
        below.setdefault(each.value.rpartition(field.separator)[0], []).append(each)

    def grown(parent: str) -> list[FacetValue]:
        siblings = [
            replace(each, children=tuple(grown(each.value)))
            for rank, each in enumerate(below.get(parent, ()))
            if rank < limit or each.value in kept
        ]
        return sorted(siblings, key=lambda each: (each.label.casefold(), each.value))

    return grown("")


def _bools(field: Bool, source: _Source, own: Sequence[Condition]) -> Facet:
    found, _ = source.counts(3)
    counts = {field.coerce(value): count for value, count in found.items()}
    chosen = [value for each in own for value in _chosen_values(each)]
    values = [
        FacetValue(
            value=value,
            label=gettext("Yes") if value else gettext("No"),
            count=counts.get(value, 0),
            chosen=value in chosen,
        )
        for value in (True, False)
        if counts.get(value) or value in chosen
    ]
    return Facet(values, exact=source.store.counts_exactly(source.collection))
