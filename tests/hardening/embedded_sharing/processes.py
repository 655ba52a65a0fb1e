"""Processes and threads that use a folder, for the tests of sharing it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.conftest import PATIENCE, ROOT

SECONDS = float(os.environ.get("CLIP_SEARCH_TEST_SHARING_SECONDS", "3"))


@contextmanager
def process(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run `tests.processes.sharing` in a process of its own, that is gone afterwards."""
    command = [sys.executable, "-m", "tests.processes.sharing", *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def lines(running: subprocess.Popen[str]) -> list[Any]:
    out, _ = running.communicate(timeout=SECONDS + PATIENCE)
    assert running.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


def first_line(running: subprocess.Popen[str]) -> Any:
    assert running.stdout is not None
    return json.loads(running.stdout.readline())


def waiters() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "clip_search-lock"]


@contextmanager
def in_thread(call: Callable[[], Any]) -> Iterator[list[Any]]:
    """Call a function in a thread while the block runs. The list holds its result or error afterwards."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield outcome
    finally:
        thread.join(PATIENCE)
