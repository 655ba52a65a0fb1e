"""clip_verify."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from qdrant_client.models import PointStruct, Record

from clip_search.encoders import get_encoder
from clip_search.indexing.collections import schema
from clip_search.models import IndexEntry
from clip_search.posting import delete_product, post_product
from clip_search.stores import get_store
from clip_search.types import Point, Stamp
from tests.integration.searching.actions import counted
from tests.shops.shop.models import Category, Product

from .actions import DOCUMENT, State, collection, complain, make, run

pytestmark = pytest.mark.django_db


def orphan() -> Point:
    encoder = get_encoder()
    found = Point(
        id=DOCUMENT.point_id("gone-long-ago"),
        stamp=Stamp(product_id="gone-long-ago", revision=7, fingerprint=encoder.fingerprint),
        vectors={"text": encoder.embed_texts(["old"])[0]},
    )
    get_store().put(collection(), [found])
    return found


def test_verify_removes_what_the_database_does_not_know_and_makes_what_is_missing():
    made = make(3)
    run("clip_reindex")
    lost = DOCUMENT.point_id(str(made[0].pk))
    get_store().lose(collection(), lost)
    stray = orphan()
    said = complain("clip_verify", "product", "--dry-run")
    assert f"product {made[0].pk}: differs from the index" in said
    assert "product gone-long-ago: differs from the index" in said
    assert said.endswith("2 of product differ")
    assert get_store().get(collection(), [lost]) == {}
    said = run("clip_verify")
    assert "4 products: 1 embedded, 2 unchanged, 3 without image, 1 removed in" in said
    assert get_store().count(collection()) == 3
    assert get_store().get(collection(), [stray.id])[stray.id].stamp.removed
    assert run("clip_verify", "product", "--dry-run") == "product: 0 differ (dry run, nothing was changed)\n"


def test_verify_removes_a_point_whose_entry_says_removed():
    made = make(2)
    run("clip_reindex")
    Product.objects.filter(pk=made[0].pk)._raw_delete("default")
    IndexEntry.objects.filter(product_id=str(made[0].pk)).update(state=State.REMOVED)
    assert "1 removed" in run("clip_verify")
    assert get_store().count(collection()) == 1


@pytest.mark.parametrize(
    ("count", "said_at_the_end"), [(1, "1 differs"), (20, "20 differ"), (21, "21 differ"), (25, "25 differ")]
)
def test_the_first_differences_are_named_and_all_are_counted(count, said_at_the_end):
    made = make(count)
    dry = complain("clip_verify", "product", "--dry-run")
    assert dry.count(": differs from the index\n") == min(count, 20)
    assert ("… and 1 more\n" in dry, "… and 5 more\n" in dry) == (count == 21, count == 25)
    assert f"product: {said_at_the_end} (dry run, nothing was changed)\n" in dry
    verb = said_at_the_end.removeprefix(str(count))
    assert dry.endswith(f"\n{count} of product{verb}")
    said = run("clip_verify")
    assert said.count(": differs from the index\n") == min(count, 20)
    assert f"product: {said_at_the_end}\n" in said
    assert len(made) == get_store().count(collection())


# Replicas that differ.


def are_equal(cluster) -> bool:
    first, *others = [cluster.points(node, collection()) for node in range(len(cluster.replicas))]
    return all(other == first for other in others)


def lose_on(cluster, node: int, product: Product) -> None:
    """Let one node lose the point of a product."""
    cluster.replicas[node].delete(collection(), [str(DOCUMENT.point_id(str(product.pk)))])


@pytest.mark.parametrize("node", [0, 1])
def test_verify_writes_what_one_replica_lacks_and_embeds_nothing(cluster, node):
    made = make(4)
    run("clip_reindex")
    get_encoder().take()
    lose_on(cluster, node, made[0])
    said = complain("clip_verify", "product", "--dry-run")
    assert f"product {made[0].pk}: differs from the index\n" in said
    assert said.endswith("\n1 of product differs")
    run("clip_verify")
    assert are_equal(cluster)
    assert get_encoder().take() in ((0, 0), (1, 0))  # the latter if it reads the node that lost the point
    assert run("clip_verify", "product", "--dry-run") == "product: 0 differ (dry run, nothing was changed)\n"


@pytest.mark.parametrize("node", [0, 1])
def test_verify_mends_replicas_that_are_newer_than_a_restored_database(cluster, node):
    (product,) = make(1)
    run("clip_reindex")
    old = cluster.points(node, collection())
    for name in ("Table", "Stool", "Chair"):
        Product.objects.filter(pk=product.pk).update(name=name)
        run("clip_reindex")
    restore(cluster, node, old.values())
    IndexEntry.objects.update(revision=0, indexed_revision=0)
    cluster.reader = node
    run("clip_verify")
    assert are_equal(cluster)
    assert run("clip_verify", "product", "--dry-run") == "product: 0 differ (dry run, nothing was changed)\n"


def restore(cluster, node: int, records: Iterable[Record]) -> None:
    """Let one node have these points, whatever it has now."""
    points = [PointStruct(id=record.id, vector=record.vector, payload=record.payload) for record in records]
    cluster.replicas[node].upsert(collection(), points)


def test_verify_mends_a_removal_that_one_replica_missed(cluster):
    made = make(2)
    run("clip_reindex")
    alive = cluster.points(1, collection())
    key = str(DOCUMENT.point_id(str(made[0].pk)))
    made[0].delete()
    run("clip_reindex")
    restore(cluster, 1, [alive[key]])
    assert not are_equal(cluster)
    run("clip_verify")
    assert are_equal(cluster)
    assert cluster.points(1, collection())[key].payload["_clip"]["removed"]
    assert run("clip_verify", "product", "--dry-run") == "product: 0 differ (dry run, nothing was changed)\n"


def test_verify_says_once_that_replicas_cannot_be_compared(cluster):
    made = make(3)
    run("clip_reindex")
    Product.objects.filter(pk=made[0].pk).update(name="Table")
    cluster.down = {1}
    said = complain("clip_verify", "product", "--dry-run")
    assert said.count("replicas were not compared with each other: ") == 1
    assert said.endswith("1 of product differs")


# A snapshot of the store that was restored.


def test_verify_removes_what_a_restored_snapshot_brought_back(client):
    made = make(4)
    Product.objects.update(category=Category.objects.create(name="Seats", slug="seats"))
    posted = post_product("P-1", name="Posted chair")
    run("clip_reindex")
    store, name = get_store(), collection()
    ids = [entry.uuid for entry in IndexEntry.objects.all()]
    snapshot = store.get(name, ids, vectors=True)
    made[0].delete()
    Product.objects.filter(pk=made[1].pk).update(is_public=False)
    delete_product("P-1")
    run("clip_reindex")
    store.destroy(name)
    store.create(name, schema(DOCUMENT, get_encoder().dimension))
    words = DOCUMENT.analyser.words_of([("chair", 1.0)])
    store.put(name, [replace(point, words=words) for point in snapshot.values()])
    said = complain("clip_reindex")
    assert said.endswith(
        "the collection of product has 5 points, but 2 of its products are indexed: "
        "run `manage.py clip_verify product`"
    )
    assert posted.product_id in everything_found(client)
    run("clip_verify")
    left = sorted(str(product.pk) for product in made[2:])
    assert everything_found(client) == left
    assert DOCUMENT.declaration.search("chair").count() == 2
    assert counted(DOCUMENT.declaration.search("chair"), "category") == {"seats": 2}
    assert sorted(hit.product_id for hit in DOCUMENT.declaration.search("chair").hits()) == left
    assert run("clip_reindex").startswith("product: 2 products: 2 unchanged")


def everything_found(client) -> list[str]:
    """Return the product ids that an anonymous client finds."""
    results = client.get("/api/v1/search", {"q": "chair"}).json()["results"]
    return sorted(result["product_id"] for result in results)
