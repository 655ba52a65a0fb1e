"""Count the functions that a request walks through: `python -m tests.benchmarks.steps [--list]`.

For a search by words, a save of a new price (indexed in the process that saves) and a POST of a product:
how many distinct functions of clip_search are entered, in how many files, how often control moves from
one file to another, and how deep the calls nest. Each is done once to warm up and counted the second
time, on the embedded store with the demo's CLIP model. Comprehensions and lambdas are not counted; other
threads are.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = str(ROOT / "clip_search") + os.sep


@dataclass
class Steps:
    """The functions that were entered while one request was served."""

    functions: dict[CodeType, int] = field(default_factory=dict)
    """How often each was entered."""
    moves: int = 0
    deepest: int = 0

    @property
    def files(self) -> set[str]:
        return {code.co_filename for code in self.functions}


@contextmanager
def counted() -> Iterator[Steps]:
    """Count what this thread, and those that it starts, enter."""
    steps, lock = Steps(), threading.Lock()
    local = threading.local()

    def profile(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE) or code.co_name.startswith("<"):
            return
        stack: list[str] = local.__dict__.setdefault("stack", [])
        if event == "return" and stack:
            stack.pop()
        if event != "call":
            return
        with lock:
            steps.functions[code] = steps.functions.get(code, 0) + 1
            steps.moves += bool(stack) and stack[-1] != code.co_filename
            stack.append(code.co_filename)
            steps.deepest = max(steps.deepest, len(stack))

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield steps
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


FILLERS = ("the", "a", "some")
"""Words that carry no meaning: they make each query new, so that the model embeds it."""


def set_up(folder: str) -> None:
    """Set up Django with the embedded store, the demo's model and no queue."""
    os.environ["CLIP_SEARCH_TEST_DATA"] = folder
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django
    from django.conf import settings
    from django.core.management import call_command

    settings.DEBUG = False
    settings.MEDIA_ROOT = f"{folder}/media"
    settings.CLIP_SEARCH = {
        "QDRANT": {"path": f"{folder}/qdrant"},
        "MODEL": str(ROOT / "example_project" / "demo_model"),
        "API_DOCUMENT": "product",
        "API_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
        "QUEUE": None,
    }
    django.setup()
    call_command("migrate", verbosity=0)


def ways() -> Iterator[tuple[str, Callable[[int], None]]]:
    """Yield what is counted: a name, and what does it when called with another number each time."""
    from django.test import Client

    from tests.shops.shop.clip_documents import ProductDocument
    from tests.shops.shop.models import Category, Product, ProductImage

    category = Category.objects.create(name="Kitchen", slug="kitchen")
    products = [Product(name=f"red mug {n}", sku=f"M-{n}", price=n, category=category) for n in range(30)]
    Product.objects.bulk_create(products)
    ProductImage.objects.create(product=products[0], original=photo())
    ProductDocument.reindex(Product.objects.all())
    client = Client()

    def search(number: int) -> None:
        found = list(ProductDocument.search(f"{FILLERS[number]} red mug", filters={"price__lte": 90})[:24])
        if len(found) != 24:
            raise AssertionError("The page is not full.")

    product = Product.objects.get(sku="M-0")

    def save(number: int) -> None:
        product.price = 100 + number
        product.save()

    def post(number: int) -> None:
        body = {"product_id": "P-1", "name": f"green cup {number}", "description": "holds tea"}
        response = client.post("/api/v1/index-product", body, content_type="application/json")
        if response.status_code != 200:
            raise AssertionError(response.content)

    yield "search by words, a page of 24", search
    yield "save of a new price, indexed inline", save
    yield "POST of a product, answered once searchable", post


def photo() -> Any:
    from django.core.files.base import ContentFile

    from tests.conftest import picture_bytes

    return ContentFile(picture_bytes("red"), name="red.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="print each function and its calls")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        set_up(folder)
        print(f"{'':46} functions  files  moves  depth")
        for name, way in ways():
            way(1)
            with counted() as steps:
                way(2)
            print(
                f"{name:46} {len(steps.functions):9} {len(steps.files):6} {steps.moves:6} {steps.deepest:6}"
            )
            if options.list:
                for code, times in sorted(steps.functions.items(), key=lambda item: where(item[0])):
                    print(f"    {where(code)[0]}:{code.co_firstlineno} {code.co_qualname} × {times}")
        from clip_search.stores import get_store

        get_store().close()  # or it is still open when its folder goes


def where(code: CodeType) -> tuple[str, int]:
    return code.co_filename.removeprefix(PACKAGE), code.co_firstlineno


if __name__ == "__main__":
    main()
