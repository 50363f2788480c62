"""Annoy: a forest of random projections (https://github.com/spotify/annoy).

What Annoy leaves to its user is guarded by what it is built on here. Its
default breadth of search finds half of the neighbours on hard data, and many
identical vectors fill its leaves and hide the rest: see `calibration` and
`groups`. A damaged file it maps without a word: see the manifest of
`catalogue.files`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from annoy import AnnoyIndex

from soundalike.engines.approximate import ApproximateEngine
from soundalike.engines.base import NO_ROW, Rows
from soundalike.engines.calibration import RECALL_AT, SPARE
from soundalike.errors import DamagedIndex
from soundalike.types import FloatArray

FILE = "annoy.index"
TREES = 50  # more take longer to build and are not faster at any recall
SEED = 1
ERROR_NUMBER = re.compile(r"\((\d+)\)$")


class AnnoyEngine(ApproximateEngine):
    """A forest of random projections; its effort is how many nodes are looked at."""

    name = "annoy"
    rows_per_effort = 2.5
    rough = 0
    least_effort = RECALL_AT
    samples_spared = SPARE

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the index and the groups; see `Engine.save`."""
        return super().save(folder) | {"trees": TREES}

    @classmethod
    def _make(cls, vectors: FloatArray, order: Rows, spared: int, threads: int) -> Any:
        index = AnnoyIndex(vectors.shape[1], "angular")
        index.set_seed(SEED)
        for number, row in enumerate(order):
            index.add_item(number, vectors[row].tolist())
        index.build(TREES, n_jobs=threads)
        return index

    @classmethod
    def _complete(cls, index: Any, vectors: FloatArray, order: Rows) -> None:
        """Do nothing: a row moves the planes of a forest so little that the sample is in it."""

    @classmethod
    def _most_effort(cls, count: int) -> int:
        return TREES * count

    @classmethod
    def _nearest(
        cls, index: Any, queries: FloatArray, k: int, effort: int
    ) -> tuple[Rows, FloatArray]:
        rows: list[list[int]] = []
        scores: list[list[float]] = []
        # lists throughout: Annoy reads arrays ten times slower, and after a search, which empties
        # the processor's caches, numpy takes longer for ten numbers than Python
        for query in queries.tolist():
            found, chords = index.get_nns_by_vector(query, k, effort, True)
            missing = k - len(found)
            rows.append(found + [NO_ROW] * missing)
            # Annoy's angular distance is the chord between unit vectors
            cosines = [1 - chord * chord / 2 for chord in chords]
            scores.append(cosines + [-np.inf] * missing)
        return (
            np.array(rows, dtype=np.int64).reshape(len(queries), k),
            np.array(scores, dtype=np.float32).reshape(len(queries), k),
        )

    @classmethod
    def _write(cls, index: Any, folder: Path) -> None:
        try:
            index.save(str(folder / FILE))
        except OSError as error:
            number = ERROR_NUMBER.search(str(error))
            raise OSError(int(number[1]) if number else None, str(error)) from error

    @classmethod
    def _map(cls, folder: Path, count: int, dim: int) -> Any:
        path = folder / FILE
        index = AnnoyIndex(dim, "angular")
        try:
            index.load(str(path), prefault=False)
        except OSError as error:
            raise DamagedIndex(f"{path} is no index of {dim} dimensions: {error}") from error
        trees = TREES if count == 1 else index.get_n_trees()  # of one vector it counts wrong
        if (index.get_n_items(), trees) != (count, TREES):
            raise DamagedIndex(
                f"{path} holds {index.get_n_items()} vectors in {trees} trees, not {count} in "
                f"{TREES}."
            )
        return index
