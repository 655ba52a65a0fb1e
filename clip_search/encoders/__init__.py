"""Encoders, which turn texts and images into vectors: `get_encoder()` returns the one in the settings."""

from __future__ import annotations

import threading
from functools import lru_cache

from django.utils.module_loading import import_string

from ..conf import conf
from ..exceptions import SetupError
from .base import Encoder

SETTINGS = ("MODEL", "TEXT_MODEL", "DEVICE", "PRECISION", "BATCH_SIZE", "ACCELERATE")
_creating = threading.Lock()  # without it, two threads might each create an encoder and load the model


def get_encoder() -> Encoder:
    """Return the encoder of this process, whose class `CLIP_SEARCH["ENCODER"]` names. Raises SetupError."""
    with _creating:
        # if one of its settings changes, as in tests, a new encoder is created
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
    """Forget the encoders of this process; for tests."""
    _encoder.cache_clear()
