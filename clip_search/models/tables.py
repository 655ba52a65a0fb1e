"""Errors of a database that lacks tables, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import DatabaseError

CODES: Final = frozenset({"42P01", "42703", "42S02", "42S22", 1146, 1054})
"""Table and column that do not exist: PostgreSQL's codes, those of PyMySQL and of mysqlclient."""
SQLITE: Final = re.compile("no such table|no such column|has no column named")


class TablesMissing(DatabaseError):
    """Tables of clip_search are missing. Run `manage.py migrate`."""


def missing_table(error: BaseException) -> str:
    """Return a sentence with the remedy if an error says that a table or column does not exist, else ""."""
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)  # the latter of psycopg2
    code = state or next(iter(error.args), None)
    if not isinstance(error, DatabaseError) or not (code in CODES or SQLITE.search(str(error))):
        return ""
    reason = str(error.args[-1]).splitlines()[0]
    return f"{reason}. Run `manage.py migrate`."


@contextmanager
def naming_missing_tables() -> Iterator[None]:
    """Raise TablesMissing if the block fails because a table or a column does not exist."""
    try:
        yield
    except TablesMissing:
        raise
    except DatabaseError as error:
        if sentence := missing_table(error):
            raise TablesMissing(sentence) from error
        raise
