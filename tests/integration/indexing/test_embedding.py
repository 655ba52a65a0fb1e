"""What is embedded when a product is indexed, and what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from django.core.files.base import ContentFile

from clip_search import indexing
from clip_search.encoders import get_encoder
from clip_search.indexing import pipeline as pipelines
from clip_search.indexing.writing import write
from clip_search.models import IndexEntry
from clip_search.stores import get_store
from clip_search.types import IMAGE, TEXT, Report
from tests.conftest import picture_bytes
from tests.shops.shop.models import Product, ProductImage

from .actions import DOCUMENT, State, collection, entry, index, point, show

pytestmark = [pytest.mark.django_db, pytest.mark.sql]
ROUNDING = 1e-6
"""Qdrant scales the vectors of several images to unit length again each time that they are written."""

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


# Faults of the surroundings.


def test_a_point_that_lost_a_vector_is_embedded_anew(mug):
    for lost in (TEXT, IMAGE):
        get_store().lose(collection(), DOCUMENT.point_id(str(mug.pk)), lost)
        assert set(point(mug).vectors) == {TEXT, IMAGE} - {lost}
        mug.price += 1
        mug.save()
        assert index() == Report(embedded=1)
        assert set(point(mug).vectors) == {TEXT, IMAGE}


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
