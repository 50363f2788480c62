"""Straight maps that are fitted on vectors: each takes away the mean and turns what is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Doubles: TypeAlias = npt.NDArray[np.float64]

Turn: TypeAlias = tuple[Doubles, Doubles | None]
"""A mean of shape (D,), and a matrix of shape (D, P) or None where nothing turns."""

ROUNDING = 1e-6  # of float32, with room: a difference that is smaller is none
STILL = 1e-3  # share of the largest deviation below which a number counts as one that stands still
FLAT = 1e-10  # share of the largest variance below which an axis holds rounding alone


def directions(vectors: npt.ArrayLike, *, against: npt.ArrayLike = 0.0) -> Doubles:
    """Scale vectors to length one; those of which nothing is left stay zero.

    Parameters
    ----------
    vectors : array_like, shape (N, D)
    against : array_like, shape (N,)
        Lengths of what the vectors are a difference of, by which rounding is told from substance.

    Returns
    -------
    ndarray of float64, shape (N, D)
    """
    wide = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    there = lengths > ROUNDING * np.asarray(against)
    scaled: Doubles = (
        wide * np.divide(1.0, lengths, where=there, out=np.zeros_like(lengths))[:, None]
    )
    return scaled


def centre(rows: Doubles, _: int) -> Turn:
    """Take away the mean of rows, shape (N, D)."""
    return rows.mean(axis=0), None


def within(rows: Doubles, _: int) -> Turn:
    """Divide mean and deviation by how much each number moves within an item.

    The diagonal of within-class covariance normalisation (Hatch, Kajarekar and
    Stolcke, 2006), every item being a class: what moves little during a sound
    and much between sounds counts for more.

    Parameters
    ----------
    rows : ndarray of float64, shape (N, D)
        Means in the first half, deviations in the second. Where something in
        the second half is negative these are no deviations, and the mean of
        the rows is all that is taken away.
    """
    mean = rows.mean(axis=0)
    half, left_over = divmod(rows.shape[1], 2)
    deviations = rows[:, half:]
    if left_over or deviations.min() < 0:
        return mean, None
    moves = np.sqrt(np.mean(deviations**2, axis=0))
    if moves.max() <= ROUNDING:
        return mean, None
    moves = np.maximum(moves, STILL * moves.max())
    return mean, np.diag(1 / np.tile(moves, 2))


def principal(rows: Doubles, axes: int) -> Turn:
    """Keep the axes of largest variance, no more than there are any differences along."""
    mean = rows.mean(axis=0)
    variances, directions_of = _axes(_covariance(rows - mean))
    real = max(1, int(np.count_nonzero(variances > FLAT * variances[0])))
    return mean, directions_of[:, : min(axes, real)]


def whiten(rows: Doubles, _: int) -> Turn:
    """Give all axes the same variance, by a covariance shrunk as `shrinkage` says."""
    mean = rows.mean(axis=0)
    centred = rows - mean
    share = shrinkage(centred)
    variances, directions_of = _axes(_covariance(centred))
    shrunk = (1 - share) * variances + share * variances.mean()
    if shrunk[0] <= ROUNDING**2:  # all rows are the same
        return mean, None
    kept = shrunk > FLAT * shrunk[0]
    return mean, directions_of[:, kept] / np.sqrt(shrunk[kept])


def shrinkage(centred: Doubles) -> float:
    """Tell how far a covariance should be drawn towards a multiple of the identity.

    Parameters
    ----------
    centred : ndarray of float64, shape (N, D)
        Rows whose mean is zero.

    Returns
    -------
    float
        From 0 to 1: the share that Ledoit and Wolf, "A well-conditioned
        estimator for large-dimensional covariance matrices" (2004), find best.
    """
    count, dim = centred.shape
    covariance = _covariance(centred)
    squares = float(np.sum(covariance**2))
    spread = squares - np.trace(covariance) ** 2 / dim
    lengths = np.einsum("ij,ij->i", centred, centred)
    doubt = (float(np.sum(lengths**2)) / count - squares) / count
    return float(np.clip(doubt / spread, 0.0, 1.0)) if spread > 0 else 1.0


def _covariance(centred: Doubles) -> Doubles:
    covariance: Doubles = centred.T @ centred / len(centred)
    return covariance


def _axes(covariance: Doubles) -> tuple[Doubles, Doubles]:
    """Give variances, falling, and their axes, one a column."""
    variances, axes = np.linalg.eigh(covariance)
    return np.maximum(variances[::-1], 0.0), axes[:, ::-1]


MAPS: dict[str, Callable[[Doubles, int], Turn]] = {
    "centre": centre,
    "within": within,
    "pca": principal,
    "whiten": whiten,
}
