"""Shares an embedded collection between processes. Only one process can have it open at a time.

Opening takes a quarter of a second at 20,000 products, and a search 10 ms. So after a search, a process keeps
the collection open until another process wants it or a few seconds have passed. After a write, a process
closes it at once, because its next step may take long. Indexing many products keeps it open, but not while
others use it too: they would wait until this process notices it.

Each collection NAME has two file locks. Waiting processes queue for the lock of `NAME.turn`; the first of
them then waits for the lock of `NAME.lock`. The process that has the collection open tests whether
`NAME.turn` is locked, and so learns that another process waits.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from .locks import acquire, is_locked, release

logger = logging.getLogger("clip_search")

IDLE_SECONDS: Final = 5.0
"""How long an unused collection stays open."""
POLL_SECONDS: Final = 0.02
"""How often a process with an open, unused collection checks whether another process waits."""
CONTENDED_SECONDS: Final = 5.0
"""For how long a collection counts as contended after another process had it open or waited for it."""


class SharedHandle:
    """A collection in this process: it is closed, used by one thread, or open but unused."""

    def __init__(self, path: Path, load: Callable[[], Any], timeout: float) -> None:
        """Set up a closed collection. `path` is its folder; `load()` opens it after it is locked."""
        self.path = path
        self._turn_path, self._lock_path = self.lock_paths = tuple(
            path.parent / f"{path.name}.{name}" for name in ("turn", "lock")
        )
        self._load, self._timeout = load, timeout
        self._reset()
        _handles.add(self)

    def _reset(self) -> None:
        self._thread = threading.RLock()
        self._uses = 0
        self._may_stay = False
        self._shard: Any = None
        self._lock: IO[bytes] | None = None
        self._closer: threading.Thread | None = None
        self._used_at = 0.0
        self._contended_at = -math.inf

    def enter(self) -> Any:
        """Open the collection, lock it for this thread until `leave()`, and return it. May be nested.

        Raises TimeoutError if others use it for too long, OSError if its files cannot be locked, and the
        exceptions of `load()`.
        """
        if not self._thread.acquire(timeout=self._timeout):
            raise TimeoutError
        try:
            if self._shard is None:
                with suppress(FileNotFoundError):  # nobody has opened it yet, or another process deletes it
                    if is_locked(self._lock_path):
                        self._contended_at = time.monotonic()
                lock = self._lock_file()
                try:
                    self._shard = self._load()
                except BaseException:
                    release(lock)
                    raise
                self._lock = lock
        except BaseException:
            self._thread.release()
            raise
        self._uses += 1
        return self._shard

    def leave(self, *, stay: bool, failed: bool = False) -> None:
        """End one use of the collection, so that other threads can use it. May close it.

        It is closed if this use failed, if another process waits, or if no nested use passed `stay=True`.
        """
        try:
            self._uses -= 1
            self._used_at = time.monotonic()
            self._may_stay = stay or self._may_stay
            if self._uses:
                return
            stay, self._may_stay = self._may_stay, False
            if failed or not stay or self._is_wanted():
                self._close()
            elif self._closer is None:
                self._closer = threading.Thread(
                    target=self._close_in_time, name="clip_search-closer", daemon=True
                )
                self._closer.start()
        finally:
            self._thread.release()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Close the collection, and lock it during the block so that no process can open it.

        Raises TimeoutError if others use it for too long, and OSError if its files cannot be locked.
        """
        if not self._thread.acquire(timeout=self._timeout):
            raise TimeoutError
        try:
            self._close()
            lock = self._lock_file()
            try:
                yield
            finally:
                release(lock)
        finally:
            self._thread.release()

    def close(self, *, wait: bool = True) -> None:
        """Close the collection, unless a thread of this process is using it."""
        if self._thread.acquire(timeout=self._timeout if wait else 0):
            try:
                if not self._uses:
                    self._close()
            finally:
                self._thread.release()

    def forget(self) -> None:
        """Drop the collection that the parent process had open, after this process was forked."""
        _inherited.append((self._shard, self._lock))
        self._reset()

    def is_locked(self) -> bool:
        """Return whether any process has the collection open or waits for it."""
        return any(path.exists() and is_locked(path) for path in self.lock_paths)

    @property
    def is_contended(self) -> bool:
        """Whether another process has used the collection a short while ago, as far as this one noticed."""
        return time.monotonic() - self._contended_at < CONTENDED_SECONDS

    def _lock_file(self) -> IO[bytes]:
        """Queue for the lock of the collection and return its handle. Raises TimeoutError or OSError."""
        turn = acquire(self._turn_path, self._timeout)
        try:
            return acquire(self._lock_path, self._timeout)
        finally:
            release(turn)

    def _is_wanted(self) -> bool:
        """Return whether another process waits for the collection."""
        try:
            is_wanted = is_locked(self._turn_path)
        except OSError:  # the folder was deleted or has become read-only
            return True
        if is_wanted:
            self._contended_at = time.monotonic()
        return is_wanted

    def _close(self) -> None:
        shard, lock, self._shard, self._lock = self._shard, self._lock, None, None
        try:
            if shard is not None:
                shard.close()
        except Exception as error:  # the engine raises only plain Exception
            logger.warning("Cannot close the embedded collection error=%s", error)
        finally:
            if lock is not None:
                release(lock)

    def _close_in_time(self) -> None:
        """Close the collection when another process waits for it, or after `IDLE_SECONDS` without use."""
        while True:
            time.sleep(POLL_SECONDS)
            if not self._thread.acquire(blocking=False):
                continue
            try:
                idle = time.monotonic() - self._used_at > IDLE_SECONDS
                if self._shard is None or idle or self._is_wanted():
                    self._close()
                    self._closer = None
                    return
            finally:
                self._thread.release()


_handles: weakref.WeakSet[SharedHandle] = weakref.WeakSet()
_inherited: list[Any] = []
"""Collections and locks of the parent process. They are kept here so that this process never closes them."""


def _close_all() -> None:
    for handle in list(_handles):
        handle.close()


def _forget_all() -> None:
    for handle in list(_handles):
        handle.forget()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_all, after_in_child=_forget_all)
