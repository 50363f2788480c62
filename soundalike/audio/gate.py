"""The one gate that every clip passes after it was decoded."""

from __future__ import annotations

import numpy as np

from soundalike.errors import BadRate, BadSamples, UndecodableAudio
from soundalike.types import Clip, FloatArray

MIN_RATE_HZ = 100
MAX_RATE_HZ = 768_000
MOST_AMPLITUDE = 1e6  # floats in the range of 24 bits or less pass, and no power overflows
QUIET_BLOCK_S = 0.02
QUIET_AMPLITUDE = 1e-3  # -60 dB below full scale
NOTHING_AMPLITUDE = 1e-5  # a third of the smallest step of 16 bits


def check_rate(sample_rate: int) -> None:
    """Refuse a rate that nobody records sound at.

    Raises
    ------
    BadRate
        Outside 100 Hz to 768 kHz.
    """
    if not MIN_RATE_HZ <= sample_rate <= MAX_RATE_HZ:
        raise BadRate(
            f"A sample rate of {sample_rate} Hz is outside {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz; "
            "check the file's header.",
            got=sample_rate,
            limit=[MIN_RATE_HZ, MAX_RATE_HZ],
        )


def check(clip: Clip) -> Clip:
    """Let a clip through that every later step may rely on.

    Returns
    -------
    Clip
        The same clip: float32, shape (channels, samples), finite, not empty.

    Raises
    ------
    BadRate, BadSamples, UndecodableAudio
    """
    check_rate(clip.sample_rate)
    samples = clip.samples
    if samples.ndim != 2 or samples.dtype != np.float32:
        raise BadSamples(
            "Samples must be float32 of shape (channels, samples), "
            f"not {samples.dtype} of shape {samples.shape}."
        )
    if samples.size == 0:
        raise UndecodableAudio("The file holds no samples; was the recording cut off at once?")
    if not np.isfinite(samples).all():
        bad = int(samples.size - np.isfinite(samples).sum())
        raise BadSamples(
            f"{bad} of {samples.size} samples are NaN or infinite; export the file again.",
            got=bad,
        )
    loudest = float(np.abs(samples).max())
    if loudest > MOST_AMPLITUDE:
        raise BadSamples(
            f"The loudest sample is {loudest:g} times full scale, beyond any sound; "
            "export the file again.",
            limit=MOST_AMPLITUDE,
            got=loudest,
        )
    return clip


def silent_share(samples: FloatArray, sample_rate: int) -> float:
    """Tell how much of a sound is as good as silent.

    Parameters
    ----------
    samples : ndarray of float32, shape (samples,)
        Mono amplitudes.
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        Share of blocks of 20 ms whose peak lies 60 dB or more below full scale, in [0, 1].
    """
    size = max(1, int(QUIET_BLOCK_S * sample_rate))
    starts = np.arange(0, len(samples), size)
    peaks = np.maximum.reduceat(np.abs(samples), starts)
    return float(np.mean(peaks < QUIET_AMPLITUDE))


def is_silent(samples: FloatArray) -> bool:
    """Tell whether there is no sound at all, down to the smallest step of 16 bits."""
    return float(np.abs(samples).max(initial=0.0)) < NOTHING_AMPLITUDE
