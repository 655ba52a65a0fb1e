"""An encoder that asks a service of your own: the example of docs/how-to/own-encoder.rst."""

from __future__ import annotations

import base64
import io
import json
import urllib.request
from collections.abc import Sequence
from typing import Any

import numpy as np
from django.conf import settings
from PIL import Image

from clip_search.exceptions import BackendUnavailable


class ServiceEncoder:
    """Posts texts and images as JSON to `settings.EMBEDDING_SERVICE`, and reads vectors."""

    fingerprint = "siglip-base-patch16-224 2026-11"  # change it whenever the vectors change
    dimension = 768
    image_size = 224
    batch_size = 64

    def warm_up(self, *, images: bool = True) -> None:
        """Nothing to load: the model is in the service."""

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self._vectors({"texts": list(texts)}, len(texts))

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return self._vectors({"images": [as_png(image) for image in images]}, len(images))

    def _vectors(self, body: dict[str, Any], count: int) -> np.ndarray:
        request = urllib.request.Request(  # noqa: S310 -- the address is in the settings
            settings.EMBEDDING_SERVICE,
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                rows = json.load(answer)["vectors"]
        except (OSError, ValueError, KeyError) as error:
            raise BackendUnavailable(f"The embedding service failed: {error}. See its log.") from error
        vectors = np.asarray(rows, np.float32).reshape(count, self.dimension)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def as_png(pixels: np.ndarray) -> str:
    """Return uint8 (side, side, 3) as a PNG in base64."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
