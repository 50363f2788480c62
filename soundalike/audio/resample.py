"""From one sample rate to another."""

from __future__ import annotations

import soxr

from soundalike.types import FloatArray

QUALITY = "HQ"
VERSION = f"soxr-{QUALITY}-1"


def resample(samples: FloatArray, rate_hz: int, target_hz: int) -> FloatArray:
    """Resample with soxr's high quality.

    Parameters
    ----------
    samples : ndarray of float32, shape (samples,)
        Mono amplitudes.
    rate_hz, target_hz : int
        Rates before and after.

    Returns
    -------
    ndarray of float32, shape (round(samples * target_hz / rate_hz),)
        The same array where the rates are equal.
    """
    if rate_hz == target_hz:
        return samples
    resampled: FloatArray = soxr.resample(samples, rate_hz, target_hz, quality=QUALITY)
    return resampled
