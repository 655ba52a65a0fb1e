"""Who has an embedded collection open: one process at a time, for as long as nobody else wants it.

Opening takes a quarter of a second at 20,000 products, and a search 10 ms. So a process that searched keeps
the collection open, until another one asks or a while has passed. One that wrote closes it at once: its next
step may take long, a paused process hands nothing over, and closing brings all to the disk.

Who wants a collection waits at its turnstile, one after the other, and only the first of them at its door:
that somebody stands at the turnstile is all that whoever is inside need look at.
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

from .locks import acquire, is_wanted, release

logger = logging.getLogger("clip_search")

IDLE_SECONDS: Final = 5.0
"""How long a collection that nobody uses stays open."""
LOOK_SECONDS: Final = 0.02
"""How often it is looked whether somebody waits for it."""


class Opening:
    """A collection in this process: closed, in use by one thread, or kept open."""

    def __init__(self, path: Path, load: Callable[[], Any], timeout: float) -> None:
        """`path` is that of the locks, without a suffix; `load` opens it once nobody else has it."""
        self._turnstile, self._door = (path.parent / f"{path.name}.{name}" for name in ("turn", "lock"))
        self._load, self._timeout = load, timeout
        self._reset()
        _openings.add(self)

    def _reset(self) -> None:
        self._mine = threading.RLock()
        self._uses = 0
        self._may_stay = False
        self._shard: Any = None
        self._lock: IO[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._used_at = 0.0

    def enter(self) -> Any:
        """Return the open shard, for this thread alone until it leaves. Re-entrant.

        Raises TimeoutError, OSError, and what `load` raises.
        """
        self._take_turn()
        try:
            if self._shard is None:
                self._open()
        except BaseException:
            self._mine.release()
            raise
        self._uses += 1
        return self._shard

    def leave(self, *, stay: bool, failed: bool = False) -> None:
        """Let others in. After an error, and where nothing that was done said `stay`, it is closed."""
        try:
            self._uses -= 1
            self._used_at = time.monotonic()
            self._may_stay = stay or self._may_stay
            if self._uses:
                return
            stay, self._may_stay = self._may_stay, False
            if failed or not stay or self._is_wanted():
                self._close()
            elif self._keeper is None:
                self._keeper = threading.Thread(target=self._keep, name="clip_search-keeper", daemon=True)
                self._keeper.start()
        finally:
            self._mine.release()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Have the collection closed, and everybody else kept out. Raises TimeoutError, OSError."""
        self._take_turn()
        try:
            self._close()
            lock = self._lock_door()
            try:
                yield
            finally:
                release(lock)
        finally:
            self._mine.release()

    def close(self, *, wait: bool = True) -> None:
        """Close the collection, unless a thread of this process is using it, or waits for it."""
        if self._mine.acquire(timeout=self._timeout if wait else 0):
            try:
                if not self._uses:
                    self._close()
            finally:
                self._mine.release()

    def forget(self) -> None:
        """Have nothing to do with what the process had open that this one was forked from."""
        _inherited.append((self._shard, self._lock))
        self._reset()

    def _take_turn(self) -> None:
        if not self._mine.acquire(timeout=self._timeout):
            raise TimeoutError

    def _open(self) -> None:
        lock = self._lock_door()
        try:
            self._shard = self._load()
        except BaseException:
            release(lock)
            raise
        self._lock = lock

    def _lock_door(self) -> IO[bytes]:
        turn = acquire(self._turnstile, self._timeout)
        try:
            return acquire(self._door, self._timeout)
        finally:
            release(turn)

    def _is_wanted(self) -> bool:
        try:
            return is_wanted(self._turnstile)
        except OSError:  # the folder is gone, or nobody may write to it any more
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

    def _keep(self) -> None:
        """Close the collection once somebody else waits for it, or nobody has used it for a while."""
        while True:
            time.sleep(LOOK_SECONDS)
            if not self._mine.acquire(blocking=False):
                continue
            try:
                idle = time.monotonic() - self._used_at > IDLE_SECONDS
                if self._shard is None or idle or self._is_wanted():
                    self._close()
                    self._keeper = None
                    return
            finally:
                self._mine.release()


_openings: weakref.WeakSet[Opening] = weakref.WeakSet()
_inherited: list[Any] = []
"""What is never closed: another process has it open."""


def _close_all() -> None:
    for opening in list(_openings):
        opening.close()


def _forget_all() -> None:
    for opening in list(_openings):
        opening.forget()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_all, after_in_child=_forget_all)
