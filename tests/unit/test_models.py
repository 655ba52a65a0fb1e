"""The outbox: marking, claiming, finishing; and what was posted. On the database that the settings name."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from django.db.models import F
from django.utils import timezone

from clip_search import Bool, Date, Document, Keyword, Number, indexing
from clip_search.documents.binding import BoundDocument
from clip_search.documents.registry import registry
from clip_search.exceptions import ProductError
from clip_search.indexing.writing import LONGEST_DELAY
from clip_search.models import Collection, IndexEntry, PostedProduct, RelatedChange
from clip_search.models.entries import LONGEST_WAIT, IndexEntryQuerySet
from clip_search.models.posted import filter_values, store_image
from clip_search.models.retries import TRIES
from clip_search.types import POSTED_SOURCE
from tests.shops.shop.models import Product

LEASE = timedelta(seconds=60)
STATES = IndexEntry.State

pytestmark = [pytest.mark.django_db, pytest.mark.sql]


@pytest.fixture
def document() -> BoundDocument:
    return registry.get("product")


@pytest.fixture
def entries(document):
    return IndexEntry.objects.of(document)


@pytest.fixture
def marked(document) -> Callable[..., list[IndexEntry]]:
    """Return a function that marks products as changed and returns all entries."""

    def mark(*product_ids: str, **options: str) -> list[IndexEntry]:
        IndexEntry.objects.mark_changed(document, product_ids, **options)
        return list(IndexEntry.objects.of(document).order_by("product_id"))

    return mark


def statements(captured, *kinds: str) -> list[str]:
    found = [query["sql"] for query in captured.captured_queries]
    return [sql for sql in found if sql.startswith(kinds or ("SELECT", "INSERT", "UPDATE", "DELETE"))]


def together(count: int, work: Callable[[int], None]) -> list[BaseException]:
    """Run work in threads that start at once, each with a connection of its own; return what it raised."""
    barrier, errors = threading.Barrier(count), []

    def run(number: int) -> None:
        try:
            barrier.wait()
            work(number)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


# Marking as changed.


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


# What is due.


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


# Claiming.


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
@pytest.mark.skipif("not connection.features.has_select_for_update_skip_locked", reason="no SKIP LOCKED")
def test_a_locked_entry_is_passed_over_without_waiting(document):
    IndexEntry.objects.mark_changed(document, ["1", "2"])
    claimed: list[str] = []

    def work(_: int) -> None:
        claimed.extend(e.product_id for e in IndexEntry.objects.of(document).claim(10, LEASE))

    with transaction.atomic():
        IndexEntry.objects.of(document).select_for_update().get(uuid=document.point_id("1"))
        assert together(1, work) == []
    assert claimed == ["2"]


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


# Collections.


def test_one_live_collection_and_the_active_in_order(document):
    def make(state: str, generation: int) -> Collection:
        return Collection.objects.create(
            document="product", name=f"p{generation}", generation=generation, state=state, dimension=2
        )

    building, live = make("building", 2), make("live", 1)
    assert Collection.objects.of(document).active() == [live, building]
    assert str(live) == "p1"
    with pytest.raises(IntegrityError), transaction.atomic():
        make("live", 3)


def test_a_related_change_says_what_changed():
    assert (
        str(RelatedChange(document="product", model="shop.category", object_id="3"))
        == "product: shop.category 3"
    )


# What was posted.


def save(document: BoundDocument, image=None, **fields) -> PostedProduct:
    name = store_image(image) if image else ""
    return PostedProduct.objects.save_product(document, "p-1", {"name": "Mug", **fields}, name)


def files(media) -> list[str]:
    return sorted(path.relative_to(media).as_posix() for path in media.rglob("*") if path.is_file())


def test_save_product(document):
    save(document, description="Red", metadata={"a": 1})
    posted = PostedProduct.objects.of(document).get()
    assert (posted.uuid, posted.product_id, posted.name) == (document.point_id("p-1"), "p-1", "Mug")
    assert (posted.description, posted.metadata, str(posted)) == ("Red", {"a": 1}, "product p-1")


def test_saving_a_product_again_replaces_the_fields_that_are_given(document):
    first = save(document, description="Red", metadata="x")
    second = save(document, metadata=None)
    assert PostedProduct.objects.count() == 1
    found = PostedProduct.objects.get()
    assert (found.pk, found.description, found.metadata) == (first.pk, "Red", None)
    assert second.updated_at > first.updated_at


def test_an_image_lies_under_a_generated_name(document, picture, media):
    save(document, picture(name="../../etc/passwd.png"))
    (name,) = files(media)
    assert name == PostedProduct.objects.get().image.name
    assert "passwd" not in name
    assert name.startswith("clip_search/")


def test_an_image_stays_when_none_is_posted(document, picture, media):
    save(document, picture())
    save(document, name="Cup")
    assert files(media) == [PostedProduct.objects.get().image.name]


def test_a_replaced_image_is_removed_on_commit(document, picture, media, django_capture_on_commit_callbacks):
    save(document, picture("red"))
    with django_capture_on_commit_callbacks(execute=True):
        save(document, picture("blue"))
        assert len(files(media)) == 2
    assert files(media) == [PostedProduct.objects.get().image.name]


def test_delete_product_removes_the_image_on_commit(
    document, picture, media, django_capture_on_commit_callbacks
):
    save(document, picture())
    with django_capture_on_commit_callbacks(execute=True):
        assert PostedProduct.objects.delete_product(document, "p-1")
        assert len(files(media)) == 1
    assert files(media) == []
    assert not PostedProduct.objects.delete_product(document, "p-1")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", ["replace", "delete"])
def test_a_rollback_keeps_the_row_and_its_image(document, picture, media, change):
    before = save(document, picture("red")).image.name
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        if change == "delete":
            PostedProduct.objects.delete_product(document, "p-1")
        else:
            save(document, picture("blue"))
        1 / 0  # noqa: B018
    assert PostedProduct.objects.get().image.name == before
    assert before in files(media)


def test_a_deleted_product_without_an_image(document):
    save(document)
    assert PostedProduct.objects.delete_product(document, "p-1")
    assert not PostedProduct.objects.exists()


def test_posted_content(document, picture):
    posted = save(document, picture(), description="<b>Red</b>", metadata={"price": "3", "colour": "red"})
    content = posted.content(document)
    assert (content.text, content.exact) == ("Mug. Red", ("mug", "p1"))
    assert content.payload == {
        "price": 3.0,
        "name": "Mug",
        "description": "<b>Red</b>",
        "metadata": {"price": "3", "colour": "red"},
    }
    assert [image.name for image in content.images] == [posted.image.name]
    with content.images[0].open() as file:
        assert file.read() == picture().read()


def test_posted_content_without_anything_but_a_name(document):
    content = save(document).content(document)
    assert (content.text, content.images) == ("Mug", ())


FILTERED = BoundDocument(
    type(
        "Filtered",
        (Document,),
        {"filter_fields": {"price": Number("x"), "new": Bool("x"), "tag": Keyword("x"), "on": Date("x")}},
    )(Product)
)


@pytest.mark.parametrize(
    ("metadata", "values"),
    [
        ({"price": "3.5", "new": "true"}, {"price": 3.5, "new": True}),
        ({"tag": ["red", 3]}, {"tag": ["red", "3"]}),
        ({"price": None, "other": 1, "_clip": {"revision": 9}}, {}),
        ({"on": "2024-05-01"}, {"on": "2024-05-01T00:00:00+00:00"}),
        ("extra-data", {}),
        (None, {}),
        ([{"price": 3}], {}),
    ],
)
def test_filter_values(metadata, values):
    assert filter_values(FILTERED, metadata) == values


@pytest.mark.parametrize(
    "metadata",
    [
        {"price": "cheap"},
        {"price": [1, "x"]},
        {"price": {}},
        {"new": "perhaps"},
        {"on": 5},
        {"price": 10**400},
    ],
)
def test_filter_values_name_what_does_not_fit(metadata):
    (key,) = metadata
    with pytest.raises(ProductError, match=f"metadata: '{key}' should be a"):
        filter_values(FILTERED, metadata)


# Migrations.


def test_the_migrations_are_complete():
    call_command("makemigrations", "clip_search", check=True, dry_run=True, verbosity=0)


def test_what_failed_is_not_indexed_at_that_revision(marked, entries):
    marked("1")
    entries.finish(entries.claim(1, LEASE), STATES.INDEXED, 1)
    marked("1")
    entries.finish(entries.claim(1, LEASE), STATES.FAILED, 1, "no")
    assert (entries.get().indexed_revision, entries.get().revision) == (1, 2)
