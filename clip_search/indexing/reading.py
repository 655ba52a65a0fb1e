"""Read the content of products from the database, and their stored points from the store."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite
from typing import Any, Final

from django.db import Error as DatabaseError

from ..documents.binding import BoundDocument
from ..exceptions import ProductError, StoreRefused
from ..models import IndexEntry, PostedProduct
from ..models.paging import chunks
from ..types import POSTED_SOURCE, Content, Point
from .halving import in_halves
from .items import Item
from .targets import Target

logger = logging.getLogger(__name__)

ROWS_AT_ONCE: Final = 250
"""How many rows are read in one query. Claims are renewed between the queries."""
SAFE: Final = 2**63 - 1
"""Integers up to this one need no check: a float can be as large."""
MAX_DEPTH: Final = 50
"""The deepest nesting of a payload. A Qdrant server rejects 128 levels; they damage the embedded store."""


def whole_number(digits: str) -> int:
    """Return an integer read from JSON. Raises OverflowError if it is too large even for a float.

    A store cannot hold such a number.
    """
    number = int(digits)
    float(number)
    return number


STRICT: Final = json.JSONEncoder(allow_nan=False, ensure_ascii=False)
"""Raises ValueError for NaN and Infinity, which JSON does not have."""
WHOLE: Final = json.JSONDecoder(parse_int=whole_number)
"""Raises OverflowError for integers that a store cannot hold."""


def read_items(target: Target, entries: Sequence[IndexEntry], renew: Callable[[], None]) -> list[Item]:
    """Return an item for each entry, with the current content of its product. No stored point is read.

    `renew` is called before each product is read, because the shop's own methods may be slow: all of them
    together may take longer than a claim lasts.
    """
    with target.document.in_its_language():
        return _read_items(target, entries, renew)


def _read_items(target: Target, entries: Sequence[IndexEntry], renew: Callable[[], None]) -> list[Item]:
    """Return the items of `read_items()`, which has activated the document's language."""
    document = target.document
    found: dict[uuid.UUID, Content | str] = {}
    rows = [entry for entry in entries if entry.source != POSTED_SOURCE]
    for some in chunks(rows, ROWS_AT_ONCE):
        renew()
        by_id = document.find(document.rows(), [entry.product_id for entry in some])
        for entry in some:
            if entry.product_id in by_id:
                renew()
                found[entry.uuid] = read_content(document, by_id[entry.product_id])
    if posted := [entry.uuid for entry in entries if entry.source == POSTED_SOURCE]:
        found |= read_posted(document, PostedProduct.objects.of(document).filter(uuid__in=posted))
    items = []
    for entry in entries:
        content = found.get(entry.uuid)  # None if the product must be removed
        error, content = (content, None) if isinstance(content, str) else ("", content)
        items.append(target.item(entry, content, error))
    return items


def read_posted(document: BoundDocument, products: Iterable[PostedProduct]) -> dict[uuid.UUID, Content | str]:
    """Return the content of posted products by point id, or an error text for one that cannot be indexed."""
    posted = list(products)
    rows = document.qualifying([product.product_id for product in posted])
    found: dict[uuid.UUID, Content | str] = {}
    for product in posted:
        content = read_content(document, product)
        if not isinstance(content, str):
            content = replace(content, without_row=product.product_id not in rows)
        found[product.uuid] = content
    return found


def read_content(document: BoundDocument, source: Any) -> Content | str:
    """Return the content of a row or of a posted product, or an error text if it cannot be indexed.

    An exception of the shop's own methods does not stop the indexing of other products: it becomes the error
    text of this product. Raises only DatabaseError.
    """
    try:
        if isinstance(source, PostedProduct):
            return checked(source.content(document))
        if not document.rows_are_products:
            document.qualifies(source)  # raises the exception that `may_qualify()` has ignored
        return checked(document.content(source))
    except DatabaseError:
        raise
    except ProductError as error:
        return str(error)
    except Exception as error:  # the shop's own methods may raise anything
        logger.warning("Cannot read product error=%r", error, exc_info=True)
        return f"{type(error).__name__}: {error}"


def checked(content: Content) -> Content:
    """Return the content with its payload converted to plain JSON values.

    Raises ProductError if a store would refuse the text or the payload.
    """
    if not isinstance(content.text, str):
        raise ProductError(f"The text is {content.text!r}. Make `get_text()` return a string.")
    try:
        for text in (content.text, *(text for text, _ in content.searched), *content.codes):
            text.encode()
        if _is_plain(content.payload):
            return content
        written = STRICT.encode(dict(content.payload))
        written.encode()
        payload = WHOLE.decode(written)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ProductError(f"The text or the payload cannot be written as JSON: {error}.") from error
    if depth(payload) > MAX_DEPTH:
        raise ProductError(f"The payload is nested deeper than {MAX_DEPTH} levels. Remove some levels.")
    return replace(content, payload=payload)


def _is_plain(value: Any, levels: int = MAX_DEPTH) -> bool:
    """Return True if a value consists of plain JSON values, so that it need not be converted.

    Raises UnicodeEncodeError.
    """
    kind = type(value)
    if kind is str:
        value.encode()
        return True
    if kind is float:
        return isfinite(value)
    if kind is int:
        return bool(-SAFE <= value <= SAFE)
    if kind is dict and levels:
        return all(type(key) is str and _is_plain(key) for key in value) and all(
            _is_plain(item, levels - 1) for item in value.values()
        )
    if kind is list and levels:
        return all(_is_plain(item, levels - 1) for item in value)
    return kind is bool or value is None


def depth(value: Any) -> int:
    """Return how many levels of dicts and lists a value has, 0 for a string or number.

    A loop is used, because recursion would fail with a value that is nested very deep.
    """
    level, found = [value], -1
    while level:
        found += 1
        containers = (item for item in level if isinstance(item, dict | list))
        level = [
            inner
            for container in containers
            for inner in (container.values() if isinstance(container, dict) else container)
        ]
    return found


def read_points(target: Target, items: Sequence[Item], *, vectors: bool = False) -> None:
    """Read the items' stored points and set their `points`. Raises StoreUnavailable.

    Without `vectors`, only stamps and payloads are read. Items whose points cannot be read are postponed.
    """
    in_halves(items, lambda some: _read_points(target, some, partial(target.store.get, vectors=vectors)))


def read_consistent_points(target: Target, items: Sequence[Item]) -> str:
    """Like `read_points()`, but leave out points whose replicas disagree.

    If the store cannot compare the replicas, because a node is down, read one replica of each point, and
    return the reason; otherwise return "".
    """
    if not items:
        return ""
    try:
        _read_points(target, items, target.store.get_consistent)
    except StoreRefused as error:
        read_points(target, items)
        return str(error)
    return ""


def _read_points(
    target: Target,
    items: Sequence[Item],
    get: Callable[[str, Sequence[uuid.UUID]], Mapping[uuid.UUID, Point]],
) -> None:
    """Set the `points` of the items to what `get` returns for each writable collection."""
    ids = [item.entry.uuid for item in items]
    points = {collection.name: get(collection.name, ids) for collection in target.writable}
    for item in items:
        item.points = {
            name: found[item.entry.uuid] for name, found in points.items() if item.entry.uuid in found
        }
