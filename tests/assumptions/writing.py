"""What is assumed of writes."""

from __future__ import annotations

import http.client
import json
import time
from urllib.parse import urlsplit

from qdrant_client import models

from .trial import (
    DIMENSION,
    REVISION,
    NotTried,
    Trial,
    assumption,
    expect,
    nearest,
    point,
    revisions,
    size,
    stored,
    write,
)


@assumption
def a_conditional_upsert_inserts_a_missing_point(trial: Trial) -> None:
    """A point that is not stored is inserted, though it meets no condition.

    Relied on by clip_search.stores.qdrant and tests.doubles.qdrant_stub.
    """
    name = trial.collection()
    write(trial.first, name, [point(1, 5)])
    got = revisions(trial.first, name)
    expect(got == {1: 5}, got)


@assumption
def an_upsert_that_is_not_newer_changes_nothing(trial: Trial) -> None:
    """A stored point of an equal or a higher revision stays as it is, and the answer is no error.

    Relied on by clip_search.stores.qdrant, clip_search.indexing.writing and tests.doubles.qdrant_stub.
    """
    name = trial.collection()
    write(trial.first, name, [point(1, 5, word="old")])
    for revision in (5, 4):
        write(trial.first, name, [point(1, revision, word="new")])
    payload = stored(trial.first, name)[1].payload
    expect(payload and payload["word"] == "old", payload)


@assumption
def a_condition_is_judged_for_each_point(trial: Trial) -> None:
    """Of the points of one operation, those that are newer are written, and the others stay.

    Relied on by clip_search.stores.qdrant.
    """
    name = trial.collection()
    write(trial.first, name, [point(1, 3)])
    write(trial.first, name, [point(2, 9)])
    write(trial.first, name, [point(number, 5) for number in (1, 2, 3)])
    got = revisions(trial.first, name)
    expect(got == {1: 5, 2: 9, 3: 5}, got)


@assumption
def a_newer_upsert_replaces_the_whole_point(trial: Trial) -> None:
    """Vectors and payload keys that a newer point does not have are gone; nothing is merged.

    Relied on by clip_search.indexing.writing.
    """
    name = trial.collection()
    write(trial.first, name, [point(1, 1, colour="red", sizes=[1])])
    newer = point(1, 2, colour="blue")
    assert isinstance(newer.vector, dict)
    del newer.vector["image"]
    write(trial.first, name, [newer])
    found = stored(trial.first, name)[1]
    expect(isinstance(found.vector, dict) and set(found.vector) == {"text"}, found.vector)
    expect(found.payload == newer.payload, found.payload)


@assumption
def a_tombstone_has_a_revision_and_no_vectors(trial: Trial) -> None:
    """A point without vectors replaces one that has them, keeps its payload, and no search finds it.

    Relied on by clip_search.stores.qdrant and clip_search.stores.base.
    """
    name = trial.collection()
    write(trial.first, name, [point(1, 1)])
    write(trial.first, name, [point(1, 1, removed=True)], or_equal=True)
    found = stored(trial.first, name)[1]
    expect(not found.vector and found.payload, found)
    hits = nearest(trial.first, name, [1.0] * DIMENSION)
    expect(not hits, hits)


@assumption
def operations_of_one_request_are_applied_in_their_order(trial: Trial) -> None:
    """Of two operations for one point in one request, the second meets what the first has written.

    Relied on by clip_search.stores.qdrant.
    """
    name = trial.collection()
    operations = []
    for revision in (1, 2, 1):
        where = models.Filter(must=[models.FieldCondition(key=REVISION, range=models.Range(lt=revision))])
        points = models.PointsList(points=[point(1, revision)], update_filter=where)
        operations.append(models.UpsertOperation(upsert=points))
    trial.first.batch_update_points(name, operations, wait=True)
    got = revisions(trial.first, name)
    expect(got == {1: 2}, got)


@assumption
def one_bad_point_refuses_its_request_and_not_the_others_alone(trial: Trial) -> str:
    """A request with one bad point is refused; some of its points may be written; each alone is accepted.

    Relied on by clip_search.stores.server and clip_search.indexing.writing, which halve and go on.
    """
    name = trial.collection()
    bad = point(2)
    bad.vector = {"text": [1.0] * (DIMENSION + 1)}
    refused = trial.refusal(lambda: write(trial.first, name, [point(1), bad, point(3)]))
    at_once = sorted(revisions(trial.first, name))
    for number in (1, 3):
        write(trial.first, name, [point(number)])
    got = revisions(trial.first, name)
    expect(got == {1: 1, 3: 1}, f"{got} after {refused}")
    return f"written with the refused request: {at_once or 'none'}"


@assumption
def a_write_that_is_sent_again_leaves_one_point(trial: Trial) -> str:
    """A client that leaves before the answer may have written or not; the same write again makes it whole.

    Relied on by clip_search.stores.server, which repeats a write that timed out at another node, and by
    clip_search.indexing.writing, which writes again what was broken off.
    """
    if trial.grpc_ports:
        raise NotTried("the connection is broken off over HTTP only")
    name = trial.collection()
    parts = urlsplit(trial.urls[0])
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(
        parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 6333), timeout=60
    )
    where = {"must": [{"key": REVISION, "range": {"lt": 1}}]}
    upsert = {"points": [point(1).model_dump(mode="json")], "update_filter": where}
    headers = {"Content-Type": "application/json"} | ({"api-key": trial.api_key} if trial.api_key else {})
    path = f"{parts.path.rstrip('/')}/collections/{name}/points/batch?wait=true"
    connection.request("POST", path, json.dumps({"operations": [{"upsert": upsert}]}), headers)
    connection.close()
    deadline = time.monotonic() + 1
    while not (arrived := revisions(trial.first, name)) and time.monotonic() < deadline:
        time.sleep(0.05)
    write(trial.first, name, [point(1)])
    got = revisions(trial.first, name)
    expect(got == {1: 1}, got)
    return "it had been carried out" if arrived else "it had not been carried out"


@assumption
def a_delete_by_filter_takes_only_what_meets_it(trial: Trial) -> None:
    """Points are deleted by their ids and a condition at once: living ones of these ids stay.

    Relied on by clip_search.stores.qdrant.
    """
    name = trial.collection()
    write(trial.first, name, [point(1), point(2, removed=True), point(3, removed=True)])
    gone = models.FieldCondition(key="_clip.removed", match=models.MatchValue(value=True))
    ids = models.HasIdCondition(has_id=[point(number).id for number in (1, 2)])
    selector = models.FilterSelector(filter=models.Filter(must=[ids, gone]))
    trial.first.batch_update_points(name, [models.DeleteOperation(delete=selector)], wait=True)
    got = sorted(stored(trial.first, name))
    expect(got == [1, 3], got)


@assumption
def a_collection_keeps_its_metadata(trial: Trial) -> None:
    """The server tells of a collection the metadata with which it was created, and its vectors by name.

    Relied on by clip_search.stores.identity and clip_search.indexing.leftovers.
    """
    mark = {"clip_search": {"installation": "shop", "database": "1"}}
    name = trial.collection(metadata=mark)
    config = trial.first.get_collection(name).config
    expect(config.metadata == mark, config.metadata)
    vectors = config.params.vectors
    sizes = {key: vector.size for key, vector in vectors.items()} if isinstance(vectors, dict) else vectors
    expect(sizes == {"text": DIMENSION, "image": DIMENSION}, sizes)


@assumption
def a_collection_is_made_once(trial: Trial) -> None:
    """To make a collection that exists is refused, and to make an index that exists is not.

    Relied on by clip_search.stores.server and clip_search.indexing.collections, which try again after a
    failure.
    """
    name = trial.collection()
    refused = trial.refusal(lambda: trial.first.create_collection(name, vectors_config={"text": size()}))
    expect("already exists" in refused.message, refused)
    trial.first.create_payload_index(name, REVISION, models.PayloadSchemaType.INTEGER, wait=True)
    keys = trial.first.get_collection(name).payload_schema
    expect(REVISION in keys, keys)


@assumption
def a_collection_that_is_not_there_is_no_error_to_ask_for_or_remove(trial: Trial) -> None:
    """`exists` answers False, and to delete what is not there is answered, or refused as missing.

    Relied on by clip_search.stores.server.
    """
    name = trial.collection()
    trial.first.delete_collection(name)
    expect(trial.first.collection_exists(name) is False, "True")
    expect(name not in [c.name for c in trial.first.get_collections().collections], "its name in the list")
    trial.first.delete_collection(name)
