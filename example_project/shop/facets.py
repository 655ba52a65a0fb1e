"""The filters beside the results: what can be chosen, how many products there are of each, and where
choosing it leads.

Each count is taken under the filters of all the other groups, so it is what one will see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .clip_documents import ProductDocument
from .forms import PRICE_BANDS, SearchForm


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One value of a filter. `link` takes it away where it is chosen, else it adds it."""

    value: str
    label: str
    link: str
    chosen: bool
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    name: str
    title: str
    options: list[Option]


def groups(form: SearchForm, shelves: Mapping[str, str]) -> list[Group]:
    """Return the filters. `shelves` are the names of categories, by slug. Raises SearchUnavailable."""
    shown = [
        Group(name="category", title="Category", options=_keyword(form, "category", shelves)),
        Group(name="colour", title="Colour", options=_keyword(form, "colour", {})),
        Group(name="price", title="Price", options=_prices(form)),
        Group(name="in_stock", title="Availability", options=_stock(form)),
    ]
    return [group for group in shown if group.options]


def chosen(shown: list[Group]) -> list[Option]:
    """Return the filters that are set."""
    return [option for group in shown for option in group.options if option.chosen]


def _keyword(form: SearchForm, name: str, labels: Mapping[str, str]) -> list[Option]:
    """Return a keyword's values by their labels: a fixed order is found again sooner than one by count."""
    counts = ProductDocument.search("", filters=form.filters(without=name)).facet(name)
    values: list[str] = form.chosen(name)
    options = [
        Option(
            value=value,
            label=labels.get(value) or value[:1].upper() + value[1:],
            link=form.link(**{name: sorted({*values} ^ {value})}),
            chosen=value in values,
            count=counts.get(value, 0),
        )
        for value in {*counts, *values} - {""}
    ]
    return sorted(options, key=lambda option: option.label)


def _prices(form: SearchForm) -> list[Option]:
    others, before = form.filters(without="price"), form.chosen("price")
    options = [
        Option(
            value=key,
            label=band.label,
            link=form.link(price="" if key == before else key),
            chosen=key == before,
            count=_count(others | band.filters()),
        )
        for key, band in PRICE_BANDS.items()
    ]
    return _worth_showing(options)


def _stock(form: SearchForm) -> list[Option]:
    before = bool(form.chosen("in_stock"))
    count = _count(form.filters() | {"in_stock": True})
    link = form.link(in_stock=not before)
    return _worth_showing([Option(value="yes", label="In stock", link=link, chosen=before, count=count)])


def _worth_showing(options: list[Option]) -> list[Option]:
    """Leave out what leads nowhere, unless it is chosen: then it has to be seen."""
    return [option for option in options if option.count or option.chosen]


def _count(filters: Mapping[str, Any]) -> int:
    """Count what meets the filters. A search without words asks no model."""
    return ProductDocument.search("", filters=filters).count()
