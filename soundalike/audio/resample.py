"""From one sample rate to another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
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


def stream(blocks: Iterable[FloatArray], rate_hz: int, target_hz: int) -> Iterator[FloatArray]:
    """Resample a sound block by block, to the very samples that `resample` makes of it whole.

    Parameters
    ----------
    blocks : iterable of ndarray of float32, each of shape (samples,)
        Mono amplitudes, one block after the other.
    rate_hz, target_hz : int
        Rates before and after.

    Yields
    ------
    ndarray of float32, shape (samples,)
        Of any length, none among them.
    """
    if rate_hz == target_hz:
        yield from blocks
        return
    resampler = soxr.ResampleStream(rate_hz, target_hz, 1, dtype="float32", quality=QUALITY)
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.empty(0, np.float32), last=True)
