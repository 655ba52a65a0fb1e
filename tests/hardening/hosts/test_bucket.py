"""A storage that overwrites, as S3: a new photo under the old name, in a column of the product itself."""

from __future__ import annotations

import numpy as np
import pytest
from django.core.management import call_command
from PIL import Image

from clip_search.documents.registry import registry
from clip_search.models import Collection
from clip_search.stores import get_store
from clip_search.testing import HashingEncoder
from tests.shops.hosts.models import Pictured

from .conftest import payloads, said

pytestmark = pytest.mark.django_db(transaction=True)


def colour_of(document_class, product) -> str:
    """Return the colour of the picture whose vector the index has."""
    payloads(document_class)
    document = registry.of_class(document_class)
    collection = Collection.objects.get(document=document.name, state="live")
    (point,) = get_store().get(collection.name, [document.point_id(str(product.pk))], vectors=True).values()
    for colour in ("red", "blue"):
        (vector,) = HashingEncoder().embed_images([np.asarray(Image.new("RGB", (16, 16), colour))])
        if np.allclose(point.vectors["image"], vector, atol=1e-5):
            return colour
    return "another"


def upload(mug: Pictured, photo) -> None:
    """Save a photo under the name of the one before."""
    name = mug.photo.name
    mug.photo = photo
    mug.save()
    assert mug.photo.name == name


@pytest.mark.parametrize(
    "told",
    [
        lambda document_class: call_command("clip_reindex", "host-pictured", images=True, verbosity=0),
        lambda document_class: call_command("clip_rebuild", "host-pictured", images=True, verbosity=0),
        lambda document_class: document_class.reindex(Pictured.objects.all(), images=True),
    ],
)
def test_a_photo_is_read_again_if_somebody_says_so(declare, picture, told):
    document_class = declare(Pictured, image_field="photo")
    assert set(said(document_class)) == {"W104"}
    mug = Pictured.objects.create(name="Mug", photo=picture("red", name="mug.png"))
    upload(mug, picture("blue", name="mug.png"))
    call_command("clip_reindex", "host-pictured", verbosity=0)
    call_command("clip_rebuild", "host-pictured", verbosity=0)
    assert colour_of(document_class, mug) == "red"
    told(document_class)
    assert colour_of(document_class, mug) == "blue"


def test_with_a_signature_of_the_shop_s_own_a_save_is_enough(declare, picture):
    signature = {"image_signature": lambda self, file: f"{file.name}:{file.instance.uploaded}"}
    document_class = declare(Pictured, image_field="photo", **signature)
    assert said(document_class) == {}
    mug = Pictured.objects.create(name="Mug", photo=picture("red", name="mug.png"))
    upload(mug, picture("blue", name="mug.png"))
    assert colour_of(document_class, mug) == "blue"
