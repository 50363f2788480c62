"""Rows of vectors, and the places where they are looked for.

The base holds the rows that are indexed, in files that are mapped into memory.
The tail holds those that came since, or all where there is no index.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soundalike.catalogue.mapped import Strings
from soundalike.catalogue.transforms import Fitted
from soundalike.engines.base import Engine, Rows
from soundalike.types import FloatArray

LEAST_CAPACITY = 64

UnitVectors = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """The rows that are indexed, and where rows are looked for.

    Attributes
    ----------
    keys : sequence of str
        The item of each row, rising.
    metadata : sequence of str
        The metadata of each row, as JSON.
    vectors : ndarray of float32, shape (B, D)
        Of unit length.
    places : ndarray of float32, shape (B, S)
        Where the transform moves them; the vectors themselves without one.
    engine : Engine or None
        Over the places; None where there is no index, and no row.
    transform : str or None
        The name of the transform that is wanted.
    fitted : Fitted or None
        The transform; None also while there are too few items to fit it on.
    fitted_at : int
        The write after which it was fitted.
    sequence : int
        The write that the rows show.
    """

    keys: Sequence[str]
    metadata: Sequence[str]
    vectors: FloatArray
    places: FloatArray
    engine: Engine | None
    transform: str | None
    fitted: Fitted | None
    fitted_at: int
    sequence: int

    @classmethod
    def empty(
        cls, dim: int, *, transform: str | None, fitted: Fitted | None, fitted_at: int
    ) -> Base:
        """Make a base without rows, for a collection that has no index."""
        nothing = np.empty((0, dim), dtype=np.float32)
        places = nothing if fitted is None else fitted.items(nothing)
        return cls((), (), nothing, places, None, transform, fitted, fitted_at, 0)

    def find(self, key: str) -> int | None:
        """Give the row of an item."""
        row = bisect_left(self.keys, key)
        return row if row < len(self.keys) and self.keys[row] == key else None

    def place(self, vectors: FloatArray) -> FloatArray:
        """Move other vectors to where they are looked for."""
        return vectors if self.fitted is None else self.fitted.items(vectors)


class Tail:
    """Rows that can be added to; what was taken of it stays as it is.

    Parameters
    ----------
    base : Base
        Behind whose rows these are numbered, and whose transform moves them.
    """

    def __init__(self, base: Base) -> None:
        self._base = base
        self.keys: list[str] = []
        self.metadata: list[str] = []
        self._row_of: dict[str, int] = {}
        self._vectors = _Buffer(base.vectors.shape[1])
        moved = base.fitted is not None
        self._places = _Buffer(base.places.shape[1]) if moved else self._vectors

    @property
    def vectors(self) -> FloatArray:
        """The rows, of unit length; shape (T, D)."""
        return self._vectors.rows[: len(self.keys)]

    @property
    def places(self) -> FloatArray:
        """Where they are looked for; shape (T, S)."""
        return self._places.rows[: len(self.keys)]

    def find(self, key: str) -> int | None:
        """Give the row of an item, counted from the first of the base."""
        return self._row_of.get(key)

    def forget(self, key: str) -> None:
        """Know a row no longer by its key."""
        self._row_of.pop(key, None)

    def append(self, keys: Sequence[str], metadata: Sequence[str], vectors: FloatArray) -> None:
        """Add rows, whose keys are known by these from now on."""
        used = len(self.keys)
        first = len(self._base.vectors) + used
        self._vectors.write(used, vectors)
        if self._places is not self._vectors:
            self._places.write(used, self._base.place(vectors))
        self.keys.extend(keys)
        self.metadata.extend(metadata)
        self._row_of.update(zip(keys, range(first, first + len(keys)), strict=True))


class _Buffer:
    """A matrix that grows; slices that were taken of it stay as they are."""

    def __init__(self, width: int) -> None:
        self.rows = np.empty((0, width), dtype=np.float32)

    def write(self, used: int, rows: FloatArray) -> None:
        """Put rows behind those in use, in a new array where it is full."""
        needed = used + len(rows)
        if needed > len(self.rows):
            capacity = max(needed, 2 * len(self.rows), LEAST_CAPACITY)
            larger = np.empty((capacity, self.rows.shape[1]), dtype=np.float32)
            larger[:used] = self.rows[:used]
            self.rows = larger
        self.rows[used:needed] = rows


def pick(texts: Sequence[str], rows: Sequence[int]) -> list[str]:
    """Pick some of many strings."""
    return texts.pick(rows) if isinstance(texts, Strings) else [texts[row] for row in rows]


def gather(base: FloatArray, tail: FloatArray, rows: Rows) -> FloatArray:
    """Pick rows of two matrices, of which the second continues the first."""
    if not len(tail):
        return base.take(rows, axis=0)
    if not len(base):
        return tail.take(rows, axis=0)
    in_base = rows < len(base)
    gathered = np.empty((len(rows), base.shape[1]), dtype=np.float32)
    gathered[in_base] = base[rows[in_base]]
    gathered[~in_base] = tail[rows[~in_base] - len(base)]
    return gathered


def unit(vectors: npt.ArrayLike) -> UnitVectors:
    """Scale vectors to length one.

    Parameters
    ----------
    vectors : array_like, shape (N, D)
        Finite, none of them zero.

    Returns
    -------
    ndarray of float64, shape (N, D)
    """
    # in double precision neither the largest nor the smallest float32 leaves the range
    wide = np.asarray(vectors, dtype=np.float64)
    lengths: UnitVectors = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    return wide / lengths[:, np.newaxis]
