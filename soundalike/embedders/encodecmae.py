"""EncodecMAE: a transformer that learned to fill gaps in what EnCodec would say of a sound.

Of the published models, the one of ten layers that takes 256 mel bands and
was trained a second time on its own answers.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from soundalike.audio import spectra
from soundalike.embedders.base import Card
from soundalike.embedders.ported import Ported
from soundalike.embedders.weights import Part, Source
from soundalike.types import FloatArray, Window

if TYPE_CHECKING:
    import torch
    from torch import nn

SAMPLE_RATE_HZ = 24_000
WINDOW_S = 4.0  # the length of the pieces it was trained on
FRAME_SAMPLES = 637
HOP_SAMPLES = 318
FFT_SIZE = 1024
BANDS = 256
LOW_HZ, HIGH_HZ = 20.0, 12_000.0
PRE_EMPHASIS = 0.97
SMALLEST_POWER = 1.19e-7
LEVEL_MEAN, LEVEL_DEVIATION = -6.12, 4.82
# how many frames of a shorter piece may be attended to is reckoned with EnCodec's hop
ATTENDED_HOP_SAMPLES = 320
UNATTENDED = -1e9

DIM = 768
HIDDEN = 4096
LAYERS = 10
HEADS = 12
LONGEST_TURN = 10_000.0

# what of the published file leads from a spectrogram to the frames
USED = (
    "wav_encoder.post_net.",
    "masker.positional_encoder.",
    "visible_encoder.encoder_layers.",
    "visible_encoder.final_norm.",
)
SHARED = ".ff_layer."  # one block, which the file holds once for each layer


class EncodecMae(Ported):
    """A frame is what the last layer says of 13 ms."""

    card = Card(
        key="encodecmae",
        summary="Speech, music and other sounds, by a network that learned to fill gaps in them.",
        sample_rate=SAMPLE_RATE_HZ,
        window_s=WINDOW_S,
        min_seconds=0.1,
        frame_dim=DIM,
        # of whole windows, whose frames are 318 samples apart and begin anew
        frame_rate_hz=75.0,
        pooling="mean",
        dim=DIM,
        front_end={
            "version": 1,
            "mel": f"htk-{BANDS}-power-ln",
            "frame_samples": FRAME_SAMPLES,
            "hop_samples": HOP_SAMPLES,
            "fft_size": FFT_SIZE,
            "low_hz": LOW_HZ,
            "high_hz": HIGH_HZ,
            "pre_emphasis": PRE_EMPHASIS,
            "smallest_power": SMALLEST_POWER,
            "level_mean": LEVEL_MEAN,
            "level_deviation": LEVEL_DEVIATION,
        },
        weights=Source(
            repository="lpepino/encodecmae-v2",
            parts=(Part("mel256-ec-base_st.pt"),),
            licence="no stated licence",
            commercial=False,
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
        used = {name: tensor for name, tensor in state.items() if name.startswith(USED)}
        self._check_shared(used)

        import torch

        frames = torch.zeros(1, SAMPLE_RATE_HZ // HOP_SAMPLES, BANDS + 1)
        self._network = self.place(self.fill(make_network, used), frames, how=answers, varying=[1])
        self.probe()

    def _check_shared(self, state: Mapping[str, torch.Tensor]) -> None:
        """Refuse a file in which the copies of the shared block are not the same."""
        import torch

        first: dict[str, torch.Tensor] = {}
        for name, tensor in state.items():
            _, shared, part = name.partition(SHARED)
            if shared and not torch.equal(first.setdefault(part, tensor), tensor):
                raise self.unfit(f"its layers share a block, and {name} is not as in the others")

    def prepare(self, window: Window) -> FloatArray:
        """Compute the log-mel spectrogram of a window.

        Returns
        -------
        ndarray of float32, shape (T, 257)
            The bands, and last what is added to the scores of a frame that is attended to.
        """
        level = log_mel(window.samples)
        attended = np.arange(len(level)) < len(window.samples) // ATTENDED_HOP_SAMPLES
        added = np.where(attended, 0.0, UNATTENDED)
        return np.column_stack([level, added]).astype(np.float32)

    def hear_all(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute the frames of N windows, shape (N, T, 768)."""
        return self._network(samples)


@functools.cache
def _filters() -> npt.NDArray[np.float64]:
    """Make the mel filters, shape (256, 513): triangles over mel, not over frequency."""
    bins = np.log1p(spectra.bins_hz(SAMPLE_RATE_HZ, FFT_SIZE) / 700)
    low, high = np.log1p(np.array([LOW_HZ, HIGH_HZ]) / 700)
    return spectra.triangles_over(bins, np.linspace(low, high, BANDS + 2))


def log_mel(samples: FloatArray) -> npt.NDArray[np.float64]:
    """Compute the log-mel spectrogram as Kaldi does, scaled as the network was trained.

    Each frame loses its mean and is pre-emphasised by itself. Nothing is
    padded, and what does not fill a frame is left out.

    Parameters
    ----------
    samples : ndarray of float32, shape (samples,)
        Mono amplitudes at 24 kHz, at least 637 of them.

    Returns
    -------
    ndarray of float64, shape (1 + (samples - 637) // 318, 256)
    """
    wide = samples.astype(np.float64)
    frames = np.lib.stride_tricks.sliding_window_view(wide, FRAME_SAMPLES)[::HOP_SAMPLES]
    centred = frames - frames.mean(axis=1, keepdims=True)
    # before the first sample stands that sample itself
    before = np.concatenate([centred[:, :1], centred[:, :-1]], axis=1)
    spectrum = np.fft.rfft((centred - PRE_EMPHASIS * before) * np.hanning(FRAME_SAMPLES), FFT_SIZE)
    power = (spectrum.real**2 + spectrum.imag**2) @ _filters().T
    level: npt.NDArray[np.float64] = np.log(np.maximum(power, SMALLEST_POWER))
    return (level - LEVEL_MEAN) / LEVEL_DEVIATION


def make_network() -> nn.Module:
    """Make the network in the names of the published file."""
    import torch
    from torch import nn

    shared = nn.Sequential(nn.Linear(DIM, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, DIM))
    positions = nn.Module()
    positions.register_buffer("scale", torch.empty(()))
    layers = nn.ModuleList(
        nn.ModuleDict(
            {
                "att_layer": nn.ModuleDict(
                    {name: nn.Linear(DIM, DIM, bias=False) for name in ("wq", "wk", "wv", "wo")}
                ),
                "ff_layer": shared,
                "norm1": nn.LayerNorm(DIM),
                "norm2": nn.LayerNorm(DIM),
            }
        )
        for _ in range(LAYERS)
    )
    return nn.ModuleDict(
        {
            "wav_encoder": nn.ModuleDict({"post_net": nn.Linear(BANDS, DIM)}),
            "masker": nn.ModuleDict({"positional_encoder": positions}),
            "visible_encoder": nn.ModuleDict(
                {"encoder_layers": layers, "final_norm": nn.LayerNorm(DIM)}
            ),
        }
    )


def answers(network: Any, frames: torch.Tensor) -> torch.Tensor:
    """Compute what the network answers: (N, T, 257) in, as `prepare` gives it, (N, T, 768) out.

    Two streams run through the layers, one normalised again and again, and
    one that only gathers; the answer is the sum of both.
    """
    x = network["wav_encoder"]["post_net"](frames[..., :BANDS])
    scale = network["masker"]["positional_encoder"].scale
    encoder = network["visible_encoder"]
    normed = gathered = x + scale * position_code(frames)
    added = frames[:, None, None, :, BANDS]
    for layer in encoder["encoder_layers"]:
        attended = _attend(layer["att_layer"], normed, added)
        normed = layer["norm1"](normed + attended)
        fed = layer["ff_layer"](normed)
        normed = layer["norm2"](normed + fed)
        gathered = gathered + attended + fed
    answer: torch.Tensor = normed + encoder["final_norm"](gathered)
    return answer


def _attend(weights: Any, x: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
    """Let frames attend to one another; the heads are interleaved, one number each in turn."""
    from torch.nn.functional import scaled_dot_product_attention

    queries, keys, values = (
        weights[name](x).unflatten(2, (DIM // HEADS, HEADS)).permute(0, 3, 1, 2)
        for name in ("wq", "wk", "wv")
    )
    mixed = scaled_dot_product_attention(queries, keys, values, attn_mask=added)
    joined: torch.Tensor = weights["wo"](mixed.permute(0, 2, 3, 1).flatten(2))
    return joined


def position_code(frames: torch.Tensor) -> torch.Tensor:
    """Make the sines and cosines that tell the places of frames, shape (T, 768)."""
    import torch

    # in float32 whatever the frames are: bfloat16 has no whole numbers between 256 and 258
    place = torch.arange(frames.shape[1], device=frames.device, dtype=torch.float32)[:, None]
    even = torch.arange(0, DIM, 2, device=frames.device, dtype=torch.float32)
    turn = place * LONGEST_TURN ** (-even / DIM)
    return torch.stack([turn.sin(), turn.cos()], dim=2).flatten(1).to(frames.dtype)
