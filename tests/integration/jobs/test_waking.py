"""A commit enqueues one wake-up for the workers."""

from __future__ import annotations

import json
import zlib

import pytest
from django.db import transaction

from clip_search import jobs
from clip_search.models import IndexEntry
from tests.shops.shop.models import Article, Product

from .actions import INDEXED, PENDING, states, two_databases

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sql]


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
