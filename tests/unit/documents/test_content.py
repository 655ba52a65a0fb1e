"""How a row becomes text, payload and images."""

from __future__ import annotations

import pytest
from django.core.files.base import ContentFile
from django.db.models import Prefetch

from clip_search import Keyword, Number
from clip_search.exceptions import ProductError
from clip_search.types import ImageSource
from tests.shops.shop.models import Category, Product, ProductImage, Tag

from .declarations import declare


@pytest.mark.django_db
def test_content(document, picture):
    kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
    mug = Product.objects.create(
        name="Mug", sku="M-1", description="<b>Red</b>", category=kitchen, price="9.50", released="2024-05-01"
    )
    mug.tags.create(name="new")
    ProductImage.objects.create(product=mug, original=picture(name="late.png"), position=2)
    ProductImage.objects.create(product=mug, original=picture(name="first.png"), position=1)
    content = document.content(Product.objects.get())
    assert (content.product_id, content.text) == (str(mug.pk), "Mug. Red")
    assert content.exact == ("m1", "mug")
    assert content.payload == {
        "category": "kitchen",
        "tag": ["new"],
        "price": 9.5,
        "in_stock": True,
        "released": "2024-05-01T00:00:00+00:00",
    }
    assert [image.name for image in content.images] == ["products/first.png"]


@pytest.mark.django_db
def test_payload_of_what_is_missing(document):
    payload = document.declaration.get_payload(Product.objects.create(name="Mug", sku="M-1"))
    assert payload == {"price": 0.0, "in_stock": True}


def test_a_list_at_the_end_of_a_path_is_a_list_in_the_payload():
    declaration = declare(filter_fields={"colour": Keyword("colours")}).declaration
    mug = Product()
    mug.colours = ["red", "blue"]
    assert declaration.get_payload(mug) == {"colour": ["red", "blue"]}
    mug.colours = []
    assert declaration.get_payload(mug) == {}


def test_a_value_that_does_not_fit_its_filter_names_path_and_value():
    payload = declare(filter_fields={"price": Number("name")}).declaration.get_payload(Product(name="Mug"))
    assert repr(payload["price"]) == "InvalidValue(\"name: could not convert string to float: 'Mug'\")"


def test_exact_words_once_and_without_what_is_empty():
    document = declare(exact_fields=("sku", "name", "description"))
    content = document.content(Product(pk=1, name="M 1", sku="m-1", description="--"))
    assert content.exact == ("m1",)


@pytest.mark.django_db
@pytest.mark.parametrize(("allowed", "found"), [(1, 1), (2, 2), (5, 3)])
def test_max_images(picture, allowed, found):
    mug = Product.objects.create(name="Mug")
    for position in range(3):
        ProductImage.objects.create(product=mug, original=picture(), position=position)
    document = declare(image_field="images.original", max_images=allowed)
    assert len(document.content(mug).images) == found


@pytest.mark.django_db
def test_image_fields_without_a_file_are_skipped(picture):
    mug = Product.objects.create(name="Mug")
    ProductImage.objects.create(product=mug, original="")
    ProductImage.objects.create(product=mug, original=picture(name="mug.png"), position=1)
    content = declare(image_field="images.original").content(mug)
    assert [image.name for image in content.images] == ["products/mug.png"]


def test_get_images_may_give_images_that_are_no_files():
    source = ImageSource(name="x", signature="x:1", open=lambda: ContentFile(b""))
    document = declare(max_images=2, get_images=lambda self, obj: iter([source, source, source]))
    assert document.content(Product(pk=1)).images == (source, source)


@pytest.mark.django_db
@pytest.mark.parametrize("products", [1, 7])
def test_the_number_of_queries_is_the_same_for_any_number_of_products(
    document, picture, django_assert_num_queries, products
):
    for number in range(products):
        category = Category.objects.create(name=str(number), slug=str(number))
        mug = Product.objects.create(name=f"Mug {number}", category=category)
        mug.tags.create(name="new")
        ProductImage.objects.create(product=mug, original=picture())
    ids = document.product_ids(Product.objects.all())
    with django_assert_num_queries(4):
        rows = document.find(document.rows(), ids)
        assert len([document.content(row) for row in rows.values()]) == products


@pytest.fixture
def tagged(db) -> Product:
    """A product with two tags."""
    mug = Product.objects.create(name="Mug")
    mug.tags.create(name="blue")
    mug.tags.create(name="secret")
    return mug


def test_rows_that_only_paths_read_list_their_relations(tagged, django_assert_num_queries):
    document = declare(filter_fields={"tag": Keyword("tags.name")})
    (row,) = document.rows()
    with django_assert_num_queries(0):
        assert document.content(row).payload == {"tag": ["blue", "secret"]}
    with django_assert_num_queries(1):
        assert row.tags.count() == 2  # nothing was prefetched for anybody else


@pytest.mark.parametrize(
    "declaration",
    [
        {"get_text": lambda self, obj: ", ".join(tag.name for tag in obj.tags.all())},
        {"product_id": lambda self, obj: ", ".join(tag.name for tag in obj.tags.all())},
        {"exact_fields": ["labels"]},
    ],
)
def test_what_the_host_s_methods_read_is_prefetched_for_them(
    tagged, monkeypatch, declaration, django_assert_num_queries
):
    labels = property(lambda product: [tag.name for tag in product.tags.all()])
    monkeypatch.setattr(Product, "labels", labels, raising=False)
    document = declare(filter_fields={"tag": Keyword("tags.name")}, **declaration)
    (row,) = document.rows()
    with django_assert_num_queries(0):
        content = document.content(row)
    assert content.payload == {"tag": ["blue", "secret"]}
    assert "secret" in {content.text.split(", ")[-1], content.product_id.split(", ")[-1], *content.exact}


def test_what_a_prefetch_of_the_host_leaves_out_is_not_indexed(tagged):
    open_tags = Prefetch("tags", Tag.objects.exclude(name="secret"))
    document = declare(
        filter_fields={"tag": Keyword("tags.name")},
        get_queryset=lambda self: Product.objects.prefetch_related(open_tags),
    )
    (row,) = document.rows()
    assert document.content(row).payload == {"tag": ["blue"]}


# Texts whose words find the product.


def test_searched_texts_are_the_text_by_default():
    asked = []

    def get_text(self, obj):
        asked.append(obj)
        return "Red mug"

    document = declare(get_text=get_text, exact_fields=("sku", "name"))
    content = document.content(Product(pk=1, name="Mug", sku="SKU-4711"))
    assert content.searched == (("Red mug", 1.0),)
    assert content.codes == ("SKU-4711", "Mug")
    assert len(asked) == 1
    assert declare(text_fields=()).content(Product(pk=1)).searched == ()


def test_search_fields_with_weights():
    document = declare(text_fields=("name",), search_fields={"name": 3, "description": 0.5, "sku": 1})
    content = document.content(Product(pk=1, name="<b>Mug</b>", description="Red &amp; round", sku=""))
    assert content.text == "Mug"
    assert content.searched == (("Mug", 3.0), ("Red & round", 0.5))


@pytest.mark.parametrize(
    "texts",
    [
        ["Mug"],
        [("Mug",)],
        [("Mug", 0)],
        [("Mug", "3")],
        [("Mug", float("nan"))],
        [(None, 1)],
        [("Mug", True)],
        [5],
    ],
)
def test_searched_texts_that_are_no_pairs(texts):
    document = declare(text_fields=("name",), get_search_texts=lambda self, obj: texts)
    with pytest.raises(ProductError, match=r"get_search_texts\(\) returned .* search_fields"):
        document.content(Product(pk=1, name="Mug"))
