from clip_search import Bool, Date, Document, Keyword, Number, register

from .models import Article, Category, Product, ProductImage


@register(Product)
class ProductDocument(Document):
    text_fields = ("name", "description")
    image_field = "images.original"
    exact_fields = ("sku", "name")
    filter_fields = {
        "category": Keyword("category.slug"),
        "tag": Keyword("tags.name"),
        "price": Number("price"),
        "in_stock": Bool("in_stock"),
        "released": Date("released"),
    }
    related = {ProductImage: "product", Category: "products"}
    reads = ["is_public"]

    def get_queryset(self):
        return Product.objects.filter(is_public=True)


@register(Article)
class ArticleDocument(Document):
    text_fields = ("title",)
    using = "other"
