"""VGGish as IBM's MAX Audio Embedding Generator computes it, which AudioSet's features come from.

The network's last layer ends in a ReLU here, as in that service and in the
torch port whose weights are read.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from soundalike import pooling
from soundalike.audio import spectra
from soundalike.embedders.base import Card
from soundalike.embedders.checkpointed import OneByOne
from soundalike.embedders.notes import file_digest
from soundalike.embedders.ported import Ported
from soundalike.embedders.weights import Part, Source
from soundalike.types import FloatArray, Frames, Window

if TYPE_CHECKING:
    import torch

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 400
HOP_SAMPLES = 160
FFT_SIZE = 512
BANDS = 64
LOW_HZ, HIGH_HZ = 125.0, 7500.0
LEVEL_OFFSET = 0.01
PATCH_FRAMES = 96
# the shortest sound that fills a patch
PATCH_SAMPLES = WINDOW_SAMPLES + (PATCH_FRAMES - 1) * HOP_SAMPLES
DIM = 128
WIDTHS = ((64,), (128,), (256, 256), (512, 512))  # of the convolutions, halved after each group
HIDDEN = 4096
HALVED = 2 ** len(WIDTHS)
FLAT = WIDTHS[-1][-1] * (PATCH_FRAMES // HALVED) * (BANDS // HALVED)

PCA_FILE = "vggish_pca_params.npz"
MOST = 2.0  # whitened values beyond it are cut
STEPS = 255.0
BYTES, RAW, PCA = "bytes", "raw", "pca"

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows(Frames):
    """Frames in the form that was asked for, and as they came from the network.

    Attributes
    ----------
    raw : ndarray of float32, shape (T, 128)
        What the clip vector is made of, whatever the form.
    """

    raw: FloatArray


class Vggish(OneByOne, Ported):
    """A frame is what is heard in 0.96 s, as the 128 bytes that AudioSet's features are."""

    card = Card(
        key="vggish",
        summary="What kind of sound it is, by the network behind AudioSet's released features.",
        sample_rate=SAMPLE_RATE_HZ,
        window_s=None,  # patches are cut out of the whole clip
        min_seconds=PATCH_SAMPLES / SAMPLE_RATE_HZ,
        frame_dim=DIM,
        frame_rate_hz=SAMPLE_RATE_HZ / HOP_SAMPLES / PATCH_FRAMES,
        pooling="own",
        dim=2 * DIM,
        front_end={
            "version": 1,
            "mel": f"htk-{BANDS}-magnitude-ln",
            "window_samples": WINDOW_SAMPLES,
            "hop_samples": HOP_SAMPLES,
            "fft_size": FFT_SIZE,
            "low_hz": LOW_HZ,
            "high_hz": HIGH_HZ,
            "level_offset": LEVEL_OFFSET,
            "patch_frames": PATCH_FRAMES,
            "last_layer": "relu",
        },
        weights=Source(
            repository="harritaylor/torchvggish",
            parts=(Part("vggish-10086976.pth", sha256="10086976"), Part(PCA_FILE)),
            licence="Apache-2.0",
            commercial=True,
            release="release v0.1 of harritaylor/torchvggish and AudioSet's own release",
        ),
        proof="formulas in double precision for front end, network and quantisation with random "
        "weights in the published layout",
        options={"form": (BYTES, RAW, PCA)},
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
        state = self.read_weights()
        self._vectors, self._means = self._read_pca()

        import torch

        patch = torch.zeros(1, 1, PATCH_FRAMES, BANDS)
        self._network = self.place(self.fill(make_network, state), patch, how=answers)
        self.probe()

    def _read_pca(self) -> tuple[Floats, Floats]:
        try:
            with np.load(self.folder / PCA_FILE, allow_pickle=False) as file:
                vectors, means = file["pca_eigen_vectors"], file["pca_means"].ravel()
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
            raise self.unfit(f"'{PCA_FILE}' cannot be read: {error}") from error
        for array, shape in ((vectors, (DIM, DIM)), (means, (DIM,))):
            if array.shape != shape or array.dtype.kind != "f" or not np.isfinite(array).all():
                raise self.unfit(f"'{PCA_FILE}' lacks an array of {shape} finite numbers")
        return vectors, means

    def file_facts(self) -> dict[str, Any]:
        """Tell which principal components come with the weights."""
        return {"pca": file_digest(self.folder / PCA_FILE)}

    def prepare(self, window: Window) -> FloatArray:
        """Cut the log-mel spectrogram of a clip into patches, shape (T, 96, 64)."""
        return patches(log_mel(window.samples)).astype(np.float32)

    def hear(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute the network's answers to the patches of a clip, shape (T, 128)."""
        import torch

        pictures = torch.split(samples[:, None], self.largest_batch)
        return torch.cat([self._network(some) for some in pictures])

    def join(self, parts: Sequence[FloatArray], windows: Sequence[Window]) -> Rows:
        """Give a clip's rows the form that was asked for."""
        raw = np.concatenate(parts)
        form = self.options.get("form", BYTES)
        rows = raw if form == RAW else whitened(raw, self._vectors, self._means)
        shown = quantised(rows) if form == BYTES else rows
        return Rows(shown.astype(np.float32), self.card.frame_rate_hz, raw=raw)

    def pool(self, frames: Frames, how: str) -> FloatArray:
        """Make one vector; `own` is mean and deviation of what came from the network."""
        if how != "own":
            return pooling.pool(frames, how)
        assert isinstance(frames, Rows)  # noqa: S101  (`join` makes no others)
        return pooling.pool(Frames(frames.raw, frames.rate_hz), "meanstd")


@functools.cache
def _filters() -> Doubles:
    """Make the mel filters, shape (64, 257): triangles over mel, not over frequency."""
    bins = np.log1p(spectra.bins_hz(SAMPLE_RATE_HZ, FFT_SIZE) / 700)
    low, high = np.log1p(np.array([LOW_HZ, HIGH_HZ]) / 700)
    return spectra.triangles_over(bins, np.linspace(low, high, BANDS + 2))


def log_mel(samples: FloatArray) -> Doubles:
    """Compute the natural logarithm of the magnitude in mel bands over time.

    Nothing is padded, and what does not fill a window is left out.

    Parameters
    ----------
    samples : ndarray of float32, shape (samples,)
        Mono amplitudes at 16 kHz, at least 400 of them.

    Returns
    -------
    ndarray of float64, shape (1 + (samples - 400) // 160, 64)
    """
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW_SAMPLES)[::HOP_SAMPLES]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES)
    blocks = (
        np.abs(np.fft.rfft(windows[start : start + spectra.FRAMES_AT_ONCE] * hann, FFT_SIZE))
        for start in range(0, len(windows), spectra.FRAMES_AT_ONCE)
    )
    mel = np.concatenate([block @ _filters().T for block in blocks])
    return np.log(mel + LEVEL_OFFSET)


def patches(level: Doubles) -> Doubles:
    """Cut a log-mel spectrogram into patches one after the other, shape (T, 96, 64).

    What does not fill a patch is left out.
    """
    count = len(level) // PATCH_FRAMES
    return level[: count * PATCH_FRAMES].reshape(count, PATCH_FRAMES, BANDS)


def make_network() -> torch.nn.Module:
    """Make the network in the names of the torch port: convolutions, then dense layers."""
    from torch import nn

    convolutions: list[nn.Module] = []
    inputs = 1
    for group in WIDTHS:
        for width in group:
            convolutions += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
            inputs = width
        convolutions.append(nn.MaxPool2d(2))
    dense: list[nn.Module] = []
    for before, after in pairwise((FLAT, HIDDEN, HIDDEN, DIM)):
        dense += [nn.Linear(before, after), nn.ReLU(inplace=True)]
    network = nn.Sequential()
    network.add_module("features", nn.Sequential(*convolutions))
    network.add_module("embeddings", nn.Sequential(*dense))
    return network


def answers(network: Any, patches: torch.Tensor) -> torch.Tensor:
    """Compute what the network answers to patches: (N, 1, 96, 64) in, (N, 128) out.

    Between its two parts the channels go last, as they are where it was trained.
    """
    seen: torch.Tensor = network[0](patches)
    rows: torch.Tensor = network[1](seen.permute(0, 2, 3, 1).flatten(1))
    return rows


def whitened(raw: FloatArray, vectors: Floats, means: Floats) -> Floats:
    """Project rows onto principal components, each scaled to a variance of 1.

    Parameters
    ----------
    raw : ndarray, shape (T, 128)
        What came from the network.
    vectors : ndarray, shape (128, 128)
        One component a row, scaled.
    means : ndarray, shape (128,)
        Of what came from the network.

    Returns
    -------
    ndarray, shape (T, 128)
    """
    return (raw - means) @ vectors.T


def quantised(rows: Floats) -> npt.NDArray[np.uint8]:
    """Give numbers from -2 to 2 as bytes; those between two steps take the lower one.

    The torch port rounds where the original cuts off, so its bytes may be one higher.
    """
    cut = np.clip(rows, -MOST, MOST)
    return ((cut + MOST) * (STEPS / (2 * MOST))).astype(np.uint8)
