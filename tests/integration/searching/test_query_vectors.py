"""The vector of a query is cached; the model is loaded at start."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.cache import cache

from clip_search.encoders import get_encoder
from clip_search.models import Collection
from clip_search.searching import warm_up
from tests.shops.shop.clip_documents import ProductDocument

from .actions import fail_with, keys

pytestmark = pytest.mark.django_db


@pytest.fixture
def counting(configured) -> Callable[[], list[str]]:
    """Return a function that tells which texts were embedded since it was last called."""
    configured(ENCODER="tests.doubles.encoders.CountingEncoder")

    def texts() -> list[str]:
        counted = get_encoder()
        found, counted.texts = counted.texts, []
        return found

    return texts


def test_the_same_words_are_embedded_once(counting, shop):
    counting()
    for text in ("a  red mug", " a red mug\n", "a red mug"):
        list(ProductDocument.search(text)[:5].hits())
    assert counting() == ["a photo of a red mug"]
    list(ProductDocument.search("A red mug")[:5].hits())
    assert counting() == ["a photo of A red mug"]


def test_the_prompt_is_around_what_is_asked_whatever_it_is(counting, few, monkeypatch):
    counting()
    assert keys(ProductDocument.search("RED  mug")[:1]) == [few[0].pk]
    assert counting() == ["a photo of RED mug"]
    monkeypatch.setattr(ProductDocument, "query_prompt", "{query}, sold here")
    list(ProductDocument.search("{query} {0} mug")[:1].hits())
    assert counting() == ["{query} {0} mug, sold here"]


def test_another_model_has_its_own_vectors(counting, shop, monkeypatch):
    list(ProductDocument.search("a red mug").hits())
    counting()
    monkeypatch.setattr(type(get_encoder()), "fingerprint", "another")
    Collection.objects.update(fingerprint="another")
    list(ProductDocument.search("a red mug").hits())
    assert counting() == ["a photo of a red mug"]


@pytest.mark.parametrize("value", [b"", b"\x00" * 12, "text", None])
def test_what_the_cache_cannot_have_had_is_not_believed(counting, shop, monkeypatch, value):
    expected = keys(ProductDocument.search("a red mug"))
    monkeypatch.setattr(cache, "get", lambda key: value)
    assert keys(ProductDocument.search("a red mug")) == expected


def test_a_broken_cache_breaks_no_search(shop, monkeypatch, caplog):
    expected = keys(ProductDocument.search("a red mug"))
    monkeypatch.setattr(cache, "get", fail_with(OSError("no route to the cache")))
    monkeypatch.setattr(cache, "set", fail_with(RuntimeError("no room in the cache")))
    assert keys(ProductDocument.search("a red mug")) == expected
    assert "no route" in caplog.text
    assert "no room" in caplog.text


def test_warm_up_loads_what_texts_need(configured, monkeypatch):
    asked: list[dict[str, bool]] = []
    monkeypatch.setattr("clip_search.testing.HashingEncoder.warm_up", lambda self, **o: asked.append(o))
    assert warm_up()
    assert asked == [{"images": False}]


def test_a_shop_comes_up_without_its_model(configured, caplog):
    configured(ENCODER="tests.doubles.encoders.MissingEncoder")
    assert not warm_up()
    assert "model" in caplog.text
    configured(ENCODER="tests.nowhere.Encoder")
    assert not warm_up()


def test_a_shop_comes_up_without_memory_for_its_model(monkeypatch, caplog):
    monkeypatch.setattr("clip_search.testing.HashingEncoder.warm_up", fail_with(RuntimeError("CUDA out of")))
    assert not warm_up()
    assert "CUDA out of" in caplog.text
