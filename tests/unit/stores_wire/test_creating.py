"""Creating a collection: its options and its indexes."""

from __future__ import annotations

from typing import Any

import pytest

from clip_search.exceptions import SetupError
from clip_search.stores.base import INDEXED, Schema
from clip_search.stores.server import ServerStore

from .stub import Stub, failure, result

pytest.importorskip("qdrant_client")


def collection_info(**schema: str) -> dict[str, Any]:
    """Return what a server tells of a collection that has these payload indexes."""
    return {
        "status": "green",
        "optimizer_status": "ok",
        "segments_count": 1,
        "config": {
            "params": {"vectors": {}},
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
