"""Images on a storage that is no disk of ours: few requests, no paths, and nothing is left by what fails."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.files.storage import Storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.test import Client
from PIL import Image

from clip_search import jobs
from clip_search.cores import cores
from clip_search.documents.registry import registry
from clip_search.indexing import comparing
from clip_search.indexing.embedding import REMOTE_IMAGES_PER_THREAD
from clip_search.models import IndexEntry, PostedProduct
from clip_search.models.entries import IndexEntryQuerySet
from tests.conftest import PATIENCE, picture_bytes
from tests.doubles.stores import FaultyStore, down
from tests.shops.shop.models import Product, ProductImage

pytestmark = pytest.mark.django_db(transaction=True)

DOCUMENT = registry.get("product")
ASYNC = "/api/v1/index-product-with-image"


class Bucket(Storage):
    """A bucket far away: it has no paths, and counts each request. `faults`, by request, are raised once."""

    files: ClassVar[dict[str, bytes]] = {}
    requests: ClassVar[Counter[str]] = Counter()
    faults: ClassVar[dict[str, Exception]] = {}

    def _ask(self, what: str) -> None:
        self.requests[what] += 1
        if what in self.faults:
            raise self.faults.pop(what)

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name  # as buckets overwrite

    def _open(self, name: str, mode: str = "rb") -> ContentFile:
        self._ask("open")
        if name not in self.files:
            raise FileNotFoundError(f"There is no {name}")
        return ContentFile(self.files[name], name=name)

    def _save(self, name: str, content) -> str:
        self.files[name] = b"half"
        self._ask("save")
        self.files[name] = content.read()
        return name

    def delete(self, name: str) -> None:
        self._ask("delete")
        self.files.pop(name, None)

    def exists(self, name: str) -> bool:
        self._ask("exists")
        return name in self.files

    def size(self, name: str) -> int:
        self._ask("size")
        return len(self.files[name])

    def get_modified_time(self, name: str) -> None:
        self._ask("modified")

    def url(self, name: str | None) -> str:
        return f"https://bucket.example/{name}"

    @classmethod
    def take(cls) -> Counter[str]:
        """Return the requests since the last call."""
        found = Counter(cls.requests)
        cls.requests.clear()
        return found


@pytest.fixture(autouse=True)
def bucket(settings) -> Iterator[type[Bucket]]:
    settings.STORAGES = {
        "default": {"BACKEND": "tests.integration.test_storage.Bucket"},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QUEUE": "default"}  # which nobody listens to
    for kept in (Bucket.files, Bucket.requests, Bucket.faults):
        kept.clear()
    yield Bucket
    assert not Bucket.faults


@pytest.fixture(autouse=True)
def uploads(settings, tmp_path) -> Iterator[Path]:
    """Stream uploads through temporary files; none of them is left."""
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 0
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "uploads"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir()
    yield settings.FILE_UPLOAD_TEMP_DIR
    assert list(settings.FILE_UPLOAD_TEMP_DIR.iterdir()) == []


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create(username="staff", is_staff=True))
    return client


def post(client: Client, data: bytes = b"", product_id: str = "p-1"):
    upload = SimpleUploadedFile("mug.png", data or picture_bytes("red"))
    return client.post(ASYNC, {"product_id": product_id, "name": "Mug", "image_file": upload})


def half_a_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 100).save(buffer, "JPEG")
    return buffer.getvalue()[: buffer.tell() // 2]


def entry() -> IndexEntry:
    return IndexEntry.objects.get()


def shop(count: int) -> None:
    for number in range(count):
        product = Product.objects.create(name=f"Mug {number}", sku=f"M{number}")
        data = ContentFile(picture_bytes(f"rgb({number},90,30)"), name="mug.png")
        ProductImage.objects.create(product=product, original=data)


def test_each_image_is_asked_for_once_and_a_nightly_run_asks_for_nothing(client, bucket):
    shop(30)
    for number in range(10):
        assert post(client, product_id=f"p-{number}").status_code == 202
    assert bucket.take() == {"save": 40}
    jobs.index_due("product")
    assert set(IndexEntry.objects.values_list("state", flat=True)) == {IndexEntry.State.INDEXED}
    assert bucket.take() == {"open": 40}
    pages = list(comparing.compare(DOCUMENT))
    assert sum(page.unchanged.unchanged for page in pages) == 40
    assert not any(page.changed for page in pages)
    Product.objects.update(price=3)
    DOCUMENT.declaration.reindex(Product.objects.all())
    jobs.index_due("product")
    assert bucket.take() == {}


@pytest.mark.timing
def test_several_images_a_core_are_fetched_at_once(bucket, monkeypatch):
    """Each takes time, during which its thread only waits."""
    at_once = threading.Barrier(cores() * REMOTE_IMAGES_PER_THREAD, timeout=PATIENCE)
    open_ = bucket._open

    def meet(self: Bucket, name: str, mode: str = "rb") -> ContentFile:
        at_once.wait()
        return open_(self, name, mode)

    shop(at_once.parties)
    monkeypatch.setattr(bucket, "_open", meet)
    jobs.index_due("product")
    assert set(IndexEntry.objects.values_list("state", flat=True)) == {IndexEntry.State.INDEXED}


def test_an_image_that_is_replaced_or_whose_product_is_deleted_is_deleted_once(client, bucket):
    post(client)
    (first,) = bucket.files
    post(client, picture_bytes("blue"))
    assert bucket.take() == {"save": 2, "delete": 1}
    (second,) = bucket.files
    assert second != first
    assert client.delete("/api/v1/products/p-1").status_code == 204
    assert bucket.files == {}
    assert bucket.take() == {"delete": 1}


@pytest.mark.parametrize("fault", ["open", "store"])
def test_an_image_outlives_a_job_that_failed(client, bucket, settings, monkeypatch, fault):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"backend": "tests.doubles.stores.FaultyStore"}}
    post(client)
    if fault == "open":
        bucket.faults["open"] = TimeoutError("no answer")
    else:
        monkeypatch.setattr(FaultyStore, "faults", down(1))
    jobs.index_due("product")
    assert (entry().state, entry().attempts) == (IndexEntry.State.PENDING, 1)
    assert len(bucket.files) == 1
    IndexEntry.objects.update(not_before=entry().created_at)
    jobs.index_due("product")
    assert entry().state == IndexEntry.State.INDEXED


def test_a_damaged_image_stays_for_who_looks_into_it(client, bucket):
    post(client, half_a_jpeg())
    jobs.index_due("product")
    assert entry().state == IndexEntry.State.FAILED
    assert len(bucket.files) == 1


@pytest.mark.parametrize("error", [TimeoutError("no answer"), RuntimeError("EndpointConnectionError")])
def test_a_bucket_that_takes_no_file_is_a_503_and_keeps_nothing(client, bucket, error):
    bucket.faults["save"] = error
    answer = post(client)
    assert (answer.status_code, bool(answer["Retry-After"])) == (503, True)
    assert bucket.files == {}
    assert not PostedProduct.objects.exists()
    assert not IndexEntry.objects.exists()
    assert post(client).status_code == 202


def test_a_file_that_cannot_be_recorded_is_taken_back(client, bucket, monkeypatch):
    post(client)
    kept = dict(bucket.files)

    def fail(*args: object, **kwargs: object) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patching:
        patching.setattr(IndexEntryQuerySet, "mark_changed", fail)
        assert post(client, picture_bytes("blue")).status_code == 503
    assert bucket.files == kept
    assert PostedProduct.objects.get().image.name in kept


def test_a_bucket_that_deletes_nothing_spoils_nothing(client, bucket, caplog):
    post(client)
    bucket.faults["delete"] = TimeoutError("no answer")
    assert post(client, picture_bytes("blue")).status_code == 202
    assert "Cannot delete" in caplog.text
    assert len(bucket.files) == 2
    jobs.index_due("product")
    assert entry().state == IndexEntry.State.INDEXED


def test_no_refusal_leaves_a_file(client, bucket):
    for data in (b"no picture", half_a_jpeg()[:30], bytes(100)):
        assert post(client, data).status_code == 400
    for field in ("q", "image_file"):
        upload = SimpleUploadedFile("mug.png", b"no picture")
        assert client.post("/api/v1/search", {field: upload}).status_code == 400
    assert bucket.take() == {}
