"""What Qdrant refuses, and where its own reason is said: in answers to staff, entries, logs and commands."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from clip_search.models import IndexEntry
from clip_search.testing import reset
from tests.conftest import wait_until
from tests.doubles.qdrant_stub import WRITES, StubQdrant, serving
from tests.processes.workers import all_indexed, ended, save
from tests.shops.shop.models import Product

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

KEY = "very-secret-key"
WRONG_KEY = 401, b"Invalid API key or JWT"
READ_ONLY = 403, "Forbidden: Global manage access is required"
FULL = 500, "Service internal error: No space left on device (os error 28)"
POST = {"product_id": "P-1", "name": "Red mug"}


@pytest.fixture
def stub(settings) -> Iterator[StubQdrant]:
    """A stub with one indexed product."""
    with serving() as server:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"url": server.url, "api_key": KEY}}
        Product.objects.create(name="Red chair", sku="C-1")
        yield server


@pytest.fixture
def staff(uncounted_staff) -> Client:
    client = Client()
    client.force_login(uncounted_staff)
    return client


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (WRONG_KEY, "Qdrant refused access (401). Check that"),
        (READ_ONLY, "Qdrant refused access (403): Forbidden: Global manage access is required. Check that"),
        (FULL, "No space left on device (os error 28)"),
    ],
)
def test_staff_read_the_reason_in_a_503(stub, staff, refusal, said):
    stub.refuse(*refusal)
    answers = [staff.post("/api/v1/index-product", POST), staff.get("/api/v1/search", {"q": "chair"})]
    assert [answer.status_code for answer in answers] == [503, 503]
    for answer in answers:
        assert said in answer.json()["detail"]
        assert KEY not in answer.json()["detail"]
    anonymous = Client().get("/api/v1/search", {"q": "chair"})
    assert anonymous.status_code == 503
    assert "Qdrant" not in anonymous.json()["detail"]


def test_a_key_that_may_not_write_is_named_also_when_the_collection_is_created(settings, staff):
    with serving() as stub:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"url": stub.url}}
        stub.refuse(*READ_ONLY, only=WRITES)
        answer = staff.post("/api/v1/index-product", POST)
    assert "Global manage access is required. Check that" in answer.json()["detail"]
    assert "COLLECTION_OPTIONS" not in answer.json()["detail"]


def test_the_entry_and_the_log_have_the_reason(stub, caplog):
    stub.refuse(*FULL, only=WRITES)
    Product.objects.create(name="Blue chair", sku="C-2")
    entry = IndexEntry.objects.latest("pk")
    assert entry.state == IndexEntry.State.PENDING
    for text in (entry.error, caplog.text):
        assert "No space left on device (os error 28)" in text
        assert "Check that it runs" not in text


def test_a_command_ends_with_the_reason(stub):
    IndexEntry.objects.update(state=IndexEntry.State.PENDING, revision=5)
    stub.refuse(*FULL, only=WRITES)
    with pytest.raises(CommandError, match="No space left on device"):
        call_command("clip_reindex")


def test_a_worker_with_a_wrong_key_logs_one_line_a_try_and_goes_on(shared, settings, start_worker):
    with serving() as stub:
        shared["CLIP_SEARCH_TEST_QDRANT_STUB"] = stub.url
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"url": stub.url}}
        reset()
        save(0)
        stub.refuse(*WRONG_KEY)
        worker = start_worker()
        assert wait_until(lambda: stub.requests > 3)
        stub.accept()
        assert all_indexed()
        worker.send_signal(signal.SIGTERM)
        code, output = ended(worker)
    assert code == 0
    assert "Traceback" not in output
    assert "Cannot index document=product error=Qdrant refused access (401). Check that CLIP_SEARCH" in output
