"""The contract of a store: words, which rank and filter."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from clip_search.stores.base import TERMS, Condition, Query, Retriever, Store
from clip_search.types import TEXT, WORDS, Words

from .collections import Collections
from .points import ids_of, product, vector, with_words

SHOP = [
    {"mug": 1.0, "red": 1.0},
    {"mug": 2.0, "blue": 1.0},
    {"mug": 1.0, "teapot": 1.0},
    {"bowl": 1.0, "red": 1.0},
    {"mug": 1.0, "gift": 1.0},
]
"""The weights of the words of products 0 to 4."""


class WordSearch(Collections):
    """Rankings by words, and conditions on terms."""

    @pytest.fixture
    def worded(self, store: Store, collection: str) -> str:
        """Return a collection with the products of `SHOP`, and one without words."""
        store.put(
            collection, [*(with_words(n, weights, f"^{n}") for n, weights in enumerate(SHOP)), product(5)]
        )
        return collection

    def ranked(
        self, store: Store, collection: str, query: Mapping[str, float], **options: object
    ) -> list[int]:
        """Return the numbers of the products that these words find, best first."""
        retriever = Retriever(using=WORDS, vector=query)
        (ranking,) = store.rank(collection, [Query(retriever=retriever, limit=100, **options)])  # type: ignore[arg-type]
        return [self.number(rank.id) for rank in ranking]

    @staticmethod
    def number(id_: object) -> int:
        return next(number for number in range(10) if product(number).id == id_)

    # Rankings.

    def test_a_rare_word_counts_more_than_a_frequent_one(self, store: Store, worded: str) -> None:
        found = self.ranked(store, worded, {"mug": 1.0, "teapot": 1.0})
        assert found[0] == 2  # it has both
        assert set(found) == {0, 1, 2, 4}
        assert self.ranked(store, worded, {"mug": 1.0, "bowl": 1.0})[0] == 3

    def test_weights_count_on_both_sides(self, store: Store, worded: str) -> None:
        assert self.ranked(store, worded, {"mug": 1.0})[0] == 1
        red_first = self.ranked(store, worded, {"red": 5.0, "blue": 0.1})
        assert set(red_first[:2]) == {0, 3}
        assert red_first[2] == 1

    def test_words_nobody_has_find_nothing(self, store: Store, worded: str) -> None:
        assert self.ranked(store, worded, {"asdfgh": 1.0}) == []
        assert self.ranked(store, worded, {"asdfgh": 1.0, "teapot": 1.0}) == [2]

    def test_words_and_conditions(self, store: Store, worded: str) -> None:
        red = Condition(key=TERMS, operator="eq", value="red")
        assert self.ranked(store, worded, {"mug": 1.0}, conditions=[red]) == [0]

    def test_words_are_ranked_beside_other_vectors(self, store: Store, worded: str) -> None:
        words = Query(retriever=Retriever(using=WORDS, vector={"teapot": 1.0}))
        text = Query(retriever=Retriever(using=TEXT, vector=vector(3)))
        by_words, by_text = store.rank(worded, [words, text])
        assert ids_of(by_words) == [product(2).id]
        assert by_text[0].id == product(3).id
        assert len(by_text) == 6
        (hit,) = store.query(worded, words)
        assert (hit.id, hit.score) == (by_words[0].id, pytest.approx(by_words[0].score))

    def test_the_lowest_score(self, store: Store, worded: str) -> None:
        query = Query(retriever=Retriever(using=WORDS, vector={"mug": 1.0, "blue": 1.0}))
        (ranking,) = store.rank(worded, [query])
        lowest = (ranking[0].score + ranking[1].score) / 2
        assert self.ranked(store, worded, {"mug": 1.0, "blue": 1.0}, min_score=lowest) == [1]

    # Conditions.

    @pytest.mark.parametrize(
        ("operator", "value", "expected"),
        [
            ("eq", "red", {0, 3}),
            ("eq", "^4", {4}),
            ("in", ["red", "teapot"], {0, 2, 3}),
            ("in", [], set()),
            ("all", ["mug", "red"], {0}),
            ("any", ["blue", "bowl"], {1, 3}),
        ],
    )
    @pytest.mark.parametrize("negated", [False, True])
    def test_terms(
        self, store: Store, worded: str, operator: str, value: object, expected: set[int], negated: bool
    ) -> None:
        if operator in ("all", "any"):
            assert isinstance(value, list)
            value = [Condition(key=TERMS, operator="eq", value=term) for term in value]
        condition = Condition(key=TERMS, operator=operator, value=value, negated=negated)  # type: ignore[arg-type]
        found = store.query(worded, Query(conditions=[condition]))
        right = set(range(6)) - expected if negated else expected
        assert {self.number(hit.id) for hit in found} == right
        assert store.count(worded, conditions=[condition]) == len(right)

    # Writing.

    def test_words_are_not_read_back(self, store: Store, collection: str) -> None:
        point = with_words(1, {"mug": 1.0}, payload={"category": "mug", TERMS: ["mine"]})
        store.put(collection, [point])
        (found,) = store.scroll(collection)
        (hit,) = store.query(collection, Query())
        assert found.payload == hit.payload == {"category": "mug"}
        for read in (store.get(collection, [point.id], vectors=True), store.get(collection, [point.id])):
            assert read[point.id].payload == {"category": "mug"}
            assert WORDS not in read[point.id].vectors
            assert read[point.id].words == Words()
        consistent = store.get_consistent(collection, [point.id])[point.id]
        searched = store.get_for_search(collection, point.id)
        assert searched
        assert consistent.payload == searched.payload == {"category": "mug"}
        assert WORDS not in searched.vectors

    def test_a_payload_cannot_write_terms(self, store: Store, collection: str) -> None:
        store.put(collection, [product(1, payload={TERMS: ["mug"]})])
        condition = Condition(key=TERMS, operator="eq", value="mug")
        assert store.count(collection, conditions=[condition]) == 0

    def test_words_are_replaced_with_the_point(self, store: Store, worded: str) -> None:
        store.put(worded, [with_words(2, {"jug": 1.0}, revision=2), with_words(0, {"late": 1.0})])
        assert self.ranked(store, worded, {"teapot": 1.0}) == []
        assert self.ranked(store, worded, {"jug": 1.0}) == [2]
        assert self.ranked(store, worded, {"late": 1.0}) == []  # its revision is that of the stored point
        terms = [Condition(key=TERMS, operator="in", value=["teapot", "late"])]
        assert store.count(worded, conditions=terms) == 0

    def test_a_tombstone_has_no_words(self, store: Store, worded: str) -> None:
        store.drop(worded, [with_words(2, {"teapot": 1.0}, revision=2)])
        assert self.ranked(store, worded, {"teapot": 1.0}) == []
        terms = [Condition(key=TERMS, operator="eq", value="teapot")]
        assert store.query(worded, Query(conditions=terms)) == []
