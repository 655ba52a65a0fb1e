"""A copy of the database, such as staging's, leaves the collections of the original alone."""

from __future__ import annotations

import logging
import time
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from clip_search import SearchUnavailable, indexing, jobs
from clip_search.exceptions import ForeignCollection, SetupError
from clip_search.indexing import rebuilding
from clip_search.indexing.collections import schema
from clip_search.indexing.comparing import orphans
from clip_search.indexing.housekeeping import purge_tombstones
from clip_search.models import Collection, Database, IndexEntry
from clip_search.stores import get_store
from clip_search.types import point_id
from tests.doubles.qdrant_stub import serving
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Product

from .actions import DOCUMENT, State, collection, complain, make, run, states

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["embedded", "server"])
def called(request, settings, tmp_path):
    """Return a function that gives this installation a name; both engines are what the copy shares."""

    def name(installation: str) -> None:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"INSTALLATION": installation}

    def use(**qdrant: str) -> None:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": qdrant}

    if request.param == "embedded":
        use(path=str(tmp_path / "qdrant"))
        yield name
        return
    with serving() as stub:
        use(url=stub.url)
        yield name


@pytest.fixture
def theirs(called):
    """The collection of production, three products; since then, this is a copy of the database."""
    called("production")
    made = make(4)
    run("clip_reindex")
    with_tombstone = made[3]
    with_tombstone.delete()
    called("staging")
    return collection()


def content(name: str) -> list[tuple[object, ...]]:
    return [(point.id, point.stamp) for point in get_store().scroll(name)]


def saying(error: object) -> bool:
    return all(word in str(error) for word in ("'production'", "'staging'", "clip_rebuild product"))


def test_the_name_is_written_with_the_collection(theirs):
    row = Collection.objects.of(DOCUMENT).get()
    mark = get_store().mark(row.name)
    assert row.installation == mark["installation"] == "production"
    assert mark["database"] == str(Database.objects.get().number)
    assert mark["created_at"].startswith("20")


def test_a_search_says_both_names_and_the_remedy(theirs):
    for search in (ProductDocument.search("chair"), ProductDocument.similar_to("1")):
        with pytest.raises(SearchUnavailable) as error:
            list(search)
        assert saying(error.value)
        assert isinstance(error.value, SetupError)
        assert isinstance(error.value.__cause__, ForeignCollection)


def test_nothing_is_written_or_deleted(theirs, caplog):
    before = content(theirs)
    product = Product.objects.first()
    product.name = "Table"
    product.save()  # indexed in this process: what fails is logged, and the save goes on
    assert saying(caplog.text)
    Product.objects.last().delete()
    ProductDocument.reindex(Product.objects.all())
    for command in ("clip_reindex", "clip_verify"):
        assert saying(complain(command))
    IndexEntry.objects.update(state=State.REMOVED, indexed_at=timezone.now() - timedelta(days=40))
    for use in (purge_tombstones, lambda document: list(orphans(document)), indexing.index_due):
        with pytest.raises(ForeignCollection):
            list(use(DOCUMENT))
    assert content(theirs) == before
    assert not IndexEntry.objects.exclude(claim=None).exists()


def test_a_rebuild_makes_an_own_collection_and_leaves_the_other_alone(theirs, called):
    before = content(theirs)
    assert saying(complain("clip_status"))
    assert "4 products: 3 embedded, 3 without image, 1 removed" in run("clip_rebuild")
    row = Collection.objects.of(DOCUMENT).get()
    assert (row.installation, row.state) == ("staging", Collection.State.LIVE)
    assert row.name != theirs
    assert content(theirs) == before
    Product.objects.create(name="Bench", sku="C-9")
    assert ProductDocument.search("bench").count()
    assert len(content(row.name)) == 5
    assert content(theirs) == before
    run("clip_status")
    assert "unchanged" in run("clip_reindex")
    run("clip_rebuild")  # and replaces its own
    assert set(get_store().names()) == {theirs, collection()}


def test_what_production_was_building_is_left_alone_too(theirs, called):
    called("production")
    running = rebuilding.start(DOCUMENT)
    called("staging")
    Collection.objects.filter(pk=running.pk).update(
        holder=uuid.uuid4(), lease=timezone.now() + timedelta(minutes=1)
    )
    assert complain("clip_rebuild").startswith("Another process is rebuilding")
    Collection.objects.update(lease=timezone.now())
    run("clip_rebuild")
    assert set(get_store().names()) == {theirs, running.name, collection()}


def test_a_collection_that_a_swap_was_about_to_remove_is_left_alone_too(theirs):
    left = Collection.objects.create(
        document="product",
        installation="production",
        name="product-1-00000000",
        generation=1,
        state=Collection.State.RETIRED,
        fingerprint="x",
        dimension=2,
    )
    get_store().create(left.name, schema(DOCUMENT, 2))
    run("clip_rebuild")
    assert set(get_store().names()) == {theirs, left.name, collection()}
    assert not Collection.objects.filter(pk=left.pk).exists()


def test_a_copy_with_a_store_of_its_own_needs_no_rebuild(theirs, settings, tmp_path):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"path": str(tmp_path / "own")}}
    run("clip_reindex")
    assert Collection.objects.of(DOCUMENT).get().installation == "staging"
    assert get_store().names() == [collection()]
    assert ProductDocument.search("chair").count() == 3


def test_a_name_that_is_left_out_differs_too(theirs, called):
    called("")
    with pytest.raises(SearchUnavailable, match="INSTALLATION'] is ''"):
        list(ProductDocument.search("chair"))


def test_an_installation_that_gets_a_name_later_keeps_its_collection(called):
    called("")
    make(2)
    run("clip_reindex")
    before = collection()
    called("production")
    assert "`manage.py clip_rebuild product --adopt`" in complain("clip_reindex")
    assert (
        run("clip_rebuild", "product", "--adopt")
        == "product: 1 collection belongs to installation 'production'\n"
    )
    assert collection() == before
    assert ProductDocument.search("chair").count() == 2
    assert "2 unchanged" in run("clip_reindex")
    run("clip_rebuild")
    assert get_store().names() == [collection()]  # what it adopted was its own


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_worker_logs_one_line_and_waits(theirs, settings, queue, caplog):
    key = point_id("product", str(Product.objects.first().pk))
    IndexEntry.objects.filter(uuid=key).update(state=State.PENDING)
    caplog.set_level(logging.ERROR)
    started = time.process_time()
    for _ in range(3):
        assert jobs.sweep() == 1
        jobs.index_due("product")  # returns: the worker goes on with other documents
        queue.empty()
        jobs.index_due("product")
        assert queue.count == 0  # and does not wake itself
    assert time.process_time() - started < 5
    assert states()[State.PENDING] >= 1
    assert not IndexEntry.objects.exclude(attempts=0).exists()
    assert len(caplog.records) == 6
    assert all(saying(record.getMessage()) for record in caplog.records)
