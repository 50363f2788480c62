"""AudioCLIP's audio head: sounds in the space of CLIP's words and pictures, by a ResNeXt-50.

It looks at a spectrogram whose transform was learned with the network: each
of its rows is a wavelet with an order, a bandwidth and a frequency of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from soundalike.embedders import resnets
from soundalike.embedders.base import Card, WindowVectors
from soundalike.embedders.features import widest
from soundalike.embedders.ported import Ported
from soundalike.embedders.weights import Part, Source
from soundalike.types import FloatArray, Window

if TYPE_CHECKING:
    import torch
    from torch import nn

SAMPLE_RATE_HZ = 44_100
WINDOW_S = 5.0  # the length of the clips it was trained on
WINDOW_SAMPLES = 220_500
FRAME_SAMPLES = 1654
HOP_SAMPLES = 561
FRAMES = 392  # of a window, the last one filled up with zeros
WAVELET_SAMPLES = 2048
WAVELETS = WAVELET_SAMPLES // 2 + 1
BANDS = 3  # a picture's red, green and blue
ROWS = WAVELETS // BANDS
SMALLEST = 1e-8
POWER_OF_NOTHING = 1e-18
# the network was trained on whole numbers of 16 bits, brought from this range to [-1, 1]
LOWEST, HIGHEST = -32_768.0, 32_767.0

DIM = 1024
WIDTH = 64
DEPTHS = (3, 4, 6, 3)
GROUPS = 32
EXPANSION = 4  # how many times as wide the first stage leaves what comes to it
HEAD = "audio."
# height and width of the kernels of what weighs each stage, and the pooled answer
ATTENTION_KERNELS = ((3, 1), (1, 5), (3, 1), (1, 5), (3, 5))


class AudioClip(WindowVectors, Ported):
    """A frame is the vector of five seconds, of unit length."""

    card = Card(
        key="audioclip",
        summary="What a sound is a sound of, in the space of CLIP's words and pictures.",
        sample_rate=SAMPLE_RATE_HZ,
        window_s=WINDOW_S,
        min_seconds=0.02,
        frame_dim=DIM,
        frame_rate_hz=1 / WINDOW_S,
        pooling="mean",
        dim=DIM,
        front_end={
            "version": 1,
            "frame_samples": FRAME_SAMPLES,
            "hop_samples": HOP_SAMPLES,
            "window": "as-stored-with-the-weights",
            "transform": f"learned-{WAVELETS}-wavelets-db",
            "short": "edges-held-centred",
            "merge": "unit-weighted-by-seconds",
        },
        weights=Source(
            repository="AndreyGuzhov/AudioCLIP",
            parts=(
                Part(
                    "AudioCLIP-Full-Training.pt",
                    sha256="2441d35b353352c8b1bbfb8f7c687f46314c3d2909e940eaf763b8c17f632c44",
                    size_bytes=537_302_068,
                ),
            ),
            licence="MIT",
            commercial=True,
            release="release v0.1 of AndreyGuzhov/AudioCLIP",
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
            name.removeprefix(HEAD): tensor
            for name, tensor in state.items()
            if name.startswith(HEAD)
        }
        filled = self.fill(make_network, mine)
        self._transform = transform(filled)
        picture = torch.zeros(1, BANDS, ROWS, FRAMES)
        self._network = self.place(filled, picture, how=answers)
        self.probe()

    def prepare(self, window: Window) -> FloatArray:
        """Hold the first sample before and the last one after what is shorter than a window."""
        lacking = WINDOW_SAMPLES - len(window.samples)
        before = round(lacking / 2)
        return np.pad(window.samples, (before, lacking - before), mode="edge")

    def hear_all(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute the vectors of N windows, of unit length, shape (N, 1, 1024)."""
        from torch.nn.functional import normalize

        seen = pictures(widest(samples), self._transform)
        return normalize(self._network(seen.float()), dim=-1)[:, None]


def make_network() -> torch.nn.Module:
    """Make the network, the numbers of the learned transform among it, in the published names."""
    import torch
    from torch import nn

    width = EXPANSION * WIDTH
    stages = resnets.grouped_stages(DEPTHS, WIDTH, groups=GROUPS, expansion=EXPANSION)
    network = nn.ModuleDict(
        {
            **resnets.stem(BANDS, WIDTH),
            **stages,
            **_attentions((WIDTH, *(width << number for number in range(4)), 8 * width)),
            "fc": nn.Linear(8 * width, DIM),
            "fbsp": nn.Module(),
        }
    )
    network.register_buffer("window", torch.empty(FRAME_SAMPLES))
    for name in ("m", "fb", "fc"):
        network["fbsp"].register_buffer(name, torch.empty(WAVELETS))
    return network


def _attentions(widths: Sequence[int]) -> dict[str, nn.Module]:
    """Make what weighs the answer of each stage by what went into it, by their names."""
    from torch import nn

    made: dict[str, nn.Module] = {}
    for number, (height, width) in enumerate(ATTENTION_KERNELS, 1):
        inputs, outputs = widths[number - 1], widths[number]
        depth = nn.Conv2d(
            inputs,
            inputs,
            (height, width),
            padding=(height // 2, width // 2),
            groups=inputs,
        )
        made[f"att{number}"] = nn.ModuleDict(
            {
                "conv_depth": depth,
                "conv_point": nn.Conv2d(inputs, outputs, 1),
                "bn": nn.BatchNorm2d(outputs),
            }
        )
    return made


def transform(network: Any) -> torch.Tensor:
    """Make the learned transform's matrix, for frames that are not weighted yet.

    Parameters
    ----------
    network : ModuleDict
        See `make_network`; filled.

    Returns
    -------
    Tensor of float64, shape (2, 1654, 1023)
        Real and imaginary parts of a wavelet a column: the window, times the sine cardinal of the
        wavelet's bandwidth raised to its order, times its turning.
    """
    import torch

    order, bandwidth, turning = (
        getattr(network["fbsp"], name)[: BANDS * ROWS].double() for name in ("m", "fb", "fc")
    )
    time = torch.linspace(-1, 1, WAVELET_SAMPLES, dtype=torch.float64)[:, None] * torch.pi
    time = time + SMALLEST
    inner = bandwidth * time / (order + SMALLEST)
    cardinal = torch.where(inner == 0, 1.0, inner.sin() / inner)
    # a negative number to a broken power is complex
    raised = torch.polar(cardinal.abs() ** order, order * torch.pi * (cardinal < 0))
    turns = torch.polar(torch.ones_like(inner), -turning * time)
    wavelets = raised * turns * (bandwidth / WAVELET_SAMPLES).sqrt()
    # frames lie in the middle of the wavelets, with zeros on either side
    before = (WAVELET_SAMPLES - FRAME_SAMPLES) // 2
    middle = wavelets[before : before + FRAME_SAMPLES] * network.window.double()[:, None]
    return torch.stack([middle.real, middle.imag])


def pictures(samples: torch.Tensor, transform: torch.Tensor) -> torch.Tensor:
    """Compute what the network looks at.

    Parameters
    ----------
    samples : Tensor, shape (N, 220500)
        Windows, full scale being [-1, 1].
    transform : Tensor, shape (2, 1654, 1023)
        See `transform`.

    Returns
    -------
    Tensor, shape (N, 3, 341, 392)
        Decibels; the lowest third of the rows comes first.
    """
    from torch.nn.functional import pad

    scaled = (samples * -LOWEST - LOWEST) * (2 / (HIGHEST - LOWEST)) - 1
    lacking = (FRAMES - 1) * HOP_SAMPLES + FRAME_SAMPLES - samples.shape[1]
    whole = pad(scaled, (lacking // 2, lacking - lacking // 2))
    frames = whole.unfold(1, FRAME_SAMPLES, HOP_SAMPLES)
    power = (frames @ transform[:, None].to(samples)).square().sum(0).transpose(1, 2)
    floored = power.masked_fill(power == 0, POWER_OF_NOTHING)
    return 10 * floored.log10().reshape(-1, BANDS, ROWS, FRAMES)


def answers(network: Any, pictures: torch.Tensor) -> torch.Tensor:
    """Compute what the network answers to pictures: (N, 3, rows, T) in, (N, 1024) out."""
    seen = resnets.through_stem(network, pictures)
    for number in range(1, len(DEPTHS) + 1):
        stage = resnets.through_stage(network[f"layer{number}"], seen)
        seen = stage * _attention(network[f"att{number}"], seen, stage.shape[2:])
    pooled = seen.mean((2, 3), keepdim=True)
    weighed = pooled * _attention(network["att5"], seen, (1, 1))
    answer: torch.Tensor = network["fc"](weighed.flatten(1))
    return answer


def _attention(block: Any, x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Compute the weights, from 0 to 1, of a stage's answer by what went into it."""
    from torch.nn.functional import adaptive_max_pool2d

    pooled = adaptive_max_pool2d(x, tuple(size))
    weights: torch.Tensor = block["bn"](block["conv_point"](block["conv_depth"](pooled)))
    return weights.sigmoid()
