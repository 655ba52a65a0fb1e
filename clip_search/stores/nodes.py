"""The nodes of a Qdrant server or cluster: which of them a request goes to, and when one is not asked."""

from __future__ import annotations

import logging
import math
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from ..conf import Options, is_port, is_seconds
from ..exceptions import NoAnswer, SetupError, StoreUnavailable, without_password
from .server_errors import Failure, client_errors, without_frames

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

logger = logging.getLogger("clip_search")
Answer = TypeVar("Answer")

TIMEOUT = 10.0
SEARCH_TIMEOUT = 3.0
"""The most seconds for one request, if CLIP_SEARCH["QDRANT"] does not set `timeout` and `search_timeout`."""
PAUSE_AFTER_TIMEOUT = 5.0
"""Seconds for which a node that did not answer in time is not asked. Then one request tries it again."""
GRPC_OPTIONS = {"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 1000}
"""By its defaults, gRPC might not use a server that was restarted for 120 s."""


class Nodes:
    """The addresses in CLIP_SEARCH["QDRANT"], which all serve the same collections.

    Requests go to the first node until it does not answer. Then the next one that does becomes the first.
    """

    def __init__(self, options: Options) -> None:
        url = options.get("url")
        every = [{**options, "url": one} for one in url] if isinstance(url, list | tuple) else [options]
        self.nodes: list[Node] = [Node(Options(one)) for one in every]
        """The nodes, in the order in which they are asked."""

    def ask(self, request: Callable[[QdrantClient], Answer], collection: str, *, search: bool) -> Answer:
        """Send a request to the first node and, while none answers, to the others. Return the answer.

        So the request must do no harm if several nodes carry it out. Raises NoAnswer if no node answers: at
        once if none may be asked now. An error is an answer too: it is raised as this package's exception.
        """
        nodes, silent = self.nodes, None
        for number, node in enumerate(nodes):
            try:
                answer = node.ask(request, collection, search=search)
            except NoAnswer as error:
                silent = silent or error
                continue
            if number:
                logger.warning("Going on with another node of Qdrant node=%s", node)
                self.nodes = [*nodes[number:], *nodes[:number]]
            return answer
        raise silent or SetupError('CLIP_SEARCH["QDRANT"]["url"] is empty. Run `manage.py check`.')

    def another_says(self, request: Callable[[QdrantClient], bool], collection: str) -> bool:
        """Return True if any node but the first answers True. A node that does not answer counts as False."""
        for node in self.nodes[1:]:
            with suppress(StoreUnavailable):
                if node.ask(request, collection, search=True):
                    return True
        return False

    def close(self) -> None:
        for node in self.nodes:
            node.close()


class Node:
    """One address of Qdrant, with its clients.

    There is a client for each timeout, because with qdrant-client a timeout belongs to the client.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._clients: dict[float, QdrantClient] = {}
        self._connecting = threading.Lock()
        self._breaker = CircuitBreaker()

    def __str__(self) -> str:
        return without_password(str(self._options.get("url") or self._options.get("host")))

    def ask(self, request: Callable[[QdrantClient], Answer], collection: str, *, search: bool) -> Answer:
        """Send a request and return the answer. Raises NoAnswer, or this package's exception for an error."""
        with self._breaker.admission():
            try:
                answer = request(self.client(search=search))
            except client_errors() as error:
                failure = Failure.of(error)
                if failure.timed_out:
                    self._breaker.open()
                    logger.warning(
                        "Qdrant did not answer in time, pausing node=%s seconds=%d", self, PAUSE_AFTER_TIMEOUT
                    )
                else:
                    self._breaker.close()
                raise failure.explained(collection) from without_frames(error)
            self._breaker.close()
            return answer

    def client(self, *, search: bool = False) -> QdrantClient:
        """Return the client for searches, or for all else. Raises SetupError if the options are wrong."""
        from qdrant_client import QdrantClient

        with self._connecting:
            self._check_options()
            timeout = self._timeout(search)
            if timeout not in self._clients:
                # qdrant-client warns of this in each process; our check W012 warns once
                warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
                try:
                    self._clients[timeout] = QdrantClient(**self._client_options(timeout))
                except (TypeError, AttributeError, ValueError, OSError) as error:
                    raise SetupError(
                        f'CLIP_SEARCH["QDRANT"] has an option that qdrant-client cannot use: {error}.'
                    ) from without_frames(error)
            return self._clients[timeout]

    def _timeout(self, search: bool) -> float:
        timeout: float = self._options.get("timeout") or TIMEOUT
        if search:
            return self._options.get("search_timeout") or min(SEARCH_TIMEOUT, timeout)
        return timeout

    def _client_options(self, timeout: float) -> Options:
        options = Options({"check_compatibility": False, **self._options, "timeout": timeout})
        options.pop("search_timeout", None)
        if _is_https_without_port(str(options.get("url"))):
            options.setdefault("port", 443)  # the default of qdrant-client is 6333
        if options.get("prefer_grpc"):
            options["grpc_options"] = GRPC_OPTIONS | (options.get("grpc_options") or {})
        return options

    def _check_options(self) -> None:
        """Raise SetupError for options that would make a client fail only at the first request."""
        for name in ("timeout", "search_timeout"):
            seconds = self._options.get(name)
            if not (seconds is None or is_seconds(seconds)):
                raise SetupError(
                    f'CLIP_SEARCH["QDRANT"]["{name}"] is not a number of seconds. Write a number above 0.'
                )
        for name in ("port", "grpc_port"):
            port = self._options.get(name)
            if not (port is None or is_port(port)):
                raise SetupError(
                    f'CLIP_SEARCH["QDRANT"]["{name}"] is not a port number. Write a number from 1 to 65535.'
                )
        if "@" in str(self._options.get("host")):  # the HTTP client's errors would show a password
            raise SetupError('CLIP_SEARCH["QDRANT"]["host"] is not a host name. Run `manage.py check`.')
        # no variable holds the key, because error pages show variables
        if re.search(r"[^ -~]", str(self._options.get("api_key") or "")):
            raise SetupError(
                'CLIP_SEARCH["QDRANT"]["api_key"] has a line break or another character that is not allowed.'
            )

    def close(self) -> None:
        with self._connecting:
            for client in self._clients.values():
                client.close()
            self._clients.clear()


class CircuitBreaker:
    """Stops requests to a node that did not answer in time, so that not every request waits for the timeout.

    For PAUSE_AFTER_TIMEOUT seconds, nothing is sent. Then one request at a time tries again, until one is
    answered. Each process has breakers of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paused_until: float | None = None
        self._is_trying = False

    @contextmanager
    def admission(self) -> Iterator[None]:
        """Return a context manager for one request. Raises NoAnswer if it may not be sent now."""
        with self._lock:
            until = self._paused_until
            if until is not None and (self._is_trying or monotonic() < until):
                raise NoAnswer(
                    f"Qdrant did not answer in time. {_when(until - monotonic())}. "
                    'Check that it runs where CLIP_SEARCH["QDRANT"] says.'
                )
            is_trial = until is not None
            self._is_trying = self._is_trying or is_trial
        try:
            yield
        finally:
            if is_trial:
                self._is_trying = False

    def open(self) -> None:
        """Start a pause, because a request was not answered in time."""
        self._paused_until = monotonic() + PAUSE_AFTER_TIMEOUT

    def close(self) -> None:
        """End the pause, because a request was answered."""
        self._paused_until = None


def _when(seconds: float) -> str:
    return (
        f"It is asked again in {math.ceil(seconds)} s" if seconds > 0 else "Another request is trying it now"
    )


def _is_https_without_port(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" and parts.port is None
    except ValueError:  # not a valid URL: QdrantClient raises an error for it
        return False
