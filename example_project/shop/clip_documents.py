"""How products are indexed. Beside the settings, a shop needs only this file to be searchable."""

from __future__ import annotations

from django.db.models import QuerySet

from clip_search import Bool, Document, Keyword, Number, register

from .models import Category, Product, ProductImage


@register(Product)
class ProductDocument(Document):
    text_fields = ["name", "description"]  # in this order; CLIP reads the first 77 tokens
    image_field = "images.original"  # the first picture, in the order of ProductImage.Meta
    exact_fields = ["sku", "name"]  # products that match these exactly come first
    filter_fields = {
        "category": Keyword("category.slug"),
        "colour": Keyword("colour"),
        "price": Number("price"),
        "in_stock": Bool("in_stock"),  # a property: any attribute works
    }
    related = {ProductImage: "product", Category: "products"}  # changes of these re-index their products

    def get_queryset(self) -> QuerySet[Product]:
        """Return the products to index. A product that is unpublished leaves the index when it is saved."""
        return Product.objects.published().select_related("category")
