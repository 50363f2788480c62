"""Filters that let little or much through, beside the query without one."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from in_process import ITEMS_AT_ONCE
from vectors import Data, K

from soundalike.catalogue import LocalCatalogue, filters
from soundalike.catalogue.asks import Ask, Example, Query
from soundalike.types import Item

BUCKETS = 1000
SHARES = (0.001, 0.01, 0.1, 0.9)
QUERIES = 50


def measure(data: Data, folder: Path, engine: str = "annoy") -> list[dict[str, Any]]:
    """Time each share of the items in turn, and compare the answers with a scan of that share."""
    with LocalCatalogue(folder, engine=engine) as catalogue:
        catalogue.create("c", space="benchmark/1", dim=data.vectors.shape[1])
        items = [
            Item(f"{row:08}", vector, {"bucket": row % BUCKETS, "title": f"item {row}"})
            for row, vector in enumerate(data.vectors)
        ]
        for start in range(0, len(items), ITEMS_AT_ONCE):
            catalogue.upsert("c", items[start : start + ITEMS_AT_ONCE])
        catalogue.rebuild("c")
        plain = [_timed(catalogue, query)[1] for query in data.queries[:QUERIES]]
        rows = [{"share": None, "recall": None, "p50_ms": 1000 * statistics.median(plain)}]
        began = time.perf_counter()
        _timed(catalogue, _ask(data.queries[0], SHARES[0]))
        rows[0]["first_ms"] = 1000 * (time.perf_counter() - began)
        return rows + [_row(catalogue, data, share) for share in SHARES]


def _row(catalogue: LocalCatalogue, data: Data, share: float) -> dict[str, Any]:
    let_through = np.flatnonzero(np.arange(len(data.vectors)) % BUCKETS < share * BUCKETS)
    seconds, found = [], 0
    for query in data.queries[:QUERIES]:
        ids, took = _timed(catalogue, _ask(query, share))
        seconds.append(took)
        scores = data.vectors[let_through] @ query
        right = let_through[np.argsort(-scores)[:K]]
        found += len(set(ids) & {f"{row:08}" for row in right})
    return {
        "share": share,
        "recall": found / (K * QUERIES),
        "p50_ms": 1000 * statistics.median(seconds),
    }


def _ask(query: Query, share: float) -> Ask:
    return Ask(likes=[Example(query)], filter=filters.parse({"bucket": {"lt": share * BUCKETS}}))


def _timed(catalogue: LocalCatalogue, query: Query | Ask) -> tuple[list[str], float]:
    began = time.perf_counter()
    (answer,) = catalogue.recommend("c", [query], K)
    return [one.id for one in answer.neighbours], time.perf_counter() - began


def show(rows: list[dict[str, Any]]) -> None:
    plain = rows[0]
    print(f"\nThe first filter that names a field: {plain['first_ms']:,.0f} ms.")
    print("\n| filter lets through | recall | p50 ms | times the query without |")
    print("|---|---|---|---|")
    for row in rows[1:]:
        print(
            f"| {row['share']:.1%} | {row['recall']:.3f} | {row['p50_ms']:.2f} | "
            f"{row['p50_ms'] / plain['p50_ms']:.1f} |"
        )
