"""When search cannot answer, it raises SearchUnavailable and never returns an empty result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.paginator import Paginator
from django.utils.translation import gettext_lazy

from clip_search import SearchUnavailable
from clip_search.documents.registry import registry
from clip_search.encoders import get_encoder
from clip_search.exceptions import (
    CollectionMissing,
    ModelUnavailable,
    SetupError,
    StoreUnavailable,
)
from clip_search.indexing import rebuilding
from clip_search.models import Collection, IndexEntry
from clip_search.stores import get_store
from clip_search.testing import pause_indexing
from tests.conftest import picture_bytes
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Article

from .actions import COLOURS, counted, fail_with, in_a_list, index, index_due, keys, make

pytestmark = pytest.mark.django_db
USES: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "page": lambda results: list(results[:5]),
    "first": lambda results: results[0],
    "bool": bool,
    "len": len,
    "count": lambda results: results.count(),
    "hits": lambda results: list(results.hits()),
    "facets": lambda results: counted(results, "category"),
    "sorted": lambda results: list(results.order_by("price").hits()),
    "closest": lambda results: list(results.closest),
    "corrected": lambda results: results.corrected,
    "dropped": lambda results: results.dropped,
    "session": lambda results: results.session().__enter__(),
    "exists": lambda results: results.exists(),
    "first row": lambda results: results.first(),
    "narrowed": lambda results: list(results.filter(price__gte=0).exclude(category="bath").hits()),
    "async for": async_to_sync(in_a_list),
    "acount": lambda results: async_to_sync(results.acount)(),
    "aexists": lambda results: async_to_sync(results.aexists)(),
    "afirst": lambda results: async_to_sync(results.afirst)(),
    "ahits": lambda results: async_to_sync(results.ahits)(),
    "Paginator": lambda results: Paginator(results, 5).page(1),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    "error", [StoreUnavailable("Start Qdrant."), SetupError("Fix it."), CollectionMissing("Reindex.")]
)
def test_no_use_of_results_is_empty_when_the_store_fails(few, monkeypatch, use, error):
    for method in ("rank", "query", "values", "count", "facet", "session", "get"):
        monkeypatch.setattr(get_store(), method, fail_with(error))
    for results in (
        ProductDocument.search("mug"),
        ProductDocument.search(""),
        ProductDocument.search_by_image(picture_bytes()),
        ProductDocument.similar_to(few[0]),
    ):
        assert repr(results)
        with pytest.raises(SearchUnavailable, match=str(error)):
            USES[use](results)


@pytest.mark.parametrize("use", USES)
def test_no_use_of_results_is_empty_when_the_model_fails(few, monkeypatch, use):
    for method in ("embed_texts", "embed_images"):
        monkeypatch.setattr(f"clip_search.testing.HashingEncoder.{method}", fail_with(ModelUnavailable()))
    for results in (
        ProductDocument.search("mug"),
        ProductDocument.search_by_image(picture_bytes()),
    ):
        with pytest.raises(SearchUnavailable, match='CLIP_SEARCH\\["MODEL"\\]'):
            USES[use](results)


def test_a_model_that_fails_is_unavailable(few, monkeypatch, client):
    failure = fail_with(RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB."))
    for method in ("embed_texts", "embed_images"):
        monkeypatch.setattr(f"clip_search.testing.HashingEncoder.{method}", failure)
    for results in (
        ProductDocument.search("a mug"),
        ProductDocument.search_by_image(picture_bytes()),
    ):
        with pytest.raises(SearchUnavailable, match="CUDA out of memory"):
            results.count()
    assert client.get("/api/v1/search?q=a+mug").status_code == 503


@pytest.mark.parametrize("text", [None, 5, b"mug", ["mug"]])
def test_what_is_no_text_is_refused(text):
    with pytest.raises(TypeError, match="Search for a string"):
        ProductDocument.search(text)
    with pytest.raises(TypeError, match="not None"):
        ProductDocument.similar_to(None)


def test_text_may_be_lazy(few):
    assert list(ProductDocument.search(gettext_lazy("red mug"))[:1]) == few[:1]


@pytest.mark.parametrize("use", USES)
def test_no_use_of_results_is_empty_before_anything_is_indexed(use):
    with pytest.raises(SearchUnavailable, match="clip_reindex product"):
        USES[use](ProductDocument.search("mug"))


def test_a_collection_that_another_model_built_is_not_searched(shop, configured):
    configured(ENCODER="tests.doubles.encoders.OtherEncoder")
    for results in (
        ProductDocument.search("mug"),
        ProductDocument.search_by_image(picture_bytes()),
    ):
        with pytest.raises(SearchUnavailable, match="clip_rebuild"):
            results.count()


def test_a_collection_of_another_dimension_is_not_searched(any_store, document, monkeypatch):
    make(["red mug"])
    index(document)
    embed = type(get_encoder()).embed_texts
    monkeypatch.setattr(type(get_encoder()), "embed_texts", lambda self, t: embed(self, t)[:, :100])
    with pytest.raises(SearchUnavailable, match=r"dimensions|clip_rebuild|manage.py check"):
        list(ProductDocument.search("a mug").hits())


@pytest.mark.parametrize(
    "settings_of", [{"ENCODER": "tests.nowhere.Encoder"}, {"QDRANT": {"backend": "tests.nowhere.Store"}}]
)
def test_a_class_that_cannot_be_imported_is_said(few, configured, settings_of):
    configured(**settings_of)
    with pytest.raises(SearchUnavailable, match=r"manage\.py check"):
        list(ProductDocument.search("mug").hits())


def test_settings_without_a_store_are_said(shop, configured):
    configured(QDRANT=None)
    with pytest.raises(SearchUnavailable, match="QDRANT"):
        ProductDocument.search("mug").count()


def test_a_swap_in_between_is_not_noticed(shop, document):
    results = ProductDocument.search("a red mug", everything=True)
    before = keys(results[:5])
    for _report in rebuilding.rebuild(document):
        pass
    assert keys(results[:5]) == before
    assert results.count() == 60


def test_a_swap_between_what_is_found_and_its_facets_is_not_noticed(shop, document):
    results = ProductDocument.search("red -towel")
    assert results.count() == 9
    for _report in rebuilding.rebuild(document):
        pass
    assert counted(results.filter(in_stock=True), "in_stock") == {True: 9}
    for _report in rebuilding.rebuild(document):
        pass
    assert len(list(results.order_by("price").hits())) == 9
    assert (results.corrected, list(results.closest)) == ("", [])


def test_a_swap_while_the_model_is_asked_is_not_noticed(configured, tmp_path, document, monkeypatch):
    pytest.importorskip("qdrant_edge")
    configured(QDRANT={"path": str(tmp_path / "qdrant")})
    products = make(f"{colour} mug" for colour in COLOURS)
    index(document)
    embed, before = type(get_encoder()).embed_texts, Collection.objects.get()

    def swapping(self, texts):
        if "a photo of a red mug" in texts and Collection.objects.filter(pk=before.pk, state="live"):
            for _report in rebuilding.rebuild(document):
                pass
        return embed(self, texts)

    monkeypatch.setattr(type(get_encoder()), "embed_texts", swapping)
    results = ProductDocument.search("a red mug", everything=True)
    with results.session():
        assert (results[:1].hits()[0].product_id, results.count()) == (str(products[0].pk), 6)
    assert not get_store().exists(before.name)


def test_a_collection_that_is_lost_is_said(shop):
    get_store().destroy(Collection.objects.get().name)
    with pytest.raises(SearchUnavailable, match="clip_reindex"):
        ProductDocument.search("a red mug", everything=True).count()


@pytest.mark.django_db(databases=["default", "other"])
def test_a_document_of_another_database_is_searched_there():
    document = registry.get("article")
    with pause_indexing():
        article = Article.objects.using("other").create(title="On mugs")
    IndexEntry.objects.mark_changed(document, [str(article.pk)])
    index_due(document)
    (found,) = type(document.declaration).search("mugs")
    assert (found, found._state.db) == (article, "other")
