"""The contract of a store: points, revisions and tombstones."""

from __future__ import annotations

import numpy as np
import pytest

from clip_search.exceptions import SetupError
from clip_search.stores.base import CLIP, Condition, Query, Retriever, Store
from clip_search.types import IMAGE, TEXT, Point, Stamp, point_id

from .collections import Collections
from .points import DIMENSION, ids_of, payload, product, vector


class Writing(Collections):
    """Points, and conditional writes by revision."""

    # Points.

    def test_put_get(self, store: Store, collection: str) -> None:
        point = product(1, payload=payload(1) | {"metadata": {"deep": [1, {"a": None}]}})
        store.put(collection, [point, product(2)])
        found = store.get(collection, [point.id, point_id("product", "none")], vectors=True)
        assert list(found) == [point.id]
        assert found[point.id].stamp == point.stamp
        assert found[point.id].payload == point.payload
        assert set(found[point.id].vectors) == {TEXT, IMAGE}
        for using, expected in point.vectors.items():
            assert found[point.id].vectors[using].dtype == np.float32
            np.testing.assert_allclose(found[point.id].vectors[using], expected, atol=1e-6)

    def test_get_without_vectors(self, store: Store, collection: str) -> None:
        store.put(collection, [product(1)])
        assert store.get(collection, [product(1).id])[product(1).id].vectors == {}

    def test_nothing_is_asked_of_nothing(self, store: Store, collection: str) -> None:
        store.put(collection, [])
        store.drop(collection, [])
        store.purge(collection, [])
        assert store.get(collection, []) == {}

    def test_put_replaces_the_whole_point(self, store: Store, collection: str) -> None:
        store.put(collection, [product(1, payload={"a": 1})])
        bare = product(1, revision=2, payload={"b": 2}, vectors={TEXT: vector(1)})
        store.put(collection, [bare])
        found = store.get(collection, [bare.id], vectors=True)[bare.id]
        assert found.payload == {"b": 2}
        assert set(found.vectors) == {TEXT}

    def test_clip_cannot_be_written_through_the_payload(self, store: Store, collection: str) -> None:
        store.put(collection, [product(1, payload={CLIP: {"revision": 99}})])
        assert store.get(collection, [product(1).id])[product(1).id].stamp == product(1).stamp

    def test_a_wrong_dimension_is_a_clear_error_and_breaks_nothing(
        self, store: Store, collection: str
    ) -> None:
        wrong = product(1, vectors={TEXT: np.ones(DIMENSION + 1, dtype=np.float32)})
        with pytest.raises(SetupError, match="dimension"):
            store.put(collection, [wrong])
        store.put(collection, [product(2)])
        assert store.count(collection) == 1

    def test_a_query_of_a_wrong_dimension_is_a_clear_error(self, store: Store, collection: str) -> None:
        store.put(collection, [product(1)])
        with pytest.raises(SetupError):
            store.query(
                collection, Query(retriever=Retriever(using=TEXT, vector=np.ones(3, dtype=np.float32)))
            )

    # Fences.

    def test_a_stale_put_changes_nothing(self, store: Store, collection: str) -> None:
        store.put(collection, [product(1, revision=5, payload={"new": 1})])
        store.put(collection, [product(1, revision=4, payload={"old": 1})])
        assert store.get(collection, [product(1).id])[product(1).id].payload == {"new": 1}

    def test_an_equal_revision_is_written_once(self, store: Store, collection: str) -> None:
        store.put(collection, [product(1, revision=5, payload={"first": 1})])
        store.put(collection, [product(1, revision=5, payload={"second": 1})])
        assert store.get(collection, [product(1).id])[product(1).id].payload == {"first": 1}

    def test_each_point_of_a_batch_has_its_own_fence(self, store: Store, collection: str) -> None:
        store.put(collection, [product(n, revision=5 + n % 3, payload={"old": n}) for n in range(9)])
        store.put(collection, [product(n, revision=4 + n % 4, payload={"new": n}) for n in range(9)])
        found = store.get(collection, [product(n).id for n in range(9)])
        for n in range(9):
            newer = 4 + n % 4 > 5 + n % 3
            assert found[product(n).id].payload == ({"new": n} if newer else {"old": n})
            assert found[product(n).id].stamp.revision == max(4 + n % 4, 5 + n % 3)

    def test_many_revisions_in_one_batch(self, store: Store, collection: str) -> None:
        store.put(collection, [product(n, revision=n + 1) for n in range(50)])
        assert sorted(p.stamp.revision for p in store.scroll(collection)) == list(range(1, 51))

    def test_drop_leaves_a_tombstone(self, store: Store, collection: str) -> None:
        point = product(1, payload={"category": "mug"})
        store.put(collection, [point])
        store.drop(collection, [product(1, revision=2)])
        found = store.get(collection, [point.id], vectors=True)[point.id]
        assert found == Point(id=point.id, stamp=Stamp(product_id="p-1", revision=2, removed=True))

    def test_a_tombstone_is_only_in_get_and_scroll(self, store: Store, collection: str) -> None:
        points = [product(n, payload={"category": "mug"}) for n in (1, 2)]
        store.put(collection, points)
        store.drop(collection, points[:1])
        ids = [points[1].id]
        assert {point.id for point in store.scroll(collection)} == {point.id for point in points}
        assert ids_of(store.query(collection, Query())) == ids
        retriever = Retriever(using=TEXT, vector=vector(1))
        assert ids_of(store.query(collection, Query(retriever=retriever))) == ids
        assert [
            ids_of(ranking) for ranking in store.rank(collection, [Query(), Query(retriever=retriever)])
        ] == [
            ids,
            ids,
        ]
        assert store.values(collection, ["category"]) == [(ids[0], {"category": "mug"})]
        missing = Condition(key="category", operator="eq", value="cup", negated=True)
        assert ids_of(store.query(collection, Query(conditions=[missing]))) == ids
        assert store.facet(collection, "category") == {"mug": 1}
        assert store.count(collection) == store.count(collection, conditions=[missing]) == 1

    def test_a_tombstone_is_found_by_no_exact_value(self, store: Store, collection: str) -> None:
        exact = Condition(key=f"{CLIP}.exact", operator="in", value=["sku-1"])
        store.put(collection, [product(1)])
        assert len(store.query(collection, Query(conditions=[exact]))) == 1
        store.drop(collection, [product(1)])
        assert store.query(collection, Query(conditions=[exact])) == []

    def test_a_stale_drop_changes_nothing(self, store: Store, collection: str) -> None:
        store.put(collection, [product(1, revision=5)])
        store.drop(collection, [product(1, revision=4)])
        assert store.get(collection, [product(1).id])[product(1).id].stamp == product(1, revision=5).stamp

    def test_a_drop_of_the_same_revision_wins(self, store: Store, collection: str) -> None:
        store.put(collection, [product(1, revision=5)])
        store.drop(collection, [product(1, revision=5)])
        assert store.count(collection) == 0

    def test_dropping_what_is_missing_leaves_a_tombstone(self, store: Store, collection: str) -> None:
        store.drop(collection, [product(1, revision=3)])
        assert store.get(collection, [product(1).id])[product(1).id].stamp.removed

    @pytest.mark.parametrize("revision", [1, 3])
    def test_a_removed_product_is_not_resurrected(self, store: Store, collection: str, revision: int) -> None:
        store.drop(collection, [product(1, revision=3)])
        store.put(collection, [product(1, revision=revision)])
        assert store.get(collection, [product(1).id])[product(1).id].stamp.removed

    def test_a_product_comes_back_with_a_higher_revision(self, store: Store, collection: str) -> None:
        store.put(collection, [product(1)])
        store.drop(collection, [product(1, revision=2)])
        store.put(collection, [product(1, revision=3)])
        retriever = Retriever(using=IMAGE, vector=vector(10_001))
        assert ids_of(store.query(collection, Query(retriever=retriever))) == [product(1).id]

    def test_purge_removes_tombstones_and_nothing_else(self, store: Store, collection: str) -> None:
        store.put(collection, [product(n) for n in range(3)])
        store.drop(collection, [product(n) for n in (0, 1)])
        store.purge(collection, [product(n).id for n in (0, 2, 9)])
        assert {point.id for point in store.scroll(collection)} == {product(1).id, product(2).id}
        assert store.count(collection) == 1
