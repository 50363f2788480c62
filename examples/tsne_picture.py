"""Draw a map on which songs that are alike lie close together, a colour for each genre.

t-SNE keeps neighbours together and is free with everything else: neither how far apart two groups
lie on the map nor how large they are says anything about the songs.

python examples/tsne_picture.py embeddings/mfcc map.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from load import clip_vectors, labels, load
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler

USUAL_PERPLEXITY = 30.0
LEAST_SONGS = 5


def places(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Place songs on a map.

    Parameters
    ----------
    vectors : ndarray of float64, shape (songs, D)

    Returns
    -------
    ndarray of float32, shape (songs, 2)
        The same for the same songs.
    """
    # the number of neighbours that count must stay well below that of all songs
    perplexity = min(USUAL_PERPLEXITY, (len(vectors) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=0)
    found: npt.NDArray[np.float32] = tsne.fit_transform(StandardScaler().fit_transform(vectors))
    return found


def draw(points: npt.NDArray[np.float32], genres: list[str], picture: Path) -> None:
    """Draw the map into a file; its ending says in which format."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 8))
    for genre in sorted(set(genres)):
        own = points[[one == genre for one in genres]]
        axes.scatter(*own.T, s=16, label=genre or "songs")
    axes.set(xticks=[], yticks=[])
    axes.legend()
    figure.savefig(picture, dpi=120, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    """Draw the songs of a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of one model")
    parser.add_argument("picture", type=Path, help="what to write, such as map.png")
    args = parser.parse_args()
    songs = load(args.folder)
    if len(songs) < LEAST_SONGS:
        raise SystemExit(f"A map takes at least {LEAST_SONGS} songs.")
    draw(places(clip_vectors(songs)), labels(songs), args.picture)


if __name__ == "__main__":
    main()
