"""A product with broken content fails alone; the others of its batch are indexed."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.db import connection

from clip_search import indexing
from clip_search.encoders import get_encoder
from clip_search.indexing import comparing
from clip_search.types import IMAGE, TEXT, Report
from tests.conftest import forget_declarations
from tests.shops.shop.models import Product, ProductImage

from .actions import DOCUMENT, State, entry, index, override, point, show

pytestmark = [pytest.mark.django_db, pytest.mark.sql]


def test_a_broken_image_fails_and_its_product_is_found_by_its_text():
    product = Product.objects.create(name="Chair", sku="C")
    ProductImage.objects.create(product=product, original=ContentFile(b"GIF89a, not really", name="a.gif"))
    assert index() == Report(failed=1)
    assert list(point(product).vectors) == [TEXT]
    assert entry(product).state == State.FAILED
    assert "Upload" in entry(product).error


@pytest.mark.parametrize("error", [KeyboardInterrupt, indexing.Stopped])
def test_a_signal_during_a_method_of_the_shop_is_no_fault_of_the_product(monkeypatch, error):
    product = Product.objects.create(name="Chair", sku="C")

    def get_text(obj):
        raise error  # as a signal handler does

    with monkeypatch.context() as patched:
        override(patched, "get_text", get_text)
        with pytest.raises(error):
            index()
    forget_declarations()
    assert (entry(product).state, entry(product).claim, entry(product).error) == (State.PENDING, None, "")
    assert index() == Report(embedded=1, without_image=1)


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
