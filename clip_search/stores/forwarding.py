"""Lets the processes of one command use a store that their parent process has open.

An embedded collection can be open in one process at a time, and opening it takes as long as indexing several
products. So the parent keeps it open, and the other processes send it what to read and to write.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from inspect import isfunction
from multiprocessing.connection import Connection
from typing import Any

from ..exceptions import StoreUnavailable
from .base import Store

LOCAL = {"session", "keep_open", "close"}
"""Methods that do nothing: the parent process opens and closes the collections."""


def serve(store: Store, connection: Connection) -> None:
    """Call the methods of a store that another process asks for, until that process ends.

    An exception is sent to the other process, which raises it.
    """
    with connection:
        while True:
            try:
                method, args, kwargs = connection.recv()
            except (EOFError, OSError):
                return
            try:
                answer = getattr(store, method)(*args, **kwargs)
            except Exception as error:
                answer = error
            try:
                connection.send(answer)
            except OSError:
                return
            except Exception as error:  # what cannot be pickled raises one of several exceptions
                connection.send(TypeError(f"{method}() cannot send {answer!r}: {error}"))


def forwarded(connection: Connection) -> Store:
    """Return a store whose methods are called by the process that serves the other end of the connection."""
    lock = threading.Lock()

    def forwarding(name: str) -> Callable[..., Any]:
        @wraps(getattr(Store, name), updated=())  # without `__isabstractmethod__`
        def method(self: Store, *args: Any, **kwargs: Any) -> Any:
            try:
                with lock:
                    connection.send((name, args, kwargs))
                    answer = connection.recv()
            except (EOFError, OSError) as error:
                raise StoreUnavailable("The process that has the embedded store open has ended.") from error
            if isinstance(answer, Exception):
                raise answer
            return answer

        return method

    names = {name for name, value in vars(Store).items() if isfunction(value) and name[0] != "_"} - LOCAL
    forwarded_store = type("ForwardedStore", (Store,), {name: forwarding(name) for name in names})
    store: Store = forwarded_store()
    return store
