"""The pages of the shop: the catalogue, a product, search by text and search by photo."""

from __future__ import annotations

import logging
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.generic import DetailView, FormView, ListView, TemplateView
from django.views.generic.base import ContextMixin

from clip_search import SearchUnavailable
from clip_search.searching import SearchResults

from . import photos
from .clip_documents import ProductDocument
from .facets import FACETS, facet_groups, orders, selected_options
from .forms import PhotoForm, SearchForm
from .models import Category, Product

logger = logging.getLogger(__name__)

PAGE_SIZE = 24
SIMILAR_PRODUCTS = 8
SUGGESTIONS = ["red mug", "striped dress", "green backpack", "wall clock", "couch"]


class ShopMixin(ContextMixin):
    """Adds the categories that have published products, for the navigation of every page."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        published = Count("products", filter=Q(products__is_published=True))
        categories = Category.objects.annotate(published=published).filter(published__gt=0).order_by("name")
        return super().get_context_data(categories=categories, **kwargs)


class CatalogueView(ShopMixin, ListView):
    """All products, or those of one category, in pages."""

    template_name = "shop/catalogue.html"
    context_object_name = "products"
    paginate_by = PAGE_SIZE
    category: Category | None = None

    def get_queryset(self) -> QuerySet[Product]:
        products = Product.objects.published().for_cards()
        if "slug" not in self.kwargs:
            return products
        self.category = get_object_or_404(Category, slug=self.kwargs["slug"])
        return products.filter(Q(category=self.category) | Q(category__parent=self.category))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        is_whole_catalogue = self.category is None
        context = super().get_context_data(
            category=self.category, is_whole_catalogue=is_whole_catalogue, **kwargs
        )
        page = context["page_obj"]
        context["page_range"] = page.paginator.get_elided_page_range(page.number, on_each_side=2, on_ends=1)
        return context


class ProductView(ShopMixin, DetailView):
    """One product and similar ones."""

    template_name = "shop/product.html"
    context_object_name = "product"
    slug_field = slug_url_kwarg = "sku"

    def get_queryset(self) -> QuerySet[Product]:
        return Product.objects.published().for_cards()

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        try:
            context["similar"] = list(ProductDocument.similar_to(self.object)[:SIMILAR_PRODUCTS])
        except SearchUnavailable as error:
            logger.warning("Similar products unavailable sku=%s reason=%s", self.object.sku, error)
            context["search_unavailable"] = True
        return context


class ResultsView(ShopMixin, TemplateView):
    """A page of search results, with filters. Subclasses say what is searched for."""

    template_name = "shop/search.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        form = SearchForm(request.GET)
        form.full_clean()
        context = self.get_context_data(form=form, query=form.query, suggestions=SUGGESTIONS)
        try:
            context |= self.results_context(form)
        except SearchUnavailable:  # clip_search has logged the reason
            context["search_unavailable"] = True
            context["products"] = Product.objects.published().for_cards()[:PAGE_SIZE]
            return self.render_to_response(context, status=503)
        return self.render_to_response(context)

    def results_context(self, form: SearchForm) -> dict[str, Any]:
        """Return a page of products, and what stands beside it. Raise SearchUnavailable."""
        found = self.search(form)
        results = found.filter(**form.lookups())
        if order := form.value("order"):
            results = results.order_by(order)
        with results.session():  # an embedded store is opened once for all of this
            # get_page() returns the last page if the number is too high, so no page is too deep to search.
            page = Paginator(results, PAGE_SIZE).get_page(self.request.GET.get("page"))
            products, facets = list(page), results.facets(*FACETS)
            nothing_has_the_words = not products and bool(form.query) and not found.exists()
            closest = list(found.closest) if nothing_has_the_words else []
            corrected, dropped = results.corrected, results.dropped
        groups = facet_groups(form, facets)
        return {
            "products": products,
            "corrected": corrected,
            "url_as_typed": form.url_as_typed(corrected),
            "dropped": dropped,
            "nothing_has_the_words": nothing_has_the_words,
            "closest": closest,
            "groups": groups,
            "price": facets["price"],
            "orders": orders(form),
            "selected_options": selected_options(form, groups),
            "page_obj": page,
            "page_range": page.paginator.get_elided_page_range(page.number, on_each_side=2, on_ends=1),
        }

    def search(self, form: SearchForm) -> SearchResults[Product]:
        """Return the results without filters and order."""
        raise NotImplementedError


class SearchView(ResultsView):
    """Search by text. Without text, the products that meet the filters; without both, what to search for."""

    def search(self, form: SearchForm) -> SearchResults[Product]:
        return ProductDocument.search(form.query)

    def results_context(self, form: SearchForm) -> dict[str, Any]:
        if not form.query and not form.lookups() and not form.value("order"):
            return {"is_start_page": True}
        return super().results_context(form)


class PhotoView(ShopMixin, FormView):
    """The form for a photo. It stores the photo and redirects to its results."""

    template_name = "shop/photo.html"
    form_class = PhotoForm

    def form_valid(self, form: PhotoForm) -> HttpResponse:
        key = photos.store(self.request.session, form.cleaned_data["photo"])
        return redirect("shop:photo_results", key=key)

    def form_invalid(self, form: PhotoForm) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=400)


class PhotoResultsView(ResultsView):
    """The products that look most like a photo of the shopper's session, such as "this, but in red"."""

    photo = b""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        photo = photos.load(request.session, kwargs["key"])
        if photo is None:
            context = self.get_context_data(photo_is_unavailable=True, form=PhotoForm())
            return render(request, PhotoView.template_name, context, status=404)
        self.photo = photo
        return super().get(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        photo = photos.data_url(self.photo) if self.photo else ""
        return super().get_context_data(**kwargs, photo=photo)

    def search(self, form: SearchForm) -> SearchResults[Product]:
        return ProductDocument.search(form.value("about"), image=self.photo)
