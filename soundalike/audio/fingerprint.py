"""What a sound can be recognised by, however it was encoded.

The signs of how the differences between neighbouring bands change from moment
to moment, after Haitsma and Kalker, "A Highly Robust Audio Fingerprinting
System" (ISMIR 2002). A gain moves no sign, a lossy codec few of them. Here the
windows are shorter than theirs, so that a spoken digit has bits enough, and
moments of silence have none.
"""

from __future__ import annotations

import base64

import numpy as np
import numpy.typing as npt

from soundalike.audio.gate import is_silent
from soundalike.audio.resample import resample
from soundalike.audio.spectra import hann
from soundalike.types import Clip, FloatArray

VERSION = "1"  # of what is below: fingerprints of two versions cannot be compared
SECONDS = 10.0  # of the sound's beginning
RATE_HZ = 8000
WINDOW_SAMPLES = 1024
HOP_SAMPLES = 128
FFT_SIZE = 2048  # the low bands are narrower than the bins of a window
LAG_ROWS = 2
BANDS = 17
LOW_HZ, HIGH_HZ = 200.0, 3600.0
FLOOR = 1e-5  # of the loudest band: 50 dB below it, where codecs put noise of their own
QUIET = 1e-4


def fingerprint(clip: Clip) -> str | None:
    """Make the fingerprint of a sound.

    Parameters
    ----------
    clip : Clip
        Of whose beginning `SECONDS` count, its channels mixed to their mean.

    Returns
    -------
    str or None
        The version, a colon and the rows in base64: 16 bits a row, little-endian, a row each
        16 ms; zero where the sound is quiet. None of silence, and of less than a window.
    """
    samples = clip.samples[:, : round(SECONDS * clip.sample_rate)].mean(axis=0)
    heard = resample(samples, clip.sample_rate, RATE_HZ)
    if is_silent(heard) or len(heard) < WINDOW_SAMPLES:
        return None
    return f"{VERSION}:{base64.b64encode(_rows(_band_energies(heard)).tobytes()).decode()}"


def _band_energies(samples: FloatArray) -> npt.NDArray[np.float64]:
    """Sum the power between neighbouring edges; shape (moments, BANDS)."""
    padded = np.pad(samples, WINDOW_SAMPLES // 2)
    moments = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_SAMPLES]
    power = np.abs(np.fft.rfft(moments * hann(WINDOW_SAMPLES), n=FFT_SIZE)) ** 2
    edges_hz = np.geomspace(LOW_HZ, HIGH_HZ, BANDS + 1)
    bins = np.searchsorted(np.fft.rfftfreq(FFT_SIZE, 1 / RATE_HZ), edges_hz)
    energies: npt.NDArray[np.float64] = np.add.reduceat(power[:, : bins[-1]], bins[:-1], axis=1)
    return energies


def _rows(energies: npt.NDArray[np.float64]) -> npt.NDArray[np.uint16]:
    loudest = energies.max()
    slopes = np.diff(np.log(energies + FLOOR * loudest), axis=1)
    signs = slopes[LAG_ROWS:] > slopes[:-LAG_ROWS]
    rows = np.packbits(signs, axis=1, bitorder="little").view("<u2")[:, 0]
    heard = energies.sum(axis=1) > QUIET * loudest
    rows[~(heard[LAG_ROWS:] | heard[:-LAG_ROWS])] = 0
    return rows
