"""The filters beside the results: their values, the number of products with each, and a link to select it.

Each number respects the filters of the other groups, so it is the number of results after a click.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .clip_documents import ProductDocument
from .forms import PRICE_BANDS, SearchForm


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One value of a filter. `url` selects it, or deselects it if it is selected."""

    value: str
    label: str
    url: str
    is_selected: bool
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The values of one filter."""

    name: str
    title: str
    options: list[Option]


def facet_groups(form: SearchForm, category_names: Mapping[str, str]) -> list[Group]:
    """Return the filters that have values. `category_names` is by slug. Raise SearchUnavailable."""
    groups = [
        Group(name="category", title="Category", options=_keyword_options(form, "category", category_names)),
        Group(name="colour", title="Colour", options=_keyword_options(form, "colour", {})),
        Group(name="price", title="Price", options=_price_options(form)),
        Group(name="in_stock", title="Availability", options=_stock_options(form)),
    ]
    return [group for group in groups if group.options]


def selected_options(groups: list[Group]) -> list[Option]:
    """Return the options that are selected."""
    return [option for group in groups for option in group.options if option.is_selected]


def _keyword_options(form: SearchForm, name: str, labels: Mapping[str, str]) -> list[Option]:
    """Return the options of a keyword, sorted by label so that their order stays the same."""
    counts = ProductDocument.search("").filter(**form.lookups(leave_out=name)).facet(name)
    selected: list[str] = form.value(name)
    options = [
        Option(
            value=value,
            label=labels.get(value) or value[:1].upper() + value[1:],
            url=form.url(**{name: sorted({*selected} ^ {value})}),
            is_selected=value in selected,
            count=counts.get(value, 0),
        )
        for value in {*counts, *selected} - {""}
    ]
    return sorted(options, key=lambda option: option.label)


def _price_options(form: SearchForm) -> list[Option]:
    other_lookups, selected = form.lookups(leave_out="price"), form.value("price")
    options = [
        Option(
            value=key,
            label=band.label,
            url=form.url(price="" if key == selected else key),
            is_selected=key == selected,
            count=_count(**other_lookups, **band.lookups()),
        )
        for key, band in PRICE_BANDS.items()
    ]
    return _without_empty(options)


def _stock_options(form: SearchForm) -> list[Option]:
    is_selected = bool(form.value("in_stock"))
    count = _count(**form.lookups(leave_out="in_stock"), in_stock=True)
    url = form.url(in_stock=not is_selected)
    return _without_empty(
        [Option(value="yes", label="In stock", url=url, is_selected=is_selected, count=count)]
    )


def _without_empty(options: list[Option]) -> list[Option]:
    """Leave out options without products, except selected ones: shoppers must be able to deselect them."""
    return [option for option in options if option.count or option.is_selected]


def _count(**lookups: Any) -> int:
    """Count the products that meet the filters. A search for "" needs no model."""
    return ProductDocument.search("").filter(**lookups).count()
