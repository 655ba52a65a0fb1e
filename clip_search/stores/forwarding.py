"""Lets the processes of one command use a store that their parent process has open.

An embedded collection can be open in one process at a time, and opening it takes as long as indexing several
products. So the parent keeps it open, and the other processes send it what to read and to write.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import isfunction
from multiprocessing.connection import Connection
from typing import Any

from ..exceptions import ClipSearchError, StoreUnavailable
from .base import Store

LOCAL = {"session", "keep_open", "close"}
"""Methods that do nothing: the parent process opens and closes the collections."""


def serve(store: Store, connection: Connection) -> None:
    """Call the methods of a store that another process asks for, until that process ends."""
    with connection:
        while True:
            try:
                method, args, kwargs = connection.recv()
            except (EOFError, OSError):
                return
            try:
                answer = getattr(store, method)(*args, **kwargs)
            except ClipSearchError as error:
                answer = error
            try:
                connection.send(answer)
            except OSError:
                return


def forwarded(connection: Connection) -> Store:
    """Return a store whose methods are called by the process that serves the other end of the connection.

    It must be used by one thread only.
    """

    def forwarding(name: str) -> Callable[..., Any]:
        @wraps(getattr(Store, name), updated=())  # it is not abstract
        def method(self: Store, *args: Any, **kwargs: Any) -> Any:
            try:
                connection.send((name, args, kwargs))
                answer = connection.recv()
            except (EOFError, OSError) as error:
                raise StoreUnavailable("The process that has the embedded store open has ended.") from error
            except BaseException:  # a signal has interrupted the call, whose answer is still to come
                connection.close()
                raise
            if isinstance(answer, ClipSearchError):
                raise answer
            return answer

        return method

    names = {name for name, value in vars(Store).items() if isfunction(value) and name[0] != "_"} - LOCAL
    forwarded_store = type("ForwardedStore", (Store,), {name: forwarding(name) for name in names})
    store: Store = forwarded_store()
    return store
