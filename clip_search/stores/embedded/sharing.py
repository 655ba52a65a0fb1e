"""Share an embedded collection between processes: one has it open at a time, as long as no other wants it.

Opening takes a quarter of a second at 20,000 products, and a search 10 ms. So a process that searched keeps
the collection open until another process wants it or a few seconds have passed. A process that wrote closes
it at once, because its next step may take long, and closing flushes everything to the disk.

Two file locks. Waiters queue on `NAME.turn`; the first of them then blocks on `NAME.lock`. The process that
has the collection open tests whether `.turn` is locked to learn that another one waits.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from .locks import acquire, is_locked, release

logger = logging.getLogger("clip_search")

IDLE_SECONDS: Final = 5.0
"""How long an unused collection stays open."""
POLL_SECONDS: Final = 0.02
"""How often an open, unused collection looks whether another process waits for it."""


class SharedHandle:
    """A collection in this process: closed, used by one thread, or kept open."""

    def __init__(self, path: Path, load: Callable[[], Any], timeout: float) -> None:
        """`path` is the collection's folder; `load()` opens the collection once it is locked."""
        self.path = path
        self._turn_path, self._lock_path = (path.parent / f"{path.name}.{name}" for name in ("turn", "lock"))
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

    def enter(self) -> Any:
        """Return the open collection, for this thread alone until it leaves. Re-entrant.

        Raises TimeoutError, OSError, and what `load()` raises.
        """
        if not self._thread.acquire(timeout=self._timeout):
            raise TimeoutError
        try:
            if self._shard is None:
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
        """Let others in. It is closed after an error, and unless a use since it was opened said `stay`."""
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
        """Close the collection and lock it for the block. Raises TimeoutError, OSError."""
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
        """Close the collection, unless a thread of this process is using it or waits for it."""
        if self._thread.acquire(timeout=self._timeout if wait else 0):
            try:
                if not self._uses:
                    self._close()
            finally:
                self._thread.release()

    def forget(self) -> None:
        """Forget what the parent process had open when this process was forked from it."""
        _inherited.append((self._shard, self._lock))
        self._reset()

    def _lock_file(self) -> IO[bytes]:
        """Queue for the lock and take it. Raises TimeoutError, OSError."""
        turn = acquire(self._turn_path, self._timeout)
        try:
            return acquire(self._lock_path, self._timeout)
        finally:
            release(turn)

    def _is_wanted(self) -> bool:
        """Return whether another process waits for the collection."""
        try:
            return is_locked(self._turn_path)
        except OSError:  # the folder is gone, or cannot be written to any more
            return True

    def _close(self) -> None:
        shard, lock, self._shard, self._lock = self._shard, self._lock, None, None
        try:
            if shard is not None:
                shard.close()
        except Exception as error:  # the engine raises nothing narrower
            logger.warning("Cannot close the embedded collection error=%s", error)
        finally:
            if lock is not None:
                release(lock)

    def _close_in_time(self) -> None:
        """Close the collection when another process waits for it, or after a time without use."""
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
"""What the parent process has open: it must never be closed here."""


def _close_all() -> None:
    for handle in list(_handles):
        handle.close()


def _forget_all() -> None:
    for handle in list(_handles):
        handle.forget()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_all, after_in_child=_forget_all)
