"""Stores, which keep the points (vectors with payload): `get_store()` returns the one in the settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.utils.module_loading import import_string

from ..conf import Options, conf
from ..exceptions import SetupError
from .base import Store
from .identity import check_identity_once

SERVER = "clip_search.stores.server.ServerStore"
EMBEDDED = "clip_search.stores.embedded.store.EmbeddedStore"


def store_path(qdrant: Mapping[str, Any]) -> str:
    """Return the dotted path of the store class that `CLIP_SEARCH["QDRANT"]` chooses.

    Raises SetupError if it chooses none.
    """
    for key, path in (("url", SERVER), ("host", SERVER), ("path", EMBEDDED)):
        if key in qdrant:
            return path
    if "backend" in qdrant:
        return str(qdrant["backend"])
    raise SetupError('CLIP_SEARCH["QDRANT"] needs "url" (a Qdrant server) or "path" (the embedded store).')


def get_store() -> Store:
    """Return the store of this process. Raises SetupError if the settings are wrong."""
    return _replacement or _store(json.dumps(dict(conf.qdrant), default=str, sort_keys=True))


def use_store(store: Store) -> None:
    """Make `get_store()` return this store instead of the one in the settings."""
    global _replacement
    _replacement = store


_replacement: Store | None = None


@lru_cache(maxsize=4)
def _store(qdrant: str) -> Store:
    options = Options(json.loads(qdrant))
    del qdrant  # error pages show variables, and this one contains the API key
    path = store_path(options)
    options.pop("backend", None)
    try:
        store: Store = import_string(path)(**options)
    except ImportError as error:
        raise SetupError(
            f'CLIP_SEARCH["QDRANT"]: {path!r} cannot be imported: {error}. Run `manage.py check`.'
        ) from error
    except (TypeError, ValueError) as error:
        raise SetupError(f'CLIP_SEARCH["QDRANT"] has an option that its store refuses: {error}.') from error
    return store


def reset_stores() -> None:
    """Forget the stores of this process; for tests."""
    global _replacement
    _replacement = None
    _store.cache_clear()
    check_identity_once.cache_clear()
