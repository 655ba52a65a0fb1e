"""clip_rebuild."""

from __future__ import annotations

import uuid
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.utils import timezone

from clip_search import indexing, parallel
from clip_search.encoders import get_encoder
from clip_search.indexing import pipeline as pipelines
from clip_search.indexing import rebuilding
from clip_search.models import Collection, IndexEntry
from clip_search.stores import get_store
from tests.conftest import picture_bytes
from tests.shops.shop.models import Product, ProductImage

from .actions import DOCUMENT, State, collection, complain, interrupt_after, make, names_in, run, states

pytestmark = pytest.mark.django_db
BY_TWO = partial(parallel.index_due, batch_size=2)


@pytest.fixture
def other_model(settings) -> None:
    """A catalogue of six, one of them removed and one of them failed, and another model since."""
    made = make(6, images=5)
    Path(made[1].images.get().original.path).write_bytes(b"nothing")
    complain("clip_reindex")
    Product.objects.filter(pk=made[5].pk)._raw_delete("default")
    complain("clip_reindex")
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "tests.doubles.encoders.OtherEncoder"}


def test_a_rebuild_swaps_in_a_collection_of_the_new_model(other_model):
    old = collection()
    said = complain("clip_rebuild")
    assert "6 products: 4 embedded, 1 removed, 1 failed in" in said
    assert said.endswith("1 of product failed")
    row = Collection.objects.of(DOCUMENT).get()
    assert (row.state, row.generation, row.dimension) == (Collection.State.LIVE, 2, 300)
    assert (row.fingerprint, row.holder) == ("other-encoder-1", None)
    assert not get_store().exists(old)
    assert get_store().count(row.name) == 5
    assert sum(point.stamp.removed for point in get_store().scroll(row.name)) == 1
    assert set(IndexEntry.objects.values_list("generation", flat=True)) == {2}
    assert "unchanged" in complain("clip_reindex")


def test_a_rebuild_with_the_same_model_embeds_nothing():
    make(4, images=4)
    run("clip_reindex")
    before, _ = collection(), get_encoder().take()
    assert "4 products: 4" in run("clip_rebuild")
    assert get_encoder().take() == (0, 0)
    assert collection() != before
    assert get_store().count(collection()) == 4


def test_a_rebuild_that_is_interrupted_continues(other_model, monkeypatch):
    old = collection()
    interrupt_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        for _ in rebuilding.rebuild(DOCUMENT, index=BY_TWO):
            pass
    assert collection() == old
    begun = Collection.objects.get(state=Collection.State.BUILDING)
    assert begun.holder is None
    interrupt_after(monkeypatch, None)
    complain("clip_rebuild")
    assert collection() == begun.name
    assert len(get_encoder().texts) == 5
    assert not get_store().exists(old)


def test_a_rebuild_that_was_begun_for_yet_another_model_starts_anew(other_model, settings):
    next(rebuilding.rebuild(DOCUMENT, index=BY_TWO))
    begun = Collection.objects.get(state=Collection.State.BUILDING)
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "tests.doubles.encoders.CountingEncoder"}
    complain("clip_rebuild")
    assert not get_store().exists(begun.name)
    assert get_store().count(collection()) == 5


def test_two_rebuilds_at_once_are_refused(other_model):
    running = rebuilding.rebuild(DOCUMENT, index=BY_TWO)
    next(running)
    assert complain("clip_rebuild").startswith("Another process is rebuilding 'product'.")
    list(running)
    assert get_store().count(collection()) == 5


def test_a_rebuild_with_another_model_does_not_take_a_running_one_away(other_model, settings):
    running = rebuilding.rebuild(DOCUMENT, index=BY_TWO)
    next(running)
    theirs = settings.CLIP_SEARCH
    settings.CLIP_SEARCH = theirs | {"ENCODER": "tests.doubles.encoders.CountingEncoder"}
    assert complain("clip_rebuild").startswith("Another process is rebuilding 'product'.")
    settings.CLIP_SEARCH = theirs
    list(running)
    assert get_store().count(collection()) == 5


def test_a_rebuild_that_stalled_while_another_finished_leaves_the_result_alone(other_model, monkeypatch):
    monkeypatch.setattr(pipelines, "LEASE", timedelta(seconds=0.5))
    stalled = rebuilding.rebuild(DOCUMENT, index=BY_TWO)
    next(stalled)
    Collection.objects.update(lease=timezone.now())
    complain("clip_rebuild")
    live = collection()
    with pytest.raises(rebuilding.RebuildRunning):
        list(stalled)
    assert collection() == live
    assert get_store().count(live) == 5


def test_a_rebuild_that_another_goes_on_with_stops(other_model):
    running = rebuilding.rebuild(DOCUMENT, index=partial(parallel.index_due, batch_size=1))
    next(running)
    Collection.objects.filter(state=Collection.State.BUILDING).update(
        holder=uuid.uuid4(), lease=timezone.now() + rebuilding.LEASE
    )
    with pytest.raises(rebuilding.RebuildRunning):
        next(running)
    assert IndexEntry.objects.filter(generation=2).count() < 6


def test_a_swap_that_comes_too_late_destroys_nothing(other_model):
    """The last batch of a rebuild took longer than its lease, and another process swapped before it."""
    complain("clip_rebuild")
    row = Collection.objects.of(DOCUMENT).get()
    with pytest.raises(rebuilding.RebuildRunning, match="has ended the rebuild"):
        rebuilding.swap(row, uuid.uuid4())
    assert collection() == row.name
    assert get_store().exists(row.name)


def test_a_rebuild_that_cannot_finish_keeps_the_live_collection(other_model, monkeypatch):
    old = collection()
    with monkeypatch.context() as patched:
        patched.setattr(FileSystemStorage, "open", None)
        assert complain("clip_rebuild").startswith("Some products could not be indexed now,")
    assert collection() == old
    IndexEntry.objects.update(not_before=timezone.now())
    complain("clip_rebuild")
    assert collection() != old


@pytest.mark.django_db(transaction=True)
def test_what_another_model_wrote_just_before_the_swap_is_written_anew(settings, monkeypatch):
    product = Product.objects.create(name="Red mug", sku="M-1")
    older = settings.CLIP_SEARCH
    newer = older | {"ENCODER": "tests.doubles.encoders.OtherEncoder"}
    swap = rebuilding.swap

    def late(*args):
        settings.CLIP_SEARCH = older  # as a worker has it that was not restarted yet
        product.sku = "M-2"
        product.save()
        settings.CLIP_SEARCH = newer
        swap(*args)

    monkeypatch.setattr(rebuilding, "swap", late)
    settings.CLIP_SEARCH = newer
    assert "2 products: 1 embedded, 1 payload only" in run("clip_rebuild")
    assert names_in(collection()) == {"m2"}
    assert states() == {State.INDEXED: 1}


@pytest.mark.parametrize("images", [(1, 3), (3, 1)])
@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.django_db(transaction=True)
def test_a_rebuild_changes_how_many_images_are_searched(settings, tmp_path, monkeypatch, images, noted):
    """On the engine itself, which takes no vector of another shape; the live collection keeps its own."""
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"path": str(tmp_path / "qdrant")}}
    before, after = images
    monkeypatch.setattr(DOCUMENT.declaration, "max_images", before)
    product = Product.objects.create(name="Lamp", sku="L-1")
    for number in range(3):
        file = ContentFile(picture_bytes(f"rgb({number},9,9)"), name="picture.png")
        ProductImage.objects.create(product=product, position=number, original=file)
    if noted:
        rebuilding.start(DOCUMENT)  # one that was begun before, and is not what is wanted any more
    else:
        Collection.objects.update(multiple_images=None)  # as of one that was made before it was noted
        run("clip_reindex")  # by night
    monkeypatch.setattr(DOCUMENT.declaration, "max_images", after)
    product.save()  # before the rebuild
    assert states() == {State.INDEXED: 1}
    assert complain("clip_status").endswith("max_images has changed: run `manage.py clip_rebuild product`")
    run("clip_rebuild")
    assert "max_images" not in run("clip_status")
    key = DOCUMENT.point_id(str(product.pk))
    vector = get_store().get(collection(), [key], vectors=True)[key].vectors["image"]
    assert vector.shape[:-1] == ((after,) if after > 1 else ())
    assert states() == {State.INDEXED: 1}


def test_what_is_saved_during_a_rebuild_is_in_both_collections():
    made = make(6)
    run("clip_reindex")
    old = collection()
    running = rebuilding.rebuild(DOCUMENT, index=BY_TWO)
    next(running)
    made[0].name = "Table"
    made[0].save()
    made[1].delete()
    Product.objects.create(name="Bench", sku="C-9")
    for _ in indexing.index_due(DOCUMENT):
        pass
    building = Collection.objects.get(state=Collection.State.BUILDING).name
    assert {"c9", "c5"} <= names_in(old) & names_in(building)
    list(running)
    assert collection() == building
    assert names_in(building) == {f"c{n}" for n in (0, 2, 3, 4, 5, 9)}
    assert not get_store().exists(old)
