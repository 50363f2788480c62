"""What `mini` sees of a sound: a log-mel spectrogram relative to its loudest moment."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from soundalike.audio import spectra
from soundalike.embedders.features import MelSettings, mel_filters
from soundalike.types import FloatArray

MEL = MelSettings(
    rate_hz=16_000, fft_size=1024, hop_samples=256, bands=64, low_hz=40.0, high_hz=8_000.0
)
WINDOW_SAMPLES = 640
SMALLEST_POWER = 1e-6
TOP, FLOOR = 3.0, -16.0  # nepers of power
SCALE, SHIFT = 0.25, 1.5  # which bring them near zero mean and unit deviation
FRAMES_AT_ONCE = 128  # which stay in the processor's cache
LEAST_FRAMES = 96  # the length of what the network learned from


@functools.cache
def _filters() -> FloatArray:
    return np.ascontiguousarray(mel_filters(MEL).T, np.float32)


@functools.cache
def _transform() -> Callable[..., npt.NDArray[np.complex64]]:
    """Take scipy's Fourier transform where it is installed: numpy's takes eight times as long."""
    library: Any = np.fft
    if find_spec("scipy") is not None:
        import scipy.fft as library
    transform: Callable[..., npt.NDArray[np.complex64]] = library.rfft
    return transform


def log_mel(samples: FloatArray) -> FloatArray:
    """Compute the logarithm of the power in mel bands.

    Frames are centred on multiples of the hop, the sound is reflected at its
    ends, the window is a periodic Hann of 640.

    Parameters
    ----------
    samples : ndarray of float32, shape (samples,)
        Mono amplitudes at 16 kHz, more than 320 of them.

    Returns
    -------
    ndarray of float32, shape (1 + samples // 256, 64)
        In nepers of power, at least ln 1e-6.
    """
    padded = np.pad(samples, WINDOW_SAMPLES // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[:: MEL.hop_samples]
    window = spectra.hann(WINDOW_SAMPLES)
    power = np.empty((len(frames), MEL.bands), np.float32)
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        some = slice(start, start + FRAMES_AT_ONCE)
        spectrum = _transform()(frames[some] * window, MEL.fft_size, axis=1)
        power[some] = (spectrum.real**2 + spectrum.imag**2) @ _filters()
    levels: FloatArray = np.log(power + np.float32(SMALLEST_POWER))
    return levels


def relative(levels: FloatArray) -> FloatArray:
    """Bring log-mel levels to where the network takes them.

    Parameters
    ----------
    levels : ndarray of float32, shape (T, 64)
        As `log_mel` gives them.

    Returns
    -------
    ndarray of float32, shape (max(T, 96), 64)
        From -2.5 to 2.25, which is the loudest; what is too short ends in its own minimum.
    """
    floored = np.maximum(levels - (levels.max() - TOP), FLOOR)
    missing = max(0, LEAST_FRAMES - len(floored))
    padded = np.pad(floored, ((0, missing), (0, 0)), constant_values=floored.min())
    scaled: FloatArray = (SCALE * padded + SHIFT).astype(np.float32)
    return scaled
