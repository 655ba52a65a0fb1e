"""The databases of a benchmark: SQLite, and PostgreSQL with a database of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from .fake_encoder import ENCODER
from .table import Row

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


def on_both(measure: Callable[[str, bool], Iterator[Row]], figure: str) -> Iterator[Row]:
    """Yield the rows of `measure(database, is_postgresql)` on SQLite and on PostgreSQL.

    The encoder is the fake one. If no PostgreSQL server answers, yield a row for `figure` that says so.
    """
    variables = {"CLIP_SEARCH_BENCH_ENCODER": ENCODER, "CLIP_SEARCH_TEST_DATABASE_URL": ""}
    with patch.dict(os.environ, variables):
        yield from measure("SQLite", False)
    with postgresql() as url:
        if not url:
            note = "None answers at CLIP_SEARCH_TEST_POSTGRESQL_URL."
            yield Row(figure=f"{figure}, PostgreSQL", value="not measured", note=note)
            return
        variables |= {"CLIP_SEARCH_TEST_DATABASE_URL": url, "CLIP_SEARCH_TEST_DATABASE_NAME": DATABASE}
        with patch.dict(os.environ, variables):
            yield from measure("PostgreSQL", True)
