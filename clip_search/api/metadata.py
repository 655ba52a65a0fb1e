"""Parses and checks the `metadata` that clients send: free text or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from ..stores.base import CLIP

MAX_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 20
"""The deepest nesting allowed: far below the limits of parsers, databases and Qdrant (100)."""
MAX_INTEGER: Final = 2**63 - 1


def parse(text: str) -> Any:
    """Parse `text` if it is a JSON object or array. Otherwise return the text itself."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return text


def _not_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def mistake(value: Any) -> str:
    """Return an error message if the metadata cannot be saved, or ""."""
    for depth, item in _walk(value):
        if depth > MAX_DEPTH:
            return f"The JSON is nested deeper than {MAX_DEPTH} levels. Send a flatter object."
        if fault := _mistake_of_item(item):
            return fault
    size = len(json.dumps(value, ensure_ascii=False).encode())
    if size > MAX_BYTES:
        return f"The JSON has {size} bytes, but only {MAX_BYTES} are allowed. Send less."
    return ""


def _walk(value: Any) -> Iterator[tuple[int, Any]]:
    """Yield (depth, item) for each nested value and key.

    This uses no recursion, because a client may send any depth.
    """
    waiting = [(0, value)]
    while waiting:
        depth, item = waiting.pop()
        yield depth, item
        if isinstance(item, dict):
            if CLIP in item:
                yield depth, _Reserved
            waiting += [(depth + 1, inner) for pair in item.items() for inner in pair]
        elif isinstance(item, list):
            waiting += [(depth + 1, inner) for inner in item]


class _Reserved:
    """A marker that `_walk()` yields for a key that clients may not use."""


def _mistake_of_item(item: Any) -> str:
    if item is _Reserved:
        return f"The key {CLIP!r} is reserved. Give it another name."
    if isinstance(item, str):
        return text_mistake(item)
    if isinstance(item, float) and not abs(item) < float("inf"):
        return "Infinity and NaN are not JSON. Send a finite number."
    if isinstance(item, int) and abs(item) > MAX_INTEGER:
        return "A whole number needs more than 64 bits. Send it as text."
    return ""


def text_mistake(text: str) -> str:
    """Return an error message if some databases cannot save this text, or ""."""
    if "\0" in text:
        return "The text contains a NUL character. Remove it."
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        return "The text contains half of a surrogate pair. Send whole characters."
    return ""
