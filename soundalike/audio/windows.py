"""From a clip to the consecutive windows that go through a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from soundalike.types import FloatArray, Window

SHORTEST_LAST_S = 1.0
VERSION = "consecutive-1"


def cut(blocks: Iterable[FloatArray], rate_hz: int, window_s: float | None) -> Iterator[Window]:
    """Cut a sound into consecutive windows without overlap, while it comes.

    A last window shorter than one second is dropped where another exists: it
    would weigh as much as a whole one where models stretch it.

    Parameters
    ----------
    blocks : iterable of ndarray of float32, each of shape (samples,)
        Mono amplitudes, one block after the other.
    rate_hz : int
        Their rate.
    window_s : float or None
        Length of a window in seconds; None takes the sound in one piece.

    Yields
    ------
    Window
        In order; at least one where there are samples.
    """
    size = None if window_s is None else round(window_s * rate_hz)
    start, waiting = 0, _Waiting()
    for block in blocks:
        waiting.add(block)
        while size is not None and waiting.held >= size:
            yield _window(waiting.take(size), start, rate_hz)
            start += size
    if waiting.held and (start == 0 or waiting.held >= SHORTEST_LAST_S * rate_hz):
        yield _window(waiting.take(waiting.held), start, rate_hz)


class _Waiting:
    """Samples that are not cut yet, in one array that grows where it lies.

    Blocks kept until the end and joined then would be in memory twice, and the
    room of small ones does not go back to the system.

    Attributes
    ----------
    held : int
        How many there are.
    """

    def __init__(self) -> None:
        self.held = 0
        self._samples = np.empty(0, np.float32)

    def add(self, block: FloatArray) -> None:
        """Put a block behind the others."""
        end = self.held + len(block)
        if end > len(self._samples):
            self._samples.resize(max(end, len(self._samples) * 5 // 4), refcheck=False)
        self._samples[self.held : end] = block
        self.held = end

    def take(self, count: int) -> FloatArray:
        """Give the first so many away."""
        taken, self._samples = self._samples, self._samples[count : self.held].copy()
        self.held = len(self._samples)
        taken.resize(count, refcheck=False)
        return taken


def _window(samples: FloatArray, start: int, rate_hz: int) -> Window:
    return Window(samples, start / rate_hz, (start + len(samples)) / rate_hz)
