"""What it is worth that an index looks along fewer directions, on AudioSet's real features.

    OMP_NUM_THREADS=1 python benchmarks/narrowing.py [../shared/audioset/bal_train.tfrecord]

Every engine is built twice, as it is and with all numbers of each vector, and both are asked in
turn for the ten nearest of every 75th record, which they do not hold. Each reaches the recall that
its own calibration aims at.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")

import in_process
import numpy as np
from in_process import Contender
from vectors import Data, K

from soundalike.datasets import audioset
from soundalike.engines import narrowing

RECORDS = Path("../shared/audioset/bal_train.tfrecord")
ONE_IN = 75
ROUND_S = 0.5


def read(path: Path) -> Data:
    """Part the records into vectors and queries, mean and deviation of each at unit length."""
    with path.open("rb") as file:
        rows = np.stack([audioset.vector(one) for one in audioset.read(file)])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    asked = np.arange(len(rows)) % ONE_IN == 0
    vectors, queries = np.ascontiguousarray(rows[~asked]), np.ascontiguousarray(rows[asked])
    nearest = np.argpartition(-(queries @ vectors.T), K, axis=1)[:, :K]
    return Data(vectors, queries, [set(found) for found in nearest.tolist()])


def contenders(data: Data) -> Iterator[Contender]:
    for name in ("annoy", "faiss"):
        if not in_process.installed(name):
            continue
        with mock.patch.object(narrowing, "WIDTHS", ()):
            whole = in_process.engine_contender(data, name)
        whole.name = f"{name}, all numbers"
        yield whole
        yield in_process.engine_contender(data, name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=Path, nargs="?", default=RECORDS)
    data = read(parser.parse_args().records)
    print(f"{len(data.vectors):,} x {data.vectors.shape[1]}, {len(data.queries)} queries")
    raced = list(contenders(data))
    in_process.race(data, raced, ROUND_S)
    base = raced[0].told()["single_per_cpu_s"]
    print("\n| | recall | queries / CPU s | ratio |\n|---|---|---|---|")
    for row in (one.told() for one in raced):
        rate = row["single_per_cpu_s"]
        print(f"| {row['name']} | {row['recall']:.3f} | {rate:,.0f} | {rate / base:.2f} |")


if __name__ == "__main__":
    main()
