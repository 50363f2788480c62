"""What is done to vectors so that what lies near is what sounds alike.

A transform is named by its steps, joined by ``+``, with numbers after a colon:
``centre+csls:10``, ``pca:64+expand:3``. It is fitted on vectors, which are
taken at length one, and then moves those and others.

============  =================================================================
``centre``    takes away the mean
``within``    takes away the mean and divides by how much each number moves within
              an item; for vectors of mean and deviation, and as their first step
``pca:N``     takes away the mean and keeps the N axes that differ most
``whiten``    takes away the mean and makes all axes differ equally, as far as
              so many vectors can tell them apart (Ledoit and Wolf, 2004)
``csls:K``    ranks by twice the cosine less the mean cosine of the item and its
              K nearest, so that what lies near everything comes up less often
              (Conneau et al., 2018, but for the query's own mean, which is the
              same for all items)
``expand:K``  asks again with the sum of the query and its K nearest items, each
              by the third power of its cosine (Radenović et al., 2018)
============  =================================================================

What `csls` ranks by is a cosine too, in two dimensions more: with r for an
item's mean cosine let it be ``(x, -r / sqrt 2, sqrt((1 - r^2) / 2))``, and a
query ``(q, 1 / sqrt 2, 0)``. All have the length ``sqrt 1.5``, and three times
their cosine is ``2 q.x - r``. So any engine can search by it.
"""

from __future__ import annotations

import io
import math
import threading
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from soundalike.catalogue.maps import MAPS, Doubles, directions
from soundalike.catalogue.steps import NAMES, Steps, parse
from soundalike.engines.base import NO_ROW, Rows
from soundalike.types import FloatArray

__all__ = ["NAMES", "Fitted", "fit", "parse"]

MOST_ITEMS = 50_000  # of more no figure would change
MOST_REFERENCES = 10_000
ROWS_AT_ONCE = 512
SEED = 0

EXPANSION_POWER = 3
HUB_LENGTH = math.sqrt(1.5)
HUB_SCALE = 3.0
_reading = threading.Lock()  # two that parse headers at once make CPython 3.11 fail now and then
SAME = 1 - 1e-6  # a cosine above which a reference is the vector itself


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A transform with what it learned from vectors.

    It moves a vector in the same way however it is called, whatever else is
    moved with it, and after `to_bytes` and `from_bytes`.

    Attributes
    ----------
    name : str
        Its steps.
    count : int
        How many vectors it was fitted on.
    matrix : ndarray of float64, shape (D, P), or None
        What vectors of length one are multiplied with; nothing where None.
    shift : ndarray of float64, shape (P,)
        What is then taken away.
    references : ndarray of float32, shape (R, P)
        Moved vectors among which `csls` looks for neighbours; none without it.
    """

    name: str
    count: int
    matrix: Doubles | None
    shift: Doubles
    references: FloatArray

    @property
    def steps(self) -> Steps:
        """What the name says."""
        return parse(self.name)

    @property
    def scale(self) -> float:
        """What the product of a query and an item is multiplied with, to rank by it."""
        return HUB_SCALE if self.steps.csls else 1.0

    def apply(self, vectors: npt.ArrayLike) -> FloatArray:
        """Move vectors by the maps alone.

        Parameters
        ----------
        vectors : array_like, shape (N, D)
            Of any length.

        Returns
        -------
        ndarray of float32, shape (N, P)
            Of length one; zeros where nothing is left, as of a vector that is
            the mean.
        """
        return self._move(vectors).astype(np.float32)

    def items(self, vectors: npt.ArrayLike) -> FloatArray:
        """Move vectors to where they are searched.

        Parameters
        ----------
        vectors : array_like, shape (N, D)
            Of any length.

        Returns
        -------
        ndarray of float32, shape (N, S)
            Of length one, or zeros; the same as `apply` gives without `csls`,
            else two numbers more.
        """
        moved = self.apply(vectors)
        if not self.steps.csls:
            return moved
        mean = self._crowding(moved)
        beside = np.stack([-mean / np.sqrt(2), np.sqrt((1 - mean**2) / 2)], axis=1)
        placed: Doubles = np.concatenate([moved, beside], axis=1) / HUB_LENGTH
        return placed.astype(np.float32)

    def queries(self, vectors: npt.ArrayLike) -> Doubles:
        """Move vectors to where they search from; shape (N, S), as `items`."""
        return self._asking(self._move(vectors))

    def expand(self, query: Doubles, nearest: FloatArray) -> Doubles:
        """Draw a query towards its nearest items, the nearer the more.

        Parameters
        ----------
        query : ndarray of float64, shape (S,)
            As `queries` gives it.
        nearest : ndarray of float32, shape (K, S)
            As `items` gives them.

        Returns
        -------
        ndarray of float64, shape (S,)
        """
        length, width = (HUB_LENGTH if self.steps.csls else 1.0), len(self.shift)
        own, others = length * query[:width], length * nearest[:, :width].astype(np.float64)
        together = own + np.maximum(others @ own, 0.0) ** EXPANSION_POWER @ others
        drawn: Doubles = self._asking(directions(together[np.newaxis]))[0]
        return drawn

    def scores(
        self, vectors: npt.ArrayLike, items: FloatArray, own: Rows | None = None
    ) -> FloatArray:
        """Rank items for queries by comparing them all.

        Parameters
        ----------
        vectors : array_like, shape (Q, D)
            The queries, of any length.
        items : ndarray of float32, shape (N, S)
            As `items` gives them.
        own : ndarray of int64, shape (Q,), optional
            For each query the row of `items` that it is itself, or -1.

        Returns
        -------
        ndarray of float32, shape (Q, N)
            What items fall by; -inf for the query itself.
        """
        asked = self.queries(vectors)
        found = self._compare(asked, items, own)
        if self.steps.expand and len(items):
            found = self._compare(self._drawn_near(asked, items, found), items, own)
        return found

    def to_bytes(self) -> bytes:
        """Write what was learned, and the name, as an .npz file."""
        file = io.BytesIO()
        arrays = {
            "name": np.array(self.name),
            "count": np.array(self.count),
            "shift": self.shift,
            "references": self.references,
        }
        if self.matrix is not None:
            arrays["matrix"] = self.matrix
        np.savez(file, allow_pickle=False, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, blob: bytes) -> Fitted:
        """Read what `to_bytes` wrote."""
        with _reading, np.load(io.BytesIO(blob), allow_pickle=False) as arrays:
            return cls(
                name=str(arrays["name"]),
                count=int(arrays["count"]),
                matrix=arrays.get("matrix"),
                shift=arrays["shift"],
                references=arrays["references"],
            )

    def _move(self, vectors: npt.ArrayLike) -> Doubles:
        turned = _turn(directions(vectors), self.matrix)
        sizes = np.linalg.norm(turned, axis=1) + np.linalg.norm(self.shift)
        return directions(turned - self.shift, against=sizes)

    def _asking(self, moved: Doubles) -> Doubles:
        if not self.steps.csls:
            return moved
        beside = np.tile([np.sqrt(0.5), 0.0], (len(moved), 1))
        asking: Doubles = np.concatenate([moved, beside], axis=1) / HUB_LENGTH
        return asking

    def _compare(self, asked: Doubles, items: FloatArray, own: Rows | None) -> FloatArray:
        found: FloatArray = np.float32(self.scale) * (asked.astype(np.float32) @ items.T)
        if own is not None:
            those = np.flatnonzero(own != NO_ROW)
            found[those, own[those]] = -np.inf
        return found

    def _drawn_near(self, asked: Doubles, items: FloatArray, found: FloatArray) -> Doubles:
        most = min(self.steps.expand, len(items))
        nearest = np.argpartition(-found, most - 1, axis=1)[:, :most]
        drawn = np.empty_like(asked)
        for query, rows in enumerate(nearest):
            others = rows[found[query, rows] > -np.inf]
            drawn[query] = self.expand(asked[query], items[others])
        return drawn

    def _crowding(self, moved: FloatArray) -> Doubles:
        """Give each row's mean cosine with its K nearest references; shape (N,)."""
        means = [
            _mean_of_nearest(moved[start : start + ROWS_AT_ONCE], self.references, self.steps.csls)
            for start in range(0, len(moved), ROWS_AT_ONCE)
        ]
        return np.concatenate(means) if means else np.empty(0)


def fit(name: str, vectors: npt.ArrayLike) -> Fitted:
    """Fit a transform.

    Parameters
    ----------
    name : str
        Its steps.
    vectors : array_like, shape (N, D)
        Of any length, N at least 1. Of more than `MOST_ITEMS` so many are
        drawn, always the same.

    Returns
    -------
    Fitted

    Raises
    ------
    BadRequest
        The name makes no sense.
    """
    steps = parse(name)
    every = np.asarray(vectors)
    rows = directions(_drawn(every, MOST_ITEMS))
    matrix, shift = None, np.zeros(rows.shape[1])
    for key, number in steps.maps:
        mean, turning = MAPS[key](_turn(rows, matrix) - shift, number)
        shift = shift + mean
        if turning is not None:
            matrix = turning if matrix is None else matrix @ turning
            shift = shift @ turning
    maps = Fitted(name, len(every), matrix, shift, np.empty((0, len(shift)), np.float32))
    if not steps.csls:
        return maps
    return replace(maps, references=maps.apply(_drawn(every, MOST_REFERENCES)))


def _drawn(vectors: npt.NDArray[Any], most: int) -> npt.NDArray[Any]:
    if len(vectors) <= most:
        return vectors
    rows = np.random.default_rng(SEED).choice(len(vectors), most, replace=False)
    return vectors[np.sort(rows)]


def _turn(rows: Doubles, matrix: Doubles | None) -> Doubles:
    return rows if matrix is None else rows @ matrix


def _mean_of_nearest(rows: FloatArray, references: FloatArray, nearest: int) -> Doubles:
    """Mean cosine of rows with their nearest references, passing over one that is the row itself.

    Where there is no other reference it is zero.
    """
    wanted = min(nearest + 1, len(references))
    found = np.argpartition(-(rows @ references.T), wanted - 1, axis=1)[:, :wanted]
    # taken again in double precision: what a row gets does not hang on the rows beside it
    cosines = np.einsum("nkd,nd->nk", references[found].astype(np.float64), rows.astype(np.float64))
    cosines = -np.sort(-cosines, axis=1)
    means: Doubles = cosines[:, :nearest].mean(axis=1)
    there = cosines[:, 0] >= SAME
    means[there] = cosines[there, 1:].mean(axis=1) if wanted > 1 else 0.0
    return np.clip(means, -1.0, 1.0)
