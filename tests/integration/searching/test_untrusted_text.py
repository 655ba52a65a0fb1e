"""Text that looks like an address or a path is only text: nothing is fetched or opened."""

from __future__ import annotations

import builtins
import io
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.template import Context, Template
from PIL import Image

from clip_search.documents.binding import BoundDocument
from clip_search.models import IndexEntry
from tests.conftest import ROOT, picture_bytes, wait_until
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Product, ProductImage

from .actions import index, make

pytestmark = pytest.mark.django_db


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A server that lists connections and never answers: (its address, the list)."""
    came: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                try:
                    connected, _ = server.accept()
                except TimeoutError:
                    continue
                came.append("somebody")
                connected.close()

        thread = threading.Thread(target=listen)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", came
        over.set()
        thread.join()


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """The paths that Python code opens from now on."""
    paths: list[str] = []

    def noting(opens: Callable[..., Any]) -> Callable[..., Any]:
        def note(file: Any, *args: Any, **kwargs: Any) -> Any:
            paths.append(os.path.abspath(str(file)))  # noqa: PTH100 -- a link is not what is asked about
            return opens(file, *args, **kwargs)

        return note

    for module in (builtins, io, os):
        monkeypatch.setattr(module, "open", noting(module.open))
    return paths


@pytest.fixture
def bait(listener, opened, tmp_path) -> Iterator[list[str]]:
    """Texts that look like images elsewhere; nothing of them is opened or asked for."""
    address, came = listener
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture_bytes("red"))
    opened.clear()
    yield [
        f"{address}/secret.png",
        str(secret),
        secret.as_uri(),
        f"{address.removeprefix('http:')}/secret.png",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
        "../secret.png",
    ]
    assert (str(secret) in opened, came) == (False, [])


def look_everywhere(texts: list[str], document: BoundDocument, client: Any) -> None:
    """Search for each text from every entry point."""
    for text in texts:
        assert ProductDocument.search(text, everything=True).count()
        assert list(ProductDocument.search(text, everything=True)[:3])
        assert list(ProductDocument.search(text)) == []
        assert list(ProductDocument.search(text).closest)
        assert list(ProductDocument.similar_to(text).hits()) == []
        assert client.get("/api/v1/search", {"q": text}).json()["count"] == 0
        assert client.get("/api/v1/search", {"q": "mug", "category": text}).json()["count"] == 0
        assert client.get(f"/api/v1/products/{text}/similar").status_code in (404, 301)
        assert client.post("/api/v1/search", {"image_file": text}).status_code == 400
        assert client.get("/admin/shop/product/", {"q": text}).status_code == 200
        page = "{% load clip_search %}{% clip_search q document='product' as found %}{{ found|length }}"
        assert int(Template(page).render(Context({"q": text}))) == 0


def write_everywhere(texts: list[str], document: BoundDocument, client: Any) -> None:
    """Have each text indexed from every entry point, in every field that takes one."""
    for text in texts:
        fields = {"name": text, "description": text, "metadata": {"image": text, "image_file": text}}
        whole = {"product_id": text, **fields}
        answer = client.post("/api/v1/index-product", whole, content_type="application/json")
        expected = 400 if text.startswith("../") else 200  # no address can name such an id
        assert answer.status_code == expected, answer.content
        form = whole | {"metadata": text, "image_file": SimpleUploadedFile(text, picture_bytes("blue"))}
        assert client.post("/api/v1/index-product-with-image", form | {"product_id": "p"}).status_code == 202
        form = form | {"image_file": text}
        assert client.post("/api/v1/index-product-with-image", form).status_code == 400
        product = Product.objects.create(name=text, description=text, sku=text[:50])
        ProductImage.objects.create(product=product, original=text)  # a name in the storage
        index(document)
        entry = IndexEntry.objects.of(document).get(product_id=str(product.pk))
        assert "missing" in entry.error
        assert not IndexEntry.objects.of(document).filter(state=IndexEntry.State.PENDING).exists()


def test_no_request_leaves_and_no_file_is_read(shop, document, bait, admin_client):
    look_everywhere(bait, document, admin_client)
    write_everywhere(bait, document, admin_client)


@pytest.mark.model
def test_no_request_leaves_and_no_file_is_read_with_a_real_model(document, bait, admin_client, configured):
    pytest.importorskip("sentence_transformers")
    configured(
        ENCODER="clip_search.encoders.clip.ClipEncoder", MODEL=str(ROOT / "example_project" / "demo_model")
    )
    make(["red mug", "blue mug"])
    index(document)
    look_everywhere(bait, document, admin_client)
    write_everywhere(bait, document, admin_client)


def test_what_is_forbidden_would_be_seen(listener, opened, tmp_path):
    """The two tests above prove nothing otherwise."""
    path = tmp_path / "photo.png"
    path.write_bytes(picture_bytes("red"))
    ways: list[Callable[[Path], Any]] = [
        Path.read_bytes,
        lambda path: Image.open(path).close(),
        lambda path: FileSystemStorage(path.parent).open(path.name).close(),
        lambda path: os.close(os.open(path, os.O_RDONLY)),
    ]
    for look in ways:
        opened.clear()
        look(path)
        assert str(path) in opened
    address, came = listener
    host, port = address.removeprefix("http://").split(":")
    socket.create_connection((host, int(port))).close()
    assert wait_until(lambda: bool(came))
