"""Annoy: a forest of random projections (https://github.com/spotify/annoy).

What Annoy leaves to its user is guarded here. Its default breadth of search
finds half of the neighbours on hard data, so the breadth is calibrated against
the exact engine on the very vectors that are indexed. Many identical vectors
(silence, the same file twice) fill its leaves and hide the rest, so only
unique vectors are indexed, each with the list of rows that share it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from annoy import AnnoyIndex

from soundalike.engines.base import NO_ROW, Engine, Rows
from soundalike.engines.exact import ExactEngine
from soundalike.types import FloatArray

TREES = 50
SEED = 1
RECALL_TARGET = 0.95
RECALL_AT = 10
LEAST_SEARCH_K = TREES * RECALL_AT
SAMPLES = 128
NOISE = 0.5


class AnnoyEngine(Engine):
    """Finds most of the neighbours without reading every row.

    Attributes
    ----------
    recall : float
        Share of the ten nearest neighbours found, measured on up to 128 queries.
    search_k : int
        How many nodes are looked at in a search for up to ten rows; a search
        for more looks at proportionally more.
    """

    name = "annoy"
    exact = False

    def __init__(self, groups: _Groups, index: Any, search_k: int, recall: float) -> None:
        self._groups = groups
        self._index = index
        self.search_k = search_k
        self.recall = recall

    @classmethod
    def build(cls, vectors: FloatArray, recall_target: float = RECALL_TARGET) -> AnnoyEngine:
        """Plant the trees and calibrate the breadth of search.

        Parameters
        ----------
        vectors : ndarray of float32, shape (N, D)
            Rows of unit length, N at least 1.
        recall_target : float
            The breadth is doubled until this share of the neighbours is found.

        Returns
        -------
        AnnoyEngine
            The same for the same vectors, every time.
        """
        groups = _Groups(vectors)
        unique = vectors[groups.first]
        index = _plant(unique)
        return cls(groups, index, *_calibrate(index, unique, recall_target))

    def search(self, queries: FloatArray, k: int) -> tuple[Rows, FloatArray]:
        """Find the nearest rows of each query; see `Engine.search`."""
        k = min(k, self._groups.rows)
        rows = np.full((len(queries), k), NO_ROW, dtype=np.int64)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        for i, query in enumerate(queries):
            found, cosines = self._search_one(query, k)
            rows[i, : len(found)] = found
            scores[i, : len(found)] = cosines
        return rows, scores

    def _search_one(self, query: FloatArray, k: int) -> tuple[Rows, FloatArray]:
        breadth = self.search_k * -(-k // RECALL_AT)
        groups, distances = self._index.get_nns_by_vector(
            query.tolist(), k, search_k=breadth, include_distances=True
        )
        # Annoy's angular distance is the chord between unit vectors
        cosines = (1 - np.square(distances) / 2).astype(np.float32)
        return self._groups.expand(np.array(groups, dtype=np.int64), cosines, k)


class _Groups:
    """Which rows share one vector.

    Attributes
    ----------
    rows : int
        How many rows there are in all.
    first : ndarray of int64, shape (G,)
        For each group, the lowest row in it.
    """

    def __init__(self, vectors: FloatArray) -> None:
        self.rows = len(vectors)
        whole_rows = np.ascontiguousarray(vectors).view(f"V{vectors.shape[1] * vectors.itemsize}")
        _, self.first, group_of_row, sizes = np.unique(
            whole_rows.ravel(), return_index=True, return_inverse=True, return_counts=True
        )
        self._members = np.argsort(group_of_row, kind="stable")
        self._sizes = sizes
        self._starts = np.cumsum(sizes) - sizes

    def expand(self, groups: Rows, scores: FloatArray, k: int) -> tuple[Rows, FloatArray]:
        """Turn groups into their rows, the first k of them."""
        enough = 1 + int(np.searchsorted(np.cumsum(self._sizes[groups]), k))
        groups, scores = groups[:enough], scores[:enough]
        sizes = np.minimum(self._sizes[groups], k)
        members = [
            self._members[start : start + size]
            for start, size in zip(self._starts[groups], sizes, strict=True)
        ]
        return np.concatenate(members)[:k], np.repeat(scores, sizes)[:k]


def _plant(vectors: FloatArray) -> Any:
    index = AnnoyIndex(vectors.shape[1], "angular")
    index.set_seed(SEED)
    for row, vector in enumerate(vectors):
        index.add_item(row, vector.tolist())
    index.build(TREES, n_jobs=1)  # with more threads two builds would not be the same
    return index


def _calibrate(index: Any, vectors: FloatArray, target: float) -> tuple[int, float]:
    """Double the breadth of search until the recall is met.

    Returns
    -------
    search_k : int
        The breadth.
    recall : float
        What it reaches: on queries that are rows moved half their own length
        in a random direction, of the ten nearest other rows. Rows themselves
        would flatter, for each tree sends a row straight to its own leaf.
    """
    rng = np.random.default_rng(SEED)
    own = rng.permutation(len(vectors))[:SAMPLES]
    noise = rng.standard_normal((len(own), vectors.shape[1]), dtype=np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    queries = vectors[own] + NOISE * noise
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    nearest, _ = ExactEngine.build(vectors).search(queries, RECALL_AT + 1)
    truth = [_others(rows, row) for rows, row in zip(nearest.tolist(), own.tolist(), strict=True)]
    search_k = LEAST_SEARCH_K
    while True:
        recall = _recall(index, queries, own.tolist(), truth, search_k)
        if recall >= target or search_k >= TREES * len(vectors):
            return search_k, recall
        search_k *= 2


def _others(rows: list[int], own: int) -> set[int]:
    return set([row for row in rows if row != own][:RECALL_AT])


def _recall(
    index: Any, queries: FloatArray, own: list[int], truth: list[set[int]], search_k: int
) -> float:
    found = 0
    for query, row, wanted in zip(queries.tolist(), own, truth, strict=True):
        rows = index.get_nns_by_vector(query, RECALL_AT + 1, search_k=search_k)
        found += len(wanted & _others(rows, row))
    return found / sum(map(len, truth)) if any(truth) else 1.0
