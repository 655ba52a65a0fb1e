"""How many statements a save costs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from clip_search.testing import pause_indexing
from tests.shops.shop.models import Product, ProductImage

pytestmark = [pytest.mark.django_db(databases=["default", "other"]), pytest.mark.sql]


def cost(work: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        work()
    kinds = ("SELECT", "INSERT", "UPDATE", "DELETE")
    return len([query for query in captured.captured_queries if query["sql"].startswith(kinds)])


@pytest.mark.parametrize(
    "work",
    [
        lambda mug, image: mug.save(),
        lambda mug, image: mug.save(update_fields=["name"]),
        lambda mug, image: Product.objects.get(pk=mug.pk).save(),
        lambda mug, image: mug.category.save(),
        pytest.param(lambda mug, image: Product.objects.create(name="Cup"), id="create"),
        pytest.param(
            lambda mug, image: ProductImage.objects.create(product=mug, original="b.png"), id="image"
        ),
    ],
)
def test_a_save_costs_at_most_two_statements_more(mug, kitchen, work, request):
    image = ProductImage.objects.create(product=mug, original="a.png")
    with pause_indexing():
        work(mug, image)
        usual = cost(lambda: work(mug, image))
    creates = connection.vendor == "mysql" and "create" in request.node.name  # see mark_changed
    assert cost(lambda: work(mug, image)) - usual <= (3 if creates else 2)


def test_a_save_that_touches_nothing_indexed_costs_nothing(mug):
    with pause_indexing():
        usual = cost(lambda: mug.save(update_fields=["views"]))
    assert cost(lambda: mug.save(update_fields=["views"])) == usual


def test_a_related_row_costs_one_look_at_where_it_led(mug):
    image = ProductImage.objects.create(product=mug, original="a.png")
    with pause_indexing():
        usual = cost(image.save)
    assert cost(image.save) - usual <= 3
