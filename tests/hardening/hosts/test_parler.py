"""django-parler: translations in a table of their own, which it saves after the product."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.utils import translation

from clip_search.documents.registry import registry
from clip_search.indexing.items import hash_text
from clip_search.models import Collection, IndexEntry
from clip_search.stores import get_store
from tests.shops.hosts.models import Translated

from .conftest import payloads, said

pytestmark = pytest.mark.django_db(transaction=True)

TRANSLATION = Translated.translations.rel.related_model


@pytest.fixture
def documents(declare) -> dict[str, Any]:
    """One document for each language, as the documentation has it."""
    return {
        language: declare(
            Translated,
            name=f"host-{language}",
            language=language,
            text_fields=["name", "description"],
            exact_fields=["sku", "name"],
            related={TRANSLATION: "master"},
            get_queryset=lambda self: Translated.objects.prefetch_related("translations"),
        )
        for language in ("en", "de")
    }


def texts(document_class: Any) -> dict[str, set[str]]:
    """Return the exact words of each product; its text vector must be that of its name and description."""
    payloads(document_class)
    document = registry.of_class(document_class)
    collection = Collection.objects.get(document=document.name, state="live")
    found = {}
    points = get_store().scroll(collection.name)
    for point in get_store().get(collection.name, [p.id for p in points], vectors=True).values():
        if not point.stamp.removed:
            with document.in_its_language():
                row = Translated.objects.get(pk=point.stamp.product_id)
                text = document.content(row).text
            assert point.stamp.text_hash == hash_text(text)
            found[point.stamp.product_id] = set(point.stamp.exact)
    return found


@pytest.fixture
def mug(documents) -> Translated:
    mug = Translated.objects.language("en").create(sku="M-1", name="Mug", description="for tea")
    mug.create_translation("de", name="Becher", description="für Tee")
    check(documents, mug, en="mug", de="becher")
    return mug


def check(documents: dict[str, Any], product: Translated, **expected: str) -> None:
    for language, name in expected.items():
        assert texts(documents[language]) == {str(product.pk): {"m1", name}}


def test_the_check_is_content(documents):
    assert [said(document_class) for document_class in documents.values()] == [{}, {}]


@pytest.mark.parametrize("active", ["en", "de", "fr"])
def test_whoever_saves_each_document_has_its_own_language(documents, mug, active):
    with translation.override(active):
        mug = Translated.objects.get(pk=mug.pk)
        mug.set_current_language("de")
        mug.name = "Tasse"
        mug.save()
    check(documents, mug, en="mug", de="tasse")


def test_two_translations_at_once(documents, mug):
    mug.set_current_language("de")
    mug.name = "Tasse"
    mug.set_current_language("en")
    mug.name = "Cup"
    with transaction.atomic():
        mug.save()
    check(documents, mug, en="cup", de="tasse")


def test_a_translation_that_is_saved_by_itself(documents, mug):
    row = TRANSLATION.objects.get(master=mug, language_code="de")
    row.name = "Krug"
    row.save()
    check(documents, mug, en="mug", de="krug")


def test_a_translation_that_is_deleted(documents, mug):
    mug.delete_translation("de")
    check(documents, mug, en="mug")
    entry = IndexEntry.objects.get(document="host-de")
    assert "neither text nor an image" in entry.error  # settings of parler may have it fall back to another


def test_changes_that_no_signal_tells_of(documents, mug):
    TRANSLATION.objects.filter(language_code="de").update(name="Humpen")
    for language in documents:
        call_command("clip_reindex", f"host-{language}", verbosity=0)
    check(documents, mug, en="mug", de="humpen")


def test_a_search_finds_each_in_its_language(documents, mug):
    assert list(documents["de"].search("becher")) == [mug]
    assert list(documents["en"].search("mug")) == [mug]
