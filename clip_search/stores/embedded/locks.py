"""A lock between processes: blocking, so that it is granted in turn, and with a timeout."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import IO

import portalocker

TRY = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING


class _Waiter(threading.Thread):
    """Waits for the lock in a thread of its own, because a blocking flock has no timeout."""

    def __init__(self, handle: IO[bytes]) -> None:
        super().__init__(name="clip_search-lock", daemon=True)
        self.handle = handle
        self.done = threading.Event()
        self.error: portalocker.LockException | None = None
        self._deciding = threading.Lock()
        self._abandoned = False

    def run(self) -> None:
        try:
            portalocker.lock(self.handle, portalocker.LockFlags.EXCLUSIVE)
        except portalocker.LockException as error:
            self.error = error
        with self._deciding:
            if self._abandoned:
                release(self.handle)
            self.done.set()

    def abandon(self) -> bool:
        """Make the thread release the lock as soon as it gets it. Return False if it has it already."""
        with self._deciding:
            self._abandoned = not self.done.is_set()
            return self._abandoned


def acquire(path: Path, timeout: float) -> IO[bytes]:
    """Lock a file exclusively among threads and processes; return the handle to pass to `release()`.

    Raises TimeoutError, OSError.
    """
    handle = path.open("ab")
    try:
        portalocker.lock(handle, TRY)
    except portalocker.AlreadyLocked:
        _wait(handle, timeout)
    except portalocker.LockException as error:
        handle.close()
        raise OSError(f"cannot lock: {error}") from error
    return handle


def is_locked(path: Path) -> bool:
    """Return whether a file is locked by anybody. Raises OSError, also if there is no such file."""
    with path.open("r+b") as handle:
        try:
            portalocker.lock(handle, TRY)
        except portalocker.AlreadyLocked:
            return True
        except portalocker.LockException as error:
            raise OSError(f"cannot lock: {error}") from error
        portalocker.unlock(handle)
    return False


def _wait(handle: IO[bytes], timeout: float) -> None:
    waiter = _Waiter(handle)
    waiter.start()
    try:
        in_time = waiter.done.wait(timeout)
    except BaseException:  # a signal may interrupt the wait; the lock must not stay with the thread
        if not waiter.abandon():
            release(handle)
        raise
    if not in_time and waiter.abandon():
        raise TimeoutError
    if waiter.error:
        handle.close()
        raise OSError(f"cannot lock: {waiter.error}") from waiter.error


def release(handle: IO[bytes]) -> None:
    """Unlock and close a handle that `acquire()` returned."""
    # Unlocked explicitly: a process that was forked since has a copy of the handle, and closing ours alone
    # would leave the lock with it.
    try:
        portalocker.unlock(handle)
    finally:
        handle.close()
