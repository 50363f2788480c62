"""Which notes sound."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from soundalike.types import FloatArray

Spectrum = npt.NDArray[np.complex64]

PITCH_CLASSES = 12
LOWEST_NOTE_HZ = 440.0 * 2.0 ** (3 / 12 - 4)  # C1, where A4 is 440 Hz
OCTAVES = 7
BINS_PER_SEMITONE = 3  # so that an instrument a little out of tune still falls to its note
QUIETEST = 1e-3  # of the loudest moment: what lies below is not scaled up to full strength
LOBE_BINS = 2.0  # from the middle of a Hann window's spectrum to where its main lobe ends


def constant_q(
    samples: FloatArray,
    rate_hz: int,
    centres_hz: npt.NDArray[np.float64],
    q: float,
    hop_samples: int,
) -> FloatArray:
    """Compute magnitudes at frequencies, each of them heard through q of its own periods.

    The constant-Q transform (Brown 1991) with Hann windows. The spectrum of
    each window, as far as its main lobe goes, is laid over one Fourier
    transform of the whole sound, and the inverse transform gives the band.

    Parameters
    ----------
    samples : ndarray of float32, shape (samples,)
        Mono amplitudes; silence is taken to stand before and after.
    rate_hz : int
        Their rate.
    centres_hz : ndarray of float64, shape (bins,)
        Frequencies below half the rate.
    q : float
        Length of each window in periods of its frequency.
    hop_samples : int
        Samples from frame to frame.

    Returns
    -------
    ndarray of float32, shape (1 + samples // hop_samples, bins)
        Half the amplitude of a sine of the very frequency.
    """
    frames = 1 + len(samples) // hop_samples
    silence = math.ceil(q * rate_hz / centres_hz.min())
    # frames in the whole transform: a multiple of 64, for which transforms are quick
    period = 64 * math.ceil((frames + silence / hop_samples) / 64)
    spectrum: Spectrum = np.fft.rfft(samples, period * hop_samples).astype(np.complex64, copy=False)
    step_hz = rate_hz / (period * hop_samples)
    magnitudes = np.empty((len(centres_hz), frames), np.float32)
    for row, centre in zip(magnitudes, centres_hz, strict=True):
        reach = LOBE_BINS * centre / q
        first = math.ceil((centre - reach) / step_hz)
        band = spectrum[first : math.floor((centre + reach) / step_hz) + 1]
        bins = (np.arange(first, first + len(band)) * step_hz - centre) * (q / centre)
        folded = _fold(band * _hann_lobe(bins), first, period)
        row[:] = np.abs(np.fft.ifft(folded)[:frames]) / hop_samples
    return magnitudes.T


def _fold(band: Spectrum, first: int, period: int) -> Spectrum:
    """Add up what lies a period apart, as taking one sample a hop would."""
    offset = first % period
    laid = np.zeros(-(-(offset + len(band)) // period) * period, np.complex64)
    laid[offset : offset + len(band)] = band
    folded: Spectrum = laid.reshape(-1, period).sum(axis=0)
    return folded


def _hann_lobe(bins: npt.NDArray[np.float64]) -> FloatArray:
    """Give the spectrum of a Hann window of area 1, so many bins from its middle."""
    beside = 1.0 - bins**2
    at_one = np.abs(beside) < 1e-9  # where the quotient has the limit 1/2
    lobe = np.where(at_one, 0.5, np.sinc(bins) / np.where(at_one, 1.0, beside))
    return lobe.astype(np.float32)


def chroma(samples: FloatArray, rate_hz: int, hop_samples: int) -> FloatArray:
    """Compute the strength of the twelve pitch classes over time.

    Magnitudes of a constant-Q transform from C1 to B7, three bins to a
    semitone, added up over the octaves with low notes counting more, by the
    root of their period; A4 is 440 Hz.

    Parameters
    ----------
    samples : ndarray of float32, shape (samples,)
        Mono amplitudes.
    rate_hz : int
        Their rate; notes above half of it are left out.
    hop_samples : int
        Samples from frame to frame.

    Returns
    -------
    ndarray of float32, shape (1 + samples // hop_samples, 12)
        C first, relative to the strongest class of the frame; near 0 in frames that lie 60 dB
        below the loudest, and all zeros where no note sounds at all.
    """
    per_octave = PITCH_CLASSES * BINS_PER_SEMITONE
    q = 1.0 / (2.0 ** (1.0 / per_octave) - 1.0)
    bins = np.arange(OCTAVES * per_octave)
    centres = LOWEST_NOTE_HZ * 2.0 ** ((bins - BINS_PER_SEMITONE // 2) / per_octave)
    heard = centres < rate_hz / 2
    magnitudes = constant_q(samples, rate_hz, centres[heard], q, hop_samples)
    classes = bins[heard] // BINS_PER_SEMITONE % PITCH_CLASSES
    weights = np.eye(PITCH_CLASSES)[classes] / np.sqrt(centres[heard])[:, None]
    strength = magnitudes @ weights.astype(np.float32)
    most = strength.max(axis=1, keepdims=True)
    least = max(QUIETEST * float(most.max()), float(np.finfo(np.float32).tiny))
    relative: FloatArray = strength / np.maximum(most, np.float32(least))
    return relative
