"""The pages of the shop: a catalogue, a product, a search by words and one by photo."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.generic import DetailView, FormView, ListView, TemplateView
from django.views.generic.base import ContextMixin

from clip_search import SearchUnavailable
from clip_search.searching import SearchResults

from . import facets, photos
from .clip_documents import ProductDocument
from .forms import PhotoForm, SearchForm
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


class FindView(ShopMixin, TemplateView):
    """The products in the order of how near they come to something, filtered and in pages."""

    template_name = "shop/search.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        form = SearchForm(request.GET)
        form.full_clean()
        context = self.get_context_data(form=form, query=form.words, suggestions=SUGGESTIONS)
        shelves = {category.slug: category.name for category in context["categories"]}
        try:
            context |= self.answer(form, shelves)
        except SearchUnavailable:  # clip_search has logged why
            context["search_unavailable"] = True
            context["products"] = Product.objects.published().for_cards()[:PAGE_SIZE]
            return self.render_to_response(context, status=503)
        return self.render_to_response(context)

    def answer(self, form: SearchForm, shelves: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of products and the filters beside it. Raises SearchUnavailable."""
        results = self.results(form)
        with results.session():
            # A page that does not exist is the last one, so that no page is too deep.
            page = Paginator(results, PAGE_SIZE).get_page(self.request.GET.get("page"))
            products, groups = list(page), facets.groups(form, shelves)
        pages = page.paginator.get_elided_page_range(page.number, on_each_side=2, on_ends=1)
        chosen = facets.chosen(groups)
        return {
            "products": products,
            "groups": groups,
            "chosen": chosen,
            "page_obj": page,
            "page_range": pages,
        }

    def results(self, form: SearchForm) -> SearchResults:
        """Return what was found."""
        raise NotImplementedError


class SearchView(FindView):
    """What the shop has that is nearest to a shopper's words; without words, all that meets the filters."""

    def results(self, form: SearchForm) -> SearchResults:
        return ProductDocument.search(form.words, filters=form.filters())

    def answer(self, form: SearchForm, shelves: Mapping[str, str]) -> dict[str, Any]:
        return super().answer(form, shelves) if form.words or form.filters() else {"nothing_asked": True}


class PhotoView(ShopMixin, FormView):
    """Takes a photo to search by, and shows what it found at an address of its own."""

    template_name = "shop/photo.html"
    form_class = PhotoForm

    def form_valid(self, form: PhotoForm) -> HttpResponse:
        key = photos.keep(self.request.session, form.cleaned_data["photo"])
        return redirect("shop:photo_results", key=key)

    def form_invalid(self, form: PhotoForm) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=400)


class PhotoResultsView(FindView):
    """What the shop has that looks most like a shopper's photo."""

    photo = b""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        photo = photos.kept(request.session, kwargs["key"])
        if photo is None:
            context = self.get_context_data(photo_is_gone=True, form=PhotoForm())
            return render(request, PhotoView.template_name, context, status=404)
        self.photo = photo
        return super().get(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        photo = photos.as_url(self.photo) if self.photo else ""
        return super().get_context_data(**kwargs, photo=photo)

    def results(self, form: SearchForm) -> SearchResults:
        return ProductDocument.search_by_image(self.photo, filters=form.filters())
