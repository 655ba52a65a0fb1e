"""Storage, store, database or model fail: claims are released, and nothing is lost."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest
from django.core.files.storage import FileSystemStorage
from django.db import OperationalError
from django.utils import timezone

from clip_search import indexing
from clip_search.documents.binding import BoundDocument
from clip_search.encoders import get_encoder
from clip_search.exceptions import ModelChanged, NoAnswer, SetupError, StoreUnavailable
from clip_search.indexing.delays import LONGEST_DELAY, backoff
from clip_search.models import IndexEntry
from clip_search.models.entries import IndexEntryQuerySet
from clip_search.stores import get_store
from clip_search.types import Report
from tests.conftest import PATIENCE
from tests.doubles.stores import FaultyStore, down
from tests.shops.shop.models import Product

from .actions import DOCUMENT, State, due_now, entry, index, reports, show

pytestmark = [pytest.mark.django_db, pytest.mark.sql]

# Faults of the surroundings.


def test_a_storage_that_does_not_answer_postpones_and_never_fails(monkeypatch):
    product = Product.objects.create(name="Chair", sku="C")
    other = Product.objects.create(name="Table", sku="T")
    show(product, "red")

    def refuse(self, name, mode="rb"):
        raise TimeoutError("the bucket does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(FileSystemStorage, "open", refuse)
        assert index() == Report(embedded=1, without_image=1, postponed=1)
        assert index() == Report()
        waiting = entry(product)
        assert (waiting.state, waiting.attempts, waiting.claim) == (State.PENDING, 1, None)
        assert "the bucket does not answer" in waiting.error
        assert waiting.not_before > timezone.now()
        due_now()
        assert index() == Report(postponed=1)
        assert entry(product).attempts == 2
    assert entry(other).state == State.INDEXED
    due_now()
    assert index().embedded == 1
    assert (entry(product).state, entry(product).error, entry(product).attempts) == (State.INDEXED, "", 0)


def test_a_store_that_does_not_answer_backs_off_and_never_fails():
    product = Product.objects.create(name="Chair", sku="C")
    get_store()
    for attempt in (1, 2, 3):
        FaultyStore.faults = down(1)
        with pytest.raises(StoreUnavailable):
            index()
        waiting = entry(product)
        assert (waiting.state, waiting.attempts, waiting.claim) == (State.PENDING, attempt, None)
        assert not waiting.unconfirmed  # nothing was written
        assert waiting.not_before > timezone.now()
        assert index() == Report()
        due_now()
    assert index().embedded == 1
    assert entry(product).state == State.INDEXED


@pytest.mark.parametrize("change", [{"price": 3}, {"name": "Blue mug"}])
def test_a_store_that_fails_at_the_write_loses_nothing(mug, monkeypatch, change):
    def put(name, points):
        raise NoAnswer

    Product.objects.filter(pk=mug.pk).update(**change)
    DOCUMENT.declaration.reindex([mug])
    with monkeypatch.context() as patched, pytest.raises(StoreUnavailable):
        patched.setattr(get_store(), "put", put)
        index()
    assert (entry(mug).state, entry(mug).claim) == (State.PENDING, None)
    assert entry(mug).unconfirmed  # a write that was not answered in time may have been carried out
    due_now()
    assert index().products == 1
    assert (entry(mug).state, entry(mug).unconfirmed) == (State.INDEXED, False)


def test_the_backoff_grows_has_jitter_and_an_end():
    for attempts in range(40):
        longest = min(LONGEST_DELAY, 2.0**attempts)
        delays = [backoff(attempts) for _ in range(20)]
        assert all(longest / 2 <= delay <= longest for delay in delays)
        assert len(set(delays)) > 1


def test_a_database_fault_backs_off_too(monkeypatch):
    product = Product.objects.create(name="Chair", sku="C")
    with monkeypatch.context() as patched:
        patched.setattr(
            BoundDocument,
            "find",
            lambda *args: (_ for _ in ()).throw(OperationalError("server has gone away")),
        )
        with pytest.raises(OperationalError):
            index()
    assert (entry(product).state, entry(product).attempts, entry(product).claim) == (State.PENDING, 1, None)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, indexing.Stopped])
def test_whatever_is_raised_gives_the_claims_back(monkeypatch, error):
    for number in range(5):
        Product.objects.create(name=f"Chair {number}", sku="C")

    def embed(texts):
        raise error

    monkeypatch.setattr(get_encoder(), "embed_texts", embed)
    with pytest.raises(error):
        index(limit=2)
    assert not IndexEntry.objects.exclude(claim=None).exists()
    assert IndexEntry.objects.filter(state=State.PENDING).count() == 5


def test_an_error_that_nobody_foresaw_does_not_keep_others_waiting(monkeypatch):
    """What fails is due later, so that the next claim is of other products."""
    bad = [Product.objects.create(name=f"Bad {number}", sku="B") for number in range(2)]
    good = Product.objects.create(name="Good", sku="G")
    embed_texts = get_encoder().embed_texts

    def embed(texts):
        if any(text.startswith("Bad") for text in texts):
            raise RuntimeError("index out of range in self")
        return embed_texts(texts)

    monkeypatch.setattr(get_encoder(), "embed_texts", embed)
    with pytest.raises(RuntimeError):
        index(limit=2)
    assert index(limit=2).embedded == 1
    assert entry(good).state == State.INDEXED
    assert all(entry(product).state == State.PENDING for product in bad)
    assert "index out of range" in entry(bad[0]).error


def test_the_one_at_fault_for_an_error_that_nobody_foresaw_is_soon_alone(monkeypatch):
    bad, *_ = (Product.objects.create(name=f"{n} chairs", sku="C") for n in range(8))
    embed_texts = get_encoder().embed_texts

    def embed(texts):
        if bad.name in texts:
            raise RuntimeError("index out of range in self")
        return embed_texts(texts)

    monkeypatch.setattr(get_encoder(), "embed_texts", embed)
    with pytest.raises(RuntimeError):
        index()
    waiting = IndexEntry.objects.filter(state=State.PENDING).order_by("not_before")
    while waiting.exclude(pk=entry(bad).pk).exists():
        moment = waiting[0].not_before  # which has come now
        IndexEntry.objects.filter(not_before__lte=moment).update(not_before=timezone.now())
        with suppress(RuntimeError):
            index()
        assert entry(bad).attempts < 5
    assert entry(bad).state == State.PENDING
    assert IndexEntry.objects.filter(state=State.INDEXED).count() == 7


def test_a_consumer_that_goes_away_gives_the_claims_back():
    for number in range(9):
        Product.objects.create(name=f"Chair {number}", sku="C")
    under_way = reports(2)
    assert next(under_way).embedded == 2
    under_way.close()
    assert not IndexEntry.objects.exclude(claim=None).exists()
    assert index().embedded == 7


def test_a_store_that_stays_away_gives_back_every_batch_under_way():
    for number in range(9):
        Product.objects.create(name=f"Chair {number}", sku="C")
    under_way = reports(2)
    next(under_way)
    FaultyStore.faults = down(1)
    with pytest.raises(StoreUnavailable):
        list(under_way)
    assert not IndexEntry.objects.exclude(claim=None).exists()


def test_abandoning_gives_back_what_is_under_way(monkeypatch):
    product = Product.objects.create(name="Chair", sku="C")
    show(product, "red")
    with pytest.raises(indexing.Stopped):
        index(should_abandon=lambda: True)
    assert (entry(product).state, entry(product).claim, entry(product).attempts) == (State.PENDING, None, 0)


@pytest.mark.timing
def test_a_storage_that_hangs_does_not_keep_the_claims_of_who_has_to_stop(monkeypatch):
    product = Product.objects.create(name="Chair", sku="C")
    show(product, "red")
    released, stop = threading.Event(), threading.Event()
    in_time = []

    def hang(self, name, mode="rb"):
        stop.set()
        in_time.append(released.wait(PATIENCE))
        return open_(self, name, mode)

    open_, release = FileSystemStorage.open, IndexEntryQuerySet.release
    monkeypatch.setattr(FileSystemStorage, "open", hang)
    monkeypatch.setattr(IndexEntryQuerySet, "release", lambda *args: (release(*args), released.set()))
    with pytest.raises(indexing.Stopped):
        index(should_abandon=stop.is_set)
    assert in_time == [True]
    assert entry(product).claim is None


# A store that lost something.


def test_another_model_is_a_typed_error_and_touches_no_entry(mug, settings):
    mug.name = "Blue mug"
    mug.save()
    before = list(IndexEntry.objects.values())
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "tests.doubles.encoders.OtherEncoder"}
    with pytest.raises(ModelChanged, match="clip_rebuild product"):
        index()
    assert list(IndexEntry.objects.values()) == before


def test_a_set_up_that_cannot_work_touches_no_entry(settings):
    Product.objects.create(name="Chair", sku="C")
    before = list(IndexEntry.objects.values())
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {}}
    with pytest.raises(SetupError):
        index()
    assert list(IndexEntry.objects.values()) == before
