"""What tests of the models use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

from django.db import connections

from clip_search.models import IndexEntry

LEASE = timedelta(seconds=60)
STATES = IndexEntry.State


def statements(captured, *kinds: str) -> list[str]:
    found = [query["sql"] for query in captured.captured_queries]
    return [sql for sql in found if sql.startswith(kinds or ("SELECT", "INSERT", "UPDATE", "DELETE"))]


def together(count: int, work: Callable[[int], None]) -> list[BaseException]:
    """Run work in threads that start at once, each with a connection of its own; return what it raised."""
    barrier, errors = threading.Barrier(count), []

    def run(number: int) -> None:
        try:
            barrier.wait()
            work(number)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors
