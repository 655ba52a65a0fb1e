"""How soon the web processes answer while Qdrant hangs, with the circuit breaker and without it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from . import shop
from .endpoints import make_user, post, server
from .shop import DEMO_MODEL, Bench
from .table import Row

if TYPE_CHECKING:
    from tests.doubles.qdrant_stub import StubQdrant

NAME = "hang"
PROCESSES = 2
AT_ONCE = 8
PRODUCTS = 20
TIMEOUT = 10
"""Seconds until the store gives up a request that is no search, as in a shop that does not set `timeout`."""


@dataclass(frozen=True)
class Waves:
    """Seconds to the answers of eight requests at once, by kind, and how many requests the stub got."""

    first: Sequence[float]
    """Searches when the server has just begun to hang."""
    later: Sequence[float]
    """Searches after the first ones have timed out."""
    posts: Sequence[float]
    """Posts of products with photos to the asynchronous endpoint, while the server hangs."""
    usual: Sequence[float]
    """The same before it hangs."""
    asked: int


def rows(bench: Bench) -> Iterator[Row]:
    from tests.doubles.qdrant_stub import serving

    photo = bench.folder / "hang.jpg"
    photo.write_bytes(shop.photo(256, 256, 0))
    with serving() as stub, environment(stub):
        prepared = bench.start(NAME, "-m", "tests.benchmarks.hang", model=DEMO_MODEL)
        assert prepared.wait(600) == 0, "the shop could not be made"
        found, without = (measure(bench, stub, photo, breaker) for breaker in (True, False))
    breaker = "without the circuit breaker"
    yield compared("searches at once, Qdrant has begun to hang", found.first, breaker, without.first)
    note = f"In all, Qdrant was asked {found.asked} times; {breaker} {without.asked} times."
    yield compared("searches at once, after the first time-out", found.later, breaker, without.later, note)
    usual = "while Qdrant answers"
    yield compared("POSTs at once to the async endpoint, Qdrant hangs", found.posts, usual, found.usual)


def compared(
    figure: str, found: Sequence[float], baseline: str, other: Sequence[float], note: str = ""
) -> Row:
    return Row(
        figure=f"{AT_ONCE} {figure}, {PROCESSES} web processes: longest, against the same {baseline}",
        value=f"{max(found):.2f} s",
        baseline=f"{max(other):.2f} s",
        ratio=max(other) / max(found),
        note=f"Median {median(found):.2f} s, against {median(other):.2f} s. {note}".strip(),
    )


@contextmanager
def environment(stub: StubQdrant) -> Iterator[None]:
    """Let the processes that start in the block use the stub."""
    store = {"CLIP_SEARCH_TEST_QDRANT_STUB": stub.url, "CLIP_SEARCH_TEST_QDRANT_TIMEOUT": str(TIMEOUT)}
    with patch.dict(os.environ, store):
        yield


def measure(bench: Bench, stub: StubQdrant, photo: Path, breaker: bool) -> Waves:
    """Start two web processes, let Qdrant hang, and send them requests."""
    application = f"tests.benchmarks.hang:application({breaker})"
    with ExitStack() as stack:
        clients = [
            stack.enter_context(server(bench, NAME, application, AT_ONCE, model=DEMO_MODEL))
            for _ in range(PROCESSES)
        ]
        for number, client in enumerate(clients):  # each loads the model
            search(client, number)
            post(client, number, photo)

        def posts() -> list[float]:
            return wave(clients, lambda client, number: post(client, number, photo))

        usual, before = posts(), stub.requests
        stub.hang()
        try:
            return Waves(
                first=wave(clients, search),
                later=wave(clients, search),
                posts=posts(),
                usual=usual,
                asked=stub.requests - before,
            )
        finally:
            stub.go_on()


def wave(clients: Sequence[Any], request: Callable[[Any, int], float]) -> list[float]:
    """Send eight requests at once, to the processes in turn. Return the seconds to each answer."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        sent = [threads.submit(request, clients[n % len(clients)], n) for n in range(AT_ONCE)]
        return [one.result() for one in sent]


def search(client: Any, number: int) -> float:
    started = time.perf_counter()
    answer = client.get("search", params={"q": f"red mug {number}"})
    took = time.perf_counter() - started
    assert answer.status_code in (200, 503), answer.text
    return took


def application(breaker: bool) -> Any:
    """Return the WSGI application, with the circuit breaker of the store or without it."""
    from django.core.wsgi import get_wsgi_application

    if not breaker:
        from clip_search.stores.nodes import CircuitBreaker

        CircuitBreaker.open = lambda self: None  # type: ignore[method-assign]
    return get_wsgi_application()


def prepare() -> None:
    """Make the shop and index it."""
    from django.core.management import call_command

    shop.set_up()
    make_user()
    shop.stock(PRODUCTS, None)
    call_command("clip_reindex", "product", verbosity=0)


if __name__ == "__main__":
    prepare()
