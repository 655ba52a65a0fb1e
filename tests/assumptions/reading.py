"""What is assumed of reads."""

from __future__ import annotations

import uuid

from qdrant_client import models

from .trial import DIMENSION, POINTS, REVISION, Trial, assumption, expect, nearest, point, stored, write


@assumption
def the_server_tells_its_version(trial: Trial) -> str:
    """The version is two numbers at least, and 1.18 or later: older ones cannot add words to a collection.

    Relied on by clip_search.stores.server.
    """
    version = trial.first.info().version
    expect(tuple(map(int, version.split(".")[:2])) >= (1, 18), version)
    return version


@assumption
def what_was_written_is_read_at_once(trial: Trial) -> None:
    """After the answer to a write, every kind of read sees its points.

    Relied on by clip_search.indexing.pipeline and clip_search.api.views.
    """
    name = trial.collection()
    write(trial.first, name, [point(1)])
    read = {
        "retrieve": trial.first.retrieve(name, [point(1).id]),
        "scroll": trial.first.scroll(name)[0],
        "query": nearest(trial.first, name, [1.0] * DIMENSION),
    }
    for how, found in read.items():
        expect(len(found) == 1, f"{len(found)} points by {how}")
    count = trial.first.count(name, exact=True).count
    expect(count == 1, f"a count of {count}")


@assumption
def ids_that_are_not_stored_are_left_out(trial: Trial) -> None:
    """To ask for ids returns the points that there are, and is no error if some are missing.

    Relied on by clip_search.stores.server.
    """
    name = trial.collection()
    write(trial.first, name, [point(1)])
    found = trial.first.retrieve(name, [point(number).id for number in (1, 2)])
    expect([record.id for record in found] == [point(1).id], found)


@assumption
def scroll_goes_by_id_from_the_one_that_is_given(trial: Trial) -> None:
    """Pages are in the order of the ids, and begin at the given id, stored or not.

    Relied on by clip_search.stores.qdrant and clip_search.indexing.comparing.
    """
    name = trial.collection()
    write(trial.first, name, [point(number) for number in (9, 1, 5, 7)])
    for start, right in ((5, [5, 7]), (2, [5, 7]), (8, [9])):
        records, _ = trial.first.scroll(name, offset=str(uuid.UUID(int=start)), limit=2)
        got = [uuid.UUID(str(record.id)).int for record in records]
        expect(got == right, f"{got} from {start} on")


@assumption
def a_query_for_nothing_goes_by_id(trial: Trial) -> None:
    """Without a vector to search near, points are in the order of their ids, and offsets count in it.

    Relied on by clip_search.stores.qdrant.
    """
    name = trial.collection()
    write(trial.first, name, [point(number) for number in (9, 1, 5, 7)])
    requests = [models.QueryRequest(offset=offset, limit=2) for offset in (0, 2)]
    answers = trial.first.query_batch_points(name, requests)
    got = [[uuid.UUID(str(found.id)).int for found in answer.points] for answer in answers]
    expect(got == [[1, 5], [7, 9]], got)


@assumption
def a_page_has_only_the_chosen_keys_and_vectors(trial: Trial) -> None:
    """Payload keys can be chosen or left out, and vectors be chosen by name.

    Relied on by clip_search.stores.server, which reads no words, and only the values that an order needs.
    """
    name = trial.collection()
    write(trial.first, name, [point(1, price=5, _terms=["mug"] * 100)])
    without = models.PayloadSelectorExclude(exclude=["_terms"])
    (record,) = trial.first.retrieve(name, [point(1).id], without, with_vectors=["text"])
    expect(set(record.payload or {}) == {"_clip", "price"}, record.payload)
    expect(isinstance(record.vector, dict) and set(record.vector) == {"text"}, record.vector)
    only = models.PayloadSelectorInclude(include=["price", "nothing"])
    (record,) = trial.first.scroll(name, with_payload=only)[0]
    expect(record.payload == {"price": 5}, record.payload)
    none = models.PayloadSelectorInclude(include=[])
    (record,) = trial.first.scroll(name, with_payload=none)[0]
    expect(not record.payload, record.payload)


@assumption
def a_facet_of_a_bool_has_bools(trial: Trial) -> None:
    """The values of a facet are true and false if its key has an index of bools.

    Relied on by clip_search.stores.qdrant.
    """
    name = trial.collection(indexes={"in_stock": "bool"})
    write(trial.first, name, [point(number, in_stock=number > 1) for number in (1, 2, 3)])
    hits = trial.first.facet(name, "in_stock", limit=10, exact=True).hits
    got = {hit.value: hit.count for hit in hits}
    expect(got == {True: 2, False: 1} and all(isinstance(value, bool) for value in got), got)


@assumption
def exact_counts_are_exact(trial: Trial) -> None:
    """With `exact`, counts and facets are those of the points, also after points were replaced.

    Relied on by clip_search.stores.server and clip_search.searching.results.
    """
    name = trial.collection(indexes={"colour": "keyword"})
    for revision in (1, 2):
        colours = ("red", "blue", "green") if revision == 2 else ("grey",)
        points = [point(n, revision, colour=colours[n % len(colours)]) for n in POINTS]
        write(trial.first, name, points)
    count = trial.first.count(name, exact=True).count
    expect(count == len(POINTS), f"a count of {count} for {len(POINTS)} points")
    hits = trial.first.facet(name, "colour", limit=10, exact=True).hits
    got = {str(hit.value): hit.count for hit in hits}
    expect(got == {"red": len(POINTS) // 3, "blue": len(POINTS) // 3, "green": len(POINTS) // 3}, got)


@assumption
def read_consistency_all_returns_what_replicas_agree_on(trial: Trial) -> None:
    """With consistency `all`, retrieve returns every point that all replicas have, with vectors.

    Relied on by clip_search.indexing.comparing.
    """
    name = trial.collection(replication_factor=len(trial.urls))
    write(trial.first, name, [point(number) for number in POINTS])
    found = stored(trial.first, name, consistency=models.ReadConsistencyType.ALL)
    expect(len(found) == len(POINTS), f"{len(found)} of {len(POINTS)} points")
    expect(all(record.vector for record in found.values()), "points without vectors")


@assumption
def points_without_a_key_are_found(trial: Trial) -> None:
    """A filter by an empty key finds the points that do not have it: what somebody else has written.

    Relied on by clip_search.stores.server and clip_search.stores.identity.
    """
    name = trial.collection()
    strange = point(2)
    strange.payload = {"word": "strange"}
    write(trial.first, name, [point(1)])
    upsert = models.UpsertOperation(upsert=models.PointsList(points=[strange]))
    trial.first.batch_update_points(name, [upsert], wait=True)
    where = models.Filter(must=[models.FieldCondition(key=REVISION, is_empty=True)])
    records, _ = trial.first.scroll(name, scroll_filter=where)
    expect([record.id for record in records] == [strange.id], records)
