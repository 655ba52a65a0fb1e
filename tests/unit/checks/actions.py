"""What the tests of the checks use."""

from __future__ import annotations

GOOD = {
    "QDRANT": {"url": "http://localhost:6333"},
    "INSTALLATION": "production",
    "API_DOCUMENT": "product",
    "QUEUE": None,
}


def ids(messages) -> list[str]:
    assert all(message.hint for message in messages)
    return [message.id.removeprefix("clip_search.") for message in messages]
