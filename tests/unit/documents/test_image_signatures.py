"""Signatures of image files."""

from __future__ import annotations

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import Storage

from tests.shops.shop.models import Product, ProductImage

from .declarations import NOON


class RemoteStorage(Storage):
    """A storage without local paths: to ask it anything is a request."""

    def __init__(self):
        self.files, self.requests = {}, []

    def _save(self, name, content):
        self.files[name] = content.read()
        return name

    def _open(self, name, mode="rb"):
        self.requests.append("open")
        return ContentFile(self.files[name])

    def exists(self, name):
        self.requests.append("exists")
        return False

    def size(self, name):
        self.requests.append("size")
        return 1

    def get_modified_time(self, name):
        self.requests.append("modified")
        return NOON


@pytest.fixture
def remote(monkeypatch) -> RemoteStorage:
    storage = RemoteStorage()
    monkeypatch.setattr(ProductImage._meta.get_field("original"), "storage", storage)
    return storage


@pytest.mark.django_db
def test_a_remote_storage_is_asked_nothing_before_an_image_is_opened(document, remote):
    mug = Product.objects.create(name="Mug")
    remote.files["products/mug.png"] = b"bytes"
    ProductImage.objects.create(product=mug, original="products/mug.png")
    (source,) = document.content(mug).images
    assert (source.signature, source.local, remote.requests) == ("products/mug.png", False, [])
    with source.open() as file:
        assert file.read() == b"bytes"
    assert remote.requests == ["open"]


@pytest.mark.django_db
def test_a_local_signature_changes_with_the_file(document, picture, media):
    image = ProductImage(original=picture("red", name="mug.png"))
    image.original.save("mug.png", picture("red"), save=False)
    before = document.declaration.image_signature(image.original)
    assert document.declaration.image_signature(image.original) == before
    (media / image.original.name).write_bytes(b"other")
    assert document.declaration.image_signature(image.original) != before
    assert before.startswith(image.original.name)


def test_the_signature_of_a_missing_file(document):
    assert (
        document.declaration.image_signature(ProductImage(original="gone.png").original) == "gone.png:missing"
    )
