"""Search and similar products in templates."""

from __future__ import annotations

from typing import Any

from django import template
from django.db.models import Model

from .. import searching
from ..documents import Document, registry
from ..exceptions import SearchUnavailable

register = template.Library()


@register.simple_tag
def clip_search(text: str | None, document: str = "", limit: int = 24, **filters: Any) -> Products:
    """Find products by words: `{% clip_search q limit=12 category="kitchen" as products %}`.

    `document` may be left out where only one is registered. A filter without a value filters nothing.
    """
    return _shown(searching.search(_document(document), text or "", filters=_given(filters)), limit)


@register.simple_tag
def similar_products(product: Model | None, limit: int = 8, document: str = "", **filters: Any) -> Products:
    """Find products like this one: `{% similar_products product limit=8 as items %}`."""
    if not isinstance(product, Model):
        return Products()  # a variable that is missing is "" or None
    found = _document(document, type(product))
    return _shown(searching.similar_to(found, product, filters=_given(filters)), limit)


def _given(filters: dict[str, Any]) -> dict[str, Any]:
    """Return the filters that have a value: a page is often shown without some of its parameters."""
    return {name: value for name, value in filters.items() if value not in (None, "")}


class Products(list[Any]):
    """Products in rank order; `unavailable` says why there are none while search cannot answer.

    The rest of the page is worth showing then: `{% if items.unavailable %}…{% endif %}`.
    """

    unavailable = ""


def _shown(results: searching.SearchResults, limit: int) -> Products:
    products = Products()
    try:
        products += results[:limit]
    except SearchUnavailable as error:
        products.unavailable = str(error)
    return products


def _document(name: str, model: type[Model] | None = None) -> Document:
    candidates = registry.of_model(model) if model else list(registry)
    named = [document for document in candidates if name in ("", document.name)]
    if len(named) == 1:
        return named[0]
    known = ", ".join(document.name for document in candidates) or "none"
    raise template.TemplateSyntaxError(f"Name one document with document=…. There are: {known}.")
