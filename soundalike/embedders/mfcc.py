"""Mel-frequency cepstral coefficients: the embedder that needs no weights.

Frames are the 104 coefficients that the SONIC project computes. Its clip
vector is their mean over time, which is `pooling=mean` here. The default is
another: mean and standard deviation without the first coefficient, which is
loudness; it finds the right neighbour far more often.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from soundalike import pooling
from soundalike.audio import spectra
from soundalike.embedders.base import Card, Embedder
from soundalike.types import FloatArray, Frames, Window

SAMPLE_RATE_HZ = 16_000
FFT_SIZE = 2048
HOP_SAMPLES = 512
MEL_BANDS = 128
COEFFICIENTS = 104
RANGE_DB = 80.0


@functools.cache
def filters() -> FloatArray:
    """Make its mel filters, shape (128, 1025)."""
    return spectra.mel_filters(SAMPLE_RATE_HZ, FFT_SIZE, MEL_BANDS, 0.0, SAMPLE_RATE_HZ / 2)


@functools.cache
def _cosines() -> FloatArray:
    """Make the orthonormal DCT-II as a matrix, shape (128, 104)."""
    band = np.arange(MEL_BANDS)[:, None] + 0.5
    matrix = np.cos(np.pi / MEL_BANDS * band * np.arange(COEFFICIENTS)) * np.sqrt(2 / MEL_BANDS)
    matrix[:, 0] /= np.sqrt(2)
    cosines: FloatArray = matrix.astype(np.float32)
    return cosines


def coefficients(level_db: FloatArray) -> FloatArray:
    """Transform a log-mel spectrogram, shape (T, 128), to coefficients, shape (T, 104)."""
    return level_db @ _cosines()


class Mfcc(Embedder):
    """MFCCs with an HTK mel scale; the level is relative to the clip's loudest frame."""

    card = Card(
        key="mfcc",
        summary="Timbre as 104 mel-frequency cepstral coefficients; needs no weights.",
        sample_rate=SAMPLE_RATE_HZ,
        window_s=None,  # the floor hangs on the loudest moment of the whole clip
        min_seconds=FFT_SIZE / SAMPLE_RATE_HZ,
        frame_dim=COEFFICIENTS,
        frame_rate_hz=SAMPLE_RATE_HZ / HOP_SAMPLES,
        pooling="own",
        dim=2 * (COEFFICIENTS - 1),
        front_end={
            "version": 1,
            "fft_size": FFT_SIZE,
            "hop_samples": HOP_SAMPLES,
            "mel": f"htk-{MEL_BANDS}-unnormalised",
            "range_db": RANGE_DB,
            "dct": "2-ortho",
        },
        weights=None,
        proof="librosa's MFCC at the same settings, and a float64 formula",
    )

    def prepare(self, window: Window) -> FloatArray:
        """Compute the log-mel spectrogram, shape (T, 128), in decibels."""
        power = spectra.mel_power(window.samples, filters(), FFT_SIZE, HOP_SAMPLES)
        return spectra.decibels(power, RANGE_DB)

    def run(self, batch: Sequence[FloatArray]) -> list[FloatArray]:
        """Transform log-mel spectrograms to coefficients, each of shape (T, 104)."""
        return [coefficients(mel) for mel in batch]

    def pool(self, frames: Frames, how: str) -> FloatArray:
        """Make one vector; `own` is mean and deviation without the first coefficient."""
        if how != "own":
            return pooling.pool(frames, how)
        return pooling.pool(Frames(frames.values[:, 1:], frames.rate_hz), "meanstd")
