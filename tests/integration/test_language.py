"""Content is read in one language, whatever language the request or the worker has."""

from __future__ import annotations

import datetime

import pytest
from django.utils import translation
from django.utils.formats import date_format

from clip_search import Document
from clip_search.checks.documents import check_document
from clip_search.documents.binding import BoundDocument
from clip_search.indexing.comparing import compare
from clip_search.models import Collection
from clip_search.stores import get_store
from tests.shops.shop.models import Product

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def declare(register_document):
    """Register a document whose products say the month of their release."""

    def add(**attributes) -> BoundDocument:
        methods = {
            "name": "months",
            "get_text": lambda self, obj: f"{obj.name} {date_format(obj.released, 'F')}",
            "get_payload": lambda self, obj: {"month": date_format(obj.released, "F")},
        }
        return register_document(type("MonthDocument", (Document,), methods | attributes), Product)

    return add


def month_of(document: BoundDocument, product: Product) -> str:
    key = document.point_id(str(product.pk))
    return get_store().get(Collection.objects.live(document).name, [key])[key].payload["month"]


@pytest.mark.parametrize(("language", "month"), [("", "January"), ("de", "Januar"), ("fr", "janvier")])
def test_the_language_of_a_request_does_not_decide_what_is_indexed(declare, language, month):
    document = declare(language=language)
    with translation.override("es"):
        mug = Product.objects.create(name="Mug", released=datetime.date(2024, 1, 5))
    assert month_of(document, mug) == month
    for active in ("es", "en", None):
        with translation.override(active):
            assert [page.changed for page in compare(document) if page.changed] == []
            assert sum(page.unchanged.unchanged for page in compare(document)) == 1
            assert translation.get_language() == active


def test_the_default_is_that_of_the_settings(declare, settings):
    settings.LANGUAGE_CODE = "de"
    mug = Product.objects.create(name="Mug", released=datetime.date(2024, 1, 5))
    document = declare()
    with translation.override("es"):
        document.declaration.reindex([mug])
    assert month_of(document, mug) == "Januar"


@pytest.mark.parametrize(
    ("language", "ids"), [("de", []), ("pt-br", []), ("", []), ("xx", ["E115"]), (3, ["E115"])]
)
def test_an_unknown_language_is_an_error(declare, language, ids):
    found = check_document(declare(language=language))
    assert [message.id.removeprefix("clip_search.") for message in found] == ids
