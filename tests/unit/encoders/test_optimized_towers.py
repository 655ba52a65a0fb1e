"""Accelerated towers compute less and give the same vectors."""

from __future__ import annotations

import io
import json
import shutil

import pytest
from PIL import Image

from clip_search.encoders.placement import cpu_has_bfloat16

from .reference import TEXTS, reference, shrunk

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")
acceleration = pytest.importorskip("clip_search.encoders.acceleration")


@pytest.mark.parametrize(("model", "activation"), [("plain", "SiLU"), ("gelu", "GELUActivation")])
def test_a_tower_does_less_and_gives_what_it_gave(model, activation, make, models, pngs):
    encoder = make(model)

    texts, pictures = encoder.embed_texts(["a red mug"]), encoder.embed_images(shrunk(pngs))

    wanted = reference(models[model], [Image.open(io.BytesIO(data)) for data in pngs])
    assert pictures == pytest.approx(wanted, abs=1e-5)
    assert texts == pytest.approx(reference(models[model], [{"text": "a red mug"}]), abs=1e-5)
    clip = encoder._image_tower.model[0].auto_model
    mlps = [module for module in clip.modules() if isinstance(module, acceleration.CLIPMLP)]
    assert {type(mlp.activation_fn).__name__ for mlp in mlps} == {activation}
    assert tokens_of(clip.vision_model, lambda: encoder.embed_images(shrunk(pngs))) == {1}  # of ten


@pytest.mark.parametrize("end", ["as configured long ago", "as it is"])
def test_of_the_last_layer_a_text_needs_its_end_alone(end, make, models, tmp_path):
    """Wherever that is: the model takes the first mark of an end, even one that is written in the text."""
    folder = tmp_path / "model"
    shutil.copytree(models["plain"], folder)
    if end == "as it is":
        from transformers import AutoTokenizer

        (mark,) = AutoTokenizer.from_pretrained(folder)("<|endoftext|>", add_special_tokens=False)[
            "input_ids"
        ]
        config = json.loads((folder / "config.json").read_text())
        config["text_config"]["eos_token_id"] = mark
        (folder / "config.json").write_text(json.dumps(config))
    texts = ["a red mug", "", "mug " * 200, "a <|endoftext|> b", "Tasse émaillée, rouge – 0,3 l"]
    encoder = make(folder)

    found = encoder.embed_texts(texts)

    assert found == pytest.approx(reference(folder, [{"text": text} for text in texts]), abs=1e-5)
    tower = encoder._text_tower[0].auto_model.text_model
    assert tokens_of(tower, lambda: encoder.embed_texts(texts)) == {1}


def tokens_of(tower, work) -> set[int]:
    """Return how many tokens of each row the last layer's MLP is given."""
    tokens = []
    *_, mlp = (module for module in tower.modules() if isinstance(module, acceleration.CLIPMLP))
    handle = mlp.register_forward_hook(lambda _mlp, given, _found: tokens.append(given[0].shape[1]))
    work()
    handle.remove()
    return set(tokens)


@pytest.mark.parametrize("size", [(48, 48), (50, 35)])
def test_patches_are_what_the_convolution_makes_of_the_normalized_pixels(size):
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(3, 8, kernel_size=16, stride=16, bias=False)
    scale, shift = torch.rand(3, 1, 1) / 60, -torch.rand(3, 1, 1)
    pixels = torch.randint(0, 256, (4, *size, 3), dtype=torch.uint8).permute(0, 3, 1, 2)

    with torch.no_grad():
        found = acceleration.Patches(convolution, scale, shift)(pixels.float())

        wanted = convolution(pixels * scale + shift)
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() < 1e-4


def test_packed_weights_give_the_same_vectors(make, pngs):
    """In float32 too, where they gain nothing, and can be compared on every CPU."""
    plain, packed = make(), make()
    for tower in (packed._text_tower, packed._image_tower.model):
        acceleration.prepack(tower[0])

    assert packed.embed_texts(TEXTS) == pytest.approx(plain.embed_texts(TEXTS), abs=1e-5)
    pictures = packed.embed_images(shrunk(pngs))
    assert pictures == pytest.approx(plain.embed_images(shrunk(pngs)), abs=1e-5)
    for tower in (packed._text_tower, packed._image_tower.model):
        layers = [m for m in tower.modules() if isinstance(m, torch.nn.Linear | acceleration.PackedLinear)]
        assert layers
        assert {type(layer) for layer in layers} == {acceleration.PackedLinear}


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="this CPU is no faster in bfloat16")
@pytest.mark.parametrize(("precision", "is_packed"), [("auto", True), ("bfloat16", True), ("float32", False)])
def test_weights_are_packed_where_bfloat16_is_a_gain(precision, is_packed, make):
    tower = make(precision=precision)._text_tower

    assert any(isinstance(part, acceleration.PackedLinear) for part in tower.modules()) is is_packed
