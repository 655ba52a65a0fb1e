"""Asking for work and doing it: wake-ups on a real Valkey, a Redis that is away, time budgets, sweeps."""

from __future__ import annotations

import json
import logging
import socket
import statistics
import threading
import time
import zlib
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from clip_search import indexing, jobs, outbox
from clip_search.documents.binding import BoundDocument
from clip_search.documents.registry import registry
from clip_search.encoders import get_encoder
from clip_search.exceptions import ModelChanged, StoreUnavailable
from clip_search.indexing import inline, related
from clip_search.models import Collection, IndexEntry, RelatedChange
from clip_search.models.entries import IndexEntryQuerySet
from clip_search.stores import get_store
from tests.doubles.stores import FaultyStore, down
from tests.shops.shop.models import Article, Category, Product

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sql]

two_databases = pytest.mark.django_db(transaction=True, databases=["default", "other"])

DOCUMENT = registry.get("product")
PENDING, INDEXED = IndexEntry.State.PENDING, IndexEntry.State.INDEXED


@pytest.fixture(autouse=True)
def doubles(settings):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {
        "ENCODER": "tests.doubles.encoders.CountingEncoder",
        "QDRANT": {"backend": "tests.doubles.stores.FaultyStore"},
    }
    yield
    FaultyStore.faults = []


def many(count: int) -> None:
    """Make products as an import does, and say so afterwards: nobody is woken."""
    made = Product.objects.bulk_create(Product(name=f"Chair {n}", sku=f"C-{n}") for n in range(count))
    outbox.schedule(DOCUMENT, [str(product.pk) for product in made], wake=False)


def collection() -> str:
    """Return the name of the only one."""
    (found,) = Collection.objects.of(DOCUMENT).active()
    return found.name


def states() -> set[str]:
    return set(IndexEntry.objects.values_list("state", flat=True))


# Waking.


def test_a_save_enqueues_one_wake_up_that_carries_no_content(queue):
    product = Product.objects.create(name="Mug", sku="M")
    (job,) = queue.jobs
    assert (job.func_name, job.args, job.kwargs) == ("clip_search.jobs.index_due", ["product"], {})
    data = json.loads(zlib.decompress(queue.connection.hget(job.key, "data")))
    assert data[0] == "clip_search.jobs.index_due"
    assert IndexEntry.objects.get().product_id == str(product.pk)
    assert states() == {PENDING}


def test_a_wake_up_is_one_question_to_redis(queue):
    Product.objects.create(name="Mug", sku="M")  # the first one asks for the version too
    queue.connection.config_resetstat()
    Product.objects.create(name="Chair", sku="C")
    assert queue.connection.info("commandstats")["cmdstat_exec"]["calls"] == 1
    assert queue.count == 2


def test_a_queue_that_is_not_asynchronous_does_the_job_at_once_and_keeps_nothing(queue, settings):
    settings.RQ_QUEUES["default"]["ASYNC"] = False
    Product.objects.create(name="Mug", sku="M")
    assert states() == {INDEXED}
    assert queue.connection.keys("rq:job:*") == []


def test_a_transaction_wakes_once_however_much_it_saves(queue):
    with transaction.atomic():
        for number in range(20):
            Product.objects.create(name="Mug", sku=str(number)).save()
        with transaction.atomic():
            Product.objects.create(name="Mug", sku="inner")
        assert queue.count == 0
    assert queue.count == 1
    Product.objects.create(name="Mug", sku="next")
    assert queue.count == 2


def test_what_is_rolled_back_leaves_neither_entry_nor_job(queue):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Product.objects.create(name="Mug", sku="M")
        raise ZeroDivisionError
    assert (queue.count, IndexEntry.objects.count()) == (0, 0)


def test_a_savepoint_that_is_rolled_back_takes_only_its_own_along(queue):
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Product.objects.create(name="Mug", sku="lost")
            raise ZeroDivisionError
        kept = Product.objects.create(name="Mug", sku="kept")
    assert queue.count == 1
    assert IndexEntry.objects.get().product_id == str(kept.pk)


@two_databases
def test_a_document_on_another_database_follows_that_one_s_transactions(queue):
    with transaction.atomic(using="other"):
        Article.objects.using("other").create(title="Tea")
        Product.objects.create(name="Mug", sku="M")
        assert [job.args for job in queue.jobs] == [["product"]]
    assert [job.args for job in queue.jobs] == [["product"], ["article"]]
    for job in queue.jobs:
        jobs.index_due(*job.args)
    assert IndexEntry.objects.using("other").get().state == states().pop() == INDEXED


def test_a_job_indexes_and_leaves_nothing_behind(queue):
    Product.objects.create(name="Mug", sku="M")
    jobs.index_due(*queue.jobs[0].args)
    assert states() == {INDEXED}


# Redis away.


@pytest.fixture
def no_redis(queue, settings):
    """Have Redis refuse connections."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    point_queue(settings, port)


def point_queue(settings, port: int) -> None:
    settings.RQ_QUEUES = {"default": settings.RQ_QUEUES["default"] | {"HOST": "127.0.0.1", "PORT": port}}


def seconds_to_save(times: int = 1) -> list[float]:
    durations = []
    for number in range(times):
        started = time.perf_counter()
        Product.objects.create(name=f"Mug {number}", sku="M")
        durations.append(time.perf_counter() - started)
    return durations


def test_with_redis_refusing_no_save_fails_and_hardly_one_is_slower(queue, settings, request, caplog):
    usual = statistics.median(seconds_to_save(30))
    request.getfixturevalue("no_redis")
    first, *rest = seconds_to_save(31)
    assert first <= usual + 0.3
    assert statistics.median(rest) <= usual + 0.005
    assert IndexEntry.objects.due().count() == 61
    assert [r.levelname for r in caplog.records if "Cannot enqueue" in r.message] == ["WARNING"]


def test_a_redis_that_drops_packets_costs_one_save_a_quarter_of_a_second(queue, settings):
    usual = max(seconds_to_save(10))
    with socket.socket() as full, socket.socket() as waiting, socket.socket() as more:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for client in (waiting, more):  # the queue of the kernel is full: what comes next gets no answer
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        point_queue(settings, full.getsockname()[1])
        first, *rest = seconds_to_save(11)
        assert first <= usual + 0.3
        assert statistics.median(rest) <= usual + 0.005
    assert IndexEntry.objects.due().count() == 21


def test_a_redis_that_takes_connections_and_says_nothing_costs_one_save_under_a_second(queue, settings):
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(5)
        point_queue(settings, mute.getsockname()[1])
        first, *rest = seconds_to_save(5)
    assert first < 1.0
    assert statistics.median(rest) < 0.1
    assert IndexEntry.objects.due().count() == 5


def test_sentinels_that_are_away_cost_no_more(settings):
    usual = statistics.median(seconds_to_save(10))
    sentinels = {"SENTINELS": [("127.0.0.1", 1), ("127.0.0.1", 2)], "MASTER_NAME": "shop", "DB": 0}
    settings.RQ_QUEUES = {"default": sentinels}
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QUEUE": "default"}
    (first,) = seconds_to_save()
    assert first <= usual + 0.3
    assert IndexEntry.objects.due().count() == 1


def test_other_callbacks_of_the_transaction_run_all_the_same(no_redis):
    ran = []
    with transaction.atomic():
        Product.objects.create(name="Mug", sku="M")
        transaction.on_commit(lambda: ran.append(True))
    assert ran == [True]


def test_after_a_while_redis_is_tried_again(queue, settings, monkeypatch):
    monkeypatch.setattr("clip_search.queue.PAUSE_AFTER_FAILURE", 0.2)
    up = settings.RQ_QUEUES
    point_queue(settings, 1)
    Product.objects.create(name="Mug", sku="1")
    settings.RQ_QUEUES = up
    Product.objects.create(name="Mug", sku="2")
    assert queue.count == 0
    time.sleep(0.25)
    Product.objects.create(name="Mug", sku="3")
    assert queue.count == 1
    jobs.index_due("product")
    assert states() == {INDEXED}
    assert IndexEntry.objects.count() == 3


# The sweep.


@two_databases
def test_the_sweep_wakes_for_what_was_forgotten(queue):
    Product.objects.create(name="Mug", sku="M")
    queue.connection.flushall()
    assert jobs.sweep() == 1
    assert [job.args for job in queue.jobs] == [["product"]]
    jobs.index_due("product")
    assert jobs.sweep() == 0


@two_databases
def test_the_sweep_wakes_for_a_related_change(queue):
    category = Category.objects.create(name="Kitchen", slug="kitchen")
    RelatedChange.objects.all().delete()
    queue.empty()
    assert jobs.sweep() == 0
    category.save()
    queue.empty()
    assert jobs.sweep() == 1


@two_databases
def test_the_sweep_leaves_alone_what_is_not_due(queue):
    Product.objects.create(name="Mug", sku="M")
    queue.empty()
    IndexEntry.objects.update(not_before=timezone.now() + timedelta(minutes=1), attempts=1)
    assert jobs.sweep() == 0
    IndexEntry.objects.update(not_before=timezone.now())
    IndexEntry.objects.of(DOCUMENT).claim(10, indexing.LEASE)
    assert jobs.sweep() == 0
    IndexEntry.objects.update(claimed_until=timezone.now())
    assert jobs.sweep() == 1


@two_databases
def test_the_sweep_goes_on_where_one_database_is_away(queue, monkeypatch, caplog):
    Product.objects.create(name="Mug", sku="M")
    queue.empty()
    of = IndexEntryQuerySet.of

    def refuse(self, document):
        if document.name == "article":
            raise OperationalError("no route to host")
        return of(self, document)

    monkeypatch.setattr(IndexEntryQuerySet, "of", refuse)
    assert jobs.sweep() == 1
    assert "no route to host" in caplog.text


# The work.


def test_a_related_change_is_expanded_by_the_job(queue):
    category = Category.objects.create(name="Kitchen", slug="kitchen")
    product = Product.objects.create(name="Mug", sku="M", category=category)
    jobs.index_due("product")
    queue.empty()
    category.slug = "cookware"
    category.save()
    assert queue.count == 1
    assert states() == {INDEXED}
    jobs.index_due("product")
    key = DOCUMENT.point_id(str(product.pk))
    assert get_store().get(collection(), [key])[key].payload["category"] == "cookware"
    assert not RelatedChange.objects.exists()


def test_a_related_change_that_cannot_be_followed_keeps_nothing_else_waiting(queue, caplog):
    Product.objects.create(name="Mug", sku="M")
    gone = {"document": "product", "model": "shop.discontinued", "object_id": "1", "path": "products"}
    RelatedChange.objects.create(**gone)
    category = Category.objects.create(name="Kitchen", slug="kitchen")
    RelatedChange.objects.filter(model="shop.category").delete()
    category.save()
    jobs.index_due("product")
    assert states() == {INDEXED}
    assert [change.model for change in RelatedChange.objects.all()] == ["shop.discontinued"]
    assert "product: shop.discontinued 1" in caplog.text


def test_a_large_related_change_is_expanded_in_steps(queue, monkeypatch):
    monkeypatch.setattr("clip_search.indexing.related.PAGE", 4)
    category = Category.objects.create(name="Kitchen", slug="kitchen")
    many(10)
    Product.objects.update(category=category)
    jobs.index_due("product")
    RelatedChange.objects.all().delete()
    category.save()
    revisions = list(IndexEntry.objects.values_list("revision", flat=True))
    jobs.index_due("product")
    after = list(IndexEntry.objects.values_list("revision", flat=True))
    assert after == [revision + 1 for revision in revisions]
    outbox.schedule_related(
        DOCUMENT, product_ids=[str(pk) for pk in Product.objects.values_list("pk", flat=True)]
    )
    jobs.index_due("product")
    assert list(IndexEntry.objects.values_list("revision", flat=True)) == [r + 2 for r in revisions]
    assert not RelatedChange.objects.exists()


def test_a_job_announces_once_what_others_can_do(queue):
    many(4 * indexing.BATCH)
    jobs.index_due("product")
    assert [job.args for job in queue.jobs] == [["product"]]
    assert states() == {INDEXED}


@pytest.mark.parametrize(
    ("workers", "due", "claimed"), [(1, 40, 128), (2, 200, 50), (2, 2000, 128), (3, 100, 16), (3, 0, 16)]
)
def test_the_fewer_are_left_the_fewer_a_worker_claims(queue, monkeypatch, workers, due, claimed):
    monkeypatch.setattr(jobs.worker_state, "workers", workers)
    IndexEntry.objects.mark_changed(DOCUMENT, [str(number) for number in range(due)])
    assert jobs.fair_share(DOCUMENT) == claimed


def test_a_small_job_announces_nothing(queue):
    many(10)
    jobs.index_due("product")
    assert queue.count == 0


@pytest.fixture
def slow_texts(monkeypatch):
    embed_texts = get_encoder().embed_texts
    monkeypatch.setattr(get_encoder(), "embed_texts", lambda texts: (time.sleep(0.3), embed_texts(texts))[1])


def test_a_job_ends_in_time_and_hands_over(queue, slow_texts, monkeypatch):
    monkeypatch.setattr(jobs, "SECONDS_A_JOB", 0.2)
    many(2 * indexing.BATCH + 5)
    started = time.monotonic()
    jobs.index_due("product")
    assert time.monotonic() - started < 5
    left = IndexEntry.objects.filter(state=PENDING).count()
    assert left in (5, 5 + indexing.BATCH)  # a busy machine may take 0.2 s to claim the first batch
    assert queue.count >= 1
    for _ in range(left // indexing.BATCH + 1):
        jobs.index_due(*queue.jobs[0].args)
    assert states() == {INDEXED}


def test_what_is_saved_while_a_job_holds_it_is_announced_at_its_end(queue, slow_texts, monkeypatch):
    """Its own wake-up may have come while the job held it, and found nothing to do."""
    monkeypatch.setattr(jobs, "SECONDS_A_JOB", 0.2)
    many(1)
    timer = threading.Timer(0.1, lambda: (outbox.schedule(DOCUMENT, ids, wake=False), connection.close()))
    ids = list(IndexEntry.objects.values_list("product_id", flat=True))
    timer.start()
    jobs.index_due("product")
    timer.join()
    assert states() == {PENDING}
    assert [job.args for job in queue.jobs] == [["product"]]


def test_a_request_to_stop_claims_nothing_more_and_wakes_another(queue):
    many(5)
    jobs.worker_state.request_stop()
    jobs.index_due("product")
    assert states() == {PENDING}
    assert not IndexEntry.objects.exclude(claim=None).exists()
    assert queue.count == 1


def test_a_request_to_stop_leaves_related_changes_to_another(queue):
    category = Category.objects.create(name="Kitchen", slug="kitchen")
    many(3)
    Product.objects.update(category=category)
    jobs.index_due("product")
    category.save()
    queue.empty()
    jobs.worker_state.request_stop()
    jobs.index_due("product")
    assert RelatedChange.objects.exists()
    assert queue.count == 1


def test_a_request_to_stop_drops_what_takes_too_long(queue, monkeypatch):
    monkeypatch.setattr(jobs, "SECONDS_TO_FINISH", -1.0)
    many(2 * indexing.BATCH)
    embed_texts = get_encoder().embed_texts

    def embed(texts):
        jobs.worker_state.request_stop()
        return embed_texts(texts)

    monkeypatch.setattr(get_encoder(), "embed_texts", embed)
    jobs.index_due("product")
    assert not IndexEntry.objects.exclude(claim=None).exists()
    assert IndexEntry.objects.filter(state=PENDING).count() == indexing.BATCH
    assert queue.count >= 1


def test_a_store_that_is_away_ends_the_job_and_wakes_nobody(queue, caplog):
    Product.objects.create(name="Mug", sku="M")
    queue.empty()
    FaultyStore.faults = down(1)
    jobs.index_due("product")
    assert states() == {PENDING}
    assert queue.count == 0
    assert "Cannot index now" in caplog.text


def test_a_database_that_is_away_ends_the_job(queue, caplog, monkeypatch):
    def refuse(*args):
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(BoundDocument, "find", refuse)
    Product.objects.create(name="Mug", sku="M")
    jobs.index_due("product")
    assert states() == {PENDING}
    assert "server closed the connection" in caplog.text


def test_a_set_up_at_fault_is_raised(queue, settings):
    Product.objects.create(name="Mug", sku="M")
    jobs.index_due("product")
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "tests.doubles.encoders.OtherEncoder"}
    Product.objects.create(name="Cup", sku="C")
    with pytest.raises(ModelChanged):
        jobs.index_due("product")
    assert IndexEntry.objects.due().count() == 1


def test_a_document_that_is_no_more_is_no_fault(queue, caplog):
    jobs.index_due("discontinued")
    assert "No such document" in caplog.text


# At once.


def test_index_now_waits_for_whoever_holds_the_entry(queue):
    product = Product.objects.create(name="Mug", sku="M")
    held = IndexEntry.objects.of(DOCUMENT).claim(1, indexing.LEASE)

    def give_back():
        IndexEntry.objects.of(DOCUMENT).release(held)
        connection.close()

    timer = threading.Timer(0.3, give_back)
    timer.start()
    entry = inline.index_now(DOCUMENT, str(product.pk))
    timer.join()
    assert entry.state == INDEXED


def test_index_now_gives_up_in_time_and_the_product_is_still_due(queue):
    product = Product.objects.create(name="Mug", sku="M")
    IndexEntry.objects.of(DOCUMENT).claim(1, indexing.LEASE)
    entry = inline.index_now(DOCUMENT, str(product.pk), timeout=0.2)
    assert entry.state == PENDING


def test_index_now_says_what_is_away(queue):
    product = Product.objects.create(name="Mug", sku="M")
    FaultyStore.faults = down(1)
    with pytest.raises(StoreUnavailable):
        inline.index_now(DOCUMENT, str(product.pk))
    assert states() == {PENDING}


def test_index_now_indexes_one_product_and_no_other(queue):
    many(3)
    product = Product.objects.create(name="Mug", sku="M")
    assert inline.index_now(DOCUMENT, str(product.pk)).state == INDEXED
    assert IndexEntry.objects.filter(state=PENDING).count() == 3


# Without a queue.


def test_without_a_queue_the_save_indexes(settings):
    product = Product.objects.create(name="Mug", sku="M")
    assert states() == {INDEXED}
    with transaction.atomic():
        product.name = "Cup"
        product.save()
        assert states() == {PENDING}
    assert states() == {INDEXED}
    assert get_encoder().texts == ["Mug", "Cup"]


def test_without_a_queue_a_save_leaves_alone_what_others_have_to_do():
    many(3)
    Product.objects.create(name="Mug", sku="M")
    assert IndexEntry.objects.filter(state=PENDING).count() == 3


def test_without_a_queue_a_related_change_indexes_its_products():
    category = Category.objects.create(name="Kitchen", slug="kitchen")
    Product.objects.create(name="Mug", sku="M", category=category)
    category.slug = "cookware"
    category.save()
    assert states() == {INDEXED}
    assert not RelatedChange.objects.exists()
    assert get_store().facet(collection(), "category") == {"cookware": 1}


def test_without_a_queue_a_store_that_is_away_fails_no_save(caplog):
    caplog.set_level(logging.ERROR)
    FaultyStore.faults = down(1)
    Product.objects.create(name="Mug", sku="M")
    assert states() == {PENDING}
    assert "Cannot index" in caplog.text


def test_what_was_rolled_back_wakes_nobody_later(monkeypatch):
    woken = []
    monkeypatch.setattr(outbox, "index_here", lambda document, ids: woken.append((document.name, set(ids))))
    with suppress(ZeroDivisionError), transaction.atomic():
        Product.objects.create(name="Rolled back")
        raise ZeroDivisionError
    with transaction.atomic():
        kept = Product.objects.create(name="Kept")
    assert woken == [("product", {str(kept.pk)})]


def test_very_many_products_are_one_row_until_a_worker_expands_it(monkeypatch):
    monkeypatch.setattr(outbox, "ROWS_PER_STATEMENT", 10)
    assert outbox.schedule(DOCUMENT, [str(n) for n in range(25)], wake=False) == 25
    assert RelatedChange.objects.get().product_ids == [str(n) for n in range(25)]
    assert not IndexEntry.objects.exists()
    related.expand_related(DOCUMENT)
    assert IndexEntry.objects.count() == 25
