"""The accelerated model is used if it gives the vectors of the plain one; otherwise the plain one is used."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clip_search import images
from clip_search.models import IndexEntry
from tests.conftest import picture_bytes
from tests.samples import clip_models
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Product, ProductImage

pytestmark = [pytest.mark.model, pytest.mark.django_db(transaction=True)]
torch = pytest.importorskip("torch")

TEXTS = ["a red mug", "Tasse émaillée, rouge – 0,3 l", ""]


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    return clip_models.save_plain(tmp_path_factory.mktemp("model"))


@pytest.fixture
def make(model, settings) -> Callable[..., object]:
    """Return an encoder with these settings."""
    from clip_search.encoders.clip import ClipEncoder

    def encoder(**options: object) -> ClipEncoder:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | {
            "ENCODER": "clip_search.encoders.clip.ClipEncoder",
            "MODEL": str(model),
            "DEVICE": "cpu",
            "PRECISION": "float32",
            **options,
        }
        return ClipEncoder()

    return encoder


def vectors(encoder) -> np.ndarray:
    """Return the vectors of some texts and of two images."""
    pictures = [images.shrink(picture_bytes(colour, 90), encoder.image_size) for colour in ("red", "blue")]
    return np.concatenate([encoder.embed_texts(TEXTS), encoder.embed_images(pictures)])


def is_accelerated(encoder) -> bool:
    text_layers = encoder._text_tower[0].auto_model.text_model.encoder.layers
    return encoder._image_tower.takes_pixels or type(text_layers[-1]).__name__ == "LastLayer"


def rename_a_class_of_transformers(monkeypatch) -> None:
    """As a new version of transformers may."""
    from transformers import activations

    monkeypatch.delattr(activations, "QuickGELUActivation")
    monkeypatch.delitem(sys.modules, "clip_search.encoders.acceleration", raising=False)
    monkeypatch.delattr("clip_search.encoders.acceleration", raising=False)


def remove_an_operator_of_torch(monkeypatch) -> None:
    """As a torch built without oneDNN has it; the operator is used in bfloat16 alone."""

    class Nothing:
        pass

    monkeypatch.setattr("clip_search.encoders.clip.cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(torch.ops, "mkldnn", Nothing())


def change_the_scale_of_attention(monkeypatch) -> None:
    """As a new version of transformers may: the copy of the last layer then computes something else."""
    from transformers.models.clip.modeling_clip import CLIPAttention

    initialize = CLIPAttention.__init__

    def with_another_scale(self, *args, **kwargs) -> None:
        initialize(self, *args, **kwargs)
        self.scale *= 100

    monkeypatch.setattr(CLIPAttention, "__init__", with_another_scale)


BREAKAGES = [rename_a_class_of_transformers, remove_an_operator_of_torch, change_the_scale_of_attention]


@pytest.mark.parametrize("break_it", BREAKAGES)
def test_what_cannot_be_accelerated_is_served_by_the_plain_model(break_it, make, monkeypatch, caplog):
    break_it(monkeypatch)
    precision = "bfloat16" if break_it is remove_an_operator_of_torch else "float32"
    with caplog.at_level(logging.WARNING, "clip_search"):
        encoder = make(PRECISION=precision)
        found = vectors(encoder)

    assert not is_accelerated(encoder)
    assert len(caplog.records) == 1, caplog.text
    assert "Cannot accelerate" in caplog.text
    plain = make(PRECISION=precision, ACCELERATE=False)
    assert np.allclose(found, vectors(plain), atol=1e-6)
    assert encoder.fingerprint == plain.fingerprint


@pytest.mark.parametrize("break_it", BREAKAGES)
def test_the_shop_is_indexed_and_searched_all_the_same(break_it, make, monkeypatch, picture):
    break_it(monkeypatch)
    make(PRECISION="bfloat16" if break_it is remove_an_operator_of_torch else "float32")
    mug = Product.objects.create(name="Red mug", sku="M-1")
    ProductImage.objects.create(product=mug, original=picture("red", size=60))
    ProductDocument.reindex(Product.objects.all())

    assert IndexEntry.objects.get().state == IndexEntry.State.INDEXED
    assert list(ProductDocument.search("mug")) == [mug]
    assert list(ProductDocument.search_by_image(picture_bytes("red"))) == [mug]


def test_it_is_accelerated_if_nothing_is_wrong(make, caplog):
    with caplog.at_level(logging.WARNING, "clip_search"):
        encoder = make()
        found = vectors(encoder)

    assert is_accelerated(encoder)
    assert not caplog.records
    assert (found * vectors(make(ACCELERATE=False))).sum(axis=1).min() > 0.9999


def test_a_setting_turns_it_off(make, caplog):
    with caplog.at_level(logging.WARNING, "clip_search"):
        assert not is_accelerated(make(ACCELERATE=False))
    assert not caplog.records
