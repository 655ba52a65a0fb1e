"""Start the whole example shop with one command, or check it from end to end."""

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

from demo.http_client import HttpClient
from demo.processes import MANAGE_PY, REDIS_URL, DemoFailed, Supervisor, free_port
from demo.scenario import Scenario
from demo.steps import Steps

from .demo_admin import PASSWORD, USER

SECONDS_FOR_CHECK = 175
SECONDS_PER_STEP = 120.0


class Command(BaseCommand):
    help = (
        "Starts the example shop: Valkey, a worker and the web server, with the demo's catalogue. "
        "Ctrl-C stops everything."
    )
    requires_system_checks = ()  # the commands that this one starts run them

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="port of the web server on 127.0.0.1")
        parser.add_argument(
            "--check",
            action="store_true",
            help="check a new shop from end to end, in a temporary folder, and exit; 0 if all steps succeed",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        steps = Steps(self.stdout)
        interrupt_on(signal.SIGTERM, signal.SIGHUP)
        try:
            if options["check"]:
                self.check_shop(steps)
            else:
                self.serve(steps, options["port"])
        except KeyboardInterrupt:
            self.stdout.write("\nStopped.")
            raise SystemExit(128 + signal.SIGINT) from None

    def check_shop(self, steps: Steps) -> None:
        """Run the scenario on a new shop, in a temporary folder."""
        with (
            tempfile.TemporaryDirectory(prefix="clip-search-demo-") as folder,
            Supervisor(Path(folder)) as supervisor,
        ):
            try:
                with time_limit(SECONDS_FOR_CHECK):
                    base = open_shop(supervisor, steps, free_port(), strict=True)
                    Scenario(base, steps, user=USER, password=PASSWORD).run()
            except (DemoFailed, OSError, LookupError, ValueError) as error:
                # LookupError and ValueError: a response lacks a field, or is not JSON.
                reason = str(error) if isinstance(error, DemoFailed) else repr(error)
                raise CommandError(f"{reason}\n{supervisor.logs_of_services()}") from error
        self.stdout.write(f"All {steps.done} steps succeeded in {steps.seconds:.0f} s.")

    def serve(self, steps: Steps, wanted_port: int) -> None:
        """Start the shop and keep it running until Ctrl-C."""
        with Supervisor(settings.DATA) as supervisor:
            try:
                port = free_port(wanted_port)
                if port != wanted_port:
                    self.stdout.write(f"Port {wanted_port} is in use. Using {port} instead.")
                base = open_shop(supervisor, steps, port)
                self.stdout.write(welcome(base, supervisor))
                self.stdout.flush()
                with contextlib.suppress(KeyboardInterrupt):
                    supervisor.watch()
            except DemoFailed as error:
                raise CommandError(f"{error}\n{supervisor.logs_of_services()}") from error
            self.stdout.write("\nStopping …")
            self.stdout.flush()


def open_shop(supervisor: Supervisor, steps: Steps, port: int, *, strict: bool = False) -> str:
    """Start everything and wait until the shop can be searched. Return its address.

    `strict` requires that all products can be indexed.
    """
    with steps.step("queue started"):
        supervisor.start_valkey()
    with steps.step("database migrated"):
        supervisor.run("migrate", "--verbosity=0", seconds=SECONDS_PER_STEP)
        supervisor.run("demo_admin", seconds=SECONDS_PER_STEP)
    supervisor.start("worker", "rqworker", "default")  # it loads the model while the pictures are drawn
    with steps.step("catalogue loaded"):
        supervisor.run("load_catalogue", seconds=SECONDS_PER_STEP)
    base = f"http://127.0.0.1:{port}"
    supervisor.start("web", "runserver", "--noreload", f"127.0.0.1:{port}")
    with steps.step("catalogue indexed by the worker"):
        options = ["--strict"] if strict else []
        supervisor.run("watch_index", *options, seconds=SECONDS_PER_STEP, visible=True)
    with steps.step("shop opened, its model loaded"):
        supervisor.wait_for(
            lambda: can_be_searched(base), SECONDS_PER_STEP, "The first search of the web server"
        )
    return base


def can_be_searched(base: str) -> bool:
    """Return True if the shop answers a search. This first search loads the model."""
    try:
        return HttpClient(base).get("/search/", q="mug").status == 200
    except OSError:
        return False


def welcome(base: str, supervisor: Supervisor) -> str:
    """Return the addresses, and how to run a command for this shop in another terminal."""
    names = ("CLIP_SEARCH_DEMO_DATA", "CLIP_SEARCH_DEMO_MODEL", REDIS_URL)
    variables = [f"{name}={supervisor.environment[name]}" for name in names if name in supervisor.environment]
    command = shlex.join(["env", *variables, sys.executable, str(MANAGE_PY), "clip_status"])
    return f"""
The shop      {base}/
Back office   {base}/admin/   log in as {USER} / {PASSWORD} (for development only)
Endpoints     {base}/api/v1/search?q=red+mug
Logs          {supervisor.logs}
Commands      {command}

Ctrl-C stops everything.
"""


def interrupt_on(*numbers: signal.Signals) -> None:
    """Raise KeyboardInterrupt on these signals, as on Ctrl-C, so that every `finally` block runs."""
    for number in numbers:
        signal.signal(number, signal.default_int_handler)


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise DemoFailed if the block takes longer."""

    def on_alarm(*_: object) -> None:
        raise DemoFailed(f"The check took longer than {seconds} s")

    signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
