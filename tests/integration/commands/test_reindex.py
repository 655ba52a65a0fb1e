"""clip_reindex."""

from __future__ import annotations

import gc
import io
import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from django.core.files.storage import FileSystemStorage
from django.core.management import call_command
from django.utils import timezone

from clip_search import outbox
from clip_search.documents.registry import registry
from clip_search.encoders import get_encoder
from clip_search.indexing import pipeline as pipelines
from clip_search.indexing import targets
from clip_search.management.commands import clip_reindex
from clip_search.models import IndexEntry, PostedProduct
from clip_search.stores import get_store
from clip_search.testing import HashingEncoder
from clip_search.types import Point, Stamp
from tests.doubles.stores import FaultyStore, down
from tests.shops.shop.models import Product, ProductImage

from .actions import DOCUMENT, State, collection, complain, interrupt_after, make, names_in, run, states

pytestmark = pytest.mark.django_db


def test_cycles_are_looked_for_less_often_while_a_command_runs(monkeypatch):
    seen, before = [], gc.get_threshold()
    monkeypatch.setattr(clip_reindex.Command, "handle_document", lambda *_: seen.append(gc.get_threshold()))
    run("clip_reindex")
    assert seen[0][0] > 10 * before[0]
    assert gc.get_threshold() == before


def test_the_first_run_indexes_everything():
    make(5, images=4)
    assert re.fullmatch(
        r"product: 5 products: 5 embedded, 1 without image in \d+\.\d s\n", run("clip_reindex")
    )
    assert get_store().count(collection()) == 5


def test_the_summary_says_what_was_done():
    products = make(12, images=11)
    run("clip_reindex")
    get_encoder().take()
    Product.objects.filter(pk__in=[p.pk for p in products[:3]]).update(name="Table")
    Product.objects.filter(pk__in=[p.pk for p in products[3:5]]).update(price=9)
    ProductImage.objects.filter(product=products[5]).delete()
    Product.objects.filter(pk=products[5].pk)._raw_delete("default")
    said = run("clip_reindex")
    assert re.fullmatch(
        r"product: 12 products: 3 embedded, 2 payload only, 6 unchanged, 1 without image, 1 removed "
        r"in \d+\.\d s\n",
        said,
    )
    assert get_encoder().take() == (1, 0)


def test_a_nightly_run_over_an_unchanged_catalogue_reads_rows_and_nothing_else(monkeypatch):
    make(6, images=6)
    run("clip_reindex")
    get_encoder().take()
    entries, written = list(IndexEntry.objects.values()), get_store().written
    monkeypatch.setattr(FileSystemStorage, "open", None)
    assert "6 products: 6 unchanged in" in run("clip_reindex")
    assert get_encoder().take() == (0, 0)
    assert get_store().written == written
    assert list(IndexEntry.objects.values()) == entries


def test_what_leaves_the_queryset_without_a_save_is_removed(monkeypatch):
    today = date(2025, 1, 1)
    made = make(3)
    Product.objects.filter(pk=made[0].pk).update(released=today)
    monkeypatch.setattr(
        DOCUMENT.declaration,
        "get_queryset",
        lambda: Product.objects.exclude(released__lt=today + timedelta(days=age[0])),
    )
    age = [0]
    assert "3 embedded" in run("clip_reindex")
    age = [1]
    assert "3 products: 2 unchanged, 2 without image, 1 removed in" in run("clip_reindex")
    assert states() == {State.INDEXED: 2, State.REMOVED: 1}
    assert "2 products: 2 unchanged" in run("clip_reindex")
    age = [0]
    assert "1 embedded" in run("clip_reindex")


def test_ids_limits_the_run():
    made = make(4)
    assert "2 products: 2 embedded" in run(
        "clip_reindex", "product", "--ids", str(made[1].pk), str(made[3].pk)
    )
    assert names_in(collection()) == {"c1", "c3"}


def test_ids_finds_what_is_gone_and_refuses_what_never_was():
    made = make(2)
    run("clip_reindex")
    key = made[0].pk
    Product.objects.filter(pk=key)._raw_delete("default")
    said = complain("clip_reindex", "product", "--ids", str(key), "nonsense", "999999")
    assert said == "--ids: product has no 999999, nonsense."
    assert states() == {State.INDEXED: 2}
    assert "1 removed" in run("clip_reindex", "product", "--ids", str(key))


def test_a_dry_run_counts_and_changes_nothing():
    made = make(5)
    run("clip_reindex")
    make(2)
    Product.objects.filter(pk=made[0].pk).update(name="Table")
    Product.objects.filter(pk=made[1].pk)._raw_delete("default")
    entries, written = list(IndexEntry.objects.values()), get_store().written
    said = run("clip_reindex", "product", "--dry-run")
    assert said == (
        "product: 3 to index, 1 to remove, 0 waiting already, 3 unchanged, 0 failed before "
        "(dry run, nothing was changed)\n"
    )
    assert (list(IndexEntry.objects.values()), get_store().written) == (entries, written)


def test_batch_size_is_obeyed_and_checked(monkeypatch):
    make(7)
    sizes = []
    embed_texts = get_encoder().embed_texts
    monkeypatch.setattr(
        get_encoder(), "embed_texts", lambda texts: (sizes.append(len(texts)), embed_texts(texts))[1]
    )
    run("clip_reindex", "product", "--batch-size", "3")
    assert sizes == [3, 3, 1]
    for wrong in ("0", "1001"):
        refusal = complain("clip_reindex", "--batch-size", wrong)
        assert refusal == "--batch-size: name a number of products from 1 to 1000."


@pytest.mark.parametrize("label", ["product", "shop.Product", "SHOP.product"])
def test_labels(label):
    make(1)
    assert "1 embedded" in run("clip_reindex", label)


def test_an_unknown_label_is_refused_and_the_known_ones_named():
    assert complain("clip_reindex", "shop.Prodcut").startswith(
        "No document 'shop.Prodcut'. There are: article (shop.Article), catalogue (oscar"
    )


@pytest.mark.django_db(databases=["default", "other"])
def test_without_a_label_every_document_is_done():
    make(1)
    output = io.StringIO()
    call_command("clip_reindex", stdout=output)
    said = output.getvalue()
    assert all(f"{document.name}: " in said for document in registry)


def test_products_that_fail_are_listed_and_the_exit_is_not_zero():
    broken = make(2, images=2)[0]
    Path(broken.images.get().original.path).write_bytes(b"nothing")
    said = complain("clip_reindex")
    assert f"product {broken.pk}: The file is not a readable image." in said
    assert "2 products: 1 embedded, 1 failed in" in said
    assert said.endswith("1 of product failed")
    assert "2 products: 1 unchanged, 1 failed in" in complain("clip_reindex")


def test_ids_tries_what_failed_again(settings):
    """Whatever was wrong may have been corrected without a trace."""
    make(2, images=1)
    limited = settings.CLIP_SEARCH | {"MAX_IMAGE_PIXELS": 1}
    settings.CLIP_SEARCH, allowing = limited, settings.CLIP_SEARCH
    assert "1 failed" in complain("clip_reindex")
    settings.CLIP_SEARCH = allowing
    failed = IndexEntry.objects.get(state=State.FAILED).product_id
    assert "1 failed" in complain("clip_reindex")
    assert "1 product: 1 embedded" in run("clip_reindex", "product", "--ids", failed)
    assert states() == {State.INDEXED: 2}


def test_what_failed_and_is_right_again_is_no_failure_any_more(monkeypatch):
    made = make(1)
    run("clip_reindex")

    def down(obj):
        raise ConnectionError("the price service is down")

    with monkeypatch.context() as patch:
        patch.setattr(DOCUMENT.declaration, "get_payload", down)
        IndexEntry.objects.mark_changed(DOCUMENT, [str(made[0].pk)])
        assert "the price service is down" in complain("clip_reindex")
    run("clip_reindex")
    assert states() == {State.INDEXED: 1}
    assert get_encoder().take() == (1, 0)


def test_of_many_failures_the_first_are_listed():
    Product.objects.bulk_create(Product(name="", sku=f"N-{n}") for n in range(13))
    said = complain("clip_reindex")
    assert said.count("neither text nor an image") == 10
    assert "… and 3 more" in said
    assert said.endswith("13 of product failed")


def test_what_waits_for_another_try_is_said_and_the_exit_is_not_zero(monkeypatch):
    make(2, images=1)
    with monkeypatch.context() as patched:
        patched.setattr(FileSystemStorage, "open", None)
        said = complain("clip_reindex")
    assert "1 product: 1 embedded" in said
    assert said.endswith("1 of product waits for another try")


def test_a_store_that_is_away_is_an_error_and_nothing_is_lost():
    make(2)
    FaultyStore.faults = down(1)
    assert "Qdrant did not answer" in complain("clip_reindex")
    assert "2 embedded" in run("clip_reindex")


def test_exact_words_that_were_written_in_another_form_are_written_anew(monkeypatch):
    make(3)
    with monkeypatch.context() as patched:
        patched.setattr("clip_search.documents.binding.normalise", str.upper)
        run("clip_reindex")
    assert names_in(collection()) == {"C-0", "C-1", "C-2"}
    assert "3 payload only" in run("clip_reindex")
    assert names_in(collection()) == {"c0", "c1", "c2"}


@pytest.mark.parametrize("command", ["clip_reindex", "clip_verify"])
def test_a_collection_that_was_lost_is_made_again(command):
    make(3)
    run("clip_reindex")
    get_store().destroy(collection())
    assert "3 embedded" in run(command)
    assert get_store().count(collection()) == 3


@pytest.mark.parametrize("command", ["clip_reindex", "clip_verify"])
@pytest.mark.parametrize("fault", ["folder", "model"])
def test_a_store_or_model_of_another_setting_costs_nothing(settings, tmp_path, command, fault):
    """The command was run with wrong settings. Processes with the right ones go on searching."""
    right = settings.CLIP_SEARCH | {"QDRANT": {"path": str(tmp_path / "qdrant")}}
    (tmp_path / "file").touch()
    wrong = {"QDRANT": {"path": str(tmp_path / ("file" if fault == "folder" else "elsewhere"))}}
    if fault == "model":
        wrong |= {"ENCODER": "clip_search.encoders.clip.ClipEncoder", "MODEL": str(tmp_path / "none")}
    settings.CLIP_SEARCH = right
    make(3)
    run("clip_reindex")
    before, found = collection(), states()
    settings.CLIP_SEARCH = right | wrong
    complain(command)
    settings.CLIP_SEARCH = right
    assert (collection(), states()) == (before, found)
    assert "3 unchanged" in run("clip_reindex")


def test_a_model_that_was_changed_is_an_error_with_the_remedy(settings):
    make(1)
    run("clip_reindex")
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "tests.doubles.encoders.OtherEncoder"}
    assert "Run `manage.py clip_rebuild product`" in complain("clip_reindex")


def test_interrupted_at_any_moment_it_continues(monkeypatch):
    make(10)
    interrupt_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        run("clip_reindex", "product", "--batch-size", "2")
    assert not IndexEntry.objects.exclude(claim=None).exists()
    done = states()[State.INDEXED]
    assert 0 < done < 10
    interrupt_after(monkeypatch, None)
    assert f"10 products: {10 - done} embedded, {done} unchanged" in run("clip_reindex")
    assert len(get_encoder().texts) == 10


def test_what_a_killed_run_held_is_waited_for(monkeypatch):
    monkeypatch.setattr(pipelines, "LEASE", timedelta(seconds=0.5))
    make(4)
    targets.get_target(DOCUMENT)
    outbox.schedule(DOCUMENT, [str(product.pk) for product in Product.objects.all()], wake=False)
    IndexEntry.objects.of(DOCUMENT).claim(3, pipelines.LEASE)
    assert "4 products: 4 embedded" in run("clip_reindex")


def test_tombstones_are_purged_in_the_end():
    made = make(3)
    run("clip_reindex")
    for product in made[:2]:
        Product.objects.filter(pk=product.pk)._raw_delete("default")
    run("clip_reindex")
    old = IndexEntry.objects.filter(product_id=str(made[0].pk))
    old.update(indexed_at=timezone.now() - timedelta(days=31))
    assert len(get_store().scroll(collection())) == 3
    run("clip_reindex")
    assert not old.exists()
    assert len(get_store().scroll(collection())) == 2


def test_posted_products_are_compared_too():
    made = make(1)
    both, alone = str(made[0].pk), "p-1"
    for key in (both, alone):
        PostedProduct.objects.save_product(DOCUMENT, key, {"name": f"Posted {key}"})
        IndexEntry.objects.mark_changed(DOCUMENT, [key], source="posted")
    assert "2 products: 2 embedded" in run("clip_reindex")
    assert "2 products: 2 unchanged" in run("clip_reindex")
    PostedProduct.objects.filter(product_id=alone).update(name="Renamed")
    assert "2 products: 1 embedded, 1 unchanged" in run("clip_reindex")
    assert "1 product: 1 unchanged" in run("clip_reindex", "product", "--ids", alone)


# Points that the database does not know.


def bring_back() -> None:
    """Put the point of a product that was deleted long ago into the store, as a restored snapshot does."""
    stamp = Stamp(product_id="gone", revision=7, fingerprint=get_encoder().fingerprint)
    vectors = {"text": get_encoder().embed_texts(["old"])[0]}
    get_store().put(collection(), [Point(id=DOCUMENT.point_id("gone"), stamp=stamp, vectors=vectors)])


def test_a_point_of_no_product_is_said_with_what_removes_it():
    made = make(2)
    run("clip_reindex")
    bring_back()
    assert complain("clip_reindex").endswith(
        "the collection of product has 3 points, but 2 of its products are indexed: "
        "run `manage.py clip_verify product`"
    )
    assert "points" not in run("clip_reindex", "product", "--ids", str(made[0].pk))


def test_nothing_is_said_of_points_while_something_is_pending():
    changed = str(make(2)[0].pk)
    run("clip_reindex")
    bring_back()
    IndexEntry.objects.mark_changed(DOCUMENT, [changed])
    later = timezone.now() + timedelta(minutes=1)
    IndexEntry.objects.filter(product_id=changed).update(not_before=later, attempts=1)
    assert "points" not in run("clip_reindex")


def test_nothing_is_said_of_points_that_are_counted_approximately(monkeypatch):
    make(2)
    run("clip_reindex")
    bring_back()
    monkeypatch.setattr(get_store(), "counts_exactly", lambda name: False)
    assert "points" not in run("clip_reindex")


def test_a_product_that_failed_may_have_a_point_or_none(monkeypatch):
    made = make(3)
    monkeypatch.setattr(type(DOCUMENT.declaration), "get_text", staticmethod(text_of))
    Product.objects.filter(pk=made[0].pk).update(name="Broken")
    assert complain("clip_reindex").endswith("\n1 of product failed")  # it has no point
    Product.objects.filter(pk=made[1].pk).update(name="Broken")
    assert complain("clip_reindex").endswith("\n2 of product failed")  # one of them has its old point
    assert get_store().count(collection()) == 2


def text_of(product: Product) -> str:
    if product.name == "Broken":
        raise ValueError("broken")
    return product.name


def test_a_run_in_which_nothing_changed_does_not_load_the_model(monkeypatch):
    make(2)
    run("clip_reindex")

    def load(encoder):
        raise AssertionError("The CLIP model was loaded.")

    monkeypatch.setattr(HashingEncoder, "dimension", property(load))
    for name in ("embed_texts", "embed_images", "warm_up"):
        monkeypatch.setattr(HashingEncoder, name, load)
    assert "2 unchanged" in run("clip_reindex")
    run("clip_verify")
    run("clip_status")
