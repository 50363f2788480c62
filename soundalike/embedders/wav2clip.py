"""Wav2CLIP: sounds in the space of CLIP's pictures, by a ResNet-18 that looks at a spectrogram.

The text and picture towers of CLIP are not part of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from soundalike.embedders import resnets
from soundalike.embedders.base import Card, WindowVectors
from soundalike.embedders.features import widest
from soundalike.embedders.ported import Ported
from soundalike.embedders.weights import Part, Source
from soundalike.types import FloatArray, Window

if TYPE_CHECKING:
    import torch

SAMPLE_RATE_HZ = 16_000
WINDOW_S = 10.0  # the length of the clips it was trained on
FFT_SIZE = 512
HOP_SAMPLES = 353
SMALLEST_POWER = 1e-7
SMALLEST_DEVIATION = 1e-9
DIM = 512
WIDTH = 64
DEPTHS = (2, 2, 2, 2)

ENCODER, PROJECTION = "audio_encoder.", "audio_transform."
STORED_WINDOW = f"{ENCODER}spectrogram.window"  # of the Fourier transform, which is known


class Wav2Clip(WindowVectors, Ported):
    """A frame is the vector of ten seconds, or of what there is of them."""

    card = Card(
        key="wav2clip",
        summary="What a sound would look like, in the space of CLIP's pictures.",
        sample_rate=SAMPLE_RATE_HZ,
        window_s=WINDOW_S,
        min_seconds=0.02,
        frame_dim=DIM,
        frame_rate_hz=1 / WINDOW_S,
        pooling="mean",
        dim=DIM,
        front_end={
            "version": 1,
            "spectrogram": "power-ln",
            "fft_size": FFT_SIZE,
            "hop_samples": HOP_SAMPLES,
            "smallest_power": SMALLEST_POWER,
            "scale": "window-zero-mean-unit-deviation",
            "merge": "weighted-by-seconds",
        },
        weights=Source(
            repository="descriptinc/lyrebird-wav2clip",
            parts=(Part("Wav2CLIP.pt"),),
            licence="MIT",
            commercial=True,
            release="release v0.1.0-alpha of descriptinc/lyrebird-wav2clip",
        ),
        proof="formulas in double precision for front end and network, with random weights in the "
        "published layout",
    )

    def load(self) -> None:
        """Bring the network into memory.

        Raises
        ------
        WeightsMissing, LicenceRefused
        Quarantined
            The checkpoint is of another network, or cannot be used.
        """
        state = self.read_weights()

        import torch

        mine = {
            name: tensor
            for name, tensor in state.items()
            if name.startswith((ENCODER, PROJECTION)) and name != STORED_WINDOW
        }
        example = torch.zeros(1, 1, FFT_SIZE // 2 + 1, 1 + SAMPLE_RATE_HZ // HOP_SAMPLES)
        self._network = self.place(self.fill(make_network, mine), example, how=answers, varying=[3])
        self.probe()

    def prepare(self, window: Window) -> FloatArray:
        """Take the samples as they are."""
        return window.samples

    def hear_all(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute the vectors of N windows, shape (N, 1, 512)."""
        level = log_spectrogram(widest(samples)).float()
        return self._network(level[:, None])[:, None]


def log_spectrogram(samples: torch.Tensor) -> torch.Tensor:
    """Compute the logarithmic spectrograms of windows, each scaled by itself.

    Frames are centred on multiples of the hop, the sound is reflected at its
    ends, the window is a periodic Hann. The reference scales all of a batch by
    one mean and one deviation, and so by what happens to be in it.

    Parameters
    ----------
    samples : Tensor, shape (N, samples)
        Windows of one length, more than half a transform of them.

    Returns
    -------
    Tensor, shape (N, 257, 1 + samples // 353)
        Each of zero mean and unit deviation.
    """
    import torch

    hann = torch.hann_window(FFT_SIZE, dtype=samples.dtype, device=samples.device)
    spectrum = torch.stft(samples, FFT_SIZE, HOP_SAMPLES, window=hann, return_complex=True)
    level = (spectrum.real.square() + spectrum.imag.square() + SMALLEST_POWER).log()
    mean, deviation = level.mean((1, 2), keepdim=True), level.std((1, 2), keepdim=True)
    return (level - mean) / (deviation + SMALLEST_DEVIATION)


def make_network() -> torch.nn.Module:
    """Make the network in the names of the published file."""
    from torch import nn

    encoder = resnets.stem(1, WIDTH) | resnets.plain_stages(DEPTHS, WIDTH)
    dense = nn.Sequential(nn.Linear(8 * WIDTH, DIM), nn.ReLU(), nn.Dropout(), nn.Linear(DIM, DIM))
    return nn.ModuleDict(
        {
            ENCODER.rstrip("."): nn.ModuleDict(encoder),
            PROJECTION.rstrip("."): nn.ModuleDict({"sequential": dense}),
        }
    )


def answers(network: Any, pictures: torch.Tensor) -> torch.Tensor:
    """Compute what the network answers to spectrograms: (N, 1, 257, T) in, (N, 512) out."""
    encoder = network[ENCODER.rstrip(".")]
    seen = resnets.through_stem(encoder, pictures)
    for number in range(1, len(DEPTHS) + 1):
        seen = resnets.through_stage(encoder[f"layer{number}"], seen)
    answer: torch.Tensor = network[PROJECTION.rstrip(".")]["sequential"](seen.mean((2, 3)))
    return answer
