"""The registry of documents."""

from __future__ import annotations

import pytest

from clip_search import Document, register
from clip_search.documents.registry import Registry, registry
from clip_search.exceptions import InvalidDeclaration
from tests.shops.shop.models import Article, Book, Category, Product, SaleProduct

from .declarations import declare


def test_two_documents_of_one_name_are_refused():
    found = Registry()
    found.add(declare(name="one"))
    with pytest.raises(InvalidDeclaration, match=r"'one'.*another `name`"):
        found.add(declare(Article, name="one"))
    assert len(found) == 1


def test_one_model_may_have_two_documents():
    found = Registry()
    found.add(declare(name="one"))
    found.add(declare(name="two"))
    assert [d.name for d in found] == ["one", "two"]


def test_register_names_the_document_after_its_model():
    class Unnamed(Document):
        pass

    assert register(Category)(Unnamed) is Unnamed
    try:
        assert registry.get("category") is registry.of_class(Unnamed)
        assert repr(registry.of_class(Unnamed)) == "<Unnamed 'category' of shop.Category>"
    finally:
        registry.remove(registry.of_class(Unnamed))
    assert registry.get("category") is None


def test_an_unregistered_document_says_what_to_do():
    with pytest.raises(InvalidDeclaration, match="@register"):
        registry.of_class(type("Stray", (Document,), {}))


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (Product, ["product"]),
        (SaleProduct, ["product"]),
        (Book, ["product"]),
        (Category, []),
        (Article, ["article"]),
    ],
)
def test_documents_of_a_model(model, names):
    assert [document.name for document in registry.of_model(model)] == names


def test_a_document_of_a_proxy_is_one_of_its_model():
    found = Registry()
    found.add(declare(SaleProduct))
    assert [d.name for d in found.of_model(Product)] == ["saleproduct"]


def test_using_names_the_database():
    assert registry.get("article").rows().db == "other"
    assert registry.get("product").rows().db == "default"
