"""Products that clients posted."""

from __future__ import annotations

import pytest
from django.db import transaction

from clip_search import Bool, Date, Document, Keyword, Number
from clip_search.documents.binding import BoundDocument
from clip_search.exceptions import ProductError
from clip_search.models import PostedProduct
from clip_search.models.posted import filter_values, store_image
from tests.shops.shop.models import Product

pytestmark = [pytest.mark.django_db, pytest.mark.sql]


def save(document: BoundDocument, image=None, **fields) -> PostedProduct:
    name = store_image(image) if image else ""
    return PostedProduct.objects.save_product(document, "p-1", {"name": "Mug", **fields}, name)


def files(media) -> list[str]:
    return sorted(path.relative_to(media).as_posix() for path in media.rglob("*") if path.is_file())


def test_save_product(document):
    save(document, description="Red", metadata={"a": 1})
    posted = PostedProduct.objects.of(document).get()
    assert (posted.uuid, posted.product_id, posted.name) == (document.point_id("p-1"), "p-1", "Mug")
    assert (posted.description, posted.metadata, str(posted)) == ("Red", {"a": 1}, "product p-1")


def test_saving_a_product_again_replaces_the_fields_that_are_given(document):
    first = save(document, description="Red", metadata="x")
    second = save(document, metadata=None)
    assert PostedProduct.objects.count() == 1
    found = PostedProduct.objects.get()
    assert (found.pk, found.description, found.metadata) == (first.pk, "Red", None)
    assert second.updated_at > first.updated_at


def test_an_image_lies_under_a_generated_name(document, picture, media):
    save(document, picture(name="../../etc/passwd.png"))
    (name,) = files(media)
    assert name == PostedProduct.objects.get().image.name
    assert "passwd" not in name
    assert name.startswith("clip_search/")


def test_an_image_stays_when_none_is_posted(document, picture, media):
    save(document, picture())
    save(document, name="Cup")
    assert files(media) == [PostedProduct.objects.get().image.name]


def test_a_replaced_image_is_removed_on_commit(document, picture, media, django_capture_on_commit_callbacks):
    save(document, picture("red"))
    with django_capture_on_commit_callbacks(execute=True):
        save(document, picture("blue"))
        assert len(files(media)) == 2
    assert files(media) == [PostedProduct.objects.get().image.name]


def test_delete_product_removes_the_image_on_commit(
    document, picture, media, django_capture_on_commit_callbacks
):
    save(document, picture())
    with django_capture_on_commit_callbacks(execute=True):
        assert PostedProduct.objects.delete_product(document, "p-1")
        assert len(files(media)) == 1
    assert files(media) == []
    assert not PostedProduct.objects.delete_product(document, "p-1")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", ["replace", "delete"])
def test_a_rollback_keeps_the_row_and_its_image(document, picture, media, change):
    before = save(document, picture("red")).image.name
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        if change == "delete":
            PostedProduct.objects.delete_product(document, "p-1")
        else:
            save(document, picture("blue"))
        1 / 0  # noqa: B018
    assert PostedProduct.objects.get().image.name == before
    assert before in files(media)


def test_a_deleted_product_without_an_image(document):
    save(document)
    assert PostedProduct.objects.delete_product(document, "p-1")
    assert not PostedProduct.objects.exists()


def test_posted_content(document, picture):
    posted = save(document, picture(), description="<b>Red</b>", metadata={"price": "3", "colour": "red"})
    content = posted.content(document)
    assert (content.text, content.exact) == ("Mug. Red", ("mug", "p1"))
    assert content.payload == {
        "price": 3.0,
        "name": "Mug",
        "description": "<b>Red</b>",
        "metadata": {"price": "3", "colour": "red"},
    }
    assert [image.name for image in content.images] == [posted.image.name]
    with content.images[0].open() as file:
        assert file.read() == picture().read()


def test_posted_content_without_anything_but_a_name(document):
    content = save(document).content(document)
    assert (content.text, content.images) == ("Mug", ())


FILTERED = BoundDocument(
    type(
        "Filtered",
        (Document,),
        {"filter_fields": {"price": Number("x"), "new": Bool("x"), "tag": Keyword("x"), "on": Date("x")}},
    )(Product)
)


@pytest.mark.parametrize(
    ("metadata", "values"),
    [
        ({"price": "3.5", "new": "true"}, {"price": 3.5, "new": True}),
        ({"tag": ["red", 3]}, {"tag": ["red", "3"]}),
        ({"price": None, "other": 1, "_clip": {"revision": 9}}, {}),
        ({"on": "2024-05-01"}, {"on": "2024-05-01T00:00:00+00:00"}),
        ("extra-data", {}),
        (None, {}),
        ([{"price": 3}], {}),
    ],
)
def test_filter_values(metadata, values):
    assert filter_values(FILTERED, metadata) == values


@pytest.mark.parametrize(
    "metadata",
    [
        {"price": "cheap"},
        {"price": [1, "x"]},
        {"price": {}},
        {"new": "perhaps"},
        {"on": 5},
        {"price": 10**400},
    ],
)
def test_filter_values_name_what_does_not_fit(metadata):
    (key,) = metadata
    with pytest.raises(ProductError, match=f"metadata: '{key}' should be a"):
        filter_values(FILTERED, metadata)
