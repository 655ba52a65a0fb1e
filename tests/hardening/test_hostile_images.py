"""Images made to do damage, through both doors and a real worker: no crash, and every refusal is named."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import Popen

import numpy as np
import pytest
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from clip_search import images
from clip_search.documents.registry import registry
from clip_search.models import Collection, IndexEntry
from clip_search.stores import get_store
from clip_search.types import IMAGE
from tests.conftest import wait_until
from tests.doubles.encoders import SceneEncoder
from tests.samples import hostile_images
from tests.samples.hostile_images import Hostile, corpus
from tests.shops.shop.models import Product, ProductImage

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

DOCUMENT = registry.get("product")
QUICK = ("clip_search.worker.SWEEP_SECONDS=1", "clip_search.worker.WAIT_SECONDS=1")
NAMED = re.compile(r"The (image|file) .*Upload .*\.", re.DOTALL)
"""A refusal says what is wrong and what to do."""
MOST_MB = 300


@pytest.fixture
def client(shared, settings) -> Client:
    """A member of staff, at a shop whose encoder sees which way up a picture is."""
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {
        "ENCODER": "tests.doubles.encoders.SceneEncoder",
        "API_THROTTLE_RATE": None,
    }
    client = Client()
    client.force_login(get_user_model().objects.create(username="staff", is_staff=True))
    return client


@pytest.fixture
def worker(start_process, shared, client) -> Popen[str]:
    """A real worker that has indexed something, and is idle."""
    line = ("-m", "tests.processes.patched", *QUICK, "--", "rqworker", "default", "--verbosity", "0")
    process = start_process(*line, **shared, CLIP_SEARCH_TEST_ENCODER="tests.doubles.encoders.SceneEncoder")
    save(Hostile(name="first", data=hostile_images.encoded(hostile_images.scene())))
    assert wait_until(lambda: not waiting())
    return process


class Meter(threading.Thread):
    """Reads again and again how much private memory a process has, in MB: `idle` at the start, `most` later.

    The mapped files of the embedded store belong to the system's cache: only `everything` counts them.
    """

    def __init__(self, process: Popen[str]) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{process.pid}/status")
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # forget the peak until now
        self.idle = self.most = self._megabytes("RssAnon")
        self._idle_of_everything = self._megabytes("VmRSS")
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.003):
            self.most = max(self.most, self._megabytes("RssAnon"))

    def stop(self) -> None:
        self._done.set()
        self.join()

    @property
    def everything(self) -> float:
        """The peak of all memory, mapped files included, above the value at the start."""
        return self._megabytes("VmHWM") - self._idle_of_everything

    def _megabytes(self, which: str) -> float:
        (kilobytes,) = re.findall(rf"{which}:\s+(\d+) kB", self._status.read_text())
        return int(kilobytes) / 1024


def waiting() -> int:
    return IndexEntry.objects.filter(state=IndexEntry.State.PENDING).count()


def save(one: Hostile) -> str:
    """Take the shop's own door: a row with a file. Returns the product's id."""
    product = Product.objects.create(name=f"Mug {one.name}", sku="M")
    ProductImage.objects.create(product=product, original=ContentFile(one.data, name="mug.jpg"))
    return str(product.pk)


def post(client: Client, number: int, one: Hostile) -> str | None:
    """Take the endpoint's door. Returns the product's id, None where the file was refused by name."""
    fields = {"product_id": f"posted-{number}", "name": f"Mug {one.name}"}
    upload = SimpleUploadedFile("mug.jpg", one.data, content_type="image/jpeg")
    answer = client.post("/api/v1/index-product-with-image", fields | {"image_file": upload})
    if answer.status_code == 202:
        return fields["product_id"]
    assert (answer.status_code, list(answer.json())) == (400, ["image_file"]), (one.name, answer.content)
    return None


def assert_right(one: Hostile, entry: IndexEntry, vectors: dict[str, np.ndarray]) -> None:
    """An image is indexed, which way up it was meant, or its product failed for a reason that is said."""
    if one.fate == "refused" or (one.fate is None and entry.state == IndexEntry.State.FAILED):
        assert entry.state == IndexEntry.State.FAILED, one.name
        assert NAMED.match(entry.error), (one.name, entry.error)
        assert IMAGE not in vectors, one.name
        return
    assert (entry.state, entry.error) == (IndexEntry.State.INDEXED, ""), one.name
    if one.fate == "upright":
        assert vectors[IMAGE] @ SCENE > 0.97, one.name


def scene_vector() -> np.ndarray:
    encoder = SceneEncoder()
    pixels = images.shrink(hostile_images.encoded(hostile_images.scene()), encoder.image_size)
    return encoder.embed_images([pixels])[0]


SCENE = scene_vector()


def check(files: Sequence[Hostile], client: Client, worker: Popen[str], say: Callable[[str], None]) -> None:
    meter = Meter(worker)
    meter.start()
    ids: list[tuple[Hostile, str]] = []
    refused = 0
    for number, one in enumerate(files):
        ids.append((one, save(one)))
        posted = post(client, number, one)
        assert posted is None or one.fate in (None, "indexed", "upright"), one.name
        assert posted is not None or one.fate in (None, "refused"), one.name
        ids += [(one, posted)] if posted else []
        refused += posted is None
    assert wait_until(lambda: not waiting(), 1800)
    assert worker.poll() is None
    meter.stop()
    name, keys = Collection.objects.get().name, [DOCUMENT.point_id(product_id) for _, product_id in ids]
    points = get_store().get(name, keys, vectors=True)
    entries = {entry.product_id: entry for entry in IndexEntry.objects.of(DOCUMENT)}
    for one, product_id in ids:
        assert_right(one, entries[product_id], points[DOCUMENT.point_id(product_id)].vectors)
    failed = sum(entry.state == IndexEntry.State.FAILED for entry in entries.values())
    say(
        f"{len(files)} images: {refused} refused at the endpoint, {failed} of {len(ids)} failed by name; "
        f"the worker's own memory peaks {meter.most - meter.idle:.0f} MB above {meter.idle:.0f} MB, "
        f"with the store's mapped files {meter.everything:.0f} MB"
    )
    assert meter.most - meter.idle <= MOST_MB


def test_two_hundred_hostile_images(client, worker, say):
    check(corpus(200), client, worker, say)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2])
def test_a_thousand_hostile_images(client, worker, say, seed):
    check(corpus(1000, seed), client, worker, say)
