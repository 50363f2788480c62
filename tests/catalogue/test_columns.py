"""Columns follow rows that are given other metadata, and keep nothing of what they had."""

import json

import numpy as np

from soundalike.catalogue import columns
from soundalike.catalogue.columns import Columns, key_of


class Rows:
    """Three rows of one field, which may be given other values."""

    def __init__(self):
        self.values = [0, 0, 0]
        self.columns = Columns(lambda rows: [json.dumps({"n": self.values[row]}) for row in rows])

    def give(self, row, value):
        self.values[row] = value
        self.columns.change(row)

    def where(self, value, field="n"):
        return np.flatnonzero(self.columns.equal(field, {key_of(value)}, 3)).tolist()


def test_each_field_shows_a_change_whenever_it_is_next_asked_for():
    rows = Rows()
    assert (rows.where(0), rows.where(0, "m")) == ([0, 1, 2], [])
    rows.give(1, 5)
    assert (rows.where(5), rows.where(0)) == ([1], [0, 2])
    rows.give(1, 6)
    rows.give(2, 6)
    assert (rows.where(5), rows.where(6), rows.where(5, "m")) == ([], [1, 2], [])


def test_rows_that_change_again_and_again_take_no_more_room(monkeypatch):
    monkeypatch.setattr(columns, "ROWS_AT_ONCE", 10)
    rows = Rows()
    for value in range(1, 1000):
        rows.give(1, value)
        rows.give(1, -value)
        assert (rows.where(-value), rows.where(value)) == ([1], [])
    assert rows.where(0) == [0, 2]
    assert rows.columns.between("n", {"lt": 0}, 3).tolist() == [False, True, False]
    column = rows.columns._columns["n"]
    assert len(rows.columns._changed) == 1
    assert len(column._numbers) <= 2 * 3 + 10
