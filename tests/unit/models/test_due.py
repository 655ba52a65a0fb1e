"""Which entries are due."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from clip_search import indexing
from clip_search.indexing.delays import LONGEST_DELAY
from clip_search.models.entries import LONGEST_WAIT

from .actions import LEASE, STATES

pytestmark = [pytest.mark.django_db, pytest.mark.sql]


@pytest.mark.parametrize("state", [STATES.INDEXED, STATES.FAILED, STATES.REMOVED])
def test_only_pending_entries_are_due(marked, entries, state):
    marked("1")
    entries.update(state=state)
    assert not entries.due().exists()


def test_a_postponed_entry_is_due_later(marked, entries):
    marked("1")
    later = timezone.now() + timedelta(seconds=30)
    entries.update(not_before=later, attempts=1)
    assert not entries.due().exists()
    assert entries.due(later).exists()


def test_a_claimed_entry_is_due_when_its_lease_is_over(marked, entries):
    marked("1")
    (entry,) = entries.claim(10, LEASE)
    assert entry.is_being_indexed
    assert not entries.due().exists()
    assert entries.due(entry.claimed_until).exists()


@pytest.mark.parametrize("ahead", [timedelta(seconds=2), timedelta(minutes=5), timedelta(days=400)])
def test_what_a_machine_with_a_fast_clock_saved_is_due_at_once(marked, entries, ahead):
    """Its wake-up comes at once too, and would find nothing."""
    marked("1")
    entries.update(not_before=timezone.now() + ahead)
    assert [entry.product_id for entry in entries.claim(10, LEASE)] == ["1"]


def test_a_clock_that_was_set_back_keeps_neither_a_lease_nor_a_delay(marked, entries):
    marked("1", "2")
    (entry,) = entries.claim(1, LEASE)
    entries.exclude(pk=entry.pk).update(attempts=3, not_before=timezone.now() + timedelta(minutes=5))
    assert not entries.due().exists()
    assert entries.due(timezone.now() - timedelta(hours=1)).count() == 2


def test_a_clock_that_was_set_forward_frees_a_lease_and_the_first_to_finish_has_it(marked, entries):
    marked("1")
    held = entries.claim(1, LEASE)
    entries.update(claimed_until=timezone.now() - timedelta(hours=1))
    again = entries.claim(1, LEASE)
    assert entries.finish(held, STATES.INDEXED, 1) == 0
    assert entries.finish(again, STATES.INDEXED, 1) == 1


def test_no_lease_or_delay_is_longer_than_what_is_taken_for_a_wrong_clock():
    longest = max(indexing.LEASE, timedelta(seconds=LONGEST_DELAY))
    assert longest < LONGEST_WAIT / 1.5  # and clocks of two machines may differ by a little
