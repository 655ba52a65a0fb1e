"""All that the shop says to clip_search: what a product is made of, and whose change concerns it."""

from __future__ import annotations

from django.db.models import QuerySet

from clip_search import Bool, Document, Keyword, Number, register

from .models import Category, Product, ProductImage


@register(Product)
class ProductDocument(Document):
    text_fields = ["name", "description"]  # in this order; CLIP reads the first 77 tokens
    image_field = "images.original"  # the first picture, by the pictures' own order
    exact_fields = ["sku", "name"]  # what a shopper may type exactly
    filter_fields = {
        "category": Keyword("category.slug"),
        "colour": Keyword("colour"),
        "price": Number("price"),
        "in_stock": Bool("in_stock"),  # a property: any attribute will do
    }
    related = {ProductImage: "product", Category: "products"}  # their changes concern these products

    def get_queryset(self) -> QuerySet[Product]:
        """Unpublish a product, and it leaves the index with that very save."""
        return Product.objects.published().select_related("category")
