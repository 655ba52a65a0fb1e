"""The contract of a store: conditions, and facets."""

from __future__ import annotations

import random

import pytest

from clip_search.stores.base import Condition, Query, Retriever, Store
from clip_search.types import IMAGE, TEXT, Point

from .collections import Collections
from .points import OPERATIONS, any_condition, by_cosine, ids_of, meets, product, vector


class Filtering(Collections):
    """Conditions, counts and facets."""

    # Conditions.

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
                found = store.query(collection, Query(retriever=retriever, conditions=conditions, limit=100))
                assert ids_of(found) == by_cosine(expected, retriever), conditions
                assert store.count(collection, conditions=conditions) == len(expected), conditions

    # Counting.

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

    def test_facet_of_a_bool(self, store: Store, filled: list[Point], collection: str) -> None:
        cheap = Condition(key="price", operator="lt", value=8)
        for conditions in ([], [cheap]):
            values = [
                p.payload.get("in_stock")
                for p in filled
                if all(meets(dict(p.payload), condition) for condition in conditions)
            ]
            found = store.facet(collection, "in_stock", conditions=conditions)
            assert found == {value: values.count(value) for value in (True, False)}
            assert {type(value) for value in found} == {bool}

    @pytest.mark.parametrize("negated", [False, True])
    def test_ids(self, store: Store, filled: list[Point], collection: str, negated: bool) -> None:
        for some in (filled[:20], []):
            ids = [point.id for point in some] + [product(999).id] * bool(some)
            among = Condition(key="", operator="id", value=ids, negated=negated)
            expected = sorted(point.id for point in filled if (point in some) != negated)
            assert ids_of(store.query(collection, Query(conditions=[among], limit=100))) == expected
            assert store.count(collection, conditions=[among]) == len(expected)

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
