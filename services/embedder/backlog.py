"""How much sound waits or is worked on, and how fast it goes away."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from soundalike.errors import Overloaded

HALF_LIFE_S = 30.0
MOST_WAIT_S = 600


class Backlog:
    """Counts the sounds in the service by their seconds, and refuses what is too much.

    Parameters
    ----------
    most_seconds : float
        How many seconds of sound may be here at once. A single sound is always taken.
    clock : callable
        Tells the time in seconds.
    """

    def __init__(self, most_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.most_seconds = most_seconds
        self.seconds = 0.0
        self.sounds = 0
        self._clock = clock
        self._lock = threading.Lock()
        # what was done and how long that took, each counting half after every half-life
        self._done_s = self._busy_s = 0.0
        self._last = clock()

    def enter(self, seconds: float) -> None:
        """Count a sound until it leaves.

        Raises
        ------
        Overloaded
            There is no room for it.
        """
        with self._lock:
            self._pass_time()
            if self.sounds and self.seconds + seconds > self.most_seconds:
                wait_s = self._wait_s(self.seconds + seconds - self.most_seconds)
                raise Overloaded(
                    f"{self.seconds:,.0f} seconds of sound wait already and there is room for "
                    f"{self.most_seconds:,.0f}; try again in {wait_s} s.",
                    retry_after=wait_s,
                    limit=self.most_seconds,
                    got=self.seconds + seconds,
                )
            self.seconds += seconds
            self.sounds += 1

    def leave(self, seconds: float, *, done: bool) -> None:
        """Count a sound no more; `done` where it was worked on, whatever came of that."""
        with self._lock:
            self._pass_time()
            self._done_s += seconds if done else 0.0
            self.seconds -= seconds
            self.sounds -= 1

    def _pass_time(self) -> None:
        now = self._clock()
        if self.sounds:
            passed = now - self._last
            kept = 0.5 ** (passed / HALF_LIFE_S)
            self._done_s *= kept
            self._busy_s = self._busy_s * kept + passed
        self._last = now

    def _wait_s(self, seconds: float) -> int:
        """Tell after how many seconds so much sound will have been worked on."""
        if not self._done_s:
            return 1
        # one long sound may keep everything busy for hours, which says little of the next ones
        return max(1, math.ceil(min(MOST_WAIT_S, seconds * self._busy_s / self._done_s)))
