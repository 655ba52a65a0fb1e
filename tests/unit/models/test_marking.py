"""Marking products as changed."""

from __future__ import annotations

from collections import Counter

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from clip_search import Document
from clip_search.documents.binding import BoundDocument
from clip_search.models import IndexEntry
from clip_search.models.entries import IndexEntryQuerySet
from clip_search.models.retries import TRIES
from clip_search.types import POSTED_SOURCE
from tests.shops.shop.models import Product

from .actions import LEASE, STATES, together

pytestmark = [pytest.mark.django_db, pytest.mark.sql]


def test_mark_changed_inserts_an_entry_that_is_due(marked, document, entries):
    (entry,) = marked("1")
    assert (entry.document, entry.product_id, entry.uuid) == ("product", "1", document.point_id("1"))
    assert (entry.revision, entry.indexed_revision, entry.state) == (1, 0, STATES.PENDING)
    assert list(entries.due()) == [entry]
    assert str(entry) == "product 1"


def test_mark_changed_counts_up_and_forgets_the_failure(marked, entries):
    marked("1", source=POSTED_SOURCE)
    entries.update(state=STATES.FAILED, error="broken", attempts=3, not_before=timezone.now() + LEASE)
    (entry,) = marked("1")
    assert (entry.revision, entry.state, entry.error, entry.attempts) == (2, STATES.PENDING, "", 0)
    assert (entry.source, entries.due().count()) == ("model", 1)


def test_what_is_saved_again_and_again_is_pending_since_the_first_time(marked, entries):
    marked("1")
    long_ago = timezone.now() - 60 * LEASE
    entries.update(pending_since=long_ago)
    assert marked("1", "2")[0].pending_since == long_ago
    entries.read_images_again()
    entries.mark_all_due()
    assert entries.get(product_id="1").pending_since == long_ago


@pytest.mark.parametrize("schedule", ["mark_changed", "read_images_again", "mark_all_due"])
def test_what_was_indexed_is_pending_since_now(marked, document, entries, schedule):
    marked("1")
    entries.update(state=STATES.INDEXED, pending_since=timezone.now() - 60 * LEASE)
    now = timezone.now()
    getattr(entries, schedule)(*([document, ["1"]] if schedule == "mark_changed" else []))
    entry = entries.get()
    assert (entry.state, entry.pending_since >= now) == (STATES.PENDING, True)


def test_mark_changed_of_a_removed_entry_goes_on_counting(marked, entries):
    marked("1")
    entries.update(state=STATES.REMOVED, revision=7, indexed_revision=7)
    assert marked("1")[0].revision == 8


def test_mark_changed_of_one_id_twice_is_once(document, marked):
    assert IndexEntry.objects.mark_changed(document, ["1", "2", "1"]) == 2
    assert [entry.revision for entry in marked()] == [1, 1]


def test_mark_changed_of_nothing_costs_nothing(document, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert IndexEntry.objects.mark_changed(document, []) == 0


def test_mark_changed_takes_any_iterable(document):
    assert IndexEntry.objects.mark_changed(document, (str(n) for n in range(3))) == 3


def test_mark_changed_keeps_documents_apart(document, entries):
    other = BoundDocument(type("Other", (Document,), {"name": "other"})(Product))
    IndexEntry.objects.mark_changed(other, ["1"])
    IndexEntry.objects.mark_changed(document, ["1"])
    assert IndexEntry.objects.count() == 2
    assert entries.get().revision == 1


@pytest.mark.parametrize("product_id", ["1", "test-123", "ABC", "ä/ö ü", "x" * 255])
def test_ids_are_told_apart_exactly(marked, product_id):
    assert [entry.product_id for entry in marked(product_id)] == [product_id]


def test_ids_that_differ_in_case_or_accent_are_two(marked):
    assert len(marked("sku", "SKU", "skü")) == 3


def test_two_statements_for_a_known_product(marked, document, django_assert_max_num_queries):
    marked("1")
    with transaction.atomic(), django_assert_max_num_queries(2):
        IndexEntry.objects.mark_changed(document, ["1"])


def test_few_statements_for_a_new_product(document, django_assert_max_num_queries):
    allowed = 3 if connection.vendor == "mysql" else 2
    with transaction.atomic(), django_assert_max_num_queries(allowed):
        IndexEntry.objects.mark_changed(document, ["1"])


def test_few_statements_for_10000_known_products(document, django_assert_max_num_queries, entries):
    ids = [str(number) for number in range(10_000)]
    IndexEntry.objects.mark_changed(document, ids)
    with django_assert_max_num_queries(25):
        assert IndexEntry.objects.mark_changed(document, ids) == 10_000
    assert entries.filter(revision=2).count() == 10_000


def test_new_and_known_products_together(marked):
    marked("1", "2")
    assert [entry.revision for entry in marked("2", "3")] == [1, 2, 1]


def test_rows_are_written_in_one_order(document, django_assert_max_num_queries, entries):
    """Marking the same products in another order does not deadlock."""
    ids = [str(number) for number in range(40)]
    for order in (ids, ids[::-1]):
        with django_assert_max_num_queries(4):
            IndexEntry.objects.mark_changed(document, order)
    keys = list(entries.order_by("pk").values_list("uuid", flat=True))
    assert keys == sorted(keys)


def test_a_rolled_back_transaction_leaves_nothing(document, entries):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        IndexEntry.objects.mark_changed(document, ["1"])
        1 / 0  # noqa: B018
    assert not entries.exists()


def test_a_rolled_back_savepoint_takes_back_its_own_marks_only(document, marked):
    with transaction.atomic():
        IndexEntry.objects.mark_changed(document, ["1", "2"])
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            IndexEntry.objects.mark_changed(document, ["2", "3"])
            1 / 0  # noqa: B018
    assert [(entry.product_id, entry.revision) for entry in marked()] == [("1", 1), ("2", 1)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("known", [True, False])
def test_many_savers_of_the_same_products_lose_no_change(document, entries, known):
    ids = [str(number) for number in range(12)]
    if known:
        IndexEntry.objects.mark_changed(document, ids)

    def save(number: int) -> None:
        for turn in range(10):
            IndexEntry.objects.mark_changed(document, [ids[turn % 3]] if number % 2 else ids[number:])

    assert together(6, save) == []
    expected = Counter(product_id for n in (0, 2, 4) for product_id in ids[n:] for _ in range(10))
    expected.update(ids[turn % 3] for _ in (1, 3, 5) for turn in range(10))
    expected.update(ids if known else ())
    assert dict(entries.values_list("product_id", "revision")) == expected


def deadlocking(monkeypatch, times: int, *cause: object) -> list[None]:
    """Let marking fail as if the database had rolled it back in favour of another transaction."""
    calls: list[None] = []
    working = IndexEntryQuerySet._with_missing

    def fail(self, *args):
        calls.append(None)
        if len(calls) <= times:
            raise OperationalError(*cause)
        return working(self, *args)

    monkeypatch.setattr(IndexEntryQuerySet, "_with_missing", fail)
    monkeypatch.setattr("clip_search.models.retries.time.sleep", lambda seconds: None)
    return calls


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("times", [1, TRIES - 1])
def test_marking_is_tried_again_after_a_deadlock(document, entries, monkeypatch, times):
    calls = deadlocking(monkeypatch, times, 1213, "Deadlock found")
    IndexEntry.objects.mark_changed(document, ["1"])
    assert (len(calls), entries.get().revision) == (times + 1, 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("times", "code", "tries"), [(TRIES, 1213, TRIES), (1, 2006, 1)])
def test_not_for_ever_and_not_whatever_failed(document, monkeypatch, times, code, tries):
    calls = deadlocking(monkeypatch, times, code)
    with pytest.raises(OperationalError):
        IndexEntry.objects.mark_changed(document, ["1"])
    assert len(calls) == tries


def test_inside_the_hosts_transaction_it_is_his_to_try_again(document, monkeypatch):
    calls = deadlocking(monkeypatch, 1, 1213)
    with pytest.raises(OperationalError), transaction.atomic():
        IndexEntry.objects.mark_changed(document, ["1"])
    assert len(calls) == 1
