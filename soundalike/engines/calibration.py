"""How much an engine has to look at, so that it finds enough: measured, not guessed.

What is asked for are rows themselves, for nothing else is known to lie as they
do; a row counts neither as an answer to itself nor to another of the sample.
Where it would ease its own search, as in a graph that links it to its
neighbours, it must not be in the index yet.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from soundalike.engines.base import Rows
from soundalike.engines.exact import ExactEngine
from soundalike.types import FloatArray

RECALL_AT = 10
SAMPLES = 512
SHARE = 10  # one row in so many, at the most
LEAST_SAMPLES = 50
SPARE = 30  # as many of the nearest may be of the sample, of which three are to be expected
SEED = 1
ERRORS = 3  # standard errors, by which the sample has to exceed the target
STEP = 1.05  # the effort found is at most so many times the least

Search = Callable[[FloatArray], Rows]
"""Takes queries; gives rows, nearest first, -1 where there is none."""


class Sample:
    """Rows that are asked for, and the right answers to them.

    Parameters
    ----------
    vectors : ndarray of float32, shape (N, D)
        Of unit length, without duplicates.

    Attributes
    ----------
    rows : ndarray of int64, shape (S,)
        Rising; none where there are too few rows to tell anything from.
    spared : int
        How many rows more a search has to give, of those that hold the sample too.
    """

    spared = SPARE

    def __init__(self, vectors: FloatArray) -> None:
        size = min(SAMPLES, len(vectors) // SHARE)
        drawn = np.random.default_rng(SEED).permutation(len(vectors))[:size]
        self.rows = np.sort(drawn if size >= LEAST_SAMPLES else drawn[:0])
        self._queries = vectors[self.rows]
        nearest, _ = ExactEngine.build(vectors).search(self._queries, RECALL_AT + SPARE)
        self._truth = self._others(nearest, RECALL_AT)

    def recalls(self, search: Search, looked_at: int) -> npt.NDArray[np.float64]:
        """Give the share of its ten nearest that each finds among the first so many; shape (S,)."""
        found = self._others(search(self._queries), looked_at)
        pairs = zip(self._truth, found, strict=True)
        return np.array([len(wanted & rows) / len(wanted) for wanted, rows in pairs])

    def _others(self, found: Rows, most: int) -> list[set[int]]:
        """Keep the first that are not of the sample."""
        own = set(self.rows.tolist())
        return [set([row for row in rows if row not in own][:most]) for rows in found.tolist()]


def calibrate(
    recalls: Callable[[int], npt.NDArray[np.float64]], target: float, *, least: int, most: int
) -> tuple[int, float]:
    """Find the least effort that meets a recall.

    The effort is doubled until it does, then the last two are closed in upon.
    The recall of the sample has to exceed the target by more than chance, the
    more so since the least effort is picked by that very sample.

    Parameters
    ----------
    recalls : callable
        Takes an effort; gives what `Sample.recalls` does.
    target : float
        Share of the ten nearest neighbours to find.
    least, most : int
        Efforts to choose from; with the most, everything is looked at.

    Returns
    -------
    effort : int
    recall : float
        What it reaches.
    """

    def reached(effort: int) -> tuple[float, bool]:
        shares = recalls(effort)
        recall = float(shares.mean())
        error = float(shares.std()) / len(shares) ** 0.5
        return recall, recall - ERRORS * error >= target

    low = high = least
    recall, enough = reached(high)
    while not enough and high < most:
        low, high = high, min(2 * high, most)
        recall, enough = reached(high)
    while enough and high > low * STEP and high > low + 1:
        middle = (low + high) // 2
        of_middle, middle_is_enough = reached(middle)
        if middle_is_enough:
            high, recall = middle, of_middle
        else:
            low = middle
    return high, recall
