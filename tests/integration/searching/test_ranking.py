"""In which order products are found, and how weights change it."""

from __future__ import annotations

import io

import pytest
from django.core.files.base import ContentFile
from PIL import Image

from clip_search.stores.base import Query
from clip_search.testing import pause_indexing
from tests.conftest import picture_bytes
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Product, ProductImage

from .actions import index, keys, make, with_pictures

pytestmark = pytest.mark.django_db


def test_words_find_by_what_is_said_and_by_what_is_shown(document):
    said, shown, neither = make(["red things", "thing one", "thing two"])
    with_pictures([said, shown, neither], ["white", "red", "blue"])
    index(document)
    found = keys(ProductDocument.search("something red"))
    assert set(found[:2]) == {said.pk, shown.pk}


def weights_of(query: Query) -> dict[str, float]:
    return {retriever.using: retriever.weight for retriever in query.retrievers}


def test_weights_choose_between_text_and_image(document, asked):
    said, shown = make(["red things", "thing"])
    with_pictures([said, shown], ["white", "red"])
    index(document)
    search = ProductDocument.search
    assert keys(search("something red", weights={"image": 0}))[0] == said.pk
    assert keys(search("something red", weights={"text": 0}))[0] == shown.pk
    asked.clear()
    list(search("something red", weights={"text": 2})[:5].hits())
    assert weights_of(asked[-1]) == {"text": 1.0, "image": 0.5}


def test_weights_of_the_document_are_the_default(shop, asked, monkeypatch):
    monkeypatch.setattr(ProductDocument, "weights", {"text": 3})
    list(ProductDocument.search("a red mug")[:5].hits())
    assert weights_of(asked[-1]) == {"text": 1.0}


@pytest.mark.parametrize(
    "weights", [{"text": 2, "image": 1}, {"text": 5, "image": 5}, {"text": 0, "image": 9}]
)
def test_scores_are_in_rank_order_whatever_the_weights(any_store, document, weights):
    other, named = make(["a red mug red mug", "red mug"])
    with_pictures([other], ["red"])
    index(document)
    hits = list(ProductDocument.search("RED mug", weights=weights).hits())
    assert [hit.product_id for hit in hits] == [str(named.pk), str(other.pk)]
    assert hits[0].score >= hits[1].score
    assert hits[0].score >= 1


@pytest.fixture
def opposed(document) -> list[Product]:
    """Eight products that the words "red mug" rank in this order, and their pictures in the reverse one.

    No two of them score the same by either, so that no order is a matter of chance.
    """
    names = [" ".join(["mug", *(f"word{number}x{extra}" for extra in range(number))]) for number in range(8)]
    products = make(names)
    with pause_indexing():
        for number, product in enumerate(products):
            image = Image.new("RGB", (32, 32), "white")
            image.paste("red", (0, 0, 32, 4 * (number + 1)))
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            picture = ContentFile(buffer.getvalue(), name=f"{product.pk}.png")
            ProductImage.objects.create(product=product, original=picture)
    index(document)
    return products


@pytest.mark.parametrize(
    "ratio",
    [
        [{"text": 1, "image": 0.5}, {"text": 2, "image": 1}, {"text": 1e6, "image": 5e5}],
        [{"text": 1, "image": 1}, {"text": 7, "image": 7}, {"text": 1e-9, "image": 1e-9}],
        [{"text": 1, "image": 3}, {"text": 1e6, "image": 3e6}],
    ],
)
def test_only_the_ratio_of_the_weights_counts(any_store, opposed, ratio):
    search = ProductDocument.search
    first, *others = (list(search("a red mug", weights=weights).hits()) for weights in ratio)
    assert len(first) == 8
    assert others == [first] * len(others)


def test_a_weight_that_outweighs_the_other_leaves_its_ranking_alone(any_store, opposed):
    search = ProductDocument.search
    by_text, by_image = keys(opposed), keys(reversed(opposed))
    assert keys(search("a red mug", weights={"image": 0})) == by_text
    assert keys(search("a red mug", weights={"text": 0})) == by_image
    assert keys(search("a red mug", weights={"text": 1_000_000, "image": 1})) == by_text
    assert keys(search("a red mug", weights={"text": 1, "image": 1_000_000})) == by_image
    assert keys(search("a red mug")) not in (by_text, by_image)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"words": 1}, "no weight 'words'"),
        ({"text": -1}, "'text' is -1.0"),
        ({"image": float("nan")}, "'image' is nan"),
        ({"image": float("inf")}, "'image' is inf"),
        ({"text": 0, "image": 0}, "Both weights are 0"),
    ],
)
def test_weights_that_are_none_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        ProductDocument.search("mug", weights=weights)


def test_of_several_images_the_best_counts(any_store, document, monkeypatch):
    monkeypatch.setattr(ProductDocument, "max_images", 2)
    first, second, third = make(["one", "two", "three"])
    with_pictures([first, first, second, second, third], ["blue", "red", "blue", "green", "green"])
    index(document)
    by_photo = ProductDocument.search_by_image(picture_bytes("red"))
    assert by_photo[0] == first
    assert set(ProductDocument.search_by_image(picture_bytes("green"))[:2]) == {second, third}
    assert first not in ProductDocument.similar_to(first)
