"""Counts by value, range and period, as shoppers see them beside what was found."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.utils import translation

from clip_search import Bool, Date, Document, Keyword, Number
from clip_search.documents.binding import BoundDocument
from clip_search.documents.fields import LABELS
from clip_search.exceptions import BadFilterValue, UnknownFilter
from clip_search.models import Collection
from clip_search.searching import search
from clip_search.searching.facets import facets, parse_facets
from clip_search.searching.filters import parse_exclusion, parse_filters
from clip_search.stores import get_store
from clip_search.testing import pause_indexing
from clip_search.types import Facet, FacetValue
from tests.shops.shop.models import Category, Product, Tag

from .actions import index, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("any_store")]

FILTERS = {
    "category": Keyword("category.slug", label="category.name"),
    "tag": Keyword("tags.name"),
    "price": Number("price"),
    "in_stock": Bool("in_stock"),
    "released": Date("released"),
}


@pytest.fixture
def declare(register_document) -> Callable[..., BoundDocument]:
    """Return a function that registers a document of products with these filters."""

    def add(**filters: Any) -> BoundDocument:
        attributes = {"name": "counted", "text_fields": ["name"], "filter_fields": filters or FILTERS}
        return register_document(type("CountedDocument", (Document,), attributes), Product)

    return add


@pytest.fixture
def counted(declare) -> BoundDocument:
    """Six indexed products in two categories, of which one has no category and one no date."""
    document = declare()
    kitchen, garden = (Category.objects.create(name=f"The {n}", slug=n) for n in ("kitchen", "garden"))
    rows = [
        ("mug", kitchen, "4.50", True, datetime.date(2024, 5, 1), ["new", "sale"]),
        ("cup", kitchen, "10", True, datetime.date(2024, 5, 31), ["new"]),
        ("pan", kitchen, "19.99", False, datetime.date(2024, 6, 1), []),
        ("rake", garden, "20", True, datetime.date(2025, 1, 1), ["sale"]),
        ("spade", garden, "60", True, None, []),
        ("book", None, "12", True, datetime.date(2024, 5, 1), []),
    ]
    with pause_indexing():
        for name, category, price, in_stock, released, tags in rows:
            product = Product.objects.create(
                name=name, category=category, price=Decimal(price), in_stock=in_stock, released=released
            )
            product.tags.set([Tag.objects.get_or_create(name=tag)[0] for tag in tags])
    index(document)
    return document


def count(document: BoundDocument, *names: str, limit: int = 100, **options: Any) -> dict[str, Facet]:
    return count_filtered(document, {}, *names, limit=limit, **options)


def count_filtered(
    document: BoundDocument, filters: dict[str, Any], *names: str, limit: int = 100, **options: Any
) -> dict[str, Facet]:
    wanted = parse_facets(document, names, options)
    collection = Collection.objects.live(document).name
    conditions = parse_filters(document, filters)
    return facets(document, get_store(), collection, wanted, found=[], filters=conditions, limit=limit)


def pairs(facet: Facet) -> list[tuple[Any, int]]:
    return [(each.value, each.count) for each in facet]


def nested(values: Any) -> dict[str, Any]:
    return {f"{each.label} {each.count}": nested(each.children) for each in values}


def test_all_declared_filters_are_counted_if_none_is_named(counted):
    found = count(counted)
    assert list(found) == ["category", "tag", "price", "in_stock", "released"]
    assert found["category"] == [
        FacetValue(value="kitchen", label="The kitchen", count=3),
        FacetValue(value="garden", label="The garden", count=2),
    ]
    assert pairs(found["tag"]) == [("new", 2), ("sale", 2)]
    assert found["in_stock"] == [
        FacetValue(value=True, label="Yes", count=5),
        FacetValue(value=False, label="No", count=1),
    ]
    assert all(facet.exact for facet in found.values())


def test_numbers_are_counted_between_bounds(counted):
    found = count(counted, price=[50, 20, "10", 10])["price"]
    assert [(each.label, each.start, each.end, each.count) for each in found] == [
        ("under 10", None, 10, 1),
        ("10–20", 10, 20, 3),
        ("20–50", 20, 50, 1),
        ("50 and more", 50, None, 1),
    ]
    assert (found.minimum, found.maximum) == (4.5, 60)
    assert pairs(count(counted, price=[0, 100, 200])["price"]) == [(0, 6)]


def test_ranges_without_bounds_hold_every_product_once(counted):
    found = count(counted, "price")["price"]
    assert 2 <= len(found) <= 6
    assert sum(each.count for each in found) == 6


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        ("day", [("Jan. 1, 2025", 1), ("June 1, 2024", 1), ("May 31, 2024", 1), ("May 1, 2024", 2)]),
        ("month", [("January 2025", 1), ("June 2024", 1), ("May 2024", 3)]),
        ("year", [("2025", 1), ("2024", 4)]),
        (None, [("January 2025", 1), ("June 2024", 1), ("May 2024", 3)]),
    ],
)
def test_dates_are_counted_by_period_the_latest_first(counted, period, expected):
    found = count(counted, released=period)["released"]
    assert [(each.label, each.count) for each in found] == expected
    assert (found.minimum.date(), found.maximum.date()) == (
        datetime.date(2024, 5, 1),
        datetime.date(2025, 1, 1),
    )


def test_a_period_is_that_of_the_shops_time_zone(settings, declare):
    settings.TIME_ZONE = "America/New_York"
    document = declare(released=Date("released"))
    with pause_indexing():
        Product.objects.create(name="mug", released=datetime.date(2024, 5, 1))
    index(document)
    (value,) = count(document, released="month")["released"]
    assert (value.start, value.end) == (datetime.date(2024, 5, 1), datetime.date(2024, 6, 1))
    chosen = {"released__gte": value.start, "released__lt": value.end}
    assert [each.count for each in count_filtered(document, chosen, released="day")["released"]] == [1]


def test_the_start_and_end_of_a_value_filter_by_what_it_counts(counted):
    for key, option in (("price", [10, 20, 50]), ("released", "month")):
        for each in count(counted, **{key: option})[key]:
            bounds = {f"{key}__gte": each.start, f"{key}__lt": each.end}
            chosen = {name: bound for name, bound in bounds.items() if bound is not None}
            conditions = parse_filters(counted, chosen)
            collection = Collection.objects.live(counted).name
            assert get_store().count(collection, conditions=conditions) == each.count
            again = count_filtered(counted, chosen, **{key: option})[key]
            assert [(value.value, value.chosen) for value in again] == [
                (value, value == each.value) for value, _ in pairs(count(counted, **{key: option})[key])
            ]


def test_each_facet_is_counted_without_the_filters_on_itself(counted):
    found = count_filtered(
        counted,
        {"category__in": ["kitchen"], "price__lt": 20},
        "category",
        "in_stock",
        price=[10, 20, 50],
        released="year",
    )
    assert pairs(found["category"]) == [("kitchen", 3)]
    assert [each.chosen for each in found["category"]] == [True]
    assert pairs(found["in_stock"]) == [(True, 2), (False, 1)]
    assert pairs(found["price"]) == [(None, 1), (10, 2)]
    assert pairs(found["released"]) == [(datetime.date(2024, 1, 1), 3)]
    assert found["price"].maximum == 19.99
    assert count_filtered(counted, {"price__lt": 20}, "price")["price"].maximum == 60


def test_exclusions_and_the_query_count_in_every_facet(counted):
    collection = Collection.objects.live(counted).name
    found = facets(
        counted,
        get_store(),
        collection,
        {"category": None, "tag": None},
        found=parse_filters(counted, {"in_stock": True}),
        filters=parse_exclusion(counted, {"tag": "sale"}),
    )
    assert pairs(found["category"]) == [("garden", 1), ("kitchen", 1)]
    assert pairs(found["tag"]) == [("new", 1)]


def test_chosen_values_are_listed_even_if_nothing_has_them(counted):
    filters = {
        "category__in": ["kitchen", "garden", "attic"],
        "in_stock": False,
        "released": datetime.date(2023, 1, 1),
        "price__gte": 10,
        "price__lt": 20,
        "tag": "new",
    }
    found = count_filtered(counted, filters, price=[10, 20], released="day", category=None, in_stock=None)
    assert {(each.value, each.label, each.count) for each in found["category"]} == {
        ("kitchen", "The kitchen", 0),
        ("garden", "The garden", 0),
        ("attic", "attic", 0),
    }
    assert pairs(found["in_stock"]) == [(False, 0)]
    assert pairs(found["price"]) == [(10, 0)]
    assert pairs(found["released"]) == [(datetime.date(2023, 1, 1), 0)]
    assert all(each.chosen for facet in found.values() for each in facet)


def test_a_chosen_value_keeps_its_count_beyond_the_limit(counted):
    with pause_indexing():
        for number in range(12):
            product = Product.objects.create(name=f"thing {number}")
            product.tags.set([Tag.objects.create(name=f"tag {number:02}")])
    index(counted)
    assert pairs(count(counted, "tag", limit=2)["tag"]) == [("new", 2), ("sale", 2)]
    found = count_filtered(counted, {"tag__in": ["tag 11", "gone"]}, "tag", limit=2)["tag"]
    assert pairs(found) == [("new", 2), ("sale", 2), ("tag 11", 1), ("gone", 0)]


def test_empty_values_are_left_out(declare):
    document = declare(text=Keyword("description"))
    with pause_indexing():
        Product.objects.create(name="mug", description="")
        Product.objects.create(name="cup", description="x")
    index(document)
    assert pairs(count(document, "text", limit=1)["text"]) == [("x", 1)]


def test_values_that_are_no_strings_are_left_out(declare, monkeypatch):
    document = declare(size=Keyword("sku"), place=Keyword("sku", separator="/"))
    payloads = {"mug": {"size": 3, "place": 3}, "cup": {"size": "3", "place": ["a", "a/b"]}}
    monkeypatch.setattr(type(document.declaration), "get_payload", lambda self, row: payloads[row.name])
    with pause_indexing():
        for name in payloads:
            Product.objects.create(name=name)
    index(document)
    found = count(document)
    assert pairs(found["size"]) == [("3", 1)]
    assert nested(found["place"]) == {"a 1": {"b 1": {}}}


def test_a_product_with_several_values_counts_once_in_each(declare):
    document = declare(
        sizes=Number(from_=lambda obj: [3, 4, 30]),
        days=Date(from_=lambda obj: ["2024-05-01", "2024-05-02", "2024-06-01"]),
        twice=Keyword(from_=lambda obj: ["a", "a", "b"]),
    )
    with pause_indexing():
        Product.objects.create(name="mug")
    index(document)
    found = count(document, "twice", sizes=[10], days="month")
    assert pairs(found["sizes"]) == [(None, 1), (10, 1)]
    assert [each.count for each in found["days"]] == [1, 1]
    assert pairs(found["twice"]) == [("a", 1), ("b", 1)]


def test_the_values_of_numbers_and_dates_are_read_in_one_request(counted, monkeypatch):
    store, read = get_store(), []
    values = store.values
    monkeypatch.setattr(store, "values", lambda name, keys, **o: read.append(keys) or values(name, keys, **o))
    count(counted)
    assert read == [["price", "released"]]
    count_filtered(counted, {"price__lt": 20}, "price", "released")
    assert read[1:] == [["price"], ["released"]]


def test_labels_are_in_the_language_of_the_request_and_those_of_keywords_in_that_of_the_document(counted):
    with translation.override("fr"):
        found = count(counted, "category", "in_stock", released="month")
    assert [value.label for value in found["in_stock"]] == ["Oui", "Non"]
    assert [value.label for value in found["released"]] == ["janvier 2025", "juin 2024", "mai 2024"]
    assert [value.label for value in found["category"]] == ["The kitchen", "The garden"]


def test_nothing_found_has_no_values(declare):
    document = declare()
    index(document)
    with pause_indexing():
        Product.objects.create(name="mug").delete()
    post(document, "posted", "mug")
    found = count(document, price=[10], released="month")
    assert found == {"price": [], "released": []}
    assert found["price"].minimum is None
    assert count(document)["price"] == []


@pytest.mark.parametrize(
    ("names", "options", "error", "message"),
    [
        (["colour"], {}, UnknownFilter, "no filter 'colour'. Its filters: category, in_stock, price, "),
        ([], {"colour": None}, UnknownFilter, "no filter 'colour'"),
        ([], {"price": []}, BadFilterValue, "The facet 'price' does not accept \\[\\]"),
        ([], {"price": "10"}, BadFilterValue, "give a list of at most 100 numbers"),
        ([], {"price": 10}, BadFilterValue, "The facet 'price'"),
        ([], {"price": ["cheap"]}, BadFilterValue, "could not convert string to float: 'cheap'"),
        ([], {"price": [float("nan")]}, BadFilterValue, "not a finite number"),
        ([], {"released": "week"}, BadFilterValue, "give one of day, month, year"),
        (
            [],
            {"category": "x"},
            BadFilterValue,
            "The facet 'category' does not accept 'x': it has no options",
        ),
    ],
)
def test_what_cannot_be_counted_is_named(declare, names, options, error, message):
    with pytest.raises(error, match=message):
        parse_facets(declare(), names, options)


# Trees and labels.


def add(name: str, *slugs: str) -> Product:
    """Make a product in categories, each with its own slug as name."""
    product = Product.objects.create(name=name)
    product.tags.set([Tag.objects.get_or_create(name=slug)[0] for slug in slugs])
    return product


@pytest.fixture
def tree(declare) -> BoundDocument:
    document = declare(category=Keyword("tags.name", separator=" > "))
    with pause_indexing():
        add("mug", "Home > Kitchen > Mugs")
        add("cup", "Home > Kitchen > Cups", "Gifts")
        add("tray", "Home > Kitchen > Mugs", "Home > Kitchen > Cups")
        add("pan", "Home >  Kitchen ")
        add("rug", "Home > Floor", " > ")
    index(document)
    return document


def test_a_filter_by_a_place_in_a_tree_finds_what_is_below(tree):
    collection = Collection.objects.live(tree).name

    def found(**filters: Any) -> int:
        return get_store().count(collection, conditions=parse_filters(tree, filters))

    assert found(category="Home") == 5
    assert found(category="Home > Kitchen") == found(category="Home > Kitchen > ") == 4
    assert found(category="Home > Kitchen > Mugs") == 2
    assert found(category__in=["Gifts", "Home > Floor"]) == 2
    assert found(category="Kitchen") == 0


def test_a_tree_is_nested_and_counts_each_product_once_at_each_place(tree):
    (found,) = count(tree).values()
    kitchen = {"Cups 2": {}, "Mugs 2": {}}
    assert nested(found) == {"Gifts 1": {}, "Home 5": {"Floor 1": {}, "Kitchen 4": kitchen}}
    assert found[1].children[1].value == "Home > Kitchen"
    assert nested(count(tree, limit=1)["category"]) == {"Home 5": {"Kitchen 4": {"Cups 2": {}}}}


def test_chosen_places_of_a_tree_are_listed_below_their_parents(tree):
    found = count_filtered(tree, {"category__in": ["Home > Bath > Soap", "Gifts"]}, limit=1)["category"]
    assert nested(found) == {
        "Gifts 1": {},
        "Home 5": {"Bath 0": {"Soap 0": {}}, "Kitchen 4": {"Cups 2": {}}},
    }


def test_labels_name_the_levels_of_a_tree(declare):
    document = declare(
        category=Keyword("category.slug", separator="/", label="category.name"),
    )
    with pause_indexing():
        for slug, name in (
            ("home/kitchen/mugs/", "Mugs"),
            ("home", "At home"),
            ("garden/tools/rakes", "The garden/Tools/Rakes"),
        ):
            Product.objects.create(name="x", category=Category.objects.create(slug=slug, name=name))
    index(document)
    assert nested(count(document)["category"]) == {
        "At home 2": {"kitchen 1": {"Mugs 1": {}}},
        "The garden 1": {"Tools 1": {"Rakes 1": {}}},
    }


def test_a_new_label_is_indexed_and_both_count_as_one_value_meanwhile(declare, register_document):
    attributes = {
        "name": "counted",
        "text_fields": ["name"],
        "filter_fields": {"category": Keyword("category.slug", label="category.name")},
        "related": {Category: "products"},
    }
    document = register_document(type("CountedDocument", (Document,), attributes), Product)
    kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
    with pause_indexing():
        products = [Product.objects.create(name=name, category=kitchen) for name in ("mug", "cup")]
    index(document)
    with pause_indexing():
        kitchen.name = "Cooking"
        kitchen.save()
    index(document, products[:1])
    (value,) = count(document)["category"]
    assert (value.value, value.count) == ("kitchen", 2)
    kitchen.save()
    assert nested(count(document)["category"]) == {"Cooking 2": {}}


def test_posted_products_are_counted_in_trees_and_without_labels(declare):
    document = declare(
        category=Keyword("category.slug", label="category.name"),
        place=Keyword("tags.name", separator=" > "),
    )
    kitchen = Category.objects.create(name="The kitchen", slug="kitchen")
    with pause_indexing():
        Product.objects.create(name="mug", category=kitchen)
    index(document)
    post(document, "posted", "cup", category="kitchen", place="Home > Kitchen")
    post(document, "other", "rake", category="garden", place=["Home > Kitchen", "Garden"])
    found = count(document)
    assert nested(found["category"]) == {"The kitchen 2": {}, "garden 1": {}}
    assert nested(found["place"]) == {"Garden 1": {}, "Home 2": {"Kitchen 2": {}}}


def test_a_hit_shows_no_labels_as_they_are_stored(counted):
    hit = search(counted, "").filter(category="kitchen").hits()[0]
    assert hit.payload["category"] == "kitchen"
    assert LABELS not in hit.payload


def test_labels_belong_to_the_values_of_the_same_object():
    field = Keyword(["tags.pk", "category.slug"], label=["tags.name", "category.name"])
    with pause_indexing():
        product = add("mug", "Red", "Blue")
        product.category = Category(slug="kitchen", name="The\x1fkitchen")
    red, blue = (Tag.objects.get(name=name) for name in ("Red", "Blue"))
    assert field.labels(product) == {str(red.pk): "Red", str(blue.pk): "Blue", "kitchen": "The\x1fkitchen"}
    document = BoundDocument(
        type("D", (Document,), {"filter_fields": {"x": field, "y": Keyword("sku")}})(Product)
    )
    product.sku = "M-1"
    content = document.content(product)
    assert sorted(content.payload[LABELS]["x"]) == sorted(
        [f"{red.pk}\x1fRed", f"{blue.pk}\x1fBlue", "kitchen\x1fThe kitchen"]
    )
    assert "y" not in content.payload[LABELS]


def test_labels_need_a_path_each():
    with pytest.raises(TypeError, match="one label for each path"):
        Keyword(["a", "b"], label="c")
    with pytest.raises(TypeError, match="one label for each path"):
        Keyword(from_=str, label="c")
