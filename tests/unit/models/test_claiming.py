"""Claiming entries."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from clip_search import Document
from clip_search.documents.binding import BoundDocument
from clip_search.models import IndexEntry
from tests.shops.shop.models import Product

from .actions import LEASE, STATES, together

pytestmark = [pytest.mark.django_db, pytest.mark.sql]


def test_claim_takes_the_longest_waiting_first(marked, entries):
    for number, entry in enumerate(marked("1", "2", "3")):
        entries.filter(pk=entry.pk).update(not_before=timezone.now() - timedelta(minutes=number))
    assert {entry.product_id for entry in entries.claim(2, LEASE)} == {"2", "3"}
    assert [entry.product_id for entry in entries.claim(2, LEASE)] == ["1"]
    assert entries.claim(2, LEASE) == []


def test_claim_of_certain_entries_only(marked, entries, document):
    marked("1", "2")
    claimed = entries.claim(10, LEASE, only=[document.point_id("2"), document.point_id("9")])
    assert [entry.product_id for entry in claimed] == ["2"]
    assert entries.claim(10, LEASE, only=[]) == []


def test_a_claim_notes_the_revision_and_its_end(marked, entries):
    marked("1")
    marked("1")
    before = timezone.now()
    (entry,) = entries.claim(1, LEASE)
    assert (entry.claimed_revision, entry.revision) == (2, 2)
    assert before + LEASE <= entry.claimed_until <= timezone.now() + LEASE


def test_claims_of_one_batch_share_a_token_and_those_of_two_do_not(marked, entries):
    marked("1", "2", "3")
    first, second = entries.claim(2, LEASE), entries.claim(2, LEASE)
    assert len({entry.claim for entry in first}) == 1
    assert first[0].claim != second[0].claim


def test_ctrl_c_after_claims_were_committed_releases_them(marked, entries):
    marked("1", "2")
    seen: list[str] = []

    def interrupt(execute, sql, params, many, context):
        kind = sql.split()[0]
        seen.append(kind)
        if kind == "SELECT" and "UPDATE" in seen:  # it reads what was claimed
            seen.clear()
            raise KeyboardInterrupt
        return execute(sql, params, many, context)

    with connection.execute_wrapper(interrupt), pytest.raises(KeyboardInterrupt):
        entries.claim(2, LEASE)
    assert len(entries.claim(2, LEASE)) == 2


@pytest.mark.django_db(transaction=True)
def test_ctrl_c_while_a_transaction_begins_leaves_none_open(marked, entries):
    """With SQLite, this takes up to 30 seconds while others write."""
    if connection.vendor != "sqlite":
        pytest.skip("the driver begins transactions")
    marked("1", "2")
    interrupts = [KeyboardInterrupt]

    def interrupt(execute, sql, params, many, context):
        found = execute(sql, params, many, context)
        if sql.startswith("BEGIN") and interrupts:
            raise interrupts.pop()
        return found

    with connection.execute_wrapper(interrupt), pytest.raises(KeyboardInterrupt):
        entries.claim(2, LEASE)
    assert len(entries.claim(2, LEASE)) == 2


def test_claim_keeps_documents_apart(marked, document):
    other = BoundDocument(type("Other", (Document,), {"name": "other"})(Product))
    IndexEntry.objects.mark_changed(other, ["1"])
    assert IndexEntry.objects.of(document).claim(10, LEASE) == []


def test_an_expired_claim_is_taken_over(marked, entries):
    marked("1")
    (stalled,) = entries.claim(1, timedelta(0))
    (successor,) = entries.claim(1, LEASE)
    assert successor.claim != stalled.claim
    assert entries.finish([stalled], STATES.INDEXED, 1) == 0
    assert entries.finish([successor], STATES.INDEXED, 1) == 1


@pytest.mark.django_db(transaction=True)
def test_workers_claim_disjoint_sets_and_nothing_twice(document, entries):
    IndexEntry.objects.mark_changed(document, [str(number) for number in range(120)])
    claimed: list[str] = []

    def work(_: int) -> None:
        while batch := IndexEntry.objects.of(document).claim(7, LEASE):
            claimed.extend(entry.product_id for entry in batch)

    assert together(4, work) == []
    assert sorted(claimed, key=int) == [str(number) for number in range(120)]


@pytest.mark.django_db(transaction=True)
def test_workers_and_savers_at_once_leave_the_last_revision_indexed(document, entries):
    ids = [str(number) for number in range(15)]
    IndexEntry.objects.mark_changed(document, ids)
    saving = threading.Event()

    def work(number: int) -> None:
        rows = IndexEntry.objects.of(document)
        if number < 2:
            for turn in range(12):
                IndexEntry.objects.mark_changed(document, ids[turn:] if number else [ids[turn]])
            saving.set()
            return
        while (batch := rows.claim(4, LEASE)) or not saving.is_set():
            rows.finish(batch, STATES.INDEXED, 1)
            rows.release(batch)

    assert together(4, work) == []
    while batch := entries.claim(50, LEASE):
        entries.finish(batch, STATES.INDEXED, 1)
    assert entries.filter(state=STATES.INDEXED, indexed_revision=F("revision"), claim=None).count() == 15


@pytest.mark.django_db(transaction=True)
def test_a_locked_entry_is_passed_over_without_waiting(document):
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("no SKIP LOCKED")
    IndexEntry.objects.mark_changed(document, ["1", "2"])
    claimed: list[str] = []

    def work(_: int) -> None:
        claimed.extend(e.product_id for e in IndexEntry.objects.of(document).claim(10, LEASE))

    with transaction.atomic():
        IndexEntry.objects.of(document).select_for_update().get(uuid=document.point_id("1"))
        assert together(1, work) == []
    assert claimed == ["2"]
