"""A product that fails is a line in the log, with its document, its id and the reason."""

from __future__ import annotations

import logging
import re
import subprocess

import pytest

from clip_search import outbox
from clip_search.documents.registry import registry
from clip_search.jobs import index_due
from clip_search.models import IndexEntry
from clip_search.testing import pause_indexing
from tests.conftest import wait_until
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Product

LINE = r"Failed document=product product=%d reason=.*neither text nor an image.*"


def save_empty() -> Product:
    with pause_indexing():
        return Product.objects.create(name="", sku="E-1")


@pytest.mark.django_db
def test_in_a_job(caplog):
    product = save_empty()
    with pause_indexing():
        good = Product.objects.create(name="Mug", sku="M-1")
    outbox.schedule(registry.get("product"), [str(product.pk), str(good.pk)], wake=False)
    index_due("product")
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.levelno == logging.WARNING
    assert re.fullmatch(LINE % product.pk, record.getMessage())
    assert record.exc_info is None


@pytest.mark.django_db(transaction=True)
def test_without_a_queue(caplog):
    product = Product.objects.create(name="", sku="E-1")
    assert re.search(LINE % product.pk, caplog.text)


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_in_a_worker(start_worker, settings, queue):
    worker = start_worker()
    product = Product.objects.create(name="", sku="E-1")
    failed = IndexEntry.objects.filter(state=IndexEntry.State.FAILED)
    assert wait_until(failed.exists)
    worker.terminate()
    try:
        output, _ = worker.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        worker.kill()
        raise
    assert len(re.findall(LINE % product.pk, output)) == 1


@pytest.mark.django_db
def test_a_reason_of_several_lines_is_one_line(caplog, monkeypatch):
    def fail(self, obj):
        raise ValueError("first\nsecond")

    monkeypatch.setattr(ProductDocument, "get_text", fail)
    product = save_empty()
    outbox.schedule(registry.get("product"), [str(product.pk)], wake=False)
    index_due("product")
    assert f"Failed document=product product={product.pk} reason=ValueError: first second" in caplog.messages
