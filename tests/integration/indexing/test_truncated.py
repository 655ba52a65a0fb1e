"""Products whose text is longer than the model reads are counted, and named."""

from __future__ import annotations

import pytest

from clip_search.encoders import get_encoder
from clip_search.models import IndexEntry
from clip_search.testing import HashingEncoder
from tests.samples import clip_models
from tests.shops.shop.models import Product

from ..commands.actions import run

pytestmark = pytest.mark.django_db
LONG, SHORT = "for tea and for coffee and for milk", "for tea"


@pytest.fixture(params=["memory", "embedded"])
def encoder(request, settings, tmp_path):
    """The encoder of a shop whose model reads four words, on each store."""
    store = {"backend": "tests.doubles.stores.FaultyStore"}
    if request.param == "embedded":
        pytest.importorskip("qdrant_edge")
        store = {"path": tmp_path / "qdrant"}
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {
        "ENCODER": "tests.doubles.encoders.ShortSightedEncoder",
        "QDRANT": store,
        "QUEUE": None,
        "AUTOSYNC": False,
    }
    return get_encoder()


def make(*descriptions: str) -> list[Product]:
    return [Product.objects.create(name="Mug", sku="M", description=text) for text in descriptions]


def line(count: int, *products: Product) -> str:
    named = ", ".join(str(product.pk) for product in products[:5]) + ", …" * (count > 5)
    return (
        f"product: texts that are longer than the model reads: {count} ({named}). "
        "Put first what shoppers look for.\n"
    )


def test_truncated_texts_are_counted_and_named(encoder):
    long, _, other = make(LONG, SHORT, LONG)
    said = run("clip_reindex")
    assert line(2, *sorted([long, other], key=lambda product: document_id(product))) in said
    assert "longer than the model reads: 2 (" in run("clip_status")
    assert "failed" not in said


def document_id(product: Product) -> str:
    """Return the id of a product's point: a store names points in the order of these."""
    return str(IndexEntry.objects.get(document="product", product_id=str(product.pk)).uuid)


def test_of_many_a_few_are_named(encoder):
    make(*[LONG] * 7)
    (said,) = [line for line in run("clip_reindex").splitlines() if "longer" in line]
    assert "reads: 7 (" in said
    assert said.count(",") == 5


def test_the_mark_stays_with_the_text_and_goes_with_it(encoder):
    (mug,) = make(LONG)
    run("clip_reindex")
    encoder.take()

    Product.objects.update(price=7)
    assert "1 payload only" in (said := run("clip_reindex"))
    assert line(1, mug) in said
    assert "1 unchanged" in run("clip_reindex")
    assert line(1, mug) in run("clip_rebuild")
    assert encoder.take() == (0, 0)
    assert "1 unchanged" in (said := run("clip_reindex"))
    assert line(1, mug) in said

    Product.objects.update(description=SHORT)
    assert "longer than the model reads" not in run("clip_reindex")
    Product.objects.update(description=LONG)
    assert line(1, mug) in run("clip_reindex")
    mug.delete()
    assert "longer than the model reads" not in run("clip_reindex")
    assert "longer than the model reads" not in run("clip_status")


def test_another_model_reads_other_lengths(encoder, settings):
    make(LONG)
    assert "longer than the model reads" in run("clip_reindex")
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "tests.doubles.encoders.CountingEncoder"}

    assert not hasattr(HashingEncoder, "truncated")
    assert "longer than the model reads" not in run("clip_rebuild")
    assert "longer than the model reads" not in run("clip_status")


@pytest.mark.model
def test_clip_reads_77_tokens(encoder, settings, tmp_path):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {
        "ENCODER": "clip_search.encoders.clip.ClipEncoder",
        "MODEL": clip_models.save_plain(tmp_path / "model"),
        "DEVICE": "cpu",
    }
    long, _ = make("x" * 76, "x" * 60)
    assert line(1, long) in run("clip_reindex")
    assert line(1, long) in run("clip_status")
