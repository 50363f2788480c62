"""Find the song that is most like each other song.

python examples/similarity.py embeddings/mfcc
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from load import clip_vectors, load


def similarity(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Compare songs with one another.

    Each column is first centred over all songs and scaled to unit deviation: otherwise the one with
    the largest numbers would decide alone.

    Parameters
    ----------
    vectors : ndarray of float64, shape (songs, D)

    Returns
    -------
    ndarray of float64, shape (songs, songs)
        Cosines, in [-1, 1].
    """
    deviation = vectors.std(axis=0)
    scaled = (vectors - vectors.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit = scaled / np.where(lengths > 0, lengths, 1)
    return np.clip(unit @ unit.T, -1, 1)


def main() -> None:
    """Print the nearest other song of each song, and how near it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of one model")
    songs = load(parser.parse_args().folder)
    names = list(songs)
    if len(names) < 2:
        raise SystemExit("One song alone is like no other.")
    cosines = similarity(clip_vectors(songs))
    np.fill_diagonal(cosines, -np.inf)
    for name, row in zip(names, cosines, strict=True):
        print(f"{name} -> {names[row.argmax()]} ({row.max():.3f})")


if __name__ == "__main__":
    main()
