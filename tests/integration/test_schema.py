"""The OpenAPI schema: valid, and true: requests made from it are answered as it says, never with a 5xx."""

from __future__ import annotations

import io
from collections import Counter

import pytest
import yaml
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections

from clip_search import jobs, outbox
from clip_search.documents.registry import registry
from clip_search.testing import pause_indexing
from tests.conftest import picture_bytes
from tests.shops.shop.models import Category, Product

pytest.importorskip("drf_spectacular")
schemathesis = pytest.importorskip("schemathesis")

import hypothesis  # noqa: E402, it comes with schemathesis
from drf_spectacular.management.commands.spectacular import Command  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.transport.serialization import Binary  # noqa: E402

pytestmark = pytest.mark.django_db(databases=["default", "other"])

ENDPOINTS = {
    ("", "get"),
    ("index-product", "post"),
    ("index-product-with-image", "post"),
    ("index-jobs/{job_id}", "get"),
    ("products/{product_id}", "delete"),
    ("products/{product_id}/similar", "get"),
    ("search", "get"),
    ("search", "post"),
    ("suggest", "get"),
    ("health", "get"),
    ("status", "get"),
}
EXAMPLES = 30
"""Requests an endpoint: 330 together."""
NEGATIVE = schemathesis.GenerationMode.NEGATIVE
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
PICTURE = picture_bytes("red")
schemathesis.openapi.format("binary", (st.sampled_from([PICTURE, PICTURE[:60]]) | st.binary()).map(Binary))
ALL_HEALTH = list(hypothesis.HealthCheck)


@pytest.fixture
def schema() -> dict[str, object]:
    """Return the schema as `manage.py spectacular --validate --fail-on-warn` writes it."""
    output = io.StringIO()
    call_command(Command(stdout=output), validate=True, fail_on_warn=True)
    return yaml.safe_load(output.getvalue())


def operations(schema):
    paths = {path.removeprefix("/api/v1/"): methods for path, methods in schema["paths"].items()}
    return {(path, method): facts for path, methods in paths.items() for method, facts in methods.items()}


def test_every_endpoint_is_in_it_and_nothing_else(schema):
    assert operations(schema).keys() == ENDPOINTS


def test_filters_of_the_document_are_parameters(schema):
    facts = operations(schema)["search", "get"]["parameters"]
    by_name = {parameter["name"]: parameter for parameter in facts}
    assert {"q", "page", "page_size", "facets", "category", "price__lte", "released__gte"} <= by_name.keys()
    assert by_name["price__lte"]["schema"] == {"type": "number"}
    assert by_name["category__in"]["schema"] == {"type": "array", "items": {"type": "string"}}
    assert by_name["q"]["required"]
    assert {"order_by", "everything", "min_score"} <= by_name.keys()
    assert by_name["price__ranges"]["schema"] == {"type": "array", "items": {"type": "number"}}
    assert by_name["released__period"]["schema"]["enum"] == ["day", "month", "year"]
    by_photo = {
        parameter["name"]: parameter for parameter in operations(schema)["search", "post"]["parameters"]
    }
    assert "everything" not in by_photo
    assert not by_photo["q"].get("required")


def test_a_document_that_is_not_named_leaves_the_filters_out(settings):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"API_DOCUMENT": "nothing"}
    output = io.StringIO()
    call_command(Command(stdout=output), validate=True, fail_on_warn=True)
    parameters = operations(yaml.safe_load(output.getvalue()))["search", "get"]["parameters"]
    assert {parameter["name"] for parameter in parameters} == {
        *("q", "page", "page_size", "facets", "order_by", "everything", "min_score")
    }


def test_a_facet_is_described_as_a_tree(schema):
    value = schema["components"]["schemas"]["ClipSearchFacetValue"]["properties"]
    assert value["children"]["items"] == {"$ref": "#/components/schemas/ClipSearchFacetValue"}
    assert {"type": "number"} in value["start"]["oneOf"]


def test_files_are_sent_as_files(schema):
    image = schema["components"]["schemas"]["ClipSearchImage"]["properties"]["image_file"]
    assert image == {"type": "string", "format": "binary"}


def test_names_do_not_collide_with_those_of_the_shop(schema):
    assert all(name.startswith("ClipSearch") for name in schema["components"]["schemas"])


# Requests made from it.


@pytest.fixture
def shop(uncounted_staff) -> str:
    """A shop with something in it, no limit on requests, and a member of staff; returns the header."""
    with pause_indexing():
        kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
        for number in range(20):
            day = f"2026-03-{number + 1:02}"
            Product.objects.create(
                name=f"Red mug {number}", sku=f"M{number}", category=kitchen, price=number, released=day
            )
    document = registry.get("product")
    outbox.schedule(document, document.product_ids(Product.objects.all()), wake=False)
    jobs.index_due("product")
    return "Basic c3RhZmY6c2VjcmV0"


@pytest.fixture
def app():
    """The shop as a WSGI application that keeps the test's connection, as Django's test client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield get_wsgi_application()
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def fuzz(schema, app, header: str, examples: int) -> dict[str, Counter[int]]:
    """Send requests of every kind, right and wrong. Returns how often each operation answered with what."""
    loaded = schemathesis.openapi.from_dict(schema)
    loaded.app = app
    operations = [result.ok() for result in loaded.get_all_operations()]
    return {operation.label: send_many(operation, header, examples) for operation in operations}


def send_many(operation, header: str, examples: int) -> Counter[int]:
    """Send requests to one endpoint, and hold each answer to the schema."""
    statuses: Counter[int] = Counter()

    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=ALL_HEALTH,
        derandomize=examples == EXAMPLES,  # the same ones in every run of the suite
    )
    @hypothesis.given(case=operation.as_strategy() | operation.as_strategy(generation_mode=NEGATIVE))
    def send(case) -> None:
        answer = case.call(headers={"Authorization": header})
        statuses[answer.status_code] += 1
        # the status answers 503 as soon as a product failed
        excluded = [not_a_server_error] if operation.path.endswith("/status") else []
        case.validate_response(answer, checks=CHECKS, excluded_checks=excluded)

    send()
    return statuses


def test_no_request_made_from_the_schema_is_a_server_error(schema, app, shop):
    statuses = fuzz(schema, app, shop, EXAMPLES)
    assert sum(map(Counter.total, statuses.values())) >= 200


@pytest.mark.soak
def test_no_request_of_ten_thousand_is_a_server_error(schema, app, shop):
    statuses = fuzz(schema, app, shop, 1_500)
    assert sum(map(Counter.total, statuses.values())) >= 10_000
    assert all(min(seen) < 300 for name, seen in statuses.items() if "index-jobs" not in name), statuses
