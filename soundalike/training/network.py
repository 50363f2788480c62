"""The network as it is trained: batch norms still apart, and a projector that is thrown away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from soundalike.embedders.mini_network import (
    BANDS,
    FRAME,
    FRAME_DIM,
    KERNEL,
    RESIDUAL,
    STRIDES,
    WIDTHS,
)
from soundalike.types import FloatArray

PROJECTOR_WIDTH, PROJECTED = 512, 128


class Trained(nn.Module):
    """What is learned: (N, T, 64) in, (N, ceil(T / 8), 512) out.

    Three by three convolutions without bias, each followed by batch norm and
    ReLU; see `soundalike.embedders.mini_network` for what is computed.

    Parameters
    ----------
    widths : sequence of int
        Of the convolutions that have a stride; the embedder reads none but those of the release.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        inputs = (1, *widths[:-1])
        self.convolutions = nn.ModuleList(
            _convolution(before, width, stride)
            for before, width, stride in zip(inputs, widths, STRIDES, strict=True)
        )
        self.residual = _convolution(widths[-1], widths[-1], (1, 1))
        self.frame = nn.Linear(BANDS * widths[-1], FRAME_DIM, bias=False)
        self.frame_norm = nn.BatchNorm1d(FRAME_DIM)

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """Compute the frames."""
        seen = spectrograms[:, None].contiguous(memory_format=torch.channels_last)
        for convolution in self.convolutions:
            seen = convolution(seen)
        seen = seen + self.residual(seen)
        moments = self.frame(seen.permute(0, 2, 3, 1).flatten(2))
        rows: torch.Tensor = self.frame_norm(moments.flatten(0, 1)).relu()
        return rows.reshape(moments.shape)


def _convolution(inputs: int, outputs: int, stride: tuple[int, int]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, KERNEL, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Learner(nn.Module):
    """The network with the projector behind it, in whose space the loss is taken."""

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.network = Trained(widths)
        self.projector = nn.Sequential(
            nn.Linear(2 * FRAME_DIM, PROJECTOR_WIDTH),
            nn.BatchNorm1d(PROJECTOR_WIDTH),
            nn.ReLU(),
            nn.Linear(PROJECTOR_WIDTH, PROJECTED),
        )
        # twice as quick on a processor; the library's types do not know this form of it
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """Project crops, (N, T, 64) in, (N, 128) out."""
        frames = self.network(spectrograms)
        projected: torch.Tensor = self.projector(torch.cat([frames.mean(1), frames.amax(1)], 1))
        return projected


def folded(network: Trained) -> dict[str, FloatArray]:
    """Fold each batch norm into the weights before it.

    Returns
    -------
    dict of str to ndarray of float32
        Under the names of `soundalike.embedders.mini_network.shapes`, without the statistics.
    """
    found: dict[str, FloatArray] = {}
    blocks = {f"conv{number}": block for number, block in enumerate(network.convolutions)}
    for name, block in {**blocks, RESIDUAL: network.residual}.items():
        _fold(found, name, block[0].weight, block[1])  # type: ignore[index]
    _fold(found, FRAME, network.frame.weight, network.frame_norm)
    return found


def _fold(
    found: dict[str, FloatArray],
    name: str,
    weight: torch.Tensor,
    norm: nn.BatchNorm1d | nn.BatchNorm2d,
) -> None:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None  # noqa: S101  (it is kept unless it is told not to)
    assert variance is not None  # noqa: S101
    gain = norm.weight.double() / (variance.double() + norm.eps).sqrt()
    whole = weight.double() * gain.reshape(-1, *[1] * (weight.ndim - 1))
    bias = norm.bias.double() - gain * mean.double()
    found[f"{name}.weight"] = np.ascontiguousarray(whole.detach().cpu().numpy(), np.float32)
    found[f"{name}.bias"] = bias.detach().cpu().numpy().astype(np.float32)


def contrast(one: torch.Tensor, other: torch.Tensor, temperature: float) -> torch.Tensor:
    """Compute NT-Xent, the loss of SimCLR (Chen et al., ICML 2020).

    Each vector has to find its partner among all others of the batch.

    Parameters
    ----------
    one, other : Tensor, each of shape (N, D)
        Row n of one and row n of the other belong together.
    temperature : float
        By which cosines are divided.

    Returns
    -------
    Tensor
        The mean negative logarithm of the share that the partner gets.
    """
    both = functional.normalize(torch.cat([one, other]).float())
    likeness = both @ both.T / temperature
    itself = torch.eye(len(both), dtype=torch.bool, device=both.device)
    count = len(one)
    partners = torch.arange(2 * count, device=both.device).roll(count)
    return functional.cross_entropy(likeness.masked_fill(itself, -torch.inf), partners)
