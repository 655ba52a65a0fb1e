"""The back office.

`ClipSearchAdminMixin` adds the column with the index status, the action that indexes again, search in the
index, and the page that says why a product is found.
"""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from clip_search.admin import ClipSearchAdminMixin

from .models import Category, Product, ProductImage

admin.site.site_header = admin.site.site_title = "Palette, back office"


def thumbnail(picture: ProductImage | None, size: int) -> str:
    """Return an <img>. Its alt text is empty because the product's name stands beside it."""
    if picture is None or not picture.original:
        return "–"
    style = "object-fit: cover; border-radius: 6px"
    html = '<img src="{}" alt="" width="{}" height="{}" loading="lazy" style="{}">'
    return format_html(html, picture.original.url, size, size, style)


class ProductImageInline(admin.TabularInline):
    model = ProductImage
    fields = ["preview", "original", "position"]
    readonly_fields = ["preview"]
    extra = 1

    @admin.display(description="Preview")
    def preview(self, picture: ProductImage) -> str:
        return thumbnail(picture, 96)


@admin.register(Product)
class ProductAdmin(ClipSearchAdminMixin, admin.ModelAdmin):
    list_display = ["preview", "name", "index_status", "sku", "category", "price", "stock", "is_published"]
    list_display_links = ["preview", "name"]
    list_filter = ["is_published", "category", "colour"]
    list_select_related = ["category"]
    search_fields = ["name", "sku"]
    fields = ["name", "sku", "description", "category", "colour", ("price", "stock"), "is_published"]
    inlines = [ProductImageInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Product]:
        return super().get_queryset(request).prefetch_related("images")

    @admin.display(description="")
    def preview(self, product: Product) -> str:
        return thumbnail(product.picture, 48)


@admin.register(Category)
class CategoryAdmin(admin.ModelAdmin):
    list_display = ["name", "parent", "slug", "products"]
    list_select_related = ["parent"]
    prepopulated_fields = {"slug": ["name"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Category]:
        return super().get_queryset(request).annotate(product_count=Count("products"))

    @admin.display(description="Products", ordering="product_count")
    def products(self, category: Category) -> int:
        return category.product_count  # type: ignore[attr-defined, no-any-return]
