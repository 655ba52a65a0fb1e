"""The contract of a store: reading all points, and queries."""

from __future__ import annotations

import uuid
from dataclasses import replace

import numpy as np
import pytest

from clip_search.stores.base import Query, Retriever, Store
from clip_search.types import IMAGE, TEXT, Point

from .collections import Collections
from .points import SCHEMA, by_cosine, by_rank, ids_of, live, product, vector


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
        found = store.query(collection, Query(retrievers=[retriever], limit=100))
        assert ids_of(found) == by_cosine(filled, retriever)
        scores = {point.id: float(point.vectors[using] @ retriever.vector) for point in live(filled, using)}
        assert all(abs(hit.score - scores[hit.id]) < 1e-5 for hit in found)

    def test_a_hit_carries_stamp_and_payload(
        self, store: Store, filled: list[Point], collection: str
    ) -> None:
        retriever = Retriever(using=TEXT, vector=filled[4].vectors[TEXT])
        hit = store.query(collection, Query(retrievers=[retriever], limit=1))[0]
        assert (hit.id, hit.stamp, hit.payload) == (filled[4].id, filled[4].stamp, filled[4].payload)
        assert hit.score == pytest.approx(1, abs=1e-5)

    def test_a_long_query_vector_counts_by_its_direction(
        self, store: Store, filled: list[Point], collection: str
    ) -> None:
        retriever = Retriever(using=TEXT, vector=filled[4].vectors[TEXT] * 10)
        assert store.query(collection, Query(retrievers=[retriever]))[0].score == pytest.approx(1, abs=1e-5)

    @pytest.mark.parametrize(("weights", "depth"), [((1, 1), 1000), ((1, 3.5), 1000), ((2, 0.5), 20)])
    def test_two_retrievers_are_fused_by_rank(
        self, store: Store, filled: list[Point], collection: str, weights: tuple[float, float], depth: int
    ) -> None:
        retrievers = [
            Retriever(using=using, vector=vector(seed), weight=weight)
            for seed, (using, weight) in enumerate(zip((TEXT, IMAGE), weights, strict=True))
        ]
        found = store.query(collection, Query(retrievers=retrievers, limit=100, depth=depth))
        expected = by_rank(filled, retrievers, depth)
        assert {hit.id: pytest.approx(hit.score, rel=1e-4) for hit in found} == expected
        assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)

    def test_pages_of_a_fused_query_neither_repeat_nor_skip(
        self, store: Store, filled: list[Point], collection: str
    ) -> None:
        # The same vector twice, once reversed in order, makes as many equal scores as can be.
        retrievers = [Retriever(using=TEXT, vector=vector(5)), Retriever(using=TEXT, vector=-vector(5))]
        pages = [
            ids_of(store.query(collection, Query(retrievers=retrievers, offset=offset, limit=7)))
            for offset in range(0, 70, 7)
        ]
        seen = [id_ for page in pages for id_ in page]
        assert len(seen) == len(set(seen)) == len(filled)

    def test_offset_is_the_same_list_further_on(
        self, store: Store, filled: list[Point], collection: str
    ) -> None:
        retrievers = [Retriever(using=TEXT, vector=vector(5)), Retriever(using=IMAGE, vector=vector(6))]
        for some in ([], retrievers[:1], retrievers):
            whole = ids_of(store.query(collection, Query(retrievers=some, limit=60)))
            assert (
                ids_of(store.query(collection, Query(retrievers=some, offset=23, limit=11))) == whole[23:34]
            )
            assert store.query(collection, Query(retrievers=some, offset=200)) == []

    def test_without_a_retriever_everything_comes_in_the_order_of_ids(
        self, store: Store, filled: list[Point], collection: str
    ) -> None:
        found = store.query(collection, Query(limit=100))
        assert ids_of(found) == sorted(point.id for point in filled)
        assert {hit.score for hit in found} == {1.0}

    def test_min_score(self, store: Store, filled: list[Point], collection: str) -> None:
        retriever = Retriever(using=TEXT, vector=vector(5))
        everything = store.query(collection, Query(retrievers=[retriever], limit=100))
        middle = (everything[9].score + everything[10].score) / 2
        near = store.query(collection, Query(retrievers=[retriever], limit=100, min_score=middle))
        assert ids_of(near) == ids_of(everything[:10])
        both = store.query(collection, Query(retrievers=[retriever, retriever], limit=100, min_score=middle))
        assert set(ids_of(both)) == set(ids_of(near))

    def test_exclude_leaves_out(self, store: Store, filled: list[Point], collection: str) -> None:
        out = [point.id for point in filled[:50]]
        retrievers = [Retriever(using=TEXT, vector=vector(5)), Retriever(using=IMAGE, vector=vector(6))]
        for some in ([], retrievers[:1], retrievers):
            found = store.query(collection, Query(retrievers=some, limit=100, exclude=out))
            assert {hit.id for hit in found} == {point.id for point in filled[50:]}

    def test_a_product_of_many_images_is_as_near_as_the_nearest(self, store: Store, name: str) -> None:
        store.create(name, replace(SCHEMA, multiple_images=True))
        points = [product(n, vectors={TEXT: vector(n), IMAGE: vector(n, 1 + n % 4)}) for n in range(20)]
        store.put(name, points)
        query = vector(123)
        found = store.query(name, Query(retrievers=[Retriever(using=IMAGE, vector=query)], limit=30))
        best = {point.id: float((point.vectors[IMAGE] @ query).max()) for point in points}
        assert ids_of(found) == sorted(best, key=best.__getitem__, reverse=True)
        assert found[0].score == pytest.approx(max(best.values()), abs=1e-5)
        kept = store.get(name, [points[3].id], vectors=True)[points[3].id]
        np.testing.assert_allclose(kept.vectors[IMAGE], points[3].vectors[IMAGE], atol=1e-6)
        store.destroy(name)
