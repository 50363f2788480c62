"""The one gate that every sound passes while it is decoded."""

from __future__ import annotations

import numpy as np

from soundalike.errors import BadRate, BadSamples
from soundalike.types import FloatArray

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


def check(samples: FloatArray) -> FloatArray:
    """Let samples through that every later step may rely on.

    Parameters
    ----------
    samples : ndarray of float32
        A block of a sound, of any shape.

    Returns
    -------
    ndarray of float32
        The same ones: finite, and no louder than sound can be.

    Raises
    ------
    BadSamples
    """
    if not np.isfinite(samples).all():
        bad = int(samples.size - np.isfinite(samples).sum())
        raise BadSamples(
            f"{bad} of {samples.size} samples are NaN or infinite; export the file again.",
            got=bad,
        )
    loudest = float(np.abs(samples).max(initial=0.0))
    if loudest > MOST_AMPLITUDE:
        raise BadSamples(
            f"The loudest sample is {loudest:g} times full scale, beyond any sound; "
            "export the file again.",
            limit=MOST_AMPLITUDE,
            got=loudest,
        )
    return samples


class Meter:
    """Measures how much of a sound is as good as silent, while it passes.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._size = max(1, int(QUIET_BLOCK_S * sample_rate))
        self._rest = np.empty(0, np.float32)
        self._quiet = self._counted = 0
        self._peak = 0.0

    def feed(self, samples: FloatArray) -> None:
        """Take the mono amplitudes that come next, shape (samples,)."""
        self._peak = max(self._peak, float(np.abs(samples).max(initial=0.0)))
        joined = np.concatenate([self._rest, samples])
        whole = len(joined) - len(joined) % self._size
        peaks = np.abs(joined[:whole]).reshape(-1, self._size).max(axis=1)
        self._quiet += int(np.count_nonzero(peaks < QUIET_AMPLITUDE))
        self._counted += len(peaks)
        self._rest = joined[whole:]

    @property
    def is_silent(self) -> bool:
        """Whether there was no sound at all, down to the smallest step of 16 bits."""
        return self._peak < NOTHING_AMPLITUDE

    @property
    def silent_share(self) -> float:
        """Share of blocks of 20 ms whose peak lies 60 dB or more below full scale, in [0, 1]."""
        quiet, counted = self._quiet, self._counted
        if len(self._rest):
            quiet += bool(np.abs(self._rest).max() < QUIET_AMPLITUDE)
            counted += 1
        return quiet / max(1, counted)


def is_silent(samples: FloatArray) -> bool:
    """Tell whether there is no sound at all, down to the smallest step of 16 bits."""
    return float(np.abs(samples).max(initial=0.0)) < NOTHING_AMPLITUDE
