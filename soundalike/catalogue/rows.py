"""Rows of vectors, and the places where they are looked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soundalike.catalogue.transforms import Fitted
from soundalike.engines.base import Engine, Rows
from soundalike.types import FloatArray

LEAST_CAPACITY = 64


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """The rows that are indexed, and where they are looked for.

    Attributes
    ----------
    vectors : ndarray of float32, shape (B, D)
        Of unit length, by rising id.
    places : ndarray of float32, shape (B, S)
        Where the transform moves them; the vectors themselves without one.
    engine : Engine
        Over the places.
    transform : str or None
        The name of the transform that is wanted.
    fitted : Fitted or None
        The transform; None also while there are too few items to fit it on.
    fitted_at : int
        The write after which it was fitted.
    """

    vectors: FloatArray
    places: FloatArray
    engine: Engine
    transform: str | None
    fitted: Fitted | None
    fitted_at: int

    @classmethod
    def build(
        cls,
        vectors: FloatArray,
        engine: type[Engine],
        *,
        transform: str | None,
        fitted: Fitted | None,
        fitted_at: int,
    ) -> Base:
        """Move the vectors and index where they come to lie."""
        places = vectors if fitted is None else fitted.items(vectors)
        return cls(vectors, places, engine.build(places), transform, fitted, fitted_at)

    def place(self, vectors: FloatArray) -> FloatArray:
        """Move other vectors to where they are looked for."""
        return vectors if self.fitted is None else self.fitted.items(vectors)


class Buffer:
    """Rows that can be added to; slices that were taken of it stay as they are."""

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


def gather(base: FloatArray, tail: FloatArray, rows: Rows) -> FloatArray:
    """Pick rows of two matrices, of which the second continues the first."""
    in_base = rows < len(base)
    gathered = np.empty((len(rows), base.shape[1]), dtype=np.float32)
    gathered[in_base] = base[rows[in_base]]
    gathered[~in_base] = tail[rows[~in_base] - len(base)]
    return gathered
