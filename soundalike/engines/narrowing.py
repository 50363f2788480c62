"""Fewer numbers for each vector, where they tell neighbours apart as well.

Embeddings spread over few of their directions. A search that compares its query
with some thousand rows along those alone reads a fraction of the memory; the
nearest it finds, and some to spare, are compared in full afterwards. Whether
that loses neighbours is not guessed from the spread but measured, and where it
loses any to speak of nothing is left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from soundalike.engines.arrays import open_array
from soundalike.engines.base import Rows
from soundalike.engines.calibration import RECALL_AT, Sample
from soundalike.engines.exact import ExactEngine
from soundalike.types import FloatArray

FILE = "narrowing.npy"
WIDTHS = (64, 128, 256)
LEAST_SAVED = 128  # numbers of each vector; a row of 64 is read no more quickly than one of 128
MOST_LOST = 0.005  # share of the true neighbours
SPARE = 1  # times as many rows more as are wanted are compared in full
FITTED_ON = 16_384  # rows, at the most
ROWS_AT_ONCE = 4096
SEED = 1


class Narrowing:
    """Projects vectors on the directions along which those of an index spread most.

    Parameters
    ----------
    basis : ndarray of float32, shape (D, W), or None
        Directions, orthogonal and of unit length; None leaves vectors as they are.
    """

    def __init__(self, basis: FloatArray | None) -> None:
        self._basis = basis

    @classmethod
    def of(cls, vectors: FloatArray, sample: Sample) -> Narrowing:
        """Find the fewest directions along which the nearest of a sample are still found.

        Parameters
        ----------
        vectors : ndarray of float32, shape (N, D)
            Of unit length.
        sample : Sample
            Of these.

        Returns
        -------
        Narrowing
            One that leaves vectors as they are, where no small number of directions will do or
            there are too few rows to tell.
        """
        dim = vectors.shape[1]
        widths = [width for width in WIDTHS if dim - width >= LEAST_SAVED]
        if not widths or not len(sample.rows):
            return cls(None)
        directions = _by_spread(vectors)
        for width in widths:
            narrowing = cls(np.ascontiguousarray(directions[:, :width]))
            if narrowing._finds(vectors, sample):
                return narrowing
        return cls(None)

    @classmethod
    def open(cls, folder: Path, dim: int, width: int | None) -> Narrowing:
        """Read what `save` wrote.

        Raises
        ------
        DamagedIndex
            The file does not lead from vectors of `dim` numbers to `width`.
        """
        if width is None:
            return cls(None)
        return cls(open_array(folder / FILE, np.float32, (dim, width)))

    def save(self, folder: Path) -> None:
        """Write the directions, where there are any."""
        if self._basis is not None:
            with (folder / FILE).open("wb") as file:
                np.lib.format.write_array(file, self._basis, allow_pickle=False)

    @property
    def width(self) -> int | None:
        """How many numbers are left of a vector; None for all of them."""
        return None if self._basis is None else self._basis.shape[1]

    def spare(self, k: int) -> int:
        """Tell how many rows more than `k` are to be compared in full."""
        return 0 if self._basis is None else SPARE * max(k, RECALL_AT)

    def queries(self, queries: FloatArray) -> FloatArray:
        """Give what is left of queries, shape (Q, W), at the length that is left."""
        return queries if self._basis is None else queries @ self._basis

    def rows(self, vectors: FloatArray) -> FloatArray:
        """Give what is left of vectors to search, shape (N, W), at unit length."""
        if self._basis is None:
            return vectors
        narrow = np.empty((len(vectors), self._basis.shape[1]), np.float32)
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            some = self.queries(vectors[start : start + ROWS_AT_ONCE])
            # of what lies along none of the directions nothing is left, which has no length
            lengths = np.sqrt(np.einsum("ij,ij->i", some, some)) + np.finfo(np.float32).tiny
            narrow[start : start + len(some)] = some / lengths[:, np.newaxis]
        return narrow

    def _finds(self, vectors: FloatArray, sample: Sample) -> bool:
        """Tell whether the nearest of a sample are among those that would be compared in full."""
        looked_at = RECALL_AT + self.spare(RECALL_AT)
        exact = ExactEngine.build(self.rows(vectors))

        def search(queries: FloatArray) -> Rows:
            return exact.search(self.queries(queries), looked_at + sample.spared)[0]

        return bool(sample.recalls(search, looked_at).mean() >= 1 - MOST_LOST)


def _by_spread(vectors: FloatArray) -> FloatArray:
    """Give orthogonal directions, shape (D, D), by how much vectors spread along them, falling."""
    drawn = np.sort(np.random.default_rng(SEED).permutation(len(vectors))[:FITTED_ON])
    products = np.zeros((vectors.shape[1], vectors.shape[1]))
    for start in range(0, len(drawn), ROWS_AT_ONCE):
        some = vectors[drawn[start : start + ROWS_AT_ONCE]].astype(np.float64)
        products += some.T @ some
    _, directions = np.linalg.eigh(products)
    falling: FloatArray = directions[:, ::-1].astype(np.float32)
    return falling
