"""The example's compose files as Docker Compose reads them, and their commands run without Docker."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.conftest import PATIENCE, ROOT, wait_until

EXAMPLE = ROOT / "example_project"
FILES = ("compose.yaml", "compose.cluster.yaml")
SCRIPTS = sysconfig.get_path("scripts")
SECRETS = dict.fromkeys(("SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "QDRANT_API_KEY"), "secret")


def compose(*options: str, files: tuple[str | Path, ...] = FILES, **variables: str) -> str:
    """Return what `docker-compose config` prints about these files, merged. It needs no Docker.

    It raises CalledProcessError if a file breaks the schema of compose files, or names an unknown service,
    volume or config.
    """
    line = [f"{SCRIPTS}/docker-compose", f"--env-file={EXAMPLE}/compose.env.example"]
    line += [f"--file={EXAMPLE / name}" for name in files]
    environment = os.environ | SECRETS | variables
    done = subprocess.run(
        [*line, "config", *options], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def configuration(*files: str, **variables: str) -> dict[str, Any]:
    """Return these files merged, with the value of each variable."""
    return json.loads(compose("--format=json", files=files, **variables).replace("$$", "$"))


class Containers:
    """Runs the commands of services on this machine, each with the environment of its container.

    In commands and environments, each key of `places` is replaced by its value: addresses, ports and folders.
    """

    def __init__(self, logs: Path, places: Mapping[str, str], environment: Mapping[str, str]) -> None:
        self.logs = logs
        self.places = places
        self.services = configuration(*FILES)["services"]
        self._environment = environment
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started: list[subprocess.Popen[bytes]] = []

    def here(self, text: str) -> str:
        """Return a text with the places of this machine."""
        return re.sub("|".join(map(re.escape, self.places)), lambda found: self.places[found[0]], text)

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Start the command of a service, or another one in its environment. Its output is in `log()`."""
        theirs = {key: self.here(value) for key, value in self.services[name].get("environment", {}).items()}
        ours = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
        ours |= {"PATH": f"{SCRIPTS}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [self.here(word) for word in command or self.services[name]["command"]],
                cwd=EXAMPLE,
                env=ours | theirs | self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def up(self, name: str) -> None:
        """Start a service with an empty log. It runs until `stop()`."""
        (self.logs / f"{name}.log").write_bytes(b"")
        self._running[name] = self.start(name)

    def run(self, name: str, *command: str) -> int:
        """Run the command of a service, or another one in its environment. Return its exit status."""
        return self.start(name, *command).wait(PATIENCE)

    def is_healthy(self, name: str) -> bool:
        """Run the health check of a service once, as Docker would."""
        kind, *test = self.services[name]["healthcheck"]["test"]
        return not self.run(name, *(["sh", "-c", *test] if kind == "CMD-SHELL" else test))

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def wait_for(self, name: str, text: str) -> None:
        """Wait until a service has logged a text. Fail if it ends before."""
        process = self._running[name]
        assert wait_until(lambda: text in self.log(name) or process.poll() is not None)
        assert text in self.log(name), f"{shlex.join(map(str, process.args))}\n{self.log(name)}"

    def stop(self, name: str) -> int:
        """Stop a service as Docker does, by SIGTERM to its first process. Return its exit status."""
        process = self._running.pop(name)
        process.terminate()
        return process.wait(PATIENCE)

    def kill(self) -> None:
        """End at once all commands that still run, with the processes that they have started."""
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
