"""What is done to a sound once it is made: filters, rooms, levels."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import signal as dsp

from soundalike.types import FloatArray

Signal = npt.NDArray[np.float64]

PEAK = 0.9
FADE_S = 0.005
# Filters that are asked for more than the rate can carry stop just short of its half.
HIGHEST_SHARE = 0.45


def lowpass(signal: Signal, cutoff_hz: float, sample_rate: int, order: int = 2) -> Signal:
    """Keep what lies below a frequency.

    Parameters
    ----------
    signal : ndarray of float64, shape (samples,)
    cutoff_hz : float
        Where 3 dB are lost.
    sample_rate : int
        In Hz.
    order : int
        Of the Butterworth filter, 6 dB an octave each.

    Returns
    -------
    ndarray of float64, shape (samples,)
    """
    return _butterworth(signal, cutoff_hz, sample_rate, order, "lowpass")


def highpass(signal: Signal, cutoff_hz: float, sample_rate: int, order: int = 2) -> Signal:
    """Keep what lies above a frequency; the parameters are those of `lowpass`."""
    return _butterworth(signal, cutoff_hz, sample_rate, order, "highpass")


def _butterworth(
    signal: Signal,
    cutoff_hz: float,
    sample_rate: int,
    order: int,
    kind: Literal["lowpass", "highpass"],
) -> Signal:
    cutoff_hz = min(cutoff_hz, HIGHEST_SHARE * sample_rate)
    sections = dsp.butter(order, cutoff_hz, kind, fs=sample_rate, output="sos")
    filtered: Signal = dsp.sosfilt(sections, signal)
    return filtered


def resonate(signal: Signal, centre_hz: float, bandwidth_hz: float, sample_rate: int) -> Signal:
    """Pass a signal through one resonance, of gain 1 at its centre.

    Parameters
    ----------
    signal : ndarray of float64, shape (samples,)
    centre_hz, bandwidth_hz : float
        The peak, and the width at which 3 dB are lost.
    sample_rate : int
        In Hz.

    Returns
    -------
    ndarray of float64, shape (samples,)
    """
    centre_hz = min(centre_hz, HIGHEST_SHARE * sample_rate)
    # As wide as half the rate, a resonance would no longer die away.
    bandwidth_hz = min(bandwidth_hz, HIGHEST_SHARE * sample_rate)
    numerator, denominator = dsp.iirpeak(centre_hz, centre_hz / bandwidth_hz, fs=sample_rate)
    filtered: Signal = dsp.lfilter(numerator, denominator, signal)
    return filtered


def reverberate(dry: Signal, reverb_s: float, sample_rate: int, rng: np.random.Generator) -> Signal:
    """Put a sound into a room, whose echoes are noise that dies away.

    Parameters
    ----------
    dry : ndarray of float64, shape (samples,)
    reverb_s : float
        Seconds in which the echoes fall by 60 dB. Longer rooms are also louder.
    sample_rate : int
        In Hz.
    rng : numpy.random.Generator
        Makes the echoes.

    Returns
    -------
    ndarray of float64, shape (samples,)
    """
    room = (0.1 + 0.3 * reverb_s) * echoes(reverb_s, 5_000, sample_rate, rng)
    wet: Signal = dsp.oaconvolve(dry, room)[: len(dry)]
    return dry + wet


def echoes(reverb_s: float, dull_hz: float, sample_rate: int, rng: np.random.Generator) -> Signal:
    """Give what a room answers to a click.

    Parameters
    ----------
    reverb_s : float
        Seconds in which the echoes fall by 60 dB, and in which they end.
    dull_hz : float
        Where the walls have swallowed 3 dB.
    sample_rate : int
        In Hz.
    rng : numpy.random.Generator
        Makes the echoes.

    Returns
    -------
    ndarray of float64, shape (reverb_s * sample_rate,)
        Of unit energy: noise is as loud in the room as it was before.
    """
    length = max(1, round(reverb_s * sample_rate))
    fall = np.exp(np.log(1e-3) / length * np.arange(length))
    answer = lowpass(rng.standard_normal(length) * fall, dull_hz, sample_rate, order=1)
    unit_energy: Signal = answer / np.linalg.norm(answer)
    return unit_energy


def unit(signal: Signal) -> Signal:
    """Bring a signal to a root mean square of 1; silence stays silence."""
    level = np.linalg.norm(signal) / np.sqrt(len(signal))
    levelled: Signal = signal / max(float(level), 1e-9)
    return levelled


def add_hiss(signal: Signal, level_db: float, sample_rate: int, rng: np.random.Generator) -> Signal:
    """Add the noise of a microphone, which falls by 6 dB an octave above 500 Hz.

    Parameters
    ----------
    signal : ndarray of float64, shape (samples,)
    level_db : float
        Root mean square of the noise relative to the signal's peak, in dB.
    sample_rate : int
        In Hz.
    rng : numpy.random.Generator
        Makes the noise.

    Returns
    -------
    ndarray of float64, shape (samples,)
    """
    noise = lowpass(rng.standard_normal(len(signal)), 500, sample_rate, order=1)
    loudness = np.abs(signal).max() * 10 ** (level_db / 20)
    noisy: Signal = signal + loudness / noise.std() * noise
    return noisy


def finish(signal: Signal, sample_rate: int, peak: float = PEAK) -> FloatArray:
    """Bring a sound to the form in which it is handed out.

    Parameters
    ----------
    signal : ndarray of float64, shape (samples,)
        At any level.
    sample_rate : int
        In Hz.
    peak : float
        Of the result.

    Returns
    -------
    ndarray of float32, shape (samples,)
        Mean 0, faded in and out within 5 ms.
    """
    ramp = np.sin(np.linspace(0, np.pi / 2, round(FADE_S * sample_rate))) ** 2
    fades = np.ones(len(signal))
    fades[: len(ramp)] = ramp
    fades[-len(ramp) :] = ramp[::-1]
    # The mean is weighted by the fades, so that nothing is left of it behind them.
    faded = fades * (signal - np.average(signal, weights=fades))
    scaled: FloatArray = (peak / np.abs(faded).max() * faded).astype(np.float32)
    return scaled
