"""Addresses, keys and options that cannot be used."""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import Any

import pytest
from django.test import RequestFactory
from django.views.debug import ExceptionReporter

from clip_search.exceptions import CollectionMismatch, NoAnswer, SetupError, StoreRefused, StoreUnavailable
from clip_search.stores import get_store
from clip_search.stores.base import Query
from clip_search.stores.server import ServerStore
from tests.unit.store_contract.points import product

from .stub import Stub, failure, result

pytest.importorskip("qdrant_client")

KEY = "very-secret-key"


@pytest.mark.parametrize("status", [401, 403])
def test_no_access_names_the_setting_and_not_the_key(stub: Stub, status: int) -> None:
    stub.otherwise = status, b"Must provide an API key"
    store = ServerStore(url=stub.url, api_key=KEY)
    with pytest.raises(SetupError, match="api_key") as caught:
        store.count("shop")
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert KEY not in repr(store) + repr(caught.value)
    store.close()


@pytest.mark.parametrize("key", [KEY + "\n", KEY + "é"])
def test_a_key_that_cannot_be_sent_is_not_shown(key: str) -> None:
    with pytest.raises(SetupError, match="api_key") as caught:
        ServerStore(url="http://localhost", api_key=key).count("shop")
    assert KEY not in "".join(traceback.format_exception(caught.value))


def ask_with_key(settings: Any, **options: Any) -> type[BaseException]:
    """Use the store of the settings, which fails, and hold the pages that Django makes of it to secrecy."""
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": options | {"api_key": SecretKey.value}}
    request = RequestFactory().get("/")
    try:
        get_store().count("shop")
    except Exception as error:
        raised, trace = type(error), error.__traceback__
        reporter = ExceptionReporter(request, raised, error, trace and trace.tb_next)
        pages = reporter.get_traceback_html() + reporter.get_traceback_text()
        assert "get_store" in pages or "count" in pages
        assert KEY not in pages
        return raised
    finally:
        with suppress(RuntimeWarning):  # of gRPC, which closes what never opened
            get_store().close()
    pytest.fail("It did not fail.")


class SecretKey:
    """Holds the key where no frame of a test shows it."""

    value = KEY


@pytest.mark.parametrize("debug", [True, False])
def test_no_error_page_shows_the_key(
    stub: Stub, settings: Any, monkeypatch: pytest.MonkeyPatch, debug: bool
) -> None:
    settings.DEBUG = debug
    stub.otherwise = failure(500, "broken")
    assert ask_with_key(settings, url=stub.url) is StoreRefused
    assert ask_with_key(settings, url="http://127.0.0.1:1") is NoAnswer
    assert ask_with_key(settings, url="http://127.0.0.1:1", prefer_grpc=True, timeout=1) is NoAnswer
    assert ask_with_key(settings, url="http://[::1") is SetupError
    assert ask_with_key(settings, url=stub.url, nonsense=True) is SetupError
    monkeypatch.setattr(SecretKey, "value", f"{KEY}\n")
    assert ask_with_key(settings, url=stub.url) is SetupError


@pytest.mark.parametrize(
    "reason", ["Vector dimension error: expected dim: 512, got 768", "Not existing vector name error: text"]
)
def test_other_vectors_are_another_collection(stub: Stub, store: ServerStore, reason: str) -> None:
    stub.otherwise = failure(400, f"Wrong input: {reason}")
    with pytest.raises(CollectionMismatch, match=rf"{reason}.*clip_rebuild"):
        store.put("shop", [product(1)])


@pytest.mark.parametrize(
    "reason", ["Not existing vector name error: words", "Sparse vector words is not found in the collection"]
)
def test_a_collection_without_words_names_the_command_that_adds_them(
    stub: Stub, store: ServerStore, reason: str
) -> None:
    stub.otherwise = failure(400, f"Wrong input: {reason}")
    with pytest.raises(SetupError, match=r"no words yet.*clip_reindex") as caught:
        store.put("shop", [product(1)])
    assert not isinstance(caught.value, CollectionMismatch)


def test_what_the_server_refuses_is_said(stub: Stub, store: ServerStore) -> None:
    stub.otherwise = failure(400, "Bad request: No appropriate index for faceting: `colour`")
    with pytest.raises(SetupError, match="colour"):
        store.facet("shop", "colour")


def test_an_address_that_is_none() -> None:
    with pytest.raises(SetupError):
        ServerStore(url="ftp://qdrant").count("shop")


@pytest.mark.parametrize("name", ["port", "grpc_port"])
@pytest.mark.parametrize("port", ["abc", "6333", "", 0, -1, 70000, True, 1.5, []])
def test_a_port_that_is_none(name: str, port: Any) -> None:
    for where in ({"url": "http://127.0.0.1"}, {"host": "127.0.0.1"}):
        with pytest.raises(SetupError, match=rf'\["{name}"\] is not a port number.*1 to 65535'):
            ServerStore(**where, **{name: port}).count("shop")


@pytest.mark.parametrize(
    "options",
    [
        {"url": "http://127.0.0.1:70000"},
        {"url": "http://127.0.0.1:abc"},
        {"url": "https://[::1"},
        {"url": 5},
        {"url": [5]},
        {"url": ["http://127.0.0.1:70000", "http://127.0.0.1:abc"]},
        {"host": 5},
        {"headers": 5},
        {"timeout": "long"},
        {"api_key": 5},
        {"verify": "/nowhere/ca.pem"},
        {"prefix": "a\x00b"},
    ],
)
@pytest.mark.filterwarnings("ignore:.verify=<str>. is deprecated")
def test_options_that_the_client_stumbles_over(options: dict[str, Any]) -> None:
    with pytest.raises((SetupError, StoreUnavailable), match=r"QDRANT|Qdrant"):
        ServerStore(**({} if "host" in options else {"url": "http://127.0.0.1:1"}) | options).count("shop")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://qdrant.example", "https://qdrant.example:443"),
        ("HTTPS://qdrant.example/", "https://qdrant.example:443/"),
        ("https://[::1]/prefix", "https://[::1]:443/prefix"),
        ("https://qdrant.example:6333", "https://qdrant.example:6333"),
        ("http://qdrant.example", "http://qdrant.example:6333"),
    ],
)
def test_https_without_a_port_is_port_443(url: str, address: str) -> None:
    assert addressed(url=url) == [address]
    assert addressed(url=["http://localhost", url]) == ["http://localhost:6333", address]


def test_a_port_beside_the_address_counts() -> None:
    assert addressed(url="https://qdrant.example", port=8443) == ["https://qdrant.example:8443"]


def addressed(**options: Any) -> list[str]:
    """Return the addresses to which a store with these options sends its requests."""
    store = ServerStore(**options)
    clients = [node.client() for node in store._nodes.nodes]
    store.close()
    return [client._client.rest_uri for client in clients]  # type: ignore[attr-defined]


def test_points_that_somebody_else_wrote(stub: Stub, store: ServerStore) -> None:
    stub.otherwise = result({"points": [{"id": 1, "payload": {"a": 1}}], "next_page_offset": None})
    with pytest.raises(CollectionMismatch, match=r"not written by clip_search.*clip_rebuild"):
        store.scroll("shop")
    with pytest.raises(CollectionMismatch, match=r"not written by clip_search.*clip_rebuild"):
        store.values("shop", ["a"])
    stub.otherwise = result([{"points": [{"id": 1, "version": 1, "score": 0.5}]}])
    with pytest.raises(CollectionMismatch, match=r"not written by clip_search.*clip_rebuild"):
        store.rank("shop", [Query()])
