"""From a ranking to an answer: near duplicates as one, few of a kind, and variety.

A walk down the ranking takes each item that neither is a near duplicate of one
taken before nor exceeds a cap. Where variety is wanted, it takes more than are
asked for, and maximal marginal relevance (Carbonell and Goldstein, 1998) picks
among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from soundalike.catalogue.columns import Scalar, find, key_of, scalars

Cosines = npt.NDArray[np.float64]
Kind = tuple[str, str, Scalar]  # a field, and a value of it as `key_of` names it

LEAST_POOL = 100
POOL_SHARE = 10
DIGITS = 7
BLOCK = 256
MAX_SAME = 100


@dataclass(frozen=True, slots=True)
class Choice:
    """How an answer is chosen from a ranking.

    Attributes
    ----------
    diversity : float
        From 0, the ranking itself, to 1, where after the first only variety counts.
    caps : mapping of str to int
        The most items with one value of a field. An item without the field is not capped.
    collapse : float or None
        The cosine from which on two items count as one.
    """

    diversity: float = 0.0
    caps: Mapping[str, int] = field(default_factory=dict)
    collapse: float | None = None

    @property
    def plain(self) -> bool:
        """Whether the answer is the head of the ranking."""
        return not (self.diversity or self.caps or self.collapse is not None)

    def pool(self, k: int) -> int:
        """Tell among how many items k are chosen."""
        return max(LEAST_POOL, POOL_SHARE * k) if self.diversity else k


@dataclass(frozen=True, slots=True)
class Taken:
    """What a walk took.

    Attributes
    ----------
    places : list of int
        Places in the ranking, rising.
    same : list of list of int
        For each, the first `MAX_SAME` places passed over as its near duplicates, on the way to
        the last place taken.
    """

    places: list[int]
    same: list[list[int]]


def walk(
    size: int,
    vectors: Callable[[slice], Cosines],
    metadata: Callable[[int], Any],
    choice: Choice,
    wanted: int,
) -> Taken:
    """Go down a ranking, and take items until there are enough.

    Parameters
    ----------
    size : int
        How many places the ranking has.
    vectors : callable
        Gives the vectors at some of them, of unit length; shape (places, D).
    metadata : callable
        Gives the metadata at one of them.
    choice : Choice
    wanted : int
        How many to take.

    Returns
    -------
    Taken
        Of fewer where the ranking ends before.
    """
    taken = Taken([], [])
    originals = None if choice.collapse is None else _Originals(choice.collapse, vectors)
    counts: Counter[Kind] = Counter()
    for place in range(size):
        if len(taken.places) == wanted:
            break
        original = originals.like(place) if originals else None
        if original is not None:
            if len(taken.same[original]) < MAX_SAME:
                taken.same[original].append(place)
            continue
        kinds = kinds_of(metadata(place), choice.caps) if choice.caps else []
        if any(counts[kind] >= choice.caps[kind[0]] for kind in kinds):
            continue
        counts.update(kinds)
        if originals:
            originals.add(place)
        taken.places.append(place)
        taken.same.append([])
    return taken


class _Originals:
    """What later places of a ranking may be near duplicates of.

    A block of places is compared at once with what was taken before it, and
    each of them with what was taken since.
    """

    def __init__(self, least: float, vectors: Callable[[slice], Cosines]) -> None:
        self._least = least
        self._vectors = vectors
        self._taken: list[Cosines] = []

    def like(self, place: int) -> int | None:
        """Find the first original that a place is a near duplicate of."""
        offset = place % BLOCK
        if not offset:
            self._block = self._vectors(slice(place, place + BLOCK))
            self._before = len(self._taken)
            self._owners = self._first(self._block, self._taken)
        if self._owners[offset] >= 0:
            return int(self._owners[offset])
        since = self._first(self._block[offset : offset + 1], self._taken[self._before :])
        return None if since[0] < 0 else self._before + int(since[0])

    def add(self, place: int) -> None:
        """Make a place an original."""
        self._taken.append(self._block[place % BLOCK])

    def _first(self, vectors: Cosines, originals: Sequence[Cosines]) -> npt.NDArray[np.int64]:
        """Find the first original near each vector, -1 where there is none."""
        if not originals:
            return np.full(len(vectors), -1)
        near = (vectors @ np.stack(originals).T).round(DIGITS) >= self._least
        return np.where(near.any(axis=1), near.argmax(axis=1), -1)


def vary(
    ranks: Cosines, vectors: Cosines, diversity: float, k: int
) -> tuple[list[int], list[float]]:
    """Pick items that are relevant and unlike those picked before.

    Each pick is the item of the largest (1 - diversity) * rank - diversity *
    (its largest cosine with a pick, where that is above zero). So the values
    of the picks never rise.

    Parameters
    ----------
    ranks : ndarray of float64, shape (N,)
        Falling.
    vectors : ndarray of float64, shape (N, D)
        Of unit length.
    diversity : float
        From 0 to 1.
    k : int
        How many to pick.

    Returns
    -------
    picks : list of int
        Places among the ranks, in the order of the picks.
    values : list of float
        The value of each when it was picked, to seven decimals.
    """
    nearest = np.zeros(len(ranks))
    picks: list[int] = []
    values: list[float] = []
    for _ in range(min(k, len(ranks))):
        gains = ((1 - diversity) * ranks - diversity * nearest).round(DIGITS)
        gains[picks] = -np.inf
        best = int(np.argmax(gains))
        picks.append(best)
        values.append(float(gains[best]) + 0.0)
        nearest = np.maximum(nearest, vectors @ vectors[best])
    return picks, values


def kinds_of(metadata: Any, fields: Iterable[str]) -> list[Kind]:
    """Name what an item counts as: each value of some fields once, however often it is listed."""
    return [
        (name, *kind)
        for name in fields
        for kind in dict.fromkeys(map(key_of, scalars(find(metadata, name))))
    ]
