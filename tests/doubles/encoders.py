"""Encoders that count, see quarters of images, read little, are another model, or fail."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clip_search.exceptions import ModelUnavailable
from clip_search.testing import HashingEncoder


class CountingEncoder(HashingEncoder):
    """Counts what it embeds: in lists, and a line a piece in CLIP_SEARCH_TEST_COUNTS for other processes.

    CLIP_SEARCH_TEST_SECONDS_AN_IMAGE makes it as slow as a real model. With CLIP_SEARCH_TEST_GATE, it embeds
    no image before this file exists.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.images = 0

    def embed_texts(self, texts: Sequence[str]) -> Any:
        self.texts += texts
        self._note([f"text {text}" for text in texts])
        return super().embed_texts(texts)

    def embed_images(self, images: Sequence[Any]) -> Any:
        self.images += len(images)
        self._note([f"image {image.tobytes().hex()[:6]}" for image in images])
        while (gate := os.environ.get("CLIP_SEARCH_TEST_GATE")) and not Path(gate).exists():
            time.sleep(0.02)
        time.sleep(len(images) * float(os.environ.get("CLIP_SEARCH_TEST_SECONDS_AN_IMAGE", "0")))
        return super().embed_images(images)

    def take(self) -> tuple[int, int]:
        """Return how many texts and images were embedded since the last call."""
        counts = len(self.texts), self.images
        self.texts, self.images = [], 0
        return counts

    def _note(self, lines: Sequence[str]) -> None:
        if path := os.environ.get("CLIP_SEARCH_TEST_COUNTS"):
            with Path(path).open("a") as file:
                file.write("".join(f"{line}\n" for line in lines))


class SceneEncoder(HashingEncoder):
    """Sees an image as the mean colours of its quarters, at the size that CLIP sees it."""

    fingerprint = "scene-encoder-1"
    image_size = 224

    def embed_images(self, images: Sequence[Any]) -> Any:
        vectors = np.zeros((len(images), self.dimension), dtype=np.float32)
        for row, image in zip(vectors, images, strict=True):
            half = self.image_size // 2
            quarters = np.asarray(image, dtype=np.float32).reshape(2, half, 2, half, 3).mean(axis=(1, 3))
            row[:12] = quarters.ravel() - 128
            row[12] = 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class OtherEncoder(CountingEncoder):
    """Another model: its vectors are of another space, and longer."""

    fingerprint = "other-encoder-1"
    dimension = 300


class ShortSightedEncoder(CountingEncoder):
    """A model that reads four words of a text."""

    fingerprint = "short-sighted-encoder-1"

    def embed_texts(self, texts: Sequence[str]) -> Any:
        self.texts += texts
        return HashingEncoder.embed_texts(self, [" ".join(text.split()[:4]) for text in texts])

    def truncated(self, texts: Sequence[str]) -> list[bool]:
        return [len(text.split()) > 4 for text in texts]


class MissingEncoder(HashingEncoder):
    """A model that cannot be loaded."""

    def warm_up(self, **options: bool) -> None:
        raise ModelUnavailable


class BrokenEncoder(HashingEncoder):
    """A model whose files can be named but not read."""

    def embed_texts(self, texts: Sequence[str]) -> Any:
        raise ModelUnavailable("The model cannot be loaded.")


class FaultyEncoder(HashingEncoder):
    """A model with a bug."""

    def embed_texts(self, texts: Sequence[str]) -> Any:
        return 1 / 0
