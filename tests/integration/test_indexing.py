"""The pipeline, stage by stage: what it embeds, what it writes, and what faults do to it."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.db import IntegrityError, OperationalError, connection
from django.db.models.signals import post_init
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from clip_search import indexing
from clip_search.cores import cores
from clip_search.documents.binding import BoundDocument
from clip_search.documents.registry import registry
from clip_search.encoders import get_encoder
from clip_search.exceptions import CollectionMissing, ModelChanged, SetupError, StoreUnavailable
from clip_search.indexing import collections, comparing, related, targets
from clip_search.indexing import pipeline as pipelines
from clip_search.indexing.embedding import ImageLoader, embed, split_by_model
from clip_search.indexing.reading import read_items, read_points
from clip_search.indexing.writing import LONGEST_DELAY, backoff, finish, write
from clip_search.models import Collection, IndexEntry, PostedProduct
from clip_search.models.entries import IndexEntryQuerySet
from clip_search.stores import get_store
from clip_search.stores.embedded.store import EmbeddedStore
from clip_search.types import IMAGE, TEXT, Point, Report
from tests.conftest import forget_declarations, picture_bytes
from tests.doubles.stores import FaultyStore, down
from tests.shops.shop.models import Category, Product, ProductImage

pytestmark = [pytest.mark.django_db, pytest.mark.sql]

DOCUMENT = registry.get("product")
State = IndexEntry.State
CLAIM = IndexEntryQuerySet.claim
LOAD = EmbeddedStore._load
ROUNDING = 1e-6
"""Qdrant scales the vectors of several images to unit length again each time that they are written."""


@pytest.fixture(autouse=True)
def doubles(settings):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {
        "ENCODER": "tests.doubles.encoders.CountingEncoder",
        "QDRANT": {"backend": "tests.doubles.stores.FaultyStore"},
    }
    yield
    FaultyStore.faults = []


def reports(limit: int = indexing.BATCH, **options) -> Iterator[Report]:
    return indexing.index_due(DOCUMENT, **{"claiming": lambda: limit} | options)


def index(limit: int = indexing.BATCH, **options) -> Report:
    """Index what is due; on_commit does not run in these tests, so that each step is theirs."""
    return sum(reports(limit, **options), Report())


def entry(product: Product | int) -> IndexEntry:
    return IndexEntry.objects.get(document="product", product_id=str(getattr(product, "pk", product)))


def collection() -> str:
    return Collection.objects.of(DOCUMENT).active()[0].name


def point(product: Product | int, name: str | None = None) -> Point | None:
    key = DOCUMENT.point_id(str(getattr(product, "pk", product)))
    return get_store().get(name or collection(), [key], vectors=True).get(key)


def due_now() -> None:
    """Let the time of every backoff pass."""
    IndexEntry.objects.update(not_before=timezone.now())


def override(monkeypatch, hook: str, method: Callable) -> None:
    """Have the document override a hook."""
    monkeypatch.setattr(type(DOCUMENT.declaration), hook, staticmethod(method))
    forget_declarations()


def show(product: Product, *colours: str) -> list[ProductImage]:
    return [
        ProductImage.objects.create(
            product=product, position=place, original=ContentFile(picture_bytes(colour), name=f"{colour}.png")
        )
        for place, colour in enumerate(colours)
    ]


@pytest.fixture
def mug() -> Product:
    """An indexed product with a picture."""
    product = Product.objects.create(name="Red mug", sku="M-1", description="for tea")
    show(product, "red")
    assert index().embedded == 1
    assert get_encoder().take() == (1, 1)
    return product


# What is read.


@pytest.mark.parametrize("hook", ["get_payload", "should_index"])
def test_claims_hold_however_long_the_host_s_methods_take(monkeypatch, hook):
    """Otherwise another worker would claim the entries, and the work of the first would be lost."""
    Product.objects.bulk_create(Product(name=f"Chair {n}", sku=f"C-{n}") for n in range(6))
    IndexEntry.objects.mark_changed(DOCUMENT, DOCUMENT.product_ids(Product.objects.all()))
    monkeypatch.setattr("clip_search.indexing.pipeline.LEASE", timedelta(seconds=1))
    monkeypatch.setattr("clip_search.indexing.reading.ROWS_AT_ONCE", 2)
    answer, taken = getattr(DOCUMENT.declaration, hook), []

    def slow(obj):
        time.sleep(0.25)
        taken.append(IndexEntry.objects.of(DOCUMENT).due().count())  # what another worker might claim
        return answer(obj)

    override(monkeypatch, hook, slow)
    assert index().embedded == 6
    assert set(taken) == {0}


# What is embedded.


def test_a_new_product_gets_one_point_with_both_vectors(mug):
    found = point(mug)
    encoder = get_encoder()
    assert found.vectors[TEXT] == pytest.approx(encoder.embed_texts(["Red mug. for tea"])[0], abs=1e-6)
    assert found.vectors[IMAGE].shape == (256,)
    assert found.payload["price"] == 0.0
    assert found.stamp.exact == ("m1", "redmug")
    assert (entry(mug).state, entry(mug).claim, entry(mug).error) == (State.INDEXED, None, "")
    assert entry(mug).indexed_revision == entry(mug).revision == found.stamp.revision


def test_a_price_costs_no_model_and_keeps_the_vectors(mug):
    before = point(mug)
    mug.price = 12
    mug.save()
    assert index() == Report(payload_only=1)
    assert get_encoder().take() == (0, 0)
    after = point(mug)
    assert after.payload["price"] == 12.0
    assert all(np.array_equal(before.vectors[name], after.vectors[name]) for name in (TEXT, IMAGE))


def test_a_new_text_embeds_no_image_and_opens_no_file(mug, monkeypatch):
    before, file = point(mug), mug.images.get().original
    monkeypatch.setattr(
        DOCUMENT.declaration, "image_signature", lambda file: before.stamp.images[0].signature
    )
    file.storage.delete(file.name)
    mug.name = "Blue mug"
    mug.save()
    assert index() == Report(embedded=1)
    assert get_encoder().take() == (1, 0)
    after = point(mug)
    assert np.array_equal(before.vectors[IMAGE], after.vectors[IMAGE])
    assert not np.array_equal(before.vectors[TEXT], after.vectors[TEXT])


def test_an_identical_image_uploaded_again_is_hashed_and_not_embedded(mug):
    before = point(mug)
    image = mug.images.get()
    image.original.save("again.png", ContentFile(picture_bytes("red")))
    assert index() == Report(payload_only=1)
    assert get_encoder().take() == (0, 0)
    after = point(mug)
    assert after.stamp.images[0].signature != before.stamp.images[0].signature
    assert after.stamp.images[0].hash == before.stamp.images[0].hash
    assert np.array_equal(before.vectors[IMAGE], after.vectors[IMAGE])


def test_a_new_image_embeds_no_text(mug):
    before = point(mug)
    mug.images.get().original.save("blue.png", ContentFile(picture_bytes("blue")))
    mug.images.all().delete()
    show(mug, "blue")
    assert index() == Report(embedded=1)
    assert get_encoder().take() == (0, 1)
    assert not np.array_equal(before.vectors[IMAGE], point(mug).vectors[IMAGE])


def test_equal_texts_are_embedded_once():
    for number in range(5):
        Product.objects.create(name="T-shirt", sku=f"T-{number}")
    assert index().embedded == 5
    assert get_encoder().texts == ["T-shirt"]


def test_equal_images_are_embedded_once():
    """Such as a placeholder that half of the catalogue shows."""
    products = [Product.objects.create(name=f"T-shirt {number}", sku="T") for number in range(5)]
    for product in products:
        show(product, "grey")
    assert index().embedded == 5
    assert get_encoder().take() == (5, 1)
    assert all(np.array_equal(point(p).vectors[IMAGE], point(products[0]).vectors[IMAGE]) for p in products)


def test_a_product_without_an_image_is_found_by_its_text():
    product = Product.objects.create(name="Voucher", sku="V")
    assert index() == Report(embedded=1, without_image=1)
    assert list(point(product).vectors) == [TEXT]
    assert entry(product).state == State.INDEXED


def test_an_image_that_goes_away_takes_its_vector_along(mug):
    mug.images.all().delete()
    assert index() == Report(payload_only=1, without_image=1)
    assert list(point(mug).vectors) == [TEXT]


def test_no_claim_survives_and_nothing_is_done_twice(mug):
    assert index() == Report()
    assert not IndexEntry.objects.exclude(claim=None).exists()


# Several images.


@pytest.fixture
def several(monkeypatch):
    monkeypatch.setattr(DOCUMENT.declaration, "max_images", 3)


def test_several_images_are_rows_that_move_with_their_image(several):
    product = Product.objects.create(name="Lamp", sku="L")
    red, blue = show(product, "red", "blue")
    index()
    assert get_encoder().take() == (1, 2)
    before = point(product).vectors[IMAGE]
    assert before.shape == (2, 256)
    ProductImage.objects.filter(pk=red.pk).update(position=9)
    DOCUMENT.declaration.reindex([product])
    assert index() == Report(payload_only=1)
    assert get_encoder().take() == (0, 0)
    assert np.allclose(point(product).vectors[IMAGE], before[::-1], rtol=0, atol=ROUNDING)
    blue.delete()
    show(product, "green")
    assert index() == Report(embedded=1)
    assert get_encoder().take() == (0, 1)
    assert np.allclose(point(product).vectors[IMAGE][1], before[0], rtol=0, atol=ROUNDING)


def test_the_same_image_twice_is_embedded_once_and_shown_twice(several):
    product = Product.objects.create(name="Lamp", sku="L")
    show(product, "red", "red")
    index()
    assert get_encoder().take() == (1, 1)
    rows = point(product).vectors[IMAGE]
    assert rows.shape == (2, 256)
    assert np.array_equal(rows[0], rows[1])


def test_no_more_than_max_images_are_opened(several):
    product = Product.objects.create(name="Lamp", sku="L")
    show(product, "red", "blue", "green", "pink")
    index()
    assert get_encoder().take() == (1, 3)


def test_of_several_images_a_broken_one_is_left_out_and_named(several):
    product = Product.objects.create(name="Lamp", sku="L")
    show(product, "red", "blue", "green")
    middle = product.images.all()[1].original
    Path(middle.path).write_bytes(b"not an image")
    assert index() == Report(failed=1)
    assert point(product).vectors[IMAGE].shape == (2, 256)
    assert entry(product).error.startswith(f"{middle.name}: The file is not a readable image.")


# Faults of a product.


def test_a_broken_image_fails_and_its_product_is_found_by_its_text():
    product = Product.objects.create(name="Chair", sku="C")
    ProductImage.objects.create(product=product, original=ContentFile(b"GIF89a, not really", name="a.gif"))
    assert index() == Report(failed=1)
    assert list(point(product).vectors) == [TEXT]
    assert entry(product).state == State.FAILED
    assert "Upload" in entry(product).error


def test_a_missing_file_fails_with_its_name():
    product = Product.objects.create(name="Chair", sku="C")
    image = show(product, "red")[0]
    Path(image.original.path).unlink()
    assert index() == Report(failed=1)
    assert Path(image.original.name).name in entry(product).error


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "http://127.0.0.1:1/a.jpg",
        "file:///etc/passwd",
        "€" * 90,
        ".",
        "a\nb",
    ],
)
def test_a_name_that_is_no_file_fails_at_once_and_the_text_is_found(name):
    product = Product.objects.create(name="Chair", sku="C")
    ProductImage.objects.create(product=product, original=name)
    assert index() == Report(failed=1)
    assert list(point(product).vectors) == [TEXT]
    assert "is missing. Upload it again" in entry(product).error
    assert str(settings.MEDIA_ROOT) not in entry(product).error


@pytest.mark.skipif(connection.vendor == "postgresql", reason="it keeps no NUL")
def test_a_name_with_a_nul_fails_at_once():
    test_a_name_that_is_no_file_fails_at_once_and_the_text_is_found("a\0b")


def test_a_broken_image_is_tried_again_when_staff_ask(monkeypatch):
    """A remote storage gives no signature but the name, so a file that was late would never be read."""
    monkeypatch.setattr(DOCUMENT.declaration, "image_signature", lambda file: file.name)
    product = Product.objects.create(name="Chair", sku="C")
    path = Path(show(product, "red")[0].original.path)
    content = path.read_bytes()
    path.unlink()
    assert index() == Report(failed=1)
    path.write_bytes(content)
    DOCUMENT.declaration.reindex([product])
    assert index() == Report(embedded=1)
    assert entry(product).state == State.INDEXED
    assert entry(product).error == ""


def test_content_that_raises_fails_and_the_rest_of_the_batch_goes_on(monkeypatch):
    def get_text(product):
        if product.sku == "B":
            raise LookupError("no translation")
        return product.name

    monkeypatch.setattr(DOCUMENT.declaration, "get_text", get_text)
    a, b, c = (Product.objects.create(name=f"Thing {sku}", sku=sku) for sku in "ABC")
    assert index() == Report(embedded=2, failed=1, without_image=2)
    assert entry(b).state == State.FAILED
    assert "LookupError: no translation" in entry(b).error
    for product in (a, c):
        assert point(product).payload["in_stock"] is True
        expected = get_encoder().embed_texts([product.name])[0]
        assert point(product).vectors[TEXT] == pytest.approx(expected, abs=1e-6)
    assert index() == Report()
    b.sku = "D"
    b.save()
    assert index().embedded == 1


@pytest.mark.parametrize("hook", ["should_index", "index_as"])
def test_asking_whether_to_index_may_raise_and_the_rest_of_the_batch_goes_on(monkeypatch, hook):
    answer = {"should_index": lambda product: True, "index_as": lambda product: product}[hook]

    def ask(product):
        if product.sku == "B":
            raise LookupError("no warehouse")
        return answer(product)

    a, b, c = (Product.objects.create(name=f"Thing {sku}", sku=sku) for sku in "ABC")
    override(monkeypatch, hook, ask)
    assert index() == Report(embedded=2, failed=1, without_image=2)
    assert (entry(a).state, entry(b).state, entry(c).state) == (State.INDEXED, State.FAILED, State.INDEXED)
    assert "LookupError: no warehouse" in entry(b).error
    pages = list(comparing.compare(DOCUMENT))
    assert {product_id for page in pages for product_id in page.changed} == {str(b.pk)}


def nest(levels: int) -> list:
    return [nest(levels - 1)] if levels > 1 else []


@pytest.mark.parametrize(
    "payload",
    [
        {"when": object()},
        {"price": float("nan")},
        {"views": 10**400},
        {"name": "\ud800"},
        {"nest": nest(51)},
        "text",
    ],
)
def test_a_payload_that_is_no_json_fails_and_the_rest_of_the_batch_goes_on(monkeypatch, payload):
    monkeypatch.setattr(
        DOCUMENT.declaration, "get_payload", lambda product: payload if product.sku == "B" else {}
    )
    a, b = (Product.objects.create(name=f"Thing {sku}", sku=sku) for sku in "AB")
    assert index().failed == 1
    assert (entry(a).state, entry(b).state) == (State.INDEXED, State.FAILED)
    assert "payload" in entry(b).error


@pytest.mark.parametrize("text", [None, 7, "lone \ud800 surrogate"])
def test_a_text_that_is_none_fails_or_is_read_and_the_rest_of_the_batch_goes_on(monkeypatch, text):
    monkeypatch.setattr(
        DOCUMENT.declaration, "get_text", lambda product: text if product.sku == "B" else product.name
    )
    a, b = (Product.objects.create(name=f"Thing {sku}", sku=sku) for sku in "AB")
    index()
    assert entry(a).state == State.INDEXED
    assert entry(b).state == State.FAILED


def test_a_payload_is_kept_as_json_reads_it(monkeypatch):
    monkeypatch.setattr(DOCUMENT.declaration, "get_payload", lambda product: {1: (2, 3)})
    product = Product.objects.create(name="Thing", sku="T")
    index()
    assert point(product).payload == {"1": [2, 3]}
    DOCUMENT.declaration.reindex([product])
    assert index().unchanged == 1


def test_an_error_that_no_database_could_keep_is_kept_readable(monkeypatch):
    def get_text(product):
        raise ValueError("what is \0 or \ud800")

    monkeypatch.setattr(DOCUMENT.declaration, "get_text", get_text)
    product = Product.objects.create(name="Thing", sku="T")
    assert index() == Report(failed=1)
    assert entry(product).error == "ValueError: what is  or ?"


def test_nothing_to_search_by_fails():
    product = Product.objects.create(name=" ", sku="N")
    assert index() == Report(failed=1, without_image=1)
    assert "neither text nor an image" in entry(product).error


def test_order_and_identity_hold_when_one_image_of_a_batch_is_broken():
    colours = ["red", "blue", "green", "black", "white"]
    products = [Product.objects.create(name=colour, sku=colour) for colour in colours]
    for product in products:
        show(product, product.name)
    Path(products[2].images.get().original.path).write_bytes(b"")
    assert index() == Report(embedded=4, failed=1)
    encoder = get_encoder()
    for product in [*products[:2], *products[3:]]:
        shown = encoder.embed_texts([product.name])[0]
        own = float(point(product).vectors[IMAGE] @ shown)
        others = [float(point(p).vectors[IMAGE] @ shown) for p in products if p not in (product, products[2])]
        assert own > max(others)


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
        assert waiting.not_before > timezone.now()
        assert index() == Report()
        due_now()
    assert index().embedded == 1
    assert entry(product).state == State.INDEXED


@pytest.mark.parametrize("change", [{"price": 3}, {"name": "Blue mug"}])
def test_a_store_that_fails_at_the_write_loses_nothing(mug, monkeypatch, change):
    def put(name, points):
        raise StoreUnavailable

    Product.objects.filter(pk=mug.pk).update(**change)
    DOCUMENT.declaration.reindex([mug])
    with monkeypatch.context() as patched, pytest.raises(StoreUnavailable):
        patched.setattr(get_store(), "put", put)
        index()
    assert (entry(mug).state, entry(mug).claim) == (State.PENDING, None)
    due_now()
    assert index().products == 1
    assert entry(mug).state == State.INDEXED


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
        index(abandon=lambda: True)
    assert (entry(product).state, entry(product).claim, entry(product).attempts) == (State.PENDING, None, 0)


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
        index(abandon=lambda: len(sizes) == 2)
    assert sizes == [4, 4]
    assert not IndexEntry.objects.exclude(claim=None).exists()
    assert index().embedded == 10
    assert sizes[2:] == [4, 4, 2]


def test_a_storage_that_hangs_does_not_keep_the_claims_of_who_has_to_stop(monkeypatch):
    product = Product.objects.create(name="Chair", sku="C")
    show(product, "red")
    released, stop = threading.Event(), threading.Event()
    in_time = []

    def hang(self, name, mode="rb"):
        stop.set()
        in_time.append(released.wait(10))
        return open_(self, name, mode)

    open_, release = FileSystemStorage.open, IndexEntryQuerySet.release
    monkeypatch.setattr(FileSystemStorage, "open", hang)
    monkeypatch.setattr(IndexEntryQuerySet, "release", lambda *args: (release(*args), released.set()))
    with pytest.raises(indexing.Stopped):
        index(abandon=stop.is_set)
    assert in_time == [True]
    assert entry(product).claim is None


def test_of_a_disk_no_more_images_are_opened_at_once_than_there_are_cores(monkeypatch):
    open_, lock, now, most = FileSystemStorage.open, threading.Lock(), [0], [0]

    def slow(self, name, mode="rb"):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
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
    assert index(claiming=lambda: next(asked, 0)).embedded == 4
    assert IndexEntry.objects.filter(claim=None, state=State.PENDING).count() == 5


@pytest.fixture
def slow_model(monkeypatch) -> None:
    """Have the model take longer than claiming the next batch."""
    embed_texts = get_encoder().embed_texts
    monkeypatch.setattr(get_encoder(), "embed_texts", lambda texts: (time.sleep(0.2), embed_texts(texts))[1])


def test_no_more_than_two_batches_are_under_way_and_one_just_claimed(monkeypatch, slow_model):
    """However many wait: so the memory of a worker is that of two batches' images."""
    held = []
    for number in range(20):
        Product.objects.create(name=f"Chair {number}", sku="C")

    def claim(self, *args):
        found = CLAIM(self, *args)
        held.append(IndexEntry.objects.exclude(claim=None).count())
        return found

    monkeypatch.setattr(IndexEntryQuerySet, "claim", claim)
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
    """However long that is, and its claim holds meanwhile."""
    products = [Product.objects.create(name=f"Chair {number}", sku="C") for number in range(12)]
    index()
    Product.objects.update(price=12)
    Product.objects.filter(pk=products[0].pk).update(name="Stool")
    for product in products:  # one after the other, so that the stool is claimed first
        DOCUMENT.declaration.reindex([product])
    monkeypatch.setattr(pipelines, "ROWS_PER_STATEMENT", 1)
    monkeypatch.setattr(pipelines, "LEASE", timedelta(0))
    renewed = []
    renew = IndexEntryQuerySet.renew
    monkeypatch.setattr(
        IndexEntryQuerySet,
        "renew",
        lambda self, entries, lease: (renewed.extend(entries), renew(self, entries, indexing.LEASE)),
    )
    done, seen = 0, []
    for report in reports(1):
        done += report.products
        seen.append(report.embedded)
        time.sleep(0.05)  # enough for the model
    assert done == 12
    assert 1 in seen[:3]
    assert renewed


def test_a_point_that_lost_a_vector_is_embedded_anew(mug):
    for lost in (TEXT, IMAGE):
        get_store().lose(collection(), DOCUMENT.point_id(str(mug.pk)), lost)
        assert set(point(mug).vectors) == {TEXT, IMAGE} - {lost}
        mug.price += 1
        mug.save()
        assert index() == Report(embedded=1)
        assert set(point(mug).vectors) == {TEXT, IMAGE}


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
        get_encoder(), "embed_texts", lambda texts: (seen.append(written.wait(5)), embed_texts(texts))[1]
    )
    assert index() == Report(payload_only=1, embedded=1, without_image=2)
    assert seen == [True]


@pytest.fixture
def openings(settings, tmp_path, monkeypatch) -> list[str]:
    """Use the embedded store, and list its openings and what is done to entries meanwhile."""
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


def test_a_new_product_that_is_saved_while_it_is_indexed_is_embedded_once(monkeypatch):
    product = Product.objects.create(name="Chair", sku="C")
    with monkeypatch.context() as patched:
        patched.setattr(
            pipelines, "write", lambda *args: (write(*args), DOCUMENT.declaration.reindex([product]))
        )
        assert next(indexing.index_due(DOCUMENT)).embedded == 1
    assert entry(product).state == State.PENDING
    monkeypatch.setattr(get_encoder(), "embed_texts", None)
    assert index() == Report(unchanged=1, without_image=1)


def test_leases_are_renewed_while_the_model_works(monkeypatch):
    monkeypatch.setattr(pipelines, "LEASE", timedelta(seconds=0.6))
    monkeypatch.setattr(pipelines, "POLL_SECONDS", 0.1)
    product = Product.objects.create(name="Chair", sku="C")
    show(product, "red")
    encoder, seen, release = get_encoder(), [], threading.Event()
    embed_texts = encoder.embed_texts
    monkeypatch.setattr(encoder, "embed_texts", lambda texts: (release.wait(5), embed_texts(texts))[1])
    renew = IndexEntryQuerySet.renew

    def watched(self, entries, lease):
        renew(self, entries, lease)
        seen.append(entry(product).claimed_until)
        if len(seen) == 3:
            release.set()

    monkeypatch.setattr(IndexEntryQuerySet, "renew", watched)
    assert index().embedded == 1
    assert seen == sorted(set(seen))


# Revisions.


def test_what_is_unchanged_is_not_written(mug):
    written = get_store().written
    DOCUMENT.declaration.reindex([mug])
    assert index() == Report(unchanged=1)
    assert get_store().written == written
    assert entry(mug).indexed_revision == entry(mug).revision == point(mug).stamp.revision + 1


def test_what_is_unchanged_is_written_where_a_revision_lies_between(mug):
    """A worker that stalled with that revision could still write its older content."""
    DOCUMENT.declaration.reindex([mug])
    DOCUMENT.declaration.reindex([mug])
    index()
    assert point(mug).stamp.revision == entry(mug).revision
    assert get_encoder().take() == (0, 0)


def test_an_entry_older_than_its_point_overtakes_it(mug):
    """As after a database was restored from yesterday's copy."""
    for name in ("Green mug", "Blue mug", "Black mug"):
        mug.name = name
        mug.save()
        index()
    high = point(mug).stamp.revision
    IndexEntry.objects.update(revision=1, indexed_revision=1)
    mug.name = "White mug"
    mug.save()
    assert entry(mug).revision < high
    index()
    assert point(mug).stamp.revision == entry(mug).revision > high
    assert (entry(mug).state, entry(mug).claim) == (State.INDEXED, None)
    expected = get_encoder().embed_texts(["White mug. for tea"])[0]
    assert point(mug).vectors[TEXT] == pytest.approx(expected, abs=1e-6)


def test_a_product_whose_entry_was_lost_overtakes_its_tombstone(mug):
    key = mug.pk
    mug.delete()
    assert index() == Report(removed=1)
    assert point(key).stamp.removed
    IndexEntry.objects.all().delete()
    Product.objects.create(pk=key, name="Red mug", sku="M-1")
    index()
    assert not point(key).stamp.removed
    assert entry(key).state == State.INDEXED


def test_a_deleted_product_is_removed_and_its_re_creation_found(mug):
    key = mug.pk
    mug.delete()
    assert index() == Report(removed=1)
    assert point(key).vectors == {}
    assert get_store().count(collection()) == 0
    assert entry(key).state == State.REMOVED
    Product.objects.create(pk=key, name="Red mug", sku="M-1")
    assert index() == Report(embedded=1, without_image=1)
    assert get_store().count(collection()) == 1


def test_one_that_qualifies_no_longer_is_removed(mug):
    mug.is_public = False
    mug.save()
    assert index() == Report(removed=1)
    assert point(mug).stamp.removed


# A worker that stalls.


class Stalled:
    """A worker that has claimed, read and embedded, and goes on only when told."""

    def __init__(self) -> None:
        self.target = targets.get_target(DOCUMENT)
        entries = IndexEntry.objects.of(DOCUMENT).claim(10, indexing.LEASE)
        self.items = read_items(self.target, entries, lambda: None)
        read_points(self.target, self.items, vectors=True)
        waiting, _ = split_by_model(self.items)
        loader = ImageLoader()
        for item in waiting:
            loader.load(item, self.target.encoder)
        embed(self.target.encoder, waiting, lambda: False)
        loader.shut_down()

    def wake(self) -> Report:
        write(self.target, self.items)
        return finish(self.target, self.items)


@pytest.fixture
def stalled(mug) -> Stalled:
    """A worker that read "Stale mug" and stalled until its lease ended."""
    mug.name = "Stale mug"
    mug.save()
    worker = Stalled()
    IndexEntry.objects.update(claimed_until=timezone.now())
    return worker


def text_of(product: Product | int, text: str) -> bool:
    expected = get_encoder().embed_texts([text])[0]
    return bool(np.allclose(point(product).vectors[TEXT], expected, atol=1e-6))


def test_a_stalled_worker_does_not_overwrite_a_newer_save(mug, stalled):
    mug.name = "New mug"
    mug.save()
    assert index().embedded == 1
    stalled.wake()
    assert text_of(mug, "New mug. for tea")
    assert (entry(mug).state, entry(mug).indexed_revision) == (State.INDEXED, entry(mug).revision)


def test_a_stalled_worker_does_not_overwrite_the_same_revision(mug, stalled):
    index()
    written = point(mug)
    stalled.wake()
    assert point(mug).stamp == written.stamp
    assert entry(mug).state == State.INDEXED


def test_a_stalled_worker_does_not_overwrite_content_that_came_back(mug, stalled):
    """The newer content is what the point had before the stall: it is written all the same."""
    mug.name = "Red mug"
    mug.save()
    index()
    stalled.wake()
    assert text_of(mug, "Red mug. for tea")


def test_a_stalled_worker_does_not_bring_a_deleted_product_back(mug, stalled):
    key = mug.pk
    mug.delete()
    assert index() == Report(removed=1)
    stalled.wake()
    assert point(key).stamp.removed
    assert entry(key).state == State.REMOVED


def test_a_stalled_worker_does_not_overwrite_a_re_created_product(mug, stalled):
    key = mug.pk
    mug.delete()
    index()
    Product.objects.create(pk=key, name="Re-created", sku="R")
    index()
    stalled.wake()
    assert text_of(key, "Re-created")
    assert entry(key).state == State.INDEXED


def test_a_stalled_worker_does_not_delete_a_re_created_product(mug):
    key = mug.pk
    mug.delete()
    worker = Stalled()
    IndexEntry.objects.update(claimed_until=timezone.now())
    Product.objects.create(pk=key, name="Re-created", sku="R")
    index()
    assert worker.wake() == Report(removed=1)
    assert text_of(key, "Re-created")
    assert entry(key).state == State.INDEXED


def test_a_save_while_the_claim_is_held_is_indexed_next(mug):
    mug.name = "First"
    mug.save()
    worker = Stalled()
    mug.name = "Second"
    mug.save()
    assert index() == Report()
    worker.wake()
    assert (entry(mug).state, entry(mug).claim) == (State.PENDING, None)
    assert index().embedded == 1
    assert text_of(mug, "Second. for tea")


# A store that lost something.


def test_a_destroyed_collection_is_made_again_with_everything_in_it():
    products = [Product.objects.create(name=f"Chair {number}", sku="C") for number in range(5)]
    index()
    before = collection()
    get_store().destroy(before)
    products[0].save()
    index(limit=2)
    assert collection() != before
    assert get_store().count(collection()) == 5


def test_a_collection_that_vanishes_under_way_is_made_again():
    for number in range(6):
        Product.objects.create(name=f"Chair {number}", sku="C")
    under_way = reports(2)
    next(under_way)
    get_store().destroy(collection())
    list(under_way)
    assert get_store().count(collection()) == 6
    assert not IndexEntry.objects.exclude(state=State.INDEXED).exists()


def test_who_wrote_to_a_collection_that_then_vanished_does_not_finish():
    product = Product.objects.create(name="Chair", sku="C")
    worker = Stalled()
    write(worker.target, worker.items)
    get_store().destroy(collection())
    assert collections.recreate_missing(DOCUMENT) == 1
    finish(worker.target, worker.items)
    assert entry(product).state == State.PENDING
    assert index().embedded == 1


def test_a_collection_that_another_process_made_and_lost_is_a_missing_one(monkeypatch):
    def refuse(self, **values):
        raise IntegrityError

    monkeypatch.setattr(type(Collection.objects.all()), "create", refuse)
    with pytest.raises(CollectionMissing):
        collections.create_collection(DOCUMENT, get_store(), get_encoder())


def test_a_store_that_contradicts_itself_is_not_asked_for_ever(mug):
    """It has the collection, and says of every use that it has not."""
    mug.save()
    FaultyStore.faults = [CollectionMissing() for _ in range(10)]
    with pytest.raises(CollectionMissing):
        index()
    assert 1 < len(FaultyStore.faults) < 8
    assert entry(mug).claim is None


def test_two_processes_that_make_the_first_collection_agree_on_one(monkeypatch):
    store, made = get_store(), []
    create = store.create

    def late(name, schema):
        create(name, schema)
        if not made:
            made.append(name)
            made.append(targets.get_target(DOCUMENT).collections[0].name)

    monkeypatch.setattr(store, "create", late)
    mine, theirs = targets.get_target(DOCUMENT).collections[0].name, made[1]
    assert mine == theirs
    assert not store.exists(made[0])


def test_a_point_that_is_gone_is_embedded_anew(mug):
    get_store().lose(collection(), DOCUMENT.point_id(str(mug.pk)))
    mug.price = 3
    mug.save()
    assert index() == Report(embedded=1)
    assert set(point(mug).vectors) == {TEXT, IMAGE}


def test_a_point_that_goes_between_reading_and_writing_is_written_whole(mug):
    mug.price = 3
    mug.save()
    worker = Stalled()
    get_store().lose(collection(), DOCUMENT.point_id(str(mug.pk)))
    worker.wake()
    assert entry(mug).state == State.INDEXED
    assert point(mug).payload["price"] == 3
    assert set(point(mug).vectors) == {TEXT, IMAGE}


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


# Two collections, while one is built.


@pytest.fixture
def building(mug) -> Collection:
    return collections.create_collection(
        DOCUMENT, get_store(), get_encoder(), state=Collection.State.BUILDING, generation=2
    )


def test_a_save_during_a_rebuild_is_written_to_both_and_embedded_once(mug, building):
    mug.name = "Blue mug"
    mug.save()
    assert index() == Report(embedded=1)
    assert get_encoder().take() == (1, 0)
    assert entry(mug).generation == 2
    live, new = point(mug), point(mug, building.name)
    assert live.stamp == new.stamp
    assert all(np.array_equal(live.vectors[name], new.vectors[name]) for name in (TEXT, IMAGE))


def test_a_delete_during_a_rebuild_leaves_a_tombstone_in_both(mug, building):
    key = mug.pk
    mug.delete()
    index()
    assert point(key).stamp.removed
    assert point(key, building.name).stamp.removed


def test_a_live_collection_that_vanishes_during_a_rebuild_is_made_again(mug, building):
    get_store().destroy(collection())
    mug.price = 3
    mug.save()
    index()
    live, new = Collection.objects.of(DOCUMENT).active()
    assert (live.state, new) == (Collection.State.LIVE, building)
    assert point(mug, live.name).stamp == point(mug, building.name).stamp


def test_a_tombstone_in_one_collection_does_not_keep_the_other_s_vectors_from_being_used(mug, building):
    """A delete reached the live collection only; then the product came back."""
    DOCUMENT.declaration.reindex([mug])
    index()
    tomb = point(mug)
    get_store().drop(collection(), [tomb])
    DOCUMENT.declaration.reindex([mug])
    due_now()
    report = index()
    assert report.postponed == 0
    assert set(point(mug).vectors) == set(point(mug, building.name).vectors) == {TEXT, IMAGE}
    assert get_encoder().take() == (0, 0)


def test_a_collection_that_appears_between_looking_and_claiming_is_written_to(mug, monkeypatch):
    """Otherwise an entry that the rebuild had done would go back to the old collection alone."""
    mug.name = "Blue mug"
    mug.save()
    made = []

    def late(self, *args, **kwargs):
        if not made:
            made.append(
                collections.create_collection(
                    DOCUMENT, get_store(), get_encoder(), state=Collection.State.BUILDING, generation=2
                )
            )
        return CLAIM(self, *args, **kwargs)

    monkeypatch.setattr(IndexEntryQuerySet, "claim", late)
    index()
    assert point(mug, made[0].name) is not None
    assert entry(mug).generation == 2


def test_an_old_model_s_live_collection_is_left_alone_but_for_deletes(mug, settings):
    other = Product.objects.create(name="Chair", sku="C")
    index()
    live = collection()
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "tests.doubles.encoders.OtherEncoder"}
    new = collections.create_collection(
        DOCUMENT, get_store(), get_encoder(), state=Collection.State.BUILDING, generation=2
    )
    before, key = point(mug, live), other.pk
    mug.name = "Blue mug"
    mug.save()
    other.delete()
    assert index() == Report(embedded=1, removed=1)
    assert point(mug, live).stamp == before.stamp
    assert point(mug, new.name).vectors[TEXT].shape == (300,)
    assert point(key, live).stamp.removed
    assert point(key, new.name).stamp.removed


# Posted and related.


def test_a_posted_product_takes_the_same_path_and_the_shop_s_next_save_takes_it_back(mug):
    key = str(mug.pk)
    PostedProduct.objects.save_product(
        DOCUMENT, key, {"name": "Posted", "metadata": {"price": "4", "note": "x"}}
    )
    PostedProduct.objects.save_product(DOCUMENT, "p-1", {"name": "Alone", "metadata": {"price": "much"}})
    IndexEntry.objects.mark_changed(DOCUMENT, [key, "p-1"], source="posted")
    assert index() == Report(embedded=1, failed=1, without_image=1)
    found = point(mug)
    assert (found.stamp.source, found.payload["price"], found.payload["name"]) == ("posted", 4.0, "Posted")
    assert found.payload["metadata"] == {"price": "4", "note": "x"}
    failed = IndexEntry.objects.get(product_id="p-1")
    assert failed.error.startswith("metadata: 'price' should be a number")
    mug.save()
    index()
    assert (point(mug).stamp.source, point(mug).payload["price"]) == ("model", 0.0)
    IndexEntry.objects.mark_changed(DOCUMENT, ["p-1"], source="posted")
    PostedProduct.objects.delete_product(DOCUMENT, "p-1")
    assert index() == Report(removed=1)


def post_again(product: Product) -> None:
    PostedProduct.objects.save_product(DOCUMENT, str(product.pk), {"name": "Posted mug"})
    IndexEntry.objects.mark_changed(DOCUMENT, [str(product.pk)], source="posted")


def test_a_related_change_does_not_take_back_what_was_posted(mug):
    mug.category = Category.objects.create(name="Kitchen", slug="kitchen")
    mug.save()
    index()
    mug.category.save()
    post_again(mug)
    related.expand_related(DOCUMENT)
    index()
    assert text_of(mug, "Posted mug")


@pytest.mark.parametrize("gone", [False, True])
def test_what_is_posted_while_the_nightly_run_compares_has_the_last_word(mug, gone):
    ProductImage.objects.all().delete()
    index()
    rows = Product.objects.filter(pk=mug.pk)
    rows._raw_delete("default") if gone else rows.update(name="Updated")
    pages = list(comparing.compare(DOCUMENT))
    assert [page.changed for page in pages if page.changed] == [[str(mug.pk)]]
    post_again(mug)
    list(comparing.mark_changed(DOCUMENT, pages))
    index()
    assert text_of(mug, "Posted mug")


@pytest.mark.parametrize("saved", [False, True])
def test_what_is_saved_while_the_nightly_run_compares_has_the_last_word(mug, saved):
    post_again(mug)
    index()
    PostedProduct.objects.update(name="Posted otherwise")
    pages = list(comparing.compare(DOCUMENT))
    if saved:
        mug.save()
    list(comparing.mark_changed(DOCUMENT, pages))
    index()
    assert text_of(mug, "Red mug. for tea" if saved else "Posted otherwise")


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """List whose content is read."""
    seen: list[str] = []
    content = BoundDocument.content
    monkeypatch.setattr(
        BoundDocument, "content", lambda self, row: (seen.append(row.sku), content(self, row))[1]
    )
    return seen


def nightly() -> Report:
    return sum(comparing.mark_changed(DOCUMENT, comparing.compare(DOCUMENT)), Report())


def price_of(product: Product) -> float:
    found = point(product)
    assert found and entry(product).state == State.INDEXED
    return found.payload["price"]


def test_the_nightly_run_reads_no_rows_to_find_products_that_it_never_saw(mug):
    IndexEntry.objects.all().delete()
    with CaptureQueriesContext(connection) as queries:
        pages = list(comparing.compare(DOCUMENT))
    assert [page.changed for page in pages if page.changed] == [[str(mug.pk)]]
    read = f"{Product._meta.db_table}.{Product._meta.get_field('name').column}"
    assert not any(read in query["sql"].translate(dict.fromkeys(map(ord, '"`'))) for query in queries)
    nightly()
    index()
    chair = Product(name="Chair", sku="C")
    Product.objects.bulk_create([chair])
    assert [page.changed for page in comparing.compare(DOCUMENT) if page.changed] == [[str(chair.pk)]]


@pytest.mark.parametrize("overridden", [set(), {"should_index"}])
def test_the_nightly_run_has_one_page_of_rows_in_memory(monkeypatch, overridden):
    for hook in overridden:
        override(monkeypatch, hook, lambda obj: True)
    for number in range(6):
        Product.objects.create(name=f"Chair {number}", sku="C")
    index()
    Product.objects.update(price=7)
    rows: list[weakref.ref] = []
    alive: list[int] = []

    def read(instance, **_):
        rows.append(weakref.ref(instance))
        gc.collect()  # a row and what is prefetched for it hold each other
        alive.append(sum(row() is not None for row in rows))

    post_init.connect(read, sender=Product)
    try:
        list(comparing.mark_changed(DOCUMENT, comparing.compare(DOCUMENT, size=2)))
    finally:
        post_init.disconnect(read, sender=Product)
    assert len(alive) >= 6
    assert max(alive) == 2


@pytest.mark.parametrize("moment", ["entry", "row", "point", "mark"])
@pytest.mark.parametrize("indexed", [False, True])
def test_what_is_saved_before_the_nightly_run_comes_to_a_step_is_not_lost(mug, monkeypatch, moment, indexed):
    """What it has read by then is older, whoever is quicker to index it."""
    index()
    Product.objects.filter(pk=mug.pk).update(price=7)

    def save() -> None:
        monkeypatch.undo()
        Product.objects.get(pk=mug.pk).save()
        Product.objects.filter(pk=mug.pk).update(price=8)
        assert not indexed or index().products

    entries, points = comparing._entries, comparing.read_points
    if moment == "entry":
        monkeypatch.setattr(comparing, "_entries", lambda *args: (save(), entries(*args))[1])
    elif moment == "row":
        monkeypatch.setattr(comparing, "_entries", lambda *args: (entries(*args), save())[0])
    elif moment == "point":
        monkeypatch.setattr(comparing, "read_points", lambda *args: (save(), points(*args))[1])
    pages = list(comparing.compare(DOCUMENT))
    if moment == "mark":
        save()
    list(comparing.mark_changed(DOCUMENT, pages))
    index()
    assert price_of(mug) == 8


@pytest.mark.parametrize("hook", ["", "should_index", "index_as"])
def test_what_the_nightly_run_finds_is_read_again_after_the_claim(mug, asked, monkeypatch, hook):
    if hook:
        override(monkeypatch, hook, {"should_index": lambda row: True, "index_as": lambda row: row}[hook])
    index()
    Product.objects.update(price=7)
    asked.clear()
    assert nightly() == Report()
    assert index().payload_only == 1
    assert asked == ["M-1", "M-1"]
    assert price_of(mug) == 7


def test_a_product_reads_what_is_committed_when_it_is_claimed(mug):
    category = Category.objects.create(name="Kitchen", slug="kitchen")
    mug.category = category
    mug.save()
    Category.objects.filter(pk=category.pk).update(slug="cookware")
    index()
    assert point(mug).payload["category"] == "cookware"
