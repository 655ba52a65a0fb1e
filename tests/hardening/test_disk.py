"""A disk that fills, for real: a small tmpfs. Nothing dies, nothing acknowledged is lost, work goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection
from django.test import Client

from clip_search.documents.registry import registry
from clip_search.exceptions import SearchUnavailable, StoreFull
from clip_search.models import Collection, IndexEntry, PostedProduct
from clip_search.searching import search
from clip_search.stores import get_store
from clip_search.stores.base import Schema
from clip_search.stores.embedded.disk import MIN_FREE_BYTES
from clip_search.stores.embedded.store import EmbeddedStore
from tests.conftest import PATIENCE, ROOT, picture_bytes, wait_until
from tests.processes.filling import COLLECTION, heavy
from tests.shops.shop.models import Product

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.timing

MIB = 1024 * 1024


class Disk:
    """A disk of its own, in memory; `fill` leaves so many bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    @property
    def free(self) -> int:
        return shutil.disk_usage(self.path).free

    def fill(self, leave: int = 0) -> None:
        self.clear()
        for _ in range(100):  # others may write meanwhile
            with suppress(OSError), self._ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self.free - leave)
                return

    def clear(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def resize(self, mib: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={mib}m", self.path], check=True)


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[Callable[[int], Disk]]:
    """Return a function that mounts a disk of so many MiB; skips where mounting is not allowed."""
    mounted: list[Path] = []

    def make(mib: int) -> Disk:
        path = tmp_path / f"disk{len(mounted)}"
        path.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "clip-search-test", path]
        try:
            subprocess.run(mount, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("mounting is not allowed here")
        mounted.append(path)
        return Disk(path)

    yield make
    for path in mounted:
        subprocess.run(["umount", "--lazy", path], check=True)


# The engine.


def write_until_full(disk: Disk, seed: int) -> int:
    """Write from a process of its own until the store refuses. Returns how many products it acknowledged."""
    command = [sys.executable, "-m", "tests.processes.filling", str(disk.path / "qdrant"), str(seed)]
    writer = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=600)
    assert writer.returncode == 0, f"The writer died: {writer.returncode}"  # -7 is SIGBUS
    *counts, last = map(json.loads, writer.stdout.splitlines())
    assert last == "full"
    return max(counts, default=0)


def assert_all_there(disk: Disk, count: int) -> None:
    """Everything acknowledged is there once there is space again, and more can be written."""
    disk.resize(2048)
    store = EmbeddedStore(disk.path / "qdrant")
    found = {point.stamp.product_id for point in store.scroll(COLLECTION, limit=10**6)}
    assert found == {str(number) for number in range(count)}
    point = heavy(count, 100)
    store.put(COLLECTION, [point])
    assert store.get(COLLECTION, [point.id], vectors=True)[point.id].payload == point.payload


@pytest.mark.parametrize("seed", [1, 2])
def test_a_writer_that_fills_the_disk_is_told_and_lives(make_disk, seed):
    disk = make_disk(380 + 10 * seed)
    count = write_until_full(disk, seed)
    assert count > 0
    assert_all_there(disk, count)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 140))
def test_a_writer_that_fills_any_disk_is_told_and_lives(make_disk, seed):
    disk = make_disk(300 + 7 * (seed - 100))
    assert_all_there(disk, write_until_full(disk, seed))


GROW = """
import sys
from clip_search.exceptions import StoreFull
from clip_search.stores.embedded.store import EmbeddedStore
from tests.processes.filling import COLLECTION, heavy
try:
    EmbeddedStore(sys.argv[1]).put(COLLECTION, [heavy(number, 150_000) for number in range(128)])
    print("written")
except StoreFull:
    print("full")
"""


@pytest.mark.parametrize("left", [70 * MIB, MIN_FREE_BYTES + MIB, 2 * MIN_FREE_BYTES + 150 * MIB])
def test_the_margin_is_more_than_the_largest_batch_takes(make_disk, start_process, left):
    """Opening after a first batch takes 67 MB for more vectors, even to read; the batch here takes 40 MB."""
    disk = make_disk(600)
    store = EmbeddedStore(disk.path / "qdrant")
    store.create(COLLECTION, Schema(dimension=512))
    store.put(COLLECTION, [heavy(999, 100)])
    disk.fill(leave=left)
    writer = start_process("-c", GROW, str(disk.path / "qdrant"))
    output, _ = writer.communicate(timeout=PATIENCE)
    assert writer.returncode == 0, output
    assert output.strip() == ("full" if left < 2 * MIN_FREE_BYTES else "written")
    assert disk.free > MIN_FREE_BYTES // 4


def test_a_disk_that_fills_during_a_session(make_disk):
    disk = make_disk(600)
    store = EmbeddedStore(disk.path / "qdrant")
    store.create(COLLECTION, Schema(dimension=512))
    with store.session(COLLECTION):
        store.put(COLLECTION, [heavy(0, 100)])
        disk.fill(leave=MIN_FREE_BYTES + MIB)
        with pytest.raises(StoreFull):
            store.put(COLLECTION, [heavy(1, 100)])
        assert store.count(COLLECTION) == 1
        disk.fill()
        with pytest.raises(StoreFull):
            store.count(COLLECTION)
    with pytest.raises(StoreFull):
        store.count(COLLECTION)
    disk.clear()
    store.put(COLLECTION, [heavy(1, 100)])
    assert store.count(COLLECTION) == 2


# A shop: its database, its media and its index on one disk.


@pytest.fixture
def disk(make_disk, shared, settings) -> Iterator[Disk]:
    """Move the shop of this test, its workers' environment included, to a disk of its own."""
    if connection.vendor != "sqlite":
        pytest.skip("the database is elsewhere")
    disk = make_disk(700)
    home, moved = connection.settings_dict["NAME"], disk.path / "db.sqlite3"
    with connection.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [str(moved)])
    _use_database(moved)
    qdrant, settings.MEDIA_ROOT = str(disk.path / "qdrant"), disk.path / "media"
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"path": qdrant}}
    shared |= {
        "CLIP_SEARCH_TEST_DATABASE_NAME": str(moved),
        "CLIP_SEARCH_TEST_MEDIA": str(settings.MEDIA_ROOT),
        "CLIP_SEARCH_TEST_QDRANT_PATH": qdrant,
    }
    yield disk
    _use_database(home)


def _use_database(path: Path) -> None:
    connection.close()
    connection.settings_dict["NAME"] = path


@pytest.fixture
def client(disk) -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create(username="staff", is_staff=True))
    return client


def post(client: Client, number: int) -> int:
    image = SimpleUploadedFile("mug.png", picture_bytes("red") + bytes(100_000))
    fields = {"product_id": f"posted-{number}", "name": "Red mug", "image_file": image}
    return client.post("/api/v1/index-product-with-image", fields).status_code


def waiting() -> int:
    return IndexEntry.objects.filter(state=IndexEntry.State.PENDING).count()


def indexed(count: int) -> bool:
    def done() -> bool:
        return IndexEntry.objects.filter(state=IndexEntry.State.INDEXED).count() == count

    return wait_until(done)


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_shop_on_a_full_disk_says_so_and_goes_on_when_there_is_space(client, disk, shared, start_process):
    quick = ("clip_search.worker.SWEEP_SECONDS=1", "clip_search.worker.WAIT_SECONDS=1")
    line = ("-m", "tests.processes.patched", *quick, "--", "rqworker", "default", "--verbosity", "0")
    worker = start_process(*line, **shared)
    Product.objects.create(name="Mug", sku="M0")
    assert post(client, 0) == 202
    assert indexed(2)

    disk.fill(leave=MIN_FREE_BYTES // 2)  # enough for the database and the media, not for the index
    Product.objects.create(name="Cup", sku="M1")
    assert post(client, 1) == 202
    with pytest.raises(SearchUnavailable, match="Free some space"):
        list(search(registry.get("product"), "mug"))
    assert wait_until(lambda: IndexEntry.objects.filter(error__contains="Free some space").count() == 2)

    disk.fill()
    files = sum(1 for _ in (disk.path / "media").rglob("*"))
    with pytest.raises(OperationalError):
        for number in range(100):  # the database may have a page left
            Product.objects.create(name="Bowl" * 40, sku=f"N{number}", description="x" * 10_000)
    products = Product.objects.count()
    assert post(client, 2) == 503
    assert sum(1 for _ in (disk.path / "media").rglob("*")) == files
    with pytest.raises(SearchUnavailable):
        list(search(registry.get("product"), "mug"))
    assert worker.poll() is None

    disk.clear()
    assert post(client, 2) == 202
    assert indexed(products + 3)
    assert waiting() == 0
    assert worker.poll() is None
    (collection,) = Collection.objects.all()
    assert get_store().count(collection.name) == products + 3
    assert PostedProduct.objects.count() == 3


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_an_upload_that_finds_no_space_for_its_temporary_file(client, make_disk, settings):
    full = make_disk(1)
    settings.FILE_UPLOAD_TEMP_DIR, settings.FILE_UPLOAD_MAX_MEMORY_SIZE = full.path, 0
    full.fill()
    assert post(client, 0) == 503
    full.clear()
    assert list(full.path.iterdir()) == []
    assert post(client, 0) == 202
    assert list(full.path.iterdir()) == []
