"""From a trained network to what is released: the space of its vectors, half precision, a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from soundalike.embedders.mini_front_end import relative
from soundalike.embedders.mini_network import (
    DIM,
    FRAME_DIM,
    MEAN,
    PROJECTION,
    STATISTICS,
    make_torch_network,
    shapes,
    statistics,
)
from soundalike.training.network import Trained, folded
from soundalike.training.pairs import HalfArray
from soundalike.types import FloatArray

FITTED_ON = 6_000  # clips, four for each of the statistics
EXPONENT = -0.2  # two fifths of the way to vectors whose directions all count alike
WEIGHTS = (1.0, 1.0, 2.0)  # of mean, maximum and deviation
SMALLEST_DEVIATION = 1e-4
AT_ONCE = 64


def release(network: Trained, levels: HalfArray, device: str) -> dict[str, npt.NDArray[np.generic]]:
    """Make all arrays of the released file.

    Parameters
    ----------
    network : Trained
        In evaluation mode or not: its batch norms are folded as they are.
    levels : ndarray of float16, shape (clips, T, 64)
        Log-mel levels of clips on which the space of the vectors is fitted.
    device : str
        Where the network runs meanwhile.

    Returns
    -------
    dict of str to ndarray
        Weights in float16; biases and means, which are few, in float32.
    """
    state = {name: _halved(array) for name, array in folded(network).items()}
    seen = statistics_of(state, levels[:FITTED_ON], device)
    state |= {name: _halved(array) for name, array in fit_space(seen).items()}
    return {name: state[name] for name in shapes()}


def _halved(array: FloatArray) -> npt.NDArray[np.generic]:
    return array.astype(np.float16) if array.ndim > 1 else array


def statistics_of(
    state: Mapping[str, npt.NDArray[np.generic]], levels: HalfArray, device: str
) -> FloatArray:
    """Compute the statistics of whole clips, shape (clips, 1536)."""
    network = make_torch_network({name: array.astype(np.float32) for name, array in state.items()})
    network = network.to(device).eval()
    found = np.empty((len(levels), STATISTICS), np.float32)
    for start in range(0, len(levels), AT_ONCE):
        some = levels[start : start + AT_ONCE].astype(np.float32)
        spectrograms = torch.from_numpy(np.stack([relative(one) for one in some]))
        with torch.inference_mode():
            frames = network(spectrograms.to(device)).cpu().numpy()
        found[start : start + AT_ONCE] = [statistics(one) for one in frames]
    return found


def fit_space(seen: FloatArray) -> dict[str, FloatArray]:
    """Fit the space of the vectors to the statistics of clips.

    Each number is standardised, deviations count double, then the principal
    components with the most variance are kept, and what varies most among them
    counts a little less.

    Parameters
    ----------
    seen : ndarray of float32, shape (clips, 1536)

    Returns
    -------
    dict of str to ndarray of float32
        The mean, shape (1536,), and the projection, shape (1536, 256), of what differs from it.
    """
    mean = seen.mean(axis=0, dtype=np.float64)
    deviation = np.maximum(seen.std(axis=0, dtype=np.float64), SMALLEST_DEVIATION)
    scale = np.repeat(WEIGHTS, FRAME_DIM) / deviation
    standard = (seen - mean) * scale
    values, vectors = np.linalg.eigh(standard.T @ standard / len(seen))
    most = np.argsort(values)[::-1][:DIM]
    kept = vectors[:, most] * np.maximum(values[most], SMALLEST_DEVIATION) ** EXPONENT
    # the sign of an eigenvector is the solver's whim
    kept *= np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(DIM)])
    projection = kept * scale[:, np.newaxis]
    return {MEAN: mean.astype(np.float32), PROJECTION: projection.astype(np.float32)}


def write(state: Mapping[str, npt.NDArray[np.generic]], path: Path) -> None:
    """Write the released file, whole or not at all."""
    from safetensors.numpy import save_file

    # the library writes arrays as they lie in memory, whatever their order
    ordered = {name: np.ascontiguousarray(array) for name, array in state.items()}
    unfinished = path.with_suffix(".unfinished")
    save_file(ordered, unfinished)
    unfinished.chmod(0o644)  # the library makes a file that its owner alone can read
    unfinished.replace(path)
