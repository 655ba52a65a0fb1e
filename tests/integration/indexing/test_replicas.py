"""A cluster with two replicas of everything: a write that was refused may have reached one of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

import pytest
from django.utils import timezone

from clip_search import posting
from clip_search.encoders import get_encoder
from clip_search.exceptions import StoreRefused, StoreUnavailable
from clip_search.indexing import comparing, pipeline
from clip_search.models import IndexEntry, PostedProduct
from clip_search.models.entries import IndexEntryQuerySet
from tests.chaos import oracle
from tests.doubles.qdrant_cluster import ClusterStub
from tests.shops.shop.models import Product

from .actions import DOCUMENT, Stalled, State, collection, due_now, entry, index

pytestmark = [pytest.mark.django_db, pytest.mark.sql]


@pytest.fixture
def chair(cluster) -> Product:
    """An indexed product."""
    product = Product.objects.create(name="Chair", sku="C")
    assert index().embedded == 1
    get_encoder().take()
    return product


def replicas(cluster: ClusterStub) -> list[dict[str, object]]:
    return [cluster.points(node, collection()) for node in range(len(cluster.replicas))]


def are_equal(cluster: ClusterStub) -> bool:
    first, *others = replicas(cluster)
    return all(other == first for other in others)


def wrong(cluster: ClusterStub, posted: set[str] | None = None) -> list[str]:
    """Return a line for each difference between the rows and what a node has."""
    should = oracle.expected(posted or set())
    return [
        f"node {node}: {line}"
        for node, points in enumerate(replicas(cluster))
        for line in oracle.differences(
            should, {key: oracle.seen(dict(p.payload), p.vector) for key, p in points.items()}
        )
    ]


def expire_claims() -> None:
    """Let the time pass after which the claims of a killed worker are free."""
    IndexEntry.objects.exclude(claim=None).update(claimed_until=timezone.now())


def index_all() -> None:
    """Index until nothing is pending, however long each entry would have to wait."""
    for _ in range(20):
        expire_claims()
        due_now()
        index()
        if not IndexEntry.objects.filter(state=State.PENDING).exists():
            return
    pytest.fail("entries stay pending")


def refuse(cluster: ClusterStub) -> None:
    """Index while node 1 refuses writes, so that only node 0 has what is written."""
    cluster.full = {1}
    with pytest.raises(StoreRefused, match="write_consistency_factor"):
        index()
    cluster.full.clear()
    assert not are_equal(cluster)


@pytest.mark.parametrize("reader", [0, 1])
@pytest.mark.parametrize("change", ["save", "delete"])
def test_a_write_that_one_replica_missed_is_written_again(chair, cluster, change, reader):
    key = chair.pk
    if change == "save":
        Product(pk=key, name="Table", sku="T").save()
    else:
        chair.delete()
    refuse(cluster)
    refused = entry(key)
    assert (refused.state, refused.unconfirmed) == (State.PENDING, True)
    assert "write_consistency_factor" in refused.error
    cluster.reader = reader
    due_now()
    index()
    assert are_equal(cluster)
    assert wrong(cluster) == []
    assert (entry(key).unconfirmed, entry(key).error) == (False, "")


def test_what_one_replica_has_is_not_embedded_again(chair, cluster):
    Product(pk=chair.pk, name="Table", sku="T").save()
    refuse(cluster)
    assert get_encoder().take() == (1, 0)
    cluster.reader = 0
    for full in ({1}, set()):
        cluster.full = full
        due_now()
        with suppress(StoreRefused):
            index()
        assert get_encoder().take() == (0, 0)
        assert entry(chair).unconfirmed == bool(full)


def test_a_row_that_changed_silently_between_the_tries_is_in_both_replicas(chair, cluster):
    """With the same revision, each replica would keep what it got first."""
    Product(pk=chair.pk, name="Table", sku="T").save()
    refuse(cluster)
    Product.objects.filter(pk=chair.pk).update(name="Stool")
    cluster.reader = 1
    due_now()
    index()
    assert are_equal(cluster)
    assert wrong(cluster) == []


def test_what_a_killed_worker_wrote_is_written_again(chair, cluster, monkeypatch):
    Product(pk=chair.pk, name="Table", sku="T").save()
    with monkeypatch.context() as patched:
        patched.setattr(IndexEntryQuerySet, "release", lambda *args, **kwargs: None)  # it was killed before
        refuse(cluster)
    assert entry(chair).claim
    assert not entry(chair).unconfirmed
    expire_claims()
    cluster.reader = 0
    assert index().products == 1
    assert are_equal(cluster)
    assert not entry(chair).unconfirmed


def test_what_a_worker_wrote_whose_claim_was_revoked_is_written_again(chair, cluster):
    Product(pk=chair.pk, name="Table", sku="T").save()
    stalled = Stalled()
    IndexEntry.objects.of(DOCUMENT).revoke_claims()  # as after a collection was lost
    cluster.full = {1}
    with pytest.raises(StoreRefused):
        stalled.wake()
    cluster.full.clear()
    cluster.reader = 0
    index()
    assert are_equal(cluster)
    assert wrong(cluster) == []


def test_a_save_after_a_refused_write_is_written_to_both_replicas(chair, cluster):
    Product(pk=chair.pk, name="Table", sku="T").save()
    refuse(cluster)
    DOCUMENT.declaration.reindex([chair])  # the content is the same, its revision is the next one
    cluster.reader = 0
    due_now()
    index()
    assert are_equal(cluster)


def test_a_point_that_is_newer_than_its_entry_is_written_to_both_replicas(chair, cluster):
    """As after a database was restored from yesterday's copy."""
    for name in ("Table", "Stool", "Chair"):
        Product(pk=chair.pk, name=name, sku="C").save()
    refuse(cluster)
    IndexEntry.objects.update(revision=1)
    cluster.reader = 0
    due_now()
    index()
    assert are_equal(cluster)
    assert wrong(cluster) == []


# Whatever is refused.


class Shop:
    """A shop on a cluster that refuses and fails at random. All follows from the seed."""

    def __init__(self, seed: int, cluster: ClusterStub, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rng = random.Random(seed)
        self.cluster, self.monkeypatch = cluster, monkeypatch
        self.stalled: list[Stalled] = []
        self.steps: list[Callable[[], object]] = [
            *[self.save] * 6,
            *[self.index] * 6,
            *[self.trouble] * 4,
            self.heal,
            self.delete,
            self.change_silently,
            self.post,
            self.delete_posted,
            self.kill_a_worker,
            self.stall_a_worker,
            self.wake_a_worker,
        ]

    def step(self) -> None:
        self.rng.choice(self.steps)()

    def save(self) -> None:
        name = f"{self.rng.choice(['Red', 'Blue'])} chair {self.rng.randrange(3)}"
        Product(pk=self.rng.randint(1, 6), name=name, sku="C", price=self.rng.randrange(3)).save()

    def change_silently(self) -> None:
        Product.objects.filter(pk=self.rng.randint(1, 6)).update(price=self.rng.randrange(3, 6))

    def delete(self) -> None:
        for product in Product.objects.filter(pk=self.rng.randint(1, 6)):
            product.delete()

    def post(self) -> None:
        posting.post_product(f"P-{self.rng.randrange(3)}", name=f"Posted mug {self.rng.randrange(3)}")

    def delete_posted(self) -> None:
        with suppress(StoreUnavailable):
            posting.delete_product(f"P-{self.rng.randrange(3)}")

    def trouble(self) -> None:
        node = self.rng.randrange(2)
        self.heal()
        self.rng.choice([self.cluster.down, self.cluster.full]).add(node)

    def heal(self) -> None:
        self.cluster.down.clear()
        self.cluster.full.clear()

    def index(self) -> None:
        due_now()
        with suppress(StoreUnavailable):
            index(limit=self.rng.choice([2, 100]))

    def kill_a_worker(self) -> None:
        """Kill one while it writes, or before it could record what it wrote."""
        with self.monkeypatch.context() as patched, suppress(KeyboardInterrupt):
            patched.setattr(IndexEntryQuerySet, "release", lambda *args, **kwargs: None)
            patched.setattr(pipeline, "finish", self._die)
            self.index()
        expire_claims()

    def _die(self, *args: object) -> None:
        raise KeyboardInterrupt

    def stall_a_worker(self) -> None:
        due_now()
        with suppress(StoreUnavailable):
            self.stalled.append(Stalled())
        expire_claims()

    def wake_a_worker(self) -> None:
        if self.stalled:
            with suppress(StoreUnavailable):
                self.stalled.pop().wake()


@pytest.mark.parametrize("seed", range(10))
def test_replicas_are_equal_whatever_was_refused(chair, cluster, monkeypatch, seed):
    shop = Shop(seed, cluster, monkeypatch)
    for _ in range(60):
        shop.step()
    shop.heal()
    index_all()
    while shop.stalled:
        shop.wake_a_worker()
    assert are_equal(cluster)
    list(comparing.mark_changed(DOCUMENT, comparing.compare(DOCUMENT)))  # the rows that changed silently
    index_all()
    assert are_equal(cluster)
    assert wrong(cluster, set(PostedProduct.objects.values_list("product_id", flat=True))) == []
