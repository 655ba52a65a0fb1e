"""What is left of what is gone: clip_status names it, clip_cleanup removes it and nothing else."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.utils import timezone

from clip_search import SearchUnavailable, posting
from clip_search.documents.registry import registry
from clip_search.indexing import leftovers
from clip_search.indexing.collections import schema
from clip_search.models import (
    Collection,
    Database,
    IndexEntry,
    PostedProduct,
    RelatedChange,
    Vocabulary,
    Word,
)
from clip_search.stores import get_store
from clip_search.stores.embedded.locks import acquire, release
from tests.conftest import ROOT, picture_bytes
from tests.doubles.qdrant_stub import serving
from tests.shops.shop.clip_documents import ProductDocument

from .actions import DOCUMENT, collection, complain, make, run, run_and_die

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])
LONG_AGO = timedelta(hours=2)


@pytest.fixture(params=["embedded", "server"])
def store(request, settings, tmp_path):
    """The store of an installation with a name; both engines."""
    own = {"INSTALLATION": "production", "API_DOCUMENT": "product"}
    if request.param == "embedded":
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | own | {"QDRANT": {"path": str(tmp_path / "qdrant")}}
        yield get_store()
        return
    with serving() as stub:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | own | {"QDRANT": {"url": stub.url}}
        yield get_store()


@pytest.fixture
def old(monkeypatch) -> None:
    """Everything was made more than an hour ago."""
    monkeypatch.setattr(leftovers, "YOUNG", timedelta(0))


@pytest.fixture
def unregistered(store, media, monkeypatch):
    """A document that is not registered any more: three products, and a posted one with an image."""
    make(3)
    run("clip_reindex")
    image = SimpleUploadedFile("a.png", picture_bytes())
    posting.post_product(product_id="posted", name="Posted mug", image=image, document=DOCUMENT)
    RelatedChange.objects.create(document="product", model="shop.category", object_id="1", path="products")
    others = {name: document for name, document in registry.documents.items() if document is not DOCUMENT}
    monkeypatch.setattr(registry, "documents", others)
    return collection()


def age_rows() -> None:
    then = timezone.now() - LONG_AGO
    IndexEntry.objects.update(updated_at=then, indexed_at=then)
    Collection.objects.update(created_at=then)
    PostedProduct.objects.update(created_at=then, updated_at=then)
    RelatedChange.objects.update(created_at=then)


def rows() -> list[int]:
    return [
        model.objects.filter(document="product").count()
        for model in (Collection, IndexEntry, PostedProduct, RelatedChange)
    ]


def complain_or_run(command: str) -> str:
    """Return what a command without arguments says, whatever its exit status."""
    output = io.StringIO()
    with suppress(CommandError):
        call_command(command, stdout=output, stderr=output)
    return output.getvalue()


def lose_the_row() -> str:
    """Return the name of a collection that no row names any more, as after a killed rebuild."""
    make(2)
    run("clip_reindex")
    name = collection()
    Collection.objects.of(DOCUMENT).delete()
    return name


def cleanup(*arguments: str) -> str:
    return run("clip_cleanup", "--no-input", *arguments)


# Documents.


def test_a_document_that_is_gone_is_named_and_removed(unregistered, store):
    said = "document 'product', which is not registered: 1 collection, 4 index entries, 1 posted product"
    Word.objects.create(document="product", word="sofa", products=1)
    age_rows()
    for output in (complain_or_run("clip_status"), run("clip_cleanup", "--dry-run")):
        assert said in output
        assert ", 4 words, 1 vocabulary" in output
    assert "1 to remove (dry run)" in run("clip_cleanup", "--dry-run")
    assert rows() == [1, 4, 1, 1]
    (image,) = PostedProduct.objects.values_list("image", flat=True)
    assert default_storage.exists(image)
    assert cleanup().endswith("1 removed\n")
    assert rows() == [0, 0, 0, 0]
    assert not Word.objects.filter(document="product").exists()
    assert not Vocabulary.objects.filter(document="product").exists()
    assert not store.exists(unregistered)
    assert not default_storage.exists(image)
    assert "product" not in run("clip_cleanup", "--dry-run")


def in_use() -> None:
    age_rows()
    IndexEntry.objects.filter(product_id="posted").update(updated_at=timezone.now())


def claimed() -> None:
    age_rows()
    soon = timezone.now() + timedelta(seconds=30)
    IndexEntry.objects.filter(product_id="posted").update(claim=uuid.uuid4(), claimed_until=soon)


def being_rebuilt() -> None:
    age_rows()
    Collection.objects.update(holder=uuid.uuid4(), lease=timezone.now() + timedelta(seconds=30))


@pytest.mark.parametrize("state", [lambda: None, in_use, claimed, being_rebuilt])
def test_a_document_that_an_older_process_still_serves_stays(unregistered, store, state):
    state()
    assert "(stays: " in run("clip_cleanup", "--dry-run")
    assert cleanup().endswith("0 to remove\n")
    assert rows() == [1, 4, 1, 1]
    assert store.exists(unregistered)


def test_the_collection_of_a_document_that_came_with_a_copy_of_the_database_stays(
    unregistered, store, settings
):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"INSTALLATION": "staging"}
    age_rows()
    cleanup()
    assert rows() == [0, 0, 0, 0]
    assert store.exists(unregistered)


def test_nothing_is_left_over_in_a_shop_that_works(store, old):
    make(3)
    run("clip_reindex")
    assert "left over" not in complain_or_run("clip_status")
    assert cleanup() == "0 to remove\n"
    assert ProductDocument.search("chair").count() == 3


def test_another_alias_of_the_same_database_has_no_documents_of_its_own(store, old, monkeypatch):
    """As a replica has: its rows name the collections that are searched."""
    make(3)
    run("clip_reindex")
    number = Database.objects.number_of("default")
    Database.objects.using("other").update_or_create(pk=1, defaults={"number": number})
    row = Collection.objects.get()
    Collection.objects.using("other").bulk_create([row])
    age_rows()
    assert cleanup() == "0 to remove\n"
    assert store.exists(row.name)


def test_a_renamed_model_makes_the_status_fail(store):
    make(3)
    assert "nothing of product can be found" in complain("clip_status")
    with pytest.raises(SearchUnavailable):
        list(ProductDocument.search("chair"))


def test_a_row_in_a_copy_of_the_database_keeps_its_collection(store, old):
    make(2)
    run("clip_reindex")
    row = Collection.objects.get()
    Database.objects.using("other").update_or_create(pk=1, defaults={"number": Database.objects.get().number})
    Collection.objects.using("other").bulk_create([row])
    Collection.objects.using("default").all().delete()
    assert cleanup("--other-databases") == "0 to remove\n"
    assert store.exists(row.name)


def test_without_our_tables_nothing_is_removed(store, old, monkeypatch):
    name = lose_the_row()
    monkeypatch.setattr(Database._meta, "db_table", "not_migrated")
    assert "manage.py migrate" in complain("clip_cleanup", "--no-input", "--other-databases")
    assert store.exists(name)


# Collections without a row.


def test_a_collection_without_a_row_is_named_and_removed(store, old):
    name = lose_the_row()
    assert f"  collection {name} of 2" in complain_or_run("clip_status")
    assert f"collection {name} of 2" in cleanup()
    assert not store.exists(name)


def test_a_collection_that_was_made_in_the_last_hour_stays(store):
    name = lose_the_row()
    assert "(stays: it was made in the last hour)" in cleanup()
    assert store.exists(name)


@pytest.mark.parametrize("mark", [{}, {"installation": "staging"}, {"installation": ""}])
def test_what_is_not_ours_is_not_touched(store, old, mark):
    """Not made by us; made by another installation; of a copy without a name."""
    made = (timezone.now() - LONG_AGO).isoformat()
    mark = mark and mark | {"database": Database.objects.number_of("default"), "created_at": made}
    store.create("product-1-0123abcd", schema(DOCUMENT, 2, mark=mark))
    assert cleanup("--other-databases") == "0 to remove\n"
    assert store.exists("product-1-0123abcd")


def test_a_name_that_is_not_as_ours_are_is_not_touched(store, old):
    made = (timezone.now() - LONG_AGO).isoformat()
    mark = {"installation": "production", "created_at": made}
    store.create("products", schema(DOCUMENT, 2, mark=mark))
    assert cleanup("--other-databases") == "0 to remove\n"
    assert store.exists("products")


def test_a_collection_of_another_database_goes_only_if_asked_for(store, old):
    """Another shop with the same name for its installation, or tests that were killed."""
    name = lose_the_row()
    Database.objects.all().delete()
    assert "(stays: it was made for another database" in cleanup()
    assert store.exists(name)
    assert "1 removed" in cleanup("--other-databases")
    assert not store.exists(name)


def test_without_a_name_nothing_is_removed_from_a_server(store, old, settings):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"INSTALLATION": ""}
    name = lose_the_row()
    said = cleanup()
    if "url" in settings.CLIP_SEARCH["QDRANT"]:
        assert "INSTALLATION'] is not set" in said
    assert store.exists(name) == ("url" in settings.CLIP_SEARCH["QDRANT"])


def test_a_path_that_was_wrong_for_a_while(settings, tmp_path, old):
    right, wrong = ({"QDRANT": {"path": str(tmp_path / name)}} for name in ("right", "wrong"))
    general = settings.CLIP_SEARCH
    settings.CLIP_SEARCH = general | right
    make(2)
    run("clip_reindex")
    first = collection()
    settings.CLIP_SEARCH = general | wrong
    run("clip_reindex")
    second = collection()
    settings.CLIP_SEARCH = general | right
    run("clip_reindex")
    assert "1 removed" in cleanup()
    assert get_store().names() == [collection()]
    settings.CLIP_SEARCH = general | wrong
    assert f"collection {second} of" in cleanup()
    assert get_store().names() == []
    assert first != second


# Asking.


@pytest.mark.parametrize(("answer", "removed"), [("yes", True), ("y", False), ("", False), (None, False)])
def test_it_asks_first(store, old, monkeypatch, answer, removed):
    name = lose_the_row()

    def ask(question: str) -> str:
        assert question.startswith("Remove 1?")
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", ask)
    assert run("clip_cleanup", "--verbosity=1").endswith(
        "1 removed\n" if removed else "Nothing was removed.\n"
    )
    assert store.exists(name) != removed


def test_what_is_used_again_while_it_asks_stays(store, old, monkeypatch):
    name = lose_the_row()

    def ask(question: str) -> str:
        Collection.objects.create(
            document="product", name=name, generation=1, state="live", dimension=2, installation="production"
        )
        return "yes"

    monkeypatch.setattr("builtins.input", ask)
    assert run("clip_cleanup", "--verbosity=1").endswith("0 removed\n")
    assert store.exists(name)


def test_a_store_that_does_not_answer(store, settings):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"url": "http://127.0.0.1:1", "timeout": 1}}
    assert "Check that it runs" in complain("clip_cleanup", "--dry-run")
    assert "cannot look for leftovers" in complain_or_run("clip_status")


# Processes that were killed.

KILLED: dict[str, tuple[str, Callable[[str], str]]] = {
    "while it made a collection": (
        "import pathlib; pathlib.Path.rename = die",
        lambda name: f"collection {name}, whose creation was interrupted",
    ),
    "when it had made the collection": (
        "collections.transaction = Dying()",
        lambda name: f"collection {name}, whose creation was interrupted",
    ),
    "before the replaced collection was removed": (
        "rebuilding.remove_collection = die",
        lambda name: f"collection {name}, which a rebuild replaced",
    ),
    "while it removed the replaced collection": (
        "store.shutil = Dying()",
        lambda name: f"collection {name}, which a rebuild replaced",
    ),
}


@pytest.mark.parametrize("when", KILLED)
def test_what_a_killed_rebuild_leaves(shared, start_process, monkeypatch, tmp_path, when):
    patch, said = KILLED[when]
    make(3)
    run("clip_reindex")
    before = collection()
    run_and_die(start_process, shared, 'call_command("clip_rebuild", "product")', patch, timeout=60)
    folder = tmp_path / "qdrant"
    replaced = "replaced" in when
    names = {path.name.strip(".").split(".")[0] for path in folder.iterdir()}
    (name,) = {before} if replaced else names - {before}
    stays = "" if replaced else cleanup()
    assert stays in ("", "0 to remove\n") or "(stays: it was made in the last hour)" in stays
    monkeypatch.setattr(leftovers, "YOUNG", timedelta(0))
    if replaced:
        assert "(stays: a rebuild is at work)" in cleanup()  # its lease has not ended
        Collection.objects.update(lease=timezone.now())
    assert said(name) in complain_or_run("clip_status")
    assert "1 removed" in cleanup()
    live = collection()
    assert live == before or replaced
    assert {path.name for path in folder.iterdir()} <= {live, f"{live}.lock", f"{live}.turn"}
    assert ProductDocument.search("chair").count() == 3


@pytest.mark.parametrize("ending", [".{}.gone", ".{}.making", "{}.lock", "{}.turn"])
def test_files_of_killed_processes_made_by_hand(settings, tmp_path, ending):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"path": str(tmp_path)}}
    make(1)
    run("clip_reindex")
    path = tmp_path / ending.format("product-2-0123abcd")
    path.mkdir() if path.name.startswith(".") else path.touch()
    theirs = tmp_path / ending.format("something else")
    theirs.touch()
    assert cleanup() == "0 to remove\n"
    then = (timezone.now() - LONG_AGO).timestamp()
    for each in (path, theirs):
        os.utime(each, (then, then))
    assert "files of the collection product-2-0123abcd" in run("clip_cleanup", "--dry-run")
    assert "1 removed" in cleanup()
    assert not path.exists()
    assert theirs.exists()
    assert get_store().count(collection()) == 1


def test_files_that_a_process_has_locked_stay(settings, tmp_path, old):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"path": str(tmp_path)}}
    lock = acquire(tmp_path / "product-2-0123abcd.lock", 1)
    assert cleanup() == "0 to remove\n"
    release(lock)
    assert "1 removed" in cleanup()


# Runs of tests.

HOST_SETTINGS = """
from tests.settings import *

DATABASES = {name: {"ENGINE": "django.db.backends.sqlite3"} for name in DATABASES}  # in memory
"""
HOST_TESTS = """
from django.test import TestCase
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Product

class SearchPage:
    def test_a_product_is_found(self):
        with self.captureOnCommitCallbacks(execute=True):
            Product.objects.create(name="Red mug", sku="M")
        assert ProductDocument.search("red mug").count() == 1
    test_and_again = test_a_product_is_found

class FirstTests(SearchPage, TestCase):
    pass

class SecondTests(SearchPage, TestCase):
    pass
"""


@pytest.mark.parametrize("parallel", ["1", "2"])
def test_a_run_of_tests_leaves_nothing_in_the_folder_of_the_developer(tmp_path, start_process, parallel):
    tests = tmp_path / "host"
    tests.mkdir()
    (tests / "test_host.py").write_text(HOST_TESTS)
    (tests / "host_settings.py").write_text(HOST_SETTINGS)
    folder = tmp_path / "qdrant"
    process = start_process(
        *("-m", "django", "test", str(tests), "--top-level-directory", str(tests), "--parallel", parallel),
        CLIP_SEARCH_TEST_QDRANT_PATH=str(folder),
        DJANGO_SETTINGS_MODULE="host_settings",
        PYTHONPATH=os.pathsep.join([str(tests), str(ROOT)]),
    )
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "Ran 4 tests" in output
    assert folder.is_dir()
    assert list(folder.iterdir()) == []
