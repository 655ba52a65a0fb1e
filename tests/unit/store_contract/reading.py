"""The contract of a store: reading all points, and queries."""

from __future__ import annotations

import uuid
from dataclasses import replace

import numpy as np
import pytest

from clip_search.stores.base import Condition, Query, Retriever, Store
from clip_search.types import IMAGE, TEXT, Point

from .collections import Collections
from .points import SCHEMA, by_cosine, ids_of, live, meets, product, vector


class Reading(Collections):
    """Scrolling, queries, pages."""

    # Reading all.

    def test_scroll_pages_through_everything_in_order(
        self, store: Store, filled: list[Point], collection: str
    ) -> None:
        store.drop(collection, filled[:5])
        seen: list[uuid.UUID] = []
        while page := store.scroll(collection, after=seen[-1] if seen else None, limit=7):
            seen += [point.id for point in page]
        assert seen == sorted(point.id for point in filled)

    def test_scroll_gives_stamps_and_no_vectors(self, store: Store, collection: str) -> None:
        store.put(collection, [product(1, payload={"a": 1})])
        assert store.scroll(collection) == [product(1, payload={"a": 1}, vectors={})]

    def test_consistent_points_are_read_with_their_tombstones_and_without_vectors(
        self, store: Store, collection: str
    ) -> None:
        store.put(collection, [product(1, payload={"a": 1}), product(2)])
        store.drop(collection, [product(2)])
        found = store.get_consistent(collection, [product(number).id for number in (1, 2, 3)])
        assert found[product(1).id] == product(1, payload={"a": 1}, vectors={})
        assert found.keys() == {product(1).id, product(2).id}
        assert found[product(2).id].stamp.removed

    def test_a_session_keeps_everything_working(self, store: Store, collection: str) -> None:
        with store.session(collection), store.session(collection):
            store.put(collection, [product(1)])
            assert store.count(collection) == 1
        assert store.count(collection) == 1

    # Searching.

    @pytest.mark.parametrize("using", [TEXT, IMAGE])
    def test_one_retriever_is_ordered_by_cosine(
        self, store: Store, filled: list[Point], collection: str, using: str
    ) -> None:
        retriever = Retriever(using=using, vector=vector(77))
        found = store.query(collection, Query(retriever=retriever, limit=100))
        assert ids_of(found) == by_cosine(filled, retriever)
        scores = {point.id: float(point.vectors[using] @ retriever.vector) for point in live(filled, using)}
        assert all(abs(hit.score - scores[hit.id]) < 1e-5 for hit in found)

    def test_a_hit_carries_stamp_and_payload(
        self, store: Store, filled: list[Point], collection: str
    ) -> None:
        retriever = Retriever(using=TEXT, vector=filled[4].vectors[TEXT])
        hit = store.query(collection, Query(retriever=retriever, limit=1))[0]
        assert (hit.id, hit.stamp, hit.payload) == (filled[4].id, filled[4].stamp, filled[4].payload)
        assert hit.score == pytest.approx(1, abs=1e-5)

    def test_a_long_query_vector_counts_by_its_direction(
        self, store: Store, filled: list[Point], collection: str
    ) -> None:
        retriever = Retriever(using=TEXT, vector=filled[4].vectors[TEXT] * 10)
        assert store.query(collection, Query(retriever=retriever))[0].score == pytest.approx(1, abs=1e-5)

    def test_offset_is_the_same_list_further_on(
        self, store: Store, filled: list[Point], collection: str
    ) -> None:
        for some in (None, Retriever(using=TEXT, vector=vector(5))):
            whole = ids_of(store.query(collection, Query(retriever=some, limit=60)))
            assert ids_of(store.query(collection, Query(retriever=some, offset=23, limit=11))) == whole[23:34]
            assert store.query(collection, Query(retriever=some, offset=200)) == []

    def test_without_a_retriever_everything_comes_in_the_order_of_ids(
        self, store: Store, filled: list[Point], collection: str
    ) -> None:
        found = store.query(collection, Query(limit=100))
        assert ids_of(found) == sorted(point.id for point in filled)
        assert {hit.score for hit in found} == {1.0}

    def test_min_score(self, store: Store, filled: list[Point], collection: str) -> None:
        retriever = Retriever(using=TEXT, vector=vector(5))
        everything = store.query(collection, Query(retriever=retriever, limit=100))
        middle = (everything[9].score + everything[10].score) / 2
        near = store.query(collection, Query(retriever=retriever, limit=100, min_score=middle))
        assert ids_of(near) == ids_of(everything[:10])

    def test_several_rankings_at_once(self, store: Store, filled: list[Point], collection: str) -> None:
        cheap = [Condition(key="price", operator="lt", value=8)]
        queries = [
            Query(retriever=Retriever(using=TEXT, vector=vector(5)), limit=100),
            Query(retriever=Retriever(using=IMAGE, vector=vector(6)), conditions=cheap, limit=5),
            Query(conditions=cheap, offset=3, limit=100),
            Query(retriever=Retriever(using=TEXT, vector=vector(5)), limit=100, min_score=2.0),
        ]
        rankings = store.rank(collection, queries)
        for query, ranking in zip(queries, rankings, strict=True):
            found = store.query(collection, query)
            assert ids_of(ranking) == ids_of(found)
            assert [rank.score for rank in ranking] == pytest.approx([hit.score for hit in found], abs=1e-6)
        assert [len(ranking) for ranking in rankings[:2]] == [len(filled), 5]
        assert rankings[3] == store.rank(collection, []) == []

    def test_equal_scores_are_ordered_by_id(self, store: Store, collection: str) -> None:
        points = [product(number, vectors={TEXT: vector(1)}) for number in range(30)]
        store.put(collection, points)
        query = Query(retriever=Retriever(using=TEXT, vector=vector(1)), limit=100)
        ids = sorted(point.id for point in points)
        assert ids_of(store.query(collection, query)) == ids
        assert ids_of(store.rank(collection, [query])[0]) == ids

    # Reading values.

    def test_values_of_all_points_that_meet_the_conditions(
        self, store: Store, filled: list[Point], collection: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("clip_search.stores.qdrant.VALUES_A_PAGE", 7)
        store.drop(collection, [product(number, revision=2) for number in range(5)])
        keys = ["price", "tags", "nothing"]
        mug = Condition(key="category", operator="eq", value="mug")
        for conditions in ([], [mug], [mug, replace(mug, negated=True)]):
            expected = {
                p.id: {key: p.payload[key] for key in keys if key in p.payload}
                for p in filled[5:]
                if all(meets(dict(p.payload), condition) for condition in conditions)
            }
            found = store.values(collection, keys, conditions=conditions)
            assert [id_ for id_, _ in found] == sorted(expected)
            assert {id_: dict(values) for id_, values in found} == expected
        assert store.values(collection, []) == [(id_, {}) for id_ in sorted(p.id for p in filled[5:])]

    def test_a_product_of_many_images_is_as_near_as_the_nearest(self, store: Store, name: str) -> None:
        store.create(name, replace(SCHEMA, multiple_images=True))
        points = [product(n, vectors={TEXT: vector(n), IMAGE: vector(n, 1 + n % 4)}) for n in range(20)]
        store.put(name, points)
        query = vector(123)
        found = store.query(name, Query(retriever=Retriever(using=IMAGE, vector=query), limit=30))
        best = {point.id: float((point.vectors[IMAGE] @ query).max()) for point in points}
        assert ids_of(found) == sorted(best, key=best.__getitem__, reverse=True)
        assert found[0].score == pytest.approx(max(best.values()), abs=1e-5)
        kept = store.get(name, [points[3].id], vectors=True)[points[3].id]
        np.testing.assert_allclose(kept.vectors[IMAGE], points[3].vectors[IMAGE], atol=1e-6)
        store.destroy(name)
