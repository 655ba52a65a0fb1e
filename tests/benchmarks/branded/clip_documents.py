from typing import ClassVar

from clip_search import Document, Keyword, register

from .models import Article, Brand, Category


@register(Article)
class ArticleDocument(Document[Article]):
    id_field = "sku"
    text_fields = ("name", "brand.name", "category.name", "description")
    search_fields: ClassVar = {"name": 3, "brand.name": 2, "category.name": 1, "description": 1}
    image_field = "photo"
    exact_fields = ("sku", "name")
    filter_fields = {"brand": Keyword("brand.name"), "category": Keyword("category.name")}
    related = {Brand: "articles", Category: "articles"}
