"""Rows that are near each other come to lie side by side."""

import numpy as np

from soundalike.engines.locality import PART, by_nearness
from tests.engines.vectors import clustered


def beside(vectors):
    """The mean cosine of each row and the next."""
    return np.einsum("ij,ij->i", vectors[1:], vectors[:-1]).mean()


def test_every_row_comes_once():
    for count in (1, 2, PART, PART + 1, 1000):
        order = by_nearness(clustered(count, 8, seed=1))
        assert np.sort(order).tolist() == list(range(count))


def test_neighbours_are_nearer_than_in_the_order_they_came():
    vectors = clustered(8000, 32, seed=1, clusters=40)
    assert beside(vectors[by_nearness(vectors)]) > beside(vectors) + 0.5


def test_it_is_the_same_again_and_whatever_the_blocks(monkeypatch):
    vectors = clustered(3000, 16, seed=1)
    order = by_nearness(vectors)
    np.testing.assert_array_equal(by_nearness(vectors), order)
    monkeypatch.setattr("soundalike.engines.locality.ROWS_AT_ONCE", 1000)
    assert beside(vectors[by_nearness(vectors)]) > beside(vectors) + 0.3


def test_identical_rows_can_be_ordered():
    assert np.sort(by_nearness(np.ones((300, 4), np.float32))).tolist() == list(range(300))
