"""Clear errors for databases in which tables of this package are missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import DatabaseError

CODES: Final = frozenset({"42P01", "42703", "42S02", "42S22", 1146, 1054})
"""The error codes of PostgreSQL, PyMySQL and mysqlclient for a missing table or column."""
SQLITE: Final = re.compile("no such table|no such column|has no column named")


class TablesMissing(DatabaseError):
    """Tables of clip_search are missing. Run `manage.py migrate`."""


def missing_table(error: BaseException) -> str:
    """Return an error message with the remedy if a table or column is missing, or "" for other errors."""
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)  # pgcode is psycopg2's
    code = state or next(iter(error.args), None)
    if not isinstance(error, DatabaseError) or not (code in CODES or SQLITE.search(str(error))):
        return ""
    reason = str(error.args[-1]).splitlines()[0]
    return f"{reason}. Run `manage.py migrate`."


@contextmanager
def naming_missing_tables() -> Iterator[None]:
    """Raise TablesMissing if the block fails because a table or column is missing."""
    try:
        yield
    except TablesMissing:
        raise
    except DatabaseError as error:
        if sentence := missing_table(error):
            raise TablesMissing(sentence) from error
        raise
