from django.db.models import QuerySet

from clip_search import Bool, Document, Keyword, Number, register

from .models import Category, Product, ProductCategory, ProductImage, StockRecord


@register(Product)
class CatalogueDocument(Document):
    name = "catalogue"
    text_fields = ("title", "description", "children.title")
    image_field = "images.original"
    max_images = 2
    exact_fields = ("upc", "children.upc")
    filter_fields = {
        "category": Keyword("shelves"),
        "price": Number("stock.price"),
        "in_stock": Bool("available"),
    }
    related = dict.fromkeys((ProductImage, StockRecord, ProductCategory), "product")
    related[Category] = "products"

    def get_queryset(self) -> QuerySet[Product]:
        return Product.objects.filter(is_public=True, parent=None)

    def index_as(self, product: Product) -> Product:
        return product.parent or product
