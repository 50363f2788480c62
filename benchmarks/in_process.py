"""Libraries alone, and our engines and catalogue over them, in one process on one thread."""

from __future__ import annotations

import importlib.util
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from vectors import Data, Ids, K, Vectors, least_effort

from soundalike import engines
from soundalike.catalogue import LocalCatalogue
from soundalike.types import Item

TREES, M, EF_CONSTRUCTION = 50, 16, 100
ROUNDS, BATCH = 5, 64
ITEMS_AT_ONCE = 2000


@dataclass
class Contender:
    """Something that is asked, and how quick it was in each round."""

    name: str
    search: Callable[[Vectors], Ids]
    search_many: Callable[[Vectors], Any] | None = None
    recall: float = 0.0
    single: list[float] = field(default_factory=list)
    batch: list[float] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        many = statistics.median(self.batch) if self.batch else None
        return {
            "name": self.name,
            "recall": self.recall,
            "single_per_cpu_s": statistics.median(self.single),
            "batch_per_cpu_s": many,
        }


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def bare_annoy(vectors: Vectors, path: Path) -> Any:
    """Build an index with the trees that ours has, and map it from a file as a service would."""
    from annoy import AnnoyIndex

    building = AnnoyIndex(vectors.shape[1], "angular")
    building.set_seed(1)
    for row, vector in enumerate(vectors):
        building.add_item(row, vector)
    building.build(TREES, n_jobs=1)
    building.save(str(path))
    index = AnnoyIndex(vectors.shape[1], "angular")
    index.load(str(path))
    return index


def annoy_search(index: Any, search_k: int) -> Callable[[Vectors], Ids]:
    def search(query: Vectors) -> Ids:
        rows, _ = index.get_nns_by_vector(query, K, search_k=search_k, include_distances=True)
        return rows

    return search


def equal_search_k(data: Data, index: Any, recall: float) -> int:
    def search(search_k: int, query: Vectors) -> Ids:
        return annoy_search(index, search_k)(query)

    return least_effort(data, search, recall, least=K * TREES // 4)


def faiss_contender(data: Data, recall: float) -> Contender:
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexHNSWFlat(data.vectors.shape[1], M, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    index.add(data.vectors)

    def search(ef: int, query: Vectors) -> Ids:
        index.hnsw.efSearch = ef
        return index.search(query[np.newaxis], K)[1][0].tolist()

    ef = least_effort(data, search, recall, least=8)
    return Contender(
        f"faiss HNSW, ef {ef}", lambda query: search(ef, query), lambda some: index.search(some, K)
    )


def hnswlib_contender(data: Data, recall: float) -> Contender:
    import hnswlib

    index = hnswlib.Index("ip", data.vectors.shape[1])
    index.init_index(len(data.vectors), M=M, ef_construction=EF_CONSTRUCTION, random_seed=1)
    index.add_items(data.vectors, num_threads=1)

    def search(ef: int, query: Vectors) -> Ids:
        index.set_ef(ef)
        return index.knn_query(query, K, num_threads=1)[0][0].tolist()

    ef = least_effort(data, search, recall, least=10)
    return Contender(
        f"hnswlib, ef {ef}",
        lambda query: search(ef, query),
        lambda some: index.knn_query(some, K, num_threads=1),
    )


def exact_numpy(data: Data) -> Contender:
    def nearest(scores: Vectors) -> Ids:
        rows = np.argpartition(scores, -K)[-K:]
        return rows[np.argsort(-scores[rows])].tolist()

    def search(query: Vectors) -> Ids:
        return nearest(np.einsum("ij,j->i", data.vectors, query))

    def search_many(queries: Vectors) -> list[Ids]:
        return [nearest(scores) for scores in queries @ data.vectors.T]

    return Contender("exact, numpy", search, search_many)


def engine_contender(data: Data, name: str) -> Contender:
    engine = engines.load(name).build(data.vectors)
    return Contender(
        f"our engine {name}",
        lambda query: engine.search(query[np.newaxis], K)[0][0].tolist(),
        lambda some: engine.search(some, K),
    )


@contextmanager
def catalogue_contender(data: Data, name: str, folder: Path) -> Iterator[Contender]:
    with LocalCatalogue(folder, engine=name) as catalogue:
        catalogue.create("c", space="benchmark/1", dim=data.vectors.shape[1])
        items = [Item(f"{row:08}", vector) for row, vector in enumerate(data.vectors)]
        for start in range(0, len(items), ITEMS_AT_ONCE):
            catalogue.upsert("c", items[start : start + ITEMS_AT_ONCE])
        catalogue.rebuild("c")

        def search(query: Vectors) -> Ids:
            (answer,) = catalogue.recommend("c", [query], K)
            return [int(one.id) for one in answer.neighbours]

        yield Contender(
            f"our catalogue, {name}",
            search,
            lambda some: catalogue.recommend("c", list(some), K),
        )


def race(data: Data, contenders: list[Contender], round_s: float) -> None:
    """Ask all in turn, each for some seconds of the processor, in another order every round."""
    rng = random.Random(0)
    for one in contenders:
        one.recall = data.recall(one.search)
    for _ in range(ROUNDS):
        for one in rng.sample(contenders, len(contenders)):
            one.single.append(_rate(partial(_ask_one, one, data), 1, round_s))
            if one.search_many is not None:
                one.batch.append(_rate(partial(_ask_many, one, data), BATCH, round_s))


def _ask_one(contender: Contender, data: Data, start: int) -> None:
    contender.search(data.queries[start])


def _ask_many(contender: Contender, data: Data, start: int) -> None:
    assert contender.search_many is not None
    contender.search_many(data.queries[start : start + BATCH])


def _rate(ask: Callable[[int], Any], at_once: int, round_s: float) -> float:
    """Count queries per second of processor time."""
    starts = range(0, 256, at_once)
    asked, began = 0, time.process_time()
    while True:
        for start in starts:
            ask(start)
            asked += at_once
            if time.process_time() - began > round_s:
                return asked / (time.process_time() - began)
