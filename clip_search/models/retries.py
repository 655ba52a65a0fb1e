"""Transactions that are tried again after a deadlock or a serialization failure."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar, cast

from django.db import OperationalError, connections, models

TRIES = 10
SERIALIZATION_FAILURES = frozenset({"40001", "40P01", 1213})
"""Serialization failure and deadlock: PostgreSQL's codes, MariaDB's."""

Method = TypeVar("Method", bound=Callable[..., Any])
Result = TypeVar("Result")


def retry_on_deadlock(using: str, work: Callable[[], Result]) -> Result:
    """Return the result of `work`, a whole transaction, which is repeated if the database rolled it back.

    It is not repeated inside a transaction of the host: the database rolled back all of that.
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
    """Repeat a method of a queryset with `retry_on_deadlock()`."""

    @wraps(method)
    def retry(self: models.QuerySet[Any], *args: Any, **kwargs: Any) -> Any:
        return retry_on_deadlock(self.db, partial(method, self, *args, **kwargs))

    return cast(Method, retry)


def is_serialization_failure(error: OperationalError) -> bool:
    """Return whether the database rolled a transaction back in favour of another one."""
    code = getattr(error.__cause__, "sqlstate", None) or next(iter(error.args), None)
    return code in SERIALIZATION_FAILURES
