"""A stamp is stored without what goes without saying, and read as it was."""

from __future__ import annotations

import pytest

from clip_search.types import ImageStamp, Stamp

BROKEN = ImageStamp(signature="b.jpg 10 1.5", hash="", error="no image")
FULL = Stamp(
    product_id="1",
    revision=2,
    source="posted",
    fingerprint="f",
    text_hash="t",
    words_hash="w",
    payload_hash="p",
    images=(ImageStamp(signature="a.jpg 10 1.5", hash="abc"), BROKEN),
    exact=("a-1",),
    invalid=("price",),
    truncated=True,
    without_row=True,
    removed=True,
)


@pytest.mark.parametrize("stamp", [FULL, Stamp(product_id="1", revision=2)])
def test_a_stamp_is_read_as_it_was_stored(stamp: Stamp) -> None:
    assert Stamp.from_payload(stamp.as_payload()) == stamp


def test_defaults_are_not_stored() -> None:
    assert Stamp(product_id="1", revision=0).as_payload() == {"product_id": "1", "revision": 0}
    assert FULL.as_payload()["images"] == [
        {"signature": "a.jpg 10 1.5", "hash": "abc"},
        {"signature": "b.jpg 10 1.5", "hash": "", "error": "no image"},
    ]
