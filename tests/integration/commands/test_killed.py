"""Commands that are killed while they create, build or replace a collection, and the command that follows."""

from __future__ import annotations

import uuid
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from clip_search import parallel
from clip_search.indexing import rebuilding
from clip_search.models import Collection
from clip_search.stores import get_store
from tests.shops.shop.clip_documents import ProductDocument

from .actions import DOCUMENT, DYING, collection, complain, make, names_in, run, run_and_die

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])
REINDEX = 'call_command("clip_reindex", "product")'
REBUILD = """
one_by_one = lambda document: parallel.index_due(document, batch_size=1)
for _ in rebuilding.rebuild(registry.get("product"), index=one_by_one): pass
"""
BEFORE_CREATING = "store.EmbeddedStore.create = die"
AFTER_CREATING = "collections.transaction = Dying()"
AFTER_A_BATCH = """
renew, calls = rebuilding._renew_lease, itertools.count(1)
rebuilding._renew_lease = lambda *args: die() if next(calls) == 2 else renew(*args)
"""


@pytest.fixture
def kill(shared, start_process):
    """Return a function that starts work in a process which is killed at some point of it."""

    return partial(run_and_die, start_process, shared)


def only_collection() -> str:
    """Return the name of the live collection, which must be the only one in the store and in the table."""
    assert get_store().names() == [Collection.objects.get().name]
    return collection()


@pytest.mark.parametrize(
    ("patch", "size"), [(BEFORE_CREATING, "not in the store"), (AFTER_CREATING, "0 points")]
)
def test_the_first_collection_is_taken_up_by_the_next_command(kill, patch, size):
    make(3)
    kill(REINDEX, patch)
    name = Collection.objects.get().name
    said = complain("clip_status")
    assert f"collection {name} (creating): {size}," in said
    assert "its creation was interrupted: `manage.py clip_reindex product` continues it" in said
    run("clip_reindex")
    assert only_collection() == name
    assert ProductDocument.search("chair").count() == 3


REBUILT = {
    "before the store creates the collection": (BEFORE_CREATING, "creating", "not in the store"),
    "when the store has created the collection": (AFTER_CREATING, "creating", "0 points"),
    "when a batch is written": (AFTER_A_BATCH, "building", "1 point"),
    "when all is written": ("rebuilding.swap = die", "building", "3 points"),
    "when the collections are swapped": ("rebuilding.remove_collection = die", "retired", "3 points"),
    "while the old collection is removed": ("store.shutil = Dying()", "retired", "not in the store"),
}
NEXT = {
    "creating": ("was interrupted: `manage.py clip_rebuild product` continues it", "clip_rebuild"),
    "building": ("interrupted: `manage.py clip_rebuild product` continues it", "clip_rebuild"),
    "retired": ("replaced by a rebuild: `manage.py clip_reindex product` removes it", "clip_reindex"),
}


@pytest.mark.parametrize("when", REBUILT)
def test_what_a_killed_rebuild_leaves_is_shown_and_taken_up_or_removed(kill, when):
    patch, state, size = REBUILT[when]
    make(3)
    run("clip_reindex")
    old = collection()
    kill(REBUILD, patch)
    left = Collection.objects.get(state=state)
    assert ProductDocument.search("chair").count() == 3
    if state == "building":
        assert f"its claim ends at {left.lease:%H:%M:%S} UTC" in run("clip_status")
        assert complain("clip_rebuild").endswith(
            "Another process is rebuilding 'product'. It renews its claim; if it was killed, another may "
            f"continue after {left.lease:%H:%M:%S} UTC."
        )
    Collection.objects.update(lease=timezone.now())
    advice, command = NEXT[state]
    said = run("clip_status")
    assert f"collection {left.name} ({state}): {size}," in said
    assert advice in said
    assert ("2 products to go" in said) == (size == "1 point")
    assert ("complete, but not swapped in" in said) == ("all" in when)
    run(command)
    live = only_collection()
    assert live != old
    assert (live == left.name) == (state != "retired")
    assert names_in(live) == {"c0", "c1", "c2"}
    assert ProductDocument.search("chair").count() == 3


AT_ONCE = """
import pathlib, time
create, met = store.EmbeddedStore.create, pathlib.Path({folder!r})
def together(self, name, schema):
    create(self, name, schema)
    (met / str(os.getpid())).touch()
    while len(list(met.iterdir())) < 2:
        time.sleep(0.01)
store.EmbeddedStore.create = together
"""


def test_two_processes_that_start_at_once_create_one_collection(shared, start_process, tmp_path):
    """Both have created it before either makes it the live one."""
    make(3)
    met = tmp_path / "met"
    met.mkdir()
    program = DYING.format(patch=AT_ONCE.format(folder=str(met)), work=REINDEX)
    both = [start_process("-c", program, **shared) for _ in range(2)]
    for process in both:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    only_collection()
    assert ProductDocument.search("chair").count() == 3


def test_a_rebuild_that_another_process_has_ended_says_so(monkeypatch):
    make(2)
    run("clip_reindex")
    stalled = rebuilding.rebuild(DOCUMENT, index=partial(parallel.index_due, batch_size=1))
    next(stalled)
    Collection.objects.update(lease=timezone.now() - timedelta(seconds=1))
    run("clip_rebuild")
    with pytest.raises(rebuilding.RebuildRunning, match="has ended the rebuild of 'product'"):
        list(stalled)


def test_what_was_not_created_for_a_rebuild_is_a_leftover_and_is_removed(monkeypatch):
    make(1)
    run("clip_reindex")
    name = f"product-2-{uuid.uuid4().hex[:8]}"
    Collection.objects.create(
        document="product", name=name, generation=2, state="creating", fingerprint="x", dimension=2
    )
    assert "(stays: it was made in the last hour)" in run("clip_cleanup", "--no-input")
    long_ago = timezone.now() - timedelta(hours=2)
    Collection.objects.filter(name=name).update(created_at=long_ago)
    assert f"collection {name}, whose creation was interrupted" in run("clip_cleanup", "--no-input")
    assert Collection.objects.get().name == collection()
