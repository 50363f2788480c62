"""The engine that reads every row: slow on large matrices, and always right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from soundalike.engines.base import RECALL_TARGET, Engine, Rows
from soundalike.types import FloatArray

BLOCK_SCORES = 1 << 24


def cosines(vectors: FloatArray, queries: FloatArray) -> FloatArray:
    """Score every row against every query.

    Parameters
    ----------
    vectors : ndarray of float32, shape (N, D)
        Rows of unit length.
    queries : ndarray of float32, shape (Q, D)
        Rows of unit length.

    Returns
    -------
    ndarray of float32, shape (Q, N)
        Cosines.
    """
    if len(queries) == 1:
        # reads the matrix at the speed of memory, which BLAS's matrix-vector product does not
        one: FloatArray = np.einsum("ij,j->i", vectors, queries[0])
        return one[np.newaxis]
    return queries @ vectors.T


def blocks(queries: int, rows: int) -> Iterator[slice]:
    """Cut many queries into runs whose scores fit into 64 MB.

    Parameters
    ----------
    queries, rows : int
        How many queries there are, and how many rows each is scored against.

    Yields
    ------
    slice
        Of the queries, in order.
    """
    step = max(1, BLOCK_SCORES // max(1, rows))
    for start in range(0, queries, step):
        yield slice(start, start + step)


class ExactEngine(Engine):
    """Scores every row."""

    name = "exact"
    exact = True
    recall = 1.0
    effort = 0

    def __init__(self, vectors: FloatArray) -> None:
        self._vectors = vectors

    @classmethod
    def build(
        cls, vectors: FloatArray, *, recall_target: float = RECALL_TARGET, threads: int = 1
    ) -> Self:
        """Keep the vectors; there is nothing to build."""
        return cls(vectors)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write nothing: the vectors are all there is."""
        return {"effort": self.effort, "recall": self.recall, "unique": len(self._vectors)}

    @classmethod
    def open(cls, folder: Path, vectors: FloatArray, facts: dict[str, Any]) -> Self:
        """Keep the vectors, which may be mapped."""
        return cls(vectors)

    def with_effort(self, effort: int) -> Self:
        """Give the engine itself; it always reads everything."""
        return self

    def search(self, queries: FloatArray, k: int) -> tuple[Rows, FloatArray]:
        """Find the nearest rows of each query; see `Engine.search`."""
        count = len(self._vectors)
        k = min(k, count)
        rows = np.empty((len(queries), k), dtype=np.int64)
        scores = np.empty((len(queries), k), dtype=np.float32)
        for block in blocks(len(queries), count):
            every = cosines(self._vectors, queries[block])
            rows[block] = [_nearest(of_one, k) for of_one in every]
            scores[block] = np.take_along_axis(every, rows[block], axis=1)
        return rows, scores


def _nearest(scores: FloatArray, k: int) -> Rows:
    threshold = np.partition(scores, -k)[-k]
    candidates = np.flatnonzero(scores >= threshold)
    return candidates[np.argsort(-scores[candidates], kind="stable")[:k]]
