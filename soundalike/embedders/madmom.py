"""madmom's beats: how surely there is one, a hundred times a second.

Eight bidirectional networks by Sebastian Böck, Florian Krebs and Gerhard
Widmer (ISMIR 2015), which hear spectra of three lengths and how they rise.
The weights are under a licence that forbids commercial use and asks of copies
to keep it.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from soundalike import pooling
from soundalike.embedders.base import Card
from soundalike.embedders.checkpointed import OneByOne
from soundalike.embedders.packages import Archive, Member, Packed
from soundalike.embedders.peepholes import Networks, make_layers
from soundalike.embedders.ported import Ported
from soundalike.embedders.weights import Part, Source
from soundalike.types import FloatArray, Frames, Window

if TYPE_CHECKING:
    import torch

SAMPLE_RATE_HZ = 44_100
HOP_SAMPLES = 441
FFT_SIZES = (1024, 2048, 4096)
LOW_HZ, HIGH_HZ = 30.0, 17_000.0
TUNING_HZ = 440.0
BANDS_PER_OCTAVE = 6
FRAMES_AT_ONCE = 512

LAGS = 64
SHORTEST_LAG_S, LONGEST_LAG_S = 0.2, 2.0
SMALLEST_PRODUCT = 1e-30

MEMBERS = tuple(f"madmom-0.16.1/madmom/models/beats/2015/beats_blstm_{n}.pkl" for n in range(1, 9))
MEMBER_BYTES = 370_771
MEMBER_SHA256 = (
    "bd6545fe694264491ee95e03508d318d164b7f2abac1f48edd0121389506bf5f",
    "89ab1defb1b34712bdd0c9f84a756178e809612720733ed7b3a5cc47420689d7",
    "4a3f63f1fe361a354cb5f646349522b87482f29baadacf2d20441d5c52c5282a",
    "4a4469fc00dc4c90b028866a9d268fd19429c6a3f298c70838571e90db248f18",
    "017fd2e6808f43b9cddb61ac115c8d899f6fcdd3801338c6f76b1b30c3c3dbfd",
    "055e8c8715ce4e71e9855e348ff1816fb7630a4d10117d8e4c11684770d64240",
    "35ba5622e6c8f6c24b7efee1dbb31a78468b3106a7e4a8e3bfa2761f326b51dc",
    "fc25b6890baaeecd2304e18078ee1ce6a0014a69fdba95590a4ebee6cd847f64",
)
NETWORKS = Part(
    "beats_blstm.pkl",
    "138ff24f6ca34b071c4716b1a569e27a7094c959ed3fc64e6bd9cdf35dfd547d",
    len(MEMBERS) * MEMBER_BYTES,
)
MADMOM = Archive(
    project="madmom",
    file=Member(
        "madmom-0.16.1.tar.gz",
        "64a86a29106e7c4e0c5f4ec96801c2d1a8492db710e4fe27e097da5517d68cb2",
        20_040_947,
    ),
    contents=(
        Packed(
            NETWORKS,
            tuple(
                Member(name, sha256, MEMBER_BYTES)
                for name, sha256 in zip(MEMBERS, MEMBER_SHA256, strict=True)
            ),
        ),
    ),
)

Wide = npt.NDArray[np.float64]


class Madmom(OneByOne, Ported):
    """A frame is how surely there is a beat, the mean of what eight networks say."""

    runtime = "numpy"
    card = Card(
        key="madmom",
        summary="Rhythm: where the beats are, and how far apart.",
        sample_rate=SAMPLE_RATE_HZ,
        window_s=None,  # the networks run from end to end, both ways
        min_seconds=0.5,
        frame_dim=1,
        frame_rate_hz=SAMPLE_RATE_HZ / HOP_SAMPLES,
        pooling="own",
        dim=LAGS,
        front_end={
            "version": 1,
            "fft_sizes": list(FFT_SIZES),
            "hop_samples": HOP_SAMPLES,
            "bands": f"{BANDS_PER_OCTAVE}-an-octave-{LOW_HZ:g}-{HIGH_HZ:g}",
            "level": "log10-1-plus-magnitude",
            "vector": f"autocorrelation-{LAGS}-{SHORTEST_LAG_S:g}-{LONGEST_LAG_S:g}",
        },
        weights=Source(
            repository=MADMOM.project,
            parts=(NETWORKS,),
            licence="CC-BY-NC-SA-4.0",
            commercial=False,
            archive=MADMOM,
        ),
        proof="the published weights' reference activations, and plain networks with random "
        "weights",
    )

    def load(self) -> None:
        """Bring the networks into memory.

        Raises
        ------
        WeightsMissing, LicenceRefused
        Quarantined
            The file is of other networks, or cannot be used.
        """
        state = self.read_weights()

        layers = self.fill(functools.partial(make_layers, len(MEMBERS), feature_count()), state)
        self._networks = Networks(layers)
        self.probe()

    def prepare(self, window: Window) -> FloatArray:
        """Compute the features of a clip, shape (T, 266)."""
        return features(window.samples)

    def hear(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute the beat activations of a clip's features, shape (T, 1)."""
        import torch

        return torch.from_numpy(self._networks.hear(samples.numpy()))

    def pool(self, frames: Frames, how: str) -> FloatArray:
        """Make one vector; `own` tells after which times beats come again."""
        return repetition(frames.values[:, 0]) if how == "own" else pooling.pool(frames, how)


def features(samples: FloatArray) -> FloatArray:
    """Compute what the networks hear.

    Parameters
    ----------
    samples : ndarray of float32, shape (samples,)
        Amplitudes at 44.1 kHz.

    Returns
    -------
    ndarray of float32, shape (ceil(samples / 441), 266)
        For each length of the Fourier transform the levels of 39, 45 or 49 bands, and how far
        they have risen since a frame or two before.
    """
    # everything is written to its place: what is joined afterwards is in memory twice
    found = np.zeros((-(-len(samples) // HOP_SAMPLES), feature_count()), np.float32)
    column = 0
    for size in FFT_SIZES:
        bands, back = filters(size).shape[1], frames_back(size)
        level = found[:, column : column + bands]
        rise = found[:, column + bands : column + 2 * bands]
        for start in range(0, len(found), FRAMES_AT_ONCE):
            some = level[start : start + FRAMES_AT_ONCE]
            some[:] = _levels(samples, size, start, len(some))
        np.subtract(level[back:], level[:-back], out=rise[back:])
        np.maximum(rise, 0.0, out=rise)
        column += 2 * bands
    return found


def _levels(samples: FloatArray, size: int, first: int, count: int) -> FloatArray:
    """Compute the levels of some frames, shape (count, bands), with silence around the clip."""
    start = first * HOP_SAMPLES - size // 2
    end = start + (count - 1) * HOP_SAMPLES + size
    inside = samples[max(0, start) : end]
    padded = np.pad(inside, (max(0, -start), max(0, end - len(samples))))
    cut = np.lib.stride_tricks.sliding_window_view(padded, size)[::HOP_SAMPLES]
    spectrum = np.fft.rfft(cut * np.hanning(size).astype(np.float32), axis=1)
    levels: FloatArray = np.log10(1.0 + np.abs(spectrum[:, :-1]) @ filters(size))
    return levels


@functools.cache
def filters(size: int) -> FloatArray:
    """Make the filter bank of a length of the Fourier transform.

    Triangles between three neighbouring of the bins that lie nearest to sixths of an octave, each
    with a sum of 1.

    Parameters
    ----------
    size : int
        Length of the transform in samples.

    Returns
    -------
    ndarray of float32, shape (size // 2, bands)
        One filter a column; 39, 45 or 49 of them for 1024, 2048 or 4096.
    """
    bins = _centres(size)
    bank = np.zeros((size // 2, len(bins) - 2))
    for band, (first, centre, end) in enumerate(zip(bins, bins[1:], bins[2:], strict=False)):
        if end - first < 2:
            bank[first, band] = 1.0
            continue
        bank[first:centre, band] = np.arange(centre - first) / (centre - first)
        bank[centre:end, band] = 1.0 - np.arange(end - centre) / (end - centre)
    summed: FloatArray = (bank / bank.sum(axis=0)).astype(np.float32)
    return summed


def _centres(size: int) -> npt.NDArray[np.intp]:
    """Find the bins nearest to sixths of an octave around 440 Hz; of two as near, the upper."""
    lowest = math.floor(BANDS_PER_OCTAVE * math.log2(LOW_HZ / TUNING_HZ))
    end = math.ceil(BANDS_PER_OCTAVE * math.log2(HIGH_HZ / TUNING_HZ))
    wanted_hz = TUNING_HZ * 2.0 ** (np.arange(lowest, end) / BANDS_PER_OCTAVE)
    wanted_hz = wanted_hz[(wanted_hz >= LOW_HZ) & (wanted_hz <= HIGH_HZ)]
    nearest = np.floor(wanted_hz * size / SAMPLE_RATE_HZ + 0.5).astype(np.intp)
    return np.unique(nearest.clip(0, size // 2 - 1))


def frames_back(size: int) -> int:
    """Tell how many frames before a rise is measured from: 1, 1 or 2."""
    window = np.hanning(size)
    half_up = int(np.argmax(window > window.max() / 2))
    return max(1, round((size / 2 - half_up) / HOP_SAMPLES))


def feature_count() -> int:
    """Tell how many numbers the networks hear of each frame."""
    return sum(2 * filters(size).shape[1] for size in FFT_SIZES)


def repetition(activations: FloatArray) -> FloatArray:
    """Tell after which times beats come again.

    Parameters
    ----------
    activations : ndarray of float32, shape (T,)
        How surely there is a beat, in [0, 1].

    Returns
    -------
    ndarray of float32, shape (64,)
        Their autocorrelation at lags from 0.2 to 2 s that grow by equal ratios: the mean product
        of two frames so far apart, relative to that at no lag. 0 where the clip is shorter.
    """
    wide = activations.astype(np.float64)
    rate_hz = SAMPLE_RATE_HZ / HOP_SAMPLES
    longest = round(LONGEST_LAG_S * rate_hz)
    products = np.array([_mean_product(wide, lag) for lag in range(longest + 1)])
    lags = np.geomspace(SHORTEST_LAG_S, LONGEST_LAG_S, LAGS) * rate_hz
    between = np.interp(lags, np.arange(longest + 1), products)
    relative: FloatArray = (between / max(products[0], SMALLEST_PRODUCT)).astype(np.float32)
    return relative


def _mean_product(values: Wide, lag: int) -> float:
    return float(np.mean(values[lag:] * values[: len(values) - lag])) if lag < len(values) else 0.0
