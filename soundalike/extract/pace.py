"""How long the rest will take, by what was done so far."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from soundalike.audio.decode import expected_seconds
from soundalike.extract.found import Found


class Pace:
    """Learns what files cost by how long they last, and how quickly that is worked off.

    What a file costs is taken for a straight line over its seconds: models that stretch or cut what
    they hear make it neither a number of files nor one of seconds. How long files last that are
    still to come, their headers tell, once somebody reads those; of the others it is supposed that
    they last as long as the rest on the average, so files should come in an order every beginning
    of which is like the whole; see `soundalike.extract.found.spread`.

    Parameters
    ----------
    files : iterable of str
        Names of all that are to be done.
    """

    def __init__(self, files: Iterable[str]) -> None:
        self._left: dict[str, float | None] = dict.fromkeys(files)  # seconds, where they are known
        self._begun_s: dict[str, float] = {}
        self._known = self._known_s = 0.0  # of those that are left
        self._foretold_s = self._true_s = 0.0  # of those that are done
        self._began_s: float | None = None
        self._done = self._x = self._y = self._xx = self._xy = 0.0
        self._lock = threading.Lock()

    def read_headers(self, files: Iterable[Found]) -> None:
        """Learn how long files last, as far as they are not done; to be called beside the work."""
        for found in files:
            if found.file in self._left:
                self.expect(found.file, _seconds(found))

    def expect(self, file: str, seconds: float) -> None:
        """Learn how long a file is said to last."""
        with self._lock:
            if file in self._left and self._left[file] is None:
                self._left[file] = seconds
                self._known += 1
                self._known_s += seconds

    def begin(self, file: str, now_s: float) -> None:
        """Learn that a file is handed out, by a clock that never goes back."""
        self._begun_s[file] = now_s

    def add(self, file: str, seconds: float, spent_s: float, now_s: float) -> None:
        """Learn of a file that is done.

        Parameters
        ----------
        file : str
        seconds : float
            How long it lasts.
        spent_s : float
            How long it was worked on.
        now_s : float
            By the clock of `begin`.
        """
        foretold_s = self.leave_out(file)
        if foretold_s is not None:
            self._foretold_s += foretold_s
            self._true_s += seconds
        if self._began_s is None:
            self._began_s = now_s - spent_s  # what was before, loading models say, is over
        self._done += 1
        self._x += seconds
        self._y += spent_s
        self._xx += seconds * seconds
        self._xy += seconds * spent_s

    def leave_out(self, file: str) -> float | None:
        """Learn that a file needs no work any more; gives how long it was said to last."""
        with self._lock:
            self._begun_s.pop(file, None)
            seconds = self._left.pop(file)
            if seconds is not None:
                self._known -= 1
                self._known_s -= seconds
            return seconds

    def left_s(self, now_s: float) -> float | None:
        """Tell how long the files that are left will take, in seconds; None where nothing tells."""
        if self._began_s is None or not self._y or now_s <= self._began_s:
            return None
        with self._lock:
            each, a_second = self._line()
            usual_s = self._usual_s()
            unknown_s = (len(self._left) - self._known) * usual_s
            work = len(self._left) * each + (self._known_s + unknown_s) * a_second
            at_hand: list[tuple[float, float]] = []
            for file, begun_s in self._begun_s.items():
                seconds = self._left[file]
                cost = each + a_second * (usual_s if seconds is None else seconds)
                at_hand.append((cost, now_s - max(begun_s, self._began_s)))
        half_done = sum(min(cost, spent_s) for cost, spent_s in at_hand)
        longest = max((cost - spent_s for cost, spent_s in at_hand), default=0.0)
        rate = (self._y + half_done) / (now_s - self._began_s)
        return max(0.0, longest, (work - half_done) / rate)

    def _usual_s(self) -> float:
        """Tell how long files last on the average, of which that is known."""
        return (self._x + self._known_s) / (self._done + self._known)

    def _line(self) -> tuple[float, float]:
        """Fit what a file costs, and each second that it is said to last; neither is negative."""
        spread = self._xx - self._x * self._x / self._done
        slope = (self._xy - self._x * self._y / self._done) / spread if spread > 0 else 0.0
        each = (self._y - slope * self._x) / self._done
        if slope < 0 or not self._x:
            return self._y / self._done, 0.0
        if each < 0:
            each, slope = 0.0, self._y / self._x
        # of some containers it is but guessed
        return each, slope * (self._true_s / self._foretold_s if self._foretold_s else 1.0)


def _seconds(found: Found) -> float:
    """Tell how long a file says that it lasts; 0 where it cannot be read."""
    try:
        if not found.path.is_file():
            return 0.0
        with found.path.open("rb") as file:
            return expected_seconds(file)
    except OSError:
        return 0.0
