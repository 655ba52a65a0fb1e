"""Creating a collection: the row comes first, so that each collection has a name in the database."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from clip_search.encoders import get_encoder
from clip_search.exceptions import CollectionMissing, SetupError, StoreUnavailable
from clip_search.indexing import collections, targets
from clip_search.models import Collection, IndexEntry
from clip_search.stores import get_store
from tests.doubles.qdrant_stub import serving
from tests.integration.commands.actions import complain, run
from tests.shops.shop.models import Product

from .actions import DOCUMENT, collection, index

pytestmark = pytest.mark.django_db
CREATING, LIVE = Collection.State.CREATING, Collection.State.LIVE
FULL = "Service internal error: No space left on device"
CREATE = {("PUT", ""), ("PUT", "index")}
"""The requests that create a collection and its indexes."""


@pytest.fixture
def server(settings):
    with serving() as stub:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"url": stub.url}}
        yield stub


def let_the_delay_pass() -> None:
    Collection.objects.update(not_before=timezone.now())


@pytest.mark.parametrize("carried_out", [False, True])
def test_a_store_that_fails_to_create_leaves_one_collection(server, carried_out):
    server.refuse(500, FULL, only=CREATE, carried_out=carried_out)
    Product.objects.create(name="Chair", sku="C")
    names = set()
    for attempts in (1, 2, 3):
        let_the_delay_pass()
        with pytest.raises(StoreUnavailable, match="No space left on device"):
            index()
        row = Collection.objects.get()
        assert (row.state, row.attempts) == (CREATING, attempts)
        assert "No space left on device" in row.refusal
        assert row.not_before > timezone.now()
        names.add(row.name)
    assert set(get_store().names()) == (names if carried_out else set())
    server.accept()
    let_the_delay_pass()
    assert index().products == 1
    assert names == {collection()} == set(get_store().names())
    row = Collection.objects.get()
    assert (row.state, row.attempts, row.not_before, row.refusal) == (LIVE, 0, None, "")


@pytest.fixture
def until(server) -> datetime:
    """Let the server refuse to create the collection once. Return when that is tried again, in a minute."""
    server.refuse(500, FULL, only=CREATE, carried_out=True)
    Product.objects.create(name="Chair", sku="C")
    with pytest.raises(StoreUnavailable):
        index()
    until = Collection.objects.get().not_before + timedelta(minutes=1)
    Collection.objects.update(not_before=until)
    return until


def test_until_the_next_try_the_server_is_left_alone(server, until):
    asked = server.requests
    for _ in range(10):
        with pytest.raises(StoreUnavailable, match=r"cannot be created.*No space.* again at") as error:
            index()
    assert server.requests == asked
    assert f"{until:%H:%M:%S} UTC" in str(error.value)
    assert not IndexEntry.objects.exclude(claim=None).exists()


def test_a_command_that_a_person_runs_tries_at_once(server, until):
    assert "No space left on device" in complain("clip_reindex")
    server.accept()
    assert "1 product: 1 embedded" in run("clip_reindex")
    assert get_store().names() == [collection()]


def test_a_lost_collection_that_cannot_be_created_again_keeps_its_row(server):
    Product.objects.create(name="Chair", sku="C")
    index()
    lost = collection()
    get_store().destroy(lost)
    server.refuse(500, FULL, only=CREATE, carried_out=True)
    IndexEntry.objects.mark_all_due()
    with pytest.raises(StoreUnavailable, match="No space"):
        index()
    assert collection() == lost
    (created,) = get_store().names()
    server.accept()
    let_the_delay_pass()
    assert index().products == 1
    assert Collection.objects.get().name == created == collection()


def test_settings_that_cannot_work_are_tried_at_once_when_they_are_right(server, settings):
    general = settings.CLIP_SEARCH
    settings.CLIP_SEARCH = general | {"COLLECTION_OPTIONS": {"shards": 2}}
    with pytest.raises(SetupError, match="COLLECTION_OPTIONS"):
        targets.get_target(DOCUMENT)
    name = Collection.objects.get(state=CREATING).name
    settings.CLIP_SEARCH = general
    targets.get_target(DOCUMENT)
    assert collection() == name


def test_a_key_that_may_not_write_is_said_by_the_status(server, settings):
    qdrant = {"url": server.url, "api_key": "reader"}
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": qdrant}
    server.keys = {"reader": False}
    Product.objects.create(name="Chair", sku="C")
    assert "Forbidden" in complain("clip_reindex")
    assert "its creation failed (Qdrant refused access (403): Forbidden" in complain("clip_status")
    server.keys = {"reader": True}
    assert "1 product: 1 embedded" in run("clip_reindex")
    run("clip_status")


def begin() -> Collection:
    """Return the row of a process that was killed when it had created the collection."""
    row = collections._row_to_create(DOCUMENT, get_encoder(), 1, at_once=False)
    get_store().create(row.name, collections.schema(DOCUMENT, row.dimension))
    return row


def test_what_does_not_fit_the_settings_any_more_is_removed(server, settings):
    begun = begin()
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "tests.doubles.encoders.OtherEncoder"}
    targets.get_target(DOCUMENT)
    assert Collection.objects.get().name == collection() != begun.name
    assert get_store().names() == [collection()]


@pytest.fixture
def meanwhile(server, monkeypatch):
    """Let something happen while the store creates a collection."""

    def happen(what):
        create, called = type(get_store()).create, []

        def slow(self, name, schema):
            create(self, name, schema)
            if not called:
                called.append(name)
                what()

        monkeypatch.setattr(type(get_store()), "create", slow)

    return happen


def test_two_processes_that_create_the_first_collection_agree_on_one(meanwhile):
    theirs = []
    meanwhile(lambda: theirs.append(targets.get_target(DOCUMENT).collections[0].name))
    assert targets.get_target(DOCUMENT).collections[0].name == theirs[0]
    assert get_store().names() == theirs
    assert Collection.objects.get().state == LIVE


def test_a_collection_that_another_process_has_replaced_is_removed(meanwhile):
    """With other settings, it removed ours, and has created its own."""

    def replace():
        Collection.objects.all().delete()
        with_another_name = begin()
        Collection.objects.filter(pk=with_another_name.pk).update(state=LIVE)

    meanwhile(replace)
    targets.get_target(DOCUMENT)
    assert get_store().names() == [Collection.objects.get().name]


def test_a_collection_is_removed_if_another_row_is_live_already(meanwhile):
    def also_live():
        Collection.objects.create(
            document="product", name="product-1-0123abcd", generation=1, state=LIVE, dimension=256
        )

    meanwhile(also_live)
    assert collections.create_collection(DOCUMENT, get_store(), get_encoder()).name == "product-1-0123abcd"
    assert Collection.objects.count() == 1
    assert get_store().names() == []


def test_a_collection_that_another_process_has_used_otherwise_is_a_missing_one(meanwhile):
    """A rebuild took up the row, so that there is no live collection yet."""
    meanwhile(lambda: Collection.objects.update(state=Collection.State.BUILDING))
    with pytest.raises(CollectionMissing):
        targets.get_target(DOCUMENT)
    (name,) = get_store().names()
    assert Collection.objects.get().name == name
    targets.get_target(DOCUMENT)
    assert Collection.objects.filter(state=LIVE).exists()
