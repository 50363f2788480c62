"""The fields of metadata, laid out so that a filter needs no look at every item's JSON.

A field is read out of all rows when a filter first names it, and out of the
rows that came since when one names it again.
"""

from __future__ import annotations

import json
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

ROWS_AT_ONCE = 4096
MOST_UNUSED = 2  # times as many values as rows have any, before those of no row are forgotten

Scalar = str | bool | int | float
Marks = npt.NDArray[np.bool_]


def key_of(value: Scalar) -> tuple[str, Scalar]:
    """Name a value so that equal ones have equal names: 1 is 1.0 and not true."""
    if isinstance(value, bool):
        return "truth", value
    return ("text" if isinstance(value, str) else "number"), value


class Columns:
    """The metadata of rows, by field.

    Parameters
    ----------
    read : callable
        Gives the metadata of rows, JSON objects, as they are now.
    """

    def __init__(self, read: Callable[[Sequence[int]], Sequence[str]]) -> None:
        self._read = read
        self._columns: dict[str, _Column] = {}
        self._changes = 0
        self._changed: dict[int, int] = {}  # rows, each with the number of its last change
        self._lock = threading.Lock()

    def change(self, row: int) -> None:
        """Read a row anew when a filter next asks for it."""
        self._changed[row] = self._changes + 1  # before it is counted, so that no reader misses it
        self._changes += 1

    def equal(self, field: str, choices: Collection[tuple[str, Scalar]], rows: int) -> Marks:
        """Tell in which of the first rows a field is one of some values; see `key_of`."""
        with self._lock:
            return self._column(field, rows).equal(choices, rows)

    def between(self, field: str, bounds: Mapping[str, float | str], rows: int) -> Marks:
        """Tell in which of the first rows a field lies within bounds, all texts or numbers."""
        with self._lock:
            return self._column(field, rows).between(bounds, rows)

    def there(self, field: str, rows: int) -> Marks:
        """Tell in which of the first rows a field is there and not null."""
        with self._lock:
            return self._column(field, rows).there(rows)

    def _column(self, field: str, rows: int) -> _Column:
        column = self._columns.setdefault(field, _Column(field))
        changes = self._changes
        column.read(self._read, rows, self._changed_since(column.changes))
        column.changes = changes
        return column

    def _changed_since(self, change: int) -> list[int]:
        if change == self._changes:
            return []
        changed = self._changed.copy()  # in one step, for rows change meanwhile
        return [row for row, last in changed.items() if last > change]


class _Column:
    """One field: each of its values has a number, and each row the numbers of its values.

    `changes` is the number of the last change that it shows.
    """

    def __init__(self, field: str) -> None:
        self._field = field
        self.changes = 0
        self._size = 0
        self._numbers: dict[tuple[str, Scalar], int] = {}
        self._ordered: dict[str, tuple[list[Any], list[int]]] = {}
        self._ordered_of = 0
        self._values: npt.NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self._rows = np.empty(0, dtype=np.int64)
        self._rows_there = np.empty(0, dtype=np.int64)

    def read(
        self,
        read: Callable[[Sequence[int]], Sequence[str]],
        rows: int,
        changed: Sequence[int],
    ) -> None:
        """Read the rows that were not read before, and those that were changed since."""
        stale = [row for row in changed if row < self._size]
        fresh = range(self._size, rows)
        if stale:
            self._forget(np.array(stale))
        if stale or fresh:
            self._add([*stale, *fresh], read)
        if len(self._numbers) > MOST_UNUSED * len(self._values) + ROWS_AT_ONCE:
            self._renumber()
        self._size = max(self._size, rows)

    def _renumber(self) -> None:
        """Forget the values that no row has any more."""
        used, numbers = np.unique(self._values, return_inverse=True)
        self._values = numbers.astype(np.int32)
        named = list(self._numbers)
        self._numbers = {named[old]: new for new, old in enumerate(used.tolist())}
        self._ordered_of = -1

    def _forget(self, rows: npt.NDArray[np.int64]) -> None:
        kept = ~np.isin(self._rows, rows)
        self._values, self._rows = self._values[kept], self._rows[kept]
        self._rows_there = self._rows_there[~np.isin(self._rows_there, rows)]

    def _add(self, rows: list[int], read: Callable[[Sequence[int]], Sequence[str]]) -> None:
        values, of_rows, there = array("i"), array("q"), array("q")
        for start in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[start : start + ROWS_AT_ONCE]
            for row, text in zip(some, read(some), strict=True):
                value = find(json.loads(text), self._field)
                if value is not None:
                    there.append(row)
                for scalar in scalars(value):
                    values.append(self._numbers.setdefault(key_of(scalar), len(self._numbers)))
                    of_rows.append(row)
        self._values = np.concatenate([self._values, np.frombuffer(values, dtype=np.int32)])
        self._rows = np.concatenate([self._rows, np.frombuffer(of_rows, dtype=np.int64)])
        self._rows_there = np.concatenate([self._rows_there, np.frombuffer(there, dtype=np.int64)])

    def equal(self, choices: Collection[tuple[str, Scalar]], rows: int) -> Marks:
        return self._having([self._numbers[one] for one in choices if one in self._numbers], rows)

    def between(self, bounds: Mapping[str, float | str], rows: int) -> Marks:
        kind, _ = key_of(next(iter(bounds.values())))
        values, numbers = self._in_order(kind)
        first, last = 0, len(values)
        for name, bound in bounds.items():
            # what is greater begins behind those that are equal, what is less ends before them
            place = (bisect_right if name in ("gt", "lte") else bisect_left)(values, bound)
            first, last = (max(first, place), last) if name[0] == "g" else (first, min(last, place))
        return self._having(numbers[first:last], rows)

    def _in_order(self, kind: str) -> tuple[list[Any], list[int]]:
        """Give the values of a kind, rising, with their numbers."""
        if self._ordered_of != len(self._numbers):
            self._ordered, self._ordered_of = {}, len(self._numbers)
        if kind not in self._ordered:
            of_kind = [(value, number) for (k, value), number in self._numbers.items() if k == kind]
            of_kind.sort()
            self._ordered[kind] = [one for one, _ in of_kind], [number for _, number in of_kind]
        return self._ordered[kind]

    def there(self, rows: int) -> Marks:
        return _marked(self._rows_there, rows)

    def _having(self, numbers: Iterable[int], rows: int) -> Marks:
        wanted = np.zeros(len(self._numbers), dtype=bool)
        wanted[list(numbers)] = True
        return _marked(self._rows[wanted[self._values]], rows)


def _marked(rows_there: npt.NDArray[np.int64], rows: int) -> Marks:
    marks = np.zeros(rows, dtype=bool)
    marks[rows_there[rows_there < rows]] = True
    return marks


def find(metadata: Any, field: str) -> Any:
    """Look a field up, by its whole name or else step by step at its dots."""
    if not isinstance(metadata, dict):
        return None
    if field in metadata:
        return metadata[field]
    first, _, rest = field.partition(".")
    return find(metadata.get(first), rest) if rest else None


def scalars(value: Any) -> Iterator[Scalar]:
    """Give the values of a field: those of a list, or the one; objects and null have none."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, str | bool | int | float):
            yield one
