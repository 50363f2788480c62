"""How many rows of a long log are equal, in a bounded amount of memory."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Hashes: TypeAlias = npt.NDArray[np.uint64]

MOST_KEPT = 1 << 19
# odd constants of the finaliser of splitmix64
SHIFTS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST_SHIFT, GOLDEN = 31, 0x9E3779B97F4A7C15


class RepeatCounter:
    """Counts rows that are equal to an earlier one.

    Rows are known by 64-bit hashes. Once more than half a million differ, only those
    with a hash below a bound are watched, the bound halving as need be, and the
    count is scaled up: exact for short logs, an estimate for long ones.
    """

    def __init__(self) -> None:
        self._kept: Hashes = np.zeros(0, dtype=np.uint64)
        self._new: list[Hashes] = []
        self._halvings = 0
        self._watched = 0

    @property
    def repeated(self) -> int:
        """How many rows were equal to an earlier one."""
        self._merge()
        return (self._watched - len(self._kept)) << self._halvings

    def add(self, *columns: npt.NDArray[np.signedinteger]) -> None:
        """Take in rows, given by their columns."""
        self._new.append(self._below_bound(_hashes(columns)))
        if sum(map(len, self._new)) > MOST_KEPT:
            self._merge()

    def _merge(self) -> None:
        self._watched += sum(map(len, self._new))
        self._kept = np.unique(np.concatenate([self._kept, *self._new]))
        self._new = []
        while len(self._kept) > MOST_KEPT:
            self._halve()

    def _halve(self) -> None:
        # what was repeated so far is taken to be spread evenly over the hashes
        repeated = self._watched - len(self._kept)
        self._halvings += 1
        self._kept = self._below_bound(self._kept)
        self._watched = len(self._kept) + round(repeated / 2)

    def _below_bound(self, hashes: Hashes) -> Hashes:
        return hashes[hashes <= np.uint64((1 << (64 - self._halvings)) - 1)]


def _hashes(columns: tuple[npt.NDArray[np.signedinteger], ...]) -> Hashes:
    """Mix the columns of each row into one number."""
    mixed = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        mixed += column.astype(np.uint64) + np.uint64(GOLDEN)
        for shift, factor in SHIFTS:
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        mixed ^= mixed >> np.uint64(LAST_SHIFT)
    return mixed
