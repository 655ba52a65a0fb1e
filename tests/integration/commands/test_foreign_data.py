"""Somebody else has made a collection of our name, or has written to ours: said, left alone, and remedied."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta
from typing import Any

import pytest
from qdrant_client import models

from clip_search import SearchUnavailable, indexing, jobs
from clip_search.exceptions import CollectionMismatch
from clip_search.models import Collection, IndexEntry
from clip_search.stores import get_store
from clip_search.stores.base import Schema
from clip_search.testing import reset
from tests.doubles.qdrant_stub import serving
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Product

from .actions import DOCUMENT, collection, complain, make, names_in, run, states

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])
COSINE = models.Distance.COSINE
REMEDY = "Run `manage.py clip_rebuild`: it builds a new collection and leaves this one."


@pytest.fixture
def server(settings):
    with serving() as stub:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"url": stub.url}}
        yield stub


@pytest.fixture
def name(server) -> str:
    """The name of the live collection, with three products."""
    make(3)
    run("clip_reindex")
    return collection()


@pytest.fixture
def asked(server, monkeypatch) -> list[str]:
    """The requests since the test began, such as "GET /collections"."""
    asked, do = [], server.do

    def note(method: str, path: str, *rest: Any) -> Any:
        asked.append(f"{method} {path}")
        return do(method, path, *rest)

    monkeypatch.setattr(server, "do", note)
    return asked


def made_anew(client: Any, name: str, vectors: Any, vector: Any) -> None:
    client.delete_collection(name)
    client.create_collection(name, vectors_config=vectors)
    points = [models.PointStruct(id=str(uuid.uuid4()), vector=vector, payload={"a": n}) for n in range(2)]
    client.upsert(name, points)


def of_another_dimension(client: Any, name: str) -> None:
    vectors = {key: models.VectorParams(size=4, distance=COSINE) for key in ("text", "image")}
    made_anew(client, name, vectors, {"text": [1.0] * 4})


def with_an_unnamed_vector(client: Any, name: str) -> None:
    made_anew(client, name, models.VectorParams(size=256, distance=COSINE), [1.0] * 256)


def with_other_points(client: Any, name: str) -> None:
    vectors = {key: models.VectorParams(size=256, distance=COSINE) for key in ("text", "image")}
    made_anew(client, name, vectors, {"text": [1.0] * 256})


def content(stub: Any, name: str) -> Any:
    return stub.client.scroll(name, limit=100, with_payload=True)[0]


@pytest.mark.parametrize("make_it", [of_another_dimension, with_an_unnamed_vector, with_other_points])
def test_a_collection_that_somebody_else_made_is_said_and_the_remedy_works(server, name, asked, make_it):
    make_it(server.client, name)
    asked.clear()
    reset()  # as in a process that was started since
    before = content(server, name)
    assert REMEDY in complain("clip_status", "product", "--check-writes").splitlines()[-1]
    with pytest.raises(SearchUnavailable, match="clip_rebuild"):
        list(ProductDocument.search("chair"))
    IndexEntry.objects.mark_all_due()
    with pytest.raises(CollectionMismatch, match="clip_rebuild"):
        list(indexing.index_due(DOCUMENT))
    for command in ("clip_reindex", "clip_verify"):
        assert REMEDY in complain(command)
    assert "3 products: 3 embedded" in run("clip_rebuild")
    assert collection() != name
    assert content(server, name) == before
    changes = {f"PUT /collections/{name}/index", f"POST /collections/{name}/points/batch"}
    assert not changes & {*asked}
    assert names_in(collection()) == {"c0", "c1", "c2"}
    assert ProductDocument.search("chair").count() == 3
    assert set(get_store().names()) == {name, collection()}
    assert Collection.objects.count() == 1
    run("clip_status")
    assert run("clip_cleanup", "--no-input", "--other-databases") == "0 to remove\n"


@pytest.mark.parametrize("make_it", [of_another_dimension, with_an_unnamed_vector])
def test_processes_that_run_meanwhile_say_the_same(server, name, make_it, caplog):
    """They have looked at the collection before it was exchanged."""
    Product.objects.update(name="Table")
    make_it(server.client, name)
    with pytest.raises(SearchUnavailable, match="clip_rebuild"):
        list(ProductDocument.search("chair"))
    ProductDocument.reindex(Product.objects.all())  # indexes in this process, and logs what fails
    assert REMEDY in caplog.text
    assert states() == {"pending": 3}
    assert not IndexEntry.objects.exclude(attempts=0).exists()
    run("clip_rebuild")
    assert states() == {"indexed": 3}


def test_a_worker_goes_on_with_other_documents(server, name, caplog):
    of_another_dimension(server.client, name)
    reset()
    IndexEntry.objects.mark_all_due()
    caplog.set_level(logging.ERROR)
    jobs.index_due("product")
    assert [REMEDY in record.getMessage() for record in caplog.records] == [True]


def overwrite_payload(client: Any, name: str) -> None:
    client.overwrite_payload(name, {"a": 1}, [str(DOCUMENT.point_id(str(Product.objects.first().pk)))])


def add_a_point(client: Any, name: str) -> None:
    vector = {"text": [1.0] * 256}
    client.upsert(name, [models.PointStruct(id=str(uuid.uuid4()), vector=vector, payload={"a": 1})])


@pytest.mark.parametrize("write", [overwrite_payload, add_a_point])
def test_a_collection_of_ours_that_somebody_else_has_written_to(server, name, write):
    """Its vectors are used, so that little is embedded again, but it is not deleted."""
    write(server.client, name)
    before = content(server, name)
    assert complain("clip_status").endswith(
        f"Some points in the collection {name} were not written by clip_search. {REMEDY}"
    )
    assert len(list(ProductDocument.search("chair"))) == (2 if write is overwrite_payload else 3)
    said = "1 embedded, 2 unchanged" if write is overwrite_payload else "3 unchanged"
    assert f"3 products: {said}" in run("clip_rebuild")
    assert names_in(collection()) == {"c0", "c1", "c2"}
    assert content(server, name) == before
    assert ProductDocument.search("chair").count() == 3


def test_what_no_row_names_but_others_have_written_to_stays(server, name, settings, monkeypatch):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"INSTALLATION": "production"}
    run("clip_rebuild")
    lost = collection()
    Collection.objects.all().delete()
    add_a_point(server.client, lost)
    monkeypatch.setattr("clip_search.indexing.leftovers.YOUNG", timedelta(0))
    said = run("clip_cleanup", "--no-input")
    assert f"collection {lost} of" in said
    assert "(stays: it has points that clip_search did not write)" in said
    assert get_store().exists(lost)


def test_a_restored_collection_without_its_mark_is_still_ours(server, name):
    """A snapshot that loses the metadata."""
    points = get_store().get(name, [p.id for p in get_store().scroll(name)], vectors=True)
    vectors = {key: models.VectorParams(size=256, distance=COSINE) for key in ("text", "image")}
    server.client.delete_collection(name)
    server.client.create_collection(name, vectors_config=vectors)
    get_store().put(name, list(points.values()))
    reset()
    assert get_store().mark(name) == {}
    run("clip_status")
    assert "3 unchanged" in run("clip_reindex")


def test_the_embedded_store_has_another_collection_of_that_name(settings, tmp_path):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"path": str(tmp_path / "qdrant")}}
    make(3)
    run("clip_reindex")
    name = collection()
    get_store().destroy(name)
    get_store().create(name, Schema(dimension=4))
    reset()
    assert REMEDY in complain("clip_status")
    run("clip_rebuild")
    assert get_store().vectors(name) == {"text": 4, "image": 4}
    assert ProductDocument.search("chair").count() == 3


def test_the_store_is_asked_once_in_each_process(name, asked):
    asked.clear()
    reset()
    for _ in range(3):
        Product.objects.first().save()
    assert asked.count(f"GET /collections/{name}") == 2  # its vectors and its mark
