"""By what `descriptors` are standardised: their means and deviations over synthesised clips."""

from __future__ import annotations

import numpy as np

from soundalike.embedders.descriptor_blocks import DIM, RATE_HZ, describe
from soundalike.embedders.descriptors import DEVIATION, MEAN
from soundalike.synthesis import draw, render
from soundalike.training.pairs import Report
from soundalike.types import FloatArray

CLIPS = 1_800
SMALLEST_DEVIATION = 1e-3


def standards(seed: int, seconds: float, report: Report) -> dict[str, FloatArray]:
    """Describe synthesised clips, and count.

    Parameters
    ----------
    seed : int
        Which clips; another seed gives others.
    seconds : float
        Of each clip.
    report : callable
        Is told how many clips are done, and of how many.

    Returns
    -------
    dict of str to ndarray of float32
        The mean and the deviation, each of shape (421,).
    """
    rng = np.random.default_rng(seed)
    found = np.empty((CLIPS, DIM))
    for row in found:
        row[:] = describe(render(draw(rng), seconds, RATE_HZ))
        report(1, CLIPS)
    deviation = np.maximum(found.std(axis=0), SMALLEST_DEVIATION)
    return {
        MEAN: found.mean(axis=0).astype(np.float32),
        DEVIATION: deviation.astype(np.float32),
    }
