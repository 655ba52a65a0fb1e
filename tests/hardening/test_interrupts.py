"""Ctrl-C in a command: one line, exit status 130, and what is done stays done."""

from __future__ import annotations

import multiprocessing
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import wait

import pytest
from django.core.management import load_command_class

from clip_search import parallel
from clip_search.documents.registry import registry
from clip_search.indexing import Stopped, pipeline
from clip_search.management.base import DocumentCommand
from clip_search.management.commands import clip_status
from clip_search.models import IndexEntry
from clip_search.signals import indexed
from clip_search.testing import HashingEncoder
from tests.conftest import PATIENCE, wait_until
from tests.integration.commands.actions import make, run

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])
PRODUCTS = 180
"""Two batches."""


@pytest.fixture
def start(start_process, shared, counts):
    """Return a function that starts a command with a model as slow as a real one."""

    def start(command: str, **environment: str):
        # a rebuild embeds with another model, everything else with the one of this process
        encoder = "OtherEncoder" if command == "clip_rebuild" else "CountingEncoder"
        slow = {
            "CLIP_SEARCH_TEST_ENCODER": f"tests.doubles.encoders.{encoder}",
            "CLIP_SEARCH_TEST_COUNTS": str(counts),
            "CLIP_SEARCH_TEST_SECONDS_AN_IMAGE": "0.1",
        }
        lines = ("-m", "tests.processes.patched", "clip_search.management.base.SECONDS_A_LINE=0", "--")
        return start_process(*lines, command, "product", **shared | slow | environment)

    return start


@pytest.mark.parametrize(
    ("command", "generation", "doing"),
    [("clip_reindex", 1, "Indexing"), ("clip_verify", 1, "Indexing"), ("clip_rebuild", 2, "Rebuilding")],
)
def test_what_is_done_stays_done(start, counts, command, generation, doing):
    make(PRODUCTS, images=PRODUCTS)
    if command == "clip_rebuild":
        run("clip_reindex")
    process = start(command)
    done = IndexEntry.objects.filter(state=IndexEntry.State.INDEXED, generation=generation)
    assert wait_until(done.exists)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    line = rf"Interrupted\. {doing} product: (\d+) of {PRODUCTS}\. Run the command again to continue\."
    said = re.fullmatch(line, output.splitlines()[-1])
    assert said, output
    kept = done.count()
    assert 0 < kept < PRODUCTS
    assert not IndexEntry.objects.exclude(claim=None).exists()
    counts.write_text("")
    again = start(command, CLIP_SEARCH_TEST_SECONDS_AN_IMAGE="0")
    output, _ = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, output
    assert done.count() == PRODUCTS
    assert counts.read_text().count("image") == PRODUCTS - kept


def test_nobody_waits_for_the_rest_of_a_batch(start, counts):
    make(128, images=128)
    process = start("clip_reindex", CLIP_SEARCH_TEST_SECONDS_AN_IMAGE="0.2")

    def embedded() -> int:
        return counts.read_text().count("image")

    assert wait_until(embedded)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    line = "Interrupted. Indexing product: 0 of 128. Run the command again to continue."
    assert (process.returncode, output.splitlines()[-1]) == (130, line)
    assert embedded() <= 64  # what was under way, 32, or what had just begun
    assert not IndexEntry.objects.exclude(claim=None).exists()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt: a shell starts background jobs with SIGINT ignored."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


def press_unnoticed(*args, **kwargs) -> None:
    """Press Ctrl-C while Python runs a `__del__`: it discards the KeyboardInterrupt."""

    class Dropped:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    Dropped()


def interrupted(command: str) -> None:
    """Run a command as `manage.py` does. It must end as Ctrl-C ends it."""
    with pytest.raises(SystemExit) as exit_:
        load_command_class("clip_search", command).run_from_argv(
            ["manage.py", command, "product", "--skip-checks"]
        )
    assert exit_.value.code == 130
    assert not IndexEntry.objects.exclude(claim=None).exists()


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("command", "generation"), [("clip_reindex", 1), ("clip_verify", 1), ("clip_rebuild", 2)]
)
def test_an_interrupt_that_python_discards(capsys, command, generation):
    make(PRODUCTS)
    if command == "clip_rebuild":
        run("clip_reindex")
    indexed.connect(press_unnoticed)
    try:
        interrupted(command)
    finally:
        indexed.disconnect(press_unnoticed)
    assert IndexEntry.objects.filter(state=IndexEntry.State.INDEXED, generation=generation).count() == 128
    assert capsys.readouterr().err.endswith(
        f"product: 128 of {PRODUCTS}. Run the command again to continue.\n"
    )


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_that_python_discards_while_it_waits(monkeypatch):
    make(1)
    was_noticed = threading.Event()

    def press_once(*args, **options):
        monkeypatch.setattr(pipeline, "wait", wait)
        press_unnoticed()
        return wait(*args, **options)

    def must_stop(self) -> bool:
        if self.was_interrupted:
            was_noticed.set()
        return self.was_interrupted

    monkeypatch.setattr(pipeline, "wait", press_once)
    monkeypatch.setattr(HashingEncoder, "embed_texts", lambda *args: was_noticed.wait(PATIENCE))
    monkeypatch.setattr(DocumentCommand, "must_stop", must_stop)
    interrupted("clip_reindex")
    assert IndexEntry.objects.get().state == IndexEntry.State.PENDING


def test_processes_end_after_an_interrupt_that_python_discards(shared, monkeypatch):
    document = registry.get("product")
    IndexEntry.objects.mark_changed(document, [str(number) for number in range(PRODUCTS)])
    for name, value in shared.items():
        monkeypatch.setenv(name, value)
    stopping = parallel.index_due(document, processes=2, should_abandon=lambda: True)
    with pytest.raises(Stopped):
        list(stopping)
    assert IndexEntry.objects.filter(state=IndexEntry.State.PENDING, claim=None).count() == PRODUCTS
    assert not multiprocessing.active_children()


def test_before_there_is_any_progress(monkeypatch, capsys):
    def interrupt(self, *args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(clip_status.Command, "handle", interrupt)
    monkeypatch.setattr(clip_status.Command, "requires_migrations_checks", False)
    with pytest.raises(SystemExit) as exit_:
        clip_status.Command().run_from_argv(["manage.py", "clip_status", "--skip-checks"])
    assert exit_.value.code == 130
    assert capsys.readouterr().err == "Interrupted. Run the command again to continue.\n"
