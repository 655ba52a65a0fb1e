"""The contract of a store: collections, and the fixtures of all its parts."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from clip_search.exceptions import CollectionMismatch, CollectionMissing
from clip_search.stores.base import Query, Retriever, Store
from clip_search.stores.identity import check_contents
from clip_search.types import TEXT, Point

from .points import SCHEMA, product, shop, vector


class Collections:
    """Creating and destroying collections."""

    @pytest.fixture
    def name(self) -> str:
        return f"clip_test_{uuid.uuid4().hex}"

    @pytest.fixture
    def collection(self, store: Store, name: str) -> Any:
        store.create(name, SCHEMA)
        yield name
        store.destroy(name)

    @pytest.fixture
    def filled(self, store: Store, collection: str) -> list[Point]:
        points = shop()
        store.put(collection, points)
        return points

    def test_create_exists_destroy(self, store: Store, name: str) -> None:
        assert not store.exists(name)
        store.create(name, SCHEMA)
        assert store.exists(name)
        store.destroy(name)
        assert not store.exists(name)

    def test_a_destroyed_collection_leaves_nothing_behind(self, store: Store, collection: str) -> None:
        store.put(collection, [product(1)])
        store.query(collection, Query())
        assert store.remains(timedelta(seconds=-60)) == []
        store.destroy(collection)
        assert store.remains(timedelta(seconds=-60)) == []

    def test_destroying_what_is_missing_is_no_error(self, store: Store, name: str) -> None:
        store.destroy(name)

    def test_create_leaves_what_exists(self, store: Store, collection: str) -> None:
        store.put(collection, [product(1)])
        store.create(collection, SCHEMA)
        assert store.count(collection) == 1

    def test_create_adds_the_index_of_a_new_filter(self, store: Store, name: str) -> None:
        store.create(name, replace(SCHEMA, filters={}))
        store.put(name, [product(1, payload={"category": "mug"})])
        store.create(name, SCHEMA)
        assert store.facet(name, "category") == {"mug": 1}
        store.destroy(name)

    def test_a_collection_has_a_name_and_the_mark_of_whoever_made_it(self, store: Store, name: str) -> None:
        mark = {"installation": "staging", "created_at": "2026-11-28T10:00:00+00:00"}
        store.create(name, replace(SCHEMA, mark=mark))
        store.create(f"{name}-b", SCHEMA)
        store.create(name, replace(SCHEMA, mark={"installation": "production"}))  # it keeps the mark it has
        assert {name, f"{name}-b"} <= set(store.names())
        assert (store.mark(name), store.mark(f"{name}-b")) == (mark, {})
        store.destroy(name)
        store.destroy(f"{name}-b")
        assert not {name, f"{name}-b"} & set(store.names())

    @pytest.mark.usefixtures("filled")
    def test_a_collection_of_ours_is_recognized(self, store: Store, collection: str) -> None:
        check_contents(store, collection, SCHEMA.dimension)
        if store.vectors(collection) is not None:
            with pytest.raises(CollectionMismatch):
                check_contents(store, collection, SCHEMA.dimension + 1)

    def test_two_collections_are_apart(self, store: Store, collection: str) -> None:
        store.create(collection + "-b", SCHEMA)
        store.put(collection + "-b", [product(1)])
        assert store.count(collection) == 0
        store.destroy(collection + "-b")
        assert store.exists(collection)

    def test_a_destroyed_collection_comes_back_empty(self, store: Store, collection: str) -> None:
        store.put(collection, [product(1)])
        store.destroy(collection)
        store.create(collection, SCHEMA)
        assert store.scroll(collection) == []

    @pytest.mark.parametrize(
        "ask",
        [
            lambda store, name: store.get(name, [product(1).id]),
            lambda store, name: store.put(name, [product(1)]),
            lambda store, name: store.drop(name, [product(1)]),
            lambda store, name: store.purge(name, [product(1).id]),
            lambda store, name: store.scroll(name),
            lambda store, name: store.mark(name),
            lambda store, name: store.query(name, Query()),
            lambda store, name: store.query(name, Query(retriever=Retriever(using=TEXT, vector=vector(1)))),
            lambda store, name: store.rank(name, [Query()]),
            lambda store, name: store.values(name, ["category"]),
            lambda store, name: store.facet(name, "category"),
            lambda store, name: store.count(name),
        ],
    )
    def test_a_missing_collection_says_so(self, store: Store, name: str, ask: Any) -> None:
        with pytest.raises(CollectionMissing):
            ask(store, name)
        assert not store.exists(name)
