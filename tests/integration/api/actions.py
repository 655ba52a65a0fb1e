"""What tests of the endpoints send, and what they read back."""

from __future__ import annotations

import io

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

from clip_search.models import IndexEntry
from tests.conftest import picture_bytes

SYNC = "/api/v1/index-product"
ASYNC = "/api/v1/index-product-with-image"
SEARCH = "/api/v1/search"
NOBODY = "11111111-2222-5333-8444-555555555555"
FIELDS = {"product_id": "test-123", "name": "Red mug", "description": "For tea.", "metadata": "extra-data"}


def image_file(data: bytes | None = None, name: str = "mug.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, picture_bytes() if data is None else data)


def post_image(client: Client, data: bytes | None = None, name: str = "mug.png", **fields: object):
    return client.post(ASYNC, {**FIELDS, **fields, "image_file": image_file(data, name)})


def entry_of(document, product_id: str = "test-123") -> IndexEntry:
    return IndexEntry.objects.of(document).get(uuid=document.point_id(product_id))


def broken(error: Exception):
    def fail(*args: object, **kwargs: object):
        raise error

    return fail


def damaged() -> bytes:
    """Return a JPEG with a whole header and half a body."""
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 100).save(buffer, "JPEG")
    return buffer.getvalue()[: buffer.tell() // 2]
