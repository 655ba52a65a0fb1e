"""Read what products say now, and what the store has of them already."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from django.db import Error as DatabaseError

from ..documents import Document
from ..exceptions import ProductError
from ..models import IndexEntry, PostedProduct
from ..types import MODEL_SOURCE, POSTED_SOURCE, Content
from .items import Item
from .targets import Target

logger = logging.getLogger(__name__)

RESOLVED: Final = 250
"""Products that are looked for at once: of each the host may say, in Python, whether it qualifies."""
MAX_DEPTH: Final = 50
"""Levels of nesting in a payload. A Qdrant server refuses 128, and they break the embedded store for good."""


def whole_number(digits: str) -> int:
    """Read an integer. Raises OverflowError where a store could not hold it even as a float."""
    number = int(digits)
    float(number)
    return number


STRICT: Final = json.JSONEncoder(allow_nan=False, ensure_ascii=False)
WHOLE: Final = json.JSONDecoder(parse_int=whole_number)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a product was found to say, and the revision that its entry had before it was asked."""

    revision: int
    content: Content

    def holds_for(self, entry: IndexEntry) -> bool:
        """Say whether nobody has raised the claimed entry but once, to have just this indexed.

        Whoever posted the product raised it to have something else indexed.
        """
        return entry.source == MODEL_SOURCE and entry.claimed_revision == self.revision + 1


def items_of(
    goal: Target, entries: Sequence[IndexEntry], contents: Mapping[uuid.UUID, Content | str]
) -> list[Item]:
    """Put together what the entries' products say. The store is not asked for them yet: see `look_up`."""
    items = []
    for entry in entries:
        content = contents.get(entry.uuid)
        items.append(
            Item(
                entry=entry,
                content=content if isinstance(content, Content) else None,
                error=content if isinstance(content, str) else "",
                fingerprint=goal.encoder.fingerprint,
            )
        )
    return items


def look_up(goal: Target, items: Sequence[Item], *, vectors: bool = False) -> None:
    """Note what the store has of the items, `vectors` too if asked. Raises StoreUnavailable."""
    if not items:
        return
    ids = [item.id for item in items]
    points = {c.name: goal.store.get(c.name, ids, vectors=vectors) for c in goal.writable}
    for item in items:
        item.points = {name: found[item.id] for name, found in points.items() if item.id in found}
        item.looked_up = True


def read_contents(
    document: Document,
    entries: Iterable[IndexEntry],
    readings: Mapping[uuid.UUID, Reading],
    renew: Callable[[], None],
) -> dict[uuid.UUID, Content | str]:
    """Return each entry's content, or what is wrong with it as text; what is gone is missing.

    What was read before, and is still all that there is to say, is not read again. `renew` is called before
    each product, because the host's methods may take longer than a claim holds.
    """
    posted: list[IndexEntry] = []
    owned: list[IndexEntry] = []
    found: dict[uuid.UUID, Content | str] = {}
    for entry in entries:
        reading = readings.get(entry.uuid)
        if reading and reading.holds_for(entry):
            found[entry.uuid] = reading.content
        else:
            (posted if entry.source == POSTED_SOURCE else owned).append(entry)
    for start in range(0, len(owned), RESOLVED):
        some = owned[start : start + RESOLVED]
        renew()
        rows = document.resolve([entry.product_id for entry in some])
        for entry in some:
            renew()
            if entry.product_id in rows:
                found[entry.uuid] = content_or_fault(partial(content_of, document), rows[entry.product_id])
    if posted:
        keys = [entry.uuid for entry in posted]
        for product in PostedProduct.objects.of(document).filter(uuid__in=keys):
            found[product.uuid] = content_or_fault(product.content, document)
    return found


def content_of(document: Document, row: Any) -> Content:
    """Read a row that was found to qualify, unless it was found so because asking raised: then raise that."""
    document.qualifies(row)
    return document.content(row)


def content_or_fault(read_content: Callable[[Any], Content], argument: Any) -> Content | str:
    """Call it; what the host's own methods raise is the product's fault, in words, and stays with it."""
    try:
        return checked(read_content(argument))
    except DatabaseError:
        raise
    except ProductError as error:
        return str(error)
    except Exception as error:  # the host's code may raise anything
        logger.warning("Cannot read product error=%r", error, exc_info=True)
        return f"{type(error).__name__}: {error}"


def checked(content: Content) -> Content:
    """Return the content with its payload as plain JSON. Raises ProductError where a store would choke."""
    if not isinstance(content.text, str):
        raise ProductError(f"The text is {content.text!r}. Have `get_text` return a string.")
    try:
        content.text.encode()
        written = STRICT.encode(dict(content.payload))
        written.encode()
        payload = WHOLE.decode(written)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ProductError(f"The text or payload cannot be written as JSON: {error}.") from error
    if depth(payload) > MAX_DEPTH:
        raise ProductError(f"The payload is nested deeper than {MAX_DEPTH} levels. Make it flatter.")
    return replace(content, payload=payload)


def depth(value: Any) -> int:
    """Return how deep dicts and lists nest."""
    level, found = [value], -1
    while level:
        found += 1
        nested = (item.values() if isinstance(item, dict) else item for item in level if is_nest(item))
        level = [inner for items in nested for inner in items]
    return found


def is_nest(value: Any) -> bool:
    return isinstance(value, dict | list)
