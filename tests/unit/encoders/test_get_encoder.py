"""A process has one encoder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from clip_search.encoders import get_encoder
from clip_search.encoders.clip import ClipEncoder

pytestmark = pytest.mark.model


def test_a_process_has_one_encoder_for_the_same_settings(make):
    make("plain")
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: id(get_encoder()), range(32)))

    assert found == {id(get_encoder())}
    assert isinstance(get_encoder(), ClipEncoder)


def test_other_settings_give_another_encoder(make, settings):
    make("plain")
    plain = get_encoder()
    make("legacy")

    assert get_encoder() is not plain
    settings.CLIP_SEARCH = {"ENCODER": "unittest.mock.Mock"}
    assert not isinstance(get_encoder(), ClipEncoder)
