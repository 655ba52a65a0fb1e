"""`manage.py` with constants changed.

`python -m tests.processes.patched clip_search.worker.WAIT_SECONDS=1 -- rqworker default`
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta
from importlib import import_module


def change(constant: str, number: str) -> None:
    """Set a module's number, or timedelta in seconds."""
    path, _, name = constant.rpartition(".")
    module = import_module(path)
    old = getattr(module, name)
    new = timedelta(seconds=float(number)) if isinstance(old, timedelta) else type(old)(number)
    setattr(module, name, new)


if __name__ in ("__main__", "__mp_main__"):  # the latter in the processes of `--processes`
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    end = sys.argv.index("--")
    for argument in sys.argv[1:end]:
        change(*argument.split("=", 1))

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    # a shell starts background jobs with SIGINT ignored, and their children inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    execute_from_command_line([sys.argv[0], *sys.argv[end + 1 :]])
