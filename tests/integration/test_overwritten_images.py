"""A new photo under the old name, on a storage that overwrites files and has no times of its own."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from django.contrib.auth import get_user_model
from django.core.files.storage import FileSystemStorage
from django.core.management import CommandError, call_command
from django.test import Client

from clip_search import Document, outbox, parallel
from clip_search.checks.documents import check_document
from clip_search.documents.binding import BoundDocument
from clip_search.documents.registry import registry
from clip_search.encoders import get_encoder
from clip_search.indexing import index_due, rebuilding
from clip_search.indexing.related import expand_related
from clip_search.models import Collection, IndexEntry, RelatedChange
from clip_search.posting import post_product
from clip_search.stores import get_store
from clip_search.testing import HashingEncoder, pause_indexing
from tests.doubles.storages import Bucket
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Product, ProductImage

DOCUMENT = registry.get("product")
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def bucket(monkeypatch, settings) -> Bucket:
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "tests.doubles.encoders.CountingEncoder"}
    storage = Bucket()
    monkeypatch.setattr(ProductImage._meta.get_field("original"), "storage", storage)
    return storage


@pytest.fixture
def shop(bucket, picture) -> list[Product]:
    """Three products with a red photo each, indexed; then the first one's is overwritten by a blue one."""
    products = [Product.objects.create(name=f"Mug {number}", sku=f"M-{number}") for number in range(3)]
    for number, product in enumerate(products):
        file = picture(f"rgb(250,0,{number})", name=f"{number}.png")
        ProductImage.objects.create(product=product, original=file)
    bucket.save(name_of(products[0]), picture("blue"))
    get_encoder().take()
    bucket.opened.clear()
    return products


def name_of(product: Product) -> str:
    return str(product.images.get().original.name)


def shows_blue(product: Product) -> bool:
    collection = Collection.objects.of(DOCUMENT).get(state="live")
    (point,) = get_store().get(collection.name, [DOCUMENT.point_id(str(product.pk))], vectors=True).values()
    blue = np.zeros((16, 16, 3), dtype=np.uint8)
    blue[..., 2] = 255
    return bool(np.allclose(point.vectors["image"], HashingEncoder().embed_images([blue])[0], atol=1e-5))


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command(*arguments, stdout=output, stderr=output)
    return output.getvalue()


def queue_and_index(schedule: Callable[[], Any]) -> None:
    schedule()
    for _ in index_due(DOCUMENT):
        pass


def staff() -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("boss"))
    return client


def act(url: str, action: str, rows: Any) -> None:
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    assert staff().post(url, data).status_code == 302


AGAIN = {
    "clip_reindex --images": lambda shop: run("clip_reindex", "product", "--images"),
    "clip_reindex --ids": lambda shop: run(
        "clip_reindex", "product", "--images", "--ids", *(str(product.pk) for product in shop)
    ),
    "clip_rebuild --images": lambda shop: run("clip_rebuild", "product", "--images"),
    "reindex()": lambda shop: ProductDocument.reindex(shop, images=True),
    "reindex() of a queryset": lambda shop: ProductDocument.reindex(Product.objects.all(), images=True),
    "admin action": lambda shop: act("/admin/shop/product/", "reindex_selected", shop),
    "admin action for entries": lambda shop: act(
        "/admin/clip_search/indexentry/", "index_again", IndexEntry.objects.of(DOCUMENT)
    ),
}


@pytest.mark.parametrize("way", AGAIN)
def test_every_file_is_read_and_only_what_differs_is_embedded(shop, bucket, way):
    assert not shows_blue(shop[0])
    AGAIN[way](shop)
    assert get_encoder().take() == (0, 1)
    assert shows_blue(shop[0])
    assert {*bucket.opened} == {name_of(product) for product in shop}
    assert not IndexEntry.objects.of(DOCUMENT).exclude(state="indexed").exists()
    bucket.opened.clear()
    run("clip_reindex", "product")
    shop[0].save()
    assert bucket.opened == []  # once is enough


def test_what_was_not_asked_for_is_not_read(shop, bucket):
    run("clip_reindex", "product", "--images", "--ids", str(shop[1].pk))
    assert bucket.opened == [name_of(shop[1])]
    assert not shows_blue(shop[0])


def test_a_rebuild_carries_over_what_has_the_same_stamp(shop, bucket):
    run("clip_rebuild", "product")
    assert (get_encoder().take(), bucket.opened) == ((0, 0), [])
    assert not shows_blue(shop[0])


def test_a_rebuild_that_was_begun_without_reads_what_it_has_done(shop, bucket, picture):
    steps = rebuilding.rebuild(DOCUMENT, index=partial(parallel.index_due, batch_size=1))
    next(steps)
    steps.close()
    run("clip_rebuild", "product", "--images")
    assert {*bucket.opened} == {name_of(product) for product in shop}
    assert shows_blue(shop[0])


def test_a_rebuild_with_another_model_reads_everything_once(shop, bucket, settings):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "tests.doubles.encoders.OtherEncoder"}
    run("clip_rebuild", "product", "--images")
    assert sorted(bucket.opened) == sorted(name_of(product) for product in shop)


def test_a_change_meanwhile_does_not_make_it_forgotten(shop, bucket):
    with pause_indexing():
        IndexEntry.objects.mark_changed(DOCUMENT, [str(shop[0].pk)], images=True)
    shop[0].price = 5
    shop[0].save()
    assert shows_blue(shop[0])


def test_a_storage_that_fails_meanwhile_does_not_make_it_forgotten(shop, bucket, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(bucket, "_open", lambda name, mode="rb": 1 / 0)
        with pytest.raises(CommandError, match="wait for another try"):
            run("clip_reindex", "product", "--images")
    IndexEntry.objects.update(attempts=0)
    queue_and_index(lambda: None)
    assert shows_blue(shop[0])


def test_very_many_products_at_once(shop, bucket, monkeypatch):
    monkeypatch.setattr("clip_search.outbox.ROWS_PER_STATEMENT", 2)
    ids = [str(product.pk) for product in shop]
    outbox.schedule(DOCUMENT, ids, wake=False, images=True)
    assert RelatedChange.objects.get().product_ids == ids
    queue_and_index(lambda: expand_related(DOCUMENT))
    assert shows_blue(shop[0])


def test_a_posted_image_is_read_again_too(bucket, picture):
    post_product("P-1", name="Pot", image=picture("red"), document=DOCUMENT)
    queue_and_index(lambda: None)
    get_encoder().take()
    assert "1 unchanged" in run("clip_reindex", "product", "--images")
    assert get_encoder().take() == (0, 0)


def test_nothing_is_counted_twice(shop):
    assert "product: 3 products: 1 embedded, 2 unchanged in" in run("clip_reindex", "product", "--images")


def test_a_dry_run_cannot_compare_files(shop):
    with pytest.raises(CommandError, match=r"--images: .* Leave out --dry-run"):
        run("clip_reindex", "product", "--images", "--dry-run")


def test_a_local_storage_that_overwrites_needs_none_of_this(picture, settings, monkeypatch):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "tests.doubles.encoders.CountingEncoder"}
    field = ProductImage._meta.get_field("original")
    monkeypatch.setattr(field, "storage", FileSystemStorage(allow_overwrite=True))
    mug = Product.objects.create(name="Mug", sku="M-1")
    image = ProductImage.objects.create(product=mug, original=picture("red", name="mug.png"))
    name = image.original.name
    get_encoder().take()
    image.original = picture("blue", name="mug.png")
    image.save()
    assert image.original.name == name
    assert get_encoder().take() == (0, 1)
    assert shows_blue(mug)
    assert warnings() == []


# The check.


def warnings(**attributes: object) -> list[str]:
    declared = {"image_field": "images.original", "related": {ProductImage: "product"}} | attributes
    document = BoundDocument(type("Shop", (Document,), declared)(Product))
    return [message.id.removeprefix("clip_search.") for message in check_document(document)]


@pytest.mark.parametrize("name", ["file_overwrite", "overwrite_files", "allow_overwrite", "_allow_overwrite"])
def test_a_storage_that_overwrites_is_warned_of(bucket, name):
    bucket.file_overwrite = bucket._allow_overwrite = False
    assert warnings() == []
    setattr(bucket, name, True)
    assert warnings() == ["W104"]
    assert warnings(image_signature=lambda self, file: file.name) == []


def test_a_storage_that_cannot_be_loaded_breaks_no_check(bucket, monkeypatch):
    monkeypatch.setattr(Bucket, "file_overwrite", property(lambda self: 1 / 0))
    assert warnings() == []
