"""Descriptors: 421 numbers from formulas alone, which say much of sounds that are no music.

How sounds go up and down, their bands, peaks and valleys, tempo and change;
see `descriptor_blocks`. Each is standardised by its mean and deviation over
synthesised clips, which are all that was ever counted.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import cast

import numpy as np

from soundalike.embedders import mfcc, weights
from soundalike.embedders.base import Card, WindowVectors
from soundalike.embedders.descriptor_blocks import (
    DIM,
    LONG,
    RANGE_DB,
    RATE_HZ,
    SHORT,
    describe,
    scale,
)
from soundalike.embedders.reading import unusable
from soundalike.embedders.weights import Part, Source
from soundalike.types import FloatArray, Window

WINDOW_S = 10.0
MOST_DEVIATIONS = 5.0
MEAN, DEVIATION = "mean", "deviation"


class Descriptors(WindowVectors):
    """A frame is the vector of ten seconds, or of what there is of them."""

    card = Card(
        key="descriptors",
        summary="How a sound moves and what it is made of, as 421 formulas; learned from nothing.",
        sample_rate=RATE_HZ,
        window_s=WINDOW_S,
        min_seconds=mfcc.FFT_SIZE / RATE_HZ,
        frame_dim=DIM,
        frame_rate_hz=1 / WINDOW_S,
        pooling="mean",
        dim=DIM,
        front_end={
            "version": 1,
            "fft_sizes": [LONG.fft_size, SHORT.fft_size],
            "hops_samples": [LONG.hop_samples, SHORT.hop_samples],
            "range_db": RANGE_DB,
            "most_deviations": MOST_DEVIATIONS,
            "merge": "weighted-by-seconds",
        },
        weights=Source(
            repository="soundalike",
            parts=(Part("descriptors.safetensors"),),
            licence="MIT",
            commercial=True,
            packaged=True,
        ),
        proof="formulas in double precision",
    )

    @functools.cached_property
    def _digest(self) -> str:
        source = self._packaged()
        return weights.digest(weights.folder(self.card.key, source), source)

    def _packaged(self) -> Source:
        return cast(Source, self.card.weights)

    def weights_digest(self) -> str:
        """Tell the SHA-256 of the means and deviations."""
        return self._digest

    def load(self) -> None:
        """Read the means and deviations.

        Raises
        ------
        WeightsMissing
        Quarantined
            The file is broken, or of something else.
        """
        self.__dict__.pop("_digest", None)  # of what was there before, where anybody asked
        source = self._packaged()
        place = weights.folder(self.card.key, source)
        state = weights.read_state_arrays(place, source)
        shapes = {name: array.shape for name, array in state.items()}
        if shapes != {MEAN: (DIM,), DEVIATION: (DIM,)}:
            raise unusable(place, f"holds no {DIM} means and deviations")
        self._mean, self._deviation = state[MEAN], state[DEVIATION]
        _ = self._digest

    def prepare(self, window: Window) -> FloatArray:
        """Compute the bare numbers, shape (421,)."""
        return describe(window.samples)

    def run(self, batch: Sequence[FloatArray]) -> list[FloatArray]:
        """Standardise and weigh them, each of shape (1, 421)."""
        return [self._standardised(numbers)[np.newaxis] for numbers in batch]

    def _standardised(self, numbers: FloatArray) -> FloatArray:
        standard = (numbers - self._mean) / self._deviation
        clipped: FloatArray = np.clip(standard, -MOST_DEVIATIONS, MOST_DEVIATIONS)
        return clipped * scale()
