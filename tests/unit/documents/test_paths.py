"""Attribute paths across relations."""

from __future__ import annotations

import pytest
from django.core.exceptions import FieldDoesNotExist

from clip_search.documents import paths
from tests.shops.oscarshop.models import Category as Shelf
from tests.shops.oscarshop.models import Product as Ware
from tests.shops.oscarshop.models import ProductCategory, StockRecord
from tests.shops.shop.models import Book, Category, Product, ProductImage, SaleProduct, Tag


@pytest.fixture
def mug(db) -> Product:
    kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
    return Product.objects.create(name="Mug", sku="M-1", category=kitchen)


@pytest.fixture
def shirt(db) -> Ware:
    return Ware.objects.create(upc="shirt", title="Shirt")


def test_a_field(mug):
    assert paths.values(mug, "name") == ["Mug"]


def test_a_to_one_relation(mug):
    assert paths.values(mug, "category.slug") == ["kitchen"]


def test_a_missing_to_one_relation_ends_the_path(db):
    assert paths.values(Product.objects.create(name="Mug"), "category.slug") == []


def test_none_at_the_end_is_left_out(mug):
    assert paths.values(mug, "released") == []


def test_falsy_values_are_kept(mug):
    assert paths.values(mug, "views") == [0]
    assert paths.values(mug, "description") == [""]


def test_a_missing_reverse_one_to_one_ends_the_path(mug):
    assert paths.values(mug, "book.author") == []


def test_a_reverse_one_to_one(db):
    book = Book.objects.create(name="Emma", author="Austen")
    assert paths.values(book.product_ptr, "book.author") == ["Austen"]


def test_a_to_many_relation_in_the_order_of_its_meta(mug):
    for position, name in ((2, "b.png"), (1, "c.png"), (3, "a.png")):
        ProductImage.objects.create(product=mug, original=name, position=position)
    assert [file.name for file in paths.values(mug, "images.original")] == ["c.png", "b.png", "a.png"]


def test_a_prefetched_to_many_relation_costs_no_query(mug, django_assert_num_queries):
    ProductImage.objects.create(product=mug, original="a.png")
    row = Product.objects.prefetch_related("images").get(pk=mug.pk)
    with django_assert_num_queries(0):
        assert len(paths.values(row, "images.original")) == 1


def test_a_many_to_many_relation_from_both_sides(mug):
    mug.tags.create(name="blue")
    mug.tags.create(name="new")
    assert sorted(paths.values(mug, "tags.name")) == ["blue", "new"]
    assert paths.values(Tag.objects.get(name="new"), "products.sku") == ["M-1"]


def test_a_reverse_relation_without_a_related_name(shirt):
    ProductCategory.objects.create(product=shirt, category=Shelf.add("clothes"))
    assert paths.values(shirt, "productcategory_set.category.slug") == ["clothes"]


def test_across_two_to_many_relations(shirt):
    for size in "SM":
        child = Ware.objects.create(upc=f"shirt-{size}", parent=shirt)
        StockRecord.objects.create(product=child, price=10)
        StockRecord.objects.create(product=child, price=12)
    assert sorted(paths.values(shirt, "children.stockrecords.price")) == [10, 10, 12, 12]


def test_a_relation_to_itself(shirt):
    child = Ware.objects.create(upc="shirt-S", parent=shirt)
    assert paths.values(child, "parent.title") == ["Shirt"]
    assert paths.values(shirt, "children.upc") == ["shirt-S"]


def test_a_method_is_called(shirt):
    assert paths.values(shirt, "available") == [False]


def test_a_property(shirt):
    shirt.categories.add(Shelf.add("shirts", Shelf.add("clothes")))
    assert paths.values(shirt, "shelves") == ["clothes", "shirts"]


def test_a_list_counts_for_its_items(shirt):
    shirt.colours = ("red", None, "blue")
    assert paths.values(shirt, "colours") == ["red", "blue"]


def test_a_property_that_is_a_queryset(shirt):
    StockRecord.objects.create(product=shirt, price=10)
    assert paths.values(shirt, "stock.price") == [10]


def test_text_is_no_list(mug):
    assert paths.values(mug, "name.upper") == ["MUG"]


def test_what_a_property_raises_is_raised(shirt):
    with pytest.raises(AttributeError, match="nonsense"):
        paths.values(shirt, "title.nonsense")


@pytest.mark.parametrize(
    ("path", "lookup"),
    [
        ("name", ""),
        ("category.slug", "category"),
        ("category", "category"),
        ("images.original", "images"),
        ("images.product.tags.name", "images__product__tags"),
        ("get_anything.name", ""),
    ],
)
def test_relations_to_prefetch(path, lookup):
    assert "__".join(name for name, _ in paths.crossed(Product, path)) == lookup


def test_relations_to_prefetch_are_accessors():
    path = "productcategory_set.category.slug"
    assert [name for name, _ in paths.crossed(Ware, path)] == ["productcategory_set", "category"]


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (Product, "name"),
        (Product, "category.slug"),
        (Product, "images.original"),
        (Product, "images.product.tags.name"),
        (Tag, "products.images.original"),
        (Ware, "children.stockrecords.price"),
        (Ware, "productcategory_set.category.slug"),
    ],
)
@pytest.mark.parametrize("lists", [True, False])
def test_prefetched_relations_say_the_same_and_cost_one_query_each(
    mug, shirt, model, path, lists, django_assert_num_queries
):
    for position, name in ((2, "b.png"), (1, "a.png")):
        ProductImage.objects.create(product=mug, original=name, position=position)
    mug.tags.create(name="blue")
    ProductCategory.objects.create(product=shirt, category=Shelf.objects.create(name="Shirts", slug="shirts"))
    child = Ware.objects.create(upc="shirt-S", parent=shirt)
    StockRecord.objects.create(product=child, price=10)
    expected = [paths.values(row, path) for row in model.objects.order_by("pk")]
    assert any(expected)
    free = path.startswith("images.product")  # an image that was found by its product knows it
    prefetches = list(paths.prefetches(model, path, "default", lists=lists))
    with django_assert_num_queries(1 + len(prefetches) - free):
        rows = list(model.objects.order_by("pk").prefetch_related(*prefetches))
        assert [paths.values(row, path) for row in rows] == expected


@pytest.mark.parametrize(
    ("path", "many"),
    [
        ("name", False),
        ("category", False),
        ("category.slug", False),
        ("tags.name", True),
        ("images.product.name", True),
    ],
)
def test_crosses_many(path, many):
    assert paths.crosses_many(Product, path) is many


def test_a_path_that_branches_out_late():
    assert paths.crosses_many(ProductImage, "product.tags.name")
    assert not paths.crosses_many(ProductImage, "product.category.name")


@pytest.mark.parametrize(
    "path",
    [
        "name",
        "category",
        "category.slug",
        "images.original",
        "tags.name",
        "pk",
        "get_absent_display.x",
        "book.author",
    ],
)
def test_no_mistake(path):
    Product.get_absent_display = property(str)
    try:
        assert paths.mistake(Product, path) == ""
    finally:
        del Product.get_absent_display


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("nmae", "Product has no field or attribute 'nmae'"),
        ("category.slgu", "Category has no field or attribute 'slgu'"),
        ("images.orignal", "ProductImage has no field or attribute 'orignal'"),
        ("", "Product has no field or attribute ''"),
        ("category__slug", "Product has no field or attribute 'category__slug'"),
    ],
)
def test_mistakes(path, named):
    assert paths.mistake(Product, path) == named


def test_a_querys_name_of_a_reverse_relation_is_no_attribute():
    assert "'productcategory'" in paths.mistake(Ware, "productcategory.category.slug")
    assert paths.mistake(Ware, "productcategory_set.category.slug") == ""


@pytest.mark.parametrize(
    ("path", "columns"),
    [
        ("name", {"name"}),
        ("category.slug", {"category", "category_id"}),
        ("images.original", set()),
        ("get_text", None),
    ],
)
def test_first_columns(path, columns):
    assert paths.first_columns(Product, path) == columns


@pytest.mark.parametrize(
    ("model", "path", "split"),
    [
        (ProductImage, "product", (["product"], [])),
        (ProductImage, "product.tags", (["product"], ["tags"])),
        (ProductImage, "product__category", (["product", "category"], [])),
        (Category, "products", ([], ["products"])),
        (Product, "book", ([], ["book"])),
        (Book, "product_ptr", (["product_ptr"], [])),
        (Product, "name", ([], ["name"])),
    ],
)
def test_split_forward(model, path, split):
    assert paths.split_forward(model, path) == split


def test_follow_and_lookup():
    assert paths.follow(ProductImage, ["product", "category"]) is Category
    assert paths.lookup(Ware, "productcategory_set.category") == "productcategory__category"
    assert paths.lookup(Ware, "productcategory__category") == "productcategory__category"
    assert paths.lookup(SaleProduct, "images") == "images"


@pytest.mark.parametrize("path", ["nonsense", "products.nonsense", "slug", ""])
def test_follow_and_lookup_of_what_is_no_relation(path):
    with pytest.raises(FieldDoesNotExist, match="has no relation"):
        paths.lookup(Category, path)
    with pytest.raises(FieldDoesNotExist):
        paths.follow(Category, path.split("."))
