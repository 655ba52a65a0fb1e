"""Reading files: their bytes, and damaged ones."""

from __future__ import annotations

import hashlib
import io
import random

import pytest

from clip_search import images
from clip_search.exceptions import BadImage


def test_reads_all_bytes():
    data = random.Random(1).randbytes(3_000_000)

    assert images.read(io.BytesIO(data)) == data


def test_reads_from_a_source_that_gives_little_at_a_time():
    class Trickle(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 7))

    assert images.read(Trickle(b"0123456789" * 5)) == b"0123456789" * 5


def test_an_empty_file_is_a_bad_image():
    with pytest.raises(BadImage, match="empty"):
        images.read(io.BytesIO())


def test_a_missing_file_is_a_bad_image_that_does_not_tell_the_servers_folders():
    class Missing(io.BytesIO):
        def read(self, size=-1):
            raise FileNotFoundError(2, "No such file", "/srv/secret/media/mug.jpg")

    with pytest.raises(BadImage, match=r"missing: mug\.jpg"):
        images.read(Missing())


def test_another_error_of_the_storage_is_left_to_the_caller():
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        images.read(Broken())


def test_no_more_is_read_than_the_limit(clip_settings):
    clip_settings["MAX_IMAGE_BYTES"] = 100
    source = io.BytesIO(bytes(10_000))

    with pytest.raises(BadImage, match=r'CLIP_SEARCH\["MAX_IMAGE_BYTES"\], 100 bytes'):
        images.read(source)
    assert source.tell() == 101
    assert len(images.read(io.BytesIO(bytes(100)))) == 100


def test_the_hash_is_of_the_content():
    assert images.content_hash(b"a") == hashlib.sha256(b"a").hexdigest()[:32]
    assert images.content_hash(b"a") != images.content_hash(b"b")
