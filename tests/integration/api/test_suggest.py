"""GET suggest."""

from __future__ import annotations

import pytest
from django.test import Client

from clip_search.api import views
from clip_search.exceptions import SearchUnavailable
from clip_search.models import Word
from tests.shops.shop.models import Category, Product

from .actions import FIELDS, SYNC, broken

pytestmark = pytest.mark.django_db

SUGGEST = "/api/v1/suggest"


@pytest.fixture
def wares(client, document) -> None:
    """Index a posted mug and one of the shop."""
    client.post(SYNC, FIELDS)
    Word.objects.replace(document, {"red": 2, "mug": 2, "mugs": 1})


def test_queries_products_and_categories_are_suggested(wares, document, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        mugs = Category.objects.create(name="Mugs", slug="mugs")
        product = Product.objects.create(name="Blue mug", sku="M-1", category=mugs)
    answer = Client().get(SUGGEST, {"q": "mu"})
    assert answer.status_code == 200
    found = answer.json()
    assert found["queries"] == ["mug"]
    assert sorted(found["products"], key=lambda one: one["name"]) == [
        {"product_id": str(product.pk), "name": "Blue mug", "url": ""},
        {"product_id": "test-123", "name": "Red mug", "url": ""},
    ]
    assert found["categories"] == [{"filter": "category", "value": "mugs", "label": "mugs", "count": 1}]


def test_a_product_has_the_address_of_its_page(wares, monkeypatch, django_capture_on_commit_callbacks):
    monkeypatch.setattr(Product, "get_absolute_url", lambda self: f"/products/{self.sku}/", raising=False)
    with django_capture_on_commit_callbacks(execute=True):
        Product.objects.create(name="Blue mug", sku="M-1")
    assert Client().get(SUGGEST, {"q": "blue mu"}).json()["products"][0]["url"] == "/products/M-1/"


def test_limit_is_the_most_of_each(wares):
    assert len(Client().get(SUGGEST, {"q": "mu", "limit": 1}).json()["products"]) == 1


def test_nothing_typed_gets_no_suggestions(wares):
    assert Client().get(SUGGEST, {"q": " "}).json() == {"queries": [], "products": [], "categories": []}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "q"),
        ("q=" + "x" * 1001, "q"),
        ("q=%FF", "q"),
        ("q=a%00b", "q"),
        ("q=mug&limit=0", "limit"),
        ("q=mug&limit=21", "limit"),
        ("q=mug&limit=x", "limit"),
    ],
)
def test_suggest_refuses_by_name(query, field):
    answer = Client().get(f"{SUGGEST}?{query}")
    assert answer.status_code == 400
    assert field in answer.json()


def test_it_has_a_rate_of_its_own(wares, clip_search):
    clip_search(API_SEARCH_THROTTLE_RATE="1/min", API_SUGGEST_THROTTLE_RATE="2/min")
    answers = [Client().get(SUGGEST, {"q": "mu"}).status_code for _ in range(3)]
    assert answers == [200, 200, 429]


def test_its_permissions_are_those_of_searches(wares, clip_search):
    clip_search(API_SEARCH_PERMISSION_CLASSES=["rest_framework.permissions.IsAdminUser"])
    assert Client().get(SUGGEST, {"q": "mu"}).status_code in (401, 403)


def test_503_when_it_cannot_answer(monkeypatch):
    monkeypatch.setattr(views, "suggest", broken(SearchUnavailable("at secret:6333")))
    answer = Client().get(SUGGEST, {"q": "mug"})
    assert answer.status_code == 503
    assert "secret" not in answer.content.decode()
