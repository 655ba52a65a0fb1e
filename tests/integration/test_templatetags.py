"""Search and similar products in templates."""

from __future__ import annotations

import textwrap

import pytest
from django.template import Context, Template, TemplateSyntaxError

from clip_search import jobs, outbox
from clip_search.documents.registry import registry
from clip_search.exceptions import StoreUnavailable, UnknownFilter
from clip_search.stores import get_store
from clip_search.testing import pause_indexing
from tests.conftest import ROOT
from tests.shops.shop.models import Category, Product

pytestmark = pytest.mark.django_db


def rendered(source: str, **values: object) -> str:
    return Template("{% load clip_search %}" + source).render(Context(values))


SHOWN = "{% for product in products %}{{ product.name }}|{% empty %}nothing{% endfor %}"


@pytest.fixture
def shop() -> list[Product]:
    with pause_indexing():
        kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
        products = [
            Product.objects.create(name=name, sku=f"S{number}", category=kitchen if number else None)
            for number, name in enumerate(["Red mug", "Red cup", "Blue mug", "Green vase"])
        ]
    index(products)
    return products


def index(products: list[Product]) -> None:
    document = registry.get("product")
    outbox.schedule(document, document.product_ids(products), wake=False)
    jobs.index_due("product")


def test_search_in_rank_order_and_limited(shop):
    source = "{% clip_search q document='product' limit=2 as products %}" + SHOWN
    assert rendered(source, q="red mug") == "Red mug|"
    assert rendered(source, q="").count("|") == 2


def test_filters_are_keywords_and_those_without_a_value_filter_nothing(shop):
    source = "{% clip_search q document='product' category=category price__lte=most as products %}" + SHOWN
    assert rendered(source, q="red", category="kitchen") == "Red cup|"
    assert rendered(source, q="red", category="", most=None).count("|") == 2


def test_no_words_show_everything(shop):
    source = "{% clip_search q document='product' as products %}" + SHOWN
    assert rendered(source, q=None).count("|") == 4
    assert rendered(source).count("|") == 4


def test_a_page_is_told_how_many_there_are_and_what_was_corrected_or_left_out(shop):
    about = "{{ products.count }} {{ products.corrected }} {{ products.dropped|join:',' }}: "
    source = "{% clip_search q document='product' limit=1 as products %}" + about + SHOWN
    assert rendered(source, q="").startswith("4  : ")
    assert rendered(source, q="blue") == "1  : Blue mug|"
    index([Product.objects.create(name="Big green enamel vase", sku="S9")])
    assert rendered(source, q="gren vase").startswith("2 green vase : ")
    assert rendered(source, q="big green enamel xyzzyplugh vase") == "1  xyzzyplugh: Big green enamel vase|"


def test_nothing_found_shows_the_closest_by_the_example_of_the_documentation(shop):
    page = (ROOT / "docs/reference/template-tags.rst").read_text()
    example = textwrap.dedent(page.split(".. code-block:: html+django\n", 1)[1].split("\n\n``{%", 1)[0])
    example = example.replace("{% load clip_search %}", "").replace(
        "request.GET.q order", "request.GET.q document='product' order"
    )
    request = {"GET": {"q": "scarlet beaker"}}
    shown = " ".join(rendered(example, request=request, product=shop[0]).split())
    assert "Nothing has these words. Closest:" in shown
    assert shown.count("<li>") == 4
    shown = " ".join(rendered(example, request={"GET": {"q": "red", "order_by": "price"}}).split())
    assert "2 products" in shown
    assert "Closest" not in shown
    assert "cannot be ordered by" in rendered(example, request={"GET": {"q": "red", "order_by": "colour"}})


def test_products_are_ordered_by_filters(shop):
    for number, product in enumerate(shop):
        Product.objects.filter(pk=product.pk).update(price=number)
    index(shop)
    source = (
        "{% clip_search 'red' document='product' order_by=order as products %}{{ products.invalid }}" + SHOWN
    )
    assert rendered(source, order="-price") == "Red cup|Red mug|"
    assert rendered(source, order="-in_stock,price") == "Red mug|Red cup|"
    assert rendered(source, order="") == rendered(source, order=None)
    assert "cannot be ordered by &#x27;colour&#x27;" in rendered(source, order="colour")


def test_facets_are_counted_where_they_are_asked_for(shop):
    each = "{% for one in products.facets.{} %}{{ one.label }}={{ one.count }}|{% endfor %}"
    tag = "{% clip_search 'mug' document='product' facets='category'"
    tag += " price__ranges=ends released__period=by as products %}"
    shown = (
        tag + "{{ products.invalid }}" + "".join(each.replace("{}", name) for name in ("category", "price"))
    )
    assert rendered(shown, ends="1,2") == "kitchen=1|under 1=2|"
    assert "does not accept &#x27;week&#x27;" in rendered(shown, by="week")
    assert (
        rendered("{% clip_search 'mug' document='product' as products %}{{ products.facets|length }}") == "0"
    )
    with pytest.raises(UnknownFilter, match="Its filters: category"):
        rendered("{% clip_search 'mug' document='product' facets='colour' as products %}")


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

    monkeypatch.setattr(get_store(), "rank", fail)
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
    assert rendered(source, q="", limit=limit) == str({3: 4}.get(expected, expected))
    assert rendered(source, q=5, limit=limit) == "0"


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
