"""`checked()` converts a payload to what JSON gives back, and refuses what a store cannot hold."""

from __future__ import annotations

import json
from decimal import Decimal
from enum import IntEnum

import pytest

from clip_search.exceptions import ProductError
from clip_search.indexing.reading import MAX_DEPTH, checked
from clip_search.types import Content


class Size(IntEnum):
    LARGE = 3


class Name(str):
    pass


def nested(levels, value="end"):
    for _ in range(levels):
        value = {"a": [value]} if levels < 5 else [value]
    return {"nested": value}


def payload_of(payload):
    return checked(Content(product_id="1", text="Red mug", payload=payload)).payload


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"a": "é", "b": 1, "c": -0.5, "d": True, "e": None, "f": ["x", 2], "g": {"h": [{"i": []}]}},
        {"a": 2**63, "b": -(2**80), "c": 1e300},
        {"a": (1, 2), "b": [(3,)]},
        {"a": Size.LARGE, "b": Name("x"), Name("c"): [Name("y")]},
        {1: "a", None: "b", False: "c"},
        nested(3),
        nested(MAX_DEPTH - 1),
    ],
)
def test_a_payload_is_what_json_gives_back(payload):
    found = payload_of(payload)

    assert found == json.loads(json.dumps(payload))
    assert repr(found) == repr(json.loads(json.dumps(payload)))  # also the types are those of JSON


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        [1.0, float("-inf")],
        {"a": [float("nan")]},
        10**400,
        -(10**400),
        Decimal(1),
        b"bytes",
        {1},
        "\ud800",
        ["x", {"y": "\udfff"}],
        {"\ud800": 1},
        nested(MAX_DEPTH),
        nested(5000),
    ],
)
def test_a_payload_that_no_store_can_hold_is_refused(value):
    with pytest.raises(ProductError):
        payload_of({"value": value})


def test_a_payload_that_contains_itself_is_refused():
    payload = {}
    payload["itself"] = payload
    with pytest.raises(ProductError):
        payload_of(payload)
