"""Each run of clip_reindex leaves a row, which the status shows."""

from __future__ import annotations

import pytest

from clip_search.models import Run, runs
from clip_search.stores import get_store
from tests.shops.shop.models import Product

from ..commands.actions import complain, make, run
from .actions import as_json, the

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.sql,
]


def test_a_run_is_recorded_with_its_counts(shop):
    Product.objects.filter(sku="C-1").update(name="Stool")
    Product.objects.get(sku="C-2").delete()
    run("clip_reindex")
    last = the(as_json())["last_run"]
    assert last["started_at"] < last["ended_at"]
    assert last["error"] == ""
    counts = {name: count for name, count in last["counts"].items() if count}
    assert counts == {"embedded": 1, "unchanged": 1, "removed": 1, "without_image": 1}
    assert " UTC, 3 products: 1 embedded, 1 unchanged, 1 without image, 1 removed in " in run("clip_status")
    assert Run.objects.count() == 2


@pytest.mark.parametrize("arguments", [["--dry-run"], ["--ids", "{pk}"]])
def test_a_dry_run_and_a_run_for_some_products_are_not_recorded(shop, arguments):
    pk = Product.objects.first().pk
    run("clip_reindex", "product", *(argument.format(pk=pk) for argument in arguments))
    assert Run.objects.count() == 1


def test_a_run_in_which_something_failed_says_what(shop, monkeypatch):
    Product.objects.filter(sku="C-1").update(name="", sku="")
    assert complain("clip_reindex").endswith("1 of product failed")
    assert the(as_json())["last_run"]["error"] == "1 of product failed"
    monkeypatch.setattr(get_store(), "create", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run("clip_reindex")
    assert the(as_json())["last_run"]["error"] == "KeyboardInterrupt"


def interrupt(*args, **options):
    raise KeyboardInterrupt


KILLED = """
import os, signal, django
django.setup()
from django.core.management import call_command
from clip_search.management.commands import clip_reindex
clip_reindex.repair = lambda document: os.kill(os.getpid(), signal.SIGKILL)
call_command("clip_reindex", "product")
"""


def test_a_run_that_was_killed_has_not_ended(shared, start_process):
    make(1)
    process = start_process("-c", KILLED, **shared)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == -9, output
    found = as_json()
    assert the(found)["last_run"]["ended_at"] is None
    (note,) = (note for note in found["notes"] if note["code"] == "run_not_ended")
    assert note["message"] == "the last clip_reindex of product has not ended: it is at work, or was killed"
    run("clip_reindex")
    assert as_json()["notes"] == []


def test_old_runs_are_forgotten(shop, monkeypatch):
    monkeypatch.setattr(runs, "KEPT", 3)
    for _ in range(4):
        run("clip_reindex")
    kept = list(Run.objects.order_by("pk").values_list("pk", flat=True))
    assert len(kept) == 3
    assert kept == list(range(kept[-1] - 2, kept[-1] + 1))
