"""A PostgreSQL database of its own for a benchmark."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

POSTGRESQL = os.environ.get("CLIP_SEARCH_TEST_POSTGRESQL_URL") or "postgresql://postgres@127.0.0.1:5432/test"
DATABASE = f"clip_search_bench_{os.getpid()}"
"""The name of the database that is created on the PostgreSQL server."""


@contextmanager
def postgresql() -> Iterator[str]:
    """Create a database while the block runs, and yield the server's URL, or "" if no server answers."""
    import psycopg

    try:
        server = psycopg.connect(POSTGRESQL, autocommit=True, connect_timeout=5)
    except psycopg.OperationalError:
        yield ""
        return
    with server:
        server.execute(f"CREATE DATABASE {DATABASE}")
        try:
            yield POSTGRESQL
        finally:
            server.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
