"""What sentence-transformers itself computes, to compare with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clip_search import images
from tests.samples.clip_models import IMAGE_SIZE

LAYOUTS = ["plain", "legacy", "current", "pooled"]
TEXTS = ["a red mug", "", "Tasse émaillée, rouge – 0,3 l", "x" * 500, "blue shoe \ud800 \0 👟"]


def reference(folder: Path, inputs) -> np.ndarray:
    """What sentence-transformers itself makes of the inputs, in float32."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return model.encode(inputs, normalize_embeddings=True, show_progress_bar=False)


def shrunk(pngs: list[bytes]) -> list[np.ndarray]:
    return [images.shrink(data, IMAGE_SIZE) for data in pngs]


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one * other).sum(axis=1)
