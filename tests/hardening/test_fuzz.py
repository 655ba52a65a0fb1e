"""Requests that no schema would make, byte by byte through WSGI: whatever is sent, the answer is no 5xx."""

from __future__ import annotations

import base64
import io
import json
import random
import string
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.handlers.wsgi import get_path_info
from django.core.signals import got_request_exception, request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client
from django.urls import Resolver404, resolve

from clip_search import jobs, outbox
from clip_search.documents.registry import registry
from clip_search.testing import pause_indexing
from tests.conftest import picture_bytes
from tests.shops.shop.models import Product

pytestmark = pytest.mark.django_db

PICTURE = picture_bytes("red")
ENDPOINTS = {
    "index-product": "POST",
    "index-product-with-image": "POST",
    "index-jobs/{}": "GET",
    "products/{}": "DELETE",
    "products/{}/similar": "GET",
    "search": "GET",
    "search?": "POST",
    "suggest": "GET",
    "": "GET",
    "search/{}": "GET",
}
METHODS = ["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "get", "FOO", "P\tT"]
ODD = [
    "",
    "a",
    "é",
    "💡",
    "\0",
    "a\nb",
    "\r\n\r\nHTTP/1.1 200 OK",
    "%00",
    "..",
    "../../etc/passwd",
    "a/b//c",
    "'\"<>",
]
ODD += [
    "x" * 300,
    "-1",
    "1e999",
    "NaN",
    "null",
    "{}",
    "[]",
    "true",
    "\u202e",
    "\ud800".encode("utf-8", "replace").decode(),
]
ODD += [
    "11111111-2222-5333-8444-555555555555.1",
    "http://127.0.0.1:1/a.jpg",
    "{{7*7}}",
    "${jndi:x}",
    "' OR 1=1--",
]
NAMES = [
    "q",
    "page",
    "page_size",
    "facets",
    "order_by",
    "everything",
    "price__ranges",
    "released__period",
    "format",
    "category",
    "price__lte",
    "tag__in",
    "released__gt",
    "min_score",
]
FIELDS = ["product_id", "name", "description", "metadata", "image_file", "csrfmiddlewaretoken", "_method", ""]
CHARSETS = ["utf-8", "latin-1", "utf-7", "utf-16", "cp037", "nonsense", "", '"']
# Not what decodes no text, such as "bz2" or "undefined": Django itself fails there, before any view.
TYPES = [
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=B",
    "multipart/form-data",
]
TYPES += [
    "multipart/mixed; boundary=B",
    "text/plain",
    "text/xml",
    "",
    "/",
    "a/b/c",
    "application/json;;;",
    "*/*",
]
TYPES += ["multipart/form-data; boundary=" + "B" * 300, "multipart/form-data; boundary=\xff", "image/png"]
HEADERS: dict[str, list[str]] = {
    "HTTP_ACCEPT": [
        "*/*",
        "text/html",
        "application/xml",
        "a",
        ";q=",
        "application/json; indent=99999999",
        "*" * 999,
    ],
    "HTTP_X_FORWARDED_FOR": ["1.2.3.4", "\x7f" * 400, "a, b, c"],
    "HTTP_X_HTTP_METHOD_OVERRIDE": ["DELETE", "\xff"],
    "HTTP_CONTENT_ENCODING": ["gzip", "br"],
    "HTTP_ACCEPT_LANGUAGE": ["fr", "x" * 5000, "en;q=\xff"],
    "HTTP_COOKIE": ["sessionid=\xff", "sessionid=" + "a" * 5000, "a=b; ;;=", 'csrftoken="\\777"'],
    "HTTP_RANGE": ["bytes=0-1", "x"],
    "HTTP_REFERER": ["http://testserver/", "\xff"],
    "HTTP_IF_NONE_MATCH": ["*", '"'],
}
AUTHORIZATIONS = [
    "Basic",
    "Basic \xff",
    "Basic a b c",
    "Basic !!!!",
    "Bearer x",
    "",
    "Basic " + "A" * 9000,
    "Basic OjA6",
]
AUTHORIZATIONS += [
    "Basic " + base64.b64encode(text).decode() for text in (b"\xff\xfe:\xff", b"staff:\0", b"nocolon")
]
STAFF = "Basic c3RhZmY6c2VjcmV0"


class Fuzzer:
    """Makes requests as WSGI environments; the same ones for the same seed."""

    def __init__(self, seed: int, cookies: str, token: str) -> None:
        self.chance = random.Random(seed)
        self.session = {"HTTP_COOKIE": cookies, "HTTP_X_CSRFTOKEN": token}

    def request(self) -> dict[str, Any]:
        """Return one request: something valid at heart, with a few things wrong with it."""
        kind, body = self.body()
        path, method = self.one_of(list(ENDPOINTS.items()))
        path = path.rstrip("?").format(self.text())
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.one_of(METHODS) if self.rarely(5) else method,
            "PATH_INFO": f"/api/v1/{path}".encode().decode("latin-1"),
            "QUERY_STRING": self.query(),
            "CONTENT_TYPE": kind,
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SCRIPT_NAME": "",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        environ |= self.session if self.rarely(3) else {"HTTP_AUTHORIZATION": STAFF}
        self.spoil(environ)
        return environ

    def spoil(self, environ: dict[str, Any]) -> None:
        for header, values in HEADERS.items():
            if self.rarely(12):
                environ[header] = self.one_of(values)
        if self.rarely(10):
            environ["HTTP_AUTHORIZATION"] = self.one_of(AUTHORIZATIONS)
        if self.rarely(8):
            environ["CONTENT_LENGTH"] = self.one_of(["", "-1", "x", "0", "99999999999", "1.5", "7", "\xb2"])
        if self.rarely(6):
            environ["CONTENT_TYPE"] += f"; charset={self.one_of(CHARSETS)}"
        if self.rarely(6):
            environ["CONTENT_TYPE"] = self.one_of(TYPES)
        if self.rarely(20):
            environ["PATH_INFO"] += self.bytes(9).decode("latin-1")

    def body(self) -> tuple[str, bytes]:
        kind = self.one_of(["json", "form", "multipart", "multipart", "multipart", "bytes"])
        if kind == "json":
            fields = {name: self.value() for name in self.some(FIELDS)}
            return "application/json", self.mutated(json.dumps(fields).encode())
        if kind == "form":
            return "application/x-www-form-urlencoded", self.mutated(self.query().encode("latin-1"))
        if kind == "bytes":
            return self.one_of(TYPES), self.bytes(2000)
        return "multipart/form-data; boundary=B", self.mutated(b"".join(self.parts()) + b"--B--\r\n")

    def parts(self) -> Iterator[bytes]:
        names = ["product_id", "name", "image_file", *(self.some(FIELDS) if self.rarely(2) else ())]
        for name in names * (400 if self.rarely(60) else 1):
            yield b'--B\r\nContent-Disposition: form-data; name="' + name.encode() + b'"'
            if name == "image_file" or self.rarely(8):
                yield b"; " + self.one_of(["filename", "filename*", "Filename"]).encode()
                yield b'="' + self.text().encode() + b'"\r\nContent-Type: ' + self.one_of(TYPES).encode()
            if self.rarely(12):
                encoding = self.one_of(["base64", "quoted-printable", "7bit", "x"])
                yield b"\r\nContent-Transfer-Encoding: " + encoding.encode()
            text = "Red mug" if self.chance.randrange(3) else self.text()
            yield b"\r\n\r\n" + (self.picture() if name == "image_file" else text.encode()) + b"\r\n"

    def picture(self) -> bytes:
        return self.one_of([PICTURE, PICTURE, self.mutated(PICTURE), b"", self.bytes(300)])

    def query(self) -> str:
        pairs = [f"{name}={self.text()}" for name in self.some([*NAMES, *FIELDS])]
        return self.one_of(["&", "&", ";", "&&"]).join(pairs).encode().decode("latin-1")

    def value(self) -> Any:
        return self.one_of(
            [self.text(), 1, -1.5, None, True, [], {}, [self.text()], {"_clip": 1}, 2**70, [[[[]]]]]
        )

    def text(self) -> str:
        return self.one_of([self.one_of(ODD), "Red mug", "".join(self.chance.choices(string.printable, k=9))])

    def mutated(self, data: bytes) -> bytes:
        """Change nothing, a few bytes, or cut or repeat a piece."""
        if not data or self.rarely(2):
            return data
        changed = bytearray(data)
        for _ in range(self.chance.randrange(4)):
            changed[self.chance.randrange(len(changed))] = self.chance.randrange(256)
        start = self.chance.randrange(len(changed))
        end = start + self.chance.randrange(60)
        return bytes(
            self.one_of(
                [changed, changed[:start], changed[:end] + changed[start:], changed[:start] + changed[end:]]
            )
        )

    def bytes(self, most: int) -> bytes:
        return self.chance.randbytes(self.chance.randrange(most))

    def rarely(self, times: int) -> bool:
        return self.chance.randrange(times) == 0

    def one_of(self, values: Any) -> Any:
        return self.chance.choice(values)

    def some(self, values: list[str]) -> list[str]:
        return self.chance.choices(values, k=self.chance.randrange(5))


def reaches_us(environ: dict[str, Any]) -> bool:
    """Return whether a request comes to an endpoint. Other addresses get a page of Django's."""
    try:
        return resolve(get_path_info(environ)).app_names == ["clip_search"]
    except Resolver404:
        return False


def answered(application: Callable[..., Any], environ: dict[str, Any]) -> tuple[int, bytes]:
    """Send a request. Returns the status and the body of the answer."""
    lines: list[str] = []
    answer = application(environ, lambda status, headers: lines.append(status))
    text = b"".join(answer)
    answer.close()
    return int(lines[0][:3]), text


@pytest.fixture
def send(uncounted_staff) -> Iterator[Callable[[int, int], Counter[int]]]:
    """Return a function that sends so many requests of a seed, and counts the answers by status."""
    client = Client()
    client.force_login(uncounted_staff)
    token = "a" * 32
    cookies = f"sessionid={client.cookies['sessionid'].value}; csrftoken={token}"
    with pause_indexing():
        Product.objects.create(name="Red mug", sku="M1")
    document = registry.get("product")
    outbox.schedule(document, document.product_ids(Product.objects.all()), wake=False)
    jobs.index_due("product")
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    application = get_wsgi_application()

    raised: list[str] = []

    def note(**facts: Any) -> None:
        raised.append(traceback.format_exc())

    got_request_exception.connect(note)

    def send(seed: int, count: int) -> Counter[int]:
        fuzzer, statuses = Fuzzer(seed, cookies, token), Counter()
        for number in range(count):
            environ = next(filter(reaches_us, iter(fuzzer.request, None)))
            status, text = answered(application, environ)
            facts = [number, environ, environ["wsgi.input"].getvalue(), text[:2000], *raised]
            assert status < 500, "\n".join(map(str, facts))
            statuses[status] += 1
        return statuses

    yield send
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def test_six_hundred_requests(send):
    statuses = send(2, 600)
    assert {200, 202, 400, 401, 404, 405, 415} <= statuses.keys(), statuses


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 6))
def test_ten_thousand_requests(send, seed):
    statuses = send(seed, 2_500)
    assert {200, 202, 204, 400, 401, 404, 405, 415} <= statuses.keys(), statuses
