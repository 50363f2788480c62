"""From a clip to the consecutive windows that go through a model."""

from __future__ import annotations

from soundalike.types import FloatArray, Window

SHORTEST_LAST_S = 1.0
VERSION = "consecutive-1"


def cut(samples: FloatArray, rate_hz: int, window_s: float | None) -> list[Window]:
    """Cut a clip into consecutive windows without overlap.

    A last window shorter than one second is dropped where another exists: it
    would weigh as much as a whole one where models stretch it.

    Parameters
    ----------
    samples : ndarray of float32, shape (samples,)
        Mono amplitudes.
    rate_hz : int
        Their rate.
    window_s : float or None
        Length of a window in seconds; None takes the clip in one piece.

    Returns
    -------
    list of Window
        At least one, in order.
    """
    size = len(samples) if window_s is None else round(window_s * rate_hz)
    pieces = [
        Window(
            samples[start : start + size],
            start / rate_hz,
            min(start + size, len(samples)) / rate_hz,
        )
        for start in range(0, len(samples), size)
    ]
    if len(pieces) > 1 and len(pieces[-1].samples) < SHORTEST_LAST_S * rate_hz:
        pieces.pop()
    return pieces
