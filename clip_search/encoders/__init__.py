"""Texts and images → unit vectors: `get_encoder()` returns the encoder that the settings name."""

from __future__ import annotations

import threading
from functools import lru_cache

from django.utils.module_loading import import_string

from ..conf import conf
from ..exceptions import SetupError
from .base import Encoder

SETTINGS = ("MODEL", "TEXT_MODEL", "DEVICE", "PRECISION", "BATCH_SIZE", "ACCELERATE")
_creating = threading.Lock()  # lru_cache alone may create two at once, and each would load the model


def get_encoder() -> Encoder:
    """Return this process's encoder, of the class that CLIP_SEARCH["ENCODER"] names. Raises SetupError."""
    with _creating:
        # another one if any of its settings changes, as in tests
        return _encoder(conf.encoder, repr([conf.raw.get(key) for key in SETTINGS]))


@lru_cache(maxsize=4)
def _encoder(path: str, _settings: str) -> Encoder:
    try:
        encoder_class = import_string(path)
    except ImportError as error:
        raise SetupError(
            f'CLIP_SEARCH["ENCODER"] = {path!r} cannot be imported: {error}. Run `manage.py check`.'
        ) from error
    encoder: Encoder = encoder_class()
    return encoder


def reset_encoders() -> None:
    """Forget the encoders of this process, as tests do."""
    _encoder.cache_clear()
