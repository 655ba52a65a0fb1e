"""What is assumed of the statuses and bodies with which a server refuses a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qdrant_client import QdrantClient, models

from clip_search.exceptions import (
    AccessDenied,
    ClipSearchError,
    CollectionMismatch,
    CollectionMissing,
    SetupError,
)

from .trial import DIMENSION, NAMES, NotTried, Refusal, Trial, assumption, expect, nearest, point, size, write

VECTOR = [1.0] * DIMENSION


def reads(client: QdrantClient, name: str) -> dict[str, Callable[[], Any]]:
    """Return the requests that the package sends to a collection, by name."""
    return {
        "retrieve": lambda: client.retrieve(name, [point(1).id]),
        "scroll": lambda: client.scroll(name),
        "query": lambda: nearest(client, name, VECTOR),
        "count": lambda: client.count(name),
        "facet": lambda: client.facet(name, "colour"),
        "get_collection": lambda: client.get_collection(name),
    }


@assumption
def a_missing_collection_is_named(trial: Trial) -> str:
    """Every request to a collection that is not there is 404 (NOT_FOUND), with its name in the message.

    Relied on by clip_search.stores.server_errors; clip_search.indexing.pipeline then makes it again.
    """
    name = f"{NAMES}missing"
    calls = reads(trial.first, name) | {"write": lambda: write(trial.first, name, [point(1)])}
    refused = Refusal("", "", ClipSearchError)
    for request, call in calls.items():
        refused = trial.refusal(call, name)
        expect(refused.kind is CollectionMissing, f"{refused} for {request}")
    return str(refused)


@assumption
def another_dimension_is_said(trial: Trial) -> str:
    """A vector of another length is refused with 400 and the word "dimension", in writes and in searches.

    Relied on by clip_search.stores.qdrant.
    """
    name = trial.collection()
    wrong = point(1)
    wrong.vector = {"text": [*VECTOR, 1.0]}
    refused = trial.refusal(lambda: write(trial.first, name, [wrong]), name)
    expect(refused.kind is CollectionMismatch, f"{refused} for a write")
    search = trial.refusal(lambda: nearest(trial.first, name, [*VECTOR, 1.0]), name)
    expect(search.kind is CollectionMismatch, f"{search} for a search")
    return str(refused)


@assumption
def a_collection_with_an_unnamed_vector_refuses_named_ones(trial: Trial) -> str:
    """Somebody else's collection with one unnamed vector refuses our writes and searches by 400.

    Relied on by clip_search.stores.qdrant and clip_search.stores.identity.
    """
    name = trial.collection(vectors=size())
    refused = trial.refusal(lambda: write(trial.first, name, [point(1)]), name)
    expect(refused.kind is CollectionMismatch, f"{refused} for a write")
    search = trial.refusal(lambda: nearest(trial.first, name, VECTOR), name)
    expect(search.kind is CollectionMismatch, f"{search} for a search")
    vectors = trial.first.get_collection(name).config.params.vectors
    expect(not isinstance(vectors, dict), f"vectors told as {vectors}")
    return str(refused)


@assumption
def a_facet_without_an_index_is_said(trial: Trial) -> str:
    """A facet of a key that has no index is refused with 400 and the word "index".

    Relied on by clip_search.stores.qdrant.
    """
    name = trial.collection()
    refused = trial.refusal(lambda: trial.first.facet(name, "nowhere", exact=True), name)
    expect(refused.kind is SetupError and "index" in refused.message.lower(), refused)
    return str(refused)


@assumption
def strict_mode_refuses_a_filter_without_an_index(trial: Trial) -> str:
    """With `unindexed_filtering_retrieve: false`, a filter by a key without an index is 400 and says "index".

    Relied on by clip_search.stores.qdrant, which makes an index for every filter.
    """
    strict = models.StrictModeConfig(enabled=True, unindexed_filtering_retrieve=False)
    name = trial.collection(strict_mode_config=strict)
    where = models.Filter(must=[models.FieldCondition(key="nowhere", match=models.MatchValue(value="a"))])
    refused = trial.refusal(lambda: trial.first.count(name, count_filter=where, exact=False), name)
    expect(refused.kind is SetupError and "index" in refused.message.lower(), refused)
    write(trial.first, name, [point(1)])  # our own condition has an index
    return str(refused)


@assumption
def strict_mode_refuses_exact_counts_and_gives_approximate_ones(trial: Trial) -> str:
    """With `search_allow_exact: false`, exact counts and facets are refused; approximate ones are given.

    Relied on by clip_search.stores.server.
    """
    strict = models.StrictModeConfig(enabled=True, search_allow_exact=False)
    name = trial.collection(indexes={"colour": "keyword"}, strict_mode_config=strict)
    write(trial.first, name, [point(1, colour="red")])
    refused = trial.refusal(lambda: trial.first.count(name, exact=True), name)
    facet = trial.refusal(lambda: trial.first.facet(name, "colour", exact=True), name)
    for refusal in (refused, facet):
        expect("Exact search disabled" in refusal.message, refusal)
    trial.first.count(name, exact=False)
    trial.first.facet(name, "colour", exact=False)
    return str(refused)


@assumption
def a_wrong_key_is_401(trial: Trial) -> str:
    """Without a key, or with a wrong one, every request but that for the version is 401 (UNAUTHENTICATED).

    Relied on by clip_search.stores.server_errors and clip_search.api.errors.
    """
    if not trial.api_key:
        raise NotTried("needs --api-key, and a server that asks for it")
    for key in (None, "wrong"):
        client = trial.client(0, key)
        try:
            refused = trial.refusal(client.get_collections)
            expect(refused.kind is AccessDenied and refused.status in ("401", "UNAUTHENTICATED"), refused)
        finally:
            client.close()
    return str(refused)


@assumption
def a_read_only_key_reads_and_its_writes_are_403(trial: Trial) -> str:
    """With a read-only key, reads are answered, and writes are 403 (PERMISSION_DENIED).

    Relied on by clip_search.stores.server_errors.
    """
    if not trial.read_only_key:
        raise NotTried("needs --read-only-key")
    name = trial.collection(indexes={"colour": "keyword"})
    client = trial.client(0, trial.read_only_key)
    try:
        for call in reads(client, name).values():
            call()
        writes = {
            "write": lambda: write(client, name, [point(1)]),
            "create": lambda: client.create_collection(f"{name}-2", vectors_config={"text": size()}),
        }
        for request, call in writes.items():
            refused = trial.refusal(call, name)
            right = refused.kind is AccessDenied and refused.status in ("403", "PERMISSION_DENIED")
            expect(right, f"{refused} for {request}")
    finally:
        client.close()
    return str(refused)
