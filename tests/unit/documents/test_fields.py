"""Filter fields coerce values."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest

from clip_search import Bool, Date, Keyword, Number
from clip_search.documents.fields import FilterField, index_kinds

from .declarations import NOON


@pytest.mark.parametrize(
    ("field", "given", "value"),
    [
        (Keyword, "red", "red"),
        (Keyword, 7, "7"),
        (Number, 3, 3.0),
        (Number, Decimal("9.99"), 9.99),
        (Number, "12.5", 12.5),
        (Bool, True, True),
        (Bool, "TRUE", True),
        (Bool, "0", False),
        (Bool, 3, True),
        (Date, datetime.date(2024, 5, 1), "2024-05-01T00:00:00+00:00"),
        (Date, datetime.datetime(2024, 5, 1, 12), "2024-05-01T12:00:00+00:00"),
        (Date, NOON, "2024-05-01T12:00:00+00:00"),
        (Date, NOON.astimezone(datetime.timezone(datetime.timedelta(hours=2))), "2024-05-01T12:00:00+00:00"),
        (Date, "2024-05-01", "2024-05-01T00:00:00+00:00"),
        (Date, "2024-05-01T14:00:00+02:00", "2024-05-01T12:00:00+00:00"),
    ],
)
def test_coerce(field, given, value):
    found = field("x").coerce(given)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("field", "given"),
    [
        (Number, "cheap"),
        (Number, True),
        (Number, "nan"),
        (Number, "-inf"),
        (Number, "1e999"),
        (Number, 10**400),
        (Number, [1]),
        (Bool, "perhaps"),
        (Bool, ""),
        (Date, "yesterday"),
        (Date, 20240501),
        (Date, "0001-01-01T00:00:00+05:00"),
    ],
)
def test_coerce_refuses(field, given):
    with pytest.raises(ValueError):
        field("x").coerce(given)


def test_a_filter_shows_its_path():
    assert repr(Keyword("category.slug")) == "Keyword('category.slug')"
    with pytest.raises(NotImplementedError):
        FilterField("x").coerce(1)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("Home", ["Home"]),
        ("Home > Kitchen > Mugs", ["Home", "Home > Kitchen", "Home > Kitchen > Mugs"]),
        (" Home >  Kitchen  >  > ", ["Home", "Home > Kitchen"]),
        ("", []),
        (" > ", []),
        ("Home>Kitchen", ["Home>Kitchen"]),
    ],
)
def test_a_path_in_a_tree_is_stored_with_those_above_it(given, stored):
    field = Keyword("x", separator=" > ")
    assert field.stored([given], many=False) == stored
    assert field.levels(field.coerce(given)) == stored
    assert field.stored([given, "Home", given], many=True) == list(dict.fromkeys([*stored, "Home"]))


def test_a_tree_has_a_depth():
    field = Keyword("x", separator="/")
    assert len(field.stored(["/".join("a" * 32)], many=False)) == 32
    with pytest.raises(ValueError, match="more than 32 levels"):
        field.coerce("/".join("a" * 33))


def test_labels_have_an_index_of_their_own():
    fields = {"category": Keyword("category.slug", label="category.name"), "price": Number("price")}
    assert index_kinds(fields) == {"category": "keyword", "price": "number", "_labels.category": "keyword"}
