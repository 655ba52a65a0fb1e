"""Configuration of the web server. gunicorn reads it from the folder in which it is started."""

from __future__ import annotations

from typing import Any

workers = 2
threads = 4
accesslog = "-"
graceful_timeout = 25
control_socket_disable = True  # it would need a home folder to write to


def post_worker_init(worker: Any) -> None:
    """Load the part of the model that embeds words in each process, after the fork and before any request.

    If that fails, it is logged, and the shop starts nevertheless.
    """
    from clip_search.searching import warm_up

    warm_up()
