"""Batches, threads, leases and the opening of the store, while products are indexed."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from itertools import count
from types import SimpleNamespace

import pytest
from django.core.files.storage import FileSystemStorage

from clip_search import indexing
from clip_search.cores import cores
from clip_search.encoders import get_encoder
from clip_search.indexing import pipeline as pipelines
from clip_search.models import IndexEntry
from clip_search.models.entries import IndexEntryQuerySet
from clip_search.stores import get_store
from clip_search.stores.embedded.store import EmbeddedStore
from clip_search.types import Report
from tests.conftest import PATIENCE
from tests.shops.shop.models import Product

from .actions import DOCUMENT, State, entry, index, override, reports, show

pytestmark = [pytest.mark.django_db, pytest.mark.sql, pytest.mark.timing]
LOAD = EmbeddedStore._load

# What is read.


@pytest.mark.parametrize("hook", ["get_payload", "should_index"])
def test_claims_hold_however_long_the_host_s_methods_take(monkeypatch, hook):
    """Otherwise another worker would claim the entries, and the work of the first would be lost."""
    Product.objects.bulk_create(Product(name=f"Chair {n}", sku=f"C-{n}") for n in range(6))
    IndexEntry.objects.mark_changed(DOCUMENT, DOCUMENT.product_ids(Product.objects.all()))
    monkeypatch.setattr("clip_search.indexing.reading.ROWS_AT_ONCE", 2)
    now, renewed, longest = 0.0, 0.0, 0.0
    answer, renew = getattr(DOCUMENT.declaration, hook), IndexEntryQuerySet.renew

    def noted(self, entries, lease):
        nonlocal renewed
        assert len(entries) == 6
        renewed = now
        renew(self, entries, lease)

    def slow(obj):
        nonlocal now, longest
        now += pipelines.LEASE.total_seconds() / 4
        longest = max(longest, now - renewed)
        return answer(obj)

    monkeypatch.setattr(pipelines, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(IndexEntryQuerySet, "renew", noted)
    override(monkeypatch, hook, slow)
    assert index().embedded == 6
    assert 0 < longest < pipelines.LEASE.total_seconds()


# Faults of the surroundings.


def test_images_go_to_the_model_in_its_batches_and_stopping_is_asked_before_each(monkeypatch):
    for number in range(10):
        show(Product.objects.create(name=f"Chair {number}", sku="C"), f"rgb({number},0,0)")
    encoder, sizes = get_encoder(), []
    embed_images = encoder.embed_images
    monkeypatch.setattr(encoder, "batch_size", 4, raising=False)
    monkeypatch.setattr(
        encoder, "embed_images", lambda images: (sizes.append(len(images)), embed_images(images))[1]
    )
    with pytest.raises(indexing.Stopped):
        index(should_abandon=lambda: len(sizes) == 2)
    assert sizes == [4, 4]
    assert not IndexEntry.objects.exclude(claim=None).exists()
    assert index().embedded == 10
    assert sizes[2:] == [4, 4, 2]


def test_of_a_disk_no_more_images_are_opened_at_once_than_there_are_cores(monkeypatch):
    open_, lock, now, most = FileSystemStorage.open, threading.Lock(), [0], [0]
    together = threading.Barrier(cores(), timeout=PATIENCE)

    def slow(self, name, mode="rb"):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        together.wait()
        time.sleep(0.02)  # for one too many to come, too
        with lock:
            now[0] -= 1
        return open_(self, name, mode)

    for number in range(4 * cores()):
        show(Product.objects.create(name=f"Chair {number}", sku="C"), f"rgb({number}, 0, 0)")
    monkeypatch.setattr(FileSystemStorage, "open", slow)
    assert index().embedded == 4 * cores()
    assert most == [cores()]


def test_no_more_is_claimed_once_told():
    for number in range(9):
        Product.objects.create(name=f"Chair {number}", sku="C")
    asked = iter([2, 2])
    assert index(next_batch_size=lambda: next(asked, 0)).embedded == 4
    assert IndexEntry.objects.filter(claim=None, state=State.PENDING).count() == 5


@pytest.fixture
def slow_model(monkeypatch) -> None:
    """Make the model take longer than claiming the next batch."""
    claimed, embed_texts, claim = threading.Semaphore(0), get_encoder().embed_texts, IndexEntryQuerySet.claim

    def claim_next(self, *args):
        found = claim(self, *args)
        claimed.release()
        return found

    def embed(texts):
        assert claimed.acquire(timeout=PATIENCE)
        return embed_texts(texts)

    def claim_first(self, *args):
        monkeypatch.setattr(IndexEntryQuerySet, "claim", claim_next)
        return claim(self, *args)

    monkeypatch.setattr(IndexEntryQuerySet, "claim", claim_first)
    monkeypatch.setattr(get_encoder(), "embed_texts", embed)


def test_no_more_than_two_batches_are_under_way_and_one_just_claimed(monkeypatch, slow_model):
    """However many wait: so the memory of a worker is that of two batches' images."""
    held = []
    for number in range(20):
        Product.objects.create(name=f"Chair {number}", sku="C")
    read = pipelines.read_items

    def noted(*args):
        held.append(IndexEntry.objects.exclude(claim=None).count())
        return read(*args)

    monkeypatch.setattr(pipelines, "read_items", noted)
    assert index(limit=3).embedded == 20
    assert max(held) == 9


def test_batches_without_the_model_are_as_large_as_a_statement(monkeypatch):
    """Because opening the embedded store then costs more than anything else."""
    for number in range(20):
        Product.objects.create(name=f"Chair {number}", sku="C")
    index(limit=3)
    for product in Product.objects.all():
        product.price = 12
        product.save()
    assert [r.payload_only for r in reports(3)] == [3, 17]
    Product.objects.update(name="Stool")
    DOCUMENT.declaration.reindex(Product.objects.all())
    assert [r.embedded for r in reports(3)] == [3] * 6 + [2]


def test_of_a_large_batch_what_needs_the_model_is_taken_a_few_at_a_time(monkeypatch):
    """Or the pixels of a thousand images would be in memory at once."""
    sizes = []
    embed = pipelines.embed
    monkeypatch.setattr(
        pipelines,
        "embed",
        lambda encoder, items, stop: (sizes.append(len(items)), embed(encoder, items, stop)),
    )
    products = [Product.objects.create(name=f"Chair {number}", sku="C") for number in range(20)]
    index(limit=3)
    sizes.clear()
    Product.objects.filter(pk__in=[p.pk for p in products[:4]]).update(price=12)
    Product.objects.filter(pk__in=[p.pk for p in products[4:]]).update(name="Stool")
    for some in (products[:3], products[3:]):  # first three that need no model: the next batch is large
        DOCUMENT.declaration.reindex(some)
    assert index(limit=3) == Report(payload_only=4, embedded=16, without_image=20)
    assert max(sizes) == 3


def test_what_is_embedded_does_not_wait_for_all_that_needs_no_model(monkeypatch):
    """However long that takes. Its claim is renewed."""
    products = [Product.objects.create(name=f"Chair {number}", sku="C") for number in range(12)]
    index()
    Product.objects.update(price=12)
    Product.objects.filter(pk=products[0].pk).update(name="Stool")
    for product in products:  # one after the other, so that the stool is claimed first
        DOCUMENT.declaration.reindex([product])
    monkeypatch.setattr(pipelines, "LARGE_BATCH", 1)
    monkeypatch.setattr(pipelines, "LEASE", timedelta(0))
    renewed = []
    renew = IndexEntryQuerySet.renew
    monkeypatch.setattr(
        IndexEntryQuerySet,
        "renew",
        lambda self, entries, lease: (renewed.extend(entries), renew(self, entries, indexing.LEASE)),
    )
    submitted = []

    class Noting(ThreadPoolExecutor):
        def submit(self, *args):
            submitted.append(super().submit(*args))
            return submitted[-1]

    monkeypatch.setattr(pipelines, "ThreadPoolExecutor", Noting)
    done, seen = 0, []
    for report in reports(1):
        done += report.products
        seen.append(report.embedded)
        wait(submitted, PATIENCE)
    assert done == 12
    assert 1 in seen[:3]
    assert renewed


def test_what_needs_no_model_does_not_wait_for_what_does(monkeypatch):
    products = [Product.objects.create(name=f"Chair {number}", sku="C") for number in range(2)]
    index()
    products[0].name = "Stool"
    products[1].price = 12
    for product in products:
        product.save()
    seen = []
    embed_texts = get_encoder().embed_texts
    written = threading.Event()
    put = get_store().put
    monkeypatch.setattr(get_store(), "put", lambda name, points: (put(name, points), written.set()))
    monkeypatch.setattr(
        get_encoder(),
        "embed_texts",
        lambda texts: (seen.append(written.wait(PATIENCE)), embed_texts(texts))[1],
    )
    assert index() == Report(payload_only=1, embedded=1, without_image=2)
    assert seen == [True]


@pytest.fixture
def openings(settings, tmp_path, monkeypatch) -> list[str]:
    """Use the embedded store. List each opening, and each write to entries while it is open."""
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"path": str(tmp_path / "qdrant")}}
    seen: list[str] = []

    monkeypatch.setattr(EmbeddedStore, "_load", lambda self, name: (seen.append("open"), LOAD(self, name))[1])

    def watched(name, usual):
        def method(self, *args, **options):
            if any(handle._shard is not None for handle in get_store()._handles.values()):
                seen.append(f"{name} while open")
            return usual(self, *args, **options)

        return method

    for name in ("claim", "finish", "release", "renew", "overtake"):
        monkeypatch.setattr(IndexEntryQuerySet, name, watched(name, getattr(IndexEntryQuerySet, name)))
    return seen


def test_the_store_is_opened_once_a_step_and_closed_for_the_database(openings, slow_model):
    for number in range(12):
        Product.objects.create(name=f"Chair {number}", sku="C")
    assert index(limit=4).embedded == 12
    assert openings == ["open"] * 5  # read, read, write and read, write, write: two batches are under way
    openings.clear()
    Product.objects.update(price=12)
    DOCUMENT.declaration.reindex(Product.objects.all())
    assert index(limit=4).payload_only == 12
    assert openings == ["open"] * 2  # a batch of 4 and one of 8, each read and written at once


def test_leases_are_renewed_while_the_model_works(monkeypatch):
    hours = count(0, 3600)
    monkeypatch.setattr(pipelines, "time", SimpleNamespace(monotonic=lambda: next(hours)))
    monkeypatch.setattr(pipelines, "POLL_SECONDS", 0.1)
    product = Product.objects.create(name="Chair", sku="C")
    show(product, "red")
    encoder, seen, release = get_encoder(), [], threading.Event()
    embed_texts = encoder.embed_texts
    monkeypatch.setattr(encoder, "embed_texts", lambda texts: (release.wait(PATIENCE), embed_texts(texts))[1])
    renew = IndexEntryQuerySet.renew

    def watched(self, entries, lease):
        renew(self, entries, lease)
        if entries:
            seen.append(entry(product).claimed_until)
        if len(seen) == 3:
            release.set()

    monkeypatch.setattr(IndexEntryQuerySet, "renew", watched)
    assert index().embedded == 1
    assert seen == sorted(set(seen))
