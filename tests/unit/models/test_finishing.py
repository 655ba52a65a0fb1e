"""Finishing, renewing and releasing claims."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from clip_search.models import IndexEntry

from .actions import LEASE, STATES

pytestmark = [pytest.mark.django_db, pytest.mark.sql]

# Finishing.


def test_finish(marked, entries):
    marked("1")
    claimed = entries.claim(1, LEASE)
    assert entries.finish(claimed, STATES.FAILED, 3, "x" * 5000) == 1
    entry = entries.get()
    assert (entry.state, entry.generation, entry.indexed_revision) == (STATES.FAILED, 3, 0)
    assert (entry.claim, entry.claimed_until, entry.attempts) == (None, None, 0)
    assert entry.error == "x" * IndexEntry.MAX_ERROR
    assert not entry.is_being_indexed
    assert entry.indexed_at


def test_finish_with_another_token_changes_nothing(marked, entries):
    marked("1")
    (entry,) = entries.claim(1, LEASE)
    entry.claim = uuid.uuid4()
    assert entries.finish([entry], STATES.INDEXED, 1) == 0
    assert entries.get().state == STATES.PENDING


def test_finish_after_another_change_leaves_it_due(marked, entries):
    marked("1")
    claimed = entries.claim(1, LEASE)
    marked("1")
    assert entries.finish(claimed, STATES.INDEXED, 1) == 0
    assert not entries.due().exists()  # still held
    entries.release(claimed)
    assert [entry.revision for entry in entries.due()] == [2]


def test_finish_of_those_that_still_match(marked, entries):
    marked("1", "2")
    claimed = entries.claim(2, LEASE)
    marked("2")
    assert entries.finish(claimed, STATES.INDEXED, 1) == 1
    assert dict(entries.values_list("product_id", "state")) == {"1": STATES.INDEXED, "2": STATES.PENDING}


def test_finish_twice_is_once(marked, entries):
    marked("1")
    claimed = entries.claim(1, LEASE)
    assert [entries.finish(claimed, STATES.INDEXED, 1), entries.finish(claimed, STATES.FAILED, 1)] == [1, 0]
    assert entries.get().state == STATES.INDEXED


def test_finish_after_the_lease_if_nobody_took_over(marked, entries):
    marked("1")
    claimed = entries.claim(1, timedelta(0))
    assert entries.finish(claimed, STATES.INDEXED, 1) == 1


def test_renew_holds_on_to_what_is_still_held(marked, entries):
    marked("1", "2")
    claimed = entries.claim(2, timedelta(0))
    entries.filter(product_id="2").update(claim=uuid.uuid4())
    entries.renew(claimed, LEASE)
    assert [entry.product_id for entry in entries.due()] == ["2"]


def test_release_with_a_delay_counts_an_attempt(marked, entries):
    marked("1")
    entries.release(entries.claim(1, LEASE), 30.0, "Qdrant is away")
    entry = entries.get()
    assert (entry.claim, entry.attempts, entry.error) == (None, 1, "Qdrant is away")
    assert not entries.due().exists()
    assert entries.due(timezone.now() + timedelta(seconds=31)).exists()


def test_release_at_once_counts_none(marked, entries):
    marked("1")
    entries.release(entries.claim(1, LEASE))
    assert entries.due().get().attempts == 0


def test_release_of_what_another_worker_holds_changes_nothing(marked, entries):
    marked("1")
    stalled = entries.claim(1, timedelta(0))
    (successor,) = entries.claim(1, LEASE)
    entries.release(stalled, 30.0, "late")
    assert entries.get().claim == successor.claim
    assert entries.get().error == ""


def test_overtake_goes_above_the_points_revision(marked, entries):
    marked("1")
    (entry,) = entries.claim(1, LEASE)
    entries.overtake(entry, 41)
    assert entries.due().get().revision == 42


@pytest.mark.parametrize("change", [{"claim": uuid.uuid4()}, {"revision": 5}])
def test_overtake_of_what_changed_meanwhile_changes_nothing(marked, entries, change):
    marked("1")
    (entry,) = entries.claim(1, LEASE)
    entries.update(**change)
    entries.overtake(entry, 41)
    assert entries.get().revision == change.get("revision", 1)


def test_mark_all_due_makes_everything_due_and_leaves_the_waiting_alone(marked, entries):
    marked("1", "2", "3")
    later = timezone.now() + LEASE
    for product_id, state in (("1", STATES.INDEXED), ("2", STATES.REMOVED)):
        entries.filter(product_id=product_id).update(state=state, not_before=later)
    entries.filter(product_id="3").update(not_before=later, attempts=1)
    assert entries.mark_all_due() == 2
    assert {entry.product_id for entry in entries.due()} == {"1", "2"}


def test_an_entry_is_unique(marked, document):
    marked("1")
    with pytest.raises(IntegrityError), transaction.atomic():
        IndexEntry.objects.create(uuid=document.point_id("1"), document="product", product_id="1")


# Migrations.


def test_what_failed_is_not_indexed_at_that_revision(marked, entries):
    marked("1")
    entries.finish(entries.claim(1, LEASE), STATES.INDEXED, 1)
    marked("1")
    entries.finish(entries.claim(1, LEASE), STATES.FAILED, 1, "no")
    assert (entries.get().indexed_revision, entries.get().revision) == (1, 2)
