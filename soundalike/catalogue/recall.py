"""What an engine finds of what live queries should have found: a sample is asked again, exactly."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from soundalike.catalogue import query
from soundalike.catalogue.query import Hits
from soundalike.catalogue.rows import UnitVectors
from soundalike.catalogue.snapshot import Snapshot
from soundalike.engines.base import Engine

SHARE_OF_TIME = 0.01
FIRST_PAUSE_S = 1.0
MOST_WAITING = 16
WINDOW = 200
ENOUGH_TO_TELL = 20
JUDGED_EVERY = 50  # samples: who looks after each one sees a shortfall by chance in the end
SURE = 3.0  # standard errors


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A query that was answered from an index, and what the answers fell by."""

    snapshot: Snapshot
    unit: UnitVectors
    k: int
    without: str | None
    ranks: list[float]

    def again(self, engine: Engine | None) -> tuple[list[float], float]:
        """Answer it by another engine, or exactly; gives what the answers fall by, and seconds."""
        started = time.perf_counter()
        (hits,) = query.search(
            replace(self.snapshot, engine=engine), self.unit, self.k, without=[self.without]
        )
        return hits.ranks or hits.scores, time.perf_counter() - started


class Recall:
    """The running recall of one engine.

    Parameters
    ----------
    calibrated : float
        What was measured when the engine was built; told until enough queries came.
    target : float
        What it should be.
    """

    def __init__(self, calibrated: float, target: float) -> None:
        self._told = calibrated
        self._target = target
        self._shares: deque[float] = deque(maxlen=WINDOW)
        self._measured = 0
        self._waiting: deque[_Asked] = deque(maxlen=MOST_WAITING)
        self._next_s = time.monotonic() + FIRST_PAUSE_S
        self._scan_s = FIRST_PAUSE_S * SHARE_OF_TIME

    @property
    def value(self) -> float:
        """Share of the true neighbours found."""
        return self._told

    def offer(
        self,
        snapshot: Snapshot,
        units: UnitVectors,
        k: int,
        without: Sequence[str | None],
        hits: Hits,
    ) -> None:
        """Take the first of some queries as a sample, if it is time for one."""
        now = time.monotonic()
        if now < self._next_s or hits.exact:
            return
        self._next_s = now + self._scan_s / SHARE_OF_TIME
        ranks = hits.ranks or hits.scores
        self._waiting.append(_Asked(snapshot, units[:1], k, without[0], ranks))

    def measure(self, engine: Engine) -> Engine | None:
        """Ask the samples again that wait, and say by which engine to search from now on.

        Parameters
        ----------
        engine : Engine
            By which the collection is searched now.

        Returns
        -------
        Engine or None
            The same; one of twice the effort, where it certainly falls short
            of the target; None where comparing every row takes no longer than that.
        """
        while self._waiting:
            asked = self._waiting.popleft()
            right, self._scan_s = asked.again(None)
            self._count(_share(asked.ranks, right))
            if self._measured % JUDGED_EVERY == 0 and self._short:
                self._shares.clear()
                self._waiting.clear()
                harder = engine.with_effort(2 * engine.effort)
                _, seconds = asked.again(harder)
                return harder if seconds < self._scan_s else None
        return engine

    def _count(self, share: float) -> None:
        self._measured += 1
        self._shares.append(share)
        if len(self._shares) >= ENOUGH_TO_TELL:
            self._told = float(np.mean(self._shares))

    @property
    def _short(self) -> bool:
        """Whether the recall is below the target, chance left aside."""
        error = float(np.std(self._shares)) / len(self._shares) ** 0.5
        return bool(self._told + SURE * error < self._target)


def _share(found: Sequence[float], right: Sequence[float]) -> float:
    """Count by what answers fall by and not by id, for of equal ones any may be found."""
    return sum(one >= right[-1] for one in found) / len(right) if right else 1.0
