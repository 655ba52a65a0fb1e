"""A file lock between processes, with a timeout. Processes get it in the order in which they asked."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import IO

import portalocker

TRY = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING


class _Waiter(threading.Thread):
    """A thread that waits for the lock, because a blocking `flock` has no timeout."""

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
        """Make the thread release the lock as soon as it gets it. Return False if it has the lock already."""
        with self._deciding:
            self._abandoned = not self.done.is_set()
            return self._abandoned


def acquire(path: Path, timeout: float) -> IO[bytes]:
    """Lock a file against other threads and processes. Return its handle, for `release()`.

    Raises TimeoutError if others keep the lock for too long, and OSError if the file cannot be locked.
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
    """Return whether any thread or process has locked a file. Raises OSError if the file is missing."""
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
    except BaseException:  # a signal may interrupt the wait; then the thread must not keep the lock
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
    # Unlock explicitly: a process that was forked meanwhile has a copy of the handle, and would keep the lock
    # if we only closed ours.
    try:
        portalocker.unlock(handle)
    finally:
        handle.close()
