"""How often the nearest items are right ones, by labels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from soundalike.catalogue import transforms
from soundalike.catalogue.maps import directions
from soundalike.engines.exact import blocks
from soundalike.errors import BadRequest
from soundalike.evaluation import metrics
from soundalike.evaluation.metrics import Doubles, Interval, Relevant, Scores
from soundalike.types import FloatArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    Incidence: TypeAlias = csr_array[np.float32, tuple[int, int]]

Numbers: TypeAlias = npt.NDArray[np.int64]
Score: TypeAlias = Callable[[Numbers], Scores]
"""From rows of queries, shape (Q,), to their scores against every item, shape (Q, N)."""

NO_TRANSFORM = "none"


@dataclass(frozen=True, slots=True)
class Labelled:
    """Vectors of one space, and what they are.

    Attributes
    ----------
    space, pooling : str
        What the vectors are.
    vectors : ndarray of float32, shape (N, D)
    labels : sequence of collection of str, length N
        None, one or several of each item.
    groups : sequence of str, length N, optional
        Items of one group, such as takes of one speaker, are never each other's neighbours.
    """

    space: str
    pooling: str
    vectors: FloatArray
    labels: Sequence[Collection[str]]
    groups: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """A mean over queries, where it lies with 95 % confidence, and what chance would give."""

    mean: float
    interval: Interval
    random: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What rankings are worth.

    Attributes
    ----------
    queries : int
        Those that count: some item is relevant to each.
    without : int
        Those to which no item is relevant; they count for nothing.
    items : int
        What the queries are compared with.
    precision, recall : dict of int to Measure
        By k.
    mean_average_precision : Measure
        Over whole rankings.
    hubness : dict of int to float
        By k, the skewness of how often items come up among the k nearest.
    """

    queries: int
    without: int
    items: int
    precision: dict[int, Measure]
    recall: dict[int, Measure]
    mean_average_precision: Measure
    hubness: dict[int, float]


@dataclass(frozen=True, slots=True)
class Quality:
    """The figures of one way to find neighbours."""

    space: str
    pooling: str
    transform: str
    figures: Figures


class Truth:
    """Which items are relevant to which queries, and which must not be compared.

    An item is relevant to a query where they share a label.

    Parameters
    ----------
    gallery : Labelled
        The items.
    queries : Labelled, optional
        The items themselves by default, each of which is then left out of its own ranking.
    ignored : collection of str
        Labels that make nothing relevant.
    """

    def __init__(
        self, gallery: Labelled, queries: Labelled | None = None, ignored: Collection[str] = ()
    ) -> None:
        asked = gallery if queries is None else queries
        names = sorted({name for of_item in gallery.labels for name in of_item})
        self._of_items: Incidence = metrics.incidence(gallery.labels, names, ignored)
        self._of_queries: Incidence = metrics.incidence(asked.labels, names, ignored)
        self.items, self.queries = len(gallery.labels), len(asked.labels)
        self._groups = _groups(gallery, queries)

    def of(self, rows: Numbers) -> tuple[Relevant, Relevant]:
        """Tell what is relevant to queries, and what is not to be compared with them.

        Parameters
        ----------
        rows : ndarray of int64, shape (Q,)

        Returns
        -------
        relevant, barred : ndarray of bool, shape (Q, N)
            Never both.
        """
        relevant: Relevant = (self._of_queries[rows] @ self._of_items.T).toarray() > 0
        if self._groups is None:
            return relevant, np.zeros_like(relevant)
        of_queries, of_items = self._groups
        barred = of_queries[rows, np.newaxis] == of_items
        return relevant & ~barred, barred


def _groups(gallery: Labelled, queries: Labelled | None) -> tuple[Numbers, Numbers] | None:
    """Give the groups of queries and items numbers; each item is its own where nothing is said."""
    asked = gallery if queries is None else queries
    if gallery.groups is None or asked.groups is None:
        every = np.arange(len(gallery.labels))
        return (every, every) if queries is None else None
    number = {name: n for n, name in enumerate({*gallery.groups, *asked.groups})}
    of_queries, of_items = (
        np.array([number[name] for name in one.groups or ()], dtype=np.int64)
        for one in (asked, gallery)
    )
    return of_queries, of_items


@dataclass(slots=True)
class _Sums:
    """What has been measured of the queries so far, one array a block."""

    occurrences: dict[int, Doubles]
    values: list[Doubles] = field(default_factory=list)
    by_chance: list[Doubles] = field(default_factory=list)


def evaluate(
    gallery: Labelled,
    queries: Labelled | None = None,
    *,
    transform: str = NO_TRANSFORM,
    ks: Sequence[int] = (1, 10),
    ignored: Collection[str] = (),
) -> Quality:
    """Measure how often nearest items are relevant ones.

    Parameters
    ----------
    gallery : Labelled
        What neighbours are found among; a transform is fitted on it alone.
    queries : Labelled, optional
        What neighbours are found for; the items themselves by default, each left out of its own.
    transform : str
        ``"none"``, or one of `soundalike.catalogue.transforms`.
    ks : sequence of int
        How many neighbours precision, recall and hubness look at.
    ignored : collection of str
        Labels that make nothing relevant.

    Returns
    -------
    Quality

    Raises
    ------
    BadRequest
        There is nothing to measure: no two items share a label, there are fewer items than
        neighbours are wanted, or the spaces differ.
    """
    if queries is not None and queries.space != gallery.space:
        raise BadRequest(f"Queries of '{queries.space}' find nothing in '{gallery.space}'.")
    score = _scorer(gallery.vectors, queries, transform)
    figures = measure(score, Truth(gallery, queries, ignored), ks)
    return Quality(gallery.space, gallery.pooling, transform, figures)


def _scorer(gallery: FloatArray, queries: Labelled | None, transform: str) -> Score:
    asked = gallery if queries is None else queries.vectors
    own = queries is None
    if transform == NO_TRANSFORM:
        items = _directions(gallery)
        searching = items if own else _directions(asked)
        return lambda rows: searching[rows] @ items.T
    fitted = transforms.fit(transform, gallery)
    moved = fitted.items(gallery)
    return lambda rows: fitted.scores(asked[rows], moved, rows if own else None)


def _directions(vectors: FloatArray) -> FloatArray:
    """Scale rows to unit length; those of zeros stay as they are."""
    return directions(vectors).astype(np.float32)


def measure(score: Score, truth: Truth, ks: Sequence[int]) -> Figures:
    """Measure rankings, a block of queries at a time.

    Parameters
    ----------
    score : callable
        What items fall by.
    truth : Truth
        What is relevant.
    ks : sequence of int
        How many neighbours precision, recall and hubness look at.

    Returns
    -------
    Figures

    Raises
    ------
    BadRequest
        There is nothing to measure.
    """
    if not ks or min(ks) < 1:
        raise BadRequest("How many neighbours to look at (k) is 1 or more.")
    sums = _Sums({k: np.zeros(truth.items) for k in ks})
    harmonic = metrics.harmonic_numbers(truth.items)
    for block in blocks(truth.queries, truth.items):
        rows = np.arange(truth.queries)[block]
        relevant, barred = truth.of(rows)
        counts = relevant.any(axis=1)
        if counts.any():
            relevant, barred = relevant[counts], barred[counts]
            scores = np.where(barred, np.float32(-np.inf), score(rows[counts]))
            _add(sums, scores, relevant, barred, harmonic)
    if not sums.values:
        raise BadRequest("No query shares a label with any item, so there is nothing to measure.")
    return _figures(sums, truth, ks)


def _add(
    sums: _Sums, scores: Scores, relevant: Relevant, barred: Relevant, harmonic: Doubles
) -> None:
    """Measure the rankings of a block of queries."""
    compared = scores.shape[1] - np.count_nonzero(barred, axis=1)
    right = np.count_nonzero(relevant, axis=1)
    ks = list(sums.occurrences)
    if max(ks) > compared.min():
        raise BadRequest(
            f"{max(ks)} neighbours are to be looked at, and a query has {compared.min()} items to "
            "be compared with; ask for fewer with --k.",
            limit=int(compared.min()),
            got=max(ks),
        )
    hits = []
    for k in ks:
        shares = metrics.top_shares(scores, k)
        sums.occurrences[k] += shares.sum(axis=0)
        hits.append(np.einsum("ij,ij->i", shares, relevant))
    found = [
        metrics.average_precision(*one, harmonic) for one in zip(scores, relevant, strict=True)
    ]
    chance = [k * right / compared for k in ks]
    expected = metrics.random_average_precision(right, compared, harmonic)
    sums.values.append(_columns(ks, hits, right, np.array(found)))
    sums.by_chance.append(_columns(ks, chance, right, expected))


def _columns(
    ks: Sequence[int], hits: Sequence[Doubles], right: Numbers, average: Doubles
) -> Doubles:
    """Lay out precision at each k, recall at each k and average precision, one row a query."""
    precision = [of_k / k for k, of_k in zip(ks, hits, strict=True)]
    recall = [of_k / right for of_k in hits]
    return np.stack([*precision, *recall, average], axis=1)


def _figures(sums: _Sums, truth: Truth, ks: Sequence[int]) -> Figures:
    values, by_chance = np.concatenate(sums.values), np.concatenate(sums.by_chance)
    measures = [
        Measure(float(mean), interval, float(random))
        for mean, interval, random in zip(
            values.mean(axis=0), metrics.intervals(values), by_chance.mean(axis=0), strict=True
        )
    ]
    return Figures(
        queries=len(values),
        without=truth.queries - len(values),
        items=truth.items,
        precision=dict(zip(ks, measures[: len(ks)], strict=True)),
        recall=dict(zip(ks, measures[len(ks) :], strict=False)),
        mean_average_precision=measures[-1],
        hubness={k: metrics.hubness(times) for k, times in sums.occurrences.items()},
    )
