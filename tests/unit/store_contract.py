"""What every store promises: one suite, subclassed in a few lines for each store."""

from __future__ import annotations

import random
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from clip_search.exceptions import CollectionMissing, SetupError
from clip_search.stores.base import CLIP, RRF_K, Condition, Query, Retriever, Schema, ScoredPoint, Store
from clip_search.types import IMAGE, TEXT, ImageStamp, Point, Stamp, point_id

DIMENSION = 16
FILTERS = {"category": "keyword", "tags": "keyword", "price": "number", "in_stock": "bool", "added": "date"}
SCHEMA = Schema(dimension=DIMENSION, filters=FILTERS)
START = datetime(2024, 1, 1, tzinfo=UTC)


def vector(seed: int, *shape: int) -> np.ndarray:
    """Return unit vectors that depend on the seed alone."""
    values = np.random.default_rng(seed).standard_normal((*shape, DIMENSION))
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def product(number: int, revision: int = 1, **changes: Any) -> Point:
    """Return product `number` with every kind of stamp, both vectors and no payload."""
    stamp = Stamp(
        product_id=f"p-{number}",
        revision=revision,
        fingerprint="model",
        text_hash=f"text {number} {revision}",
        images=(
            ImageStamp(signature="a.jpg 10 1.5", hash="abc"),
            ImageStamp(signature="b", hash="", error="x"),
        ),
        exact=(f"sku-{number}",),
    )
    vectors = {TEXT: vector(number), IMAGE: vector(number + 10_000)}
    return replace(Point(id=point_id("product", stamp.product_id), stamp=stamp, vectors=vectors), **changes)


def payload(number: int) -> dict[str, Any]:
    """Return a payload in which every value is missing, null or empty for some numbers."""
    values: dict[str, Any] = {
        "name": f"Émail nº {number}",
        "category": ["mug", "cup", "bowl"][number % 3],
        "tags": ["red", "blue", "gift", "sale"][number % 4 : number % 4 + number % 3],
        "price": number / 4 if number % 2 else number,
        "in_stock": number % 5 > 1,
        "added": (START + timedelta(hours=7 * number)).isoformat(),
    }
    for position, key in enumerate(FILTERS):
        if number % 11 == position:
            del values[key]
        elif number % 13 == position:
            values[key] = None
    return values


def shop(size: int = 60) -> list[Point]:
    """Return products with payloads; every seventh has no image vector."""
    points = [product(number, payload=payload(number)) for number in range(size)]
    return [
        replace(point, vectors={TEXT: point.vectors[TEXT]}) if number % 7 == 3 else point
        for number, point in enumerate(points)
    ]


def live(points: list[Point], using: str) -> list[Point]:
    return [point for point in points if using in point.vectors]


def ids_of(found: list[ScoredPoint]) -> list[uuid.UUID]:
    return [hit.id for hit in found]


def by_cosine(points: list[Point], retriever: Retriever) -> list[uuid.UUID]:
    scored = [
        (-float(p.vectors[retriever.using] @ retriever.vector), p.id) for p in live(points, retriever.using)
    ]
    return [id_ for _, id_ in sorted(scored)]


def by_rank(points: list[Point], retrievers: list[Retriever], depth: int) -> dict[uuid.UUID, float]:
    scores: dict[uuid.UUID, float] = {}
    for retriever in retrievers:
        for rank, id_ in enumerate(by_cosine(points, retriever)[:depth]):
            scores[id_] = scores.get(id_, 0) + 1 / (RRF_K - 1 + (rank + 1) / retriever.weight)
    return scores


def meets(values: dict[str, Any], condition: Condition) -> bool:
    """Say by hand what a condition means."""
    value = values.get(condition.key)
    items = [item for item in (value if isinstance(value, list) else [value]) if item is not None]
    wanted = condition.value
    if condition.operator == "all":
        return all(meets(values, each) for each in wanted) != condition.negated
    if condition.operator == "isnull":
        return ((not items) == wanted) != condition.negated
    if condition.key == "added":
        items, wanted = [datetime.fromisoformat(item) for item in items], datetime.fromisoformat(str(wanted))
    held = {
        "eq": lambda item: item == wanted,
        "in": lambda item: item in wanted,
        "gt": lambda item: item > wanted,
        "gte": lambda item: item >= wanted,
        "lt": lambda item: item < wanted,
        "lte": lambda item: item <= wanted,
    }[condition.operator]
    return any(held(item) for item in items) != condition.negated


def any_condition(rng: random.Random) -> Condition:
    """Return a condition of any kind on any key."""
    key = rng.choice(list(FILTERS))
    kind, negated = FILTERS[key], rng.random() < 0.3
    if rng.random() < 0.15:
        return Condition(key=key, operator="isnull", value=rng.random() < 0.5, negated=negated)
    if kind == "keyword":
        words = ["mug", "cup", "bowl", "red", "blue", "gift", "nothing"]
        if rng.random() < 0.5:
            return Condition(key=key, operator="eq", value=rng.choice(words), negated=negated)
        return Condition(key=key, operator="in", value=rng.sample(words, rng.randint(0, 3)), negated=negated)
    if kind == "bool":
        return Condition(key=key, operator="eq", value=rng.random() < 0.5, negated=negated)
    operator = rng.choice(["gt", "gte", "lt", "lte"])
    if kind == "date":
        moment = START + timedelta(hours=7 * rng.randint(0, 60))
        return Condition(key=key, operator=operator, value=moment.isoformat(), negated=negated)
    number = rng.choice([rng.randint(0, 60), rng.randint(0, 240) / 4])
    if rng.random() < 0.3:
        return Condition(key=key, operator="in", value=[number, number + 1], negated=negated)
    return Condition(key=key, operator=rng.choice([operator, "eq"]), value=number, negated=negated)


OPERATIONS: list[tuple[str, Any, Any]] = [
    ("category", "eq", "mug"),
    ("category", "in", ["mug", "bowl"]),
    ("category", "in", []),
    ("tags", "eq", "gift"),
    ("tags", "in", ["red", "sale"]),
    ("tags", "isnull", True),
    ("tags", "isnull", False),
    ("price", "eq", 8),
    ("price", "eq", 8.0),
    ("price", "eq", 4.75),
    ("price", "in", [8, 4.75]),
    ("price", "gt", 8),
    ("price", "gte", 8),
    ("price", "lt", 4.75),
    ("price", "lte", 4.75),
    ("price", "isnull", True),
    ("in_stock", "eq", True),
    ("in_stock", "eq", False),
    ("in_stock", "isnull", False),
    ("added", "gt", (START + timedelta(hours=70)).isoformat()),
    ("added", "gte", "2024-01-03T22:00:00Z"),
    ("added", "lt", "2024-01-04T00:00:00+02:00"),
    ("added", "lte", START + timedelta(hours=70)),
    ("added", "eq", START + timedelta(hours=70)),
    ("added", "isnull", True),
]


class StoreContract:
    """Subclass with a `store` fixture that gives an empty store."""

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

    # collections

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
            lambda store, name: store.query(
                name, Query(retrievers=[Retriever(using=TEXT, vector=vector(1))])
            ),
            lambda store, name: store.facet(name, "category"),
            lambda store, name: store.count(name),
        ],
    )
    def test_a_missing_collection_says_so(self, store: Store, name: str, ask: Any) -> None:
        with pytest.raises(CollectionMissing):
            ask(store, name)
        assert not store.exists(name)

    # points

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
                collection, Query(retrievers=[Retriever(using=TEXT, vector=np.ones(3, dtype=np.float32))])
            )

    # fences

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
        retrievers = [Retriever(using=TEXT, vector=vector(1)), Retriever(using=IMAGE, vector=vector(1))]
        assert ids_of(store.query(collection, Query(retrievers=retrievers[:1]))) == ids
        assert ids_of(store.query(collection, Query(retrievers=retrievers))) == ids
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
        assert ids_of(store.query(collection, Query(retrievers=[retriever]))) == [product(1).id]

    def test_purge_removes_tombstones_and_nothing_else(self, store: Store, collection: str) -> None:
        store.put(collection, [product(n) for n in range(3)])
        store.drop(collection, [product(n) for n in (0, 1)])
        store.purge(collection, [product(n).id for n in (0, 2, 9)])
        assert {point.id for point in store.scroll(collection)} == {product(1).id, product(2).id}
        assert store.count(collection) == 1

    # reading all

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

    def test_a_session_keeps_everything_working(self, store: Store, collection: str) -> None:
        with store.session(collection), store.session(collection):
            store.put(collection, [product(1)])
            assert store.count(collection) == 1
        assert store.count(collection) == 1

    # searching

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

    # conditions

    @pytest.mark.parametrize("negated", [False, True])
    def test_every_operator(self, store: Store, filled: list[Point], collection: str, negated: bool) -> None:
        with store.session(collection):
            for key, operator, value in OPERATIONS:
                condition = Condition(key=key, operator=operator, value=value, negated=negated)
                expected = {point.id for point in filled if meets(dict(point.payload), condition)}
                found = store.query(collection, Query(conditions=[condition], limit=100))
                assert set(ids_of(found)) == expected, condition
                assert store.count(collection, conditions=[condition]) == len(expected), condition

    @pytest.mark.parametrize("negated", [False, True])
    def test_all_of_several_conditions(
        self, store: Store, filled: list[Point], collection: str, negated: bool
    ) -> None:
        """Negated, at least one of them does not hold."""
        rng = random.Random(6)
        groups = [[any_condition(rng) for _ in range(rng.randint(1, 3))] for _ in range(40)]
        mug = Condition(key="category", operator="eq", value="mug")
        cheap = Condition(key="price", operator="lt", value=8)
        unknown = Condition(key="tags", operator="isnull", value=False, negated=True)
        inner = Condition(key="", operator="all", value=[mug, unknown], negated=True)
        groups += [[mug], [mug, cheap], [cheap, unknown], [cheap, inner]]
        in_stock = Condition(key="in_stock", operator="eq", value=True)
        with store.session(collection):
            for group in groups:
                condition = Condition(key="", operator="all", value=group, negated=negated)
                for conditions in ([condition], [in_stock, condition]):
                    expected = [p for p in filled if all(meets(dict(p.payload), c) for c in conditions)]
                    found = store.query(collection, Query(conditions=conditions, limit=100))
                    assert ids_of(found) == sorted(point.id for point in expected), conditions
                    assert store.count(collection, conditions=conditions) == len(expected), conditions
                names = [p.payload.get("category") for p in expected]
                counted = store.facet(collection, "category", conditions=conditions)
                assert counted == {value: names.count(value) for value in names if value}, conditions

    def test_a_tombstone_does_not_meet_all_negated(self, store: Store, collection: str) -> None:
        store.put(collection, [product(n, payload={"category": "mug"}) for n in (1, 2)])
        store.drop(collection, [product(1)])
        cups = [Condition(key="category", operator="eq", value=value) for value in ("mug", "cup")]
        no_cup = Condition(key="", operator="all", value=cups, negated=True)
        assert ids_of(store.query(collection, Query(conditions=[no_cup]))) == [product(2).id]
        assert store.count(collection, conditions=[no_cup]) == 1

    def test_dates_without_a_zone_are_utc(self, store: Store, collection: str) -> None:
        store.put(collection, [product(1, payload={"added": "2024-05-01"})])
        for value, operator in (
            ("2024-05-01T00:00:00Z", "gte"),
            ("2024-05-01", "lte"),
            ("2024-05-01 00:00", "gte"),
        ):
            assert (
                store.count(collection, conditions=[Condition(key="added", operator=operator, value=value)])
                == 1
            )

    def test_three_hundred_random_filters(self, store: Store, filled: list[Point], collection: str) -> None:
        rng = random.Random(4)
        retriever = Retriever(using=TEXT, vector=vector(5))
        with store.session(collection):
            for _ in range(300):
                conditions = [any_condition(rng) for _ in range(rng.randint(1, 3))]
                expected = [p for p in filled if all(meets(dict(p.payload), c) for c in conditions)]
                found = store.query(
                    collection, Query(retrievers=[retriever], conditions=conditions, limit=100)
                )
                assert ids_of(found) == by_cosine(expected, retriever), conditions
                assert store.count(collection, conditions=conditions) == len(expected), conditions

    # counting

    def test_facet_counts_values_and_list_items(
        self, store: Store, filled: list[Point], collection: str
    ) -> None:
        expected: dict[str, int] = {}
        for point in filled:
            for tag in point.payload.get("tags") or []:
                expected[tag] = expected.get(tag, 0) + 1
        found = store.facet(collection, "tags")
        assert found == expected
        assert list(found) == sorted(found, key=lambda tag: (-found[tag], tag))

    def test_facet_with_conditions_and_limit(
        self, store: Store, filled: list[Point], collection: str
    ) -> None:
        cheap = Condition(key="price", operator="lt", value=5)
        expected = [p.payload.get("category") for p in filled if meets(dict(p.payload), cheap)]
        found = store.facet(collection, "category", conditions=[cheap])
        assert found == {value: expected.count(value) for value in expected if value}
        assert (
            list(store.facet(collection, "category", conditions=[cheap], limit=1).items())
            == list(found.items())[:1]
        )

    def test_facet_excludes_some(self, store: Store, filled: list[Point], collection: str) -> None:
        expected = [p.payload.get("category") for p in filled[10:]]
        found = store.facet(collection, "category", exclude=[point.id for point in filled[:10]])
        assert found == {value: expected.count(value) for value in expected if value}

    @pytest.mark.parametrize("negated", [False, True])
    def test_who_has_a_vector(
        self, store: Store, filled: list[Point], collection: str, negated: bool
    ) -> None:
        has_image = Condition(key=IMAGE, operator="has_vector", value=True, negated=negated)
        expected = [p for p in filled if (IMAGE in p.vectors) != negated]
        found = store.query(collection, Query(conditions=[has_image], limit=100))
        assert ids_of(found) == sorted(point.id for point in expected)
        assert store.count(collection, conditions=[has_image]) == len(expected)
        names = [point.payload.get("category") for point in expected]
        counted = store.facet(collection, "category", conditions=[has_image])
        assert counted == {value: names.count(value) for value in names if value}

    def test_facet_of_nothing(self, store: Store, collection: str) -> None:
        assert store.facet(collection, "category") == {}
        assert store.count(collection) == 0
