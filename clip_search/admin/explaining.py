"""The page "Search standing" of a product: where it stands for a query, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import SEARCH_VAR
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from ..documents.binding import BoundDocument
from ..exceptions import SearchUnavailable
from ..searching.explaining import explain
from ..searching.explanations import Explanation, ProductExplanation, Standing
from ..types import IMAGE, TEXT, WORDS

PAGE: Final = "admin/clip_search/why.html"
CHANGE_FORM: Final = "admin/clip_search/change_form.html"
SHOWN: Final = 10
BASES: Final = {"exact": _("exact match"), "words": _("all words"), "meaning": _("near in meaning")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A product as the page shows it."""

    product: ProductExplanation
    basis: Any
    standings: list[Standing | None]
    """Its places in the rankings by words, text and image."""
    is_own: bool
    url: str
    """The same page of this product, or ""."""


def url_name(opts: Any) -> str:
    """Return the name of the page's URL."""
    return f"{opts.app_label}_{opts.model_name}_why"


def why_page(
    model_admin: Any, request: HttpRequest, obj: Any, documents: list[BoundDocument]
) -> TemplateResponse:
    """Return the page of a row, with an answer if the request has a query."""
    query = request.GET.get(SEARCH_VAR, "").strip()
    document = next((d for d in documents if d.name == request.GET.get("document")), documents[0])
    context: dict[str, Any] = {
        **model_admin.admin_site.each_context(request),
        "title": _("Search standing"),
        "subtitle": str(obj) or None,
        "opts": model_admin.opts,
        "original": obj,
        "query": query,
        "document": document,
        "documents": documents if len(documents) > 1 else [],
    }
    if query:
        try:
            context |= _answer(model_admin, document, obj, query)
        except SearchUnavailable as error:
            context["error"] = str(error)
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, PAGE, context)


def _answer(model_admin: Any, document: BoundDocument, obj: Any, query: str) -> dict[str, Any]:
    """Return the part of the context that answers the query. Raises SearchUnavailable."""
    product_id = next(iter(document.product_ids([obj])), None)
    explanation = explain(document, query, limit=SHOWN, product_id=product_id)
    own = explanation.product
    return {
        "explanation": explanation,
        "row": own and _row(model_admin, document, explanation, own),
        "rows": [_row(model_admin, document, explanation, each) for each in explanation.products],
    }


def _row(
    model_admin: Any, document: BoundDocument, explanation: Explanation, product: ProductExplanation
) -> Row:
    own = explanation.product
    return Row(
        product=product,
        basis=BASES.get(product.basis or "", ""),
        standings=[product.rankings.get(name) for name in (WORDS, TEXT, IMAGE)],
        is_own=own is not None and own.product_id == product.product_id,
        url=_url(model_admin, document, product, explanation.query),
    )


def _url(model_admin: Any, document: BoundDocument, product: ProductExplanation, query: str) -> str:
    if not document.ids_are_keys or not product.name:
        return ""
    name = f"{model_admin.admin_site.name}:{url_name(model_admin.opts)}"
    try:
        url = reverse(name, args=[quote(product.product_id)])
    except NoReverseMatch:
        return ""
    return f"{url}?{urlencode({SEARCH_VAR: query, 'document': document.name})}"
