"""Template tags that search products, find similar products, and show a search box."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from django import template
from django.db.models import Model
from django.template import Context
from django.urls import NoReverseMatch, reverse

from .. import searching
from ..documents.binding import BoundDocument
from ..documents.registry import registry
from ..exceptions import BadFilterValue, SearchUnavailable, UnknownFilter
from ..types import Facet

register = template.Library()
MOST_SHOWN = 1000


@register.simple_tag
def clip_search(
    text: str | None,
    document: str = "",
    limit: Any = 24,
    order_by: str | None = "",
    facets: str = "",
    **filters: Any,
) -> Products:
    """Search products by words: `{% clip_search q limit=12 category="kitchen" as products %}`.

    `document` may be left out if only one document is registered. `order_by` and `facets` are names joined by
    commas. Filters that are None or "" are ignored.
    """
    found = _document(document)
    given = _given(filters)
    options = {}
    for name, (key, field) in searching.facet_options(found).items():
        if name in given:
            option = given.pop(name)
            options[key] = option.split(",") if field.kind == "number" and isinstance(option, str) else option

    def search() -> searching.SearchResults[Any]:
        results = searching.search(found, str(text or ""), filters=given)
        try:
            return results.order_by(*_names(order_by))
        except UnknownFilter as error:  # it may come from the URL of the page, as the values of filters
            raise BadFilterValue(str(error)) from error

    return _shown(search, _size(limit, 24), _names(facets), options)


@register.simple_tag
def similar_products(
    product: Model | None, limit: Any = 8, document: str = "", min_score: Any = None, **filters: Any
) -> Products:
    """Find products that are similar to `product`: `{% similar_products product limit=8 as items %}`."""
    if not isinstance(product, Model):
        return Products()  # a missing template variable is "" or None
    found = _document(document, type(product))
    options = {"filters": _given(filters), **_given({"min_score": min_score})}
    return _shown(lambda: searching.similar_to(found, product, **options), _size(limit, 8))


@register.inclusion_tag("clip_search/search_box.html", takes_context=True)
def search_box(
    context: Context,
    action: str,
    suggest_url: str | None = None,
    name: str = "q",
    limit: Any = 5,
    placeholder: str = "",
    id: str = "clip-search",
) -> dict[str, Any]:
    """Show a search box with suggestions: `{% search_box action="/search/" %}`.

    `action` is the URL of the search page. `suggest_url` is that of the endpoint `suggest`, which is found by
    itself if it is mounted as in the documentation; without it, or without a script, the box is a plain form.
    Two boxes on one page need different ids.
    """
    if suggest_url is None:
        try:
            suggest_url = reverse("clip_search:suggest")
        except NoReverseMatch:
            suggest_url = ""
    request = context.get("request")
    return {
        "action": action,
        "suggest_url": suggest_url,
        "name": name,
        "limit": min(max(1, _size(limit, 5)), searching.MOST_SUGGESTIONS),
        "placeholder": placeholder,
        "id": id,
        "q": request.GET.get(name, "") if request else "",
    }


def _given(filters: dict[str, Any]) -> dict[str, Any]:
    """Return the filters without those that are None or "": a page often has no value for them."""
    return {name: value for name, value in filters.items() if value not in (None, "")}


def _names(text: str | None) -> list[str]:
    """Return names that are joined by commas, or [] if there are none."""
    return [name for name in str(text or "").split(",") if name]


def _size(limit: Any, default: int) -> int:
    """Return `limit` as an integer from 0 to 1000, or `default` if it is not a number.

    The limit may come from the URL of the page, so it may be anything.
    """
    try:
        return min(max(int(limit), 0), MOST_SHOWN)
    except (TypeError, ValueError):
        return default


class Products(list[Any]):
    """A list of products, best first. If search fails, the list is empty, and an attribute says why.

    So the rest of the page is still shown: `{% if items.unavailable %}…{% endif %}`.
    """

    unavailable = ""
    """The reason why search is unavailable now, or ""."""
    invalid = ""
    """An error message about an invalid value of a filter, `order_by` or `min_score`, or ""."""
    count = 0  # type: ignore[assignment]  # a template cannot call the method of lists
    """How many products are found, also beyond the limit."""
    corrected = ""
    """The query with its spelling corrected, or ""."""
    dropped: tuple[str, ...] = ()
    """The words that no product has, and that were left out of the query."""
    closest: Sequence[Any] = ()
    """If nothing is found, the products that are nearest in meaning, at most 12. They are no results."""
    facets: Mapping[str, Facet] = {}
    """The facets that were asked for, by the names of the filters."""


def _shown(
    ask: Callable[[], searching.SearchResults[Any]],
    limit: int,
    facets: Sequence[str] = (),
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Products:
    """Return the first products that are found, with what a page says about them."""
    try:
        results = ask()
        with results.session():
            products = Products(results[:limit])
            products.count = results.count()
            products.corrected, products.dropped = results.corrected, results.dropped
            products.closest = () if products.count else list(results.closest)
            products.facets = results.facets(*facets, **options) if facets or options else {}
            return products
    except SearchUnavailable as error:
        products = Products()
        products.unavailable = str(error)
    except BadFilterValue as error:
        products = Products()
        products.invalid = str(error)
    return products


def _document(name: str, model: type[Model] | None = None) -> BoundDocument:
    candidates = registry.of_model(model) if model else list(registry)
    named = [document for document in candidates if name in ("", document.name)]
    if len(named) == 1:
        return named[0]
    known = ", ".join(document.name for document in candidates) or "none"
    raise template.TemplateSyntaxError(f"Set document=… to the name of one document. There are: {known}.")
