"""The version of the server, and how many requests a call sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clip_search.exceptions import SetupError, StoreUnavailable
from clip_search.stores.base import Condition, Query, Retriever, Schema, term_number
from clip_search.stores.server import ServerStore
from clip_search.types import TEXT, WORDS
from tests.unit.store_contract.points import product, vector, with_words

from .stub import ROOT, Stub, result

pytest.importorskip("qdrant_client")


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.create("shop", Schema(dimension=4)),
        lambda store: store.put("shop", [product(1)]),
        lambda store: store.drop("shop", [product(1)]),
    ],
)
@pytest.mark.parametrize("version", ["1.17.1", "0.11.0"])
def test_an_old_server_is_not_written_to(
    stub: Stub, store: ServerStore, version: str, call: Callable[[ServerStore], Any]
) -> None:
    stub.answers["GET", "/"] = 200, ROOT | {"version": version}
    with pytest.raises(SetupError, match=r"1\.18"):
        call(store)
    assert [asked[:2] for asked in stub.asked] == [("GET", "/")]


def test_something_that_is_no_qdrant(stub: Stub, store: ServerStore) -> None:
    stub.answers["GET", "/"] = 200, ROOT | {"version": "teapot"}
    with pytest.raises(StoreUnavailable, match="is not a Qdrant server"):
        store.put("shop", [product(1)])


@pytest.mark.parametrize("version", ["1.18.0", "1.20.0-dev", "2.0.1"])
def test_the_version_is_asked_once(stub: Stub, store: ServerStore, version: str) -> None:
    stub.answers["GET", "/"] = 200, ROOT | {"version": version}
    stub.otherwise = result([])
    for _ in range(3):
        store.put("shop", [product(1)])
    assert len(stub.bodies("GET", "/")) == 1


# requests
def test_a_batch_is_one_request_with_a_fence_per_revision(stub: Stub, store: ServerStore) -> None:
    stub.otherwise = result([])
    store.put("shop", [product(1, revision=3), product(2, revision=7), product(3, revision=3)])
    store.drop("shop", [product(4, revision=9)])
    put, drop = stub.bodies("POST", "/collections/shop/points/batch")
    fences = [operation["upsert"]["update_filter"]["must"][0] for operation in put["operations"]]
    assert [(fence["key"], fence["range"]["lt"]) for fence in fences] == [
        ("_clip.revision", 3),
        ("_clip.revision", 7),
    ]
    assert [len(operation["upsert"]["points"]) for operation in put["operations"]] == [2, 1]
    upsert = drop["operations"][0]["upsert"]
    assert upsert["update_filter"]["must"][0]["range"]["lte"] == 9
    assert upsert["points"][0]["vector"] == {}
    assert upsert["points"][0]["payload"]["_clip"]["removed"] is True


def test_many_points_are_several_requests(stub: Stub, store: ServerStore) -> None:
    """A server refuses a request of more than 32 MiB."""
    stub.otherwise = result([])
    store.put("shop", [product(number, revision=number % 2 + 1) for number in range(250)])
    store.get("shop", [product(number).id for number in range(250)], vectors=True)
    put, got = (stub.bodies("POST", f"/collections/shop/points{path}") for path in ("/batch", ""))
    sizes = [sum(len(o["upsert"]["points"]) for o in body["operations"]) for body in put]
    assert sizes == [100, 100, 50]
    assert [len(body["ids"]) for body in got] == [100, 100, 50]


def test_points_with_many_vectors_are_more_requests(
    stub: Stub, store: ServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.otherwise = result([])
    one = product(1)
    numbers = sum(vector.size for vector in one.vectors.values())
    monkeypatch.setattr("clip_search.stores.server.NUMBERS_A_REQUEST", 2 * numbers)
    store.put("shop", [product(number) for number in range(9)])
    store.put("shop", [with_words(number, {"mug": 1.0}) for number in range(9)])
    store.drop("shop", [one])
    *put, drop = stub.bodies("POST", "/collections/shop/points/batch")
    assert len(put) == 5 + 9
    assert len(drop["operations"]) == 1


def test_words_are_written_as_terms_and_numbers(
    stub: Stub, store: ServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.otherwise = result([])
    monkeypatch.setattr(
        "clip_search.stores.qdrant.term_number",
        lambda term: 7 if term in ("mug", "jug") else term_number(term),
    )
    store.put("shop", [with_words(1, {"mug": 1.5, "red": 1.0, "jug": 0.25}, "^sku"), product(2)])
    (body,) = stub.bodies("POST", "/collections/shop/points/batch")
    worded, bare = body["operations"][0]["upsert"]["points"]
    assert worded["payload"]["_terms"] == ["mug", "red", "jug", "^sku"]
    assert worded["vector"]["words"] == {"indices": [7, term_number("red")], "values": [1.75, 1.0]}
    assert "_terms" not in bare["payload"]
    assert bare["vector"].keys() == {"text", "image"}


def test_rankings_are_one_request_without_payloads(stub: Stub, store: ServerStore) -> None:
    stub.otherwise = result([{"points": [{"id": str(product(1).id), "version": 1, "score": 0.5}]}] * 3)
    retrievers = [Retriever(using=TEXT, vector=vector(1)), Retriever(using=WORDS, vector={"mug": 2.0})]
    stock = Condition(key="in_stock", operator="eq", value=True)
    queries = [Query(retriever=each, conditions=[stock], limit=7) for each in retrievers]
    rankings = store.rank("shop", [*queries, Query()])
    assert [[(rank.id, rank.score) for rank in ranking] for ranking in rankings] == [
        [(product(1).id, 0.5)],
        [(product(1).id, 0.5)],
        [(product(1).id, 1.0)],
    ]
    (body,) = stub.bodies("POST", "/collections/shop/points/query/batch")
    text, words, everything = body["searches"]
    assert words["query"]["nearest"] == {"indices": [term_number("mug")], "values": [2.0]}
    assert (text["using"], words["using"]) == ("text", "words")
    for search in (text, words):
        assert search["limit"] == 7
        assert search["filter"]["must"] == [{"key": "in_stock", "match": {"value": True}}]
        assert not search.get("with_payload")
    assert everything["filter"]["must_not"] == [{"key": "_clip.removed", "match": {"value": True}}]


def test_no_request_reads_the_words(stub: Stub, store: ServerStore) -> None:
    stub.otherwise = result([])
    store.get("shop", [product(1).id], vectors=True)
    store.get("shop", [product(1).id])
    store.get_consistent("shop", [product(1).id])
    store.get_for_search("shop", product(1).id)
    stub.otherwise = result({"points": [], "next_page_offset": None})
    store.scroll("shop")
    stub.otherwise = result([{"points": []}])
    store.query("shop", Query())
    bodies = [
        *stub.bodies("POST", "/collections/shop/points"),
        *stub.bodies("POST", "/collections/shop/points/scroll"),
    ]
    bodies += stub.bodies("POST", "/collections/shop/points/query/batch")[0]["searches"]
    assert [body["with_payload"] for body in bodies] == [{"exclude": ["_terms"]}] * 6
    assert [body.get("with_vector") or body.get("with_vectors") for body in bodies] == [
        ["text", "image"],
        None,
        None,
        ["text", "image"],
        None,
        None,
    ]
