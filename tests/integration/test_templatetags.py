"""Search and similar products in templates."""

from __future__ import annotations

import pytest
from django.template import Context, Template, TemplateSyntaxError

from clip_search import jobs, outbox
from clip_search.documents.registry import registry
from clip_search.exceptions import StoreUnavailable, UnknownFilter
from clip_search.stores import get_store
from clip_search.testing import pause_indexing
from tests.shops.shop.models import Category, Product

pytestmark = pytest.mark.django_db


def rendered(source: str, **values: object) -> str:
    return Template("{% load clip_search %}" + source).render(Context(values))


SHOWN = "{% for product in products %}{{ product.name }}|{% empty %}nothing{% endfor %}"


@pytest.fixture
def shop() -> list[Product]:
    document = registry.get("product")
    with pause_indexing():
        kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
        products = [
            Product.objects.create(name=name, sku=f"S{number}", category=kitchen if number else None)
            for number, name in enumerate(["Red mug", "Red cup", "Blue mug", "Green vase"])
        ]
    outbox.schedule(document, document.product_ids(products), wake=False)
    jobs.index_due("product")
    return products


def test_search_in_rank_order_and_limited(shop):
    source = "{% clip_search q document='product' limit=2 as products %}" + SHOWN
    assert rendered(source, q="green vase").startswith("Green vase|")
    assert rendered(source, q="green vase").count("|") == 2


def test_filters_are_keywords_and_those_without_a_value_filter_nothing(shop):
    source = "{% clip_search q document='product' category=category price__lte=most as products %}" + SHOWN
    assert "Red mug" not in rendered(source, q="red mug", category="kitchen")
    assert rendered(source, q="red mug", category="kitchen").count("|") == 3
    assert rendered(source, q="red mug", category="", most=None).count("|") == 4


def test_no_words_show_everything(shop):
    source = "{% clip_search q document='product' as products %}" + SHOWN
    assert rendered(source, q=None).count("|") == 4
    assert rendered(source).count("|") == 4


def test_similar_products_of_a_product_without_itself(shop):
    source = "{% similar_products product limit=8 as products %}" + SHOWN
    shown = rendered(source, product=shop[0])
    assert "Red mug" not in shown
    assert shown.startswith(("Red cup|", "Blue mug|"))
    assert rendered(source, product=None) == rendered(source) == "nothing"
    assert rendered(source, product=Product(name="New")) == "nothing"


def test_similar_products_take_filters(shop):
    source = "{% similar_products product category='kitchen' as products %}" + SHOWN
    assert rendered(source, product=shop[1]).count("|") == 2


def test_the_page_is_shown_when_search_is_unavailable(shop, monkeypatch):
    def fail(*args: object, **kwargs: object):
        raise StoreUnavailable("Qdrant is <down>.")

    monkeypatch.setattr(get_store(), "query", fail)
    for tag in ("clip_search 'mug' document='product'", "similar_products product"):
        source = "{% " + tag + " as products %}{{ products.unavailable }}: " + SHOWN
        assert rendered(source, product=shop[0]) == "Qdrant is &lt;down&gt;.: nothing"


@pytest.mark.parametrize("value", ["abc", "1e999", "nan"])
def test_a_value_that_stood_in_the_address_shows_nothing_and_why(shop, value):
    shown = "{{ products.invalid }}: " + SHOWN
    source = "{% clip_search 'mug' document='product' price__lte=value as products %}" + shown
    message = "The filter &#x27;price__lte&#x27; does not accept"
    assert rendered(source, value=value).startswith(message)
    source = "{% similar_products product min_score=value as products %}" + shown
    assert rendered(source, value=value, product=shop[0]).startswith(f"min_score is &#x27;{value}&#x27;.")
    assert rendered(source, value=value, product=shop[0]).endswith(": nothing")


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("2", 2), (2, 2), ("", 3), (None, 3), ("abc", 3), (5000, 3), (0, 0), (-1, 0), ("9" * 5000, 3)],
)
def test_a_limit_may_be_whatever_stood_in_the_address(shop, limit, expected):
    source = "{% similar_products product limit=limit as products %}{{ products|length }}"
    assert rendered(source, product=shop[0], limit=limit) == str(expected)
    source = "{% clip_search q document='product' limit=limit as products %}{{ products|length }}"
    assert rendered(source, q=5, limit=limit) == str({3: 4}.get(expected, expected))


def test_similar_products_take_a_lowest_score(shop):
    source = "{% similar_products product min_score=lowest as products %}" + SHOWN
    assert rendered(source, product=shop[0], lowest="0.99") == "nothing"
    assert rendered(source, product=shop[0], lowest="").count("|") == 3


def test_mistakes_are_told(shop):
    with pytest.raises(TemplateSyntaxError, match=r"article, product|product, article"):
        rendered("{% clip_search 'mug' %}")
    with pytest.raises(TemplateSyntaxError, match="Set document=… to the name of one document"):
        rendered("{% clip_search 'mug' document='nothing' %}")
    with pytest.raises(TemplateSyntaxError, match="There are: none"):
        rendered("{% similar_products category %}", category=Category())
    with pytest.raises(UnknownFilter, match="Its filters: category"):
        rendered("{% clip_search 'mug' document='product' colour='red' %}")
