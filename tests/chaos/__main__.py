"""Random faults in a busy shop: `python -m tests.chaos --minutes 5 --seed 1 [--store server --processes 2]`.

It runs real workers, a real Valkey, and the real embedded store or a fake cluster of Qdrant. While
shopkeepers save, delete, post and roll back, workers are killed and paused, Redis dies and loses its data,
and the store fails and loses its collection. Nodes of the cluster hang, are killed and started again, refuse
writes that the others have carried out, and are put back to a snapshot. After each round every fault is
repaired, after a snapshot by `clip_verify`, and the oracle compares each replica of the index with the rows.
If they differ, the command prints the seed and the differences, and exits with status 1.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos.surroundings import CONSTANTS, PATIENCE, Failed, Surroundings

ROUND = 20.0
"""Seconds of faults before everything is repaired and compared."""
SHOPKEEPERS = 4


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Chaos:
    """Rounds of work and faults. After each, the index is compared with the rows."""

    def __init__(self, seed: int, surroundings: Surroundings) -> None:
        from tests.chaos.shopkeepers import LastWord, Shopkeeper

        self.surroundings = surroundings
        self.rng, self.data = surroundings.rng, surroundings.data
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
            self.compare_replicas()  # before clip_verify makes them equal
            if self.surroundings.needs_verifying:
                self.surroundings.needs_verifying = False
                self.surroundings.run_command("clip_verify")
                calm += self.wait_for_calm()
            self.look()
            say(f"round {number}: {self.what_is_there()}; calm after {calm:.1f} s, index as the rows")
        self.stop_workers()
        self.look()
        self.rest()

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
        wrong = []
        for number, points in enumerate(self.surroundings.replicas(oracle.live_collection())):
            wrong += [f"replica {number}: {line}" for line in oracle.differences(should, points)]
        wrong += oracle.wrong_states(
            should, self.rows("SELECT product_id, state, error FROM clip_search_indexentry")
        )
        for fault in ("unconfirmed", "claim IS NOT NULL"):  # nothing is pending now
            if count := self.count(f"clip_search_indexentry WHERE {fault}"):
                wrong.append(f"{count} entries are done although: {fault}")
        rows = {row[0] for row in self.rows("SELECT name FROM clip_search_collection")}
        wrong += [f"collection {name} of no row" for name in sorted(self.surroundings.collections - rows)]
        wrong += self.wrong_files()
        if wrong:
            raise Failed("\n".join(wrong))

    def compare_replicas(self) -> None:
        """Raise Failed if the replicas of a point differ."""
        from tests.chaos import oracle

        if keys := self.surroundings.disagreeing(oracle.live_collection()):
            raise Failed(f"replicas of {len(keys)} points differ: {', '.join(keys[:5])}")

    def rest(self) -> None:
        """Raise Failed if a command writes to an index that `clip_verify` has just verified."""
        self.surroundings.run_command("clip_verify")  # it may replace tombstones that were lost
        self.look()
        before = self.surroundings.writes
        for command in ("clip_verify", "clip_reindex"):
            self.surroundings.run_command(command)
            if wrote := self.surroundings.writes - before:
                raise Failed(f"{command} wrote {wrote} times to an index that was verified")
        say("at rest: clip_verify and clip_reindex have nothing to write")

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
    os.environ |= surroundings.environment | {"CLIP_SEARCH_TEST_REDIS_PORT": str(surroundings.port)}
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
    from tests.chaos.stores import OnEmbeddedStore, on_cluster

    rng = random.Random(seed)
    with on_cluster(data, rng) if server else nullcontext(OnEmbeddedStore(data, rng)) as surroundings:
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
    parser.add_argument("--processes", type=int, default=1, help="in how many processes commands index")
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
        surroundings.processes = options.processes
        try:
            Chaos(options.seed, surroundings).run(60 * options.minutes)
        except Failed as error:
            how = f"--seed {options.seed} --store {options.store} --processes {options.processes}"
            say(f"FAILED with {how}:\n{error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
