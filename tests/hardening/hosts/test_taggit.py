"""django-taggit: every way to change tags, in its own table, in one for UUID keys, and in one of the shop."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from taggit.models import Tag, TaggedItem

from clip_search import Keyword
from clip_search.models import IndexEntry
from tests.integration.searching.actions import counted
from tests.shops.hosts.models import KeyTag, OwnTag, Poster, Tagged, TaggedByKey, TaggedByOwn

from .conftest import payloads, said

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # of taggit 6.1 with Django 6.1, in joins from a tag to what has it
    pytest.mark.filterwarnings("ignore:SQLCompiler.quote_name_unless_alias"),
]

MODELS = [Tagged, TaggedByKey, TaggedByOwn]
ROWS: dict[Any, Any] = {Tagged: TaggedItem, TaggedByKey: KeyTag, TaggedByOwn: OwnTag}


class Shop:
    """Two products with tags, and what the index should say of them."""

    def __init__(self, model: Any, declare: Any) -> None:
        self.model, self.rows = model, ROWS[model]
        name = model._meta.model_name
        self.document_class = declare(model, filter_fields={"tag": Keyword("tags.name")}, related={Tag: name})
        self.mug, self.pot = (model.objects.create(name=name) for name in ("Mug", "Pot"))
        self.mug.tags.add("red", "small")
        self.pot.tags.add("red", "big")
        self.check()

    def row(self, product: Any, tag: str) -> Any:
        which = {"content_object": product} if self.rows is OwnTag else {"object_id": product.pk}
        return self.rows.objects.get(tag__name=tag, **which)

    def make_row(self, product: Any, tag: str) -> Any:
        return self.rows.objects.create(content_object=product, tag=Tag.objects.get(name=tag))

    def check(self) -> None:
        """Compare the index with the rows."""
        expected = {}
        for product in self.model.objects.all():
            tags = sorted(product.tags.values_list("name", flat=True))
            expected[str(product.pk)] = {"tag": tags} if tags else {}
        found = payloads(self.document_class)
        assert {key: {k: sorted(v) for k, v in payload.items()} for key, payload in found.items()} == expected
        counts = {}
        for payload in expected.values():
            for tag in payload.get("tag", ()):
                counts[tag] = counts.get(tag, 0) + 1
        assert counted(self.document_class.search(""), "tag") == counts


@pytest.fixture(params=MODELS)
def shop(request, declare) -> Shop:
    return Shop(request.param, declare)


def move_tag(shop: Shop) -> None:
    row = shop.row(shop.mug, "red")
    row.tag = Tag.objects.get(name="big")
    row.save()


def move_object(shop: Shop) -> None:
    row = shop.row(shop.mug, "small")
    row.content_object = shop.pot
    row.save()


def rename(shop: Shop) -> None:
    tag = Tag.objects.get(name="red")
    tag.name = "crimson"
    tag.save()


CHANGES = {
    "add a name": lambda shop: shop.mug.tags.add("new"),
    "add a tag": lambda shop: shop.mug.tags.add(Tag.objects.get(name="big")),
    "add what is there": lambda shop: shop.mug.tags.add("red"),
    "remove": lambda shop: shop.mug.tags.remove("red"),
    "remove what is not there": lambda shop: shop.mug.tags.remove("big"),
    "set": lambda shop: shop.mug.tags.set(["big", "new"]),
    "set after clearing": lambda shop: shop.mug.tags.set(["big", "red"], clear=True),
    "set nothing": lambda shop: shop.mug.tags.set([]),
    "clear": lambda shop: shop.mug.tags.clear(),
    "rename a tag": rename,
    "delete a tag": lambda shop: Tag.objects.get(name="red").delete(),
    "delete tags at once": lambda shop: Tag.objects.filter(name__in=["red", "big"]).delete(),
    "create a row": lambda shop: shop.make_row(shop.mug, "big"),
    "move a row to another tag": move_tag,
    "move a row to another product": move_object,
    "delete a row": lambda shop: shop.row(shop.mug, "red").delete(),
    "delete rows at once": lambda shop: shop.rows.objects.filter(tag__name="red").delete(),
    "delete all rows": lambda shop: shop.rows.objects.all().delete(),
    "delete a product": lambda shop: shop.mug.delete(),
    "delete all products": lambda shop: shop.model.objects.all().delete(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed(shop, change):
    CHANGES[change](shop)
    shop.check()


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed_in_a_transaction(shop, change):
    with transaction.atomic():
        CHANGES[change](shop)
    shop.check()


def test_changes_that_are_rolled_back(shop):
    keys = shop.mug.pk, shop.pot.pk
    for change in CHANGES.values():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            change(shop)
            1 / 0  # noqa: B018
        shop.mug, shop.pot = (shop.model.objects.get(pk=key) for key in keys)
        shop.check()


def test_all_changes_one_after_the_other_in_one_transaction(shop):
    with transaction.atomic():
        for name, change in CHANGES.items():
            if name.startswith(("add", "set", "create", "clear", "remove")):
                change(shop)
    shop.check()


def test_nothing_differs_for_the_nightly_run(shop, capsys):
    for change in ("set", "move a row to another tag", "clear"):
        if change.startswith("move"):
            shop.mug.tags.set(["red"])
        CHANGES[change](shop)
    call_command("clip_verify", f"host-{shop.model._meta.model_name}", dry_run=True)
    assert "0 differ" in capsys.readouterr().out


@pytest.mark.parametrize("model", MODELS)
def test_the_check_names_what_to_add(declare, model):
    document_class = declare(model, filter_fields={"tag": Keyword("tags.name")})
    assert said(document_class) == {"W101": f'Add Tag: "{model._meta.model_name}" to related.'}


@pytest.mark.parametrize("model", [Tagged, TaggedByKey])
def test_rows_that_are_read_through_a_generic_relation(declare, model):
    name = model._meta.model_name
    tag = {"filter_fields": {"tag": Keyword("tagged_items.tag.name")}}
    assert set(said(declare(model, name="unnoticed", **tag))) == {"W101"}
    document_class = declare(model, **tag, related={Tag: name})
    assert said(document_class) == {}
    mug, pot = (model.objects.create(name=name) for name in ("Mug", "Pot"))
    for one in ("red", "blue"):
        Tag.objects.create(name=one)
    row = mug.tagged_items.create(tag=Tag.objects.get(name="red"))
    assert payloads(document_class) == {str(mug.pk): {"tag": ["red"]}, str(pot.pk): {}}
    row.tag = Tag.objects.get(name="blue")
    row.save()
    assert payloads(document_class) == {str(mug.pk): {"tag": ["blue"]}, str(pot.pk): {}}
    row.content_object = pot
    row.save()
    assert payloads(document_class) == {str(mug.pk): {}, str(pot.pk): {"tag": ["blue"]}}
    rename_to(row.tag, "navy")
    assert payloads(document_class) == {str(mug.pk): {}, str(pot.pk): {"tag": ["navy"]}}
    pot.tagged_items.all().delete()
    assert payloads(document_class) == {str(mug.pk): {}, str(pot.pk): {}}


def rename_to(tag: Tag, name: str) -> None:
    tag.name = name
    tag.save()


def test_two_models_that_share_a_table_do_not_mix_up_their_tags(shop, declare):
    posters = declare(Poster, filter_fields={"tag": Keyword("tags.name")}, related={Tag: "poster"})
    poster = Poster.objects.create(name="Poster")
    poster.tags.add("red")
    assert payloads(posters) == {str(poster.pk): {"tag": ["red"]}}
    shop.check()
    for change in (
        lambda: poster.tags.set(["blue"]),
        lambda: TaggedItem.objects.create(content_object=poster, tag=Tag.objects.get(name="red")),
        lambda: poster.tags.clear(),
    ):
        change()
        shop.check()
    assert payloads(posters) == {str(poster.pk): {}}


def test_a_change_of_another_model_that_shares_the_table_schedules_nothing(declare):
    shop = Shop(Tagged, declare)
    poster = Poster.objects.create(pk=shop.mug.pk, name="Poster")
    before = revisions(shop)
    poster.tags.add("blue")
    TaggedItem.objects.create(content_object=poster, tag=Tag.objects.get(name="big")).delete()
    poster.tags.clear()
    assert revisions(shop) == before


def revisions(shop: Shop) -> list[int]:
    entries = IndexEntry.objects.filter(document=f"host-{shop.model._meta.model_name}")
    return list(entries.order_by("product_id").values_list("revision", flat=True))
