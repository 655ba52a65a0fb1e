"""Posted products that have no row in the shop are hits; they never hide the shop's own rows."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.core.paginator import Paginator
from django.db import transaction
from django.template import Context, Template

from clip_search import Document, Keyword, posting
from tests.integration.searching.actions import counted
from tests.shops.shop.models import Product

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["memory", "embedded"])
def document(request, settings, tmp_path, register_document):
    """A document of the shop's products, on each store, that the endpoints feed too."""
    if request.param == "embedded":
        pytest.importorskip("qdrant_edge")
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"path": tmp_path / "qdrant"}}
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"API_DOCUMENT": "mugs"}
    declared = {
        "name": "mugs",
        "text_fields": ["name"],
        "filter_fields": {"category": Keyword("category.slug"), "sku": Keyword("sku")},
        "get_queryset": lambda self: Product.objects.filter(is_public=True),
    }
    document_class = type("MugDocument", (Document,), declared)
    register_document(document_class, Product)
    return document_class


@pytest.fixture
def rows(document):
    """Five red mugs of the shop, behind twelve of the same name that another system posted."""
    with transaction.atomic():
        post([f"P-{n}" for n in range(12)], "Red mug")
        return [Product.objects.create(name=f"Red mug number {n}", sku=f"M-{n}") for n in range(5)]


def post(product_ids: list[str], name: str) -> None:
    for product_id in product_ids:
        posting.post_product(product_id, name=name, metadata={"category": "posted", "sku": "P"})


def test_rows_are_found_counted_and_paged_behind_posted_products(document, rows):
    results = document.search("red mug")
    assert sorted(product.pk for product in results[:12]) == [product.pk for product in rows]
    assert (results.count(), len(results), bool(results), results.exists()) == (5, 5, True, True)
    assert results[0] in rows
    assert results.first() in rows
    with pytest.raises(IndexError):
        results[5]
    pages = Paginator(document.search("red mug"), 2)
    assert (pages.count, [len(list(page)) for page in pages]) == (5, [2, 2, 1])
    assert counted(document.search("red mug"), "sku") == {f"M-{n}": 1 for n in range(5)}
    assert counted(document.search("red mug"), "category") == {}
    assert document.search("red mug").filter(sku="P").count() == 0


def test_an_empty_query_speaks_of_rows_too(document, rows):
    assert sorted(product.pk for product in document.search("")) == [product.pk for product in rows]
    assert document.search("").count() == 5


def test_similar_products_are_rows(document, rows):
    similar = document.similar_to(rows[0])
    assert (sorted(product.pk for product in similar), similar.count()) == ([p.pk for p in rows[1:]], 4)
    assert document.similar_to("P-1").count() == 5
    assert document.similar_to("P-1").hits().count() == 16


def test_hits_have_and_count_posted_products(document, rows):
    hits = document.search("red mug").hits()
    assert (hits.count(), len(hits), len(list(hits)), len(list(hits[10:]))) == (17, 17, 17, 7)
    assert {hit.product_id for hit in hits[:12]} == {f"P-{n}" for n in range(12)}
    assert counted(hits, "sku")["P"] == 12
    assert hits.filter(category="posted").count() == 12
    assert hits.exclude(category="posted").count() == 5
    assert [len(list(page)) for page in Paginator(hits, 6)] == [6, 6, 5]
    with_rows = document.search("red mug").hits(with_rows=True)
    assert [hit.instance for hit in with_rows if hit.instance] == list(document.search("red mug"))


def test_a_template_shows_rows(document, rows):
    text = '{% load clip_search %}{% clip_search "red mug" document="mugs" limit=12 as found %}'
    text += "{% for product in found %}{{ product.sku }} {% empty %}nothing{% endfor %}"
    assert sorted(Template(text).render(Context()).split()) == [f"M-{n}" for n in range(5)]


def test_clients_are_told_of_both(document, rows, admin_client):
    answer = admin_client.get("/api/v1/search", {"q": "red mug", "page_size": 12, "page": 2}).json()
    assert (answer["count"], len(answer["results"])) == (17, 5)


def test_a_row_that_comes_later_is_found_and_one_that_goes_is_not(document):
    later = Product.objects.create(name="Red mug", is_public=False)
    post([str(later.pk)], "Red mug, posted")
    assert (document.search("red mug").count(), document.search("red mug").hits().count()) == (0, 1)

    Product.objects.filter(pk=later.pk).update(is_public=True)
    call_command("clip_reindex", "mugs")
    assert list(document.search("red mug")) == [later]

    Product.objects.filter(pk=later.pk).update(is_public=False)
    call_command("clip_reindex", "mugs")
    results = document.search("red mug")
    assert (list(results), results.count(), results.hits().count()) == ([], 0, 1)
