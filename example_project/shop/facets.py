"""The filters beside the results: their values, the number of products with each, and a link to choose it.

Each number respects the filters of the other groups, so it is the number of results after a click.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from clip_search.types import Facet, FacetValue

from .forms import ORDERS, SearchForm

FACETS = ("category", "colour", "price", "in_stock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One value of a filter. `url` chooses it, or removes it if it is chosen."""

    label: str
    url: str
    value: str = ""
    count: int = 0
    is_selected: bool = True
    children: tuple[Option, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The values of one filter."""

    name: str
    title: str
    options: list[Option]


def facet_groups(form: SearchForm, facets: Mapping[str, Facet]) -> list[Group]:
    """Return the filters that have values, from the facets of the results."""
    in_stock = [
        Option(
            label="In stock",
            url=form.url(in_stock=not value.chosen),
            count=value.count,
            is_selected=value.chosen,
        )
        for value in facets["in_stock"]
        if value.value
    ]
    colours = sorted(facets["colour"], key=lambda colour: colour.label)  # an order that stays the same
    groups = [
        Group(name="category", title="Category", options=_options(form, "category", facets["category"])),
        Group(name="colour", title="Colour", options=_options(form, "colour", colours)),
        Group(name="in_stock", title="Availability", options=in_stock),
    ]
    return [group for group in groups if group.options]


def _options(form: SearchForm, name: str, values: Iterable[FacetValue]) -> list[Option]:
    return [
        Option(
            value=value.value,
            label=value.label[:1].upper() + value.label[1:],
            url=form.url(**{name: _toggled(form.value(name), value.value)}),
            count=value.count,
            is_selected=value.chosen,
            children=tuple(_options(form, name, value.children)),
        )
        for value in values
    ]


def _toggled(chosen: list[str], value: str) -> list[str]:
    """Return the chosen values with this one added, or without it if it is among them.

    "home" is removed when "home/kitchen" is added, and the reverse: both together would find all of "home".
    """
    if value in chosen:
        return [one for one in chosen if one != value]
    apart = [one for one in chosen if not f"{one}/".startswith(f"{value}/")]
    return [*(one for one in apart if not f"{value}/".startswith(f"{one}/")), value]


def selected_options(form: SearchForm, groups: Iterable[Group]) -> list[Option]:
    """Return the filters that are chosen, each with a link that removes it."""
    chosen = [option for group in groups for option in _with_children(group.options) if option.is_selected]
    low, high = form.value("price_from"), form.value("price_to")
    if low or high:
        label = f"€{low} to €{high}" if low and high else f"€{low} and more" if low else f"Up to €{high}"
        chosen.append(Option(label=label, url=form.url(price_from="", price_to="")))
    return chosen


def _with_children(options: Iterable[Option]) -> Iterator[Option]:
    for option in options:
        yield option
        yield from _with_children(option.children)


def orders(form: SearchForm) -> list[Option]:
    """Return the orders, each with a link that sorts by it."""
    return [
        Option(label=label, url=form.url(order=order), is_selected=order == (form.value("order") or ""))
        for order, label in ORDERS.items()
    ]
