"""Our own embedder: trained on synthesised sound alone, and with nothing to fetch.

It runs in torch where that is installed, and in numpy alone where it is not.
How it was made stands in `soundalike.training`, what it is worth in docs/mini.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from soundalike import pooling
from soundalike.embedders import weights
from soundalike.embedders.base import Card
from soundalike.embedders.checkpointed import Checkpointed
from soundalike.embedders.mini_front_end import (
    FLOOR,
    LEAST_FRAMES,
    MEL,
    SMALLEST_POWER,
    WINDOW_SAMPLES,
    log_mel,
    relative,
)
from soundalike.embedders.mini_network import (
    DIM,
    FRAME_DIM,
    HOP_FRAMES,
    MEAN,
    PROJECTION,
    NumpyNetwork,
    make_torch_network,
    shapes,
    statistics,
)
from soundalike.embedders.weights import Part, Source
from soundalike.types import FloatArray, Frames, Window

if TYPE_CHECKING:
    import torch

WINDOW_S = 10.0
OWN = "own"


class Mini(Checkpointed):
    """A frame is what is heard around each 0.128 s."""

    card = Card(
        key="mini",
        summary="Sounds, music and voices, by a small network that learned from synthesised sound; "
        "its weights are here.",
        sample_rate=MEL.rate_hz,
        window_s=WINDOW_S,
        min_seconds=0.05,
        frame_dim=FRAME_DIM,
        frame_rate_hz=MEL.rate_hz / (MEL.hop_samples * HOP_FRAMES),
        pooling=OWN,
        dim=DIM,
        front_end={
            "version": 1,
            "mel": f"slaney-{MEL.bands}-{MEL.low_hz:g}-{MEL.high_hz:g}-ln",
            "fft_size": MEL.fft_size,
            "window_samples": WINDOW_SAMPLES,
            "hop_samples": MEL.hop_samples,
            "smallest_power": SMALLEST_POWER,
            "floor_nepers": FLOOR,
            "least_frames": LEAST_FRAMES,
            "vector": "mean-maximum-deviation-projected",
        },
        weights=Source(
            repository="soundalike",
            parts=(Part("mini.safetensors"),),
            licence="MIT",
            commercial=True,
            packaged=True,
        ),
        proof="torch, numpy and formulas in double precision against one another",
    )

    def load(self) -> None:
        """Bring the network into memory.

        Raises
        ------
        WeightsMissing
        Quarantined
            The file is broken, or of another network.
        """
        state = self._state()
        self._mean, self._projection = state[MEAN], state[PROJECTION]
        if find_spec("torch") is None:
            self._in_numpy: NumpyNetwork | None = NumpyNetwork(state)
        else:
            import torch

            self._in_numpy = None
            example = torch.zeros(1, LEAST_FRAMES, MEL.bands)
            self._placed = self.place(make_torch_network(state), example, varying=[1])
        self.probe()

    def _state(self) -> dict[str, FloatArray]:
        """Read the weights without torch, and keep what names them."""
        self.__dict__.pop("_released", None)  # of what was there before, where anybody asked
        state = weights.read_state_arrays(self.folder, self.source)
        _ = self._released
        wanted = shapes()
        self.refuse_names(
            missing=[name for name in wanted if name not in state],
            extra=[name for name in state if name not in wanted],
            misshapen=[
                f"{name} is {state[name].shape} and not {shape}"
                for name, shape in wanted.items()
                if name in state and state[name].shape != shape
            ],
        )
        return state

    def prepare(self, window: Window) -> FloatArray:
        """Compute the log-mel spectrogram relative to its loudest, shape (max(T, 96), 64)."""
        return relative(log_mel(window.samples))

    def run(self, batch: Sequence[FloatArray]) -> list[FloatArray]:
        """Compute the frames of prepared windows, each of shape (T, 512).

        Raises
        ------
        OutOfMemory
            The device has no room for them.
        """
        if self._in_numpy is None:
            return super().run(batch)
        return [self._in_numpy(spectrogram) for spectrogram in batch]

    def hear_all(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute the frames of N spectrograms, shape (N, T, 512)."""
        return self._placed(samples)

    def pool(self, frames: Frames, how: str) -> FloatArray:
        """Make one vector; `own` projects mean, maximum and deviation to 256 numbers."""
        if how != OWN:
            return pooling.pool(frames, how)
        seen: FloatArray = np.subtract(statistics(frames.values), self._mean)
        return seen @ self._projection
