"""Spectra of mono sound, in numpy, with memory that does not grow with the sound's length."""

from __future__ import annotations

import numpy as np

from soundalike.types import FloatArray

FRAMES_AT_ONCE = 1024
SMALLEST_POWER = 1e-10


def hz_to_mel(hz: float) -> float:
    """Convert a frequency to the HTK mel scale, 2595 log10(1 + f / 700)."""
    return float(2595.0 * np.log10(1.0 + hz / 700.0))


def mel_filters(
    rate_hz: int, fft_size: int, bands: int, low_hz: float, high_hz: float
) -> FloatArray:
    """Make triangular filters on the HTK mel scale, each with a peak of 1.

    Parameters
    ----------
    rate_hz : int
        Sample rate.
    fft_size : int
        Length of the Fourier transform in samples.
    bands : int
        How many filters.
    low_hz, high_hz : float
        Lower edge of the first and upper edge of the last filter.

    Returns
    -------
    ndarray of float32, shape (bands, fft_size // 2 + 1)
        One filter a row.
    """
    edges_mel = np.linspace(hz_to_mel(low_hz), hz_to_mel(high_hz), bands + 2)
    edges_hz = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    bins_hz = np.fft.rfftfreq(fft_size, 1.0 / rate_hz)
    left, centre, right = (edges_hz[i : i + bands, None] for i in range(3))
    rising = (bins_hz - left) / (centre - left)
    falling = (right - bins_hz) / (right - centre)
    return np.clip(np.minimum(rising, falling), 0.0, None).astype(np.float32)


def mel_power(
    samples: FloatArray, filters: FloatArray, fft_size: int, hop_samples: int
) -> FloatArray:
    """Compute the power in mel bands over time.

    Frames are centred on multiples of the hop, the sound is reflected at its
    ends, the window is a periodic Hann.

    Parameters
    ----------
    samples : ndarray of float32, shape (samples,)
        Mono amplitudes, more than half a transform of them.
    filters : ndarray of float32, shape (bands, fft_size // 2 + 1)
        See `mel_filters`.
    fft_size : int
        Length of the window and of the Fourier transform in samples.
    hop_samples : int
        Samples from frame to frame.

    Returns
    -------
    ndarray of float32, shape (1 + samples // hop_samples, bands)
    """
    padded = np.pad(samples, fft_size // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, fft_size)[::hop_samples]
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(fft_size) / fft_size)).astype(np.float32)
    power = np.empty((len(frames), len(filters)), np.float32)
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        part = slice(start, start + FRAMES_AT_ONCE)
        spectrum = np.fft.rfft(frames[part] * window, axis=1)
        power[part] = (spectrum.real**2 + spectrum.imag**2) @ filters.T
    return power


def decibels(power: FloatArray, range_db: float) -> FloatArray:
    """Convert power to decibels, with a floor below the loudest value of all.

    Parameters
    ----------
    power : ndarray of float32
        Of any shape; values under 1e-10 count as 1e-10.
    range_db : float
        How far below the maximum the floor lies.

    Returns
    -------
    ndarray of float32
        10 log10 of the power, of the same shape.
    """
    level = 10.0 * np.log10(np.maximum(power, SMALLEST_POWER))
    floored: FloatArray = np.maximum(level, level.max() - range_db).astype(np.float32)
    return floored
