"""Try on a real Qdrant server or cluster what clip_search assumes of it: `python -m tests.assumptions URL …`.

It prints a line for each assumption, and exits with status 1 if one does not hold. What it does there, it
does in collections of its own, `clip-search-assumptions-…`, which it removes. To stop a node, it needs a
person (`--ask`) or two commands. Example for a cluster of three:

    python -m tests.assumptions http://a:6333 http://b:6333 http://c:6333 \\
        --stop-command "docker stop c" --start-command "docker start c"
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module

from .trial import ASSUMPTIONS, Trial

GRPC_PORT = 6334
for _room in ("reading", "words", "writing", "refusals", "cluster"):
    import_module(f".{_room}", __package__)  # registers its assumptions


def run(trial: Trial, say: Callable[[str], object] = print) -> int:
    """Try every assumption, say a line for each, and return 1 if one does not hold."""
    status = 0
    with trial.removing() as left:
        for assumption in ASSUMPTIONS:
            outcome = assumption.outcome(trial)
            say(f"{assumption.name}: {outcome}")
            status |= outcome.startswith("DOES NOT HOLD")
    for name in left:
        say(f"The collection {name} could not be removed. Remove it by hand.")
    return status


def ask(what: str, url: str) -> None:
    input(f"{what} the node {url}, then press Enter: ")


def command(line: str) -> None:
    subprocess.run(line, shell=True, check=True)  # noqa: S602, the line is the caller's own


def parse() -> Trial:
    parser = argparse.ArgumentParser(
        prog="python -m tests.assumptions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("urls", nargs="+", metavar="URL", help="the addresses of the nodes")
    parser.add_argument("--api-key")
    parser.add_argument("--read-only-key", help="to try what it is refused")
    parser.add_argument(
        "--grpc",
        nargs="*",
        type=int,
        metavar="PORT",
        help=f"use gRPC, at these ports (default {GRPC_PORT} each)",
    )
    parser.add_argument(
        "--ask", action="store_true", help="ask you to stop and start the node of the last URL"
    )
    parser.add_argument("--stop-command", help="a shell command that stops the node of the last URL")
    parser.add_argument("--start-command", help="a shell command that starts it again")
    options = parser.parse_args()
    if bool(options.stop_command) != bool(options.start_command):
        parser.error("--stop-command and --start-command belong together")
    if options.grpc and len(options.grpc) != len(options.urls):
        parser.error("--grpc takes no port, or one for each URL")
    trial = Trial(
        options.urls,
        grpc_ports=() if options.grpc is None else options.grpc or [GRPC_PORT] * len(options.urls),
        api_key=options.api_key,
        read_only_key=options.read_only_key,
    )
    if options.ask:
        trial.stop, trial.start = (partial(ask, what, trial.urls[-1]) for what in ("Stop", "Start"))
    elif options.stop_command:
        trial.stop = partial(command, options.stop_command)
        trial.start = partial(command, options.start_command)
    return trial


if __name__ == "__main__":
    sys.exit(run(parse()))
