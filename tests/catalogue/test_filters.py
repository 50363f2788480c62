"""Filters against a plain reading of what they say."""

from __future__ import annotations

import json
import operator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundalike.catalogue import filters
from soundalike.catalogue.columns import Columns
from soundalike.errors import BadRequest

ITEMS = [
    {"genre": "jazz", "year": 1959, "tags": ["cool", "modal"], "by": {"name": "Miles"}},
    {"genre": "blues", "year": 1990, "tags": [], "live": True},
    {"genre": None, "year": 1999.5, "by.name": "Ella", "live": False},
    {"year": "1990", "live": 1},
    {},
]

CASES = [
    ({}, [0, 1, 2, 3, 4]),
    ({"genre": "jazz"}, [0]),
    ({"genre": None}, [2, 3, 4]),
    ({"year": 1990.0}, [1]),
    ({"year": {"gte": 1990, "lt": 2000}}, [1, 2]),
    ({"year": {"gt": 1990}}, [2]),
    ({"year": {"lte": "1990"}}, [3]),
    ({"tags": "modal"}, [0]),
    ({"tags": {"exists": True}}, [0, 1]),
    ({"tags": {"exists": False}}, [2, 3, 4]),
    ({"live": True}, [1]),
    ({"live": 1}, [3]),
    ({"genre": {"in": ["jazz", "blues", "rock"]}}, [0, 1]),
    ({"genre": {"in": []}}, []),
    ({"by.name": {"in": ["Miles", "Ella"]}}, [0, 2]),
    ({"genre": "jazz", "year": {"lt": 1950}}, []),
    ({"or": [{"genre": "jazz"}, {"year": "1990"}]}, [0, 3]),
    ({"and": [{"not": {"genre": "jazz"}}, {"year": {"exists": True, "lt": 1995}}]}, [1]),
    ({"or": []}, []),
    ({"and": []}, [0, 1, 2, 3, 4]),
]


def over(items: list[dict]) -> Columns:
    return Columns(lambda rows: [json.dumps(items[row]) for row in rows])


def met(demands: object, items: list[dict]) -> list[int]:
    columns = over(items)
    return filters.parse(demands).marks(columns, len(items)).nonzero()[0].tolist()


@pytest.mark.parametrize(("demands", "wanted"), CASES)
def test_a_filter_means_what_it_says(demands, wanted):
    assert met(demands, ITEMS) == wanted


@pytest.mark.parametrize(
    "demands",
    [
        "jazz",
        {"genre": {}},
        {"genre": {"like": "ja"}},
        {"genre": ["jazz"]},
        {"genre": {"in": "jazz"}},
        {"genre": {"in": [None]}},
        {"year": {"gte": 1990, "lt": "2000"}},
        {"year": {"gte": True}},
        {"year": {"gte": float("nan")}},
        {"year": {"exists": 1}},
        {"and": {"genre": "jazz"}},
        {"not": [{"genre": "jazz"}]},
        {"genre": {"in": ["a"] * 10_001}},
        {"or": [{"genre": "jazz"}] * 1000},
    ],
)
def test_what_is_no_filter_is_refused(demands):
    with pytest.raises(BadRequest):
        filters.parse(demands)


def test_a_filter_that_is_too_deep_is_refused():
    demands: dict = {"genre": "jazz"}
    for _ in range(20):
        demands = {"not": demands}
    with pytest.raises(BadRequest, match="16"):
        filters.parse(demands)


def test_rows_that_came_since_are_read_and_rows_beyond_those_asked_for_are_not_told():
    items = list(ITEMS[:2])
    columns, jazz = over(items), filters.parse({"genre": "jazz"})
    assert jazz.marks(columns, 2).tolist() == [True, False]
    items.append({"genre": "jazz"})
    assert jazz.marks(columns, 3).tolist() == [True, False, True]
    assert jazz.marks(columns, 2).tolist() == [True, False]


def test_rows_that_were_changed_are_read_anew():
    items = [{"genre": "jazz"}, {"genre": "jazz"}, {}]
    columns, jazz = over(items), filters.parse({"genre": "jazz"})
    there = filters.parse({"genre": {"exists": True}})
    assert jazz.marks(columns, 3).tolist() == [True, True, False]
    items[0], items[2] = {}, {"genre": "jazz"}
    columns.change(0)
    columns.change(2)
    assert jazz.marks(columns, 3).tolist() == [False, True, True]
    assert there.marks(columns, 3).tolist() == [False, True, True]


COMPARE = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
values = st.one_of(
    st.integers(-3, 3), st.sampled_from(["a", "b", ""]), st.booleans(), st.none(), st.just(0.5)
)
metadata = st.dictionaries(st.sampled_from("xy"), values | st.lists(values, max_size=3))
scalar = values.filter(lambda one: one is not None)
ranges = st.dictionaries(st.sampled_from(sorted(COMPARE)), st.integers(-3, 3), min_size=1)
demand = st.one_of(
    values,
    ranges,
    st.fixed_dictionaries({"in": st.lists(scalar, max_size=3)}),
    st.fixed_dictionaries({"exists": st.booleans()}),
)
trees = st.recursive(
    st.dictionaries(st.sampled_from("xy"), demand),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"and": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"or": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=6,
)


def plainly(demands: dict, item: dict) -> bool:
    return all(_holds(name, what, item) for name, what in demands.items())


def _holds(name: str, what: object, item: dict) -> bool:
    if name == "and":
        return all(plainly(one, item) for one in what)
    if name == "or":
        return any(plainly(one, item) for one in what)
    if name == "not":
        return not plainly(what, item)
    held = item.get(name)
    held = held if isinstance(held, list) else [held]
    if what is None:
        return item.get(name) is None
    if not isinstance(what, dict):
        return any(_same(one, what) for one in held)
    if "in" in what:
        return any(_same(one, choice) for one in held for choice in what["in"])
    if "exists" in what:
        return (item.get(name) is not None) == what["exists"]
    numbers = [one for one in held if isinstance(one, int | float) and not isinstance(one, bool)]
    return any(all(COMPARE[b](one, limit) for b, limit in what.items()) for one in numbers)


def _same(one: object, other: object) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


@settings(max_examples=300, deadline=None)
@given(trees, st.lists(metadata, max_size=8))
def test_a_filter_agrees_with_its_plain_reading(demands, items):
    wanted = [row for row, item in enumerate(items) if plainly(demands, item)]
    assert met(demands, items) == wanted


def test_a_filter_names_few_fields_and_one_as_often_as_wanted():
    few = {"or": [{f"x{n % 32}": n} for n in range(100)]}
    assert met(few, [{"x31": 31}, {"x0": 1}]) == [0]
    with pytest.raises(BadRequest, match="32 fields"):
        filters.parse({"or": [{f"x{n}": n} for n in range(33)]})
