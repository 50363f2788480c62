"""Where sound begins anew, and how regularly."""

from __future__ import annotations

import numpy as np

from soundalike.audio.spectra import FRAMES_AT_ONCE, hann
from soundalike.types import FloatArray


def onset_strength(level_db: FloatArray, fft_size: int, hop_samples: int) -> FloatArray:
    """Tell how much louder each frame is than the one before, over all bands.

    Parameters
    ----------
    level_db : ndarray of float32, shape (frames, bands)
        A mel spectrogram in decibels.
    fft_size, hop_samples : int
        Those it was made with: a sound shows in a frame half a transform before it begins.

    Returns
    -------
    ndarray of float32, shape (frames,)
        Mean rise in decibels, 0 where nothing rises.
    """
    rise = np.maximum(np.diff(level_db, axis=0), 0.0).mean(axis=1)
    delay = 1 + fft_size // (2 * hop_samples)
    strength: FloatArray = np.pad(rise, (delay, 0))[: len(level_db)]
    return strength


def tempogram(strength: FloatArray, window_frames: int, step_frames: int = 1) -> FloatArray:
    """Compute how well the onsets around each moment repeat after each lag.

    The autocorrelation of the onset strength under a Hann window (Grosche,
    Müller and Kurth 2010, "Cyclic tempogram"). A lag of l frames is a tempo of
    60 * frame rate / l beats a minute.

    Parameters
    ----------
    strength : ndarray of float32, shape (frames,)
        See `onset_strength`.
    window_frames : int
        Length of the window, even.
    step_frames : int
        Frames from one moment to the next.

    Returns
    -------
    ndarray of float32, shape (1 + (frames - 1) // step_frames, window_frames)
        In [0, 1], relative to lag 0; zeros where no onset is in the window.
    """
    # towards the ends the strength fades out, so that the edge itself is no onset
    padded = np.pad(strength, window_frames // 2, mode="linear_ramp")
    windows = np.lib.stride_tricks.sliding_window_view(padded, window_frames)
    moments = windows[: len(strength) : step_frames]
    lags = np.empty(moments.shape, np.float32)
    taper, size = hann(window_frames), _room_for_lags(window_frames)
    for start in range(0, len(moments), FRAMES_AT_ONCE):
        part = slice(start, start + FRAMES_AT_ONCE)
        spectrum = np.fft.rfft(moments[part] * taper, size, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        lags[part] = np.fft.irfft(power, axis=1)[:, :window_frames]
    most = np.maximum(lags[:, :1], np.finfo(np.float32).tiny)
    relative: FloatArray = np.clip(lags / most, 0.0, 1.0)
    return relative


def _room_for_lags(window_frames: int) -> int:
    """Give the power of two at which no lag of the autocorrelation wraps around."""
    return 1 << (2 * window_frames - 1).bit_length()
