"""Repeats transactions that the database rolled back after a deadlock or a serialization failure."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar, cast

from django.db import OperationalError, connections, models

TRIES = 10
SERIALIZATION_FAILURES = frozenset({"40001", "40P01", 1213})
"""The error codes of PostgreSQL and MariaDB for serialization failures and deadlocks."""

Method = TypeVar("Method", bound=Callable[..., Any])
Result = TypeVar("Result")


def retry_on_deadlock(using: str, work: Callable[[], Result]) -> Result:
    """Call `work`, which runs one transaction, and return its result.

    If the database rolls the transaction back because of a deadlock or serialization failure, `work` is
    called again, at most `TRIES` times in all. Inside an outer transaction, the error is raised at once,
    because the database has rolled back the outer transaction too.
    """
    for tried in range(1, TRIES):
        try:
            return work()
        except OperationalError as error:
            if not is_serialization_failure(error) or connections[using].in_atomic_block:
                raise
        time.sleep(random.uniform(0, 0.01 * tried))  # noqa: S311
    return work()


def retried(method: Method) -> Method:
    """Decorate a queryset method: after a deadlock, `retry_on_deadlock()` calls it again."""

    @wraps(method)
    def retry(self: models.QuerySet[Any], *args: Any, **kwargs: Any) -> Any:
        return retry_on_deadlock(self.db, partial(method, self, *args, **kwargs))

    return cast(Method, retry)


def end_interrupted_transaction(using: str) -> None:
    """Close the connection, which ends a transaction that Django does not know of. Do nothing inside a block.

    If Ctrl-C comes while the database begins a transaction, Django takes it for not begun. Until the end of
    the connection, every other transaction would then fail.
    """
    connection = connections[using]
    if not connection.in_atomic_block:
        connection.close()


def is_serialization_failure(error: OperationalError) -> bool:
    """Return whether this error is a deadlock or a serialization failure."""
    code = getattr(error.__cause__, "sqlstate", None) or next(iter(error.args), None)
    return code in SERIALIZATION_FAILURES
