"""Send a batch to the store, and if the store refuses it, send ever smaller parts of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import chain
from time import monotonic

from ..exceptions import RequestRefused, StoreRefused
from .items import Item

MAX_REFUSALS = 7
"""If so many single items are refused and none is accepted, the store is taken to refuse everything."""
SECONDS = 20.0
"""How long smaller parts are sent once one was accepted. It is less than a claim lasts.

A server that waits for a node which hangs may take seconds to refuse a request.
"""


def in_halves(items: Sequence[Item], request: Callable[[Sequence[Item]], None]) -> None:
    """Call `request` with the items. If the store refuses them, call it with each half, down to single items.

    So one bad point, or a shard that is down, does not keep the other products of a batch from being indexed.
    An item that is refused alone is postponed; it fails if the store says that the request itself is invalid.
    After SECONDS, the rest is postponed too. If the store refuses everything, as with a full disk, its
    error is raised. Other errors, such as a time-out, are raised at once: smaller requests would not help.
    The parts are drawn by lot: if only the first items that were tried were bad, the next try finds others.
    """
    parts, refusals, accepted = [items] if items else [], 0, False
    deadline = monotonic() + SECONDS
    while parts:
        part = parts.pop()
        try:
            request(part)
            accepted = True
        except (StoreRefused, RequestRefused) as error:
            if accepted and monotonic() > deadline:
                for item in chain(part, *parts):
                    item.postponed = str(error)
                return
            if len(part) > 1:
                if part is items:
                    part = random.sample(part, len(part))
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
                continue
            refusals += 1
            is_invalid = isinstance(error, RequestRefused)
            if not accepted and (refusals == MAX_REFUSALS or not (parts or is_invalid)):
                raise
            if is_invalid:
                part[0].error = str(error)
            else:
                part[0].postponed = str(error)
