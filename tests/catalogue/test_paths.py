"""Walks between two items."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundalike.catalogue.paths import connect, points


def directions(seed: int, count: int, dim: int = 3) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def cost(vectors: np.ndarray, rows: list[int]) -> float:
    steps = [vectors[a] @ vectors[b] for a, b in itertools.pairwise(rows)]
    return float(np.sum(np.arccos(np.clip(steps, -1, 1)) ** 2))


def uncapped(vectors, offers):
    return connect(offers, vectors, [[]] * len(vectors), {})


@pytest.mark.parametrize("end", [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
def test_points_lie_at_even_angles(end):
    start, end = np.array([1.0, 0.0, 0.0]), np.array(end)
    cut = np.vstack([start, points(start, end, 4), end])
    angles = np.arccos(np.clip(np.einsum("ij,ij->i", cut[1:], cut[:-1]), -1, 1))
    assert angles == pytest.approx(np.arccos(start @ end) / 5, abs=1e-7)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 3))
def test_with_different_offers_at_every_stop_no_walk_is_cheaper(seed, stops):
    vectors = directions(seed, 2 + 4 * stops)
    offers = np.arange(2, 2 + 4 * stops).reshape(stops, 4).tolist()
    every = [[0, *between, 1] for between in itertools.product(*offers)]
    found = uncapped(vectors, offers)
    assert cost(vectors, found) == pytest.approx(min(cost(vectors, one) for one in every))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 8), st.integers(2, 20), st.integers(1, 3))
def test_a_walk_visits_nothing_twice_keeps_caps_and_arrives(seed, stops, count, most):
    vectors = directions(seed, count)
    rng = np.random.default_rng(seed)
    artist = rng.integers(0, 4, count).tolist()
    offers = [rng.integers(0, count, 6).tolist() for _ in range(stops)]
    kinds = [[("artist", "number", one)] for one in artist]
    rows = connect(offers, vectors, kinds, {"artist": most})
    assert rows[0] == 0
    assert rows[-1] == 1
    assert len(set(rows)) == len(rows) <= stops + 2
    for one in range(4):
        assert [artist[row] for row in rows[1:-1]].count(one) <= max(
            0, most - [artist[0], artist[1]].count(one)
        )


def test_where_nothing_lies_between_the_ends_are_the_walk():
    assert uncapped(directions(0, 2), [[], [0, 1]]) == [0, 1]
