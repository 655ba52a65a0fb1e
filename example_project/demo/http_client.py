"""A small HTTP client that keeps cookies and submits the forms of a page, as a browser does."""

from __future__ import annotations

import base64
import json
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode

TIMEOUT_SECONDS = 60.0
JPEG = "image/jpeg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A response. `url` is the address after redirects."""

    status: int
    url: str
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Return the body as JSON. Raise ValueError if it is not JSON."""
        return json.loads(self.body)


class HttpClient:
    """A client of one server. With `user` and `password` it sends basic authentication."""

    def __init__(self, base: str, user: str = "", password: str = "") -> None:
        self.base = base
        # The server is on this machine: ignore the proxies that the environment names.
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar())]
        self._opener = urllib.request.build_opener(*handlers)
        self._headers = {"Accept": "application/json, text/html"}
        if user:
            credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {credentials}"

    def get(self, path: str, **query: str) -> Response:
        return self._request("GET", f"{path}?{urlencode(query)}" if query else path)

    def post(
        self, path: str, fields: Mapping[str, str], files: Mapping[str, bytes] | None = None
    ) -> Response:
        """Post form data. `files` maps the names of fields to JPEG files."""
        boundary = uuid.uuid4().hex
        body = multipart(fields, files or {}, boundary)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Referer": self.base + path}
        return self._request("POST", path, body, headers)

    def delete(self, path: str) -> Response:
        return self._request("DELETE", path)

    def submit(
        self, path: str, form_id: str, changes: Mapping[str, str], files: Mapping[str, bytes] | None = None
    ) -> Response:
        """Open a page, change fields of a form and submit it. `form_id` is "" for a form without an id."""
        page = self.get(path)
        form = FormParser(form_id)
        form.feed(page.text)
        return self.post(path, form.fields | dict(changes), files)

    def _request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        url = self.base + quote(path, safe="/?&=%+")
        request = urllib.request.Request(  # noqa: S310  the URL is that of our own server
            url, data=body, method=method, headers=self._headers | dict(headers or {})
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                return Response(status=response.status, url=response.url, body=response.read())
        except HTTPError as error:
            return Response(status=error.code, url=url, body=error.read())


def multipart(fields: Mapping[str, str], files: Mapping[str, bytes], boundary: str) -> bytes:
    """Return the fields and files encoded as multipart/form-data."""
    lines: list[bytes] = []
    for name, value in fields.items():
        lines += [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n'.encode()]
        lines += [value.encode()]
    for name, content in files.items():
        disposition = f'Content-Disposition: form-data; name="{name}"; filename="{name}.jpg"'
        lines += [f"--{boundary}\r\n{disposition}\r\nContent-Type: {JPEG}\r\n".encode(), content]
    return b"\r\n".join([*lines, f"--{boundary}--\r\n".encode()])


class FormParser(HTMLParser):
    """Collects the fields that a browser would send if one form of a page were submitted unchanged."""

    def __init__(self, form_id: str) -> None:
        super().__init__()
        self.form_id = form_id
        self.fields: dict[str, str] = {}
        self._inside = False
        self._select = ""
        self._textarea = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = values.get("id", "") == self.form_id
        elif not self._inside:
            return
        elif tag == "input":
            self._input(values)
        elif tag == "textarea":
            self._textarea = values.get("name", "")
            self.fields[self._textarea] = ""
        elif tag == "select":
            self._select = values.get("name", "")
        elif tag == "option" and self._select and "selected" in values:
            self.fields[self._select] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False
        elif tag == "textarea":
            self._textarea = ""
        elif tag == "select":
            self._select = ""

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self.fields[self._textarea] += data

    def _input(self, values: Mapping[str, str]) -> None:
        kind, name = values.get("type", "text"), values.get("name", "")
        if kind in {"checkbox", "radio"} and "checked" not in values:
            return
        if name and kind not in {"file", "submit", "button", "image", "reset"}:
            self.fields[name] = values.get("value", "on" if kind == "checkbox" else "")
