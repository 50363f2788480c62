"""Learn to tell genres apart, and find out on songs that were kept aside how well that goes.

The folder a song lies in is its genre.

python examples/genre_classifier.py embeddings/mfcc
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from load import clip_vectors, labels, load
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

MOST_FOLDS = 5


def main() -> None:
    """Print how often each genre was recognised, and what always guessing the commonest gets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of one model, a sub-folder for each genre")
    songs = load(parser.parse_args().folder)
    genres = np.array(labels(songs))
    counts = Counter(genres.tolist())
    folds = min(MOST_FOLDS, *counts.values(), len(songs))
    if len(counts) < 2 or folds < 2:
        raise SystemExit("It takes at least two genres, and two songs of each.")
    # scaling is part of what is learned: done over all songs, it would know those kept aside
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    split = StratifiedKFold(folds, shuffle=True, random_state=0)
    guessed = cross_val_predict(classifier, clip_vectors(songs), genres, cv=split)
    right = guessed == genres
    for genre, count in sorted(counts.items()):
        print(f"{genre}: {right[genres == genre].sum()} of {count}")
    print(f"accuracy {right.mean():.3f}, guessing {max(counts.values()) / len(songs):.3f}")


if __name__ == "__main__":
    main()
