"""A change of a related row marks the products that show it."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from clip_search import Keyword
from clip_search.models import RelatedChange
from tests.shops.oscarshop.models import Product as Ware
from tests.shops.oscarshop.models import StockRecord
from tests.shops.shop.models import Book, Category, Product, ProductImage, Tag, Voucher

from .actions import connected, ids

pytestmark = [pytest.mark.django_db(databases=["default", "other"]), pytest.mark.sql]


def test_a_generic_relation_counts_by_either_of_its_columns():
    with connected(Voucher, text_fields=["thing.name"]) as raised:
        voucher = Voucher.objects.create(thing=Tag.objects.create(name="red"))
        assert raised() == {str(voucher.pk)}
        voucher.thing = Tag.objects.create(name="blue")
        voucher.save(update_fields=["object_id"])
        assert raised() == {str(voucher.pk)}


# Many-to-many relations.


@pytest.fixture
def blue(mug, raised) -> Tag:
    blue = Tag.objects.create(name="blue")
    mug.tags.add(blue)
    assert raised() == ids(mug)
    return blue


@pytest.mark.parametrize(
    "change",
    [
        lambda mug, blue: mug.tags.remove(blue),
        lambda mug, blue: mug.tags.set([]),
        lambda mug, blue: mug.tags.clear(),
        lambda mug, blue: mug.tags.create(name="red"),
        lambda mug, blue: blue.products.remove(mug),
        lambda mug, blue: blue.products.set([]),
        lambda mug, blue: blue.products.clear(),
    ],
)
def test_many_to_many_changes_from_both_sides(raised, mug, cup, blue, change):
    change(mug, blue)
    assert raised() == ids(mug)


def test_many_to_many_additions_from_the_other_side(raised, mug, cup, blue):
    blue.products.add(mug, cup)
    assert raised() == ids(cup)  # the mug was there
    blue.products.set([cup])
    assert raised() == ids(mug)


def test_a_many_to_many_change_that_changes_nothing(raised, mug, blue):
    mug.tags.add(blue)
    mug.tags.set([blue])
    assert raised() == set()


def test_a_many_to_many_relation_that_the_index_does_not_read(mug):
    with connected(Product, text_fields=["name"]) as raised:
        mug.tags.create(name="red")
        assert raised() == set()


def test_a_many_to_many_relation_that_only_the_queryset_reads(mug):
    with connected(Product, get_queryset=lambda self: Product.objects.filter(tags__name="shown")) as raised:
        mug.tags.create(name="shown")
        assert raised() == ids(mug)


def test_a_many_to_many_relation_from_products_to_themselves():
    one, two, three = (Ware.objects.create(upc=upc) for upc in "123")
    with connected(Ware, exact_fields=["recommended.upc"]) as raised:
        one.recommended.add(two)
        assert raised() == ids(one)
        three.recommended_by.add(one, two)
        assert raised() == ids(one, two)
        three.recommended_by.remove(two)
        assert raised() == ids(two)
        three.recommended_by.clear()
        assert raised() == ids(one)


def test_the_reverse_of_a_many_to_many_relation_to_themselves():
    one, two = (Ware.objects.create(upc=upc) for upc in "12")
    with connected(Ware, exact_fields=["recommended_by.upc"]) as raised:
        one.recommended.add(two)
        assert raised() == ids(two)
        one.recommended.clear()
        assert raised() == ids(two)
        two.recommended_by.add(one)
        assert raised() == ids(two)


def test_a_symmetrical_relation_counts_for_both_sides():
    one, two = (Ware.objects.create(upc=upc) for upc in "12")
    with connected(Ware, exact_fields=["bought_with.upc"]) as raised:
        one.bought_with.add(two)
        assert raised() == ids(one, two)
        two.bought_with.clear()
        assert raised() == ids(one, two)


def test_a_relation_inherited_from_a_parent(mug):
    book = Book.objects.create(name="Emma")
    with connected(Book, filter_fields={"tag": Keyword("tags.name")}) as raised:
        book.product_ptr.tags.create(name="classic")
        mug.tags.create(name="red")
        assert raised() == ids(book)


# Related objects.


def test_a_related_object_is_created_saved_and_deleted(raised, mug):
    image = ProductImage.objects.create(product=mug, original="a.png")
    assert raised(follow=False) == ids(mug)
    image.save()
    assert raised(follow=False) == ids(mug)
    image.delete()
    assert raised(follow=False) == ids(mug)


def test_a_foreign_key_that_moves_counts_for_both_sides(raised, mug, cup):
    image = ProductImage.objects.create(product=mug, original="a.png")
    raised()
    image.product = cup
    image.save()
    assert raised() == ids(mug, cup)


def test_a_foreign_key_that_moves_by_its_column(raised, mug, cup):
    image = ProductImage.objects.create(product=mug, original="a.png")
    raised()
    image.product_id = cup.pk
    image.save(update_fields=["product_id"])
    assert raised() == ids(mug, cup)


def test_a_foreign_key_that_moves_in_a_row_that_was_not_read(raised, mug, cup):
    image = ProductImage.objects.create(product=mug, original="a.png")
    raised()
    ProductImage(pk=image.pk, product=cup, original="a.png").save()
    assert raised() == ids(mug, cup)


def test_deleting_a_related_object_that_was_moved_in_memory(raised, mug, cup):
    image = ProductImage.objects.create(product=mug, original="a.png")
    raised()
    image.product = cup
    image.delete()
    assert raised() == ids(mug)


def test_a_save_after_one_that_failed(raised, mug, cup, monkeypatch):
    image = ProductImage.objects.create(product=mug, original="a.png")
    raised()
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError), transaction.atomic():
        patch.setattr(ProductImage, "_save_table", lambda *args, **options: 1 / 0)
        image.save()
    image.product = cup
    image.save()
    assert raised() == ids(mug, cup)


def test_a_change_of_many_products_writes_one_row(raised, kitchen):
    Product.objects.bulk_create(Product(name=str(n), category=kitchen) for n in range(30))
    kitchen.name = "Cooking"
    with CaptureQueriesContext(connection) as captured:
        kitchen.save()
    assert len(captured) <= 2
    assert raised(follow=False) == set()
    change = RelatedChange.objects.get()
    assert (change.model, change.object_id, change.path) == ("shop.category", str(kitchen.pk), "products")
    assert len(raised()) == 31
    assert not RelatedChange.objects.exists()


def test_deleting_what_touches_very_many_products_writes_one_row(raised, kitchen, monkeypatch):
    monkeypatch.setattr("clip_search.outbox.ROWS_PER_STATEMENT", 10)
    Product.objects.bulk_create(Product(name=str(n), category=kitchen) for n in range(30))
    kitchen.delete()
    assert len(RelatedChange.objects.get().product_ids) == 31
    assert len(raised()) == 31


def test_a_path_through_columns_and_then_to_many(mug, cup):
    mug.tags.add(tag := Tag.objects.create(name="blue"))
    cup.tags.add(tag)
    with connected(Product, related={ProductImage: "product.tags.products"}) as raised:
        ProductImage.objects.create(product=mug, original="a.png")
        assert raised(follow=False) == set()
        assert raised() == ids(mug, cup)


def test_several_paths_of_one_model(mug, cup):
    shirt = Ware.objects.create(upc="shirt")
    child = Ware.objects.create(upc="shirt-S", parent=shirt)
    with connected(Ware, related={StockRecord: ["product", "product__parent"]}) as raised:
        StockRecord.objects.create(product=child, price=1)
        assert raised() == ids(shirt, child)


def test_a_related_object_without_its_product():
    with connected(Ware, related={Ware: "parent"}) as raised:
        lonely = Ware.objects.create(upc="shirt")
        lonely.save()
        assert raised() == ids(lonely)
        child = Ware.objects.create(upc="shirt-S", parent=lonely)
        assert raised() == ids(lonely, child)
        child.parent = None
        child.save()
        assert raised() == ids(lonely, child)


BROKEN = [
    {ProductImage: "nonsense"},
    {ProductImage: "product.nonsense"},
    {ProductImage: "position"},
    {ProductImage: ""},
    {Category: "products__images"},
    {Tag: ["products", "wrong"]},
]


@pytest.mark.parametrize("related", BROKEN, ids=str)
def test_a_broken_declaration_does_not_break_saves(mug, related):
    with connected(Product, related=related) as raised:
        ProductImage.objects.create(product=mug, original="a.png").delete()
        category = Category.objects.create(name="a", slug="a")
        category.delete()
        mug.save()
        assert raised() == ids(mug)
        Tag.objects.create(name="red").delete()


def test_a_relation_that_leads_elsewhere_is_left_out(mug):
    with connected(Product, related={Category: "products.images"}) as raised:
        Category.objects.create(name="a", slug="a")
        assert RelatedChange.objects.filter(document="declared").count() == 0
        assert raised() == set()
