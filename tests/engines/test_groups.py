"""Identical rows are found, and told apart again."""

import numpy as np
import pytest

from soundalike.engines.base import NO_ROW
from soundalike.engines.groups import FILE, Groups
from soundalike.errors import DamagedIndex
from tests.engines.vectors import clustered


def some_identical(count=60, seed=3):
    rng = np.random.default_rng(seed)
    return clustered(count, 8, seed=seed)[rng.integers(0, count // 3, count)]


def members(vectors):
    """The rows of each vector, in the order of their first."""
    found = {}
    for row, vector in enumerate(vectors):
        found.setdefault(vector.tobytes(), []).append(row)
    return list(found.values())


def of_group(groups, number, most=100):
    """The rows of one group, as a search that finds it alone would tell them."""
    rows, scores = groups.expand(np.array([[number]]), np.ones((1, 1), np.float32), most)
    assert (np.isneginf(scores) == (rows == NO_ROW)).all()
    return rows[rows != NO_ROW].tolist()


def test_groups_are_the_rows_of_identical_vectors():
    vectors = some_identical()
    groups = Groups.of(vectors)
    expected = members(vectors)
    assert (groups.rows, groups.count) == (60, len(expected))
    assert [of_group(groups, number) for number in range(groups.count)] == expected
    np.testing.assert_array_equal(groups.unique(vectors), vectors[[rows[0] for rows in expected]])


def test_blocks_do_not_change_the_groups(monkeypatch):
    vectors = some_identical()
    monkeypatch.setattr("soundalike.engines.groups.ROWS_AT_ONCE", 7)
    groups = Groups.of(vectors)
    assert [of_group(groups, number) for number in range(groups.count)] == members(vectors)


def test_without_duplicates_every_row_is_a_group():
    vectors = clustered(20, 8, seed=1)
    groups = Groups.of(vectors)
    assert groups.unique(vectors) is vectors
    rows, _ = groups.expand(np.array([[3, 1, NO_ROW]]), np.ones((1, 3), np.float32), 3)
    assert rows.tolist() == [[3, 1, NO_ROW]]


@pytest.mark.parametrize("vectors", [some_identical(), clustered(20, 8, seed=1)])
def test_groups_can_be_numbered_anew(vectors):
    groups, expected = Groups.of(vectors), members(vectors)
    order = np.random.default_rng(5).permutation(groups.count)
    anew = groups.numbered(order)
    assert (anew.rows, anew.count) == (groups.rows, groups.count)
    assert [of_group(anew, number) for number in range(anew.count)] == [
        expected[number] for number in order
    ]
    np.testing.assert_array_equal(anew.unique(vectors), groups.unique(vectors)[order])


def test_the_last_group_is_cut_where_there_are_enough():
    vectors = clustered(6, 8, seed=1)[[0, 1, 1, 1, 2, 2]]
    rows, scores = Groups.of(vectors).expand(
        np.array([[2, 1, 0], [1, NO_ROW, NO_ROW]]),
        np.array([[0.9, 0.8, 0.7], [0.5, -np.inf, -np.inf]], np.float32),
        4,
    )
    assert rows.tolist() == [[4, 5, 1, 2], [1, 2, 3, NO_ROW]]
    assert scores[0] == pytest.approx([0.9, 0.9, 0.8, 0.8])
    assert scores[1] == pytest.approx([0.5, 0.5, 0.5, -np.inf])


def test_they_are_the_same_once_saved_and_opened(tmp_path):
    vectors = some_identical()
    before = Groups.of(vectors)
    before.save(tmp_path)
    after = Groups.open(tmp_path, before.rows, before.count)
    assert [of_group(after, number) for number in range(after.count)] == members(vectors)


@pytest.mark.parametrize(
    "damage",
    [
        lambda table: table[:, :-1],
        lambda table: table.astype(np.float64),
        lambda table: np.where(table == 0, 1, table),
        lambda table: np.where(table == 5, 1_000_000, table),
        lambda table: np.where(table == 5, -1, table),
        lambda table: table[::-1],
    ],
)
def test_a_file_that_cannot_be_followed_is_refused(tmp_path, damage):
    groups = Groups.of(some_identical())
    groups.save(tmp_path)
    np.save(tmp_path / FILE, damage(np.load(tmp_path / FILE)))
    with pytest.raises(DamagedIndex, match=FILE):
        Groups.open(tmp_path, groups.rows, groups.count)
