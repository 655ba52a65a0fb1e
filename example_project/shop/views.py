"""The pages of the shop: a catalogue, a product, a search."""

from __future__ import annotations

import logging
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.generic import DetailView, ListView, TemplateView
from django.views.generic.base import ContextMixin

from clip_search import SearchUnavailable

from .clip_documents import ProductDocument
from .models import Category, Product

logger = logging.getLogger(__name__)

PAGE_SIZE = 24
SIMILAR_SIZE = 8
SUGGESTIONS = ["red mug", "striped dress", "green backpack", "tasse rouge", "parapluie jaune"]


class ShopMixin(ContextMixin):
    """What every page shows: the categories that have something in them."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        shown = Count("products", filter=Q(products__is_published=True))
        categories = Category.objects.annotate(shown=shown).filter(shown__gt=0)
        return super().get_context_data(categories=categories, **kwargs)


class CatalogueView(ShopMixin, ListView):
    """All products, or those of a category, in pages."""

    template_name = "shop/catalogue.html"
    context_object_name = "products"
    paginate_by = PAGE_SIZE
    category: Category | None = None

    def get_queryset(self) -> QuerySet[Product]:
        products = Product.objects.published().for_cards()
        if "slug" not in self.kwargs:
            return products
        self.category = get_object_or_404(Category, slug=self.kwargs["slug"])
        return products.filter(category=self.category)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(category=self.category, everything=not self.category, **kwargs)
        page = context["page_obj"]
        context["page_range"] = page.paginator.get_elided_page_range(page.number, on_each_side=2, on_ends=1)
        return context


class ProductView(ShopMixin, DetailView):
    """One product, and others like it."""

    template_name = "shop/product.html"
    context_object_name = "product"
    slug_field = slug_url_kwarg = "sku"

    def get_queryset(self) -> QuerySet[Product]:
        return Product.objects.published().for_cards()

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        try:
            context["similar"] = list(ProductDocument.similar_to(self.object)[:SIMILAR_SIZE])
        except SearchUnavailable as error:
            logger.warning("Similar products unavailable sku=%s reason=%s", self.object.sku, error)
            context["search_unavailable"] = True
        return context


class SearchView(ShopMixin, TemplateView):
    """What the shop has that is nearest to a shopper's words."""

    template_name = "shop/search.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        context = self.get_context_data(**self.answer(request.GET.get("q", "").strip()))
        return self.render_to_response(context, status=503 if context.get("search_unavailable") else 200)

    def answer(self, query: str) -> dict[str, Any]:
        """Return what the page shows: hits, or the catalogue where there is no search to be had."""
        if not query:
            return {"query": "", "suggestions": SUGGESTIONS}
        try:
            return {"query": query, "products": list(ProductDocument.search(query)[:PAGE_SIZE])}
        except SearchUnavailable as error:
            logger.warning("Search unavailable reason=%s", error)
        catalogue = Product.objects.published().for_cards()[:PAGE_SIZE]
        return {"query": query, "products": catalogue, "search_unavailable": True}
