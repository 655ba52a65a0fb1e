"""The signals that the package sends, and receivers that raise."""

from __future__ import annotations

import pytest
from django.core.files.base import ContentFile

from clip_search.signals import index_failed, indexed
from tests.shops.shop.clip_documents import ArticleDocument, ProductDocument
from tests.shops.shop.models import Product, ProductImage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def received():
    """The signals that were received: (name, sender, arguments)."""
    calls = []

    def listen(name):
        def receive(sender, **arguments):
            arguments.pop("signal")
            calls.append((name, sender, arguments))

        return receive

    receivers = {indexed: listen("indexed"), index_failed: listen("index_failed")}
    for signal, receiver in receivers.items():
        signal.connect(receiver, sender=ProductDocument)
    yield calls
    for signal, receiver in receivers.items():
        signal.disconnect(receiver, sender=ProductDocument)


def test_what_was_indexed_and_what_failed_is_sent_with_the_document_s_class(received):
    mug = Product.objects.create(name="Mug", sku="M-1")
    assert received == [("indexed", ProductDocument, {"document": "product", "product_ids": [str(mug.pk)]})]
    received.clear()
    ProductImage.objects.create(product=mug, original=ContentFile(b"no picture", name="broken.png"))
    ((name, sender, arguments),) = received
    assert (name, sender, arguments["document"]) == ("index_failed", ProductDocument, "product")
    assert arguments["errors"].keys() == {str(mug.pk)}
    assert "not a readable image" in arguments["errors"][str(mug.pk)]


def test_removed_products_are_not_sent_as_indexed(received):
    mug = Product.objects.create(name="Mug", sku="M-1")
    received.clear()
    mug.delete()
    assert received == []


def test_a_receiver_that_raises_harms_nothing(caplog):
    def fail(sender, **arguments):
        raise RuntimeError("the page cache is away")

    indexed.connect(fail)
    try:
        mug = Product.objects.create(name="Mug", sku="M-1")
    finally:
        indexed.disconnect(fail)
    assert list(ProductDocument.search("mug")) == [mug]
    assert "the page cache is away" in caplog.text
    assert ArticleDocument.search  # another document's class is another sender
