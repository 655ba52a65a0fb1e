"""django-treebeard: products in a tree of categories, which moves its nodes by SQL that sends no signals."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction

from clip_search import Keyword
from tests.shops.hosts.models import Shelf, Shelved

from .conftest import payloads, said

pytestmark = pytest.mark.django_db(transaction=True)


def as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [] if value is None else [value]


class Shop:
    """clothes > shirts > formal, and kitchen; a tuxedo is formal, a mug in the kitchen."""

    def __init__(self, declare: Any) -> None:
        self.document_class = declare(
            Shelved, filter_fields={"shelf": Keyword("lineage")}, related={Shelf: "products"}
        )
        clothes, self.kitchen = (Shelf.objects.add_root({"slug": slug}) for slug in ("clothes", "kitchen"))
        shirts = Shelf.objects.add_child(clothes, {"slug": "shirts"})
        Shelf.objects.add_child(shirts, {"slug": "formal"})
        self.tuxedo, self.mug = (Shelved.objects.create(name=name) for name in ("Tuxedo", "Mug"))
        self.tuxedo.shelves.add(self.shelf("formal"))
        self.mug.shelves.add(self.kitchen)
        self.check(tuxedo=["clothes", "formal", "shirts"], mug=["kitchen"])

    def shelf(self, slug: str) -> Shelf:
        return Shelf.objects.get(slug=slug)

    def branch(self, slug: str) -> Any:
        """Return the products in a category and in those below it, as the documentation has it."""
        return Shelved.objects.filter(shelves__in=Shelf.objects.get_tree(self.shelf(slug)))

    def check(self, **expected: list[str]) -> None:
        found = payloads(self.document_class)
        names = {str(product.pk): product.name.lower() for product in Shelved.objects.all()}
        assert {names[key]: as_list(payload.get("shelf")) for key, payload in found.items()} == expected


@pytest.fixture
def shop(declare) -> Shop:
    return Shop(declare)


def test_the_check_is_content(shop):
    assert said(shop.document_class) == {}


@pytest.mark.parametrize("told", ["reindex()", "the nightly run"])
def test_a_branch_that_moves(shop, told):
    Shelf.objects.move(shop.shelf("shirts"), shop.shelf("kitchen"), "last-child")
    if told == "reindex()":
        shop.document_class.reindex(shop.branch("shirts"))
    else:
        call_command("clip_reindex", "host-shelved", verbosity=0)
    shop.check(tuxedo=["formal", "kitchen", "shirts"], mug=["kitchen"])
    assert set(shop.document_class.search("").filter(shelf="kitchen")) == {shop.tuxedo, shop.mug}
    assert shop.document_class.search("").filter(shelf="clothes").count() == 0


def test_a_branch_that_moves_to_the_top_in_a_transaction(shop):
    with transaction.atomic():
        Shelf.objects.move(shop.shelf("shirts"), shop.shelf("kitchen"), "left")
        shop.document_class.reindex(shop.branch("shirts"))
    shop.check(tuxedo=["formal", "shirts"], mug=["kitchen"])


def test_a_move_that_is_rolled_back(shop):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Shelf.objects.move(shop.shelf("shirts"), shop.shelf("kitchen"), "last-child")
        shop.document_class.reindex(shop.branch("shirts"))
        1 / 0  # noqa: B018
    shop.check(tuxedo=["clothes", "formal", "shirts"], mug=["kitchen"])


def test_a_category_that_is_renamed(shop):
    kitchen = shop.shelf("kitchen")
    kitchen.slug = "cooking"
    kitchen.save()
    shop.check(tuxedo=["clothes", "formal", "shirts"], mug=["cooking"])
    clothes = shop.shelf("clothes")
    clothes.slug = "apparel"
    clothes.save()
    shop.document_class.reindex(shop.branch("apparel"))
    shop.check(tuxedo=["apparel", "formal", "shirts"], mug=["cooking"])


def test_a_branch_that_is_deleted(shop):
    shop.shelf("shirts").delete()
    shop.check(tuxedo=[], mug=["kitchen"])
    Shelf.objects.all().delete()
    shop.check(tuxedo=[], mug=[])


def test_products_that_are_shelved_elsewhere(shop):
    shop.mug.shelves.set([shop.shelf("shirts")])
    shop.check(tuxedo=["clothes", "formal", "shirts"], mug=["clothes", "shirts"])
    shop.shelf("formal").products.clear()
    shop.check(tuxedo=[], mug=["clothes", "shirts"])
    Shelved.shelves.through.objects.all().delete()  # Django tells nobody of these rows
    call_command("clip_reindex", "host-shelved", verbosity=0)
    shop.check(tuxedo=[], mug=[])
