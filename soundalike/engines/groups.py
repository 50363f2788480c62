"""Rows that share one vector, so that an index need hold it only once.

Many identical vectors (silence, the same file twice) fill the leaves of a tree
and the links of a graph, and hide the rest. Where only unique vectors are
indexed, each with the rows that share it, they do not. An index numbers what it
holds in an order of its own; the groups are numbered likewise.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from soundalike.engines.arrays import open_array
from soundalike.engines.base import NO_ROW, Rows
from soundalike.errors import DamagedIndex
from soundalike.types import FloatArray

FILE = "groups.npy"
ROWS_AT_ONCE = 4096
DIGEST_BYTES = 16  # so long that no two vectors share one by chance


class Groups:
    """Which rows share one vector.

    Attributes
    ----------
    rows : int
        How many rows there are in all.
    count : int
        How many groups.
    """

    def __init__(self, table: Rows) -> None:
        """Take a table of shape (2, N + 1).

        Its first line holds the rows, those of a group side by side and
        rising, and last the row of no group, -1. The second holds where each
        group starts, then N to its end.
        """
        self._table = table
        self._members, self._starts = table
        self.rows = len(self._members) - 1
        self.count = int(np.searchsorted(self._starts, self.rows))

    @classmethod
    def of(cls, vectors: FloatArray) -> Groups:
        """Find the rows of vectors, shape (N, D), that are identical; number them by their first.

        Parameters
        ----------
        vectors : ndarray of float32, shape (N, D)
        """
        _, first, sorted_group, sizes = np.unique(
            _digests(vectors), return_index=True, return_inverse=True, return_counts=True
        )
        by_first_row = np.argsort(first)
        number = np.empty_like(by_first_row)
        number[by_first_row] = np.arange(len(first))
        return cls(_table(np.argsort(number[sorted_group], kind="stable"), sizes[by_first_row]))

    @classmethod
    def open(cls, folder: Path, rows: int, count: int) -> Groups:
        """Map what `save` wrote.

        Raises
        ------
        DamagedIndex
            The file does not tell of so many groups of so many rows.
        """
        table = open_array(folder / FILE, np.int64, (2, rows + 1))
        if not _sound(table, count):
            raise DamagedIndex(f"{folder / FILE} does not group {rows} rows into {count}.")
        return cls(table)

    def save(self, folder: Path) -> None:
        """Write the groups."""
        with (folder / FILE).open("wb") as file:
            np.lib.format.write_array(file, self._table, allow_pickle=False)

    def numbered(self, order: Rows) -> Groups:
        """Give the same groups in another order, shape (count,), of their present numbers."""
        starts = self._starts[order]
        sizes = np.diff(self._starts, append=self.rows)[order]
        shifts = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
        return Groups(_table(self._members[shifts + np.arange(self.rows)], sizes))

    def unique(self, vectors: FloatArray) -> FloatArray:
        """Give the vector of each group, shape (count, D)."""
        if self.count == self.rows and np.array_equal(self._members[:-1], np.arange(self.rows)):
            return vectors
        unique: FloatArray = vectors[self.first(np.arange(self.count))]
        return unique

    def first(self, groups: Rows) -> Rows:
        """Give the first row of each group; some row for a group of -1."""
        starts = groups if self.count == self.rows else self._starts.take(groups)
        rows: Rows = self._members.take(starts)
        return rows

    def expand(self, groups: Rows, scores: FloatArray, k: int) -> tuple[Rows, FloatArray]:
        """Turn found groups into their rows.

        Parameters
        ----------
        groups : ndarray of int64, shape (Q, G)
            Nearest first; -1 where nothing was found.
        scores : ndarray of float32, shape (Q, G)
            Their cosines, and -inf.
        k : int
            How many rows there are to be, at least G.

        Returns
        -------
        rows : ndarray of int64, shape (Q, k)
        scores : ndarray of float32, shape (Q, k)
            As `Engine.search` gives them.
        """
        if self.count == self.rows:
            return self._members[groups], scores
        rows = np.full((len(groups), k), NO_ROW, dtype=np.int64)
        expanded = np.full((len(groups), k), -np.inf, dtype=np.float32)
        for query, numbers in enumerate(groups.tolist()):
            self._expand_one(numbers, scores[query], rows[query], expanded[query])
        return rows, expanded

    def _expand_one(
        self, groups: list[int], scores: FloatArray, rows: Rows, expanded: FloatArray
    ) -> None:
        """Write the rows of groups into `rows` until it is full."""
        filled = 0
        for group, score in zip(groups, scores, strict=True):
            if group == NO_ROW or filled == len(rows):
                break
            start, end = self._starts[group], self._starts[group + 1]
            size = min(int(end - start), len(rows) - filled)
            rows[filled : filled + size] = self._members[start : start + size]
            expanded[filled : filled + size] = score
            filled += size


def _digests(vectors: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Give a digest of each row; unlike the rows themselves they can be sorted in little memory."""
    digests = bytearray()
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        for row in np.ascontiguousarray(vectors[start : start + ROWS_AT_ONCE]):
            digests += hashlib.blake2b(row, digest_size=DIGEST_BYTES).digest()
    return np.frombuffer(digests, dtype=f"V{DIGEST_BYTES}")


def _table(members: Rows, sizes: Rows) -> Rows:
    """Lay out groups, given by their rows side by side and how many each has."""
    table = np.full((2, len(members) + 1), len(members), dtype=np.int64)
    table[0] = np.append(members, NO_ROW)
    table[1, : len(sizes)] = np.cumsum(sizes) - sizes
    return table


def _sound(table: Rows, count: int) -> bool:
    """Whether a table can be followed without leaving it."""
    rows = table.shape[1] - 1
    members, starts, padding = table[0], table[1, :count], table[1, count:]
    return bool(
        0 < count <= rows
        and starts[0] == 0
        and (np.diff(starts) > 0).all()
        and starts[-1] < rows
        and (padding == rows).all()
        and members[-1] == NO_ROW
        and (np.sort(members[:-1]) == np.arange(rows)).all()
    )
