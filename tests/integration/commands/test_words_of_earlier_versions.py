"""A collection of an earlier version gets the words of its products, without a model and without a copy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from django.core.management import call_command

from clip_search.documents.registry import registry
from clip_search.encoders import get_encoder
from clip_search.indexing import upgrading, writing
from clip_search.models import Collection, IndexEntry
from clip_search.stores import get_store, qdrant
from clip_search.stores.base import INDEXED, TERMS, Condition, Query, Retriever
from clip_search.stores.embedded import engine
from clip_search.stores.embedded import store as embedded
from clip_search.stores.server import ServerStore
from clip_search.types import WORDS
from tests.doubles.encoders import CountingEncoder
from tests.doubles.qdrant_memory import QdrantMemory
from tests.doubles.qdrant_stub import serving
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Product

from .actions import DOCUMENT, State, collection, make, run

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@pytest.fixture(params=["embedded", "server"])
def store(request, settings, tmp_path):
    """Use the store of both engines."""
    if request.param == "embedded":
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"path": str(tmp_path / "qdrant")}}
        yield get_store()
        return
    with serving() as stub:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"url": stub.url}}
        yield get_store()


@pytest.fixture
def earlier(store, monkeypatch) -> list[Product]:
    """Index five products, four of them with a picture, as an earlier version did."""
    without_words = {key: kind for key, kind in INDEXED.items() if key != TERMS}
    create, as_payload, create_collection = engine.config_of, writing.Point, QdrantMemory.create_collection

    def config_of(edge, schema):
        config = create(edge, schema)
        return edge.EdgeConfig(vectors=config.vectors)

    def create_without_words(self, name, *args, **options):
        return create_collection(self, name, *args, **options | {"sparse_vectors_config": None})

    def point(**values):
        stamp = values["stamp"]
        object.__setattr__(stamp, "words_hash", "")
        return as_payload(**values | {"words": writing.Words()})

    with monkeypatch.context() as patch:
        patch.setattr(qdrant, "INDEXED", without_words)
        patch.setattr(embedded, "config_of", config_of)
        patch.setattr(QdrantMemory, "create_collection", create_without_words)
        patch.setattr(ServerStore, "_add_words", lambda self, collection: None)
        patch.setattr(writing, "Point", point)
        products = make(5, images=4)
        run("clip_reindex")
    Collection.objects.update(has_words=False)
    get_store().close()
    upgrading._prepare_once.cache_clear()
    assert get_encoder().take() == (5, 4)
    assert not any(point.stamp.words_hash for point in get_store().scroll(collection()))
    return products


@pytest.fixture
def without_model(monkeypatch) -> None:
    """Let everything that is embedded fail."""

    def embed(self, pieces):
        raise AssertionError(pieces)

    monkeypatch.setattr(CountingEncoder, "embed_texts", embed)
    monkeypatch.setattr(CountingEncoder, "embed_images", embed)


def with_words(*stems: str) -> set[str]:
    """Return the SKUs of the products that have these words, of which the ranking finds as many."""
    retriever = Retriever(using=WORDS, vector=dict.fromkeys(stems, 1.0))
    terms = [Condition(key=TERMS, operator="eq", value=stem) for stem in stems]
    found = get_store().query(collection(), Query(retriever=retriever, conditions=terms, limit=100))
    assert get_store().count(collection(), conditions=terms) == len(found)
    return {hit.stamp.exact[0] for hit in found}


def has_words() -> bool:
    return Collection.objects.of(DOCUMENT).get().has_words


def vectors() -> dict:
    ids = [entry.uuid for entry in IndexEntry.objects.all()]
    points = get_store().get(collection(), ids, vectors=True)
    return {key: {name: vector.tolist() for name, vector in p.vectors.items()} for key, p in points.items()}


def test_clip_reindex_adds_the_words(earlier, without_model):
    name, before = collection(), vectors()
    assert not has_words()
    assert "5 products: 5 payload only, 1 without image in" in run("clip_reindex")
    assert has_words()
    assert with_words("chair", "3") == {"c3"}
    assert len(with_words("chair")) == 5
    assert get_store().names() == [name] == [collection()]
    after = vectors()
    assert before.keys() == after.keys()
    for key, named in before.items():
        assert named.keys() == after[key].keys()
        assert all(np.allclose(named[vector], after[key][vector], atol=1e-6) for vector in named)
    assert "5 unchanged" in run("clip_reindex")


def test_clip_status_says_what_to_do(earlier, without_model, capsys):
    assert "searches of product do not compare words yet: run `manage.py clip_reindex product`" in run(
        "clip_status"
    )
    call_command("clip_status", "--json")
    status = json.loads(capsys.readouterr().out)
    assert status["ok"]
    assert [note["code"] for note in status["notes"]] == ["without_words"]
    assert not status["documents"][0]["collections"][0]["has_words"]
    run("clip_reindex")
    assert "compare words" not in run("clip_status")


def test_an_interrupted_run_is_continued(earlier, without_model, monkeypatch):
    write, batches = writing.send, []

    def interrupted(*args):
        batches.append(args)
        if len(batches) > 3:  # a batch sends its tombstones, of which there are none here, and its points
            raise KeyboardInterrupt
        write(*args)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "send", interrupted)
        with pytest.raises(KeyboardInterrupt):
            call_command("clip_reindex", "product", batch_size=2, verbosity=0)
    some = len(with_words("chair"))
    assert 0 < some < 5
    assert not has_words()
    run("clip_reindex")
    assert has_words()
    assert len(with_words("chair")) == 5


def test_a_run_for_some_products_adds_the_words_of_these_only(earlier, without_model):
    run("clip_reindex", "product", "--ids", str(earlier[0].pk))
    assert with_words("chair") == {"c0"}
    assert not has_words()


def test_a_dry_run_changes_nothing(earlier, without_model):
    assert "5 to index" in run("clip_reindex", "product", "--dry-run")
    assert not has_words()
    assert not any(point.stamp.words_hash for point in get_store().scroll(collection()))


def test_clip_verify_adds_the_words_too(earlier, without_model):
    run("clip_verify")
    assert has_words()
    assert len(with_words("chair")) == 5


def test_a_save_adds_the_words_of_the_product_and_searches_use_them_when_all_have_theirs(earlier):
    earlier[0].name = "Wooden stool"
    earlier[0].save()
    assert with_words("stool") == {"c0"}
    assert not has_words()
    assert ProductDocument.search("wooden stool").count() == 5
    run("clip_reindex")
    assert ProductDocument.search("wooden stool").count() == 1


def test_products_that_fail_do_not_keep_the_others_waiting(earlier, without_model, monkeypatch):
    def get_text(self, obj):
        if obj.pk == earlier[0].pk:
            raise ValueError("no text")
        return obj.name

    monkeypatch.setattr(ProductDocument, "get_text", get_text)
    with pytest.raises(Exception, match="1 of product failed"):
        run("clip_reindex")
    assert has_words()


def test_pending_products_without_words_keep_the_flag_down(earlier, without_model, monkeypatch):
    monkeypatch.setattr("clip_search.indexing.index_due", lambda *args, **options: iter(()))
    run("clip_reindex")
    assert IndexEntry.objects.filter(state=State.PENDING).count() == 5
    assert not has_words()


def test_pending_products_with_words_do_not(earlier, without_model):
    run("clip_reindex")
    Collection.objects.update(has_words=False)
    IndexEntry.objects.mark_changed(DOCUMENT, [str(earlier[0].pk)])
    upgrading.record_words(DOCUMENT)
    assert has_words()


def test_a_rebuild_makes_a_collection_with_words(earlier, without_model):
    name = collection()
    run("clip_rebuild")
    assert collection() != name
    assert has_words()
    assert len(with_words("chair")) == 5


def test_a_lost_collection_is_not_created_in_passing(earlier):
    get_store().destroy(collection())
    Product.objects.create(name="Table", sku="T-1")
    run("clip_reindex")
    assert has_words()
    assert get_store().count(collection()) == 6
    assert registry.get("product").name == "product"
