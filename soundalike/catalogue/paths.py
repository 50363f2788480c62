"""A walk from one item to another, by items that lie between them.

The great circle between the two is cut into as many points as the walk has
stops, and near each point some items offer themselves. Dynamic programming
picks one a point, so that the sum of the squared angles of the steps is small:
squares, because two middling steps are better than a short and a long one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soundalike.catalogue.choosing import Kind

Units = npt.NDArray[np.float64]
START, END = 0, 1
OPPOSITE = 1e-6


def points(start: Units, end: Units, stops: int) -> Units:
    """Cut the great circle between two directions.

    Parameters
    ----------
    start, end : ndarray of float64, shape (D,)
        Of unit length.
    stops : int
        How many points lie between them.

    Returns
    -------
    ndarray of float64, shape (stops, D)
        Of unit length, at even angles.
    """
    angle = _angles(start[np.newaxis], end)[0]
    shares = np.arange(1, stops + 1)[:, np.newaxis] / (stops + 1)
    if angle > np.pi - OPPOSITE:  # any half circle would do; this one is always the same
        aside = np.zeros_like(start)
        aside[np.argmin(np.abs(start))] = 1.0
        aside -= (aside @ start) * start
        aside /= np.linalg.norm(aside)
        between = np.cos(np.pi * shares) * start + np.sin(np.pi * shares) * aside
    elif angle < OPPOSITE:
        between = np.repeat(start[np.newaxis], stops, axis=0)
    else:
        between = (np.sin((1 - shares) * angle) * start + np.sin(shares * angle) * end) / np.sin(
            angle
        )
    cut: Units = between / np.linalg.norm(between, axis=1, keepdims=True)
    return cut


@dataclass(frozen=True, slots=True)
class _Walk:
    """A way from the start to some stop."""

    places: tuple[int, ...]
    cost: float
    counts: Counter[Kind]


def connect(
    offers: Sequence[Sequence[int]],
    vectors: Units,
    kinds: Sequence[Sequence[Kind]],
    caps: Mapping[str, int],
) -> list[int]:
    """Walk from the first of some items to the second.

    Parameters
    ----------
    offers : sequence of sequence of int
        For each stop on the way the items to pick from.
    vectors : ndarray of float64, shape (N, D)
        Of unit length, of all items.
    kinds : sequence of sequence of Kind, length N
        What each counts as.
    caps : mapping of str to int
        The most items with one value of a field, both ends counted. The ends are there in any
        case.

    Returns
    -------
    list of int
        Items, none of them twice; a stop that nothing is left for is left out.
    """
    walks = [_Walk((START,), 0.0, Counter([*kinds[START], *kinds[END]]))]
    for offered in offers:
        free = [item for item in dict.fromkeys(offered) if item not in (START, END)]
        costs = _costs(walks, vectors, free)
        reached = [
            _best(walks, item, costs[:, column], kinds[item], caps)
            for column, item in enumerate(free)
        ]
        walks = [walk for walk in reached if walk is not None] or walks
    best = walks[int(np.argmin(_costs(walks, vectors, [END])[:, 0]))]
    return [*best.places, END]


def _costs(walks: Sequence[_Walk], vectors: Units, items: Sequence[int]) -> Units:
    """Tell what each walk would cost once it went on to each item."""
    last = vectors[[walk.places[-1] for walk in walks]]
    so_far = np.array([[walk.cost] for walk in walks])
    costs: Units = so_far + np.square(_angles(last, vectors[list(items)].T))
    return costs


def _best(
    walks: Sequence[_Walk],
    item: int,
    costs: Units,
    kinds: Sequence[Kind],
    caps: Mapping[str, int],
) -> _Walk | None:
    """Find the cheapest walk that may go on to an item."""
    for place in np.argsort(costs, kind="stable").tolist():
        walk = walks[place]
        full = any(walk.counts[kind] >= caps[kind[0]] for kind in kinds)
        if item not in walk.places and not full:
            return _Walk((*walk.places, item), float(costs[place]), walk.counts + Counter(kinds))
    return None


def _angles(units: Units, others: Units) -> Units:
    angles: Units = np.arccos(np.clip(units @ others, -1.0, 1.0))
    return angles
