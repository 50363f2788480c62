"""From a query to its neighbours in a snapshot.

Candidates come from the engine over the base, or from a scan of it, and from a
scan of the tail. Their scores are then taken again in double precision from
the stored vectors, so that a score does not depend on how its item was found.
Where the collection has a transform, all that happens in the places to which it
moves vectors, and the cosine of the stored vectors is told beside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soundalike.catalogue.snapshot import Snapshot
from soundalike.engines.base import NO_ROW, Rows
from soundalike.engines.exact import blocks, cosines
from soundalike.types import FloatArray

UnitVectors = npt.NDArray[np.float64]

SCAN_ERROR = 1e-6  # by how much two cosines summed in single precision may be out of order
SCORE_DIGITS = 7  # what single precision can tell; what it cannot is a tie
FEW_SPARE = 16
ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Hits:
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
    """

    ids: list[str]
    scores: list[float]
    ranks: list[float] | None
    metadata: list[str]
    exact: bool


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Rows in the order of an answer, with what they are ordered by."""

    rows: Rows
    ids: list[str]
    ranks: UnitVectors

    def without(self, item: str | None, most: int) -> _Ranked:
        """Leave out an item, and all but the first."""
        kept = [place for place, one in enumerate(self.ids) if one != item][:most]
        return _Ranked(self.rows[kept], [self.ids[place] for place in kept], self.ranks[kept])


def unit(vectors: npt.ArrayLike) -> UnitVectors:
    """Scale vectors to length one.

    Parameters
    ----------
    vectors : array_like, shape (N, D)
        Finite, none of them zero.

    Returns
    -------
    ndarray of float64, shape (N, D)
    """
    # in double precision neither the largest nor the smallest float32 leaves the range
    wide = np.asarray(vectors, dtype=np.float64)
    lengths: UnitVectors = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / lengths


def similarity(units: UnitVectors) -> UnitVectors:
    """Compare vectors of unit length with one another; give a matrix of cosines."""
    return _rounded(units @ units.T)


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
    fitted = snapshot.base.fitted
    asked = queries if fitted is None else fitted.queries(queries)
    if fitted is not None and (spread := fitted.steps.expand):
        near = _nearest_items(snapshot, asked, spread, without=without, exact=exact)
        for query, (ranked, _) in enumerate(near):
            asked[query] = fitted.expand(asked[query], snapshot.places(ranked.rows))
    found = _nearest_items(snapshot, asked, k, without=without, exact=exact)
    return [
        _hits(snapshot, query, ranked, all_compared)
        for query, (ranked, all_compared) in zip(queries, found, strict=True)
    ]


def _hits(snapshot: Snapshot, query: UnitVectors, ranked: _Ranked, all_compared: bool) -> Hits:
    moved = snapshot.base.fitted is not None
    cosines_of = (
        _rounded(_products(snapshot.vectors, query, ranked.rows)) if moved else ranked.ranks
    )
    return Hits(
        ids=ranked.ids,
        scores=cosines_of.tolist(),
        ranks=ranked.ranks.tolist() if moved else None,
        metadata=[snapshot.metadata[row] for row in ranked.rows.tolist()],
        exact=all_compared,
    )


def _nearest_items(
    snapshot: Snapshot,
    asked: UnitVectors,
    k: int,
    *,
    without: Sequence[str | None],
    exact: bool,
) -> list[tuple[_Ranked, bool]]:
    """Rank the nearest items of places; tells also whether every row was compared."""
    wanted = k + 1 if any(one is not None for one in without) else k
    if exact or snapshot.exact:
        found = [(rows, True) for rows in _scan(snapshot, asked, wanted)]
    else:
        found = _look_up(snapshot, asked, wanted)
    return [
        (_rank(snapshot, query, rows).without(left_out, k), all_compared)
        for query, (rows, all_compared), left_out in zip(asked, found, without, strict=True)
    ]


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


def _look_up(snapshot: Snapshot, queries: UnitVectors, wanted: int) -> list[tuple[Rows, bool]]:
    """Ask the engine, and scan the tail; scan everything where the dead leave too few.

    So is done for a query of which a transform left nothing, that has no direction to look in.
    """
    base = len(snapshot.base.places)
    dead, dead_in_tail = snapshot.dead[:base], snapshot.dead[base:]
    gone = int(np.count_nonzero(dead))
    narrow = queries.astype(np.float32)
    in_base, _ = snapshot.base.engine.search(narrow, wanted + _spare(wanted, gone, base))
    in_tail = cosines(snapshot.tail_places, narrow)
    in_tail[:, dead_in_tail] = -np.inf
    found = []
    for query, nearest, scores in zip(queries, in_base, in_tail, strict=True):
        rows = nearest[nearest != NO_ROW]
        alive = rows[~dead[rows]]
        if len(alive) < min(wanted, base - gone) or not query.any():
            found.append((_scan(snapshot, query[np.newaxis], wanted)[0], True))
        else:
            found.append((np.concatenate([alive, base + _nearest(scores, wanted)]), False))
    return found


def _spare(wanted: int, dead: int, rows: int) -> int:
    """How many more to ask for: twice what the dead are expected to take."""
    return min(dead, FEW_SPARE + 2 * wanted * dead // rows)


def _nearest(scores: FloatArray, wanted: int) -> Rows:
    """Rows that may be among the nearest; those at -inf are dead."""
    if wanted < len(scores):
        last = np.partition(scores, -wanted)[-wanted]
        return np.flatnonzero((scores >= last - SCAN_ERROR) & (scores > -np.inf))
    return np.flatnonzero(scores > -np.inf)


def _rank(snapshot: Snapshot, asked: UnitVectors, rows: Rows) -> _Ranked:
    """Order rows by falling rank and rising id."""
    products = _products(snapshot.places, asked, rows)
    fitted = snapshot.base.fitted
    ranks = _rounded(products) if fitted is None else _rounded(fitted.scale * products, most=np.inf)
    ids = [snapshot.ids[row] for row in rows.tolist()]
    falling = (-ranks).tolist()
    order = sorted(range(len(rows)), key=lambda place: (falling[place], ids[place]))
    return _Ranked(rows[order], [ids[place] for place in order], ranks[order])


def _products(gather: Callable[[Rows], FloatArray], query: UnitVectors, rows: Rows) -> UnitVectors:
    """Multiply a query with rows, in double precision."""
    products = np.empty(len(rows))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = gather(rows[start : start + ROWS_AT_ONCE]).astype(np.float64)
        # einsum sums every row in the same order, so identical vectors score identically
        products[start : start + ROWS_AT_ONCE] = np.einsum("ij,j->i", some, query)
    return products


def _rounded(products: UnitVectors, *, most: float = 1.0) -> UnitVectors:
    rounded: UnitVectors = np.clip(products, -most, most).round(SCORE_DIGITS)
    return rounded + 0.0  # no score is minus zero
