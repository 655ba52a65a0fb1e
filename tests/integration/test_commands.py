"""The commands: what they do, what they say, and what interrupting them costs."""

from __future__ import annotations

import gc
import io
import re
import sys
import uuid
from datetime import date, timedelta
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.management import CommandError, call_command, load_command_class
from django.core.management.base import BaseCommand
from django.utils import timezone

from clip_search import indexing, outbox
from clip_search.documents.registry import registry
from clip_search.encoders import get_encoder
from clip_search.exceptions import StoreUnavailable
from clip_search.indexing import pipeline as pipelines
from clip_search.indexing import rebuilding, targets
from clip_search.management import base as shared_by_commands
from clip_search.management.commands import clip_reindex
from clip_search.models import Collection, IndexEntry, PostedProduct, RelatedChange
from clip_search.stores import get_store
from clip_search.testing import pause_indexing
from clip_search.types import Point, Stamp
from tests.conftest import picture_bytes
from tests.doubles.stores import FaultyStore, down
from tests.shops.shop.models import Product, ProductImage

pytestmark = pytest.mark.django_db

DOCUMENT = registry.get("product")
State = IndexEntry.State


@pytest.fixture(autouse=True)
def doubles(settings):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {
        "ENCODER": "tests.doubles.encoders.CountingEncoder",
        "QDRANT": {"backend": "tests.doubles.stores.FaultyStore"},
    }
    yield
    FaultyStore.faults = []


def run(command: str, *arguments: str) -> str:
    """Return what a command says; what is wrong is said to stderr."""
    output = io.StringIO()
    call_command(command, *(arguments or ("product",)), stdout=output, stderr=output)
    return output.getvalue()


def test_cycles_are_looked_for_less_often_while_a_command_runs(monkeypatch):
    seen, before = [], gc.get_threshold()
    monkeypatch.setattr(clip_reindex.Command, "handle_document", lambda *_: seen.append(gc.get_threshold()))
    run("clip_reindex")
    assert seen[0][0] > 10 * before[0]
    assert gc.get_threshold() == before


def complain(command: str, *arguments: str) -> str:
    """Return what a command says that exits with an error, the error last."""
    output = io.StringIO()
    with pytest.raises(CommandError) as error:
        call_command(command, *(arguments or ("product",)), stdout=output, stderr=output)
    return f"{output.getvalue()}{error.value}"


def make(count: int, *, images: int = 0) -> list[Product]:
    """Make products that nobody has heard of, the first of them with a picture."""
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


# clip_reindex.


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
        "No document 'shop.Prodcut'. There are: product (shop.Product), article (shop.Article)"
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
    assert "1 products: 1 embedded" in run("clip_reindex", "product", "--ids", failed)
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
    assert said.count("nothing to search by") == 10
    assert "… and 3 more" in said
    assert said.endswith("13 of product failed")


def test_what_waits_for_another_try_is_said_and_the_exit_is_not_zero(monkeypatch):
    make(2, images=1)
    with monkeypatch.context() as patched:
        patched.setattr(FileSystemStorage, "open", None)
        said = complain("clip_reindex")
    assert "1 products: 1 embedded" in said
    assert said.endswith("1 of product wait for another try")


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
    """It was run with the wrong settings, and whoever has the right ones goes on searching."""
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
    assert "1 products: 1 unchanged" in run("clip_reindex", "product", "--ids", alone)


# clip_reindex --queue.


def test_queue_needs_a_queue(settings):
    assert 'CLIP_SEARCH["QUEUE"] is None' in complain("clip_reindex", "product", "--queue")
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QUEUE": "fast"}
    assert complain("clip_reindex", "product", "--queue") == (
        "--queue: RQ_QUEUES has no queue 'fast'. It has: default."
    )


@pytest.mark.django_db(transaction=True)
def test_queue_says_when_redis_is_away(settings, queue):
    make(1)
    settings.RQ_QUEUES = {"default": settings.RQ_QUEUES["default"] | {"PORT": 1}}
    assert "Redis does not answer" in complain("clip_reindex", "product", "--queue")


@pytest.mark.django_db(transaction=True)
def test_queue_gives_up_where_no_worker_works(queue, monkeypatch):
    monkeypatch.setattr(clip_reindex, "SECONDS_WITHOUT_PROGRESS", 0.3)
    make(2)
    said = complain("clip_reindex", "product", "--queue")
    assert "2 products wait" in said
    assert said.endswith("Start one: manage.py rqworker default")
    assert queue.count == 1


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_queue_hands_the_work_to_a_worker(shared, start_process):
    made = make(30, images=30)
    worker = start_process("tests/manage.py", "rqworker", "default", "--verbosity", "0", **shared)
    said = run("clip_reindex", "product", "--queue")
    assert "product: workers indexed 30 products" in said
    assert states() == {State.INDEXED: 30}
    assert get_store().count(collection()) == 30
    assert get_encoder().take() == (0, 0)
    Path(made[0].images.get().original.path).write_bytes(b"nothing")
    assert complain("clip_reindex", "product", "--queue").endswith("1 of product failed")
    assert worker.poll() is None


# Progress and help.


def test_a_terminal_gets_a_bar_with_rate_and_time_left(monkeypatch, capsys):
    make(6)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run("clip_reindex", "product", "--batch-size", "2")
    bar = capsys.readouterr().err
    assert "Indexing product" in bar
    assert "products" in bar
    assert "<" in bar


def test_elsewhere_a_line_says_now_and_then_how_far_it_is(monkeypatch, capsys):
    make(6)
    monkeypatch.setattr(shared_by_commands, "SECONDS_A_LINE", -1.0)
    said = run("clip_reindex", "product", "--batch-size", "2")
    assert re.search(r"^Indexing product: 4 of 6, \d+ a second, \d+ s left$", said, re.MULTILINE)
    assert capsys.readouterr().err == ""


def test_progress_of_nothing_yet_is_said_too(monkeypatch):
    monkeypatch.setattr(shared_by_commands, "SECONDS_A_LINE", -1.0)
    output = io.StringIO()
    shown = shared_by_commands.Progress(BaseCommand(stdout=output), 5, "Waiting")
    shown.add(0)
    shown.close()
    assert output.getvalue() == "Waiting: 0 of 5\n"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("clip_reindex", ["--ids", "--batch-size", "--queue", "--dry-run"]),
        ("clip_rebuild", []),
        ("clip_verify", ["--dry-run"]),
        ("clip_status", []),
    ],
)
def test_help_is_readable(command, options, capsys):
    with pytest.raises(SystemExit) as exit_:
        load_command_class("clip_search", command).run_from_argv(["manage.py", command, "--help"])
    said = capsys.readouterr().out
    assert exit_.value.code == 0
    assert "a document's name, or app.Model; all by default" in " ".join(said.split())
    assert all(option in said for option in options)


# clip_rebuild.


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
        for _ in rebuilding.rebuild(DOCUMENT, batch_size=2):
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
    next(rebuilding.rebuild(DOCUMENT, batch_size=2))
    begun = Collection.objects.get(state=Collection.State.BUILDING)
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "tests.doubles.encoders.CountingEncoder"}
    complain("clip_rebuild")
    assert not get_store().exists(begun.name)
    assert get_store().count(collection()) == 5


def test_two_rebuilds_at_once_are_refused(other_model):
    running = rebuilding.rebuild(DOCUMENT, batch_size=2)
    next(running)
    assert complain("clip_rebuild").startswith("Another process is rebuilding this document.")
    list(running)
    assert get_store().count(collection()) == 5


def test_a_rebuild_with_another_model_does_not_take_a_running_one_away(other_model, settings):
    running = rebuilding.rebuild(DOCUMENT, batch_size=2)
    next(running)
    theirs = settings.CLIP_SEARCH
    settings.CLIP_SEARCH = theirs | {"ENCODER": "tests.doubles.encoders.CountingEncoder"}
    assert complain("clip_rebuild").startswith("Another process is rebuilding this document.")
    settings.CLIP_SEARCH = theirs
    list(running)
    assert get_store().count(collection()) == 5


def test_a_rebuild_that_stalled_while_another_finished_leaves_the_result_alone(other_model, monkeypatch):
    monkeypatch.setattr(pipelines, "LEASE", timedelta(seconds=0.5))
    stalled = rebuilding.rebuild(DOCUMENT, batch_size=2)
    next(stalled)
    Collection.objects.update(lease=timezone.now())
    complain("clip_rebuild")
    live = collection()
    with pytest.raises(rebuilding.RebuildRunning):
        list(stalled)
    assert collection() == live
    assert get_store().count(live) == 5


def test_a_rebuild_that_another_goes_on_with_stops(other_model):
    running = rebuilding.rebuild(DOCUMENT, batch_size=1)
    next(running)
    Collection.objects.filter(state=Collection.State.BUILDING).update(
        holder=uuid.uuid4(), lease=timezone.now() + rebuilding.LEASE
    )
    with pytest.raises(rebuilding.RebuildRunning):
        next(running)
    assert IndexEntry.objects.filter(generation=2).count() < 6


def test_a_swap_that_comes_too_late_destroys_nothing(other_model):
    """The last batch of a rebuild took longer than its lease, and another process swapped meanwhile."""
    complain("clip_rebuild")
    row = Collection.objects.of(DOCUMENT).get()
    with pytest.raises(rebuilding.RebuildRunning):
        rebuilding.swap(row, uuid.uuid4())
    assert collection() == row.name
    assert get_store().exists(row.name)


def test_a_rebuild_that_cannot_finish_keeps_the_live_collection(other_model, monkeypatch):
    old = collection()
    with monkeypatch.context() as patched:
        patched.setattr(FileSystemStorage, "open", None)
        assert complain("clip_rebuild").startswith("Some products could not be indexed now.")
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
    running = rebuilding.rebuild(DOCUMENT, batch_size=2)
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


# clip_verify.


def orphan() -> Point:
    encoder = get_encoder()
    found = Point(
        id=DOCUMENT.point_id("gone-long-ago"),
        stamp=Stamp(product_id="gone-long-ago", revision=7, fingerprint=encoder.fingerprint),
        vectors={"text": encoder.embed_texts(["old"])[0]},
    )
    get_store().put(collection(), [found])
    return found


def test_verify_removes_what_the_database_does_not_know_and_makes_what_is_missing():
    made = make(3)
    run("clip_reindex")
    lost = DOCUMENT.point_id(str(made[0].pk))
    get_store().lose(collection(), lost)
    stray = orphan()
    said = complain("clip_verify", "product", "--dry-run")
    assert f"product {made[0].pk}: differs from the index" in said
    assert "product gone-long-ago: differs from the index" in said
    assert said.endswith("2 of product differ")
    assert get_store().get(collection(), [lost]) == {}
    said = run("clip_verify")
    assert "4 products: 1 embedded, 2 unchanged, 3 without image, 1 removed in" in said
    assert get_store().count(collection()) == 3
    assert get_store().get(collection(), [stray.id])[stray.id].stamp.removed
    assert run("clip_verify", "product", "--dry-run") == "product: 0 differ (dry run, nothing was changed)\n"


def test_verify_removes_a_point_whose_entry_says_removed():
    made = make(2)
    run("clip_reindex")
    Product.objects.filter(pk=made[0].pk)._raw_delete("default")
    IndexEntry.objects.filter(product_id=str(made[0].pk)).update(state=State.REMOVED)
    assert "1 removed" in run("clip_verify")
    assert get_store().count(collection()) == 1


# clip_status.


def test_status_says_what_there_is():
    make(3)
    run("clip_reindex")
    outbox.schedule(DOCUMENT, [str(Product.objects.first().pk)], wake=False)
    said = run("clip_status")
    assert "product (shop.Product)\n" in said
    assert f"collection {collection()} (live): 3 points, 256 dimensions, model hashing-enco" in said
    assert "  indexed: 2\n" in said
    assert "  pending: 1, longest since 2" in said


def test_status_says_that_nothing_can_be_found_and_what_is_still_to_be_followed():
    make(2)
    run("clip_reindex")
    RelatedChange.objects.create(document="product", model="shop.category", object_id="1", path="products")
    assert "  related changes to follow: 1\n" in run("clip_status")
    Collection.objects.all().delete()
    assert complain("clip_status").endswith("nothing can be found: run `manage.py clip_reindex product`")


def test_status_exits_with_an_error_where_something_is_wrong(monkeypatch):
    Product.objects.bulk_create([Product(name="", sku="N")])
    complain("clip_reindex")
    assert complain("clip_status").endswith("1 of product failed")

    def refuse(self, name):
        raise StoreUnavailable

    monkeypatch.setattr(FaultyStore, "count", refuse)
    assert "Qdrant did not answer" in complain("clip_status").splitlines()[-1]
