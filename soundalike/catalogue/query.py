"""From a query to its neighbours in a snapshot.

Candidates come from the engine over the base, or from a scan of it, and from a
scan of the tail. Their scores are then taken again in double precision from
the stored vectors, so that a score does not depend on how its item was found.
Where the collection has a transform, all that happens in the places to which it
moves vectors, and the cosine of the stored vectors is told beside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import gt, neg
from typing import NamedTuple

import numpy as np

from soundalike.catalogue.rows import UnitVectors
from soundalike.catalogue.snapshot import Marks, Snapshot
from soundalike.engines.base import NO_ROW, Engine, Rows
from soundalike.engines.exact import blocks, cosines
from soundalike.types import FloatArray

SCAN_ERROR = 1e-6  # by how much two cosines summed in single precision may be out of order
SCORE_DIGITS = 7  # what single precision can tell; what it cannot is a tie
SCORE_STEPS = 10.0**SCORE_DIGITS
FEW_SPARE = 16
ROWS_AT_ONCE = 4096
GATHERED_SHARE = 0.1

MANY_QUERIES = 64  # at once make a scan for each of them
QUICKER_TOGETHER = 3  # times as quick as one by one, and an engine no more than a little
EFFORT_IS_FOR = 10  # rows; for more, an engine takes longer by the square root

LeftOut = frozenset[str] | None


class Hits(NamedTuple):
    """What was found for one query.

    Attributes
    ----------
    ids : list of str
        By falling rank, or score where there is none; those that are equal by id.
    scores : list of float
        Cosines, to seven decimals.
    ranks : list of float or None
        What a transform ranks by, to seven decimals.
    metadata : list of str
        As JSON.
    exact : bool
        True where every row was compared.
    same : list of list of (str, float), or None
        Where near duplicates count as one, those of each item, with their scores.
    """

    ids: list[str]
    scores: list[float]
    ranks: list[float] | None
    metadata: list[str]
    exact: bool
    same: list[list[tuple[str, float]]] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Rows for one query, with what they fall by, and whether all were compared."""

    rows: Rows
    ranks: UnitVectors
    exact: bool


class _Ranking(NamedTuple):
    """As `Found`, in lists.

    After a search, which empties the processor's caches, numpy takes longer for
    ten numbers than Python.
    """

    rows: list[int]
    ranks: list[float]
    exact: bool


def similarity(units: UnitVectors) -> UnitVectors:
    """Compare vectors of unit length with one another; give a matrix of cosines."""
    return np.array([_rounded(row) for row in (units @ units.T).tolist()])


def search(
    snapshot: Snapshot,
    queries: UnitVectors,
    k: int,
    *,
    without: Sequence[str | None],
    exact: bool = False,
) -> list[Hits]:
    """Find the nearest items of each query.

    Parameters
    ----------
    snapshot : Snapshot
        Where to look.
    queries : ndarray of float64, shape (Q, D)
        Of unit length.
    k : int
        How many items to find for each.
    without : sequence of str or None, length Q
        For each query the item that must not be in its answer.
    exact : bool
        Compare every row, whatever the engine.

    Returns
    -------
    list of Hits
        One a query, each of k items or all there are.
    """
    left_out = [None if one is None else frozenset([one]) for one in without]
    asked = places(snapshot, queries, without=left_out, exact=exact)
    ranked = _ranked(snapshot, asked, k, without=left_out, allowed=None, exact=exact)
    return [_hits(snapshot, query, one) for query, one in zip(queries, ranked, strict=True)]


def places(
    snapshot: Snapshot, queries: UnitVectors, *, without: Sequence[LeftOut], exact: bool
) -> UnitVectors:
    """Tell where to look for the neighbours of queries: where the transform moves them.

    See `search`; shape (Q, S).
    """
    fitted = snapshot.base.fitted
    if fitted is None:
        return queries
    asked = fitted.queries(queries)
    if spread := fitted.steps.expand:
        near = nearest(snapshot, asked, spread, without=without, exact=exact)
        for place, one in enumerate(near):
            asked[place] = fitted.expand(asked[place], snapshot.places(one.rows))
    return asked


def scores(snapshot: Snapshot, query: UnitVectors, rows: Rows) -> UnitVectors:
    """Tell the cosines of a query of unit length and rows, to seven decimals."""
    return np.array(_rounded(_products(snapshot.vectors, query, rows)))


def _hits(snapshot: Snapshot, query: UnitVectors, found: _Ranking) -> Hits:
    rows, ranks, exact = found
    ids, metadata = snapshot.keys(rows), snapshot.metadata(rows)
    if snapshot.base.fitted is None:
        return Hits(ids, ranks, None, metadata, exact)
    own = scores(snapshot, query, np.array(rows, dtype=np.int64)).tolist()
    return Hits(ids, own, ranks, metadata, exact)


def nearest(
    snapshot: Snapshot,
    asked: UnitVectors,
    k: int,
    *,
    without: Sequence[LeftOut],
    allowed: Marks | None = None,
    exact: bool = False,
) -> list[Found]:
    """Rank the items nearest to places.

    Parameters
    ----------
    snapshot : Snapshot
        Where to look.
    asked : ndarray of float64, shape (Q, S)
        What `places` gave.
    k : int
        How many items to find for each.
    without : sequence of frozenset of str or None, length Q
        For each the items that must not be found.
    allowed : ndarray of bool, shape (rows,), optional
        The rows that may be found; they are all compared.
    exact : bool
        Compare every row, whatever the engine.

    Returns
    -------
    list of Found
        One a place, each of k rows or all there are.
    """
    ranked = _ranked(snapshot, asked, k, without=without, allowed=allowed, exact=exact)
    return [
        Found(np.array(rows, dtype=np.int64), np.array(ranks, dtype=np.float64), all_compared)
        for rows, ranks, all_compared in ranked
    ]


def _ranked(
    snapshot: Snapshot,
    asked: UnitVectors,
    k: int,
    *,
    without: Sequence[LeftOut],
    allowed: Marks | None,
    exact: bool,
) -> list[_Ranking]:
    """Find and rank; see `nearest`."""
    wanted = k + max(map(len, filter(None, without)), default=0)
    engine = snapshot.engine
    if allowed is not None:
        rows = np.flatnonzero(allowed & ~snapshot.dead)
        candidates = [(_pick(snapshot, one, rows, wanted), True) for one in asked]
    elif exact or engine is None or _scan_is_quicker(snapshot, engine, len(asked), wanted):
        candidates = [(rows, True) for rows in _scan(snapshot, asked, wanted)]
    else:
        candidates = _look_up(snapshot, engine, asked, wanted)
    return [
        _rank(snapshot, query, rows, k, without=left_out, exact=all_compared)
        for query, (rows, all_compared), left_out in zip(asked, candidates, without, strict=True)
    ]


def _pick(snapshot: Snapshot, query: UnitVectors, rows: Rows, wanted: int) -> Rows:
    """Compare some rows; the candidates are all that may be among the nearest, ties included."""
    narrow = query.astype(np.float32)
    if len(rows) > GATHERED_SHARE * len(snapshot.dead):
        # in order a row is read so much faster that it pays to read those between them too
        base = cosines(snapshot.base.places, narrow[np.newaxis])[0]
        tail = cosines(snapshot.tail_places, narrow[np.newaxis])[0]
        scores = np.concatenate([base, tail])[rows]
    else:
        scores = np.concatenate(
            [
                cosines(snapshot.places(rows[start : start + ROWS_AT_ONCE]), narrow[np.newaxis])[0]
                for start in range(0, max(1, len(rows)), ROWS_AT_ONCE)
            ]
        )
    return rows[_nearest(scores, wanted)]


def _scan_is_quicker(snapshot: Snapshot, engine: Engine, queries: int, wanted: int) -> bool:
    rows = len(snapshot.dead) / (QUICKER_TOGETHER if queries >= MANY_QUERIES else 1)
    longer = math.sqrt(max(wanted, EFFORT_IS_FOR) / EFFORT_IS_FOR)
    return rows < longer * engine.effort * engine.rows_per_effort


def _scan(snapshot: Snapshot, queries: UnitVectors, wanted: int) -> list[Rows]:
    """Compare every row; the candidates are all that may be among the nearest, ties included."""
    size, base = len(snapshot.dead), len(snapshot.base.places)
    found: list[Rows] = []
    for block in blocks(len(queries), size):
        some = queries[block].astype(np.float32)
        scores = np.empty((len(some), size), dtype=np.float32)
        scores[:, :base] = cosines(snapshot.base.places, some)
        scores[:, base:] = cosines(snapshot.tail_places, some)
        scores[:, snapshot.dead] = -np.inf
        found.extend(_nearest(of_one, wanted) for of_one in scores)
    return found


def _look_up(
    snapshot: Snapshot, engine: Engine, queries: UnitVectors, wanted: int
) -> list[tuple[Rows, bool]]:
    """Ask the engine, and scan the tail; scan everything where the dead leave too few.

    So is done for a query of which a transform left nothing, that has no direction to look in.
    """
    base, gone, moved = len(snapshot.base.places), snapshot.gone, snapshot.base.fitted is not None
    narrow = queries.astype(np.float32)
    in_base, _ = engine.search(narrow, wanted + _spare(wanted, gone, base))
    in_tail = _tail_scores(snapshot, narrow)
    found = []
    for query, nearest, scores in zip(queries, in_base, in_tail, strict=True):
        rows = nearest if nearest[-1] != NO_ROW else nearest[nearest != NO_ROW]
        if gone:
            rows = rows[~snapshot.dead[rows]]
        if len(rows) < min(wanted, base - gone) or (moved and not query.any()):
            found.append((_scan(snapshot, query[np.newaxis], wanted)[0], True))
            continue
        if len(scores):
            rows = np.concatenate([rows, base + _nearest(scores, wanted)])
        found.append((rows, False))
    return found


def _tail_scores(snapshot: Snapshot, queries: FloatArray) -> FloatArray:
    if not len(snapshot.tail):
        return np.empty((len(queries), 0), dtype=np.float32)
    scores = cosines(snapshot.tail_places, queries)
    scores[:, snapshot.dead[len(snapshot.base.places) :]] = -np.inf
    return scores


def _spare(wanted: int, dead: int, rows: int) -> int:
    """How many more to ask for: twice what the dead are expected to take."""
    return min(dead, FEW_SPARE + 2 * wanted * dead // rows) if dead else 0


def _nearest(scores: FloatArray, wanted: int) -> Rows:
    """Rows that may be among the nearest; those at -inf are dead."""
    if wanted < len(scores):
        last = np.partition(scores, -wanted)[-wanted]
        return np.flatnonzero((scores >= last - SCAN_ERROR) & (scores > -np.inf))
    return np.flatnonzero(scores > -np.inf)


def _rank(
    snapshot: Snapshot,
    asked: UnitVectors,
    found: Rows,
    k: int,
    *,
    without: LeftOut,
    exact: bool,
) -> _Ranking:
    """Order rows by falling rank and rising id; keep the first, but for some items."""
    products = _products(snapshot.places, asked, found)
    fitted = snapshot.base.fitted
    if fitted is None:
        ranks = _rounded(products)
    else:
        ranks = _rounded([fitted.scale * one for one in products], most=math.inf)
    rows, ranks = _ordered(snapshot, found.tolist(), ranks)
    if without:
        places = [n for n, name in enumerate(snapshot.keys(rows)) if name not in without]
        rows, ranks = [rows[n] for n in places], [ranks[n] for n in places]
    return _Ranking(rows[:k], ranks[:k], exact)


def _ordered(
    snapshot: Snapshot, rows: list[int], ranks: list[float]
) -> tuple[list[int], list[float]]:
    if all(map(gt, ranks, ranks[1:])):  # as an engine gives them, most often
        return rows, ranks
    by_key = len(snapshot.tail) and len(set(ranks)) < len(ranks)
    names = snapshot.keys(rows) if by_key else rows  # the rows of the base lie by rising id
    ordered = sorted(zip(map(neg, ranks), names, rows, strict=True))
    return [row for _, _, row in ordered], [-rank for rank, _, _ in ordered]


def _products(gather: Callable[[Rows], FloatArray], query: UnitVectors, rows: Rows) -> list[float]:
    """Multiply a query with rows, in double precision."""
    products: list[float] = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        wide = gather(rows[start : start + ROWS_AT_ONCE]).astype(np.float64)
        # unlike a matrix product this sums every row in the same order, so identical vectors
        # score identically
        products += np.vecdot(wide, query).tolist()
    return products


def _rounded(products: Iterable[float], *, most: float = 1.0) -> list[float]:
    return [
        # the quotient of an integer, and so never minus zero
        most if one > most else -most if one < -most else round(SCORE_STEPS * one) / SCORE_STEPS
        for one in products
    ]
