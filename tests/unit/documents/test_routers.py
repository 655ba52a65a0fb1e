"""Relations and database routers."""

from __future__ import annotations

import pytest
from django.db.models import Manager

from clip_search import Keyword
from clip_search.documents import paths
from tests.shops.shop.models import Category, Product, ProductImage, Tag

from .declarations import declare


class Replica:
    """A router that has everything read from a replica, where nothing has arrived yet."""

    def db_for_read(self, model, **hints):
        return "other"

    def db_for_write(self, model, **hints):
        return "default"

    def allow_relation(self, *args, **hints):
        return True


@pytest.fixture
def replicated(settings):
    settings.DATABASE_ROUTERS = [Replica()]


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.parametrize("methods", [False, True])
def test_relations_too_are_read_from_the_write_database(settings, methods):
    """From a replica that lags, a product would be indexed without its picture, unnoticed."""
    kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
    mug = Product.objects.create(name="Mug", sku="M-1", category=kitchen)
    ProductImage.objects.create(product=mug, original="mug.png")
    mug.tags.create(name="red")
    own = {"get_text": lambda self, obj: f"{obj.category.name} {obj.tags.all()[0]}"} if methods else {}
    document = declare(
        text_fields=["category.name", "tags.name"],
        image_field="images.original",
        filter_fields={"category": Keyword("category.slug")},
        **own,
    )
    settings.DATABASE_ROUTERS = [Replica()]
    content = document.content(document.find(document.rows(), [str(mug.pk)])[str(mug.pk)])
    assert content.text.split(" " if methods else ". ") == ["Kitchen", "red"]
    assert [image.name for image in content.images] == ["mug.png"]
    assert content.payload == {"category": "kitchen"}


class Legacy(Replica):
    """A router that has categories in a database of their own."""

    def allow_migrate(self, db, app_label, model_name=None, **hints):
        return db == "other" if model_name == "category" else None


@pytest.mark.django_db(databases=["default", "other"])
def test_a_relation_into_another_database_is_read_from_there(settings):
    category = Category.objects.create(name="nothing to a router", slug="")
    Category.objects.using("other").create(pk=category.pk, name="Kitchen", slug="kitchen")
    mug = Product.objects.create(name="Mug", sku="M-1", category=category)
    settings.DATABASE_ROUTERS = [Legacy()]
    document = declare(text_fields=["category.name"])
    assert document.content(document.find(document.rows(), [str(mug.pk)])[str(mug.pk)]).text == "Kitchen"


class Picky:
    """Tags of another library: they refuse to be prefetched with a queryset."""

    def __init__(self, tags):
        self.tags = tags

    def __get__(self, instance, owner):
        if instance is None:
            return self
        manager = self.tags.__get__(instance, owner)
        prefetched = manager.get_prefetch_querysets

        def get_prefetch_querysets(instances, querysets=None):
            assert querysets is None
            return prefetched(instances)

        manager.get_prefetch_querysets = get_prefetch_querysets
        return manager


@pytest.mark.django_db
@pytest.mark.parametrize("lists", [True, False])
def test_a_relation_that_takes_no_queryset_is_prefetched_as_it_is(replicated, monkeypatch, lists):
    mug = Product.objects.create(name="Mug", sku="M-1")
    mug.tags.create(name="red")
    monkeypatch.setattr(Product, "tags", Picky(vars(Product)["tags"]))
    own = {} if lists else {"get_text": lambda self, obj: obj.tags.all()[0].name}
    document = declare(text_fields=["tags.name"], using="default", **own)
    assert next(iter(paths.prefetches(Product, "tags.name", "default", lists=lists))).queryset is None
    monkeypatch.setattr(Replica, "db_for_read", lambda self, model, **hints: "default")
    assert document.content(document.find(document.rows(), [str(mug.pk)])[str(mug.pk)]).text == "red"


@pytest.mark.django_db
@pytest.mark.parametrize("lists", [True, False])
def test_a_relation_whose_manager_prefetches_itself_is_prefetched_as_it_is(replicated, monkeypatch, lists):
    class WithProducts(Manager):
        def get_queryset(self):
            return super().get_queryset().prefetch_related("products")

    manager = WithProducts()
    manager.model = Tag
    mug = Product.objects.create(name="Mug", sku="M-1")
    mug.tags.create(name="red")
    monkeypatch.setitem(vars(Tag._meta), "default_manager", manager)
    monkeypatch.delitem(vars(Product.tags), "related_manager_cls", raising=False)
    try:
        own = {} if lists else {"get_text": lambda self, obj: obj.tags.all()[0].products.all()[0].name}
        monkeypatch.setattr(Replica, "db_for_read", lambda self, model, **hints: "default")
        document = declare(text_fields=["tags.products.name"], **own)
        assert document.content(document.find(document.rows(), [str(mug.pk)])[str(mug.pk)]).text == "Mug"
    finally:
        vars(Product.tags).pop("related_manager_cls", None)
