"""Models whose vectors are proven to be those of their makers' own code, and models that are refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_search import checks
from clip_search.encoders.model_files import PROVEN
from clip_search.exceptions import ModelUnavailable
from tests.samples import clip_models
from tests.samples.clip_models import IMAGE_SIZE

from .reference import cosines, shrunk

TEXTS = [
    "mug",
    "a red mug",
    "",
    "Tasse émaillée, rouge – 0,3 l",
    "x" * 500,
    "a photo of two chairs in a garden",
]
NEAR = 0.9999

pytestmark = pytest.mark.model


def unit(rows) -> np.ndarray:
    found = rows.detach().numpy()
    return found / np.linalg.norm(found, axis=1, keepdims=True)


# Proven.


@pytest.mark.parametrize("accelerate", [True, False])
@pytest.mark.parametrize("model", ["plain", "current", "gelu"])
def test_clip_gives_the_vectors_of_clipmodel_and_clipprocessor(model, accelerate, make, models, pngs):
    from transformers import CLIPModel, CLIPProcessor

    plain, processor = (kind.from_pretrained(models[model]) for kind in (CLIPModel, CLIPProcessor))
    encoder = make(model, ACCELERATE=accelerate)

    def texts(several: list[str]) -> np.ndarray:
        tokens = processor(text=several, return_tensors="pt", padding=True, truncation=True, max_length=77)
        return unit(plain.get_text_features(**tokens).pooler_output)

    wanted = np.concatenate([texts([text]) for text in TEXTS])
    assert cosines(texts(TEXTS), wanted).min() > NEAR
    assert cosines(encoder.embed_texts(TEXTS), wanted).min() > NEAR
    assert cosines(np.concatenate([encoder.embed_texts([text]) for text in TEXTS]), wanted).min() > NEAR
    pixels = processor(images=[Image.open(io.BytesIO(data)) for data in pngs], return_tensors="pt")
    wanted = unit(plain.get_image_features(**pixels).pooler_output)
    assert cosines(encoder.embed_images(shrunk(pngs)), wanted).min() > NEAR
    alone = np.concatenate([encoder.embed_images(shrunk([data])) for data in pngs])
    assert cosines(alone, wanted).min() > NEAR


@pytest.mark.parametrize("family", [family for family in PROVEN["TEXT_MODEL"] if family != "clip"])
def test_a_text_model_gives_the_vectors_of_its_own_code(family, make, tmp_path):
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = clip_models.save_text_family(tmp_path, family)
    encoder, own, tokenizer = (
        make("plain", folder),
        AutoModel.from_pretrained(tmp_path / "source"),
        AutoTokenizer.from_pretrained(tmp_path / "source"),
    )

    def alone(text: str) -> np.ndarray:
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=128)
        with torch.no_grad():
            return unit(own(**tokens).last_hidden_state.mean(dim=1))

    wanted = np.concatenate([alone(text) for text in TEXTS])
    assert cosines(encoder.embed_texts(TEXTS), wanted).min() > NEAR
    assert cosines(np.concatenate([encoder.embed_texts([text]) for text in TEXTS]), wanted).min() > NEAR
    assert cosines(wanted[:1], wanted[1:2]).max() < 0.99


def test_a_clip_model_may_be_the_text_model(make):
    texts = make("plain", "legacy").embed_texts(TEXTS)

    assert cosines(texts, make("legacy").embed_texts(TEXTS)).min() > NEAR


# Refused.

USES = {
    "fingerprint": lambda encoder: encoder.fingerprint,
    "texts": lambda encoder: encoder.embed_texts(["mug"]),
    "images": lambda encoder: encoder.embed_images([np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)]),
    "warming up": lambda encoder: encoder.warm_up(),
}


@pytest.fixture
def said(settings):
    """Return the numbers and messages of the checks of the settings."""

    def say(**keys) -> list[str]:
        settings.CLIP_SEARCH = {"QDRANT": {"url": "x"}, "INSTALLATION": "x"} | keys
        found = [message for message in checks.check_settings() if message.id == "clip_search.E021"]
        assert all("of a CLIP model" in message.hint for message in found)
        return [message.msg for message in found]

    return say


def save_configuration(folder: Path, family: str, inner: str = "") -> Path:
    """Save what the checks read of a model, in the current or in the older layout."""
    (folder / inner).mkdir(parents=True)
    (folder / inner / "config.json").write_text(json.dumps({"model_type": family}))
    if inner:
        (folder / "modules.json").write_text(json.dumps([{"idx": 0, "path": inner}, {"idx": 1, "path": "x"}]))
    return folder


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("family", ["siglip", "siglip2"])
def test_siglip_is_refused(family, use, make, tmp_path):
    import torch
    from transformers import AutoConfig, AutoModel

    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = AutoConfig.for_model(family, text_config=size, vision_config=size | {"image_size": IMAGE_SIZE})
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(tmp_path)

    with pytest.raises(ModelUnavailable, match=rf"of the family '{family}', which may .*: clip\. Set it to"):
        USES[use](make(tmp_path))


@pytest.mark.parametrize("inner", ["", "0_CLIPModel"])
@pytest.mark.parametrize("family", ["siglip", "siglip2", "chinese_clip", "altclip", "blip", "next"])
def test_e021_another_family(family, inner, said, make, tmp_path):
    folder = save_configuration(tmp_path / "model", family, inner)

    for key, known in (
        ("MODEL", "clip"),
        ("TEXT_MODEL", "bert, clip, distilbert, mpnet, roberta, xlm-roberta"),
    ):
        assert said(**{key: folder}) == [
            f"CLIP_SEARCH[\"{key}\"] = '{folder}' is of the family {family!r}, which may load and give wrong "
            f"vectors. Proven to give those of its makers' own code: {known}."
        ]
    with pytest.raises(ModelUnavailable, match=rf'"MODEL"\] = .* of the family {family!r}'):
        make(folder).fingerprint  # noqa: B018


@pytest.mark.parametrize("family", PROVEN["TEXT_MODEL"])
def test_the_families_that_are_proven_are_taken(family, said, tmp_path):
    folder = save_configuration(tmp_path / "model", family)

    assert said(TEXT_MODEL=folder) == []
    assert bool(said(MODEL=folder)) == (family != "clip")


def test_e021_images_that_are_squashed(said, make, tmp_path):
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    for name, content in (
        ("preprocessor_config.json", {"size": size}),
        ("processor_config.json", {"image_processor": {"size": size}}),
    ):
        folder = save_configuration(tmp_path / name, "clip")
        (folder / name).write_text(json.dumps(content))
        assert ["squashed to a square" in message for message in said(MODEL=folder)] == [True]
        assert said(TEXT_MODEL=folder) == []
        with pytest.raises(ModelUnavailable, match="squashed to a square"):
            make(folder).fingerprint  # noqa: B018


def test_e021_a_model_that_was_downloaded_before(said, monkeypatch, tmp_path):
    hub = tmp_path / "hub"
    for name, family in (
        ("google--siglip2-base", "siglip"),
        ("sentence-transformers--clip-ViT-B-32", "clip"),
    ):
        save_configuration(hub / f"models--{name}" / "snapshots" / "abc", family)
        (hub / f"models--{name}" / "refs").mkdir()
        (hub / f"models--{name}" / "refs" / "main").write_text("abc")
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))

    assert ["'siglip'" in message for message in said(MODEL="google/siglip2-base")] == [True]
    assert said(MODEL="clip-ViT-B-32") == said(MODEL="sentence-transformers/clip-ViT-B-32") == []
    assert said(MODEL="google/another") == []
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert said(MODEL="google/siglip2-base") == []


def test_an_encoder_of_the_shop_is_its_own_matter(said, tmp_path):
    folder = save_configuration(tmp_path / "model", "siglip")

    assert said(MODEL=folder, ENCODER="shop.encoders.SigLipEncoder") == []


@pytest.mark.parametrize(
    "broken", ["modules.json", "config.json", "preprocessor_config.json", "processor_config.json"]
)
def test_the_check_leaves_broken_files_to_who_loads_them(broken, said, tmp_path):
    folder = save_configuration(tmp_path / "model", "clip")
    for content in (
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'[{"path": 1}]',
        b'{"model_type": 1, "size": 224}',
        b'{"image_processor": []}',
    ):
        (folder / broken).write_bytes(content)
        said(MODEL=folder)


def test_the_demo_model_is_of_a_proven_family(said):
    assert said(MODEL=Path(__file__).parents[3] / "example_project" / "demo_model") == []
