"""OpenL3: a network that learned from music videos which sounds and pictures belong together.

The one of its models that hears music through 256 mel bands and answers with
512 numbers. Weights under CC BY 4.0, by Jason Cramer, Ho-Hsiang Wu, Justin
Salamon and Juan Pablo Bello (ICASSP 2019).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from soundalike.audio.spectra import SMALLEST_POWER
from soundalike.embedders.base import Card
from soundalike.embedders.checkpointed import OneByOne
from soundalike.embedders.features import MelSettings, mel_filters, widest
from soundalike.embedders.ported import Ported
from soundalike.embedders.weights import Part, Source
from soundalike.types import FloatArray, Window

if TYPE_CHECKING:
    import torch

SAMPLE_RATE_HZ = 48_000
FRAME_SAMPLES = 48_000
HOP_SAMPLES = 4_800
MEL = MelSettings(
    rate_hz=SAMPLE_RATE_HZ, fft_size=2048, hop_samples=242, bands=256, low_hz=0.0, high_hz=24_000.0
)
COLUMNS = 199  # of the spectrogram of a frame, whichever the front end
RANGE_DB = 80.0
WIDTHS = (64, 64, 128, 128, 256, 256, 512, 512)  # of the convolutions, halved after each pair
BATCH_NORM_EPSILON = 1e-3

KAPRE, LIBROSA = "kapre", "librosa"
# what the arrays of a Keras layer are called here, and what they belong to
KERAS_NAMES = {
    "kernel": "conv{}.weight",
    "bias": "conv{}.bias",
    "gamma": "norm{}.weight",
    "beta": "norm{}.bias",
    "moving_mean": "norm{}.running_mean",
    "moving_variance": "norm{}.running_var",
}


class OpenL3(OneByOne, Ported):
    """A frame is what is heard in the second around each tenth of a second."""

    card = Card(
        key="openl3",
        summary="Music, by a network that learned which sounds and pictures belong together.",
        sample_rate=SAMPLE_RATE_HZ,
        window_s=None,  # frames overlap, and the last one is filled up at the end of the clip
        min_seconds=0.001,
        frame_dim=WIDTHS[-1],
        frame_rate_hz=SAMPLE_RATE_HZ / HOP_SAMPLES,
        pooling="mean",
        dim=WIDTHS[-1],
        front_end={
            "version": 1,
            "mel": f"slaney-{MEL.bands}-magnitude-db",
            "fft_size": MEL.fft_size,
            "hop_samples": MEL.hop_samples,
            "range_db": RANGE_DB,
            "frame_samples": FRAME_SAMPLES,
            "frame_hop_samples": HOP_SAMPLES,
            "centred": True,
        },
        weights=Source(
            repository="marl/openl3",
            parts=(
                Part("openl3_audio_mel256_music-v0_4_0.h5.gz"),
                Part("openl3_audio_mel256_music.h5"),  # as the installed package has it
            ),
            licence="CC-BY-4.0",
            commercial=True,
            release="the branch 'models' of marl/openl3",
        ),
        proof="formulas in double precision for front ends and network with random weights in the "
        "published layout",
        options={"frontend": (KAPRE, LIBROSA)},
        hears_silence=True,
    )

    def load(self) -> None:
        """Bring the network into memory.

        Raises
        ------
        WeightsMissing, LicenceRefused
        Quarantined
            The checkpoint is of another network, or cannot be used.
        """
        state = renamed(self.read_weights())

        import torch

        spectrogram = torch.zeros(1, 1, MEL.bands, COLUMNS)
        self._network = self.place(self.fill(make_network, state), spectrogram)
        self.probe()

    def prepare(self, window: Window) -> FloatArray:
        """Put half a frame of silence before a clip, and fill up the last frame after it.

        Returns
        -------
        ndarray of float32, shape (FRAME_SAMPLES + (T - 1) * HOP_SAMPLES,)
            T being 1 + ceil((samples - 24,000) / 4,800), and at least 1.
        """
        half = FRAME_SAMPLES // 2
        behind_first = max(0, len(window.samples) - half)
        frames = 1 + -(-behind_first // HOP_SAMPLES)
        end = FRAME_SAMPLES + (frames - 1) * HOP_SAMPLES
        return np.pad(window.samples, (half, end - half - len(window.samples)))

    def hear(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute the frames of a prepared clip, shape (T, 512)."""
        import torch

        front_end = self.options.get("frontend", KAPRE)
        frames = samples.unfold(0, FRAME_SAMPLES, HOP_SAMPLES)
        some = torch.split(frames, self.largest_batch)
        return torch.cat([self._network(spectrograms(one, front_end)) for one in some])


def spectrograms(frames: torch.Tensor, front_end: str) -> torch.Tensor:
    """Compute what the network sees of frames of a second.

    The levels are ten times the logarithm of a magnitude, where twenty times would be decibels:
    the network learned from these. So its range of 80 is 160 dB, and single precision ends
    far above its floor.

    Parameters
    ----------
    frames : Tensor of float32, shape (N, 48000)
        Amplitudes.
    front_end : str
        ``"kapre"``, whose columns begin at the first sample and end in zeros, or ``"librosa"``,
        whose columns are centred on it, with the sound reflected at both ends.

    Returns
    -------
    Tensor of float32, shape (N, 1, 256, 199)
        From -80 to 0, which is the loudest of each frame.
    """
    import torch
    from torch.nn import functional

    wide = widest(frames)
    if front_end == LIBROSA:
        padded = functional.pad(wide, (MEL.fft_size // 2, MEL.fft_size // 2), mode="reflect")
    else:
        covered = (COLUMNS - 1) * MEL.hop_samples + MEL.fft_size
        padded = functional.pad(wide, (0, covered - FRAME_SAMPLES))
    window = torch.hann_window(MEL.fft_size, dtype=wide.dtype, device=wide.device)
    magnitude = torch.stft(
        padded, MEL.fft_size, MEL.hop_samples, window=window, center=False, return_complex=True
    ).abs()
    bands = torch.from_numpy(mel_filters(MEL)).to(wide) @ magnitude
    level = 10.0 * bands.clamp(min=SMALLEST_POWER).log10()
    below = level - level.amax(dim=(1, 2), keepdim=True)
    return below.clamp(min=-RANGE_DB).float()[:, None]


def make_network() -> torch.nn.Module:
    """Make the network: (N, 1, 256, 199) in, (N, 512) out.

    Four pairs of convolutions, each behind the first followed by batch norm and ReLU, halved
    between the pairs. The last one is bare; of what it says the maximum over time and frequency
    is taken.
    """
    from torch import nn

    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["norm0"] = nn.BatchNorm2d(1, eps=BATCH_NORM_EPSILON)
    inputs, last = 1, len(WIDTHS) - 1
    for number, width in enumerate(WIDTHS):
        layers[f"conv{number}"] = nn.Conv2d(inputs, width, 3, padding=1)
        inputs = width
        if number < last:
            layers[f"norm{number + 1}"] = nn.BatchNorm2d(width, eps=BATCH_NORM_EPSILON)
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
        if number % 2 and number < last:
            layers[f"pool{number}"] = nn.MaxPool2d(2)
    layers["maximum"] = nn.AdaptiveMaxPool2d(1)
    layers["flat"] = nn.Flatten()
    return nn.Sequential(layers)


def renamed(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give the arrays of a Keras file the network's names and its order of axes.

    Parameters
    ----------
    state : mapping of str to Tensor
        As `keras_h5.read` gives it; the layers' own names do not matter, their order does.

    Returns
    -------
    dict of str to Tensor
        Arrays of other kinds keep their names.
    """
    found, seen = {}, Counter[str]()
    for name in sorted(state):
        kind = name.rpartition(".")[2]
        tensor = state[name]
        if kind == "kernel" and tensor.ndim == 4:
            tensor = tensor.permute(3, 2, 0, 1).contiguous()  # Keras: height, width, in, out
        found[KERAS_NAMES.get(kind, name).format(seen[kind])] = tensor
        seen[kind] += 1
    return found
