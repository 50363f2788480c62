"""Convolutions with long kernels, as a few products of matrices.

A kernel of 64 taps over a stretch hardly longer than that costs many times
what its discrete Fourier transform does. Here the transforms are matrices,
which any library on any device multiplies in its fastest form. Turns are
counted from the middle of a stretch: there a cosine is the same on both sides
and a sine the opposite, so that half of each matrix does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch


class Halves(NamedTuple):
    """Stretches of samples, time first, cut in their middles.

    Attributes
    ----------
    first : Tensor of float32, shape (length / 2, N, channels)
        From the beginning to the middle.
    last : Tensor of float32, shape (length / 2, N, channels)
        From the end to the middle.
    """

    first: torch.Tensor
    last: torch.Tensor


class Matrices(NamedTuple):
    """What a convolution is done with.

    Attributes
    ----------
    cosines, sines : Tensor of float32, shape (bins, length / 2)
        From samples to bins.
    real, imaginary : Tensor of float32, shape (bins, channels in, channels out)
        The kernels.
    even, odd : Tensor of float32, shape (length / 2, bins)
        From bins to samples.
    """

    cosines: torch.Tensor
    sines: torch.Tensor
    real: torch.Tensor
    imaginary: torch.Tensor
    even: torch.Tensor
    odd: torch.Tensor


def matrices(kernels: torch.Tensor, length: int) -> Matrices:
    """Make the matrices of a convolution that keeps the length of what it takes.

    Parameters
    ----------
    kernels : Tensor of float32, shape (channels out, channels in, taps)
        As torch's conv1d has them, taps even; outside the stretch there are zeros, one fewer
        before it than after it.
    length : int
        Samples of the stretch, even.

    Returns
    -------
    Matrices
    """
    import torch

    taps = kernels.shape[-1]
    size = length + taps  # no end of the stretch reaches round to the other
    turns = torch.arange(size // 2 + 1, dtype=torch.float64)[:, None] * 2 * torch.pi / size
    angles = turns * ((length - 1) / 2 - torch.arange(length // 2, dtype=torch.float64))
    delay = torch.polar(torch.ones_like(turns), turns * -((taps - 1) // 2))[..., None]
    # conjugated, since what networks call a convolution is a correlation
    kernel = torch.fft.rfft(kernels.double(), n=size).conj().permute(2, 1, 0) * delay
    shares = torch.full_like(turns, 2 / size)
    shares[0] = shares[-1] = 1 / size
    made = (
        angles.cos(),
        angles.sin(),
        kernel.real,
        kernel.imag,
        (shares * angles.cos()).T,
        (shares * angles.sin()).T,
    )
    return Matrices(*(one.float().contiguous() for one in made))


def convolve(samples: Halves, by: Matrices, bias: torch.Tensor) -> Halves:
    """Convolve stretches of samples.

    Parameters
    ----------
    samples : Halves
        The stretches.
    by : Matrices
        See there.
    bias : Tensor of float32, shape (channels out,)
        What is added to each channel.

    Returns
    -------
    Halves
        As long as what was given.
    """
    real = _along(by.cosines, samples.first + samples.last)
    imaginary = _along(by.sines, samples.first - samples.last)
    even = _along(by.even, real @ by.real - imaginary @ by.imaginary) + bias
    odd = _along(by.odd, real @ by.imaginary + imaginary @ by.real)
    return Halves(even + odd, even - odd)


def _along(matrix: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Multiply along the first axis, in one product for all stretches and channels."""
    return (matrix @ values.flatten(1)).reshape(len(matrix), *values.shape[1:])
