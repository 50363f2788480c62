#!/usr/bin/env python
"""Make a listening log whose structure is known, and what embedders would hear of its items.

usage: make_listening_log.py OUT [--flavour static|drift|guilty|null] [--users N] [--items N]
                                 [--clusters N] [--seed N] [--start D] [--test D] [--end D]
                                 [--sounds DIR | --audioset FILE.tfrecord]

In OUT are userid_trackid_timestamp.tsv, id_metadata.csv, embeddings/*_embeddings.parquet, and
truth.json, which is for tests alone. With --sounds or --audioset the items are those sounds, their
clusters are their labels, and no embeddings are made up: of records those they hold are written,
of sounds `sonic embed` makes them.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from soundalike.datasets import audioset, item_vectors
from soundalike.datasets.made_listening import FLAVOURS, Made, Plan, make
from soundalike.errors import BadRequest, SoundalikeError
from soundalike.evaluation.heard import END, START, TEST, Dates

COMMON_LABELS = {0, 137}  # Speech and Music, which half of all records share
POOLINGS = ("mean", "meanstd", "flatten10")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the log that was asked for."""
    args = parser().parse_args(arguments)
    try:
        dates = Dates.parse(args.start, args.test, args.end)
        ids, clusters = items(args)
        plan = Plan(
            dates.start, dates.test, dates.end, args.flavour, args.users, args.items,
            args.clusters, args.seed, ids, clusters,
        )  # fmt: skip
        made = make(plan)
        write(made, args.out, views=not ids)
    except (SoundalikeError, OSError) as fault:
        print(f"make_listening_log.py: {fault}", file=sys.stderr)
        return 1
    print(f"{args.out}: {len(made.users)} plays, {args.users} users, {len(made.item_ids)} items")
    return 0


def parser() -> argparse.ArgumentParser:
    """Make the parser."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("out", type=Path, metavar="OUT")
    made.add_argument("--flavour", choices=FLAVOURS, default="static")
    for option, default in (("users", 2000), ("items", 3000), ("clusters", 20), ("seed", 8)):
        made.add_argument(f"--{option}", type=int, default=default)
    for option, date in (("start", START), ("test", TEST), ("end", END)):
        made.add_argument(f"--{option}", default=date)
    source = made.add_mutually_exclusive_group()
    source.add_argument("--sounds", type=Path, help="a folder whose sub-folders are labels")
    source.add_argument("--audioset", type=Path, help="AudioSet's features")
    return made


def items(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Find the items that exist already, and their clusters; none where they are to be made up."""
    if args.sounds:
        from soundalike.cli.index import find_sounds

        sounds = [one for one in find_sounds(args.sounds) if "label" in one.metadata]
        ids = [one.path.stem for one in sounds]
        if not ids or len(set(ids)) < len(ids):
            raise BadRequest(f"'{args.sounds}' has no folders of sounds with names of their own.")
        return ids, [one.metadata["label"] for one in sounds]
    if args.audioset:
        chosen = list(_records(args))
        if not chosen:
            raise BadRequest(f"'{args.audioset}' has no record of a label that serves.")
        ids = [record.video_id for record, _ in chosen]
        for pooling in POOLINGS:
            rows = np.stack([audioset.vector(record, pooling) for record, _ in chosen])
            name = f"audioset_{pooling}_embeddings.parquet"
            item_vectors.write(args.out / "embeddings" / name, ids, rows)
        return ids, [str(label) for _, label in chosen]
    return [], []


def _records(args: argparse.Namespace) -> Iterator[tuple[audioset.Record, int]]:
    """Choose records of the most common labels, each under one of them."""
    with args.audioset.open("rb") as file:
        records = {record.video_id: record for record in audioset.read(file)}
    counts = Counter(label for record in records.values() for label in record.labels)
    common = [label for label, _ in counts.most_common() if label not in COMMON_LABELS]
    kept = set(common[: args.clusters])
    found = 0
    for record in records.values():
        label = next((one for one in record.labels if one in kept), None)
        if label is not None and found < args.items:
            found += 1
            yield record, label


def write(made: Made, out: Path, *, views: bool = True) -> None:
    """Write a log in the layout of Music4All-Onion, and what is known of its items."""
    out.mkdir(parents=True, exist_ok=True)
    moments = made.times.astype("datetime64[ms]").astype(datetime)
    with (out / "userid_trackid_timestamp.tsv").open("w", encoding="utf-8") as file:
        file.write("user_id\ttrack_id\ttimestamp\n")
        for user, item, moment in zip(made.users, made.items, moments, strict=True):
            file.write(
                f"{made.user_ids[user]}\t{made.item_ids[item]}\t{moment:%Y-%m-%d %H:%M:%S}\n"
            )
    with (out / "id_metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *made.metadata])
        writer.writerows(zip(made.item_ids, *made.metadata.values(), strict=True))
    for name, view in made.views.items() if views else ():
        path = out / "embeddings" / f"{name}_embeddings.parquet"
        item_vectors.write(path, made.item_ids, view)
    truth = {
        "cluster_of_item": dict(zip(made.item_ids, made.clusters.tolist(), strict=True)),
        "home_of_user": dict(zip(made.user_ids, made.homes.tolist(), strict=True)),
        "released": {
            made.item_ids[item]: datetime.fromtimestamp(int(moment) / 1000, UTC).isoformat()
            for item, moment in enumerate(made.releases)
            if moment
        },
    }
    (out / "truth.json").write_text(json.dumps(truth), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
