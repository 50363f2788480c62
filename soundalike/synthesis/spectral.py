"""Filters that move: sound as short spectra, shaped frame by frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft

from soundalike.synthesis.effects import Signal
from soundalike.synthesis.take import Take

Spectra = npt.NDArray[np.complex64]
Gains = npt.NDArray[np.float32]

FRAMES_PER_S = 100


def _hop(take: Take) -> int:
    return round(take.sample_rate / FRAMES_PER_S)


def _transform(take: Take) -> int:
    # As long again as a window: what a filter smears stays within its frame.
    return fft.next_fast_len(3 * _hop(take), real=True)


def _window(take: Take) -> npt.NDArray[np.float32]:
    """Give a window whose squares, half a window apart, add up to one."""
    positions = (np.arange(2 * _hop(take)) + 0.5) / (2 * _hop(take))
    return np.sin(np.pi * positions).astype(np.float32)


def frame_count(take: Take) -> int:
    """Count the frames, 100 a second, that cover a take, one of them beyond its end."""
    return -(-take.samples // _hop(take)) + 1


def frame_times_s(take: Take) -> Signal:
    """Give the moment of each frame's middle in seconds, shape (frames,)."""
    return np.arange(frame_count(take)) / FRAMES_PER_S


def frequencies_hz(take: Take) -> npt.NDArray[np.float32]:
    """Give the frequency of each bin of a frame, shape (bins,)."""
    bins = np.arange(_transform(take) // 2 + 1)
    return (bins * take.sample_rate / _transform(take)).astype(np.float32)


def analyse(sound: Signal, take: Take) -> Spectra:
    """Cut a sound into frames and transform each.

    Parameters
    ----------
    sound : ndarray of float64, shape (samples,)
        As long as the take.
    take : Take
        Its length and rate.

    Returns
    -------
    ndarray of complex64, shape (frames, bins)
    """
    hop = _hop(take)
    padded = np.zeros((frame_count(take) + 1) * hop, dtype=np.float32)
    padded[hop : hop + len(sound)] = sound
    frames = sliding_window_view(padded, 2 * hop)[::hop] * _window(take)
    spectra: Spectra = fft.rfft(frames, _transform(take))
    return spectra


def white_spectra(take: Take) -> Spectra:
    """Give the frames of white noise of unit deviation, shape (frames, bins)."""
    shape = (frame_count(take), len(frequencies_hz(take)))
    scale = np.float32(np.sqrt(_transform(take) / 2))
    parts = take.rng.standard_normal((*shape, 2), dtype=np.float32)
    spectra: Spectra = scale * parts.view(np.complex64)[..., 0]
    return spectra


def synthesise(spectra: Spectra, take: Take) -> Signal:
    """Turn frames back into a sound, half of each over the one before.

    Parameters
    ----------
    spectra : ndarray of complex64, shape (frames, bins)
        What `analyse` or `white_spectra` gave, shaped at will.
    take : Take
        Its length and rate.

    Returns
    -------
    ndarray of float64, shape (samples,)
    """
    hop = _hop(take)
    frames = fft.irfft(spectra, _transform(take))[:, : 2 * hop] * _window(take)
    halves = frames.reshape(-1, 2, hop)
    joined = halves[1:, 0] + halves[:-1, 1]
    return joined.reshape(-1)[: take.samples].astype(np.float64)


def peaks(centres_hz: Signal, widths_hz: Signal, gains: Signal, take: Take) -> Gains:
    """Give gains with peaks that move.

    Parameters
    ----------
    centres_hz, widths_hz, gains : ndarray, shape (frames, peaks) or broadcast to it
        Where each peak stands, how wide it is at half its height, and how high.
    take : Take
        Its length and rate.

    Returns
    -------
    ndarray of float32, shape (frames, bins)
    """
    bins_hz = frequencies_hz(take)
    total = np.zeros((frame_count(take), len(bins_hz)), dtype=np.float32)
    shape = (frame_count(take), np.shape(centres_hz)[-1])
    columns = [np.broadcast_to(x, shape).astype(np.float32) for x in (centres_hz, widths_hz, gains)]
    for centre, width, gain in zip(*(column.T for column in columns), strict=True):
        distance = (bins_hz - centre[:, None]) * (2 / width[:, None])
        total += gain[:, None] / (1 + distance * distance)
    return total
