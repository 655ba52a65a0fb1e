"""Products similar to another one."""

from __future__ import annotations

import pytest

from clip_search import SearchUnavailable
from tests.conftest import forget_declarations
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Book, Category, Product

from .actions import COLOURS, THINGS, fail_with, index, keys, make, with_pictures

pytestmark = pytest.mark.django_db


def test_similar_ones_by_picture_and_words_and_never_itself(any_store, document, monkeypatch, configured):
    products = make(f"{colour} {thing}" for thing in THINGS[:3] for colour in COLOURS)
    with_pictures(products, COLOURS * 3)
    index(document)
    failure = fail_with(AssertionError("the model was asked"))
    monkeypatch.setattr("clip_search.searching.live_collection.get_encoder", failure)
    red_mug = products[0]
    results = ProductDocument.similar_to(red_mug)
    assert all("red" in product.name or "mug" in product.name for product in results[:2])
    assert red_mug not in list(results)
    assert results.count() == len(list(results)) == 17
    assert keys(ProductDocument.similar_to(str(red_mug.pk))) == keys(ProductDocument.similar_to(red_mug.pk))
    filtered = ProductDocument.similar_to(red_mug, filters={"price__gt": 0})
    assert (filtered.count(), list(filtered)) == (0, [])


def test_similar_ones_need_no_model(shop, configured):
    configured(ENCODER="clip_search.encoders.clip.ClipEncoder", MODEL="/nowhere")
    assert list(ProductDocument.similar_to(shop[0])[:5])
    assert list(ProductDocument.search("")[:5])
    with pytest.raises(SearchUnavailable):
        list(ProductDocument.search("mug"))


def test_min_score_of_similar_ones(shop):
    everything = ProductDocument.similar_to(shop[0])
    near = ProductDocument.similar_to(shop[0], min_score=0.9)
    assert 0 < near.count() == len(list(near)) < everything.count()


@pytest.mark.parametrize(
    "product", ["unknown", "", 10**30, Product(name="unsaved"), Product(pk=99, name="new")]
)
def test_what_is_not_in_the_index_is_like_nothing(shop, product):
    results = ProductDocument.similar_to(product)
    assert (list(results), results.count(), list(results.hits()), bool(results)) == ([], 0, [], False)


def test_similar_to_a_product_of_one_kind_of_vector(shop):
    without_picture = shop[40]
    assert list(ProductDocument.similar_to(without_picture)[:3])


def test_another_model_is_refused():
    with pytest.raises(TypeError, match="is for Product, not Category"):
        ProductDocument.similar_to(Category(pk=1))


def test_a_subclass_counts_as_the_product_that_it_is(shop):
    book = Book(product_ptr=shop[0], pk=shop[0].pk)
    assert keys(ProductDocument.similar_to(book)[:5]) == keys(ProductDocument.similar_to(shop[0])[:5])


def test_a_variant_is_like_its_parent(shop, monkeypatch):
    expected = keys(ProductDocument.similar_to(shop[0])[:5])
    monkeypatch.setattr(ProductDocument, "index_as", lambda self, obj: shop[0] if obj == shop[7] else None)
    forget_declarations()
    assert [hit.product_id for hit in ProductDocument.similar_to(shop[7])[:5].hits()] == list(
        map(str, expected)
    )
    assert list(ProductDocument.similar_to(shop[8]).hits()) == []
