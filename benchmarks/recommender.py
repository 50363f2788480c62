"""The recommender beside the libraries it stands on and the endpoint one would write oneself.

    OMP_NUM_THREADS=1 python benchmarks/recommender.py [--sizes 12228,100000] [--million] [--quick]

All in one run, in rounds that take turns, so that the ratios hold on a machine that does other
things too. Rates are queries per second of processor time: in process that of the thread, over HTTP
that of the server's processes. Annoy, faiss and hnswlib alone are set to the recall that our
catalogue reaches with Annoy; so is the plain endpoint. `--json FILE` writes every figure.
docs/performance.md tells what was found.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import filtered
import in_process
import served
import vectors
from in_process import Contender
from served import Served
from vectors import Data

SIZES, DIM = (12_228, 100_000), 512
MILLION, MILLION_DIM = 1_000_000, 128
KINDS = ("single", "json_64", "npy_64")
Table = list[dict[str, Any]]


def engines_here() -> list[str]:
    return ["annoy", *(["faiss"] if in_process.installed("faiss") else [])]


def run_in_process(
    data: Data, bare: Any, folder: Path, args: argparse.Namespace
) -> tuple[Table, int]:
    """Race everything in this process; gives the figures, and the search_k of equal recall."""
    with ExitStack() as stack:
        own = [
            stack.enter_context(in_process.catalogue_contender(data, name, folder / f"in-{name}"))
            for name in [*engines_here(), "exact"]
        ]
        reached = data.recall(own[0].search)
        search_k = in_process.equal_search_k(data, bare, reached)
        contenders = [
            Contender("Annoy, default", in_process.annoy_search(bare, -1)),
            Contender(f"Annoy, search_k {search_k}", in_process.annoy_search(bare, search_k)),
            in_process.exact_numpy(data),
            *_others(data, reached),
            *(in_process.engine_contender(data, name) for name in engines_here()),
            *own,
        ]
        in_process.race(data, contenders, args.round_s)
    return [one.told() for one in contenders], search_k


def _others(data: Data, recall: float) -> list[Contender]:
    made: dict[str, Callable[[Data, float], Contender]] = {
        "faiss": in_process.faiss_contender,
        "hnswlib": in_process.hnswlib_contender,
    }
    return [make(data, recall) for name, make in made.items() if in_process.installed(name)]


def run_served(data: Data, folder: Path, search_k: int, args: argparse.Namespace) -> Table:
    items = [{"id": f"{row:08}", "metadata": {"row": row}} for row in range(len(data.vectors))]
    (folder / "items.json").write_text(json.dumps(items))
    with ExitStack() as stack:
        other = stack.enter_context(served.plain(folder, data.vectors.shape[1], search_k))
        own: list[Served] = [
            stack.enter_context(served.ours(folder / f"http-{name}", name))
            for name in engines_here()
        ]
        for one in own:
            served.fill(one, data)
        services = [other, *own]
        for one in services:
            one.facts["recall"] = served.recall(one, data)
        served.race(services, data, args.rounds, args.requests)
        for one in services:
            served.measure_memory(one)
        for one in own:
            served.measure_rebuild(one, data, args.quiet_s)
            served.measure_writes(one, data.vectors.shape[1], args.writes)
    return [_told(one) for one in services]


def _told(service: Served) -> dict[str, Any]:
    rates = {name: statistics.median(rates) for name, rates in service.rounds.items()}
    return {"name": service.name, **service.facts, **rates}


def ratio(value: float | None, to: float) -> str:
    return "" if value is None else f"{value / to:.2f}"


def show_in_process(table: Table) -> None:
    equal = next(row for row in table if row["name"].startswith("Annoy, search_k"))
    base = equal["single_per_cpu_s"]
    print("\n| in process | recall | queries / CPU s | ratio | in batches of 64 | ratio |")
    print("|---|---|---|---|---|---|")
    for row in table:
        many = row["batch_per_cpu_s"]
        print(
            f"| {row['name']} | {row['recall']:.3f} | {row['single_per_cpu_s']:,.0f} | "
            f"{ratio(row['single_per_cpu_s'], base)} | {'' if many is None else f'{many:,.0f}'} | "
            f"{ratio(many, base)} |"
        )


def show_served(table: Table) -> None:
    plain = table[0]
    print("\n| over HTTP | recall | single / CPU s | ratio | 64 as JSON | ratio | 64 as .npy "
          "| ratio | p99 ms | RSS MB | PSS MB |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for row in table:
        bases = {"single": plain["single"], "json_64": plain["json_64"], "npy_64": plain["json_64"]}
        rates = [
            f"{row[kind]:,.0f} | {row[kind] / bases[kind]:.2f}" if kind in row else " | "
            for kind in KINDS
        ]
        print(
            f"| {row['name']} | {row['recall']:.3f} | {' | '.join(rates)} | {row['p99_ms']:.2f} | "
            f"{row['rss_mb']:.0f} | {row['pss_mb']:.0f} |"
        )


def show_writes(table: Table) -> None:
    print("\n| writes | fill s | rebuild s | writes/s, 1 and 8 connections | items/s by 100 "
          "| seen after ms | p99 ms quiet | while rebuilding | ratio |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    for row in table[1:]:
        quiet, busy = row["p99_ms_quiet"], row["p99_ms_rebuilding"]
        print(
            f"| {row['name']} | {row['fill_s']:.1f} | {row['rebuild_s']:.1f} | "
            f"{row['writes_per_s_1']:,.0f}, {row['writes_per_s_8']:,.0f} | "
            f"{row['items_per_s_by_100']:,.0f} | {row['seen_after_ms']:.2f} | "
            f"{quiet:.2f} | {busy:.2f} | {busy / quiet:.2f} |"
        )


def run(size: int, dim: int, args: argparse.Namespace) -> dict[str, Any]:
    print(f"\n## {size:,} x {dim}", flush=True)
    data = vectors.make(size, dim)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        bare = in_process.bare_annoy(data.vectors, folder / "plain.ann")
        inside: Table = []
        through: Table = []
        search_k = args.served_alone
        if search_k is None:
            inside, search_k = run_in_process(data, bare, folder, args)
            show_in_process(inside)
            through = filtered.measure(data, folder / "filtered")
            filtered.show(through)
            sys.stdout.flush()
        outside = run_served(data, folder, search_k, args)
        show_served(outside)
        show_writes(outside)
    return {"size": size, "dim": dim, "in_process": inside, "filtered": through, "http": outside}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="items (%(default)s)")
    parser.add_argument("--dim", type=int, default=DIM, help="numbers in a vector (%(default)s)")
    parser.add_argument("--million", action="store_true", help="1,000,000 x 128 as well")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument(
        "--served-alone",
        type=int,
        metavar="SEARCH_K",
        help="over HTTP alone, beside Annoy at this effort, which a race in one process found",
    )
    parser.add_argument("--json", type=Path, default=None, help="file for every figure")
    parser.add_argument("--folder", type=Path, default=None, help="where there is room")
    args = parser.parse_args(arguments)
    quick = args.quick
    args.round_s, args.rounds, args.requests = (0.1, 2, 300) if quick else (0.5, 5, 1000)
    args.quiet_s, args.writes = (2.0, 200) if quick else (10.0, 1000)
    return args


def main() -> None:
    args = parse()
    wanted = [(int(size), args.dim) for size in args.sizes.split(",") if size]
    wanted += [(MILLION, MILLION_DIM)] if args.million else []
    found = [run(size, dim, args) for size, dim in wanted]
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
