"""How products are indexed. Beside the settings, a shop needs only this file to be searchable."""

from __future__ import annotations

from django.db.models import QuerySet

from clip_search import Bool, Date, Document, Keyword, Number, register

from .models import Category, Product, ProductImage


@register(Product)
class ProductDocument(Document):
    text_fields = ["name", "description"]  # their meaning, in this order; CLIP reads the first 77 tokens
    search_fields = {"name": 3, "description": 1, "category.name": 1}  # their words, with weights
    synonyms = {"mug": ["cup"], "sofa": ["couch", "settee"], "grey": ["gray"]}  # they find each other
    image_field = "images.original"  # the first picture, in the order of ProductImage.Meta
    exact_fields = ["sku", "name"]  # products that match these exactly come first
    filter_fields = {
        "category": Keyword("category.path", separator="/", label="category.path_of_names"),  # a tree
        "colour": Keyword("colour"),
        "price": Number("price"),
        "in_stock": Bool("in_stock"),  # a property: any attribute works
        "created": Date("created"),  # only to sort by
    }
    # changes of these index their products again
    related = {ProductImage: "product", Category: ["products", "children.products"]}

    def get_queryset(self) -> QuerySet[Product]:
        """Return the products to index. A product that is unpublished leaves the index when it is saved."""
        return Product.objects.published().select_related("category__parent")
