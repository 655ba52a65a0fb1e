"""Dates: naive values are in TIME_ZONE, and a plain date in a filter is the whole day."""

from __future__ import annotations

import datetime
import zoneinfo

import pytest
from django.utils import timezone

from clip_search import Date, Document, Keyword
from clip_search.documents.registry import registry
from clip_search.models import Collection
from clip_search.stores import get_store
from tests.shops.shop.models import Product

pytestmark = pytest.mark.django_db(transaction=True)
DAY = datetime.date(2024, 5, 1)


def at(hour: int, minute: int = 0, *, day: int = 1, zone: str | None = None) -> datetime.datetime:
    tzinfo = zoneinfo.ZoneInfo(zone) if zone else None
    return datetime.datetime(2024, 5, day, hour, minute, tzinfo=tzinfo)


@pytest.fixture(params=["memory", "embedded"])
def store(request, settings, tmp_path) -> None:
    settings.TIME_ZONE = "Pacific/Auckland"
    if request.param == "embedded":
        pytest.importorskip("qdrant_edge")
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"path": tmp_path / "qdrant"}}


@pytest.fixture
def shown(store, register_document):
    """Index products that were shown at these times, each named by its index; return the document's class."""

    def make(*moments):
        times = dict(enumerate(moments))

        class ShownDocument(Document):
            name = "shown"
            text_fields = ("name",)
            filter_fields = {"shown": Date("shown"), "sku": Keyword("sku")}

            def get_payload(self, obj):
                moment = times[int(obj.sku)]
                several = isinstance(moment, list)
                values = [Date("shown").coerce(one) for one in (moment if several else [moment])]
                return {"shown": values if several else values[0], "sku": obj.sku}

        register_document(ShownDocument, Product)
        for number in times:
            Product.objects.create(name="mug", sku=str(number))
        return ShownDocument

    return make


def found(document_class, **filters) -> set[int]:
    return {int(hit.payload["sku"]) for hit in document_class.search("", filters=filters).hits()}


@pytest.mark.parametrize(
    ("lookup", "value", "numbers"),
    [
        ("shown", DAY, {1, 2, 3}),
        ("shown", "2024-05-01", {1, 2, 3}),
        ("shown__lte", DAY, {0, 1, 2, 3}),
        ("shown__lt", DAY, {0}),
        ("shown__gte", DAY, {1, 2, 3, 4}),
        ("shown__gt", DAY, {4}),
        ("shown__gt", "2024-05-01", {4}),
        ("shown__in", [DAY, datetime.date(2024, 5, 2)], {1, 2, 3, 4}),
        ("shown__in", ["2024-05-01", at(0, 0, day=2)], {1, 2, 3, 4}),
        ("shown__in", [], set()),
        ("shown", at(12), {2}),
        ("shown__lte", at(12), {0, 1, 2}),
        ("shown__gt", at(12), {3, 4}),
        ("shown__gt", "2024-05-01T12:00", {3, 4}),
        ("shown", at(0, zone="UTC"), {2}),  # noon in Auckland
    ],
)
def test_a_plain_date_is_the_whole_day_in_the_time_zone_of_the_settings(shown, lookup, value, numbers):
    document_class = shown(
        at(23, 59, day=30) - datetime.timedelta(days=30), at(0), at(12), at(23, 59), at(0, day=2)
    )
    for zone in ("UTC", "America/New_York"):
        with timezone.override(zone):
            assert found(document_class, **{lookup: value}) == numbers
    if value != []:
        with_exclude = {
            int(h.payload["sku"]) for h in document_class.search("").exclude(**{lookup: value}).hits()
        }
        assert with_exclude == {0, 1, 2, 3, 4} - numbers


def test_no_value_of_a_list_is_on_a_day_between_two(shown):
    document_class = shown([at(12, day=1), at(12, day=3)], [at(12, day=2)])
    assert found(document_class, shown=datetime.date(2024, 5, 2)) == {1}
    assert found(document_class, shown__in=[datetime.date(2024, 5, 3)]) == {0}


def test_a_naive_value_is_indexed_as_the_orm_saves_it(shown):
    with timezone.override("America/New_York"):
        document_class = shown(at(12))
    key = registry.get("shown").point_id(str(Product.objects.get().pk))
    live = Collection.objects.live(registry.get("shown"))
    assert get_store().get(live.name, [key])[key].payload["shown"] == "2024-05-01T00:00:00+00:00"
    assert found(document_class, shown=at(12)) == {0}
