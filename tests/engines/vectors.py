"""Vectors for engines to search, and what they should find."""

import numpy as np


def unit(vectors):
    vectors = np.asarray(vectors, dtype=np.float64)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(count, dim, seed, clusters=20):
    """Unit vectors around some centres, which are the same for every seed."""
    centres = np.random.default_rng(0).normal(size=(clusters, dim))
    rng = np.random.default_rng(seed)
    return unit(centres[rng.integers(0, clusters, count)] + 0.5 * rng.normal(size=(count, dim)))


def cosines(vectors, queries):
    """Every row against every query, in double precision."""
    return queries.astype(np.float64) @ vectors.astype(np.float64).T


def recall(engine, vectors, queries, k):
    """Share of what was found that is as near as the kth nearest; identical rows are as good."""
    every = cosines(vectors, queries)
    least = np.sort(every, axis=1)[:, [-k]]
    found = np.take_along_axis(every, engine.search(queries, k)[0], axis=1)
    return np.mean(np.sort(found, axis=1)[:, -k:] >= least - 1e-6)
