"""From a query to its neighbours in a snapshot.

Candidates come from the engine over the base, or from a scan of it, and from a
scan of the tail. Their scores are then taken again in double precision from
the stored vectors, so that a score does not depend on how its item was found.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        By falling score; those of equal score by id.
    scores : list of float
        Cosines, to seven decimals.
    metadata : list of str
        As JSON.
    exact : bool
        True where every row was compared.
    """

    ids: list[str]
    scores: list[float]
    metadata: list[str]
    exact: bool


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
    wanted = k + 1 if any(one is not None for one in without) else k
    if exact or snapshot.exact:
        found = [(rows, True) for rows in _scan(snapshot, queries, wanted)]
    else:
        found = _look_up(snapshot, queries, wanted)
    answers = []
    for query, (rows, all_compared), left_out in zip(queries, found, without, strict=True):
        ranked = [hit for hit in _rank(snapshot, query, rows) if hit[1] != left_out][:k]
        answers.append(
            Hits(
                ids=[one for _, one, _ in ranked],
                scores=[score for score, _, _ in ranked],
                metadata=[snapshot.metadata[row] for _, _, row in ranked],
                exact=all_compared,
            )
        )
    return answers


def _scan(snapshot: Snapshot, queries: UnitVectors, wanted: int) -> list[Rows]:
    """Compare every row; the candidates are all that may be among the nearest, ties included."""
    size, base = len(snapshot.dead), len(snapshot.base)
    found: list[Rows] = []
    for block in blocks(len(queries), size):
        some = queries[block].astype(np.float32)
        scores = np.empty((len(some), size), dtype=np.float32)
        scores[:, :base] = cosines(snapshot.base, some)
        scores[:, base:] = cosines(snapshot.tail, some)
        scores[:, snapshot.dead] = -np.inf
        found.extend(_nearest(of_one, wanted) for of_one in scores)
    return found


def _look_up(snapshot: Snapshot, queries: UnitVectors, wanted: int) -> list[tuple[Rows, bool]]:
    """Ask the engine, and scan the tail; scan everything where the dead leave too few."""
    base = len(snapshot.base)
    dead, dead_in_tail = snapshot.dead[:base], snapshot.dead[base:]
    gone = int(np.count_nonzero(dead))
    narrow = queries.astype(np.float32)
    in_base, _ = snapshot.engine.search(narrow, wanted + _spare(wanted, gone, base))
    in_tail = cosines(snapshot.tail, narrow)
    in_tail[:, dead_in_tail] = -np.inf
    found = []
    for query, nearest, scores in zip(queries, in_base, in_tail, strict=True):
        rows = nearest[nearest != NO_ROW]
        alive = rows[~dead[rows]]
        if len(alive) < min(wanted, base - gone):
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


def _rank(snapshot: Snapshot, query: UnitVectors, rows: Rows) -> list[tuple[float, str, int]]:
    """Score rows; gives score, id and row, by falling score and rising id."""
    scores = _scores(snapshot, query, rows).tolist()
    hits = [
        (score, snapshot.ids[row], row) for score, row in zip(scores, rows.tolist(), strict=True)
    ]
    return sorted(hits, key=lambda hit: (-hit[0], hit[1]))


def _scores(snapshot: Snapshot, query: UnitVectors, rows: Rows) -> UnitVectors:
    scores = np.empty(len(rows))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = snapshot.vectors(rows[start : start + ROWS_AT_ONCE]).astype(np.float64)
        # einsum sums every row in the same order, so identical vectors score identically
        scores[start : start + ROWS_AT_ONCE] = np.einsum("ij,j->i", some, query)
    return np.clip(scores, -1, 1).round(SCORE_DIGITS) + 0.0  # no score is minus zero
