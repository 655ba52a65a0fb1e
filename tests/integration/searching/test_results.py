"""What iterating over results gives, and what it costs."""

from __future__ import annotations

import pytest
from django.core.paginator import Paginator

from clip_search.models import Collection
from clip_search.stores import get_store
from clip_search.stores.embedded.sharing import SharedHandle
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Category, Product

from .actions import COLOURS, counted, index, make, unpublish

pytestmark = pytest.mark.django_db

# What iterating gives, and what it costs.


def test_instances_in_rank_order_with_scores(shop):
    found = list(ProductDocument.search("big red mug", everything=True)[:10])
    assert found[0].name.startswith("red")
    scores = [product.search_score for product in found]
    assert scores == sorted(scores, reverse=True)
    hits = list(ProductDocument.search("big red mug", everything=True)[:10].hits())
    assert [(hit.product_id, hit.score) for hit in hits] == [(str(p.pk), p.search_score) for p in found]


def test_a_page_takes_two_statements(shop, django_assert_num_queries):
    with django_assert_num_queries(2):
        assert len(list(ProductDocument.search("red mug", everything=True)[:24])) == 24
    with django_assert_num_queries(2):
        page = Paginator(
            ProductDocument.search("red mug", everything=True, filters={"price__gte": 0}), 24
        ).page(2)
        assert (len(list(page)), page.paginator.num_pages) == (24, 3)
    with django_assert_num_queries(1):
        hits = ProductDocument.search("red mug", everything=True).hits()
        assert (len(list(hits[:5])), hits.count(), bool(hits), len(hits)) == (5, 60, True, 60)
        counted(hits, "category")


def test_a_page_is_loaded_once(shop, asked, django_assert_num_queries):
    page = ProductDocument.search("red mug", everything=True)[:5]
    with django_assert_num_queries(2):
        assert page
        assert list(page) == list(page)
        assert len(page) == 5
        assert [page[rank] for rank in range(5)] == list(page)
        with pytest.raises(IndexError):
            page[5]
    assert [query.retriever.using for query in asked if query.retriever].count("image") == 1


def test_select_and_prefetch_of_the_host_are_kept(shop, monkeypatch, django_assert_num_queries):
    Product.objects.update(category=Category.objects.create(name="Kitchen", slug="kitchen"))
    rows = Product.objects.select_related("category").prefetch_related("images")
    monkeypatch.setattr(ProductDocument, "get_queryset", lambda self: rows.all())
    with django_assert_num_queries(3):
        for product in ProductDocument.search("red mug", everything=True)[:24]:
            assert product.category.slug == "kitchen"
            list(product.images.all())


def test_nothing_is_asked_before_it_is_used(django_assert_num_queries):
    with django_assert_num_queries(0):
        results = ProductDocument.search("mug")[5:10]
        assert "product" in repr(results)


def test_an_embedded_store_is_opened_once_a_page(configured, tmp_path, document, monkeypatch):
    pytest.importorskip("qdrant_edge")
    configured(QDRANT={"path": str(tmp_path / "qdrant")})
    products = make(f"{colour} mug" for colour in COLOURS)
    index(document)
    get_store().close()
    handle, opened = get_store()._handle(Collection.objects.get().name), []
    load = handle._load
    monkeypatch.setattr(handle, "_load", lambda: opened.append(handle) or load())
    monkeypatch.setattr(SharedHandle, "_is_wanted", lambda self: True)  # another process waits all the time
    assert next(iter(ProductDocument.search("red mug", everything=True)[:5])) == products[0]
    assert len(opened) == 1
    assert list(ProductDocument.similar_to(products[0])[:5])
    assert len(opened) == 2
    results = ProductDocument.search("red mug", everything=True)
    with results.session():
        assert (len(list(results[:5].hits())), results.count(), counted(results, "category")) == (5, 6, {})
    assert len(opened) == 3


# The first one, and whether there is any.


def test_first_and_exists(shop, asked):
    results = ProductDocument.search("red mug", everything=True)
    assert (results.first(), results.exists()) == (shop[0], True)
    assert [query.retriever.using for query in asked if query.retriever].count("image") == 1
    everything = list(results)
    assert results[3:10].first() == everything[3]
    assert (results[3:10].exists(), results[60:].exists(), results[60:].first()) == (True, False, None)
    none = ProductDocument.search("red mug", everything=True, filters={"price__gt": 1000})
    assert (none.first(), none.exists()) == (None, False)
    unknown = ProductDocument.similar_to("unknown")
    assert (unknown.first(), unknown.exists()) == (None, False)


def test_the_first_is_one_whose_row_is_there(shop):
    ranked = list(ProductDocument.search("a red mug", everything=True))
    unpublish(ranked[:3])
    first = ProductDocument.search("a red mug", everything=True).first()
    assert first == ranked[3]
    assert first.search_score == ranked[3].search_score
