"""What a ranking is worth, one number a query.

A ranking is given as scores, the higher the nearer; -inf marks what must not be
a neighbour. Items of equal score have no order, and none is made up: every
figure is its expectation over all orders of the tied items, so that it hangs
neither on how items are numbered nor on how they are sorted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from soundalike.errors import SoundalikeError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Doubles: TypeAlias = npt.NDArray[np.float64]
Scores: TypeAlias = npt.NDArray[np.float32]
Relevant: TypeAlias = npt.NDArray[np.bool_]

RESAMPLES = 1000
CONFIDENCE = 0.95
SEED = 0


@dataclass(frozen=True, slots=True)
class Interval:
    """Between which values a mean lies, with 95 % confidence."""

    low: float
    high: float


def incidence(
    labels: Sequence[Collection[str]], names: Sequence[str], ignored: Collection[str] = ()
) -> csr_array[np.float32, tuple[int, int]]:
    """Lay out which item has which label.

    Parameters
    ----------
    labels : sequence of collection of str, length N
        The labels of each item.
    names : sequence of str, length L
        The labels that count as columns, in order; others are passed over.
    ignored : collection of str
        Labels that count for nothing.

    Returns
    -------
    sparse array of float32, shape (N, L)
        1 where the item has the label. The product of two such arrays is
        positive where a query and an item share a label.

    Raises
    ------
    SoundalikeError
        scipy is not installed.
    """
    try:
        from scipy.sparse import csr_array
    except ImportError:
        raise SoundalikeError(
            "Measuring neighbours needs scipy: pip install 'soundalike[evaluation]'."
        ) from None

    column = {name: number for number, name in enumerate(names) if name not in ignored}
    cells = [
        (row, column[name])
        for row, of_item in enumerate(labels)
        for name in set(of_item)
        if name in column
    ]
    rows, columns = np.array(cells, dtype=np.int64).reshape(-1, 2).T
    ones = np.ones(len(cells), dtype=np.float32)
    return csr_array((ones, (rows, columns)), shape=(len(labels), len(names)))


def top_shares(scores: Scores, k: int) -> Doubles:
    """Tell how likely each item is among the k nearest.

    Parameters
    ----------
    scores : ndarray of float32, shape (Q, N)
        With at least k above -inf in each row.
    k : int
        From 1 to N.

    Returns
    -------
    ndarray of float64, shape (Q, N)
        1 above the k-th score and 0 below it; items that share it share the
        places that are left. Each row sums to k.
    """
    last = np.partition(scores, -k, axis=1)[:, -k, np.newaxis]
    above, tied = scores > last, scores == last
    left = k - np.count_nonzero(above, axis=1, keepdims=True)
    share = left / np.count_nonzero(tied, axis=1, keepdims=True)
    shares: Doubles = above + tied * share
    return shares


def average_precision(scores: Scores, relevant: Relevant, harmonic: Doubles) -> float:
    """Average the precision at the rank of every relevant item.

    Parameters
    ----------
    scores : ndarray of float32, shape (N,)
        Of one query; -inf at no relevant item.
    relevant : ndarray of bool, shape (N,)
        At least one.
    harmonic : ndarray of float64, longer than N
        As `harmonic_numbers` gives them.

    Returns
    -------
    float
        In [0, 1]. For ties the expectation of McSherry and Najork, "Computing
        information retrieval performance measures efficiently in the presence
        of tied scores" (2008), summed in closed form.
    """
    ranked = np.sort(scores)
    levels, here = np.unique(scores[relevant], return_counts=True)
    above = len(ranked) - np.searchsorted(ranked, levels, side="right")
    tied = np.searchsorted(ranked, levels, side="right") - np.searchsorted(ranked, levels)
    relevant_above = here[::-1].cumsum()[::-1] - here
    parts = _precisions(above, tied, relevant_above, here, harmonic)
    return float(parts.sum() / here.sum())


def random_average_precision(
    relevant: npt.NDArray[np.int64], items: npt.NDArray[np.int64], harmonic: Doubles
) -> Doubles:
    """Give the average precision to be expected of a random order.

    Parameters
    ----------
    relevant, items : ndarray of int, shape (Q,)
        How many items are relevant to each query, at least one, and how many there are.
    harmonic : ndarray of float64, longer than the largest of `items`
        As `harmonic_numbers` gives them.

    Returns
    -------
    ndarray of float64, shape (Q,)
    """
    nothing = np.zeros_like(items)
    return _precisions(nothing, items, nothing, relevant, harmonic) / relevant


def _precisions(
    above: npt.NDArray[np.int64],
    tied: npt.NDArray[np.int64],
    relevant_above: npt.NDArray[np.int64],
    relevant: npt.NDArray[np.int64],
    harmonic: Doubles,
) -> Doubles:
    """Sum the precisions expected at the relevant ones of a run of tied items.

    With a items above, r of them relevant, a run of n items of which m are
    relevant adds the sum over i = 1 .. n of
    ``m / n * (r + 1 + (i - 1) * (m - 1) / (n - 1)) / (a + i)``.
    """
    inverse_ranks = harmonic[above + tied] - harmonic[above]
    others = (relevant - 1) / np.maximum(tied - 1, 1)
    found: Doubles = (relevant_above + 1) * inverse_ranks
    found += others * (tied - (above + 1) * inverse_ranks)
    return found * relevant / tied


def harmonic_numbers(count: int) -> Doubles:
    """Give 0, 1, 1 + 1/2, ... up to the sum of 1/i over i = 1 .. count."""
    return np.concatenate([[0.0], np.cumsum(1 / np.arange(1, count + 1))])


def hubness(occurrences: Doubles) -> float:
    """Measure how unevenly items come up as neighbours.

    Parameters
    ----------
    occurrences : ndarray of float64, shape (N,)
        How often each item is among the k nearest of a query.

    Returns
    -------
    float
        The skewness of their distribution (Radovanovic, Nanopoulos and
        Ivanovic, "Hubs in space", 2010): 0 where hubs are no more common than
        items that never come up, several where a few items come up everywhere.
    """
    centred = occurrences - occurrences.mean()
    deviation = np.sqrt(np.mean(centred**2))
    return float(np.mean(centred**3) / deviation**3) if deviation > 0 else 0.0


def intervals(values: Doubles, seed: int = SEED) -> list[Interval]:
    """Say between which values the means of columns lie, by the bootstrap over queries.

    Parameters
    ----------
    values : ndarray of float64, shape (Q, M)
        M figures of each query.
    seed : int
        The same seed gives the same intervals.

    Returns
    -------
    list of Interval, length M
        The middle 95 % of the means of 1,000 samples of Q queries, drawn with
        repetition. It tells what other queries would have given against the
        same gallery, not what another gallery would.
    """
    random = np.random.default_rng(seed)
    count = len(values)
    even = np.full(count, 1 / count)
    means = np.stack([random.multinomial(count, even) @ values for _ in range(RESAMPLES)]) / count
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return [Interval(float(a), float(b)) for a, b in zip(low, high, strict=True)]
