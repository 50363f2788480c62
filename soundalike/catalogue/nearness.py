"""What the neighbours of all items tell together: near duplicates and hubs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from soundalike.catalogue import fingerprints
from soundalike.catalogue.survey import is_silent, number
from soundalike.types import Item, Neighbour

PROPOSING_COSINE = 0.9
MOST_PROPOSED = 5  # of each item
ALIKE_COSINE = 0.99
SAME_LENGTH_S = 0.25  # what a codec adds, and a cut of some tens of milliseconds
HUB_FROM = 5.0  # times as often among the neighbours as an item is on average


@dataclass(frozen=True, slots=True)
class Pair:
    """Two items that may be one recording.

    Attributes
    ----------
    ids : tuple of str
    score : float
        Their cosine.
    seconds : tuple of float or None
        Their lengths.
    bit_error_rate : float or None
        Share of the bits in which their fingerprints differ; None where one of them has none.
    """

    ids: tuple[str, str]
    score: float
    seconds: tuple[float | None, float | None]
    bit_error_rate: float | None


@dataclass(frozen=True, slots=True)
class Hub:
    """An item that is among the neighbours of very many others."""

    id: str
    occurrences: int


@dataclass(frozen=True, slots=True)
class Hubs:
    """How unevenly items come up among each other's neighbours.

    Attributes
    ----------
    k : int
        How many neighbours of each item were counted.
    skewness : float
        Of how often items come up: the higher above 0, the more few items take the places of many.
    never : int
        Items that are nobody's neighbour.
    count : int
        Items that come up five times as often as an item does on average, or more.
    listed : list of Hub
        The first of them, falling.
    """

    k: int
    skewness: float
    never: int
    count: int
    listed: list[Hub]


class Nearness:
    """Neighbours as they come in.

    Parameters
    ----------
    k : int
        How many of each item count.
    """

    def __init__(self, k: int) -> None:
        self._k = k
        self._occurrences: Counter[str] = Counter()
        self._pairs: dict[tuple[str, str], Pair] = {}

    def add(self, item: Item, neighbours: Sequence[Neighbour]) -> None:
        """Take the k + 1 nearest items of an item, among which it may be itself."""
        self._occurrences.setdefault(item.id, 0)
        nearest = others(item.id, neighbours, self._k)
        self._occurrences.update(one.id for one in nearest)
        for other in nearest[:MOST_PROPOSED]:
            ids = (min(item.id, other.id), max(item.id, other.id))
            if other.score >= PROPOSING_COSINE and ids not in self._pairs:
                pair = _compare(ids, other.score, item.metadata, other.metadata)
                if pair is not None:
                    self._pairs[ids] = pair

    def pairs(self, known: Iterable[Iterable[str]]) -> tuple[list[Pair], list[Pair]]:
        """Tell which pairs are duplicates, and of which that cannot be told.

        Parameters
        ----------
        known : iterable of iterables of str
            Groups of items that are known to be one; pairs within them are left out.

        Returns
        -------
        near, alike : list of Pair
            By their ids.
        """
        group_of = {one: number for number, ids in enumerate(known) for one in ids}
        left = [
            pair
            for (one, other), pair in sorted(self._pairs.items())
            if one not in group_of or group_of[one] != group_of.get(other)
        ]
        near = [pair for pair in left if pair.bit_error_rate is not None]
        return near, [pair for pair in left if pair.bit_error_rate is None]

    def hubs(self, limit: int) -> Hubs:
        """Tell how unevenly items come up, and name some hubs."""
        counts = np.array([*self._occurrences.values()] or [0])
        spread = counts - counts.mean()
        deviation = counts.std()
        skewness = float(np.mean((spread / deviation) ** 3)) if deviation else 0.0
        least = max(1.0, HUB_FROM * counts.mean())
        found = [Hub(*one) for one in self._occurrences.most_common() if one[1] >= least]
        never = sum(count == 0 for count in self._occurrences.values())
        return Hubs(self._k, round(skewness, 4), never, len(found), found[:limit])


def others(item_id: str, neighbours: Iterable[Neighbour], k: int) -> list[Neighbour]:
    """Give the k nearest of an item of those found for its vector, of which it may be one."""
    return [one for one in neighbours if one.id != item_id][:k]


def _compare(
    ids: tuple[str, str], score: float, one: Mapping[str, Any], other: Mapping[str, Any]
) -> Pair | None:
    """Say in how far two items that lie near are one recording; None where they are not."""
    lengths = number(one, "seconds"), number(other, "seconds")
    if is_silent(one) or is_silent(other) or not _agree(*lengths):
        return None
    print_of_one = fingerprints.parse(one.get("fingerprint"))
    print_of_other = fingerprints.parse(other.get("fingerprint"))
    if print_of_one is None or print_of_other is None:
        return Pair(ids, score, lengths, None) if score >= ALIKE_COSINE else None
    wrong = fingerprints.bit_error_rate(print_of_one, print_of_other)
    most = fingerprints.errors_of_copies(print_of_one, print_of_other)
    return Pair(ids, score, lengths, round(wrong, 4)) if wrong <= most else None


def _agree(one_s: float | None, other_s: float | None) -> bool:
    return one_s is not None and other_s is not None and abs(one_s - other_s) <= SAME_LENGTH_S
