"""A batch that Qdrant refuses: the products that are not the cause are indexed."""

from __future__ import annotations

import pytest
from django.utils import timezone

from clip_search.documents.words import analyser
from clip_search.encoders import get_encoder
from clip_search.exceptions import (
    AccessDenied,
    ModelChanged,
    RequestRefused,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
)
from clip_search.indexing import comparing
from clip_search.indexing.halving import MAX_REFUSALS, SECONDS, in_halves
from clip_search.indexing.items import Item
from clip_search.indexing.pipeline import LEASE
from clip_search.models import Collection, IndexEntry
from clip_search.stores import get_store
from clip_search.types import Report
from tests.shops.shop.models import Product

from .actions import DOCUMENT, State, collection, due_now, entry, index, point

pytestmark = pytest.mark.django_db


# The function.


def items(count: int) -> list[Item]:
    return [
        Item(entry=IndexEntry(product_id=str(number)), fingerprint="", analyser=analyser("en"))
        for number in range(count)
    ]


class Request:
    """Accepts items, except those with these product ids. Notes the sizes of all requests."""

    def __init__(self, bad: set[int], error: Exception) -> None:
        self.bad, self.error = {str(number) for number in bad}, error
        self.sizes: list[int] = []
        self.accepted: list[str] = []

    def __call__(self, some: list[Item]) -> None:
        self.sizes.append(len(some))
        ids = [item.entry.product_id for item in some]
        if self.bad & set(ids):
            raise self.error
        self.accepted += ids


@pytest.mark.parametrize("count", [0, 1, 128])
def test_what_is_accepted_takes_one_request(count):
    request = Request(set(), StoreRefused())
    in_halves(items(count), request)
    assert request.sizes == [count] * bool(count)


@pytest.mark.parametrize("bad", [{0}, {127}, {5, 80, 81}])
def test_all_others_are_accepted(bad):
    batch, request = items(128), Request(bad, StoreRefused("no disk"))
    in_halves(batch, request)
    assert {int(item.entry.product_id) for item in batch if item.postponed == "no disk"} == bad
    assert not any(item.error for item in batch)
    assert sorted(map(int, request.accepted)) == sorted(set(range(128)) - bad)
    assert len(request.sizes) <= len(bad) * 15


def test_a_batch_that_begins_with_bad_items_is_not_refused():
    batch, bad = items(60), set(range(20))
    request = Request(bad, StoreRefused())
    in_halves(batch, request)
    assert sorted(map(int, request.accepted)) == list(range(20, 60))


def test_an_item_that_is_invalid_fails_also_alone():
    batch = items(1)
    in_halves(batch, Request({0}, RequestRefused("no such vector")))
    assert (batch[0].error, batch[0].postponed) == ("no such vector", "")


@pytest.mark.parametrize("error", [StoreRefused("disk full"), RequestRefused("strict mode")])
def test_a_store_that_refuses_everything_is_not_asked_about_each_item(error):
    request = Request(set(range(500)), error)
    with pytest.raises(type(error), match=str(error)):
        in_halves(items(500), request)
    assert request.sizes.count(1) == MAX_REFUSALS
    assert len(request.sizes) < 20


def test_a_store_that_is_slow_to_refuse_is_not_asked_for_longer_than_a_claim_lasts(monkeypatch):
    seconds = 3.0
    request = Request(set(range(64)), StoreRefused("timed out"))
    monkeypatch.setattr("clip_search.indexing.halving.monotonic", lambda: seconds * len(request.sizes))
    monkeypatch.setattr("random.sample", lambda items, count: items)
    batch = items(128)
    in_halves(batch[::-1], request)  # those that are accepted come first
    assert SECONDS < seconds * len(request.sizes) < LEASE.total_seconds() - seconds
    assert sorted(map(int, request.accepted)) == list(range(64, 128))
    assert {int(item.entry.product_id) for item in batch if item.postponed == "timed out"} == set(range(64))


def test_few_items_that_are_all_refused_raise():
    with pytest.raises(StoreRefused):
        in_halves(items(2), Request({0, 1}, StoreRefused()))


@pytest.mark.parametrize("error", [StoreUnavailable, ModelChanged])
def test_other_errors_are_raised_at_once(error):
    request = Request({3}, error())
    with pytest.raises(error):
        in_halves(items(8), request)
    assert request.sizes == [8]


# Indexing.


def make(count: int) -> list[Product]:
    return [Product.objects.create(name=f"Chair {number}", sku="C") for number in range(count)]


def in_lost_shard(cluster, products: list[Product]) -> list[bool]:
    return [cluster.shard(DOCUMENT.point_id(str(product.pk))) in cluster.lost for product in products]


@pytest.mark.parametrize("when", ["new", "changed", "deleted"])
def test_a_lost_shard_keeps_only_its_own_products_waiting(cluster, when):
    cluster.shards = 3
    made = make(30)
    keys = [product.pk for product in made]
    if when != "new":
        index()
    if when == "changed":
        for product in made:
            product.name = product.name.replace("Chair", "Table")
            product.save()
    cluster.lost = {1}
    waiting = in_lost_shard(cluster, made)
    assert 0 < sum(waiting) < 30
    if when == "deleted":
        for product in made:
            product.delete()
    report = index()
    assert (report.products, report.postponed) == (30 - sum(waiting), sum(waiting))
    for key, is_waiting in zip(keys, waiting, strict=True):
        found = entry(key)
        assert (found.state == State.PENDING) == is_waiting
        assert ("no active replica" in found.error) == is_waiting
        assert not is_waiting or found.not_before > timezone.now()
    cluster.lost.clear()
    due_now()
    assert index().products == sum(waiting)
    assert not IndexEntry.objects.filter(state=State.PENDING).exists()
    assert get_store().count(collection()) == (0 if when == "deleted" else 30)


def test_comparing_with_a_lost_shard_finds_what_changed_in_the_others(cluster):
    cluster.shards = 3
    made = make(30)
    index()
    cluster.lost = {1}
    Product.objects.update(name="Table")
    pages = list(comparing.compare(DOCUMENT))
    waiting = in_lost_shard(cluster, made)
    assert sum(len(page.changed) for page in pages) == 30 - sum(waiting)
    assert sum(page.unchanged.postponed for page in pages) == sum(waiting)


def test_one_point_that_qdrant_takes_for_invalid_fails_alone(cluster):
    made = make(9)
    cluster.invalid = {str(made[4].pk)}
    assert index() == Report(embedded=8, failed=1, without_image=9)
    failed = entry(made[4])
    assert failed.state == State.FAILED
    assert "Validation error" in failed.error
    assert get_store().count(collection()) == 8
    cluster.invalid.clear()
    list(comparing.mark_changed(DOCUMENT, comparing.compare(DOCUMENT)))
    assert index() == Report(embedded=1, without_image=1)
    assert (entry(made[4]).state, entry(made[4]).unconfirmed) == (State.INDEXED, False)


def test_a_full_disk_takes_few_requests_and_every_product_waits(cluster):
    Product.objects.create(name="First", sku="C")
    index()
    make(100)
    cluster.full = {0, 1}
    cluster.asked.clear()
    with pytest.raises(StoreRefused):
        index()
    assert cluster.asked.count("points/batch") < 20
    waiting = IndexEntry.objects.filter(state=State.PENDING)
    assert waiting.filter(unconfirmed=True, claim=None, attempts=1).count() == 100
    cluster.full.clear()
    due_now()
    assert index().products == 100
    assert get_store().count(collection()) == 101


# What the collection remembers.


def refusal() -> tuple[str, bool]:
    found = Collection.objects.get(state=Collection.State.LIVE)
    return found.refusal, found.refused_at is not None


def test_the_last_refused_write_is_kept_until_one_succeeds(cluster):
    make(3)
    index()
    assert refusal() == ("", False)
    make(1)
    cluster.full = {0, 1}
    with pytest.raises(StoreRefused):
        index()
    reason, is_dated = refusal()
    assert "shards failed to apply operation" in reason
    assert is_dated
    cluster.full.clear()
    due_now()
    index()
    assert refusal() == ("", False)


def test_a_refused_part_of_a_batch_is_remembered_too(cluster):
    made = make(4)
    cluster.invalid = {str(made[0].pk)}
    index()
    assert "Validation error" in refusal()[0]


@pytest.mark.parametrize("error", [AccessDenied("read-only key"), StoreFull("disk full")])
def test_a_read_only_key_and_a_full_disk_are_remembered(mug, monkeypatch, error):
    def put(*args: object) -> None:
        raise error

    mug.name = "Blue mug"
    mug.save()
    with monkeypatch.context() as patched, pytest.raises(type(error)):
        patched.setattr(get_store(), "put", put)
        index()
    assert refusal() == (str(error), True)
    assert entry(mug).error == str(error)
    due_now()
    assert get_encoder().take() == (1, 0)
    index()
    assert refusal() == ("", False)
    assert point(mug) is not None
