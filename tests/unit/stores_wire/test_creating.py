"""Creating a collection: its options and its indexes."""

from __future__ import annotations

from typing import Any

import pytest

from clip_search.exceptions import SetupError
from clip_search.stores.base import INDEXED, Schema
from clip_search.stores.server import ServerStore

from .stub import Stub, failure, result

pytest.importorskip("qdrant_client")


WORDS = {"words": {"modifier": "idf"}}


def collection_info(sparse_vectors: Any = WORDS, **schema: str) -> dict[str, Any]:
    """Return what a server tells of a collection that has these sparse vectors and payload indexes."""
    return {
        "status": "green",
        "optimizer_status": "ok",
        "segments_count": 1,
        "config": {
            "params": {"vectors": {}, "sparse_vectors": sparse_vectors or {}},
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
            "optimizer_config": {
                "deleted_threshold": 0.2,
                "vacuum_min_vector_number": 1000,
                "default_segment_number": 0,
                "flush_interval_sec": 5,
            },
        },
        "payload_schema": {key: {"data_type": kind, "points": 0} for key, kind in schema.items()},
    }


def test_create_passes_the_options_on(stub: Stub, store: ServerStore) -> None:
    stub.answers["GET", "/collections/shop/exists"] = result({"exists": False})
    stub.answers["GET", "/collections/shop"] = result(collection_info(price="float"))
    stub.answers["PUT", "/collections/shop/index"] = result({"operation_id": 1, "status": "completed"})
    options = {
        "shard_number": 2,
        "on_disk": True,
        "hnsw_config": {"m": 32},
        "quantization_config": {"scalar": {"type": "int8"}},
    }
    filters = {"price": "number", "category": "keyword", "added": "date"}
    store.create("shop", Schema(dimension=512, multiple_images=True, filters=filters, options=options))
    (body,) = stub.bodies("PUT", "/collections/shop")
    assert body["vectors"]["text"] == {"size": 512, "distance": "Cosine", "on_disk": True}
    assert body["vectors"]["image"]["multivector_config"] == {"comparator": "max_sim"}
    assert body["sparse_vectors"] == WORDS
    assert (body["shard_number"], body["hnsw_config"]) == (2, {"m": 32})
    assert body["quantization_config"] == {"scalar": {"type": "int8"}}
    indexes = {
        index["field_name"]: index["field_schema"] for index in stub.bodies("PUT", "/collections/shop/index")
    }
    assert indexes == {
        "category": "keyword",
        "added": "datetime",
        "_clip.revision": "integer",
        "_clip.exact": "keyword",
        "_clip.source": "keyword",
        "_clip.invalid": "keyword",
        "_clip.truncated": "bool",
        "_clip.without_row": "bool",
        "_clip.removed": "bool",
        "_terms": "keyword",
    }


@pytest.mark.parametrize("options", [{"shards": 2}, {"shard_number": "many"}])
def test_options_that_cannot_be(stub: Stub, store: ServerStore, options: dict[str, Any]) -> None:
    stub.answers["GET", "/collections/shop/exists"] = result({"exists": False})
    with pytest.raises(SetupError, match="COLLECTION_OPTIONS"):
        store.create("shop", Schema(dimension=4, options=options))


def test_two_processes_make_the_same_collection(stub: Stub, store: ServerStore) -> None:
    answers = iter([result({"exists": False}), result({"exists": True})])

    def exists(handler: Any) -> None:
        stub.answers["GET", "/later"] = next(answers)
        handler.path, handler.headers = "/later", {}
        handler.answer()

    stub.answers["GET", "/collections/shop/exists"] = exists
    stub.answers["PUT", "/collections/shop"] = failure(409, "Wrong input: Collection `shop` already exists!")
    stub.answers["GET", "/collections/shop"] = result(collection_info())
    stub.answers["PUT", "/collections/shop/index"] = result({"operation_id": 1, "status": "completed"})
    store.create("shop", Schema(dimension=4))
    assert len(stub.bodies("PUT", "/collections/shop/index")) == len(INDEXED)


@pytest.fixture
def earlier(stub: Stub) -> str:
    """Let the server have a collection that an earlier version has created."""
    stub.answers["GET", "/collections/shop/exists"] = result({"exists": True})
    stub.answers["GET", "/collections/shop"] = result(collection_info(sparse_vectors=None))
    stub.answers["PUT", "/collections/shop/index"] = result({"operation_id": 1, "status": "completed"})
    return "/collections/shop/vectors/words"


def test_words_are_added_to_a_collection_of_an_earlier_version(
    stub: Stub, store: ServerStore, earlier: str
) -> None:
    stub.answers["PUT", earlier] = result({"operation_id": 1, "status": "completed"})
    store.create("shop", Schema(dimension=4))
    assert stub.bodies("PUT", earlier) == [{"sparse": {"modifier": "idf"}}]
    assert {"field_name": "_terms", "field_schema": "keyword"} in stub.bodies(
        "PUT", "/collections/shop/index"
    )


def test_two_processes_add_words_to_the_same_collection(stub: Stub, store: ServerStore, earlier: str) -> None:
    def refuse(handler: Any) -> None:
        stub.answers["GET", "/collections/shop"] = result(collection_info())
        stub.answers["PUT", "/later"] = failure(400, "Wrong input: Vector words already exists")
        handler.path, handler.headers = "/later", {}
        handler.answer()

    stub.answers["PUT", earlier] = refuse
    store.create("shop", Schema(dimension=4))
    assert len(stub.bodies("PUT", "/collections/shop/index")) == len(INDEXED)


def test_words_that_the_server_refuses_to_add(stub: Stub, store: ServerStore, earlier: str) -> None:
    stub.answers["PUT", earlier] = failure(400, "Wrong input: too many vectors")
    with pytest.raises(SetupError, match="too many vectors"):
        store.create("shop", Schema(dimension=4))
