"""Spectra of mono sound over time, in numpy."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

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
    return triangles(mel_edges(bands, low_hz, high_hz), rate_hz, fft_size).astype(np.float32)


def mel_edges(bands: int, low_hz: float, high_hz: float) -> npt.NDArray[np.float64]:
    """Divide frequencies evenly on the HTK mel scale.

    Parameters
    ----------
    bands : int
        How many filters lie between.
    low_hz, high_hz : float
        The first edge and the last.

    Returns
    -------
    ndarray of float64, shape (bands + 2,)
        In Hz; filter b rises from edge b, has its centre at b + 1 and ends at b + 2.
    """
    edges_mel = np.linspace(hz_to_mel(low_hz), hz_to_mel(high_hz), bands + 2)
    edges_hz: npt.NDArray[np.float64] = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    return edges_hz


def triangles(
    edges_hz: npt.NDArray[np.float64], rate_hz: int, fft_size: int
) -> npt.NDArray[np.float64]:
    """Make triangular filters, each with a peak of 1, from edge to second next edge.

    Parameters
    ----------
    edges_hz : ndarray of float64, shape (bands + 2,)
        Rising frequencies.
    rate_hz : int
        Sample rate.
    fft_size : int
        Length of the Fourier transform in samples.

    Returns
    -------
    ndarray of float64, shape (bands, fft_size // 2 + 1)
        One filter a row.
    """
    return triangles_over(bins_hz(rate_hz, fft_size), edges_hz)


def bins_hz(rate_hz: int, fft_size: int) -> npt.NDArray[np.float64]:
    """Tell the frequencies of a Fourier transform's bins, shape (fft_size // 2 + 1,)."""
    return np.fft.rfftfreq(fft_size, 1.0 / rate_hz).astype(np.float64)


def triangles_over(
    points: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Make triangles that are straight on any one scale, each with a peak of 1.

    Parameters
    ----------
    points : ndarray of float64, shape (points,)
        Where their heights are wanted.
    edges : ndarray of float64, shape (bands + 2,)
        Rising; triangle b rises from edge b, has its peak at b + 1 and ends at b + 2.

    Returns
    -------
    ndarray of float64, shape (bands, points)
    """
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (points - left) / (centre - left)
    falling = (right - points) / (right - centre)
    return np.clip(np.minimum(rising, falling), 0.0, None)


def hann(size: int) -> FloatArray:
    """Make a periodic Hann window, shape (size,)."""
    window: FloatArray = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)
    return window


def _power_blocks(samples: FloatArray, fft_size: int, hop_samples: int) -> Iterator[FloatArray]:
    """Yield the power spectrogram in blocks of frames, so that nobody need hold it whole."""
    padded = np.pad(samples, fft_size // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, fft_size)[::hop_samples]
    window = hann(fft_size)
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        spectrum = np.fft.rfft(frames[start : start + FRAMES_AT_ONCE] * window, axis=1)
        power: FloatArray = (spectrum.real**2 + spectrum.imag**2).astype(np.float32, copy=False)
        yield power


def power_spectrogram(samples: FloatArray, fft_size: int, hop_samples: int) -> FloatArray:
    """Compute the power at each frequency over time.

    Frames are centred on multiples of the hop, the sound is reflected at its
    ends, the window is a periodic Hann.

    Parameters
    ----------
    samples : ndarray of float32, shape (samples,)
        Mono amplitudes, more than half a transform of them.
    fft_size : int
        Length of the window and of the Fourier transform in samples.
    hop_samples : int
        Samples from frame to frame.

    Returns
    -------
    ndarray of float32, shape (1 + samples // hop_samples, fft_size // 2 + 1)
        Squared magnitudes; column b is at b * rate / fft_size Hz.
    """
    return np.concatenate(list(_power_blocks(samples, fft_size, hop_samples)))


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
    blocks = _power_blocks(samples, fft_size, hop_samples)
    return np.concatenate([block @ filters.T for block in blocks])


@functools.lru_cache(maxsize=8)
def _full_mel_filters(rate_hz: int, fft_size: int, bands: int) -> FloatArray:
    return mel_filters(rate_hz, fft_size, bands, 0.0, rate_hz / 2)


def mel_decibels(
    samples: FloatArray,
    rate_hz: int,
    *,
    bands: int,
    fft_size: int,
    hop_samples: int,
    range_db: float = math.inf,
) -> FloatArray:
    """Compute the mel spectrogram in decibels: what pictures show and vision models see.

    Parameters
    ----------
    samples : ndarray of float32, shape (samples,)
        Mono amplitudes, more than half a transform of them.
    rate_hz : int
        Their rate.
    bands : int
        How many bands between 0 Hz and half the rate, on the HTK mel scale.
    fft_size, hop_samples : int
        See `mel_power`.
    range_db : float
        See `decibels`; by default there is no floor but the smallest power.

    Returns
    -------
    ndarray of float32, shape (1 + samples // hop_samples, bands)
    """
    filters = _full_mel_filters(rate_hz, fft_size, bands)
    return decibels(mel_power(samples, filters, fft_size, hop_samples), range_db)


def decibels(power: FloatArray, range_db: float) -> FloatArray:
    """Convert power to decibels, with a floor below the loudest value of all.

    Parameters
    ----------
    power : ndarray of float32
        Of any shape; values under 1e-10 count as 1e-10.
    range_db : float
        How far below the maximum the floor lies; infinite for no floor but that one.

    Returns
    -------
    ndarray of float32
        10 log10 of the power, of the same shape.
    """
    level = 10.0 * np.log10(np.maximum(power, SMALLEST_POWER))
    floored: FloatArray = np.maximum(level, level.max() - range_db).astype(np.float32)
    return floored
