"""Convolutions with long kernels, as a few products of matrices.

A kernel of 64 taps over a stretch hardly longer than that costs many times
what its discrete Fourier transform does. Here the transforms are matrices,
and the product of complex numbers is done with three products of real ones
(Karatsuba), so that the whole is: from time to 3 (n / 2 + 1) rows, one product
of matrices a row, and back. Any library on any device has these in its fastest
form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch


class Matrices(NamedTuple):
    """What a convolution is done with.

    Attributes
    ----------
    analysis : Tensor of float32, shape (rows, length)
        From the samples of a stretch to rows.
    spectra : Tensor of float32, shape (rows, channels in, channels out)
        The kernels.
    synthesis : Tensor of float32, shape (length, rows)
        From rows to samples.
    """

    analysis: torch.Tensor
    spectra: torch.Tensor
    synthesis: torch.Tensor


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
    time = torch.arange(length, dtype=torch.float64)
    turns = torch.arange(size // 2 + 1, dtype=torch.float64)[:, None] * 2 * torch.pi / size
    angles = turns * (time + (taps - 1) // 2)
    real, imaginary = angles.cos(), -angles.sin()
    analysis = torch.cat([real + imaginary, real, imaginary])
    # conjugated, since what networks call a convolution is a correlation
    kernel = torch.fft.rfft(kernels, n=size).conj().permute(2, 1, 0)
    spectra = torch.cat([kernel.real, kernel.imag - kernel.real, kernel.real + kernel.imag])
    shares = torch.full_like(turns, 2 / size)
    shares[0] = shares[-1] = 1 / size
    real, imaginary = shares * (turns * time).cos(), -shares * (turns * time).sin()
    synthesis = torch.cat([real + imaginary, imaginary, -real]).T
    return Matrices(*(one.float().contiguous() for one in (analysis, spectra, synthesis)))


def convolve(
    samples: torch.Tensor, analysis: torch.Tensor, spectra: torch.Tensor, synthesis: torch.Tensor
) -> torch.Tensor:
    """Convolve stretches of samples.

    Parameters
    ----------
    samples : Tensor of float32, shape (N, length, channels in)
        The stretches.
    analysis, spectra, synthesis : Tensor
        See `Matrices`.

    Returns
    -------
    Tensor of float32, shape (N, length, channels out)
    """
    rows = (analysis @ samples).transpose(0, 1)
    return synthesis @ (rows @ spectra).transpose(0, 1)
