"""Vectors that lie as embeddings do, and what share of the true neighbours somebody finds.

200 Gaussians of random weights and widths in 48 dimensions, turned into the full space, with a
little noise, at length one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

CENTRES, INTRINSIC_DIM, NOISE = 200, 48, 0.02
WIDTHS = (0.2, 0.8)
K = 10
QUERIES = 300
LADDER = 1.1  # efforts that are tried rise by this factor
MOST_EFFORT = 50  # for each vector

Vectors = npt.NDArray[np.float32]
Ids = Sequence[int]


@dataclass(frozen=True)
class Data:
    """Vectors to search, queries of the same kind, and the nearest rows of each."""

    vectors: Vectors
    queries: Vectors
    nearest: list[set[int]]

    def recall(self, search: Callable[[Vectors], Ids]) -> float:
        found = [
            len(set(search(query)[:K]) & right)
            for query, right in zip(self.queries, self.nearest, strict=True)
        ]
        return sum(found) / (K * len(found))


def make(size: int, dim: int, seed: int = 0) -> Data:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(CENTRES, INTRINSIC_DIM))
    weights, widths = rng.dirichlet(np.ones(CENTRES)), rng.uniform(*WIDTHS, CENTRES)
    basis = np.linalg.qr(rng.normal(size=(dim, INTRINSIC_DIM)))[0].T

    def draw(count: int) -> Vectors:
        vectors = np.empty((count, dim), np.float32)
        for start in range(0, count, 10_000):
            of = rng.choice(CENTRES, min(10_000, count - start), p=weights)
            points = centres[of] + widths[of, None] * rng.normal(size=(len(of), INTRINSIC_DIM))
            wide = points @ basis + NOISE * rng.normal(size=(len(of), dim))
            vectors[start : start + len(of)] = wide / np.linalg.norm(wide, axis=1, keepdims=True)
        return vectors

    vectors, queries = draw(size), draw(QUERIES)
    nearest = np.argpartition(-(queries @ vectors.T), K, axis=1)[:, :K]
    return Data(vectors, queries, [set(rows) for rows in nearest.tolist()])


def least_effort(
    data: Data, search: Callable[[int, Vectors], Ids], recall: float, least: int
) -> int:
    """Find the least effort that reaches a recall on the queries, give or take a tenth."""
    effort = least
    while data.recall(partial(search, effort)) < recall:
        effort = max(effort + 1, int(effort * LADDER))
        if effort > MOST_EFFORT * len(data.vectors):
            raise RuntimeError("no effort reaches this recall")
    return effort
