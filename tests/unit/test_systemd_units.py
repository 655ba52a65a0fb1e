"""The systemd units of the docs: systemd accepts them, and they run what compose.yaml runs."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess

import pytest

from tests.conftest import PATIENCE, ROOT, free_port
from tests.processes.compose import EXAMPLE, SCRIPTS, configuration

UNITS = ROOT / "docs" / "how-to" / "systemd"
INSTALLED = "/srv/shop"


def command(unit: str) -> list[str]:
    """Return the command of a unit, its program without the folder."""
    text = (UNITS / unit).read_text()
    (line,) = re.findall(rf"^ExecStart={INSTALLED}/venv/bin/(.+)$", text, re.M)
    return line.split()


def test_systemd_accepts_each_unit(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        pytest.skip("systemd-analyze is not installed (Debian: apt-get install systemd)")
    programs = tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    for program in ("gunicorn", "python"):
        (programs / program).symlink_to("/bin/true")
    units = [tmp_path / path.name.replace("@", "@1") for path in UNITS.iterdir()]
    for path, unit in zip(UNITS.iterdir(), units, strict=True):
        unit.write_text(path.read_text().replace(INSTALLED, str(tmp_path)))
    verified = subprocess.run([analyze, "verify", "--man=no", *units], capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_units_run_what_compose_runs():
    services = configuration("compose.yaml")["services"]
    assert command("shop-worker@.service") == services["worker"]["command"]
    *web, address = command("shop-web.service")
    assert web == services["web"]["command"][:-1]
    assert address == "127.0.0.1:8000"  # only the proxy may reach it


def test_gunicorn_tells_systemd_that_it_is_ready(tmp_path):
    """If it did not, systemd would end it, because the unit says Type=notify."""
    pytest.importorskip("gunicorn")
    program, *arguments = command("shop-web.service")
    environment = {
        "CLIP_SEARCH_DEMO_DATA": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "storefront.settings",
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "PYTHONPATH": str(ROOT),
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(environment["NOTIFY_SOCKET"])
        systemd.settimeout(PATIENCE)
        process = subprocess.Popen(
            [f"{SCRIPTS}/{program}", *(word.replace("8000", str(free_port())) for word in arguments)],
            cwd=EXAMPLE,
            env=os.environ | environment,
        )
        try:
            assert b"READY=1" in systemd.recv(1000)
        finally:
            process.terminate()
            process.wait(PATIENCE)


def test_the_page_shows_every_unit():
    page = (ROOT / "docs" / "how-to" / "production.rst").read_text()
    assert set(re.findall(r"literalinclude:: systemd/(\S+)", page)) == {path.name for path in UNITS.iterdir()}
