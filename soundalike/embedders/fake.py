"""A fake whose output can be worked out by hand, for tests of everything around it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soundalike.embedders.base import Card, Embedder
from soundalike.types import FloatArray, Window

RATE_HZ = 8_000
SLICES = 8


class Fake(Embedder):
    """Cuts a second into eight slices; the frame of that second is their mean amplitudes."""

    card = Card(
        key="fake",
        summary="Mean absolute amplitude in eight slices of each second; for tests.",
        sample_rate=RATE_HZ,
        window_s=1.0,
        min_seconds=SLICES / RATE_HZ,
        frame_dim=SLICES,
        frame_rate_hz=1.0,
        pooling="mean",
        dim=SLICES,
        front_end={"version": 1},
        weights=None,
        proof="its own definition",
        takes=("audio", "text"),
        options={"sign": ("plus", "minus")},
        hidden=True,
    )

    def prepare(self, window: Window) -> FloatArray:
        """Take amplitudes without their sign."""
        return np.abs(window.samples)

    def run(self, batch: Sequence[FloatArray]) -> list[FloatArray]:
        """Average each slice; shape (1, 8) for each window."""
        sign = np.float32(-1.0 if self.options.get("sign") == "minus" else 1.0)
        return [
            sign * np.array([[part.mean() for part in np.array_split(one, SLICES)]], np.float32)
            for one in batch
        ]

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Count the characters of each text by their code modulo eight."""
        counts = [np.bincount([ord(c) % SLICES for c in text], minlength=SLICES) for text in texts]
        return np.array(counts, np.float32)
