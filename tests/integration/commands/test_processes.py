"""`--processes`: several processes index what is due, and end with the command."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from clip_search import parallel
from clip_search.models import Collection, IndexEntry, Vocabulary, Word
from clip_search.stores import get_store
from tests.chaos.surroundings import children_of
from tests.conftest import PATIENCE, wait_until
from tests.shops.shop.models import Product

from .actions import DOCUMENT, complain, make, run, states

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])
PRODUCTS = 60
QUICK = (
    "clip_search.management.base.SECONDS_A_LINE=0",
    "clip_search.parallel.PRODUCTS_A_PROCESS=10",
    "clip_search.parallel.ROWS_A_PROCESS=10",
    "clip_search.indexing.comparing.ROWS_PER_PAGE=10",
)
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def gate(tmp_path) -> Path:
    """The file without which no image is embedded: so the test has time to see all processes at work."""
    return tmp_path / "gate"


@pytest.fixture
def start(start_process, shared, counts, gate) -> Start:
    """Return a function that starts `clip_reindex` with two processes."""

    def start(
        *arguments: str,
        command: str = "clip_reindex",
        constants: Sequence[str] = QUICK,
        **environment: str,
    ) -> subprocess.Popen[str]:
        counting = {
            "CLIP_SEARCH_TEST_ENCODER": "tests.doubles.encoders.CountingEncoder",
            "CLIP_SEARCH_TEST_COUNTS": str(counts),
            "CLIP_SEARCH_TEST_GATE": str(gate),
        }
        options = arguments or ("--processes", "2", "--batch-size", "10")
        line = ("-m", "tests.processes.patched", *constants, "--", command, "product", *options)
        return start_process(*line, **shared | counting | environment)

    return start


def both_at_work(command: subprocess.Popen[str]) -> list[int]:
    """Wait until both processes of a command have claims, and return their ids."""
    claims = IndexEntry.objects.exclude(claim=None).values("claim").distinct()
    assert wait_until(lambda: claims.count() > 2)  # one process alone has two at most
    return children_of(command.pid)


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_two_processes_index_each_product_once(start, counts, gate):
    make(PRODUCTS, images=PRODUCTS)
    command = start()
    assert len(both_at_work(command)) == 2
    gate.touch()
    output, _ = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, output
    assert f"{PRODUCTS} products: {PRODUCTS} embedded in" in output
    assert f"Indexing product: {PRODUCTS} of {PRODUCTS}" in output
    assert states() == {IndexEntry.State.INDEXED: PRODUCTS}
    assert counts.read_text().count("image") == PRODUCTS
    assert get_store().count(Collection.objects.get().name) == PRODUCTS


def test_only_the_command_itself_opens_an_embedded_store(start, gate):
    make(PRODUCTS, images=PRODUCTS)
    command = start()
    for pid in both_at_work(command):
        assert "qdrant_edge" not in Path(f"/proc/{pid}/maps").read_text()
    assert "qdrant_edge" in Path(f"/proc/{command.pid}/maps").read_text()
    gate.touch()
    output, _ = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, output


def test_a_rebuild_in_two_processes(start, gate):
    make(PRODUCTS, images=PRODUCTS)
    run("clip_reindex")
    other = {"CLIP_SEARCH_TEST_ENCODER": "tests.doubles.encoders.OtherEncoder"}
    command = start("--processes", "2", command="clip_rebuild", **other)
    assert wait_until(lambda: len(children_of(command.pid)) == 2)
    gate.touch()
    output, _ = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, output
    assert f"{PRODUCTS} products: {PRODUCTS} embedded in" in output
    row = Collection.objects.get()
    assert (row.state, row.generation, row.dimension) == (Collection.State.LIVE, 2, 300)
    assert get_store().count(row.name) == PRODUCTS


@pytest.mark.parametrize("everybody", [True, False], ids=["the terminal", "the command alone"])
def test_ctrl_c_releases_what_is_unfinished(start, gate, everybody):
    make(PRODUCTS, images=PRODUCTS)
    command = start()
    pids = both_at_work(command)
    for pid in [*pids, command.pid] if everybody else [command.pid]:
        os.kill(pid, signal.SIGINT)
    gate.touch()  # a batch that is being embedded is waited for
    output, _ = command.communicate(timeout=PATIENCE)
    assert command.returncode == 130, output
    assert "Traceback" not in output
    assert output.splitlines()[-1].startswith("Interrupted. Indexing product: ")
    assert not IndexEntry.objects.exclude(claim=None).exists()
    assert not any(map(is_running, pids))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_if_one_is_killed_the_other_goes_on(start, gate, how):
    make(PRODUCTS, images=PRODUCTS)
    command = start(constants=[*QUICK, "clip_search.indexing.pipeline.LEASE=2"])
    os.kill(both_at_work(command)[0], how)
    gate.touch()
    output, _ = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, output
    assert "A process was killed, its products stay pending" in output
    assert states() == {IndexEntry.State.INDEXED: PRODUCTS}
    assert not IndexEntry.objects.exclude(claim=None).exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_if_all_are_killed_the_command_says_so(start, gate, how):
    make(PRODUCTS, images=PRODUCTS)
    command = start()
    for pid in both_at_work(command):
        os.kill(pid, how)
    gate.touch()
    output, _ = command.communicate(timeout=PATIENCE)
    assert command.returncode == 1, output
    assert "CommandError: All processes of the command were killed." in output
    assert IndexEntry.objects.filter(state=IndexEntry.State.PENDING).exists()


def test_if_the_command_is_killed_its_processes_release_their_claims_and_end(start, gate):
    make(PRODUCTS, images=PRODUCTS)
    command = start()
    pids = both_at_work(command)
    command.kill()
    assert wait_until(lambda: not IndexEntry.objects.exclude(claim=None).exists())
    gate.touch()
    assert wait_until(lambda: not any(map(is_running, pids)))
    assert IndexEntry.objects.filter(state=IndexEntry.State.PENDING).exists()


def test_an_error_of_a_process_ends_the_command(start):
    make(PRODUCTS)
    command = start(CLIP_SEARCH_TEST_ENCODER="tests.doubles.encoders.BrokenEncoder")
    output, _ = command.communicate(timeout=PATIENCE)
    assert command.returncode == 1, output
    assert "Traceback" not in output
    assert output.splitlines()[-1] == "CommandError: The model cannot be loaded."
    assert states() == {IndexEntry.State.PENDING: PRODUCTS}
    assert not IndexEntry.objects.exclude(claim=None).exists()


def test_an_unexpected_exception_is_shown(start):
    make(PRODUCTS)
    command = start(CLIP_SEARCH_TEST_ENCODER="tests.doubles.encoders.FaultyEncoder")
    output, _ = command.communicate(timeout=PATIENCE)
    assert command.returncode == 1, output
    assert "ZeroDivisionError" in output
    assert output.splitlines()[-1] == "CommandError: A process ended with status 1. Its own message is above."
    assert states() == {IndexEntry.State.PENDING: PRODUCTS}
    assert not IndexEntry.objects.exclude(claim=None).exists()


def test_failures_are_said_once(start, gate):
    gate.touch()
    products = make(PRODUCTS, images=PRODUCTS)
    Path(products[0].images.get().original.path).write_bytes(b"nothing")
    command = start()
    output, _ = command.communicate(timeout=PATIENCE)
    assert command.returncode == 1, output
    assert output.count("not a readable image") == 1


def test_two_processes_find_what_changed(start):
    first, other, gone, *_ = make(PRODUCTS)
    run("clip_reindex")
    Vocabulary.objects.update(counted_at=timezone.now() - timedelta(days=1))  # so that words are counted
    Product.objects.filter(pk__in=[first.pk, other.pk]).update(price=77)
    Product.objects.filter(pk=gone.pk)._raw_delete("default")
    command = start("--processes", "2", CLIP_SEARCH_TEST_ENCODER="tests.doubles.encoders.BrokenEncoder")
    assert wait_until(lambda: children_of(command.pid))
    output, _ = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, output
    assert f"{PRODUCTS} products: 2 payload only, {PRODUCTS - 3} unchanged, " in output
    assert ", 1 removed in " in output
    assert Word.objects.get(word="chair").products == PRODUCTS - 1


def test_products_that_a_killed_process_compared_are_not_taken_for_unchanged(start):
    make(PRODUCTS)
    run("clip_reindex")
    command = start()
    found: list[int] = []
    assert wait_until(lambda: found.extend(children_of(command.pid)) or found)
    os.kill(found[0], signal.SIGKILL)
    output, _ = command.communicate(timeout=PATIENCE)
    assert command.returncode == 1, output
    assert "CommandError: A process that compared products was killed" in output
    assert wait_until(lambda: not children_of(command.pid))


def test_a_process_that_may_have_no_children_says_what_to_do(monkeypatch):
    IndexEntry.objects.mark_changed(DOCUMENT, [str(number) for number in range(200)])
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    with pytest.raises(parallel.ProcessFailed, match="Run the command without --processes"):
        list(parallel.index_due(DOCUMENT, processes=2))


@pytest.fixture
def started(monkeypatch) -> list[int]:
    """List how many processes would have been started. None is."""
    found: list[int] = []

    def start(task, should_abandon):
        found.append(task.processes)
        return iter(())

    monkeypatch.setattr(parallel, "_in_processes", start)
    return found


@pytest.mark.parametrize(("due", "expected"), [(60, [3]), (25, [3]), (11, [2]), (10, []), (0, [])])
def test_few_products_need_no_more_processes(started, monkeypatch, due, expected):
    monkeypatch.setattr(parallel, "PRODUCTS_A_PROCESS", 10)
    IndexEntry.objects.mark_changed(DOCUMENT, [str(number) for number in range(due)])
    list(parallel.index_due(DOCUMENT, processes=3))
    assert started == expected


@pytest.mark.parametrize(("cores", "processes"), [(1, 1), (2, 1), (7, 1), (8, 2), (16, 4), (32, 8)])
def test_auto_depends_on_the_cores(monkeypatch, cores, processes):
    monkeypatch.setattr(parallel, "cores", lambda: cores)
    assert parallel.best_count() == processes


@pytest.mark.parametrize("given", ["0", "-1", "two", "65", "1.5", ""])
@pytest.mark.parametrize("command", ["clip_reindex", "clip_rebuild"])
def test_a_wrong_number_is_refused(command, given):
    make(3)
    run("clip_reindex")
    said = complain(command, "product", "--images", f"--processes={given}")
    assert said == '--processes: name a number from 1 to 64, or "auto".'
    assert states() == {IndexEntry.State.INDEXED: 3}


def test_workers_are_not_processes_of_the_command(settings):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QUEUE": "default"}
    said = complain("clip_reindex", "product", "--queue", "--processes=2")
    assert said == "--processes: with --queue the workers index. Start more of them instead."
