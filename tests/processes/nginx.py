"""The example's nginx configuration, run by a real nginx on a free port of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, free_port, is_open, wait_until
from tests.processes.compose import EXAMPLE

MAIN = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
  include /etc/nginx/mime.types;
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  include {folder}/server.conf;
}}
"""
"""What the official image has in its own nginx.conf."""


@contextmanager
def proxying(folder: Path, upstream: str, data: Path) -> Iterator[str]:
    """Run nginx in front of an address while the block runs. Yield its own address. Skip without nginx."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if not nginx:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    address = f"127.0.0.1:{free_port()}"
    server = (EXAMPLE / "nginx.conf").read_text()
    for there, here in {"listen 80;": f"listen {address};", "web:8000": upstream, "/data": str(data)}.items():
        assert there in server
        server = server.replace(there, here)
    (folder / "server.conf").write_text(server)
    main = folder / "main.conf"
    main.write_text(MAIN.format(folder=folder, user="" if os.getuid() else "user root;"))
    line = [nginx, "-p", str(folder), "-c", str(main)]
    tested = subprocess.run([*line, "-t"], capture_output=True, text=True)
    assert tested.returncode == 0, tested.stderr
    assert "[warn]" not in tested.stderr, tested.stderr
    process = subprocess.Popen(line)
    try:
        assert wait_until(lambda: is_open(address))
        yield address
    finally:
        process.terminate()
        process.wait(PATIENCE)
