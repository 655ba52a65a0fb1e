"""GET index-jobs."""

from __future__ import annotations

import pytest

from clip_search import indexing, jobs
from clip_search.models import IndexEntry

from .actions import NOBODY, damaged, entry_of, post_image

pytestmark = pytest.mark.django_db

# GET index-jobs.


@pytest.mark.sql
def test_job_goes_from_queued_to_indexed(client, woken, document):
    url = post_image(client).json()["status_url"]
    job = client.get(url).json()
    assert (job["status"], job["product_id"], job["error"], job["revision"]) == ("queued", "test-123", "", 1)
    jobs.index_due("product")
    assert client.get(url).json()["status"] == "indexed"


def test_job_is_being_indexed_while_a_worker_holds_it(client, woken, document):
    url = post_image(client).json()["status_url"]
    IndexEntry.objects.of(document).claim(10, indexing.LEASE)
    assert client.get(url).json()["status"] == "indexing"
    later = post_image(client).json()["status_url"]
    assert client.get(later).json()["status"] == "queued"


def test_job_is_done_when_a_later_revision_is(client, woken):
    first = post_image(client).json()["status_url"]
    post_image(client)
    jobs.index_due("product")
    assert client.get(first).json()["status"] == "indexed"


def test_job_says_that_its_product_was_deleted_since(client, woken):
    url = post_image(client).json()["status_url"]
    jobs.index_due("product")
    client.delete("/api/v1/products/test-123")
    assert client.get(url).json()["status"] == "indexed"
    jobs.index_due("product")
    assert client.get(url).json()["status"] == "removed"


@pytest.mark.parametrize(
    "job_id",
    ["x", "1", f"{NOBODY}.1", "{entry}.2", "{entry}.0", "{entry}", "{entry}.9999999999999999999"],
)
def test_unknown_jobs_are_404(client, woken, document, job_id):
    post_image(client)
    answer = client.get(f"/api/v1/index-jobs/{job_id.format(entry=entry_of(document).uuid)}")
    assert answer.status_code == 404


# Metadata.


def test_a_failed_job_does_not_read_as_done_while_the_next_one_waits(client, document):
    job = post_image(client, damaged()).json()["status_url"]
    assert client.get(job).json()["status"] == "failed"
    IndexEntry.objects.mark_changed(document, ["test-123"])
    assert client.get(job).json()["status"] == "queued"
