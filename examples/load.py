"""Load what `soundalike extract` wrote, and say what there is.

python examples/load.py embeddings/mfcc
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt


def load(folder: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Load every array below a model's folder.

    Parameters
    ----------
    folder : Path
        Of one model, such as ``embeddings/mfcc``.

    Returns
    -------
    dict of str to ndarray
        By the path below the folder without ``.npy``; shape (T, D), or (T,) where a frame is one
        number.
    """
    paths = sorted(folder.rglob("*.npy"))
    if not paths:
        raise SystemExit(f"There is no .npy file below {folder}.")
    return {_name(path, folder): np.load(path, allow_pickle=False) for path in paths}


def clip_vectors(songs: dict[str, npt.NDArray[np.generic]]) -> npt.NDArray[np.float64]:
    """Make one vector of each song's frames: how they are on average, and how much they vary.

    Parameters
    ----------
    songs : dict of str to ndarray, each of shape (T, D) or (T,)

    Returns
    -------
    ndarray of float64, shape (songs, 2 D)
    """
    frames = [one.reshape(len(one), -1).astype(np.float64) for one in songs.values()]
    return np.stack([np.concatenate([one.mean(axis=0), one.std(axis=0)]) for one in frames])


def labels(songs: dict[str, npt.NDArray[np.generic]]) -> list[str]:
    """Tell the folder in which each song lies, its genre say; empty for one that lies in none."""
    return [Path(name).parent.name for name in songs]


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix().removesuffix(".npy")


def main() -> None:
    """Print a line for each song."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of one model")
    for name, frames in load(parser.parse_args().folder).items():
        print(f"{name}: shape {frames.shape}, {frames.dtype}")


if __name__ == "__main__":
    main()
