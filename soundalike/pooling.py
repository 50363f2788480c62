"""From frames to one vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from soundalike.errors import BadRequest
from soundalike.types import FloatArray, Frames

NO_POOLING = "none"
FLATTENED_ROWS = 10
PERCENTILES = (10, 25, 50, 75, 90)
SMALLEST_NORM = 1e-12
COLUMNS = 64

Weights = npt.NDArray[np.float64] | None
Wide = npt.NDArray[np.float64]


def _mean(values: Wide, weights: Weights) -> Wide:
    return np.asarray(np.average(values, axis=0, weights=weights))


def _mean_and_deviation(values: Wide, weights: Weights) -> Wide:
    mean = _mean(values, weights)
    return np.concatenate([mean, np.sqrt(_mean((values - mean) ** 2, weights))])


def _maximum(values: Wide, weights: Weights) -> Wide:
    return np.asarray(values.max(axis=0))


def _percentiles(values: Wide, weights: Weights) -> Wide:
    return np.percentile(values, PERCENTILES, axis=0).ravel()


def _flatten(values: Wide, weights: Weights) -> Wide:
    rows = np.zeros((FLATTENED_ROWS, values.shape[1]))
    rows[: len(values)] = values[:FLATTENED_ROWS]
    return rows.ravel()


POOLINGS: dict[str, tuple[Callable[[Wide, Weights], Wide], int]] = {
    "mean": (_mean, 1),
    "meanstd": (_mean_and_deviation, 2),
    "max": (_maximum, 1),
    "percentiles": (_percentiles, len(PERCENTILES)),
    "flatten10": (_flatten, FLATTENED_ROWS),
}
"""Each pooling, and how many numbers it makes of one column of the frames."""


def pool(frames: Frames, pooling: str) -> FloatArray:
    """Make one vector of frames.

    Parameters
    ----------
    frames : Frames
        Values of shape (T, D), T at least 1. Where the rows carry weights, mean and
        deviation count them by it.
    pooling : str
        ``mean`` (D), ``meanstd`` (2 D: mean, then population standard deviation), ``max``
        (D), ``percentiles`` (5 D: the 10th, then the 25th, 50th, 75th and 90th) or ``flatten10``
        (10 D: the first ten rows one after the other, zeros where there are fewer).

    Returns
    -------
    ndarray of float32, shape (pooled_dim(pooling, D),)

    Raises
    ------
    BadRequest
        A pooling of another name.
    """
    function, rows = _find(pooling)
    values = frames.values
    # every pooling takes columns one by one; a few at a time need little room in float64
    pooled = [
        function(values[:, start : start + COLUMNS].astype(np.float64), frames.weights)
        for start in range(0, values.shape[1], COLUMNS)
    ]
    return np.hstack([some.reshape(rows, -1) for some in pooled]).ravel().astype(np.float32)


def pooled_dim(pooling: str, frame_dim: int) -> int:
    """Tell how long a pooled vector is, or how many columns the frames keep without pooling.

    Raises
    ------
    BadRequest
        A pooling of another name.
    """
    return frame_dim if pooling == NO_POOLING else _find(pooling)[1] * frame_dim


def _find(pooling: str) -> tuple[Callable[[Wide, Weights], Wide], int]:
    if pooling not in POOLINGS:
        raise BadRequest(
            f"There is no pooling '{pooling}'; there are {', '.join(POOLINGS)}.", got=pooling
        )
    return POOLINGS[pooling]


def unit(vector: Any) -> FloatArray:
    """Scale a vector to unit length; one of zeros stays as it is.

    Parameters
    ----------
    vector : array_like of float, shape (D,)

    Returns
    -------
    ndarray of float32, shape (D,)
    """
    wide = np.asarray(vector, np.float64)
    norm = float(np.linalg.norm(wide))
    return (wide / norm if norm > SMALLEST_NORM else wide).astype(np.float32)


def fuse(blocks: Sequence[FloatArray], weights: Sequence[float]) -> FloatArray:
    """Join vectors of several spaces into one.

    Parameters
    ----------
    blocks : sequence of ndarray, each of shape (N, D of its own)
        The same things in several spaces, each vector of any length but zero.
    weights : sequence of float
        Of each space, positive.

    Returns
    -------
    ndarray of float32, shape (N, sum of the dimensions)
        Of unit length; the cosine of two is the weighted mean of their cosines in each space.
    """
    shares = np.sqrt(np.asarray(weights, np.float64) / np.sum(weights))
    scaled = []
    for block, share in zip(blocks, shares, strict=True):
        wide = block.astype(np.float64)
        scaled.append(share * wide / np.linalg.norm(wide, axis=1, keepdims=True))
    return np.concatenate(scaled, axis=1).astype(np.float32)
