"""Queries that demand more than the nearest items.

Likes and dislikes make one direction to look in. Down the ranking by that
direction, of the items that a filter lets through, an answer is chosen; the
ranking is made longer until there are enough, or no more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from soundalike.catalogue import query
from soundalike.catalogue.asks import Ask, Example
from soundalike.catalogue.choosing import Taken, vary, walk
from soundalike.catalogue.query import Found, Hits
from soundalike.catalogue.rows import UnitVectors, unit
from soundalike.catalogue.snapshot import Snapshot
from soundalike.engines.base import Rows
from soundalike.errors import BadVector

PUSH = 0.5  # of the mean dislike; below 1, so that dislikes never outweigh what is liked
SPARE = 8
LONGER = 4
LEAST_LENGTH = 1e-6

Aim = tuple[UnitVectors, UnitVectors]


def aim(ask: Ask, vectors: UnitVectors) -> Aim:
    """Make one direction of likes and dislikes.

    Parameters
    ----------
    ask : Ask
    vectors : ndarray of float64, shape (examples, D)
        Of unit length, as `Ask.examples` lists them.

    Returns
    -------
    target, direction : ndarray of float64, shape (D,)
        The weighted mean of the likes, by which items are scored, and where to look: away from
        there by half the weighted mean of the dislikes, whatever their weights. Of dislikes alone
        both point away from their mean.

    Raises
    ------
    BadVector
        They cancel each other out.
    """
    liked, disliked = np.split(vectors, [len(ask.likes)])
    if not ask.likes:
        away = _direction(-_mean(ask.dislikes, disliked))
        return away, away
    target = _direction(_mean(ask.likes, liked))
    if not ask.dislikes:
        return target, target
    return target, _direction(target - PUSH * _mean(ask.dislikes, disliked))


def answer(
    snapshot: Snapshot,
    ask: Ask,
    aimed: Aim,
    k: int,
    *,
    exact: bool = False,
) -> Hits:
    """Answer one query.

    Parameters
    ----------
    snapshot : Snapshot
        Where to look.
    ask : Ask
    aimed : ndarrays of float64, each of shape (D,)
        What `aim` gave.
    k : int
        How many items to find.
    exact : bool
        Compare every row, whatever the engine.

    Returns
    -------
    Hits
        Of k items, or all that meet the demands.
    """
    target, direction = aimed
    allowed = None if ask.filter is None else ask.filter.marks(snapshot.columns, len(snapshot.dead))
    without = [ask.without]
    place = query.places(snapshot, direction[np.newaxis], without=without, exact=exact)
    pool, size = ask.choice.pool(k), ask.choice.pool(k) + SPARE
    while True:
        (found,) = query.nearest(
            snapshot, place, size, without=without, allowed=allowed, exact=exact
        )
        ranking = _Ranking.of(snapshot, found, target, ask.min_score)
        taken = walk(len(ranking.rows), ranking.vectors, ranking.metadata, ask.choice, pool)
        # without a transform or dislikes all that comes later scores less than the last found
        falls = snapshot.base.fitted is None and direction is target
        ended = len(found.rows) < size or (falls and len(ranking.rows) < len(found.rows))
        if len(taken.places) == pool or ended:
            return ranking.hits(taken, ask, k)
        size *= LONGER


@dataclass(frozen=True, slots=True, eq=False)
class _Ranking:
    """Rows that may be in an answer, by falling rank."""

    snapshot: Snapshot
    rows: Rows
    ranks: UnitVectors
    scores: UnitVectors
    exact: bool

    @classmethod
    def of(
        cls, snapshot: Snapshot, found: Found, target: UnitVectors, least: float | None
    ) -> _Ranking:
        scores = query.scores(snapshot, target, found.rows)
        kept = slice(None) if least is None else scores >= least
        return cls(snapshot, found.rows[kept], found.ranks[kept], scores[kept], found.exact)

    def vectors(self, places: slice | Rows) -> UnitVectors:
        return unit(self.snapshot.vectors(self.rows[places]))

    def metadata(self, place: int) -> Any:
        return json.loads(self.snapshot.metadata([int(self.rows[place])])[0])

    def hits(self, taken: Taken, ask: Ask, k: int) -> Hits:
        """Lay out an answer of those that the walk took."""
        places = np.array(taken.places, dtype=np.int64)
        ranks = self.ranks[places]
        chosen = list(range(len(places)))[:k]
        if ask.choice.diversity:
            chosen, values = vary(ranks, self.vectors(places), ask.choice.diversity, k)
            ranks[chosen] = values
        keys = self.snapshot.keys(self.rows[places].tolist())
        chosen.sort(key=lambda one: (-ranks[one], keys[one]))
        rows = self.rows[places[chosen]].tolist()
        reordered = ask.choice.diversity or (ask.likes and ask.dislikes)
        return Hits(
            ids=[keys[one] for one in chosen],
            scores=self.scores[places[chosen]].tolist(),
            ranks=ranks[chosen].tolist() if self.snapshot.base.fitted or reordered else None,
            metadata=self.snapshot.metadata(rows),
            same=None
            if ask.choice.collapse is None
            else [self._named(taken.same[one]) for one in chosen],
            exact=self.exact,
        )

    def _named(self, places: list[int]) -> list[tuple[str, float]]:
        keys = self.snapshot.keys(self.rows[places].tolist())
        return list(zip(keys, self.scores[places].tolist(), strict=True))


def _mean(examples: Sequence[Example], vectors: UnitVectors) -> UnitVectors:
    weights = np.array([one.weight for one in examples])
    weights /= weights.max()  # so that no sum of them overflows, and none is nearly nothing
    mean: UnitVectors = weights @ vectors / weights.sum()
    return mean


def _direction(total: UnitVectors) -> UnitVectors:
    if np.linalg.norm(total) < LEAST_LENGTH:
        raise BadVector("The likes and dislikes cancel each other out; leave some of them out.")
    direction: UnitVectors = unit(total[np.newaxis])[0]
    return direction
