"""Ranges of numbers that are easy to read, and dates near the ends of the calendar."""

from __future__ import annotations

import datetime
import random

import pytest

from clip_search import Date
from clip_search.searching.ranges import RANGES, dates, nice_bounds, numbers


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        ([], []),
        ([5.0], []),
        ([5.0] * 100, []),
        ([float(n) for n in range(1, 101)], [20, 30, 50, 70, 80]),
        ([100 + n * 0.99 for n in range(100)], [120, 130, 150, 170, 180]),
        ([1.0] * 90 + [1000.0], [200, 300, 500, 700, 800]),
        ([0.001 * n for n in range(12)], [0.002, 0.004, 0.006, 0.008, 0.01]),
        ([-50.0, -10.0, 0.0, 10.0, 50.0, 90.0], [-10, 0, 10, 50, 90]),
        ([-1e308, 1e308], []),
        ([1e308, 1.7e308, 1.2e308], [1.2e308, 1.7e308]),
        ([0.0, 5e-324], []),
        ([0.0, 3e-323], []),
    ],
)
def test_bounds_are_round_and_separate_the_numbers(values, bounds):
    assert nice_bounds(values) == pytest.approx(bounds)


def test_random_numbers_are_all_in_few_ranges():
    chance = random.Random(1)
    for _ in range(300):
        low, spread = 10 ** chance.uniform(-3, 6), 10 ** chance.uniform(-3, 6)
        values = [low + spread * chance.random() ** 3 for _ in range(chance.randint(1, 200))]
        facet = numbers([[value] for value in values], [], None)
        assert len(facet) <= RANGES
        assert sum(each.count for each in facet) in (len(values), 0)
        assert len(facet) >= 2 or max(values) - min(values) < 1e-9 or len(values) < 10


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("period", ["day", "month", "year", None])
def test_the_first_and_the_last_day_are_counted(settings, zone, period):
    settings.TIME_ZONE = zone
    field = Date("x")
    moments = [[field.coerce(datetime.date.min)], [field.coerce(datetime.date.max)]]
    facet = dates(field, moments, [], period)
    assert [each.count for each in facet] == [1, 1]
    assert facet[0].end is None
    assert facet[1].start == datetime.date.min


def test_what_is_no_number_or_date_is_not_counted():
    assert [each.count for each in numbers([["x", 3, True, None], [{}]], [], [1.0])] == [1]
    assert [each.count for each in dates(Date("x"), [["x", "2024-05-01"], [3]], [], "day")] == [1]


@pytest.mark.parametrize(
    ("values", "period"), [(["2024-05-01", "2024-05-20"], "day"), (["2020-05-01", "2024-05-01"], "year")]
)
def test_periods_depend_on_how_far_the_dates_are_apart(values, period):
    assert dates(Date("x"), [values], [], None) == dates(Date("x"), [values], [], period)
