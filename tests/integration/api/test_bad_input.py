"""Bad input is a 400 that names the field."""

from __future__ import annotations

import gzip
import json
import struct
import zlib

import pytest

from clip_search import posting
from clip_search.api import views
from clip_search.exceptions import ProductError
from clip_search.models import PostedProduct
from tests.conftest import picture_bytes

from .actions import ASYNC, FIELDS, SEARCH, SYNC, broken, post_image

pytestmark = pytest.mark.django_db


def huge_png(side: int = 15_000) -> bytes:
    """Return a PNG of 225 million pixels, in 30 kB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side + 7) // 8 + 1) * side, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"product_id": ""}, "product_id"),
        ({"product_id": None}, "product_id"),
        ({"product_id": "x" * 256}, "product_id"),
        ({"product_id": "a\nb"}, "product_id"),
        ({"product_id": "a\x00b"}, "product_id"),
        ({"product_id": "a\u200bb"}, "product_id"),
        ({"product_id": "\ud800"}, "product_id"),
        ({"product_id": " a"}, "product_id"),
        ({"product_id": "."}, "product_id"),
        ({"product_id": ".."}, "product_id"),
        ({"product_id": "../x"}, "product_id"),
        ({"product_id": "a/./b"}, "product_id"),
        ({"product_id": "a/.."}, "product_id"),
        ({"product_id": ["a"]}, "product_id"),
        ({"product_id": True}, "product_id"),
        ({"name": ""}, "name"),
        ({"name": " \t "}, "name"),
        ({"name": "<b></b>"}, "name"),
        ({"name": "x" * 1001}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"description": "x" * 100_001}, "description"),
        ({"description": "<a" * 900}, "description"),
        ({"metadata": "x" * 1_000_000}, "metadata"),
        ({"metadata": {"a": "x" * 1_000_000}}, "metadata"),
        ({"metadata": {"_clip": 1}}, "metadata"),
        ({"metadata": {"a": [{"_clip": {}}]}}, "metadata"),
        ({"metadata": '{"_clip": 1}'}, "metadata"),
        ({"metadata": "a\x00"}, "metadata"),
        ({"metadata": {"a": "\x00"}}, "metadata"),
        ({"metadata": {"a\x00": 1}}, "metadata"),
        ({"metadata": ["\udfff"]}, "metadata"),
        ({"metadata": "\udfff"}, "metadata"),
        ({"metadata": {"a": 2**64}}, "metadata"),
        ({"metadata": {"price": "dear"}}, "metadata"),
        ({"metadata": {"price": ["1", "dear"]}}, "metadata"),
        ({"metadata": {"price": True}}, "metadata"),
        ({"metadata": {"in_stock": "perhaps"}}, "metadata"),
        ({"metadata": {"released": "soon"}}, "metadata"),
        ({"metadata": {"released": "9999-12-31T23:59:59-23:59"}}, "metadata"),
    ],
)
def test_json_is_refused_by_the_name_of_the_field(client, fields, field):
    body = json.dumps({k: v for k, v in (FIELDS | fields).items() if v is not None})
    answer = client.post(SYNC, body, content_type="application/json")
    assert answer.status_code == 400
    assert list(answer.json()) == [field]
    assert len(answer.content) < 1000
    assert not PostedProduct.objects.exists()


@pytest.mark.parametrize("product_id", ["", ".", "..", "../x", "a/..", " a", "a\nb", "x" * 256])
def test_python_code_cannot_post_what_http_refuses(product_id):
    with pytest.raises(ProductError, match="product_id: The id "):
        posting.post_product(product_id, name="Mug")
    assert not PostedProduct.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"\xff\xfe{}",
        b'{"name": "\xff"}',
        b'{"metadata": NaN}',
        b'{"metadata": 1e999, "name": "a", "product_id": "a"}',
        b'{"metadata": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"metadata": ' + b"[" * 500 + b"]" * 500 + b', "name": "a", "product_id": "a"}',
        b"{" + b" " * 3_000_000 + b"}",
    ],
)
def test_malformed_json_is_400(client, body):
    answer = client.post(SYNC, body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"product_id=a&name=%FF"),
        ("application/x-www-form-urlencoded", b"product_id=a&name=\xff"),
        (
            "multipart/form-data; boundary=B",
            b'--B\r\nContent-Disposition: form-data; name="name"\r\n\r\n\xff\r\n--B--\r\n',
        ),
    ],
)
def test_forms_that_are_not_utf8_are_refused_by_the_name_of_the_field(client, content_type, body):
    answer = client.post(SYNC, body, content_type=content_type)
    assert answer.status_code == 400
    assert "UTF-8" in answer.json()["name"][0]


def test_forms_in_utf8_arrive_as_they_are(client):
    body = "product_id=%C3%A4&name=gr%C3%BCne+Tasse&description=café".encode()
    assert client.post(SYNC, body, content_type="application/x-www-form-urlencoded").status_code == 200
    client.post(SYNC, FIELDS | {"product_id": "ß", "description": "thé 💡"})
    assert {(p.product_id, p.description) for p in PostedProduct.objects.all()} == {
        ("ä", "café"),
        ("ß", "thé 💡"),
    }


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json; charset=bz2_codec", b"{}"),
        ("application/json; charset=utf-7", b"{}"),
        ("application/json; charset=nonsense", b"{}"),
        ("application/x-www-form-urlencoded; charset=latin-1", b"name=\xff"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=\xff", b"x"),
        ("multipart/form-data; boundary=B", b"x"),
        ("multipart/form-data; boundary=B", b'--B\r\nContent-Disposition: form-data; name="name"'),
        (
            "multipart/form-data; boundary=B",
            b'--B\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n'
            b"Content-Transfer-Encoding: base64\r\n\r\n!\r\n--B--\r\n",
        ),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % n for n in range(2000))),
    ],
)
@pytest.mark.parametrize("url", [SYNC, ASYNC])
def test_odd_bodies_are_400(client, url, content_type, body):
    answer = client.generic("POST", url, body, content_type=content_type)
    assert answer.status_code == 400
    assert answer.json()


def test_charset_of_a_query_changes_nothing(client):
    client.post(SYNC, FIELDS)
    url, odd = f"{SEARCH}?q=%6D%75%67", "text/plain; charset=utf-16"
    assert client.generic("GET", url, b"x", content_type=odd).json() == client.get(url).json()


def test_unknown_content_type_is_415(client):
    assert client.post(SYNC, b"<a/>", content_type="text/xml").status_code == 415


def test_client_that_hangs_up_gets_a_400(client, monkeypatch):
    monkeypatch.setattr("django.core.handlers.wsgi.LimitedStream.read", broken(OSError("gone")))
    monkeypatch.setattr("django.test.client.FakePayload.read", broken(OSError("gone")))
    assert client.post(SYNC, b"{}", content_type="application/json").status_code == 400


@pytest.mark.parametrize("length", ["x", "-1", "", None])
def test_odd_content_length_is_400(client, length):
    answer = client.post(SYNC, b"{}", content_type="application/json", CONTENT_LENGTH=length)
    assert answer.status_code == 400


@pytest.mark.parametrize("url", [SYNC, ASYNC, SEARCH])
@pytest.mark.parametrize("coding", ["gzip", "br", "identity, GZIP", "x" * 5000])
def test_a_compressed_body_is_415(client, url, coding):
    body, kind = gzip.compress(json.dumps(FIELDS).encode()), "application/json"
    answer = client.post(url, body, content_type=kind, headers={"content-encoding": coding})
    assert answer.status_code == 415
    assert "without compression" in answer.json()["detail"]
    assert len(answer.content) < 300


def test_a_body_that_is_not_compressed_may_say_so(client):
    for coding in ("identity", "Identity", ""):
        assert client.post(SYNC, FIELDS, headers={"content-encoding": coding}).status_code == 200
    assert client.get(SEARCH, {"q": "mug"}, headers={"content-encoding": "gzip"}).status_code == 200


@pytest.mark.parametrize("url", [SYNC, ASYNC, SEARCH])
@pytest.mark.parametrize("length", ["", None])
def test_a_chunked_body_is_411(client, url, length):
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": length}
    answer = client.post(url, FIELDS, **chunked)
    assert answer.status_code == 411
    assert "Content-Length" in answer.json()["detail"]


def test_a_chunked_body_whose_length_the_server_has_counted_is_read(client):
    assert client.post(SYNC, FIELDS, HTTP_TRANSFER_ENCODING="chunked").status_code == 200


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "mug.jpg"),
        (b"I am no picture.", "mug.jpg"),
        (picture_bytes(fmt="JPEG")[:20], "mug.jpg"),
        (picture_bytes(size=1), "mug.png"),
        (huge_png(), "mug.png"),
        (b"%PDF-1.4", "mug.png"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "mug.svg"),
        (picture_bytes(fmt="BMP"), "mug.jpg"),
    ],
)
def test_bad_images_are_refused_by_name(client, woken, media, data, name):
    answer = post_image(client, data, name)
    assert answer.status_code == 400
    assert list(answer.json()) == ["image_file"]
    assert not media.exists() or not list(media.rglob("*.*"))
    assert not PostedProduct.objects.exists()


@pytest.mark.parametrize("value", [None, "text"])
def test_no_file_is_refused_by_name(client, value):
    answer = client.post(ASYNC, FIELDS | ({"image_file": value} if value else {}))
    assert (answer.status_code, list(answer.json())) == (400, ["image_file"])
    answer = client.post(ASYNC, json.dumps(FIELDS), content_type="application/json")
    assert "multipart/form-data" in answer.json()["image_file"][0]


def test_file_over_the_limit_is_refused_by_name_and_setting(client, clip_search):
    clip_search(MAX_IMAGE_BYTES=50)
    answer = post_image(client)
    assert answer.status_code == 400
    assert "MAX_IMAGE_BYTES" in answer.json()["image_file"][0]


def test_body_over_the_limit_is_refused_before_it_is_read(client, clip_search, monkeypatch):
    clip_search(MAX_IMAGE_BYTES=1000)
    monkeypatch.setattr("rest_framework.parsers.MultiPartParser.parse", broken(AssertionError("read")))
    answer = post_image(client, bytes(views.MAX_TEXT_BODY + 1000))
    assert answer.status_code == 400
    assert "MAX_IMAGE_BYTES" in answer.json()["image_file"][0]


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_only_forms_with_files_may_be_as_large_as_an_image(client, content_type):
    body = b'{"metadata": [' + b"[]," * 900_000 + b"1]}"
    answer = client.post(ASYNC, body, content_type=content_type)
    assert answer.status_code == 400
    assert str(views.MAX_TEXT_BODY) in answer.json()["detail"]


def test_django_s_own_limit_is_400(client, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    for body in (json.dumps(FIELDS | {"description": "x" * 2000}), FIELDS | {"description": "x" * 2000}):
        kind = {"content_type": "application/json"} if isinstance(body, str) else {}
        answer = client.post(SYNC, body, **kind)
        assert answer.status_code == 400
        assert "DATA_UPLOAD_MAX_MEMORY_SIZE" in answer.json()["detail"]


def test_no_temporary_file_is_left(client, woken, uploads):
    assert post_image(client).status_code == 202
    assert post_image(client, b"no picture").status_code == 400
    half = b'--B\r\nContent-Disposition: form-data; name="image_file"; filename="f"\r\n'
    half += b"Content-Transfer-Encoding: base64\r\n\r\nAAAA!\r\n--B--\r\n"
    answer = client.generic("POST", ASYNC, half, content_type="multipart/form-data; boundary=B")
    assert answer.status_code == 400
    assert list(uploads.iterdir()) == []
