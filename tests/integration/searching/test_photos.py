"""Search by photo."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from clip_search.exceptions import (
    BadImage,
)
from tests.conftest import picture_bytes
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import ProductImage

from .actions import COLOURS, index, make, with_pictures

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "kind", ["bytes", "file", "read file", "upload", "field", "Pillow", "transparent", "bytearray"]
)
def test_a_photo_comes_in_any_form(shop, tmp_path, kind):
    data = picture_bytes("yellow")
    (tmp_path / "photo.png").write_bytes(data)
    image = ProductImage.objects.get(product=shop[3]).original
    image.close()
    with (tmp_path / "photo.png").open("rb") as file:
        photo: Any = {
            "bytes": data,
            "bytearray": bytearray(data),
            "file": file,
            "read file": file,
            "upload": SimpleUploadedFile("photo.png", data),
            "field": image,
            "Pillow": Image.open(io.BytesIO(data)),
            "transparent": Image.open(io.BytesIO(data)).convert("RGBA"),
        }[kind]
        if kind == "read file":
            file.read()
        found = list(ProductDocument.search_by_image(photo)[:5])
    assert {product.name.split()[0] for product in found} == {"yellow"}
    assert image.closed


def test_a_pillow_image_keeps_which_way_is_up():
    from clip_search.searching.queries import image_bytes

    image = Image.new("CMYK", (3000, 1500))
    exif = image.getexif()
    exif[274] = 6
    with Image.open(io.BytesIO(image_bytes(image))) as written:
        assert (written.size, written.getexif()[274]) == ((1024, 512), 6)


@pytest.mark.parametrize("data", [b"", b"no picture", picture_bytes(fmt="BMP"), picture_bytes(size=1)])
def test_what_is_no_picture_is_refused_at_once(data):
    for photo in (data, io.BytesIO(data), SimpleUploadedFile("a.png", data)):
        with pytest.raises(BadImage):
            ProductDocument.search_by_image(photo)


def test_a_damaged_picture_is_refused_when_it_is_decoded(shop):
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 100).save(buffer, "JPEG")
    half = buffer.getvalue()[: buffer.tell() // 2]
    with pytest.raises(BadImage, match="truncated"):
        ProductDocument.search_by_image(half).count()
    with pytest.raises(BadImage, match="truncated"):
        ProductDocument.search_by_image(Image.open(io.BytesIO(half)))


@pytest.mark.parametrize("photo", ["/etc/passwd", Path("/etc/passwd"), None, 5])
def test_a_path_is_no_photo(photo):
    with pytest.raises(TypeError, match="is no image"):
        ProductDocument.search_by_image(photo)


def test_only_what_has_a_picture_is_counted_for_a_photo(any_store, document):
    products = make(f"{colour} mug" for colour in COLOURS * 2)
    with_pictures(products[:7], COLOURS * 2)
    index(document)
    results = ProductDocument.search_by_image(picture_bytes("red"))
    assert (results.count(), len(list(results)), results[5:].count()) == (7, 7, 2)


def test_min_score_cuts_and_is_counted(shop):
    everything = ProductDocument.search_by_image(picture_bytes("red"))
    scores = [hit.score for hit in everything.hits()]
    reds = ProductDocument.search_by_image(picture_bytes("red"), min_score=0.5)
    assert reds.count() == len(list(reds)) == sum(score >= 0.5 for score in scores) == 5
    for score in (float("nan"), 50, -1.1, "high", []):
        with pytest.raises(ValueError, match="min_score"):
            ProductDocument.search_by_image(picture_bytes("red"), min_score=score)
        with pytest.raises(ValueError, match="min_score"):
            ProductDocument.similar_to(shop[0], min_score=score)
