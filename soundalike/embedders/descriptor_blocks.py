"""What `descriptors` says of a sound: seven blocks of numbers, none of them learned.

Levels are in decibels relative to the loudest of the clip, not more than 80
below it, so that loudness hardly matters. Blocks over time need a Fourier
transform of 2,048 every 512 samples, those of quick changes one of 512 every
128, at 16 kHz.
"""

from __future__ import annotations

import functools
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from soundalike.audio import spectra
from soundalike.embedders import mfcc
from soundalike.embedders.features import MelSettings, mel_filters
from soundalike.types import FloatArray

RATE_HZ = mfcc.SAMPLE_RATE_HZ
LONG = MelSettings(RATE_HZ, mfcc.FFT_SIZE, mfcc.HOP_SAMPLES, bands=64, low_hz=40, high_hz=8_000)
SHORT = MelSettings(RATE_HZ, 512, 128, bands=16, low_hz=40, high_hz=8_000)
RANGE_DB = mfcc.RANGE_DB
NEPERS_A_DB = np.log(10) / 10

MODULATIONS_HZ = (0.3, 1, 2, 4, 8, 16, 32, 62)
LEAST_MODULATION_FRAMES = 512
SMALLEST_MODULATION = 0.01
OCTAVES_HZ = (0, 125, 250, 500, 1_000, 2_000, 4_000, 8_000)
EXTREME_SHARE = 0.02  # of an octave's bins, that count as its peaks and as its valleys
SHORTEST_LAG, LONGEST_LAG, LAG_BANDS = 3, 500, 23  # in frames of 8 ms
CHANGING = 20  # coefficients whose changes are looked at

BLOCKS = {
    "modulation": (SHORT.bands * (len(MODULATIONS_HZ) - 1), 2.0),
    "mel_mean": (LONG.bands, 2.0),
    "contrast": (2 * (len(OCTAVES_HZ) - 1), 1.0),
    "tempo": (LAG_BANDS, 1.0),
    "changes": (2 * CHANGING, 1.0),
    "mel_deviation": (LONG.bands, 0.5),
    "mfcc_deviation": (mfcc.COEFFICIENTS, 0.5),
}
"""The size of each block, and how much it counts."""
DIM = sum(size for size, _ in BLOCKS.values())

Lags = npt.NDArray[np.int64]


def describe(samples: FloatArray) -> FloatArray:
    """Compute all blocks, one after the other.

    Parameters
    ----------
    samples : ndarray of float32, shape (samples,)
        Mono amplitudes at 16 kHz, more than 1,024 of them.

    Returns
    -------
    ndarray of float32, shape (421,)
    """
    power = spectra.power_spectrogram(samples, LONG.fft_size, LONG.hop_samples)
    mel = spectra.decibels(power @ _filters(LONG), RANGE_DB)
    mel -= mel.max()
    coefficients = mfcc.coefficients(spectra.decibels(power @ mfcc.filters().T, RANGE_DB))
    quick_power = spectra.power_spectrogram(samples, SHORT.fft_size, SHORT.hop_samples)
    quick = spectra.decibels(quick_power @ _filters(SHORT), RANGE_DB)
    blocks = {
        "modulation": modulation(quick),
        "mel_mean": mel.mean(axis=0),
        "contrast": contrast(power),
        "tempo": tempo(quick),
        "changes": changes(coefficients[:, :CHANGING]),
        "mel_deviation": mel.std(axis=0),
        "mfcc_deviation": coefficients.std(axis=0),
    }
    return np.concatenate([blocks[name] for name in BLOCKS]).astype(np.float32)


@functools.cache
def scale() -> FloatArray:
    """Tell by what each number is multiplied, so that blocks count as they should."""
    parts = [np.full(size, weight / np.sqrt(size)) for size, weight in BLOCKS.values()]
    return np.concatenate(parts).astype(np.float32)


@functools.cache
def _filters(settings: MelSettings) -> FloatArray:
    return np.ascontiguousarray(mel_filters(settings).T, np.float32)


def modulation(level_db: FloatArray) -> FloatArray:
    """Tell how strongly each band goes up and down at each rate.

    Parameters
    ----------
    level_db : ndarray of float32, shape (T, 16)
        At 125 frames a second.

    Returns
    -------
    ndarray of float32, shape (112,)
        Logarithms, band after band, from slow to quick.
    """
    envelopes = NEPERS_A_DB * (level_db - level_db.mean(axis=0))
    length = max(len(envelopes), LEAST_MODULATION_FRAMES)
    strength = np.abs(np.fft.rfft(envelopes, length, axis=0)) / np.sqrt(len(envelopes))
    rates_hz = np.fft.rfftfreq(length, SHORT.hop_samples / RATE_HZ)
    edges = np.searchsorted(rates_hz, MODULATIONS_HZ)
    means = np.add.reduceat(strength, edges, axis=0)[:-1] / np.diff(edges)[:, np.newaxis]
    logarithms: FloatArray = np.log(means + SMALLEST_MODULATION).T.ravel()
    return logarithms


def contrast(power: FloatArray) -> FloatArray:
    """Tell how far peaks stand above valleys in each octave: mean, then deviation, over time.

    Parameters
    ----------
    power : ndarray of float32, shape (T, 1025)

    Returns
    -------
    ndarray of float32, shape (14,)
        In decibels.
    """
    level = spectra.decibels(power, RANGE_DB)
    edges = np.searchsorted(spectra.bins_hz(RATE_HZ, LONG.fft_size), OCTAVES_HZ)
    found = []
    for low, high in pairwise(edges.tolist()):
        octave = np.sort(level[:, low:high], axis=1)
        few = max(1, round(EXTREME_SHARE * (high - low)))
        found.append(octave[:, -few:].mean(axis=1) - octave[:, :few].mean(axis=1))
    return np.concatenate([np.mean(found, axis=1), np.std(found, axis=1)])


def tempo(level_db: FloatArray) -> FloatArray:
    """Tell how well onsets repeat themselves, by the time between them.

    Parameters
    ----------
    level_db : ndarray of float32, shape (T, 16)
        At 125 frames a second.

    Returns
    -------
    ndarray of float32, shape (23,)
        The highest autocorrelation in each band of lags from 24 ms to 4 s, relative to that at
        none; 0 where the sound is too short.
    """
    rise = np.maximum(np.diff(level_db, axis=0), 0).mean(axis=1)
    onsets = rise - rise.mean()
    size = len(onsets) + LONGEST_LAG
    spectrum = np.fft.rfft(onsets, size)
    repeated = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, size)[: LONGEST_LAG + 1]
    if not repeated[0] > 0:
        return np.zeros(LAG_BANDS, np.float32)
    highest: FloatArray = np.maximum.reduceat(repeated / repeated[0], _lag_edges()[:-1])
    return highest


@functools.cache
def _lag_edges() -> Lags:
    return np.geomspace(SHORTEST_LAG, LONGEST_LAG, LAG_BANDS + 1).round().astype(np.int64)


def changes(coefficients: FloatArray) -> FloatArray:
    """Tell how much coefficients change from frame to frame, and how unevenly.

    Parameters
    ----------
    coefficients : ndarray of float32, shape (T, 20)

    Returns
    -------
    ndarray of float32, shape (40,)
        Mean sizes of the differences, then their deviations; zeros for a single frame.
    """
    if len(coefficients) == 1:
        return np.zeros(2 * coefficients.shape[1], np.float32)
    steps = np.diff(coefficients, axis=0)
    return np.concatenate([np.abs(steps).mean(axis=0), steps.std(axis=0)])
