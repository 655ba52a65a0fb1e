"""What is assumed of words: sparse vectors that rank, and lists of terms that filter."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from qdrant_client import models

from clip_search.exceptions import SetupError

from .trial import DIMENSION, Trial, assumption, expect, point, stored, write

IDF = models.Modifier.IDF
SPARSE: dict[str, Any] = {"sparse_vectors_config": {"words": models.SparseVectorParams(modifier=IDF)}}
MUG, RED, TEAPOT, BOWL = 3, 5, 7, 4_000_000_000
SHOP: dict[int, Mapping[int, float]] = {
    1: {MUG: 1.0, RED: 1.0},
    2: {MUG: 2.0},
    3: {MUG: 1.0, TEAPOT: 1.0},
    4: {RED: 1.0, BOWL: 1.0},
}
"""The weights of the words of each point, by their numbers."""


def sparse(weights: Mapping[int, float]) -> models.SparseVector:
    return models.SparseVector(indices=list(weights), values=list(weights.values()))


def worded(
    number: int, weights: Mapping[int, float], revision: int = 1, **payload: Any
) -> models.PointStruct:
    """Return a point that has words, too."""
    one = point(number, revision, **payload)
    assert isinstance(one.vector, dict)
    one.vector["words"] = sparse(weights)
    return one


def near(weights: Mapping[int, float]) -> models.QueryRequest:
    return models.QueryRequest(query=sparse(weights), using="words", limit=100)


def ranked(trial: Trial, name: str, *requests: models.QueryRequest) -> list[list[int]]:
    """Return the numbers of the points that each query of one request finds, best first."""
    answers = trial.first.query_batch_points(name, list(requests))
    return [[uuid.UUID(str(found.id)).int for found in answer.points] for answer in answers]


@assumption
def rare_words_count_more_than_frequent_ones(trial: Trial) -> None:
    """A sparse vector with the IDF modifier ranks by weight × weight × rarity, and finds only common words.

    Relied on by clip_search.stores.server.
    """
    name = trial.collection(**SPARSE)
    write(trial.first, name, [worded(number, weights) for number, weights in SHOP.items()])
    got = ranked(trial, name, near({MUG: 1.0}), near({MUG: 1.0, TEAPOT: 1.0}), near({MUG: 1.0, BOWL: 1.0}))
    expect(got[0][0] == 2 and set(got[0]) == {1, 2, 3}, got[0])
    expect(got[1][0] == 3, got[1])
    expect(got[2][0] == 4 and set(got[2]) == {1, 2, 3, 4}, got[2])
    expect(ranked(trial, name, near({99: 1.0})) == [[]], "points without the word")


@assumption
def words_are_added_to_a_collection_with_points(trial: Trial) -> None:
    """A sparse vector is added to a collection that exists, once or again, and its points keep all they have.

    Relied on by clip_search.stores.server: an index of an earlier version gets its words without a rebuild.
    """
    name = trial.collection()
    write(trial.first, name, [point(number, colour="red") for number in SHOP])
    before = stored(trial.first, name)
    words = models.SparseVectorNameConfig(sparse=models.SparseVectorConfig(modifier=IDF))
    for _ in range(2):
        trial.first.create_vector_name(name, "words", words)
    after = stored(trial.first, name)
    expect(after == before, f"{after} instead of {before}")
    params = trial.first.get_collection(name).config.params
    expect((params.sparse_vectors or {}).get("words", models.SparseVectorParams()).modifier == IDF, params)
    expect(isinstance(params.vectors, dict) and set(params.vectors) == {"text", "image"}, params.vectors)
    write(trial.first, name, [worded(number, weights, 2) for number, weights in SHOP.items()])
    got = ranked(trial, name, near({MUG: 1.0, TEAPOT: 1.0}))
    expect(got[0][0] == 3, got)


@assumption
def a_collection_without_words_says_so(trial: Trial) -> str:
    """Words for a collection that has no vector of this name are refused with 400 and the name.

    Relied on by clip_search.stores.qdrant, which then names the command that adds them.
    """
    name = trial.collection()
    refused = trial.refusal(lambda: write(trial.first, name, [worded(1, SHOP[1])]), name)
    search = trial.refusal(lambda: ranked(trial, name, near({MUG: 1.0})), name)
    for refusal in (refused, search):
        expect(refusal.kind is SetupError, refusal)
    return f"{refused}; {search}"


@assumption
def one_request_has_several_rankings(trial: Trial) -> None:
    """A batch of queries by different vectors, with filters of their own, is answered in its order.

    Relied on by clip_search.stores.server.
    """
    name = trial.collection(indexes={"colour": "keyword"}, **SPARSE)
    points = [worded(n, weights, colour="red" if n > 2 else "blue") for n, weights in SHOP.items()]
    write(trial.first, name, points)
    red = models.Filter(must=[models.FieldCondition(key="colour", match=models.MatchValue(value="red"))])
    text = models.QueryRequest(query=[1.0] * DIMENSION, using="text", filter=red, limit=100)
    by_words, by_text, too_high = ranked(
        trial, name, near({TEAPOT: 1.0}), text, text.model_copy(update={"score_threshold": 2.0})
    )
    expect(by_words == [3], by_words)
    expect(sorted(by_text) == [3, 4], by_text)
    expect(too_high == [], too_high)


@assumption
def one_item_of_a_list_is_enough_for_a_filter(trial: Trial) -> None:
    """A filter by a keyword, or by any of several, finds the points of which one item of the list is equal.

    Relied on by clip_search.stores.filters.
    """
    name = trial.collection(indexes={"_terms": "keyword"})
    terms = {1: ["mug", "red"], 2: ["mug"], 3: ["teapot"]}
    write(trial.first, name, [point(number, _terms=some) for number, some in terms.items()])
    for match, right in (
        (models.MatchValue(value="mug"), {1, 2}),
        (models.MatchAny(any=["red", "teapot"]), {1, 3}),
    ):
        where = models.Filter(must=[models.FieldCondition(key="_terms", match=match)])
        (got,) = ranked(trial, name, models.QueryRequest(filter=where, limit=100))
        expect(set(got) == right, got)
        count = trial.first.count(name, count_filter=where, exact=True).count
        expect(count == len(right), f"a count of {count}")
