"""The words of a product are written with its point, and again when they may be others."""

from __future__ import annotations

import pytest

from clip_search.documents import words
from clip_search.encoders import get_encoder
from clip_search.indexing import comparing
from clip_search.models import Collection, IndexEntry
from clip_search.posting import post_product
from clip_search.stores import get_store
from clip_search.stores.base import TERMS, Condition
from tests.conftest import forget_declarations
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Product

from .actions import DOCUMENT, collection, entry, index, override, point

pytestmark = pytest.mark.django_db


def with_term(*terms: str) -> set[str]:
    """Return the ids of the products that have all these terms."""
    conditions = [Condition(key=TERMS, operator="eq", value=term) for term in terms]
    return {str(key) for key, _ in get_store().values(collection(), [], conditions=conditions)}


def changed() -> list[str]:
    return [product_id for page in comparing.compare(DOCUMENT) for product_id in page.changed]


def reindex():
    list(comparing.mark_changed(DOCUMENT, comparing.compare(DOCUMENT)))
    return index()


@pytest.fixture
def declared(monkeypatch):
    """Return a function that changes attributes of the document."""

    def change(**attributes: object) -> None:
        for name, value in attributes.items():
            monkeypatch.setattr(ProductDocument, name, value)
        forget_declarations()
        for kept in ("analyser", "overridden"):
            DOCUMENT.__dict__.pop(kept, None)

    yield change
    monkeypatch.undo()
    forget_declarations()
    DOCUMENT.__dict__.pop("analyser", None)


def test_texts_and_codes_find_a_product(mug):
    key = str(entry(mug).uuid)
    assert with_term("red", "mug", "tea") == {key}
    assert with_term("m1") == {key}
    assert with_term("bowl") == set()
    assert Collection.objects.of(DOCUMENT).get().has_words


def test_other_weights_write_the_words_again_and_embed_nothing(mug, declared):
    assert changed() == []
    declared(search_fields={"name": 3, "description": 1})
    assert changed() == [str(mug.pk)]
    report = reindex()
    assert (report.payload_only, report.embedded) == (1, 0)
    assert get_encoder().take() == (0, 0)
    assert changed() == []
    declared(search_fields={"name": 2, "description": 1})
    assert changed() == [str(mug.pk)]


def test_another_language_writes_the_words_again(mug, declared):
    declared(language="fr")
    assert changed() == [str(mug.pk)]
    assert reindex().payload_only == 1
    assert changed() == []
    assert get_encoder().take() == (0, 0)


def test_another_way_of_splitting_writes_the_words_again(mug, monkeypatch):
    monkeypatch.setattr(words, "VERSION", 2)
    monkeypatch.setitem(DOCUMENT.__dict__, "analyser", words.Analyser("en"))
    assert changed() == [str(mug.pk)]


def test_a_new_code_is_a_term(mug):
    Product.objects.filter(pk=mug.pk).update(sku="SKU-4711")
    assert reindex().payload_only == 1
    assert len(with_term("^sku4")) == 1
    assert get_encoder().take() == (0, 0)


def test_comparing_splits_no_text(mug, monkeypatch):
    def fail(*args):
        raise AssertionError(args)

    for method in ("words_of", "vocabulary_of", "_analyse", "_chunk"):
        monkeypatch.setattr(DOCUMENT.analyser, method, fail)
    assert changed() == []


def test_texts_beyond_what_clip_reads_find_a_product():
    mug = Product.objects.create(name="Mug", description="for tea " * 200 + "enamelled")
    index()
    assert with_term(DOCUMENT.analyser.stem("enamelled")) == {str(entry(mug).uuid)}


def test_posted_products_have_words():
    post_product("P-17", name="Blue teapot", description="for two", document=DOCUMENT)
    index()
    (key,) = with_term("blue", "teapot")
    assert with_term("two") == with_term("^p17") == {key}
    assert key == str(IndexEntry.objects.get().uuid)


def test_words_alone_are_not_enough(monkeypatch):
    override(monkeypatch, "get_text", lambda obj: "")
    override(monkeypatch, "get_search_texts", lambda obj: [("Mug", 1)])
    mug = Product.objects.create(name="Mug")
    assert index().failed == 1
    assert "neither text nor an image" in entry(mug).error


def test_searched_texts_that_cannot_be_written_fail_this_product_only(monkeypatch):
    def texts(obj):
        return [("Mug \ud800", 1)] if obj.name == "Mug" else [(obj.name, 1)]

    override(monkeypatch, "get_search_texts", texts)
    mug, bowl = Product.objects.create(name="Mug"), Product.objects.create(name="Bowl")
    report = index()
    assert (report.failed, report.embedded) == (1, 1)
    assert "cannot be written as JSON" in entry(mug).error
    assert point(bowl)


def test_searched_texts_that_are_no_pairs_name_the_method(monkeypatch):
    override(monkeypatch, "get_search_texts", lambda obj: [obj.name])
    mug = Product.objects.create(name="Mug")
    assert index().failed == 1
    assert entry(mug).error.startswith("get_search_texts() returned 'Mug'.")
