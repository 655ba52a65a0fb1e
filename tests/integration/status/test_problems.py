"""What is wrong with the index: for each kind the exit status, the sentence, and the JSON."""

from __future__ import annotations

import shutil
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone
from qdrant_client.models import Distance, StrictModeConfig, VectorParams

from clip_search import outbox
from clip_search.indexing import rebuilding
from clip_search.models import Collection, IndexEntry, RelatedChange
from clip_search.stores import get_store, reset_stores
from tests.doubles.qdrant_stub import WRITES
from tests.shops.shop.models import Product

from ..commands.actions import DOCUMENT, collection, complain, make, run
from .actions import as_json, assert_wrong, the, wait_for

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


def test_a_shop_in_order(shop):
    said = run("clip_status")
    found = as_json()
    assert (found["problems"], found["notes"], found["leftovers"], found["queue"]) == ([], [], None, None)
    document = the(found)
    assert document["entries"] == {"pending": 0, "indexed": 3, "failed": 0, "removed": 0}
    assert (document["rows"], document["points"], document["without_image"]) == (3, 3, 2)
    assert (document["pending_since"], document["truncated"]) == (None, 0)
    (live,) = document["collections"]
    assert (live["name"], live["has_configured_model"], live["points"]) == (collection(), True, 3)
    for line in ("rows: 3", "indexed: 3", "without image: 2"):
        assert f"  {line}\n" in said
    assert "pending" not in said


def test_all_documents_and_what_is_left_over(shop):
    found = as_json("product", "article")
    assert [document["name"] for document in found["documents"]] == ["product", "article"]
    assert found["leftovers"] is None
    name = collection()
    Collection.objects.all().delete()
    run("clip_reindex")
    every_document = ("--max-age", "900")
    said = run("clip_status", *every_document)
    assert f"left over, see `manage.py clip_cleanup --dry-run`:\n  collection {name} of " in said
    found = as_json(*every_document)
    assert found["ok"]
    (leftover,) = found["leftovers"]
    assert leftover["description"].startswith(f"collection {name} of ")
    assert leftover["kept"] == "it was made in the last hour"


# Nothing is indexed.


def test_never_indexed(folder):
    assert "not_indexed" not in {problem["code"] for problem in as_json()["problems"]}  # an empty shop
    make(3)
    found = assert_wrong(
        "not_indexed",
        r"^nothing of product can be found, but it has 3 rows: run `manage.py clip_reindex product`$",
    )
    assert (the(found)["points"], the(found)["collections"]) == (None, [])
    run("clip_reindex")
    assert as_json()["ok"]


# Pending for too long.


def test_waiting_for_too_long(shop):
    wait_for(800)
    assert as_json()["ok"]
    assert not as_json("product", "--max-age", "700")["ok"]
    wait_for(3 * 3600)
    sentence = r"^3 changes of product wait, the oldest for 3 h: run `manage.py clip_reindex product`$"
    assert_wrong("pending", sentence)
    assert as_json("product", "--max-age", "11000")["ok"]
    run("clip_reindex")
    assert as_json()["ok"]


def test_what_is_saved_again_and_again_waits_all_the_same(shop):
    wait_for(1000)
    outbox.schedule(DOCUMENT, [str(product.pk) for product in Product.objects.all()], wake=False)
    assert_wrong("pending", "the oldest for 16 min")


def test_a_related_change_that_nobody_follows(shop):
    long_ago = timezone.now() - timedelta(hours=1)
    RelatedChange.objects.create(
        document="product", model="shop.category", object_id="1", path="products", created_at=long_ago
    )
    found = assert_wrong("pending", "^1 change of product waits, the oldest for 60 min")
    assert the(found)["related_changes"] == 1


def test_the_last_error_of_what_waits_is_said(shop):
    wait_for(1000)
    IndexEntry.objects.update(error="Qdrant did not answer.", attempts=7)
    found = assert_wrong("pending", r"The most frequent error is: Qdrant did not answer\.$")
    (reason,) = the(found)["pending_reasons"]
    assert (reason["reason"], reason["count"], len(reason["product_ids"])) == ("Qdrant did not answer.", 3, 3)


# Failed, and why.


def test_failed_products_by_reason(shop):
    IndexEntry.objects.update(state="failed", error="The file is not a readable image.")
    first = IndexEntry.objects.order_by("pk").first()
    IndexEntry.objects.filter(pk=first.pk).update(error="The price has no value.")
    found = assert_wrong("failed", "^3 of product failed$")
    reasons = [(reason["reason"], reason["count"]) for reason in the(found)["failed_reasons"]]
    assert reasons == [("The file is not a readable image.", 2), ("The price has no value.", 1)]
    said = complain("clip_status")
    assert f"product {first.product_id}: The price has no value.\n" in said


# The CLIP model.


def test_another_model(shop, settings):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "tests.doubles.encoders.OtherEncoder"}
    found = assert_wrong(
        "other_model", r"another CLIP model than .* run `manage.py clip_rebuild product`, or"
    )
    (live,) = the(found)["collections"]
    assert live["has_configured_model"] is False
    assert found["model"]["fingerprint"] == "other-encoder-1"
    run("clip_rebuild")
    assert as_json()["ok"]


@pytest.mark.model
def test_a_model_that_is_not_there_is_not_downloaded(shop, settings, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *args, **options: pytest.fail("download"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    encoder = {"ENCODER": "clip_search.encoders.clip.ClipEncoder", "MODEL": "org/nowhere"}
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | encoder
    found = assert_wrong("model", r"""CLIP_SEARCH\["MODEL"\] = 'org/nowhere' is not on this machine""")
    assert the(found)["collections"][0]["has_configured_model"] is None


# The store.


def test_a_store_that_does_not_answer(stub, settings):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"url": "http://127.0.0.1:1"}}
    found = assert_wrong("store", r"Check that it runs where CLIP_SEARCH\[\"QDRANT\"\] says\.$")
    assert found["store"]["error"]
    assert the(found)["points"] is None
    assert [problem["code"] for problem in found["problems"]] == ["store"]


def test_a_store_that_does_not_answer_is_asked_once(stub):
    rebuilding.start(DOCUMENT)  # a second collection
    stub.share, stub.kinds = 1.0, ("503",)
    before = stub.requests
    assert not as_json()["ok"]
    assert stub.requests == before + 1


def test_a_store_that_has_lost_the_collection(shop):
    get_store().destroy(collection())
    found = assert_wrong("collection_missing", f"{collection()}: run `manage.py clip_reindex product`$")
    assert found["store"]["error"] == ""
    run("clip_reindex")
    assert as_json()["ok"]


def test_a_collection_that_somebody_else_made(stub):
    name = collection()
    stub.client.delete_collection(name)
    stub.client.create_collection(name, VectorParams(size=4, distance=Distance.COSINE))
    found = assert_wrong("foreign_collection", f"{name}.*`manage.py clip_rebuild`")
    assert the(found)["collections"][0]["error_code"] == "foreign_collection"
    run("clip_rebuild")
    assert as_json()["ok"]
    assert stub.client.collection_exists(name)


def test_another_snapshot_of_the_store(shop):
    copy = shop.with_name("snapshot")
    shutil.copytree(shop, copy)
    Product.objects.first().delete()
    run("clip_reindex")
    assert as_json()["ok"]
    reset_stores()
    shop.rename(shop.with_name("later"))  # the engine may still be tidying up in it
    copy.rename(shop)
    sentence = r"has 3 points, but 2 of its products are indexed: run `manage.py clip_verify product`$"
    assert the(assert_wrong("points_differ", sentence))["points"] == 3
    wait_for(0)
    assert as_json()["ok"]  # while something is pending, the numbers may differ
    run("clip_verify")
    assert as_json()["ok"]


def test_points_are_not_compared_if_qdrant_refuses_to_count_exactly(stub):
    IndexEntry.objects.first().delete()
    assert_wrong("points_differ", "has 3 points, but 2 of its products are indexed")
    stub.client.strict[collection()] = StrictModeConfig(enabled=True, search_allow_exact=False)
    found = as_json()
    assert the(found)["points"] == 3
    assert the(found)["collections"][0]["is_exact"] is False
    assert found["problems"] == []
    assert "(live): about 3 points, " in run("clip_status")


# Writes.


def test_a_write_that_was_refused_while_indexing(stub):
    Product.objects.update(price=5)
    stub.refuse(500, "Service internal error: No space left on device", only=WRITES)
    complain("clip_reindex")
    sentence = "^the store refused the last write to .*No space left on device"
    assert "refused_at" in the(assert_wrong("write_refused", sentence))["collections"][0]
    stub.accept()
    IndexEntry.objects.update(not_before=timezone.now())
    run("clip_reindex")
    assert as_json()["ok"]


def test_a_refused_write_is_said_until_one_succeeds(shop):
    reason = "Service internal error: No space left on device"
    Collection.objects.update(refusal=reason, refused_at=timezone.now())
    found = assert_wrong(
        "write_refused", f"^the store refused the last write to .*: {reason}. .* --check-writes"
    )
    assert the(found)["collections"][0]["refusal"] == reason
    before = get_store().scroll(collection())
    assert as_json("product", "--check-writes")["ok"]
    assert as_json()["ok"]
    assert get_store().scroll(collection()) == before


@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        (403, "Forbidden", r"refused access \(403\)"),
        (500, "Service internal error: No space left on device", "No space left on device"),
    ],
)
def test_writes_that_a_server_refuses_are_found_by_trying_one(stub, status, reason, said):
    stub.refuse(status, reason, only=WRITES)
    assert as_json()["ok"]  # nothing was written since
    assert_wrong("write_refused", said, "product", "--check-writes")
    assert_wrong("write_refused", said)
    stub.accept()
    assert not as_json()["ok"]
    assert as_json("product", "--check-writes")["ok"]


# What a rebuild has left.


def test_a_rebuild_that_was_interrupted_is_a_note_with_its_size(shop):
    building = rebuilding.start(DOCUMENT)
    found = as_json()
    assert found["ok"]
    (note,) = found["notes"]
    assert (note["code"], note["document"]) == ("unfinished", "product")
    step = "3 products to go; interrupted: `manage.py clip_rebuild product` continues it"
    assert note["message"] == f"collection {building.name} of product (building, 0 points): {step}"
    assert f"  collection {building.name} (building): 0 points, " in run("clip_status")
    assert f"\n    {step}\n" in run("clip_status")
    assert [one["state"] for one in the(found)["collections"]] == ["live", "building"]


# The database, and the shop's own code.


def test_a_database_that_cannot_be_read(shop, monkeypatch):
    def fail(self, document):
        raise DatabaseError("disk I/O error")

    monkeypatch.setattr(type(Collection.objects.all()), "of", fail)
    found = assert_wrong("document", "^product cannot be read: disk I/O error$")
    assert found["documents"] == []


def test_settings_that_cannot_be_read(shop, settings):
    settings.CLIP_SEARCH = "nothing"
    assert complain("clip_status") == "CLIP_SEARCH is no dict. Run `manage.py check`."


def test_nothing_is_written_and_no_model_is_loaded(shop, monkeypatch, django_assert_num_queries):
    with connection.execute_wrapper(no_write):
        as_json()


def no_write(execute, sql, params, many, context):
    assert sql.startswith("SELECT"), sql
    return execute(sql, params, many, context)
