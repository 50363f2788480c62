"""The network of `mini`, with batch norms folded into its weights: in numpy, and in torch.

Four convolutions of 3 x 3 that halve time and frequency, a fifth beside which
the fourth's answer passes unchanged, and a layer that reads all of a moment's
frequencies. Statistics of that over time are the clip's vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from soundalike.types import FloatArray

if TYPE_CHECKING:
    import torch

WIDTHS = (32, 64, 128, 256)
STRIDES = ((2, 2), (2, 2), (2, 2), (1, 2))  # of time and of frequency
HOP_FRAMES = 8  # of the spectrogram, from one answer to the next
BANDS = 4  # that are left of the spectrogram's 64
FRAME_DIM = 512
STATISTICS = 3 * FRAME_DIM
DIM = 256
KERNEL = 3
CACHED = 100_000  # numbers that are multiplied at once, and stay in the processor's cache
RESIDUAL, FRAME = "residual", "frame"
MEAN, PROJECTION = "statistics.mean", "statistics.projection"

# Convolution along time after Winograd (Lavin and Gray, CVPR 2016): four answers of three inputs
# each come from six inputs by six products in place of twelve.
TILE, ANSWERS = 6, 4
OF_INPUTS = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float32,
)
OF_WEIGHTS = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    np.float32,
)
OF_ANSWERS = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    np.float32,
)


def shapes() -> dict[str, tuple[int, ...]]:
    """Name all arrays of the released file, with their shapes."""
    found: dict[str, tuple[int, ...]] = {}
    before = 1
    for number, width in enumerate(WIDTHS):
        found[f"conv{number}.weight"] = (width, before, KERNEL, KERNEL)
        found[f"conv{number}.bias"] = (width,)
        before = width
    found[f"{RESIDUAL}.weight"] = (before, before, KERNEL, KERNEL)
    found[f"{RESIDUAL}.bias"] = (before,)
    found[f"{FRAME}.weight"] = (FRAME_DIM, BANDS * before)
    found[f"{FRAME}.bias"] = (FRAME_DIM,)
    found[MEAN] = (STATISTICS,)
    found[PROJECTION] = (STATISTICS, DIM)
    return found


class NumpyNetwork:
    """The network in numpy alone.

    Parameters
    ----------
    state : mapping of str to ndarray of float32
        The arrays of `shapes`.
    """

    def __init__(self, state: Mapping[str, FloatArray]) -> None:
        strides = {f"conv{number}": stride for number, stride in enumerate(STRIDES)}
        self._convolutions = [_convolution(state, *one) for one in strides.items()]
        self._residual = _convolution(state, RESIDUAL, (1, 1))
        self._frame = np.ascontiguousarray(state[f"{FRAME}.weight"].T), state[f"{FRAME}.bias"]

    def __call__(self, spectrogram: FloatArray) -> FloatArray:
        """Compute the frames, shape (ceil(T / 8), 512), of a spectrogram of shape (T, 64)."""
        seen = spectrogram[:, :, np.newaxis]
        for convolve in self._convolutions:
            seen = convolve(seen)
        seen += self._residual(seen)
        weight, bias = self._frame
        moments: FloatArray = seen.reshape(len(seen), -1) @ weight + bias
        np.maximum(moments, 0, out=moments)
        return moments


def _convolution(
    state: Mapping[str, FloatArray], name: str, stride: tuple[int, int]
) -> Callable[[FloatArray], FloatArray]:
    """Make what convolves, adds the bias and rectifies: (T, F, C) in, (T', F', outputs) out."""
    weight, bias = _as_matrix(state, name)
    if stride[0] > 1:
        return partial(_convolved, weight=weight, bias=bias, stride=stride)
    tiled = (OF_WEIGHTS @ weight.reshape(KERNEL, -1)).reshape(TILE, -1, len(bias))
    return partial(_convolved_in_tiles, weights=tiled, bias=bias, band_stride=stride[1])


def _as_matrix(state: Mapping[str, FloatArray], name: str) -> tuple[FloatArray, FloatArray]:
    """Give a convolution's weight the shape (3 * 3 * inputs, outputs), and its bias."""
    weight = state[f"{name}.weight"].transpose(2, 3, 1, 0)
    return np.ascontiguousarray(weight.reshape(-1, weight.shape[-1])), state[f"{name}.bias"]


def _convolved(
    seen: FloatArray, weight: FloatArray, bias: FloatArray, stride: tuple[int, int]
) -> FloatArray:
    """Convolve with a weight of shape (3 * 3 * C, outputs)."""
    times, bands = (1 + (size - 1) // by for size, by in zip(seen.shape[:2], stride, strict=True))
    padded = np.pad(seen, ((1, 1), (1, 1), (0, 0)))
    answer = np.empty((times, bands, weight.shape[1]), np.float32)
    at_once = min(times, max(1, CACHED // (bands * len(weight))))
    patches = np.empty((at_once, bands, KERNEL, KERNEL, seen.shape[2]), np.float32)
    for start in range(0, times, at_once):
        rows = answer[start : start + at_once]
        some = _copy_patches(padded[start * stride[0] :], stride, patches[: len(rows)])
        flat = some.reshape(-1, len(weight)) @ weight
        flat += bias
        np.maximum(flat.reshape(rows.shape), 0, out=rows)
    return answer


def _copy_patches(padded: FloatArray, stride: tuple[int, int], patches: FloatArray) -> FloatArray:
    """Fill an array of shape (times, bands, 3, 3, C) with what each answer is made of."""
    times, bands = patches.shape[:2]
    for row in range(KERNEL):
        for column in range(KERNEL):
            shifted = padded[row :: stride[0], column :: stride[1]]
            patches[:, :, row, column] = shifted[:times, :bands]
    return patches


def _convolved_in_tiles(
    seen: FloatArray, weights: FloatArray, bias: FloatArray, band_stride: int
) -> FloatArray:
    """Convolve without a stride of time, with weights of shape (6, 3 * C, outputs)."""
    times, bands, channels = seen.shape
    tiles, answers = -(-times // ANSWERS), 1 + (bands - 1) // band_stride
    padded = np.pad(seen, ((1, 1 + tiles * ANSWERS - times), (1, 1), (0, 0)))
    inputs = np.lib.stride_tricks.sliding_window_view(padded.reshape(len(padded), -1), TILE, axis=0)
    mixed = (OF_INPUTS @ inputs[::ANSWERS].transpose(0, 2, 1)).reshape(tiles, TILE, -1, channels)
    patches = np.empty((TILE, tiles, answers, KERNEL, channels), np.float32)
    for column in range(KERNEL):
        shifted = mixed[:, :, column::band_stride][:, :, :answers]
        patches[:, :, :, column] = shifted.transpose(1, 0, 2, 3)
    products = patches.reshape(TILE, tiles * answers, -1) @ weights
    apart = (OF_ANSWERS @ products.reshape(TILE, -1)).reshape(ANSWERS, tiles, answers, -1)
    answer = apart.swapaxes(0, 1).reshape(ANSWERS * tiles, answers, -1)[:times] + bias
    np.maximum(answer, 0, out=answer)
    return answer


def make_torch_network(state: Mapping[str, FloatArray]) -> torch.nn.Module:
    """Make the same network in torch: (N, T, 64) in, (N, ceil(T / 8), 512) out.

    Parameters
    ----------
    state : mapping of str to ndarray of float32
        The arrays of `shapes`.
    """
    import torch
    from torch.nn import functional

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.arrays = torch.nn.ParameterDict(
                {
                    name.replace(".", "_"): torch.from_numpy(state[name])
                    for name in shapes()
                    if name not in (MEAN, PROJECTION)
                }
            )

        def convolved(self, name: str, seen: torch.Tensor, stride: tuple[int, int]) -> torch.Tensor:
            weight, bias = self.arrays[f"{name}_weight"], self.arrays[f"{name}_bias"]
            return functional.conv2d(seen, weight, bias, stride, padding=1).relu()

        def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
            seen = spectrograms[:, None]
            for number, stride in enumerate(STRIDES):
                seen = self.convolved(f"conv{number}", seen, stride)
            seen = seen + self.convolved(RESIDUAL, seen, (1, 1))
            moments = seen.permute(0, 2, 3, 1).flatten(2)
            weight, bias = self.arrays[f"{FRAME}_weight"], self.arrays[f"{FRAME}_bias"]
            return functional.linear(moments, weight, bias).relu()

    return Network()


def statistics(frames: FloatArray) -> FloatArray:
    """Tell what a clip's vector is made of: mean, maximum and deviation over time.

    Parameters
    ----------
    frames : ndarray of float32, shape (T, 512)

    Returns
    -------
    ndarray of float32, shape (1536,)
    """
    mean = frames.mean(axis=0, dtype=np.float64)
    deviation = np.sqrt(np.mean((frames - mean) ** 2, axis=0))
    found: FloatArray = np.concatenate([mean, frames.max(axis=0), deviation]).astype(np.float32)
    return found
