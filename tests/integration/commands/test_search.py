"""clip_search."""

from __future__ import annotations

import json

import pytest

from clip_search import Document, searching
from clip_search.documents.binding import BoundDocument
from clip_search.documents.registry import registry
from tests.shops.shop.models import Product

from .actions import DOCUMENT, complain, run

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def shop(monkeypatch) -> dict[str, Product]:
    """Six indexed products of the only document: by name."""
    names = ("red mug", "red enamel mug", "blue mug", "green mug", "blue vase", "white chair")
    rows = [
        Product(name=name, sku=f"SKU-{n}", price=10 * n, description="cheap" * (n > 4))
        for n, name in enumerate(names)
    ]
    made = Product.objects.bulk_create(rows)
    run("clip_reindex")
    monkeypatch.setattr(registry, "documents", {"product": DOCUMENT})
    return {product.name: product for product in made}


def search(*arguments: str) -> str:
    return run("clip_search", *arguments)


def explained(*arguments: str):
    return json.loads(search(*arguments, "--json"))


def test_it_shows_the_hits_with_their_evidence():
    lines = search("mug red").splitlines()
    assert lines[0] == "“mug red”: 2 products of product"
    assert lines[2].split() == ["product", "basis", "relevance", "words", "text", "image"]
    hits = [hit.product_id for hit in searching.search(DOCUMENT, "mug red").hits()]
    assert [line.split()[1] for line in lines[3::2]] == hits
    assert " words " in lines[3]
    assert lines[4].startswith("    has mug ")
    assert "equals red mug; has red " in search("red mug")


def test_its_lines_fit_into_a_terminal(shop):
    Product.objects.create(name="a very long red mug " * 9, sku="LONG")
    run("clip_reindex")
    output = search("red mug the", "--everything", "--compare", "words=2,image=0.5")
    assert "…" in output
    assert all(len(line) <= 100 for line in output.splitlines())


def test_it_says_that_only_the_closest_are_shown():
    lines = search("asdfgh", "--limit", "2").splitlines()
    assert lines[0] == "“asdfgh”: nothing of product is found"
    assert "Closest in meaning:" in lines
    assert sum(" meaning " in line for line in lines) == 2
    assert "meaning" in search("asdfgh", "--everything")
    assert "the whole shop, ranked: 6 products" in search("asdfgh", "--everything")


def test_filters_and_exclusions_narrow(shop):
    assert explained("mug", "--filter", "price__lte=10", "--filter", "in_stock=true")["count"] == 2
    assert explained("mug -red")["count"] == 2
    assert explained("mug", "--filter", "released__in=2020-01-01,2020-01-02")["count"] == 0
    assert "excluded: red" in search("mug -red")


def test_it_says_why_a_product_is_not_found(shop):
    vase = str(shop["blue vase"].pk)
    said = search("red mug", "--product", vase)
    assert f"Product {vase} blue vase: not found\n" in said
    assert "  It lacks: red, mug.\n" in said
    assert f"Product {vase} blue vase: rank 1\n" in search("vase", "--product", vase)
    assert "Product 999: not found\n  lacks vase\n  It was never indexed." in search(
        "vase", "--product", "999"
    )


def test_ranks_under_other_weights_are_compared(shop):
    output = search("mug", "--compare", "words=0,text=0", "--compare", "words=2")
    header, *rows = output[output.index("Ranks under") :].splitlines()[1:]
    assert header.split() == ["product", "now", "words=0,text=0", "words=2"]
    assert len(rows) >= 4
    compared = explained("mug", "--compare", "words=2")["compared"]["words=2"]
    hits = searching.search(DOCUMENT, "mug", weights={"words": 2}).hits()
    assert compared == [hit.product_id for hit in hits]


def test_products_that_only_other_weights_show_first_are_compared_too(shop):
    output = search("mug", "--limit", "1", "--compare", "words=2")
    row = output.splitlines()[-1]
    first = searching.search(DOCUMENT, "mug", weights={"words": 2}).hits()[0].product_id
    assert row.startswith(first)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("mug", "--filter", "colour=red"), "declares no filter 'colour'. Its filters: category, "),
        (("mug", "--filter", "price=red"), "The filter 'price' does not accept 'red'"),
        (("mug", "--filter", "price"), "'price' has no '='"),
        (("mug", "--compare", "price=1"), "There is no weight 'price'"),
        (("mug", "--compare", "words=many"), "could not convert"),
        (("mug", "--compare", "text=0,image=0,words=0"), "All weights are 0"),
        (("mug", "--limit", "0"), "'0' is no number from 1 to 100"),
        (("mug", "--document", "book"), "No document 'book'. There are: product"),
    ],
)
def test_mistakes_are_named(arguments, error):
    assert error in complain("clip_search", *arguments)


def test_one_of_several_documents_must_be_named(monkeypatch):
    others = {
        "product": DOCUMENT,
        "book": BoundDocument(type("Books", (Document,), {"name": "book"})(Product)),
    }
    monkeypatch.setattr(registry, "documents", others)
    error = complain("clip_search", "mug")
    assert error == "There are several documents: book, product. Name one with --document."
    assert "4 products of product" in search("mug", "--document", "product")
