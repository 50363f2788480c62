"""Faiss's HNSW: a graph of near neighbours, searched from coarse to fine.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search
using hierarchical navigable small world graphs" (2018);
https://github.com/facebookresearch/faiss. Faster than Annoy at the same recall,
and slower to build.
"""

from __future__ import annotations

from dataclasses import dataclass
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
ORDER_FILE = "faiss.order.npy"
LINKS = 16
BUILD_EFFORT = 100
ROWS_AT_ONCE = 16_384


@dataclass(frozen=True, slots=True)
class _Graph:
    """Faiss's own index, and the row of each of its nodes.

    Attributes
    ----------
    nodes : faiss.IndexHNSWFlat
    order : ndarray of int64, shape (N + 1,)
        Ends with -1, which so is the row of Faiss's -1 too.
    """

    nodes: Any
    order: Rows


class FaissEngine(ApproximateEngine):
    """A navigable graph; its effort is how many candidates a search keeps."""

    name = "faiss"
    rows_per_effort = 50.0
    least_effort = RECALL_AT
    samples_spared = 0

    @classmethod
    def _make(cls, vectors: FloatArray, sample: Rows, threads: int) -> _Graph:
        nodes = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        nodes.hnsw.efConstruction = BUILD_EFFORT
        others = np.delete(np.arange(len(vectors)), sample)
        graph = _Graph(nodes, np.concatenate([others, sample, [NO_ROW]]))
        faiss.omp_set_num_threads(threads)
        _add(graph, vectors, len(others))
        return graph

    @classmethod
    def _complete(cls, index: _Graph, vectors: FloatArray) -> None:
        _add(index, vectors, len(vectors))

    @classmethod
    def _most_effort(cls, count: int) -> int:
        return count

    @classmethod
    def _nearest(
        cls, index: _Graph, queries: FloatArray, k: int, effort: int
    ) -> tuple[Rows, FloatArray]:
        faiss.omp_set_num_threads(1)  # of the calling thread alone; it is its own worker
        scores, found = index.nodes.search(np.ascontiguousarray(queries), k, params=_asking(effort))
        scores[found == NO_ROW] = -np.inf
        return index.order[found], scores

    @classmethod
    def _write(cls, index: _Graph, folder: Path) -> None:
        with (folder / FILE).open("wb") as file:
            to = faiss.PyCallbackIOWriter(file.write)  # type: ignore[attr-defined]
            faiss.write_index(index.nodes, to)
        with (folder / ORDER_FILE).open("wb") as file:
            np.lib.format.write_array(file, index.order, allow_pickle=False)

    @classmethod
    def _map(cls, folder: Path, count: int, dim: int) -> _Graph:
        path = folder / FILE
        try:
            nodes = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
            order = np.load(folder / ORDER_FILE, mmap_mode="r", allow_pickle=False)
        except (RuntimeError, OSError, ValueError) as error:
            raise DamagedIndex(f"{path} and its order cannot be read: {error}") from error
        of_cosines = getattr(nodes, "metric_type", None) == faiss.METRIC_INNER_PRODUCT
        if not isinstance(nodes, faiss.IndexHNSWFlat) or not of_cosines:
            raise DamagedIndex(f"{path} holds no graph by inner product.")
        if (nodes.ntotal, nodes.d) != (count, dim) or not _is_order(order, count):
            raise DamagedIndex(f"{path} does not hold {count} vectors of {dim} dimensions.")
        return _Graph(nodes, order.view(np.ndarray))


def _add(graph: _Graph, vectors: FloatArray, until: int) -> None:
    """Take in what is missing of the first nodes, in runs that fit into memory."""
    for start in range(graph.nodes.ntotal, until, ROWS_AT_ONCE):
        graph.nodes.add(vectors[graph.order[start : min(start + ROWS_AT_ONCE, until)]])


def _is_order(order: Rows, count: int) -> bool:
    sound = order.shape == (count + 1,) and order.dtype == np.int64 and order[-1] == NO_ROW
    return sound and bool((np.sort(order[:-1]) == np.arange(count)).all())


@lru_cache(maxsize=64)
def _asking(effort: int) -> Any:
    """Give the settings of a search; made once, since that takes as long as a short search."""
    return faiss.SearchParametersHNSW(efSearch=effort)  # type: ignore[attr-defined]
