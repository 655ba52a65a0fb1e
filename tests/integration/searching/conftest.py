"""Fixtures for the tests of searching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from clip_search.documents.binding import BoundDocument
from clip_search.documents.registry import registry
from clip_search.stores import get_store
from clip_search.stores.base import Query
from tests.shops.shop.models import Product

from .actions import COLOURS, THINGS, index, make, with_pictures


@pytest.fixture
def document() -> BoundDocument:
    return registry.get("product")


@pytest.fixture
def configured(settings) -> Callable[..., None]:
    """Return a function that changes keys of CLIP_SEARCH."""

    def change(**keys: object) -> None:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | keys

    return change


@pytest.fixture(params=["memory", "embedded"])
def any_store(request, configured) -> Iterator[str]:
    """Run the test on each of Qdrant's engines: the client's own is that of a server."""
    memory = Path("/dev/shm")  # noqa: S108, the folder made in it is nobody else's
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        configured(
            QDRANT={
                "memory": {"backend": "clip_search.testing.MemoryStore"},
                "embedded": {"path": f"{folder}/qdrant"},
            }[request.param]
        )
        if request.param == "embedded":
            pytest.importorskip("qdrant_edge")
        yield request.param
        get_store().close()


@pytest.fixture
def asked(monkeypatch) -> list[Query]:
    """Return the rankings that the store is asked for."""
    store, queries = get_store(), []
    rank = store.rank
    monkeypatch.setattr(store, "rank", lambda name, several: queries.extend(several) or rank(name, several))
    return queries


@pytest.fixture
def shop(document) -> list[Product]:
    """Sixty products, each of a colour and a kind. The first thirty are shown in a picture."""
    products = make(f"{colour} {thing}" for thing in THINGS for colour in COLOURS)
    with_pictures(products[:30], COLOURS * 5)
    index(document)
    return products


@pytest.fixture
def few(document) -> list[Product]:
    """Six products, where it does not matter which."""
    products = make(f"{colour} mug" for colour in COLOURS)
    index(document)
    return products
