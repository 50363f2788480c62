"""What recommended lists are worth, one number a user.

A list is right where it holds what the user went on to play. Averages are over
the users who played something; one without a list counts as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from soundalike.errors import BadRequest
from soundalike.evaluation.metrics import CONFIDENCE, Doubles, Interval

Numbers: TypeAlias = npt.NDArray[np.int64]
Hits: TypeAlias = npt.NDArray[np.bool_]
Scores: TypeAlias = npt.NDArray[np.float32]

NO_ITEM = -1
KS = (5, 10, 20, 50, 100)


@dataclass(frozen=True, slots=True)
class Lists:
    """The best items of users.

    Attributes
    ----------
    items : ndarray of int64, shape (U, K)
        The best first; `NO_ITEM` behind the last where there are fewer.
    ties : ndarray of bool, shape (U, K)
        Whether an item has the score of the next best, so that their order says nothing.
    """

    items: Numbers
    ties: Hits


def best(scores: Scores, k: int) -> Lists:
    """Choose the best items of each user.

    Of equal scores the item that comes first is better, whatever sorts them.

    Parameters
    ----------
    scores : ndarray of float32, shape (U, N)
        The higher the better; -inf for what must not be recommended.
    k : int

    Returns
    -------
    Lists

    Raises
    ------
    BadRequest
        There is a score that is no number.
    """
    if np.isnan(scores).any():
        raise BadRequest("The recommender gives scores that are no numbers.")
    rows, columns = scores.shape
    width = min(k + 1, columns)
    last = np.partition(scores, columns - width, axis=1)[:, columns - width, np.newaxis]
    above, tied = scores > last, scores == last
    left = width - np.count_nonzero(above, axis=1, keepdims=True)
    chosen = above | (tied & (np.cumsum(tied, axis=1) <= left))
    found = np.nonzero(chosen)[1].reshape(rows, width)
    values = np.take_along_axis(scores, found, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    found = np.take_along_axis(found, order, axis=1)
    values = np.take_along_axis(values, order, axis=1)
    items = np.full((rows, k + 1), NO_ITEM, dtype=np.int64)
    items[:, :width] = np.where(np.isneginf(values), NO_ITEM, found)
    ties = np.zeros((rows, k), dtype=bool)
    ties[:, : width - 1] = (values[:, 1:] == values[:, :-1]) & (items[:, 1:width] != NO_ITEM)
    return Lists(items[:, :k], ties)


@dataclass(frozen=True, slots=True)
class Relevant:
    """What users went on to play: row u of U users played `items[starts[u]:starts[u + 1]]`."""

    items: Numbers
    starts: Numbers

    @property
    def counts(self) -> Numbers:
        """How many items of each user, at least one."""
        return np.diff(self.starts)

    @classmethod
    def of(cls, sets: Sequence[Sequence[int]]) -> Relevant:
        """Lay out one collection of items a user."""
        starts = np.cumsum([0, *map(len, sets)])
        return cls(np.array([item for one in sets for item in one], dtype=np.int64), starts)


def hits(lists: Numbers, relevant: Relevant) -> Hits:
    """Tell which places of lists hold what the user went on to play.

    Parameters
    ----------
    lists : ndarray of int64, shape (U, K)
    relevant : Relevant
        Of the same users.

    Returns
    -------
    ndarray of bool, shape (U, K)

    Raises
    ------
    BadRequest
        A list holds an item twice.
    """
    width = int(max(lists.max(initial=0), relevant.items.max(initial=0))) + 1
    rows = np.arange(len(lists))
    keys = np.where(lists == NO_ITEM, -1, rows[:, np.newaxis] * width + lists)
    ranked = np.sort(keys, axis=1)
    if ((ranked[:, 1:] == ranked[:, :-1]) & (ranked[:, 1:] >= 0)).any():
        raise BadRequest("A list recommends an item twice.")
    wanted = np.repeat(rows, relevant.counts) * width + relevant.items
    return np.isin(keys, wanted)


def hit_rate(hit: Hits, counts: Numbers, k: int) -> Doubles:
    """Tell of each user whether any of the first k is right: 1 or 0."""
    return np.where(hit[:, :k].any(axis=1), 1.0, 0.0)


def recall(hit: Hits, counts: Numbers, k: int) -> Doubles:
    """Give the share of what the user played that is among the first k."""
    found: Doubles = hit[:, :k].sum(axis=1) / counts
    return found


def precision(hit: Hits, counts: Numbers, k: int) -> Doubles:
    """Give the share of k places that are right; a shorter list has wrong places behind it."""
    found: Doubles = hit[:, :k].sum(axis=1) / k
    return found


def ndcg(hit: Hits, counts: Numbers, k: int) -> Doubles:
    """Give the discounted gain of the first k in shares of the best possible one."""
    discounts: Doubles = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(counts, k) - 1]
    found: Doubles = np.divide(hit[:, :k] @ discounts[: hit.shape[1]], ideal)
    return found


def reciprocal_rank(hit: Hits, counts: Numbers, k: int) -> Doubles:
    """Give one over the rank of the first right item, 0 where none of the first k is."""
    first = hit[:, :k]
    return np.where(first.any(axis=1), 1 / (first.argmax(axis=1) + 1), 0.0)


def average_precision(hit: Hits, counts: Numbers, k: int) -> Doubles:
    """Average the precision at each right item, over all that the user played."""
    first = hit[:, :k]
    at_rank = np.cumsum(first, axis=1) / np.arange(1, first.shape[1] + 1)
    found: Doubles = (at_rank * first).sum(axis=1) / counts
    return found


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of a user's list, and its formula.

    In formulas m is how many items the user played, h(r) is 1 where rank r holds one of them.
    """

    formula: str
    of: Callable[[Hits, Numbers, int], Doubles]


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "recall": Metric("sum(h(r), r <= k) / m", recall),
        "hit_rate": Metric("1 if any h(r), r <= k, else 0", hit_rate),
        "ndcg": Metric(
            "sum(h(r) / log2(r + 1), r <= k) / sum(1 / log2(r + 1), r <= min(m, k))", ndcg
        ),
        "mrr": Metric("1 / least r with h(r), r <= k, else 0", reciprocal_rank),
        "precision": Metric("sum(h(r), r <= k) / k", precision),
        "map": Metric("sum(h(r) * sum(h(q), q <= r) / r, r <= k) / m", average_precision),
    }
)


def interval(values: Doubles) -> Interval:
    """Say where the mean over users lies with 95 % confidence, by Student's t.

    Parameters
    ----------
    values : ndarray of float64, shape (U,)

    Returns
    -------
    Interval
        The value itself where there is one user alone.
    """
    from scipy.stats import t

    mean, count = float(values.mean()), len(values)
    if count < 2:
        return Interval(mean, mean)
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1) * values.std(ddof=1) / np.sqrt(count))
    return Interval(mean - half, mean + half)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much better one model is than another for the same users.

    Attributes
    ----------
    difference : float
        The mean of the differences of users.
    interval : Interval
        Where it lies with 95 % confidence.
    t, p : float
        Of Student's paired test, two-sided; 0 and 1 where no user differs.
    """

    difference: float
    interval: Interval
    t: float
    p: float


def compare(values: Doubles, others: Doubles) -> Comparison:
    """Compare two models by the same users' figures, in the same order."""
    from scipy.stats import t

    differences = values - others
    mean, count = float(differences.mean()), len(differences)
    error = float(differences.std(ddof=1) / np.sqrt(count)) if count > 1 else 0.0
    statistic = mean / error if error else 0.0
    p = float(2 * t.sf(abs(statistic), count - 1)) if error else 1.0
    return Comparison(mean, interval(differences), statistic, p)


def coverage(lists: Numbers, candidates: int, k: int) -> float:
    """Give the share of all candidates that come up in any list's first k."""
    found = np.unique(lists[:, :k])
    return float(np.count_nonzero(found != NO_ITEM) / candidates)


def popularity(lists: Numbers, users_of_item: Numbers, users: int, k: int) -> tuple[float, float]:
    """Tell how well known recommended items are.

    Parameters
    ----------
    lists : ndarray of int64, shape (U, K)
    users_of_item : ndarray of int64, shape (N,)
        How many users of the training period played each item.
    users : int
        How many there are.
    k : int

    Returns
    -------
    popularity : float
        The mean share of users who know a recommended item.
    novelty : float
        The mean of its -log2 over items that anybody knows, in bits; 0 where there are none.
    """
    first = lists[:, :k]
    shares = users_of_item[first[first != NO_ITEM]] / users
    known = shares[shares > 0]
    return (
        float(shares.mean()) if len(shares) else 0.0,
        float(-np.log2(known).mean()) if len(known) else 0.0,
    )


def chance(candidates: Numbers, counts: Numbers, k: int) -> dict[str, Doubles]:
    """Give what a random order of the candidates is worth on average, exactly.

    Parameters
    ----------
    candidates : ndarray of int64, shape (U,)
        How many items each user's list is drawn from, at least as many as in `counts`.
    counts : ndarray of int64, shape (U,)
        How many of them are right, at least one.
    k : int

    Returns
    -------
    dict of str to ndarray of float64, shape (U,)
        By the names of `METRICS`.
    """
    ranks = np.arange(1, k + 1)
    there = ranks <= candidates[:, np.newaxis]
    right = counts / candidates
    none = np.stack([_no_hit(candidates, counts, r) for r in range(k + 1)], axis=1)
    discounts = 1 / np.log2(ranks + 1)
    pairs = right * (counts - 1) / np.maximum(candidates - 1, 1)
    at_rank = (right[:, np.newaxis] + (ranks - 1) * pairs[:, np.newaxis]) / ranks
    return {
        "recall": np.minimum(k, candidates) / candidates,
        "hit_rate": 1 - none[:, k],
        "ndcg": right * (there @ discounts) / np.cumsum(discounts)[np.minimum(counts, k) - 1],
        "mrr": (none[:, :-1] - none[:, 1:]) @ (1 / ranks),
        "precision": right * np.minimum(k, candidates) / k,
        "map": (at_rank * there).sum(axis=1) / counts,
    }


def _no_hit(candidates: Numbers, counts: Numbers, k: int) -> Doubles:
    """Give the probability that none of the first k is right: C(N - m, k) / C(N, k)."""
    from scipy.special import gammaln

    others = candidates - counts
    possible = others >= k
    safe = np.where(possible, others - k, 0)
    rest = np.where(possible, candidates - k, 0)
    logarithm = gammaln(others + 1) - gammaln(safe + 1) - gammaln(candidates + 1)
    found: Doubles = np.where(possible, np.exp(logarithm + gammaln(rest + 1)), 0.0)
    return found
