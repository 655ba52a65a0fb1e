"""In which order products are found, and how weights change it."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest
from django.core.files.base import ContentFile
from PIL import Image

from clip_search.stores.base import TERMS
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
    found = keys(ProductDocument.search("something red", everything=True))
    assert set(found[:2]) == {said.pk, shown.pk}


def test_weights_choose_between_text_and_image(document):
    said, shown = make(["red things", "thing"])
    with_pictures([said, shown], ["white", "red"])
    index(document)
    search = ProductDocument.search
    assert keys(search("red zzzz", everything=True, weights={"image": 0, "words": 0}))[0] == said.pk
    assert keys(search("red zzzz", everything=True, weights={"text": 0, "words": 0}))[0] == shown.pk


def test_weights_of_the_document_are_the_default(shop, asked, monkeypatch):
    def legs(**options: Any) -> set[str]:
        asked.clear()
        list(ProductDocument.search("a red mug", everything=True, **options)[:5].hits())
        in_tier = [query for query in asked if any(one.key == TERMS for one in query.conditions)]
        return {query.retriever.using for query in asked if query.retriever and query not in in_tier}

    assert legs() == {"text", "image", "words"}
    monkeypatch.setattr(ProductDocument, "weights", {"text": 3, "words": 0})
    assert legs() == {"text", "image"}
    assert legs(weights={"image": 0, "words": 1}) == {"text", "words"}


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


BY_WORDS = (3, 0, 6, 2, 7, 4, 1, 5)
"""The order in which the words of their descriptions rank the products of `opposed`."""


@pytest.fixture
def opposed(document, monkeypatch) -> list[Product]:
    """Eight products that "red mug" ranks in this order by text, in the reverse one by image, and BY_WORDS.

    No two of them score the same by any, so that no order is a matter of chance.
    """
    monkeypatch.setattr(ProductDocument, "text_fields", ["name"])
    monkeypatch.setattr(ProductDocument, "search_fields", {"description": 1})
    names = [" ".join(["mug", *(f"word{number}x{extra}" for extra in range(number))]) for number in range(8)]
    products = make(names)
    with pause_indexing():
        for place, number in enumerate(BY_WORDS):
            products[number].description = "red mug" + " and filler" * place
        Product.objects.bulk_update(products, ["description"])
        for number, product in enumerate(products):
            image = Image.new("RGB", (32, 32), "white")
            image.paste("red", (0, 0, 32, 4 * (number + 1)))
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            picture = ContentFile(buffer.getvalue(), name=f"{product.pk}.png")
            ProductImage.objects.create(product=product, original=picture)
    index(document)
    return products


LEGS = ("text", "image", "words")


@pytest.mark.parametrize("everything", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_only_the_ratio_of_the_weights_counts(any_store, opposed, seed, everything):
    rng = random.Random(seed)
    weights = {leg: rng.choice([0, 0.25, 1, 3, 10]) for leg in LEGS} | {rng.choice(LEGS): 1}
    first, *others = (
        list(
            ProductDocument.search(
                "a red mug",
                everything=everything,
                weights={leg: by * weight for leg, weight in weights.items()},
            ).hits()
        )
        for by in (1, 2, 7, 1e6, 1e-9)
    )
    assert len(first) == 8 if everything else first
    for found in others:
        assert [hit.product_id for hit in found] == [hit.product_id for hit in first]
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in first])


@pytest.mark.parametrize("everything", [True, False])
def test_a_weight_that_outweighs_the_others_ranks_like_its_leg_alone(any_store, opposed, everything):
    def ranked(**weights: float) -> list[int]:
        return keys(ProductDocument.search("a red mug", everything=everything, weights=weights))

    alone = {leg: ranked(**(dict.fromkeys(LEGS, 0) | {leg: 1})) for leg in LEGS}
    if everything:
        by_words = [opposed[number].pk for number in BY_WORDS]
        assert alone == {"text": keys(opposed), "image": keys(reversed(opposed)), "words": by_words}
    assert len({tuple(order) for order in alone.values()}) == 3
    for leg in LEGS:
        assert ranked(**(dict.fromkeys(LEGS, 1) | {leg: 1_000_000})) == alone[leg], leg
    assert ranked() not in alone.values()


def test_a_leg_that_ranks_nothing_alone_is_no_failure(any_store, document):
    products = make(["red mug", "blue mug"])
    index(document)
    for everything, weights in ((False, {"text": 0, "words": 0}), (False, {"image": 0, "text": 0})):
        found = ProductDocument.search("a mug", everything=everything, weights=weights)
        assert set(found) == set(products)
        assert all(0 <= hit.relevance <= 1 for hit in found.hits())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"sound": 1}, "no weight 'sound'. The weights are: text, image, words, photo"),
        ({"text": -1}, "'text' is -1.0"),
        ({"image": float("nan")}, "'image' is nan"),
        ({"image": float("inf")}, "'image' is inf"),
        ({"text": 0, "image": 0, "words": 0}, "All weights are 0"),
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
