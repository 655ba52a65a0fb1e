"""Search and similar products in templates."""

from __future__ import annotations

import pytest
from django.template import Context, Template, TemplateSyntaxError

from clip_search.models import Collection
from tests.shop.models import Product

pytestmark = pytest.mark.django_db(transaction=True)


def render(source: str, **context) -> str:
    return Template("{% load clip_search %}" + source).render(Context(context))


@pytest.fixture
def mug():
    return Product.objects.create(name="Red mug", sku="M", price=5)


@pytest.fixture
def hat():
    return Product.objects.create(name="Red hat <b>", sku="H", price=50)


SHOW = "{% for p in found %}{{ p.name }};{% empty %}none{% endfor %}{{ found.unavailable }}"


def test_search(mug, hat):
    source = "{% clip_search q document='product' limit=1 as found %}" + SHOW
    assert render(source, q="red mug") == "Red mug;"
    source = "{% clip_search 'red' document='product' price__gt=10 as found %}" + SHOW
    assert render(source) == "Red hat &lt;b&gt;;"


def test_similar_products(mug, hat):
    source = "{% similar_products product limit=8 as found %}" + SHOW
    assert render(source, product=mug) == "Red hat &lt;b&gt;;"


def test_what_is_unavailable_is_said_and_the_page_is_shown(mug):
    Collection.objects.update(fingerprint="another")
    said = render("{% clip_search 'red' document='product' as found %}" + SHOW)
    assert said.startswith("none")
    assert "clip_rebuild" in said


def test_a_document_must_be_named_where_there_are_several():
    with pytest.raises(TemplateSyntaxError, match="product"):
        render("{% clip_search 'red' as found %}")
