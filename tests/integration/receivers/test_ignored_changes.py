"""Changes that mark nothing, and `reindex()` for what signals cannot see."""

from __future__ import annotations

import pytest
from django.core import serializers
from django.core.management import call_command
from django.db.models.signals import post_save
from django.utils.functional import SimpleLazyObject

from clip_search import receivers
from clip_search.documents.binding import BoundDocument
from clip_search.documents.registry import registry
from clip_search.models import IndexEntry, RelatedChange
from clip_search.testing import pause_indexing
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Article, Category, Product, ProductImage, Tag

from .actions import Watch, connected, ids

pytestmark = [pytest.mark.django_db(databases=["default", "other"]), pytest.mark.sql]


def test_what_is_no_model_is_not_listened_to():
    """A check says so; it is never reached where the process does not start."""
    with connected(Product, related={"shop.Category": "products"}) as raised:
        mug = Product.objects.create(name="Mug", sku="M-1")
        assert raised() == {str(mug.pk)}


def test_fixtures_are_loaded_without_raising_anything(raised, mug, kitchen, tmp_path):
    ProductImage.objects.create(product=mug, original="a.png")
    raised()
    file = tmp_path / "rows.json"
    rows = [*Category.objects.all(), *Product.objects.all(), *ProductImage.objects.all()]
    file.write_text(serializers.serialize("json", rows))
    call_command("loaddata", file, verbosity=0)
    assert raised() == set()


def test_another_database_does_not_count(raised, mug):
    post_save.send(Product, instance=mug, created=True, raw=False, using="other", update_fields=None)
    assert raised() == set()


def test_a_document_on_another_database():
    article = Article.objects.using("other").create(title="Tea")
    watch = Watch(registry.get("article"))
    assert watch() == ids(article)
    assert not IndexEntry.objects.using("default").exists()
    expected = ids(article)
    Article.objects.using("other").all().delete()
    assert watch() == expected


def test_no_autosync(raised, mug, cup, settings):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"AUTOSYNC": False}
    mug.save()
    mug.tags.create(name="red")
    ProductImage.objects.create(product=mug, original="a.png").delete()
    Category.objects.create(name="a", slug="a")
    cup.delete()
    assert raised() == set()
    assert not RelatedChange.objects.exists()


def test_pause_indexing(raised, mug):
    with pause_indexing():
        mug.save()
        with pause_indexing():
            mug.tags.create(name="red")
        Category.objects.create(name="a", slug="a")
    assert raised() == set()
    mug.save()
    assert raised() == ids(mug)


def test_a_pause_ends_with_an_error(raised, mug):
    with pytest.raises(ZeroDivisionError), pause_indexing():
        1 / 0  # noqa: B018
    mug.save()
    assert raised() == ids(mug)


def test_reindex_takes_no_rows_of_another_model(raised, mug):
    """Their keys would be taken for those of products."""
    tag = Tag.objects.create(name="red")
    for wrong in (Tag.objects.all(), [tag], [mug, tag]):
        with pytest.raises(TypeError, match=r"'product' is for Product, not Tag\."):
            ProductDocument.reindex(wrong)
    assert raised() == set()
    assert ProductDocument.reindex(iter([SimpleLazyObject(lambda: mug)])) == 1


def test_reindex_says_what_signals_cannot_see(raised, mug, cup, django_assert_max_num_queries):
    Product.objects.update(name="Pot")
    assert raised() == set()
    with django_assert_max_num_queries(4):
        assert ProductDocument.reindex(Product.objects.filter(sku="M-1")) == 1
    assert raised() == ids(mug)
    assert ProductDocument.reindex([mug, cup]) == 2
    assert raised() == ids(mug, cup)
    assert ProductDocument.reindex(Product.objects.none()) == 0


def test_disconnected_documents_hear_nothing(mug):
    with connected(Product) as raised:
        receivers.disconnect(raised.document)
        mug.save()
        assert raised() == set()


def test_another_document_of_the_same_name_takes_nothing_away(mug):
    with connected(Product) as raised:
        other = BoundDocument(type(raised.document.declaration)(Product))
        receivers.connect(other)
        receivers.disconnect(other)
        mug.save()
        assert raised() == ids(mug)


def test_a_document_is_connected_once_although_django_readies_the_app_again(raised, settings, mug):
    before = len(post_save.receivers)
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_rq"]
    assert len(post_save.receivers) == before
    mug.save()
    assert IndexEntry.objects.get().revision == 2
    assert raised() == ids(mug)
