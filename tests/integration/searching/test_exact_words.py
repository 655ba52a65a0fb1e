"""An exact name or SKU comes first, however it is typed."""

from __future__ import annotations

import unicodedata

import pytest

from clip_search.models import Collection
from clip_search.stores import get_store
from tests.conftest import ROOT
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Product

from .actions import index, keys, make

pytestmark = pytest.mark.django_db


def odd(text: str) -> list[str]:
    """Return a text as shoppers type it."""
    bare = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    spaced = f"  {text.replace(' ', '   ')}\t"
    return [text, text.upper(), text.lower(), bare, spaced, *(text.replace("-", sign) for sign in " _")]


def test_every_sku_and_name_of_the_demo_is_first(document, monkeypatch, configured, tmp_path):
    pytest.importorskip("qdrant_edge")
    configured(QDRANT={"path": str(tmp_path / "qdrant")})
    monkeypatch.syspath_prepend(ROOT / "example_project")
    from demo.catalogue import products

    demo = products()
    made = Product.objects.bulk_create(
        Product(name=p.name, sku=p.sku, description=p.description) for p in demo
    )
    index(document)
    monkeypatch.setattr("clip_search.stores.embedded.sharing.SharedHandle._is_wanted", lambda self: False)
    with get_store().session(Collection.objects.get().name):
        for number, product in enumerate(made):
            for text in (product.sku, product.name):
                typed = [*odd(text), text.replace(" ", "")]
                hits = [ProductDocument.search(t).hits()[0] for t in typed[number % 3 :: 3]]
                assert {(hit.product_id, hit.score) for hit in hits} == {(str(product.pk), 1.0)}


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("Théière à l’œuf", ["THEIERE A L'ŒUF", "theiere a l'oeuf"]),
        ("Groß", ["gross"]),
        ("Çay bardağı", ["CAY BARDAGI"]),
        ("Ⅷ ﬁne", ["viii fine"]),
        ("RM-001", ["RM001", "rm 001", "rm_001"]),
        ("Galaxy S20+", ["galaxy s20+", "GALAXY-S20+"]),
        ("C#", ["c#", " C#!"]),
    ],
)
def test_spelling_does_not_matter(document, name, typed):
    meant, *_ = make([name, "Galaxy S20", "Galaxy", "C", "C++", "RM-002", "bardak", f"{name} other"])
    index(document)
    for text in [*odd(name), *typed]:
        first, second = ProductDocument.search(text, everything=True)[:2]
        assert (first, first.search_score) == (meant, 1.0)
        assert second.search_score < 1, text


def test_many_products_of_one_name_come_first_and_page(any_store, document):
    named = make(["Mug"] * 40 + [f"mug number {n}" for n in range(40)])[:40]
    index(document)
    results = ProductDocument.search("MÚG")
    with results.session():
        seen = [key for start in range(0, 80, 9) for key in keys(results[start : start + 9])]
    assert set(seen[:40]) == set(keys(named))
    assert len(set(seen)) == len(seen) == 80
    assert keys(ProductDocument.search("MÚG")[36:44]) == seen[36:44]


def test_exact_ones_respect_filters(document):
    dear, cheap = make(["Mug", "Mug"])
    Product.objects.filter(pk=dear.pk).update(price=50)
    index(document)
    assert keys(ProductDocument.search("mug", filters={"price__lt": 10})) == [cheap.pk]


def test_an_exact_one_needs_no_vector(document, monkeypatch):
    bare, *_ = make(["X-1", "other"])
    monkeypatch.setattr(ProductDocument, "text_fields", ())
    index(document)
    assert ProductDocument.search("x 1")[0] == bare


@pytest.mark.parametrize("text", ["", "  \t\n"])
def test_no_words_find_what_meets_the_filters(any_store, document, text):
    products = make(f"mug {n}" for n in range(5))
    Product.objects.filter(pk=products[0].pk).update(price=50)
    index(document)
    results = ProductDocument.search(text, filters={"price": 0})
    assert set(keys(results)) == set(keys(products[1:]))
    assert results.count() == 4
