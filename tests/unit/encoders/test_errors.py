"""A model that cannot be loaded names the setting."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from clip_search.exceptions import ModelUnavailable
from tests.samples import clip_models
from tests.samples.clip_models import DIMENSION, IMAGE_SIZE

pytestmark = pytest.mark.model
USES = [
    lambda encoder: encoder.fingerprint,
    lambda encoder: encoder.image_size,
    lambda encoder: encoder.dimension,
    lambda encoder: encoder.embed_texts(["mug"]),
    lambda encoder: encoder.embed_images([np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)]),
]


@pytest.mark.parametrize("use", USES)
def test_a_missing_folder_names_the_setting(use, make):
    with pytest.raises(ModelUnavailable, match=r'CLIP_SEARCH\["MODEL"\] = \'/no/clip\': there is no such'):
        use(make("/no/clip"))


@pytest.mark.parametrize("use", USES[1:])
def test_a_folder_that_is_no_model_names_the_setting(use, make, tmp_path):
    (tmp_path / "config.json").write_text("{}")

    with pytest.raises(ModelUnavailable, match=r'CLIP_SEARCH\["MODEL"\] = .* cannot be loaded'):
        use(make(tmp_path))


@pytest.mark.parametrize("use", USES[3:])
def test_broken_weights_name_the_setting(use, make, models, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(models["plain"], folder)
    (folder / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0garbage!")

    with pytest.raises(ModelUnavailable, match=r'CLIP_SEARCH\["MODEL"\] = .* cannot be loaded'):
        use(make(folder))


@pytest.mark.parametrize("use", USES[2:])
def test_a_model_without_an_image_tower_is_refused(use, make, models, tmp_path):
    folder = clip_models.save_pooled(tmp_path / "texts", models["plain"], kinds=("text",))

    with pytest.raises(ModelUnavailable, match=r'CLIP_SEARCH\["MODEL"\] = .* has no image tower'):
        use(make(folder))


@pytest.mark.parametrize("use", [USES[0], *USES[2:]])
def test_a_text_model_cannot_be_the_model(use, make):
    with pytest.raises(ModelUnavailable, match=r'CLIP_SEARCH\["MODEL"\] = .* of the family \'distilbert\''):
        use(make("text"))


def test_a_missing_text_model_names_its_setting(make):
    with pytest.raises(ModelUnavailable, match=r'CLIP_SEARCH\["TEXT_MODEL"\] = \'/no/text\''):
        make("plain", "/no/text").embed_texts(["mug"])


def test_towers_of_different_dimensions_are_refused(make):
    with pytest.raises(ModelUnavailable, match=rf"gives 16 dimensions, but .* {DIMENSION}.*\"TEXT_MODEL\""):
        make("plain", "narrow text").warm_up()


@pytest.mark.parametrize(
    ("options", "named"),
    [({"DEVICE": "cuda"}, "DEVICE"), ({"DEVICE": "toaster"}, "DEVICE"), ({"precision": "int3"}, "PRECISION")],
)
def test_a_device_or_precision_that_is_not_there_is_named(options, named, make, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    with pytest.raises(ModelUnavailable, match=rf'CLIP_SEARCH\["{named}"\]'):
        make(**options).embed_texts(["mug"])


@pytest.mark.parametrize("device", ["cuda:1", "cuda:01", "cuda:x", "cuda:-1"])
def test_a_graphics_card_that_is_not_there_is_named(device, make, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)

    with pytest.raises(ModelUnavailable, match=f"= '{device}' is not available"):
        make(DEVICE=device).embed_texts(["mug"])
