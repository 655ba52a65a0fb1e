"""The whole shop with one command, and the whole story without a person."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from demo.http_client import Browser
from demo.processes import MANAGE, REDIS, Crew, DemoFailed, free_port
from demo.scenario import Story
from demo.steps import Steps

from .demo_admin import PASSWORD, USER

SECONDS_FOR_CHECK = 175
SECONDS_TO_OPEN = 120.0


class Command(BaseCommand):
    help = (
        "Runs the example shop: a Valkey, a worker and the web server, with the demo catalogue in it. "
        "Ctrl-C stops them all."
    )
    requires_system_checks = ()  # the commands that this one starts make theirs

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="of the web server on 127.0.0.1")
        parser.add_argument(
            "--check",
            action="store_true",
            help="play the story without a person, in a fresh data folder, and exit; 0 if it ends well",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        steps = Steps(self.stdout)
        end_like_ctrl_c(signal.SIGTERM, signal.SIGHUP)
        try:
            if options["check"]:
                self.check_story(steps)
            else:
                self.serve(steps, options["port"])
        except KeyboardInterrupt:
            self.stdout.write("\nStopped.")
            raise SystemExit(128 + signal.SIGINT) from None

    def check_story(self, steps: Steps) -> None:
        """Play the story in a folder that is gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="clip-search-demo-") as folder, Crew(Path(folder)) as crew:
            try:
                with time_limit(SECONDS_FOR_CHECK):
                    base = open_shop(crew, steps, free_port(), "--strict")
                    Story(base, steps, user=USER, password=PASSWORD).play()
            except (DemoFailed, OSError, LookupError, ValueError) as error:
                # The others: an answer without a field, a server that hangs up.
                reason = str(error) if isinstance(error, DemoFailed) else repr(error)
                raise CommandError(f"{reason}\n{crew.tails()}") from error
        self.stdout.write(f"All {steps.done} steps succeeded in {steps.seconds:.0f} s.")

    def serve(self, steps: Steps, wanted: int) -> None:
        """Open the shop and keep it open."""
        with Crew(settings.DATA) as crew:
            try:
                port = free_port(wanted)
                if port != wanted:
                    self.stdout.write(f"Port {wanted} is taken, using {port}.")
                base = open_shop(crew, steps, port)
                self.stdout.write(welcome(base, crew))
                self.stdout.flush()
                with contextlib.suppress(KeyboardInterrupt):
                    crew.watch()
            except DemoFailed as error:
                raise CommandError(f"{error}\n{crew.tails()}") from error
            self.stdout.write("\nStopping …")
            self.stdout.flush()


def open_shop(crew: Crew, steps: Steps, port: int, *watching: str) -> str:
    """Start everything, in the order in which each needs the one before. Returns the shop's address."""
    with steps.step("queue started"):
        crew.start_valkey()
    with steps.step("database migrated"):
        crew.run("migrate", "--verbosity=0", seconds=SECONDS_TO_OPEN)
        crew.run("demo_admin", seconds=SECONDS_TO_OPEN)
    crew.start("worker", "rqworker", "default")  # it loads the model while the pictures are drawn
    with steps.step("catalogue loaded"):
        crew.run("load_catalogue", seconds=SECONDS_TO_OPEN)
    base = f"http://127.0.0.1:{port}"
    crew.start("web", "runserver", "--noreload", f"127.0.0.1:{port}")
    with steps.step("catalogue indexed by the worker"):
        crew.run("watch_index", *watching, seconds=SECONDS_TO_OPEN, visible=True)
    with steps.step("shop opened, its model loaded"):
        crew.wait_for(lambda: answers(base), SECONDS_TO_OPEN, "the web server's first answer")
    return base


def answers(base: str) -> bool:
    """Say whether the shop answers a search. The first one loads the model: no shopper waits for it."""
    try:
        return Browser(base).get("/search/", q="mug").status == 200
    except OSError:
        return False


def welcome(base: str, crew: Crew) -> str:
    """Say where everything is, and how a command in another terminal finds this shop's queue."""
    command = shlex.join([sys.executable, str(MANAGE), "clip_status"])
    return f"""
The shop      {base}/
Back office   {base}/admin/   log in as {USER} / {PASSWORD} (for development only)
Endpoints     {base}/api/v1/search?q=red+mug
Logs          {crew.logs}
Commands      {REDIS}={crew.environment[REDIS]} {command}

Ctrl-C stops everything.
"""


def end_like_ctrl_c(*numbers: signal.Signals) -> None:
    """Let `kill` and a closed terminal end the demo the way Ctrl-C does: through every `finally`."""
    for number in numbers:
        signal.signal(number, signal.default_int_handler)


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise DemoFailed if the block takes longer, whatever it waits for."""

    def ring(*_: object) -> None:
        raise DemoFailed(f"The story took longer than {seconds} s")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
