"""Results in asynchronous code."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections

from tests.shops.shop.clip_documents import ProductDocument

from .actions import in_a_list

pytestmark = pytest.mark.django_db


def test_asynchronous_code_gets_the_same(shop):
    results = ProductDocument.search("a red mug", everything=True)[:24]

    async def gather() -> dict[str, Any]:
        return {
            "rows": await in_a_list(results),
            "count": await results.acount(),
            "exists": await results.aexists(),
            "first": await results.afirst(),
            "hits": await results.ahits(),
            "hits with rows": await results.ahits(with_rows=True),
        }

    same = ProductDocument.search("a red mug", everything=True)[:24]
    assert async_to_sync(gather)() == {
        "rows": list(same),
        "count": 24,
        "exists": True,
        "first": same[0],
        "hits": list(same.hits()),
        "hits with rows": list(same.hits(with_rows=True)),
    }


def test_asynchronous_code_finds_nothing(shop):
    results = ProductDocument.search("mug").filter(price__gt=1000)

    async def gather() -> list[Any]:
        found = await in_a_list(results), await results.acount(), await results.aexists()
        return [*found, await results.afirst(), await results.ahits()]

    assert async_to_sync(gather)() == [[], 0, False, None, []]


@pytest.mark.django_db(transaction=True)
def test_asynchronous_code_never_waits_in_the_event_loop(shop):
    """Django refuses a statement in a thread whose event loop is running."""
    results = ProductDocument.search("a red mug", everything=True).filter(in_stock=True)

    async def gather() -> list[Any]:
        try:
            found = await results.acount(), await results.aexists(), await results.afirst()
            return [*found, await results[:5].ahits(with_rows=True), await in_a_list(results[:5])]
        finally:
            await sync_to_async(connections.close_all)()

    same = list(ProductDocument.search("a red mug", everything=True)[:5])
    count, exists, first, hits, rows = asyncio.run(gather())
    assert (count, exists, first, rows) == (60, True, same[0], same)
    assert [hit.instance for hit in hits] == same
