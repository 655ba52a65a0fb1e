"""What tests of the commands do, and what they read back."""

from __future__ import annotations

import io

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command

from clip_search.documents.registry import registry
from clip_search.encoders import get_encoder
from clip_search.models import Collection, IndexEntry
from clip_search.stores import get_store
from clip_search.testing import pause_indexing, reset
from tests.conftest import picture_bytes
from tests.shops.shop.models import Product, ProductImage

DOCUMENT = registry.get("product")
State = IndexEntry.State
DYING = """
import itertools, os, signal, django
django.setup()
from django.core.management import call_command
from clip_search import parallel
from clip_search.documents.registry import registry
from clip_search.indexing import collections, rebuilding
from clip_search.stores.embedded import store
def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
class Dying:
    atomic = staticmethod(die)
    @staticmethod
    def rmtree(path, **options):
        if path.exists():
            die()
{patch}
{work}
"""
"""A program whose `patch` lets it be killed at some point of its `work`."""


def run(command: str, *arguments: str) -> str:
    """Return what a command says; what is wrong is said to stderr."""
    output = io.StringIO()
    call_command(command, *(arguments or ("product",)), stdout=output, stderr=output)
    return output.getvalue()


def complain(command: str, *arguments: str) -> str:
    """Return what a command says that exits with an error, the error last."""
    output = io.StringIO()
    with pytest.raises(CommandError) as error:
        call_command(command, *(arguments or ("product",)), stdout=output, stderr=output)
    return f"{output.getvalue()}{error.value}"


def run_and_die(start_process, settings, work: str, patch: str, *, timeout: float = 120) -> None:
    """Start work in a process that is killed at some point of it, and wait for its end."""
    process = start_process("-c", DYING.format(patch=patch, work=work), **settings)
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == -9, output
    reset()


def make(count: int, *, images: int = 0) -> list[Product]:
    """Create products without signals, the first `images` of them with a picture."""
    made = Product.objects.bulk_create(Product(name=f"Chair {n}", sku=f"C-{n}") for n in range(count))
    with pause_indexing():
        for number, product in enumerate(made[:images]):
            file = ContentFile(picture_bytes(f"rgb({number},9,9)"), name="picture.png")
            ProductImage.objects.create(product=product, original=file)
    return made


def collection() -> str:
    return Collection.objects.of(DOCUMENT).get(state=Collection.State.LIVE).name


def states() -> dict[str, int]:
    found = list(IndexEntry.objects.values_list("state", flat=True))
    return {state: found.count(state) for state in set(found)}


def names_in(name: str) -> set[str]:
    """Return the first exact name, here the SKU, of every point that can be found."""
    return {point.stamp.exact[0] for point in get_store().scroll(name) if not point.stamp.removed}


def interrupt_after(monkeypatch, batches: int | None) -> None:
    """Press Ctrl-C once so many batches are embedded."""
    encoder, calls = get_encoder(), []
    whole = type(encoder).embed_texts

    def embed(texts):
        calls.append(texts)
        if batches is not None and len(calls) > batches:
            raise KeyboardInterrupt
        return whole(encoder, texts)

    monkeypatch.setattr(encoder, "embed_texts", embed)
