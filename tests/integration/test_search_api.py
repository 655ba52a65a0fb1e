"""Searching over HTTP, and the schema that describes the endpoints."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.urls import reverse
from redis.backoff import NoBackoff
from redis.retry import Retry

from clip_search import Keyword
from clip_search.api import schema, search
from clip_search.documents.registry import registry
from clip_search.exceptions import StoreUnavailable
from clip_search.models import IndexEntry
from clip_search.searching import finding, placing
from clip_search.stores import get_store
from clip_search.testing import MemoryStore, pause_indexing
from tests.conftest import ROOT, picture_bytes
from tests.shops.shop.models import Category, Product, ProductImage

pytestmark = pytest.mark.django_db(transaction=True)
SEARCH = "/api/v1/search"


@pytest.fixture
def products(picture) -> dict[str, Product]:
    kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
    made = {
        "mug": Product.objects.create(name="Red mug", sku="M-1", price=10, category=kitchen),
        "pot": Product.objects.create(name="Red teapot", sku="T-1", price=40, category=kitchen),
        "hat": Product.objects.create(name="Blue hat", sku="H-1", price=20, in_stock=False),
    }
    for name, colour in (("mug", "red"), ("pot", "red"), ("hat", "blue")):
        ProductImage.objects.create(product=made[name], original=picture(colour))
    return made


def ids(answer) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [result["product_id"] for result in answer.json()["results"]]


def photo(data: bytes | None = None) -> SimpleUploadedFile:
    return SimpleUploadedFile("photo.png", picture_bytes("blue") if data is None else data)


def test_a_page_has_hits_facets_and_what_it_is_a_page_of(client, products):
    answer = client.get(SEARCH, {"q": "red mug", "facets": "category,tag", "page_size": 2})
    body = answer.json()
    assert ids(answer)[0] == str(products["mug"].pk)
    assert (body["count"], body["page"], body["page_size"]) == (1, 1, 2)
    kitchen = {
        "value": "kitchen",
        "label": "kitchen",
        "count": 1,
        "chosen": False,
        "start": None,
        "end": None,
    }
    assert body["facets"] == {"category": [{**kitchen, "children": []}], "tag": []}
    assert body["facet_stats"]["tag"] == {"minimum": None, "maximum": None, "exact": True}
    assert (body["results"][0]["basis"], body["results"][0]["relevance"]) == ("exact", 1.0)
    assert (body["corrected"], body["dropped"], body["closest"]) == ("", [], [])
    assert body["results"][0]["payload"]["price"] == 10.0
    assert "_clip" not in body["results"][0]["payload"]


def test_what_is_gone_is_not_shown_and_marked_for_removal(client, products, admin_client):
    posted = {"product_id": "posted", "name": "Red jug"}
    assert admin_client.post("/api/v1/index-product", posted).status_code == 200
    Product.objects.filter(pk=products["mug"].pk).update(is_public=False)
    gone = {str(products[name].pk) for name in ("mug", "hat")}
    with pause_indexing():
        products["hat"].delete()
    answer = client.get(SEARCH, {"q": "red mug", "everything": "true"})
    assert set(ids(answer)) == {str(products["pot"].pk), "posted"}
    assert answer.json()["count"] == 2
    pending = IndexEntry.objects.filter(state=IndexEntry.State.PENDING)
    assert {entry.product_id for entry in pending} == gone
    photographed = ids(client.post(SEARCH, {"image_file": photo()}))
    assert photographed == ids(client.get("/api/v1/products/posted/similar")) == [str(products["pot"].pk)]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"price__lte": "20"}, {"mug", "hat"}),
        ({"category": "kitchen", "price__gt": "10"}, {"pot"}),
        ({"in_stock": "false"}, {"hat"}),
        ({"category__in": "kitchen,garden"}, {"mug", "pot"}),
        ({"category__in": ["kitchen", "garden"]}, {"mug", "pot"}),
        ({"category__isnull": "true"}, {"hat"}),
    ],
)
def test_filters(client, products, filters, expected):
    answer = client.get(SEARCH, {"q": "red", "everything": "true", **filters})
    assert set(ids(answer)) == {str(products[name].pk) for name in expected}
    assert answer.json()["count"] == len(expected)


def test_a_filter_may_be_called_format(client, products, monkeypatch):
    document = type(registry.get("product").declaration)
    monkeypatch.setattr(document, "filter_fields", {"format": Keyword("description")})
    Product.objects.filter(pk=products["mug"].pk).update(description="paperback")
    document.reindex(Product.objects.all())
    for params in ({"format": "paperback"}, {"format__in": "paperback,json"}):
        assert ids(client.get(SEARCH, {"q": "red", **params})) == [str(products["mug"].pk)]


def test_what_is_not_known_is_refused_with_what_is(client, products):
    for name in ("facets", "order_by"):
        (message,) = client.get(SEARCH, {"q": "red", name: "colour"}).json()[name]
        assert "category, in_stock, price, released, tag" in message


def test_results_are_ordered_by_filters(client, products):
    mug, pot, hat = (str(product.pk) for product in products.values())
    shop = {"q": "red", "everything": "true"}
    assert ids(client.get(SEARCH, shop | {"order_by": "-price"})) == [pot, hat, mug]
    assert ids(client.get(SEARCH, shop | {"order_by": "-in_stock,price"})) == [mug, pot, hat]
    assert ids(client.get(SEARCH, shop | {"order_by": ["-in_stock", "price"]})) == [mug, pot, hat]
    assert ids(client.get(SEARCH, {"q": "red", "order_by": "-price"})) == [pot, mug]
    assert ids(client.get(f"/api/v1/products/{mug}/similar", {"order_by": "price"})) == [hat, pot]
    assert ids(client.post(SEARCH + "?order_by=price", {"image_file": photo()})) == [mug, hat, pot]


def test_numbers_and_dates_are_counted_in_ranges_and_periods(client, products):
    Product.objects.filter(pk=products["pot"].pk).update(released="2026-03-04")
    registry.get("product").declaration.reindex(Product.objects.all())
    wanted = {"facets": "category", "price__ranges": "20,30", "released__period": "month"}
    body = client.get(SEARCH, {"q": "red", "price__gte": "30", **wanted}).json()
    assert list(body["facets"]) == list(body["facet_stats"]) == ["category", "price", "released"]
    ranges = [(each["start"], each["end"], each["count"], each["chosen"]) for each in body["facets"]["price"]]
    assert ranges == [(None, 20, 1, False), (30, None, 1, True)]
    assert body["facet_stats"]["price"] == {"minimum": 10, "maximum": 40, "exact": True}
    (march,) = body["facets"]["released"]
    assert (march["value"], march["start"], march["end"]) == ("2026-03-01", "2026-03-01", "2026-04-01")
    assert (march["label"], march["count"]) == ("March 2026", 1)
    assert body["facet_stats"]["released"]["minimum"].startswith("2026-03-04T")
    assert client.get(SEARCH, {"q": "red", "facets": "price"}).json()["facets"]["price"]


def test_a_page_beyond_the_end_is_empty_if_more_is_found_than_ranked(client, products, monkeypatch):
    for module in (finding, placing):
        monkeypatch.setattr(module, "DEPTH", 1)
    shop = {"q": "red", "everything": "true", "page_size": "2"}
    pages = [client.get(SEARCH, shop | {"page": str(page)}) for page in (1, 2, 3, 9)]
    assert [len(ids(page)) for page in pages] == [2, 1, 0, 0]
    assert {page.json()["count"] for page in pages} == {3}


def test_nothing_found_shows_the_closest_which_are_not_counted(client, products):
    for page in ("1", "2"):
        body = client.get(SEARCH, {"q": "crimson vessel", "facets": "category,price", "page": page}).json()
        assert (body["count"], body["results"]) == (0, [])
        assert body["facets"] == {"category": [], "price": []}
        assert {hit["product_id"] for hit in body["closest"]} == {str(one.pk) for one in products.values()}
        assert {hit["basis"] for hit in body["closest"]} == {"meaning"}
    body = client.get(SEARCH, {"q": "crimson vessel", "category": "kitchen", "order_by": "price"}).json()
    assert str(products["hat"].pk) not in {hit["product_id"] for hit in body["closest"]}
    assert client.get(SEARCH, {"q": "red", "page": "2"}).json()["closest"] == []
    assert client.get(SEARCH, {"q": "red", "category": "bath"}).json()["closest"] == []


def test_corrected_and_dropped_words_are_told(client, products):
    Product.objects.create(name="Big red enamel kettle", sku="K-1")
    registry.get("product").declaration.reindex(Product.objects.all())
    body = client.get(SEARCH, {"q": "teapott"}).json()
    assert (ids(client.get(SEARCH, {"q": "teapott"})), body["corrected"]) == (
        [str(products["pot"].pk)],
        "teapot",
    )
    body = client.get(SEARCH, {"q": "big red enamel xyzzyplugh kettle"}).json()
    assert (body["count"], body["corrected"], body["dropped"]) == (1, "", ["xyzzyplugh"])


def test_everything_and_a_lowest_score(client, products):
    words = {"q": "red mug"}
    assert len(ids(client.get(SEARCH, words))) == 1
    assert len(ids(client.get(SEARCH, words | {"everything": "true"}))) == 3
    assert len(ids(client.get(SEARCH, words | {"everything": "false"}))) == 1
    assert len(ids(client.get(SEARCH, words | {"everything": ""}))) == 1
    found = client.get(SEARCH, words | {"everything": "true", "min_score": "0.99"}).json()
    assert found["count"] == len(found["results"]) < 3


@pytest.mark.parametrize("names", [("Smith, Sons", "other"), ("Smith, Sons", "Smith, Sons")])
def test_values_with_commas_are_whole_where_the_parameter_is_repeated(client, names):
    Category.objects.create(name="Smith", slug="Smith, Sons")
    mug = Product.objects.create(name="Red mug", sku="M-1", category=Category.objects.get())
    Product.objects.create(name="Red hat", sku="H-1")
    assert ids(client.get(SEARCH, {"q": "red", "category__in": names})) == [str(mug.pk)]
    assert ids(client.get(SEARCH, {"q": "red", "category__in": "Smith, Sons"})) == []


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "q"),
        ({"q": "x" * 1001}, "q"),
        ({"q": "x", "colour": "red"}, "colour"),
        ({"q": "x", "price__like": "1"}, "price__like"),
        ({"q": "x", "price": "cheap"}, "price"),
        ({"q": "x", "price": ["1", "2"]}, "price"),
        ({"q": "x", "category": ""}, "category"),
        ({"q": "x", "category": "x" * 1001}, "category"),
        ({"q": "x", "category": "\N{REPLACEMENT CHARACTER}"}, "category"),
        ({"q": "x", "category__in": ",".join("abcdefghij" * 11)}, "category__in"),
        ({"q": "x", "released__gt": "9999-12-31T23:59:59-23:59"}, "released__gt"),
        ({"q": "x", "facets": "price,colour"}, "facets"),
        ({"q": "x", "order_by": "-price,colour"}, "order_by"),
        ({"q": "x", "order_by": "-relevance"}, "order_by"),
        ({"q": "x", "price__ranges": "10,dear"}, "price__ranges"),
        ({"q": "x", "price__ranges": "10,,20"}, "price__ranges"),
        ({"q": "x", "price__ranges": ""}, "price__ranges"),
        ({"q": "x", "price__ranges": ",".join(["1"] * 101)}, "price__ranges"),
        ({"q": "x", "released__period": "week"}, "released__period"),
        ({"q": "x", "released__period": ["day", "year"]}, "released__period"),
        ({"q": "x", "category__ranges": "a"}, "category__ranges"),
        ({"q": "x", "everything": "perhaps"}, "everything"),
        ({"q": "x", "min_score": "1.1"}, "min_score"),
        ({"q": "x", "min_score": "nan"}, "min_score"),
        ({"q": "x", "page": "1000"}, "page"),
        ({"q": "x", "page": "101", "page_size": "100"}, "page"),
        ({"q": "x", "page_size": "101"}, "page_size"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(client, products, params, field):
    answer = client.get(SEARCH, params)
    assert answer.status_code == 400
    assert list(answer.json()) == [field]


def test_a_photo_finds_what_looks_like_it_under_the_filters(client, products):
    assert ids(client.post(SEARCH, {"image_file": photo()}))[0] == str(products["hat"].pk)
    found = ids(client.post(SEARCH + "?category=kitchen", {"image_file": photo(), "page_size": "1"}))
    assert len(found) == 1
    assert found[0] != str(products["hat"].pk)
    assert len(ids(client.post(SEARCH, {"image_file": photo(), "min_score": "0.9"}))) == 1


def test_a_photo_and_words(client, products):
    alone = client.post(SEARCH, {"image_file": photo()}).json()
    for params in ({"q": ""}, {"q": "  "}):
        assert client.post(SEARCH, {"image_file": photo(), **params}).json() == alone
    in_form = client.post(SEARCH, {"image_file": photo(), "q": "teapot", "min_score": "-1"}).json()
    assert in_form == client.post(SEARCH + "?q=teapot&min_score=-1", {"image_file": photo()}).json()
    assert in_form["count"] == 3
    assert in_form["results"] != alone["results"]
    without_pot = client.post(SEARCH, {"image_file": photo(), "q": "-teapot"})
    assert str(products["pot"].pk) not in ids(without_pot)
    assert client.post(SEARCH, {"image_file": photo(), "q": "x" * 1001}).json().keys() == {"q"}
    assert client.post(SEARCH, {"image_file": photo(), "everything": "true"}).json().keys() == {"everything"}


@pytest.mark.parametrize(
    "text",
    [
        '"red mug',
        '"',
        '""',
        "the of and",
        "-red -mug",
        "-",
        '- " -"',
        "-red",
        "mug " * 200,
        "💡☕️🫖",
        "كوب أحمر",
        "\u202egum der",
        "-5 °C",
        "%",
        "a\tb\nc",
        "\u200b",
    ],
)
def test_whatever_is_typed_has_an_answer(client, products, text):
    for params in ({}, {"facets": "category,price", "order_by": "price"}, {"everything": "true"}):
        answer = client.get(SEARCH, {"q": text, **params})
        assert answer.status_code == 200, answer.content
        assert answer.json()["count"] == len(answer.json()["results"])
    assert client.post(SEARCH, {"q": text, "image_file": photo()}).status_code == 200


def test_ten_kilobytes_are_refused(client, products):
    assert client.get(SEARCH, {"q": "red mug " * 1250}).json().keys() == {"q"}


@pytest.mark.parametrize("data", [b"", b"text", picture_bytes("red", 200, "JPEG")[:300]])
def test_a_photo_that_is_none_is_refused(client, products, data):
    answer = client.post(SEARCH, {"image_file": photo(data)})
    assert answer.status_code == 400
    assert "image_file" in answer.json()


def test_a_file_is_no_filter(client, products):
    answer = client.post(SEARCH, {"image_file": photo(), "category": photo()})
    assert answer.status_code == 400
    assert "category" in answer.json()


def test_similar_products(client, products):
    found = ids(client.get(f"/api/v1/products/{products['mug'].pk}/similar"))
    assert found[0] == str(products["pot"].pk)
    assert str(products["mug"].pk) not in found
    assert client.get("/api/v1/products/unknown/similar").status_code == 404


def test_an_id_that_ends_like_the_address_can_be_deleted(admin_client):
    fields = {"product_id": "very/similar", "name": "Odd"}
    assert admin_client.post("/api/v1/index-product", fields).status_code == 200
    assert admin_client.delete("/api/v1/products/very/similar").status_code == 204
    assert IndexEntry.objects.get().state == IndexEntry.State.REMOVED


def test_deleting_at_the_address_of_a_search_needs_the_right_to_write(client, products):
    assert client.delete(f"/api/v1/products/{products['mug'].pk}/similar").status_code in (401, 403)


def test_a_cache_that_is_down_is_no_error(client, products, settings, caplog):
    options = {"retry": Retry(NoBackoff(), 0), "socket_connect_timeout": 1}
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1",
            "OPTIONS": options,
        }
    }
    assert ids(client.get(SEARCH, {"q": "red mug"}))[0] == str(products["mug"].pk)
    assert "Cannot count requests" in caplog.text


def test_a_store_that_is_down_is_a_503(client, products, monkeypatch):
    def down(*args, **kwargs):
        raise StoreUnavailable

    monkeypatch.setattr(MemoryStore, "rank", down)
    answer = client.get(SEARCH, {"q": "red"})
    assert (answer.status_code, "Retry-After" in answer) == (503, True)


def test_the_schema_is_valid_and_names_every_endpoint_and_filter(tmp_path):
    file = tmp_path / "schema.yaml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(file))
    schema = file.read_text()
    for name in ("index_product", "index_product_with_image", "index_job", "delete_product"):
        assert f"clip_search_{name}\n" in schema
    for name in ("search", "search_by_image", "similar_products"):
        assert f"clip_search_{name}\n" in schema
    assert "name: price__lte" in schema
    assert reverse("clip_search:search") in schema


def test_without_a_document_the_schema_has_no_filters(settings):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"API_DOCUMENT": "unknown"}
    assert schema.filter_parameters() == []


WITHOUT_SCHEMA = """
import sys
sys.modules["drf_spectacular"] = None  # as if it were not installed
import django
django.setup()
from django.core.management import call_command
for database in ("default", "other"):
    call_command("migrate", database=database, run_syncdb=True, verbosity=0)
call_command("check", fail_level="ERROR")
from django.contrib.auth import get_user_model
from django.test import Client
from clip_search.api.views import ApiView
client = Client()
client.force_login(get_user_model().objects.create_superuser("staff"))
posted = client.post("/api/v1/index-product", {"product_id": "mug", "name": "Red mug"})
found = client.get("/api/v1/search", {"q": "mug"})
print(type(vars(ApiView)["schema"]).__mro__[1].__name__, posted.status_code, found.json()["count"])
"""


def test_without_the_extra_the_endpoints_work_undescribed(tmp_path):
    """In a process of its own, because the package is imported with the views."""
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.settings_without_schema",
        "CLIP_SEARCH_TEST_DATA": str(tmp_path),
        "CLIP_SEARCH_TEST_DATABASE_URL": "",
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_SCHEMA],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1:] == ["DefaultSchema 200 1"], done.stderr


def test_hits_show_no_more_than_is_promised():
    assert search.FIELDS == ("product_id", "score", "basis", "relevance", "source", "payload")


@pytest.fixture
def requests(monkeypatch) -> list[str]:
    """Return the names of the requests that the store gets."""
    store, names = get_store(), []
    for name in ("rank", "query", "get", "count", "facet", "values", "scroll"):
        ask = getattr(store, name)

        def noted(*args, name=name, ask=ask, **options):
            names.append(name)
            return ask(*args, **options)

        monkeypatch.setattr(store, name, noted)
    return names


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"q": "red"}, ["rank", "get"]),
        ({"q": "red", "page": "7"}, ["rank"]),
        ({"q": "red", "category": "kitchen"}, ["rank", "rank", "get"]),
        ({"q": "red", "facets": "category,tag"}, ["rank", "get", "facet", "facet"]),
        ({"q": "red", "facets": "price,released"}, ["rank", "get", "values"]),
        ({"q": "red", "order_by": "price"}, ["rank", "values", "get"]),
        ({"q": "crimson vessel", "facets": "category"}, ["rank", "rank", "get"]),
    ],
)
def test_a_page_asks_the_store_and_the_database_no_more_than_this(
    client, products, requests, params, expected, django_assert_num_queries
):
    client.get(SEARCH, {"q": "crimson"})  # loads the vocabulary
    requests.clear()
    # the live collection, and the rows of the products that are shown
    with django_assert_num_queries(2 if "get" in expected else 1):
        answer = client.get(SEARCH, params)
    assert answer.status_code == 200
    assert requests == expected
