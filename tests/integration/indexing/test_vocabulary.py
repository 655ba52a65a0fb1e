"""The words of a shop in the database: added by workers, counted by clip_reindex."""

from __future__ import annotations

from collections import Counter

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from clip_search.documents.registry import registry
from clip_search.indexing import comparing, vocabulary
from clip_search.models import IndexEntry, PostedProduct, Vocabulary, Word
from clip_search.posting import post_product
from clip_search.testing import pause_indexing
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Product

from .actions import DOCUMENT, due_now, entry, index

pytestmark = pytest.mark.django_db


def counts() -> dict[str, int]:
    return dict(Word.objects.of(DOCUMENT).values_list("word", "products"))


def version() -> int:
    return Vocabulary.objects.filter(document="product").values_list("version", flat=True).first() or 0


def make(*names: str) -> list[Product]:
    return [Product.objects.create(name=name, sku=f"S-{name}") for name in names]


def reindex(*arguments: str) -> None:
    call_command("clip_reindex", "product", *arguments, verbosity=0)


def silently(product: Product, name: str) -> None:
    Product.objects.filter(pk=product.pk).update(name=name)


# Workers.


def test_a_worker_adds_new_words():
    make("Red mug", "Blue mug")
    index()
    assert counts() == {"red": 1, "blue": 1, "mug": 2}
    Word.objects.filter(word="mug").update(products=9)
    make("Green mug")
    index()
    assert counts() == {"red": 1, "blue": 1, "green": 1, "mug": 9}
    assert version() == 0


def test_a_product_without_new_words_costs_one_statement(monkeypatch):
    make("Red mug")
    index()
    asked = []
    add = vocabulary.add_words

    def count(document, items):
        with CaptureQueriesContext(
            connection,
        ) as captured:
            add(document, items)
        asked.extend(query["sql"] for query in captured)

    monkeypatch.setattr("clip_search.indexing.pipeline.add_words", count)
    make("Mug, red")
    index()
    assert [sql.split()[0] for sql in asked if "SAVEPOINT" not in sql] == ["SELECT"]


def test_a_product_that_is_not_written_adds_nothing():
    (mug,) = make("Red mug")
    index()
    Word.objects.all().delete()
    IndexEntry.objects.mark_changed(DOCUMENT, [str(mug.pk)])
    assert index().unchanged == 1
    assert counts() == {}


def test_a_failure_of_the_table_is_logged_and_products_are_indexed(monkeypatch, caplog):
    def fail(*args):
        raise OperationalError("disk full")

    monkeypatch.setattr(type(Word.objects.all()), "add", fail)
    (mug,) = make("Red mug")
    assert index().embedded == 1
    assert entry(mug).state == IndexEntry.State.INDEXED
    assert "Cannot add words document=product error=disk full" in caplog.text


# clip_reindex.


def test_the_first_run_counts_the_words():
    with pause_indexing():
        make("Red mug", "Blue mug", "Mugs")
    reindex()
    assert counts() == {"red": 1, "blue": 1, "mug": 2, "mugs": 1}


def test_only_what_differs_is_written():
    mug, bowl = make("Red mug", "Blue bowl")
    index()
    reindex()
    keys = dict(Word.objects.values_list("word", "pk"))
    silently(bowl, "Blue mug")
    reindex()  # indexes it
    IndexEntry.objects.filter(pk=entry(mug).pk).update(indexed_at=None)
    reindex()
    assert counts() == {"red": 1, "blue": 1, "mug": 2}
    assert {word: keys[word] for word in counts()} == dict(Word.objects.values_list("word", "pk"))
    changed = version()
    reindex()
    assert version() == changed


def test_removed_products_take_their_words_along():
    mug, _bowl = make("Red mug", "Blue bowl")
    index()
    reindex()
    mug.delete()
    index()
    reindex()
    assert counts() == {"blue": 1, "bowl": 1}


def test_words_that_are_added_meanwhile_stay():
    make("Red mug")
    index()
    last = Word.objects.last_key(DOCUMENT)
    make("Blue bowl")
    index()
    Word.objects.replace(DOCUMENT, {"red": 1}, added_until=last)
    assert counts() == {"red": 1, "blue": 1, "bowl": 1}
    Word.objects.replace(DOCUMENT, {"red": 1})
    assert counts() == {"red": 1}


def test_posted_products_are_counted():
    make("Red mug")
    post_product("P-1", name="Blue teapot", document=DOCUMENT)
    reindex()
    assert PostedProduct.objects.count() == 1
    assert counts() == {"red": 1, "mug": 1, "blue": 1, "teapot": 1}


def test_products_that_cannot_be_read_are_not_counted(monkeypatch):
    def get_text(self, obj):
        if obj.name == "Red mug":
            raise ValueError
        return obj.name

    monkeypatch.setattr(ProductDocument, "get_text", get_text)
    with pause_indexing():
        make("Red mug", "Blue bowl")
    found = Counter()
    list(comparing.compare(DOCUMENT, words=found))
    assert found == {"blue": 1, "bowl": 1}


@pytest.mark.parametrize("arguments", [["--dry-run"], ["--ids", "1"]])
def test_other_runs_count_nothing(arguments):
    (mug,) = make("Red mug")
    index()
    Word.objects.all().delete()
    reindex(*(str(mug.pk) if argument == "1" else argument for argument in arguments))
    assert counts() == {}


def test_few_changes_are_not_worth_a_count():
    make(*(f"Mug {chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(201)))
    index()
    assert vocabulary.must_count(DOCUMENT)
    reindex()
    assert not vocabulary.must_count(DOCUMENT)
    products = list(Product.objects.all())
    for count, expected in ((2, False), (3, True)):
        for product in products[:count]:
            product.name = f"Bowl{chr(97 + count)}"
            product.save()
        due_now()
        index()
        assert vocabulary.must_count(DOCUMENT) is expected
    assert "mug" in counts()


def test_the_words_of_another_document_stay():
    Word.objects.create(document="another", word="sofa", products=1)
    make("Red mug")
    reindex()
    Word.objects.replace(DOCUMENT, {})
    assert list(Word.objects.values_list("word", flat=True)) == ["sofa"]
    assert registry.get("product") is DOCUMENT
