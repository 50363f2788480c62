"""Faiss's HNSW: a graph of near neighbours, searched from coarse to fine.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search
using hierarchical navigable small world graphs" (2018);
https://github.com/facebookresearch/faiss. Faster than Annoy at the same recall,
and slower to build.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from soundalike.engines.approximate import ApproximateEngine
from soundalike.engines.base import NO_ROW, Rows
from soundalike.engines.calibration import RECALL_AT
from soundalike.errors import DamagedIndex
from soundalike.types import FloatArray

FILE = "faiss.index"
LINKS = 16
BUILD_EFFORT = 100
BYTES_AT_ONCE = 1 << 30
STORED_AS = faiss.ScalarQuantizer.QT_fp16  # half the bytes to read, and two thirds of the time


class FaissEngine(ApproximateEngine):
    """A navigable graph; its effort is how many candidates a search keeps."""

    name = "faiss"
    rows_per_effort = 30.0
    rough = 6
    least_effort = RECALL_AT
    samples_spared = 0

    @classmethod
    def _make(cls, vectors: FloatArray, order: Rows, spared: int, threads: int) -> Any:
        of_cosines = faiss.METRIC_INNER_PRODUCT
        index: Any = faiss.IndexHNSWSQ(vectors.shape[1], STORED_AS, LINKS, of_cosines)  # type: ignore[arg-type]
        index.hnsw.efConstruction = BUILD_EFFORT
        index.is_trained = True  # rounding has nothing to learn
        faiss.omp_set_num_threads(threads)
        _add(index, vectors, order[: len(order) - spared])
        return index

    @classmethod
    def _complete(cls, index: Any, vectors: FloatArray, order: Rows) -> None:
        _add(index, vectors, order[index.ntotal :])

    @classmethod
    def _most_effort(cls, count: int) -> int:
        return count

    @classmethod
    def _nearest(
        cls, index: Any, queries: FloatArray, k: int, effort: int
    ) -> tuple[Rows, FloatArray]:
        faiss.omp_set_num_threads(1)  # of the calling thread alone; it is its own worker
        scores, found = index.search(np.ascontiguousarray(queries), k, params=_asking(effort))
        scores[found == NO_ROW] = -np.inf
        return found, scores

    @classmethod
    def _write(cls, index: Any, folder: Path) -> None:
        with (folder / FILE).open("wb") as file:
            to = faiss.PyCallbackIOWriter(file.write)  # type: ignore[attr-defined]
            faiss.write_index(index, to)

    @classmethod
    def _map(cls, folder: Path, count: int, dim: int) -> Any:
        path = folder / FILE
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise DamagedIndex(f"{path} cannot be read: {error}") from error
        of_cosines = getattr(index, "metric_type", None) == faiss.METRIC_INNER_PRODUCT
        if not isinstance(index, faiss.IndexHNSWSQ) or not of_cosines:
            raise DamagedIndex(f"{path} holds no graph by inner product.")
        stored: Any = faiss.downcast_index(index.storage)
        if (index.ntotal, index.d, stored.sq.qtype) != (count, dim, STORED_AS):
            raise DamagedIndex(f"{path} does not hold {count} vectors of {dim} dimensions.")
        return index


def _add(index: Any, vectors: FloatArray, rows: Rows) -> None:
    """Take in rows, in runs that fit into memory, and as long as that allows.

    Within a run the library links rows in an order drawn by chance. Short runs of rows that are
    near each other make a graph in which no effort finds all the way.
    """
    step = max(1, BYTES_AT_ONCE // vectors[:1].nbytes)
    for start in range(0, len(rows), step):
        index.add(vectors[rows[start : start + step]])


@lru_cache(maxsize=64)
def _asking(effort: int) -> Any:
    """Give the settings of a search; made once, since that takes as long as a short search."""
    return faiss.SearchParametersHNSW(efSearch=effort)  # type: ignore[attr-defined]
