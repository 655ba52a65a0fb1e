"""An encoder of two models: one for texts, the demo's CLIP model for pictures. Only the benchmark needs it.

The models' numbers stand side by side in one vector. A product's text has only the first model's, a picture
only CLIP's, and a query has both. So each retriever compares numbers of one model, as if it had its own.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_search import Document
from clip_search.encoders.clip import ClipEncoder

from .shop import TEXT_MODEL

PROMPT = Document.query_prompt.replace("{query}", "")
"""Begins a query, and no text of the shop."""


class TwoModels:
    """Embeds texts with a model of sentence-transformers, pictures with CLIP, and queries with both."""

    def __init__(self) -> None:
        self.clip, self.folder = ClipEncoder(), os.environ[TEXT_MODEL]
        self.batch_size = 32

    @cached_property
    def texts(self) -> Any:
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(self.folder, device="cpu")

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.clip.fingerprint} {self.folder}".encode()).hexdigest()

    @cached_property
    def dimension(self) -> int:
        return int(self.texts.get_embedding_dimension()) + self.clip.dimension

    @property
    def image_size(self) -> int:
        return self.clip.image_size

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        words = [{"text": text.removeprefix(PROMPT)} for text in texts]
        by_text = self.texts.encode(words, normalize_embeddings=True, show_progress_bar=False)
        by_clip = self.clip.embed_texts(texts)
        by_clip[[not text.startswith(PROMPT) for text in texts]] = 0
        vectors = np.concatenate([by_text, by_clip], axis=1)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        by_clip = self.clip.embed_images(images)
        nothing = np.zeros((len(images), self.dimension - self.clip.dimension), np.float32)
        return np.concatenate([nothing, by_clip], axis=1)

    def warm_up(self, *, images: bool = True) -> None:
        self.embed_texts(["warm up"])
        self.clip.warm_up(images=images)
