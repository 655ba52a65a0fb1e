"""Settings that cannot work end in a sentence wherever they are used, never in a traceback."""

from __future__ import annotations

import io
import logging

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client

from clip_search import SearchUnavailable
from clip_search.models import IndexEntry
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Product

GOOD = {
    "QDRANT": {"backend": "clip_search.testing.MemoryStore"},
    "ENCODER": "clip_search.testing.HashingEncoder",
    "QUEUE": None,
}
BROKEN = {
    "no dict": ("text", "CLIP_SEARCH is no dict"),
    "None": (None, "CLIP_SEARCH is no dict"),
    "QDRANT is text": (GOOD | {"QDRANT": "http://localhost:6333"}, '"QDRANT"'),
    "no store": (GOOD | {"QDRANT": {}}, '"QDRANT"'),
    "backend's module": (GOOD | {"QDRANT": {"backend": "nowhere.Store"}}, "'nowhere.Store'"),
    "backend's class": (GOOD | {"QDRANT": {"backend": "clip_search.testing.MemoryStor"}}, "MemoryStor'"),
    "option of a folder": (GOOD | {"QDRANT": {"path": "/nowhere", "api_key": "x"}}, "'api_key'"),
    "value of a folder's option": (GOOD | {"QDRANT": {"path": "/nowhere", "lock_timeout": "long"}}, "'long'"),
    "encoder's module": (GOOD | {"ENCODER": "clip_search.testin.HashingEncoder"}, "'clip_search.testin."),
    "encoder's class": (GOOD | {"ENCODER": "clip_search.testing.HashingEncodr"}, "HashingEncodr'"),
    "encoder's path": (GOOD | {"ENCODER": "HashingEncoder"}, "'HashingEncoder'"),
}

pytestmark = pytest.mark.django_db(transaction=True)
broken = pytest.mark.parametrize(("value", "sentence"), BROKEN.values(), ids=BROKEN)


@broken
def test_a_save_goes_through_and_logs_a_line(settings, caplog, value, sentence):
    settings.CLIP_SEARCH = value
    Product.objects.create(name="Red mug", sku="M-1")
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert sentence in record.getMessage()
    assert record.exc_info is None


@broken
def test_a_search_raises_a_sentence(settings, value, sentence):
    Product.objects.create(name="Red mug", sku="M-1")
    settings.CLIP_SEARCH = value
    with pytest.raises(SearchUnavailable, match=sentence):
        list(ProductDocument.search("mug"))


@broken
@pytest.mark.parametrize("command", ["clip_reindex", "clip_rebuild", "clip_verify"])
def test_a_command_ends_with_a_sentence(settings, command, value, sentence):
    settings.CLIP_SEARCH = value
    output = io.StringIO()
    with pytest.raises(CommandError, match=sentence):
        call_command(command, stdout=output, stderr=output)


@broken
def test_endpoints_answer_503(settings, value, sentence):
    Product.objects.create(name="Red mug", sku="M-1")
    client = Client(raise_request_exception=True)
    client.force_login(get_user_model().objects.create_user("staff", is_staff=True))
    settings.CLIP_SEARCH = value
    assert client.get("/api/v1/search?q=mug").status_code == 503
    posted = {"product_id": "P-1", "name": "Mug"}
    response = client.post("/api/v1/index-product", posted, content_type="application/json")
    assert response.status_code == 503


@broken
def test_the_admin_action_goes_through(settings, caplog, value, sentence):
    product = Product.objects.create(name="Red mug", sku="M-1")
    client = Client(raise_request_exception=True)
    client.force_login(get_user_model().objects.create_superuser("boss"))
    settings.CLIP_SEARCH = value
    caplog.clear()
    action = {"action": "reindex_selected", "_selected_action": [product.pk]}
    assert client.post("/admin/shop/product/", action).status_code == 302
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert sentence in record.getMessage()
    assert IndexEntry.objects.get().state == IndexEntry.State.PENDING


@pytest.mark.parametrize("entry", [{}, {"URL": "nonsense"}, {"USE_REDIS_CACHE": "nope"}, "redis://x", None])
def test_a_queue_that_cannot_be_used_is_a_line_of_a_save(settings, caplog, entry):
    settings.CLIP_SEARCH = GOOD | {"QUEUE": "default"}
    settings.RQ_QUEUES = {"default": entry}
    Product.objects.create(name="Red mug", sku="M-1")
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert 'RQ_QUEUES["default"] cannot be used.' in record.getMessage()
    assert record.exc_info is None
    assert IndexEntry.objects.get().state == IndexEntry.State.PENDING


@pytest.mark.parametrize("rate", ["lots", "60/fortnight", "many/min"])
def test_a_rate_that_cannot_be_read_is_a_503(settings, caplog, rate):
    settings.CLIP_SEARCH = GOOD | {"API_SEARCH_THROTTLE_RATE": rate}
    assert Client().get("/api/v1/search?q=mug").status_code == 503
    assert f"{rate!r} is no rate" in caplog.text


def test_an_option_of_a_collection_is_named(settings, tmp_path):
    pytest.importorskip("qdrant_edge")
    options = {"on_disk_payload": "maybe"}
    settings.CLIP_SEARCH = GOOD | {"QDRANT": {"path": tmp_path}, "COLLECTION_OPTIONS": options}
    with pytest.raises(CommandError, match="on_disk_payload"):
        call_command("clip_reindex", "product")
