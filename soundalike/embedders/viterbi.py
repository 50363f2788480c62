"""The likeliest path of a pitch through bins that were seen with mistakes.

The hidden Markov model of CREPE's authors: in each frame one bin is seen, the
true one or, with a small chance, any other; the true one moves by fewer than
12 bins from frame to frame, the likelier the less.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

BINS = 360
REACH = 11  # bins a frame
SELF_EMISSION = 0.1

Bins = npt.NDArray[np.intp]
Wide = npt.NDArray[np.float64]


def decode(seen: Bins) -> Bins:
    """Find the likeliest path.

    Of equally likely predecessors the highest bin is taken, and of equally
    likely ends the lowest.

    Parameters
    ----------
    seen : ndarray of int, shape (T,)
        The bin seen in each frame, in 0 to 359; T at least 1.

    Returns
    -------
    ndarray of int, shape (T,)
        The bin that was meant in each frame.
    """
    likelihood, steps = _forward(seen)
    path = np.empty(len(seen), np.intp)
    path[-1] = likelihood.argmax()
    for frame in range(len(seen) - 1, 0, -1):
        path[frame - 1] = path[frame] + steps[frame, path[frame]]
    return path


def _forward(seen: Bins) -> tuple[Wide, npt.NDArray[np.int8]]:
    """Give the log likelihood of each end, and how each frame's bins are best reached.

    Column d of the transitions stands for the predecessor REACH - d bins away: reversed, so that
    the first maximum is the highest bin.
    """
    transitions = _log_transitions()
    other, itself = np.log([(1 - SELF_EMISSION) / BINS, SELF_EMISSION + (1 - SELF_EMISSION) / BINS])
    steps = np.zeros((len(seen), BINS), np.int8)
    edged = np.full(BINS + 2 * REACH, -np.inf)
    around = np.lib.stride_tricks.sliding_window_view(edged, 2 * REACH + 1)[:, ::-1]
    likelihood, columns = edged[REACH:-REACH], np.arange(BINS)
    likelihood[:] = -np.log(BINS)
    for frame, bin_seen in enumerate(seen):
        if frame:
            reached = around + transitions
            best = reached.argmax(axis=1)
            steps[frame] = REACH - best
            likelihood[:] = reached[columns, best]
        emitted = np.full(BINS, other)
        emitted[bin_seen] = itself
        likelihood += emitted
    return likelihood, steps


@functools.cache
def _log_transitions() -> Wide:
    """Make the log probability of coming to a bin from each bin within reach, shape (360, 23)."""
    bins = np.arange(BINS)
    weights = np.maximum(0.0, REACH + 1.0 - np.abs(bins[:, None] - bins))
    chances = np.zeros((BINS + 2 * REACH, BINS))  # nothing comes from beyond the ends
    chances[REACH:-REACH] = weights / weights.sum(axis=1, keepdims=True)
    origins = REACH + bins[:, None] + np.arange(REACH, -REACH - 1, -1)
    with np.errstate(divide="ignore"):
        logs: Wide = np.log(chances[origins, bins[:, None]])
    return logs
