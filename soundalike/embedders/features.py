"""Log-mel spectrograms in torch: many windows at once, on any device, in either precision."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from soundalike.audio import spectra

if TYPE_CHECKING:
    import torch

# Slaney's mel scale: linear up to 1 kHz, then 27 steps for each factor of 6.4
KNEE_HZ = 1000.0
HZ_A_MEL = 200.0 / 3.0
MELS_AN_E_FOLD = 27.0 / np.log(6.4)


@dataclass(frozen=True, slots=True)
class MelSettings:
    """What a log-mel spectrogram is made with.

    Attributes
    ----------
    rate_hz : int
        Sample rate.
    fft_size : int
        Length of the Hann window and of the Fourier transform in samples.
    hop_samples : int
        Samples from frame to frame.
    bands : int
        How many mel bands.
    low_hz, high_hz : float
        Lower edge of the first and upper edge of the last band.
    """

    rate_hz: int
    fft_size: int
    hop_samples: int
    bands: int
    low_hz: float
    high_hz: float


def hz_to_mel(hz: float) -> float:
    """Convert a frequency to Slaney's mel scale."""
    if hz < KNEE_HZ:
        return hz / HZ_A_MEL
    return float(KNEE_HZ / HZ_A_MEL + np.log(hz / KNEE_HZ) * MELS_AN_E_FOLD)


def mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Convert values on Slaney's mel scale to frequencies."""
    above = KNEE_HZ * np.exp((mel - KNEE_HZ / HZ_A_MEL) / MELS_AN_E_FOLD)
    return np.where(mel * HZ_A_MEL < KNEE_HZ, mel * HZ_A_MEL, above)


@functools.cache
def mel_filters(settings: MelSettings) -> npt.NDArray[np.float64]:
    """Make triangular filters on Slaney's mel scale, each with an area of 1 over frequency.

    Parameters
    ----------
    settings : MelSettings
        All but the hop matters.

    Returns
    -------
    ndarray of float64, shape (bands, fft_size // 2 + 1)
        One filter a row.
    """
    low, high = hz_to_mel(settings.low_hz), hz_to_mel(settings.high_hz)
    edges_hz = mel_to_hz(np.linspace(low, high, settings.bands + 2))
    areas_hz = (edges_hz[2:] - edges_hz[:-2]) / 2
    return spectra.triangles(edges_hz, settings.rate_hz, settings.fft_size) / areas_hz[:, None]


def widest(samples: torch.Tensor) -> torch.Tensor:
    """Widen samples to float64, where their device has that."""
    return samples if samples.device.type == "mps" else samples.double()


def log_mel(samples: torch.Tensor, settings: MelSettings) -> torch.Tensor:
    """Compute log-mel spectrograms, in the precision and on the device of the samples.

    Frames are centred on multiples of the hop, the sound is reflected at its
    ends, the window is a periodic Hann. In float32 bands that are 100 dB below
    the loudest may be off by hundredths of a decibel; in float64 they are not.

    Parameters
    ----------
    samples : Tensor of float32 or float64, shape (N, samples)
        Mono windows of one length, more than half a transform of them.
    settings : MelSettings
        What to make them with.

    Returns
    -------
    Tensor, shape (N, 1 + samples // hop_samples, bands)
        10 log10 of the power in each band, of at least -100 dB.
    """
    import torch

    filters = mel_filters(settings)
    used = np.flatnonzero(filters.any(axis=0))
    bins = slice(int(used[0]), int(used[-1]) + 1)  # the others carry no weight
    spectrum = torch.stft(
        samples,
        settings.fft_size,
        settings.hop_samples,
        window=torch.hann_window(settings.fft_size, dtype=samples.dtype, device=samples.device),
        return_complex=True,
    )[:, bins]
    power = spectrum.real.square() + spectrum.imag.square()
    bands = torch.from_numpy(filters[:, bins]).to(power) @ power
    return 10.0 * bands.clamp(min=spectra.SMALLEST_POWER).log10().transpose(1, 2)
