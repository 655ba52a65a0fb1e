"""The job: what it indexes, its time budget, and a request to stop."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.db import OperationalError, connection

from clip_search import indexing, jobs, outbox
from clip_search.documents.binding import BoundDocument
from clip_search.encoders import get_encoder
from clip_search.exceptions import ModelChanged
from clip_search.models import IndexEntry, RelatedChange
from clip_search.stores import get_store
from tests.doubles.stores import FaultyStore, down
from tests.shops.shop.models import Category, Product

from .actions import DOCUMENT, INDEXED, PENDING, collection, many, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sql]


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
    ("workers", "due", "claimed"), [(1, 40, 128), (2, 200, 50), (2, 2000, 128), (3, 100, 16), (3, 0, 8)]
)
def test_the_fewer_are_left_the_fewer_a_worker_claims(queue, workers, due, claimed):
    IndexEntry.objects.mark_changed(DOCUMENT, [str(number) for number in range(due)])
    assert indexing.fair_share(DOCUMENT, workers) == claimed


def test_a_small_job_announces_nothing(queue):
    many(10)
    jobs.index_due("product")
    assert queue.count == 0


@pytest.fixture
def during_the_first_batch(monkeypatch):
    """By the job's clock, the first batch of texts takes all its time. What is appended is called then."""
    now, calls, embed_texts = 0.0, [], get_encoder().embed_texts

    def embed(texts):
        nonlocal now
        now = jobs.SECONDS_PER_JOB
        while calls:
            calls.pop()()
        return embed_texts(texts)

    monkeypatch.setattr(get_encoder(), "embed_texts", embed)
    monkeypatch.setattr(jobs, "time", SimpleNamespace(monotonic=lambda: now))
    return calls


def test_a_job_ends_in_time_and_hands_over(queue, during_the_first_batch):
    many(2 * indexing.BATCH + 5)
    jobs.index_due("product")
    left = IndexEntry.objects.filter(state=PENDING).count()
    assert left in (5, 5 + indexing.BATCH)  # the second batch may be claimed before the model is at the first
    assert queue.count >= 1
    for _ in range(left // indexing.BATCH + 1):
        jobs.index_due(*queue.jobs[0].args)
    assert states() == {INDEXED}


def test_what_is_saved_while_a_job_holds_it_is_announced_at_its_end(queue, during_the_first_batch):
    """Its own wake-up may have come while the job held it, and found nothing to do."""
    many(1)
    ids = list(IndexEntry.objects.values_list("product_id", flat=True))
    during_the_first_batch.append(
        lambda: (outbox.schedule(DOCUMENT, ids, wake=False), connection.close())  # of the model's thread
    )
    jobs.index_due("product")
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
    assert "No document of this name" in caplog.text
