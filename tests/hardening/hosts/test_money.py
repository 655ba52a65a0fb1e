"""django-money: a price with its currency."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import transaction
from django.db.models import F
from djmoney.money import Money

from clip_search import Keyword, Number
from tests.integration.searching.actions import counted
from tests.shops.hosts.models import Priced

from .conftest import payloads, said

pytestmark = pytest.mark.django_db(transaction=True)

FILTERS = {"price": Number("price.amount"), "currency": Keyword("price_currency")}


def test_amount_and_currency_are_filters(declare):
    document_class = declare(Priced, filter_fields=FILTERS)
    assert said(document_class) == {}
    mug = Priced.objects.create(name="Mug", price=Money("4.50", "EUR"))
    pot = Priced.objects.create(name="Pot", price=Money(30, "USD"))
    free = Priced.objects.create(name="Sticker", price=None)
    assert payloads(document_class)[str(mug.pk)] == {"price": 4.5, "currency": "EUR"}
    assert "price" not in payloads(document_class)[str(free.pk)]
    assert list(document_class.search("").filter(price__lte=10)) == [mug]
    assert list(document_class.search("").filter(currency="USD")) == [pot]
    assert counted(document_class.search(""), "currency")["EUR"] >= 1


def test_every_way_to_change_a_price(declare):
    document_class = declare(Priced, filter_fields=FILTERS)
    mug = Priced.objects.create(name="Mug", price=Money(4, "EUR"))
    mug.price = Money(5, "USD")
    mug.save()
    assert payloads(document_class) == {str(mug.pk): {"price": 5.0, "currency": "USD"}}
    mug.price = Money(6, "USD")
    mug.save(update_fields=["price"])
    assert payloads(document_class) == {str(mug.pk): {"price": 6.0, "currency": "USD"}}
    mug.price_currency = "GBP"
    mug.save(update_fields=["price_currency"])
    assert payloads(document_class) == {str(mug.pk): {"price": 6.0, "currency": "GBP"}}
    with transaction.atomic():
        mug.price = F("price") * 2
        mug.save()
    assert payloads(document_class) == {str(mug.pk): {"price": 12.0, "currency": "GBP"}}
    Priced.objects.update(price=Money(7, "EUR"))
    assert document_class.reindex(Priced.objects.all()) == 1
    assert payloads(document_class) == {str(mug.pk): {"price": 7.0, "currency": "EUR"}}
    Priced.objects.update(price=Money(8, "CHF"))
    call_command("clip_reindex", "host-priced", verbosity=0)
    assert payloads(document_class) == {str(mug.pk): {"price": 8.0, "currency": "CHF"}}


def test_the_price_itself_is_no_number_and_the_check_says_so(declare):
    document_class = declare(Priced, filter_fields={"price": Number("price")})
    assert set(said(document_class)) == {"E116"}
