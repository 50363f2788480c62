"""How long the rest will take, by what was done so far."""

from __future__ import annotations

from collections.abc import Iterable


class Pace:
    """Learns what files cost by their sizes, and how quickly that is worked off.

    What a file costs is taken for a straight line over its size: models that stretch or cut what
    they hear make it neither a number of files nor one of seconds. Files should come in an order
    every beginning of which is like the whole; see `soundalike.extract.found.spread`.

    Parameters
    ----------
    sizes_bytes : iterable of int
        Of all files that are to be done.
    """

    def __init__(self, sizes_bytes: Iterable[int]) -> None:
        sizes = list(sizes_bytes)
        self._files, self._bytes = len(sizes), sum(sizes)
        self._began_s: float | None = None
        self._done = self._x = self._y = self._xx = self._xy = 0.0

    def add(self, size_bytes: int, spent_s: float, now_s: float) -> None:
        """Learn of a file that is done.

        Parameters
        ----------
        size_bytes : int
        spent_s : float
            How long it was worked on.
        now_s : float
            By a clock that never goes back.
        """
        if self._began_s is None:
            self._began_s = now_s - spent_s  # what was before, loading models say, is over
        self._done += 1
        self._x += size_bytes
        self._y += spent_s
        self._xx += size_bytes * size_bytes
        self._xy += size_bytes * spent_s

    def leave_out(self, size_bytes: int) -> None:
        """Learn that a file needed no work."""
        self._files -= 1
        self._bytes -= size_bytes

    def left_s(self, now_s: float) -> float | None:
        """Tell how long the files that are left will take, in seconds; None where nothing tells."""
        if self._began_s is None or not self._y or now_s <= self._began_s:
            return None
        each, a_byte = self._line()
        work = (self._files - self._done) * each + (self._bytes - self._x) * a_byte
        return max(0.0, work) * (now_s - self._began_s) / self._y

    def _line(self) -> tuple[float, float]:
        """Fit what each file costs, and each byte of it, by least squares; neither is negative."""
        spread = self._xx - self._x * self._x / self._done
        slope = (self._xy - self._x * self._y / self._done) / spread if spread > 0 else 0.0
        each = (self._y - slope * self._x) / self._done
        if slope < 0 or not self._x:
            return self._y / self._done, 0.0
        if each < 0:
            return 0.0, self._y / self._x
        return each, slope
