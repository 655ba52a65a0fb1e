"""Models of random weights, and encoders of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_search.encoders.clip import ClipEncoder
from tests.samples import clip_models


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    plain = clip_models.save_plain(folder / "plain")
    return {
        "plain": plain,
        "legacy": clip_models.save_legacy(folder / "legacy"),
        "current": clip_models.save_current(folder / "current", plain),
        "pooled": clip_models.save_pooled(folder / "pooled", plain),
        "gelu": clip_models.save_plain(folder / "gelu", hidden_act="gelu"),
        "text": clip_models.save_text(folder / "text"),
        "narrow text": clip_models.save_text(folder / "narrow", dimension=16),
    }


@pytest.fixture(scope="session")
def pngs() -> list[bytes]:
    chance = np.random.default_rng(5)
    found = []
    for width, height in [(90, 60), (60, 91), (48, 48), (300, 200), (30, 20)]:
        file = io.BytesIO()
        Image.fromarray(chance.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(file, "PNG")
        found.append(file.getvalue())
    return found


@pytest.fixture
def make(models, settings):
    """Return an encoder of the named model."""

    def encoder(model="plain", text_model=None, precision="float32", **options) -> ClipEncoder:
        settings.CLIP_SEARCH = {
            "MODEL": str(models.get(model, model)),
            "TEXT_MODEL": str(models.get(text_model, text_model)) if text_model else None,
            "PRECISION": precision,
            "DEVICE": "cpu",
            **options,
        }
        return ClipEncoder()

    return encoder


@pytest.fixture
def one_thread():
    """Let torch use a single thread, so that batches are computed one after the other, as on a GPU."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
