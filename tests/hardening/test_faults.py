"""Faults and loads, each held against the oracle: short here, with the large numbers in `tox run -e soak`.

What mixes them is `python -m tests.chaos`.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.db import transaction
from django.utils import timezone

from clip_search import jobs
from clip_search.indexing.pipeline import BATCHES_UNDER_WAY
from clip_search.models import IndexEntry
from tests.chaos import oracle
from tests.chaos.shopkeepers import RolledBack
from tests.conftest import QUICK, SHORT_LEASE, picture_bytes, wait_until
from tests.doubles.qdrant_stub import FAULTS, StubQdrant, serving
from tests.processes.workers import all_indexed, embedded, ended, indexed, save
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Product, ProductImage

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

State = IndexEntry.State


def long(*values: object) -> object:
    """Return the parameters of a long form."""
    return pytest.param(*values, marks=pytest.mark.soak)


@pytest.fixture
def points(shared) -> Callable[[], dict[str, oracle.Seen]]:
    """Read the points of the embedded store that this test shares with its workers."""
    folder = Path(shared["CLIP_SEARCH_TEST_QDRANT_PATH"])
    return lambda: oracle.embedded_points(folder, oracle.live_collection())


def differences(points: Mapping[str, oracle.Seen]) -> list[str]:
    should = oracle.expected()
    entries = IndexEntry.objects.values_list("product_id", "state", "error")
    return oracle.differences(should, points) + oracle.wrong_states(should, entries)


# The oracle itself.


def test_the_oracle_sees_whatever_is_wrong(points):
    one, other, gone = (save(number) for number in range(3))
    jobs.index_due("product")
    gone.delete()
    jobs.index_due("product")
    there = points()
    assert differences(there) == []
    key, twin = (oracle.point_id(str(product.pk)) for product in (one, other))
    seen = there[key]
    wrong = {
        "no point": {k: v for k, v in there.items() if k != key},
        "should not be there": {**there, "stranger": seen},
        "a tombstone": there | {key: replace(seen, removed=True, vectors={})},
        "payload": there | {key: replace(seen, payload={**seen.payload, "price": 7.0})},
        "image vector missing": there | {key: replace(seen, vectors={"text": seen.vectors["text"]})},
        "text vector of something else": there | {key: replace(seen, vectors=there[twin].vectors)},
    }
    for said, tampered in wrong.items():
        assert any(said in line for line in differences(tampered)), said
    IndexEntry.objects.filter(product_id=str(one.pk)).update(state=State.FAILED, error="no reason")
    assert differences(there) == [f"{one.pk}: failed, should be indexed no reason"]


# Redis.


@pytest.mark.parametrize("saves", [75, long(500)])
def test_redis_is_killed_while_products_are_saved_and_started_again(
    saves, own_valkey, connections_to_redis, start_worker, points
):
    server, restart = own_valkey
    for number in range(saves):
        if number == saves // 5:
            server.terminate()
            connections_to_redis.clear()
        if number == saves - saves // 5:
            restart()
        save(number)
    assert len(connections_to_redis) == 1
    start_worker()
    assert all_indexed()
    assert IndexEntry.objects.count() == saves
    assert differences(points()) == []


@pytest.mark.parametrize("saves", [60, long(500)])
def test_redis_is_flushed_with_every_wake_up_in_it(saves, queue, start_worker, points):
    for number in range(saves):
        save(number)
    assert queue.count >= saves
    queue.connection.flushall()
    assert queue.count == 0
    start_worker()
    assert all_indexed()
    assert IndexEntry.objects.count() == saves
    assert differences(points()) == []


# The store.


@pytest.fixture
def stub(shared) -> Iterator[StubQdrant]:
    """A stub of a Qdrant server that the workers use."""
    with serving(seed=1) as server:
        shared["CLIP_SEARCH_TEST_QDRANT_STUB"] = server.url
        yield server


@pytest.mark.parametrize("requests", [80, long(500)])
def test_half_of_the_requests_to_qdrant_go_wrong(requests, stub, start_worker):
    stub.share = 0.5
    soon = [
        *QUICK,
        "clip_search.indexing.delays.LONGEST_DELAY=1",
        "clip_search.stores.nodes.PAUSE_AFTER_TIMEOUT=0",
    ]
    workers = [start_worker(constants=soon) for _ in range(2)]
    saved = 0
    while stub.requests < requests:
        save(saved)
        saved += 1
        assert all(worker.poll() is None for worker in workers)
        assert not IndexEntry.objects.filter(state=State.FAILED).exists()
        assert saved < 10 * requests
        time.sleep(0.1)
    met, stub.share = set(stub.met), 0.0
    assert met == {"", *FAULTS}
    assert stub.faults > 0.4 * requests
    assert all_indexed()
    assert differences(oracle.server_points(stub.url, oracle.live_collection())) == []
    assert all(worker.poll() is None for worker in workers)


def test_a_worker_stops_although_the_store_does_not_answer(stub, start_worker):
    save(0)
    sooner = [*QUICK, "clip_search.worker.SECONDS_TO_INTERRUPT=2"]
    worker = start_worker(constants=sooner, CLIP_SEARCH_TEST_QDRANT_TIMEOUT="3600")
    assert all_indexed()
    stub.share, stub.kinds = 1.0, ("timeout",)
    save(1)
    assert wait_until(lambda: stub.met["timeout"] > 0)
    worker.send_signal(signal.SIGTERM)
    code, output = ended(worker)
    assert code == 0, output
    assert not IndexEntry.objects.exclude(claim=None).exists()
    assert wait_until(lambda: IndexEntry.objects.due().count() == 1)


# Workers.


def lapse() -> None:
    """Have all claims lapse, as those of a killed worker do after a minute."""
    IndexEntry.objects.exclude(claim=None).update(claimed_until=timezone.now())


@pytest.mark.parametrize(("products", "kills"), [(45, 2), long(1000, 50)])
def test_a_worker_is_killed_at_random_points(products, kills, start_worker, counts, points, tmp_path):
    rng = random.Random(kills)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    batch = 16
    constants = [*QUICK, f"clip_search.indexing.pipeline.BATCH={batch}"]
    slow = {"CLIP_SEARCH_TEST_SECONDS_AN_IMAGE": "0.02", "TMPDIR": str(temporary)}
    for number in range(products):
        save(number)
    pending = IndexEntry.objects.filter(state=IndexEntry.State.PENDING)
    for _ in range(kills):
        before = sum(embedded(counts, "image").values())
        worker = start_worker(constants=constants, **slow)
        assert wait_until(  # on a busy machine, the worker before may have done everything
            lambda before=before: sum(embedded(counts, "image").values()) > before or not pending.exists()
        )
        time.sleep(rng.uniform(0, 1))
        worker.kill()
        worker.wait()
        lapse()
    start_worker(constants=constants, **slow)
    assert all_indexed()
    assert differences(points()) == []
    for kind in ("text", "image"):  # two batches are under way, and one is embedded but not recorded
        assert sum(embedded(counts, kind).values()) <= products + kills * (BATCHES_UNDER_WAY + 1) * batch
    assert not [path for path in temporary.rglob("*") if path.is_file()]


@pytest.mark.parametrize("saves", [480, long(2000)])
def test_eight_save_the_same_products_while_three_workers_run(
    saves, start_worker, start_process, shared, counts, points
):
    for number in range(20):
        save(number)
    workers = [start_worker() for _ in range(3)]
    assert all_indexed()
    counts.write_text("")

    savers = start_process("-m", "tests.processes.savers", str(saves), **shared)

    assert savers.wait() == 0
    assert all_indexed()
    assert differences(points()) == []
    assert sum(embedded(counts, "text").values()) <= saves  # a fifth of that on a machine that is not busy
    assert not embedded(counts, "image")
    assert all(worker.poll() is None for worker in workers)


@pytest.mark.parametrize("times", [1, long(20)])
def test_a_worker_that_was_paused_past_its_lease_changes_nothing_newer(times, start_worker, counts, points):
    """A real process, by SIGSTOP: it wakes after a save, a delete, a delete with re-creation, and nothing."""
    slow = {"CLIP_SEARCH_TEST_SECONDS_AN_IMAGE": "0.3"}
    for turn in range(times):
        counts.write_text("")
        edited, deleted, again, left = (save(4 * turn + number) for number in range(4))
        stalled = start_worker(constants=[*QUICK, SHORT_LEASE], **slow)
        assert wait_until(lambda: bool(embedded(counts, "image")))
        time.sleep(random.Random(turn).uniform(0, 1.1))  # it needs 1.2 s for the four
        stalled.send_signal(signal.SIGSTOP)
        edited.name = f"Newer {turn}"
        edited.save()
        key = again.pk
        deleted.delete()
        again.delete()
        Product.objects.create(pk=key, name=f"Re-created {turn}", sku="R")
        other = start_worker(constants=[*QUICK, SHORT_LEASE])
        assert wait_until(nothing_waits)
        assert differences(points()) == []
        stalled.send_signal(signal.SIGCONT)
        time.sleep(0.2)
        for worker in (stalled, other):
            worker.send_signal(signal.SIGTERM)
            assert ended(worker)[0] == 0
        assert nothing_waits()
        assert differences(points()) == []
        assert IndexEntry.objects.get(product_id=str(left.pk)).state == State.INDEXED


def nothing_waits() -> bool:
    return not IndexEntry.objects.filter(state=State.PENDING).exists()


# Transactions.


def test_the_index_is_as_the_database_whatever_was_rolled_back(queue, shared, points):
    kept, edited, deleted, saved_again, moved = (save(number) for number in range(5))
    jobs.index_due("product")

    def rolled_back(step: Callable[[], object]) -> None:
        with suppress(RolledBack), transaction.atomic():
            step()
            raise RolledBack

    def rename(product: Product, name: str) -> None:
        product.name = name
        product.save()

    rolled_back(lambda: rename(kept, "Rolled back"))
    rolled_back(lambda: (save(100), kept.delete()))
    with transaction.atomic():
        rename(edited, "Committed")
        rolled_back(lambda: (rename(edited, "Rolled back to the savepoint"), save(101)))
        with transaction.atomic():
            deleted.delete()
    with transaction.atomic():
        key = saved_again.pk
        saved_again.delete()
        rolled_back(lambda: Product.objects.create(pk=key, name="Never", sku="N"))
        Product.objects.create(pk=key, name="Again", sku="A")
    ProductDocument.reindex(Product.objects.bulk_create(Product(name=f"Bulk {n}", sku="B") for n in range(9)))
    with transaction.atomic():
        Product.objects.filter(pk=moved.pk).update(name="Updated")
        ProductDocument.reindex([moved])
        ProductImage.objects.filter(product=moved).delete()
    jobs.index_due("product")
    assert nothing_waits()
    names = {seen.product_id for seen in oracle.expected().values()}
    assert len(names) == 13
    assert differences(points()) == []


def test_a_broken_image_is_what_the_oracle_says_it_is(shared, points):
    product = save(0)
    broken = ContentFile(picture_bytes()[:60], name="broken.png")
    ProductImage.objects.filter(product=product).update(position=1)
    ProductImage.objects.create(product=product, original=broken)
    jobs.index_due("product")
    assert indexed() == 0
    assert differences(points()) == []
