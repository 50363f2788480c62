"""`soundalike evaluate retrieval` and `recommend`: what neighbours and recommenders are worth."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from soundalike.cli import recommenders
from soundalike.cli.common import add_services, print_json
from soundalike.cli.labelled import RECORDS, Wanted, read
from soundalike.errors import BadRequest

if TYPE_CHECKING:
    from soundalike.evaluation.retrieval import Labelled, Quality

AUDIOSET_COMMON = ("0", "137")  # Speech and Music, which half of all records share


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    summary = "measure how often the nearest items share a label"
    _add_retrieval(what.add_parser("retrieval", help=summary, description=summary.capitalize()))
    summary = "measure recommenders of music on a listening log"
    recommenders.add_arguments(
        what.add_parser("recommend", help=summary, description=summary.capitalize())
    )


def _add_retrieval(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(do=_retrieval)
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a collection, a folder whose sub-folders are labels, or an AudioSet .tfrecord",
    )
    parser.add_argument(
        "--label", default="label", metavar="FIELD", help="a collection's metadata (%(default)s)"
    )
    parser.add_argument(
        "--queries",
        metavar="SOURCE",
        help="find neighbours for these; by default each item's among all others",
    )
    parser.add_argument(
        "--model", action="append", default=[], help="embedder of a folder; may be repeated (auto)"
    )
    parser.add_argument("--poolings", type=_words, default=[], metavar="a,b", help="side by side")
    parser.add_argument(
        "--transforms", type=_words, default=["none"], metavar="a,b", help="side by side (none)"
    )
    parser.add_argument("--k", type=_numbers, default=[1, 10], metavar="1,10", help="(1,10)")
    parser.add_argument("--only-label", help="of an AudioSet .tfrecord: records with this label")
    parser.add_argument(
        "--ignore-labels",
        type=_words,
        metavar="a,b",
        help="labels that make no neighbour right "
        "(of a .tfrecord: that of --only-label, or Speech and Music: 0,137)",
    )
    parser.add_argument(
        "--apart",
        metavar="FIELD",
        help="a collection's metadata, such as artist: items that share it are not compared",
    )
    parser.add_argument("--json", action="store_true", help="every figure, as JSON")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the precisions too")
    add_services(parser)


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _numbers(text: str) -> list[int]:
    return sorted({int(word) for word in _words(text)})


def run(args: argparse.Namespace) -> int:
    """Measure what was asked for."""
    code: int = args.do(args)
    return code


def _retrieval(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    wanted = Wanted(args.model, args.poolings, args.label, args.apart, args.only_label)
    gallery = read(args.source, wanted, args)
    queries = read(args.queries, wanted, args) if args.queries else None
    pairs = _pairs(gallery.sets, queries.sets if queries else None)
    work = _evaluations(pairs, args)
    rows = [one() for one in tqdm(work, unit="row", disable=None)]
    _tell(rows, args)
    return int(gallery.failed + (queries.failed if queries else 0) > 0)


def _pairs(
    galleries: Sequence[Labelled], queries: Sequence[Labelled] | None
) -> list[tuple[Labelled, Labelled | None]]:
    """Put galleries and queries of the same space together."""
    if queries is None:
        return [(gallery, None) for gallery in galleries]
    by_space = {one.space: one for one in queries}
    for gallery in galleries:
        if gallery.space not in by_space:
            raise BadRequest(
                f"SOURCE is of space '{gallery.space}' and --queries of {', '.join(by_space)}; "
                "they cannot be compared."
            )
    return [(gallery, by_space[gallery.space]) for gallery in galleries]


def _evaluations(
    pairs: Sequence[tuple[Labelled, Labelled | None]], args: argparse.Namespace
) -> list[Callable[[], Quality]]:
    from functools import partial

    from soundalike.evaluation.retrieval import evaluate

    ignored = args.ignore_labels
    if ignored is None and Path(args.source).suffix == RECORDS:
        ignored = [args.only_label] if args.only_label else AUDIOSET_COMMON
    return [
        partial(evaluate, *pair, transform=transform, ks=args.k, ignored=ignored or ())
        for pair in pairs
        for transform in args.transforms
    ]


def _tell(rows: Sequence[Quality], args: argparse.Namespace) -> None:
    """Print the figures, and draw them where that was asked for."""
    from soundalike.evaluation import report

    if args.json:
        print_json(report.as_json(rows))
    else:
        print(report.as_table(rows))
    if args.svg is not None:
        from soundalike.pictures import curves

        marks = {"chance": max(one.random for one in rows[0].figures.precision.values())}
        args.svg.write_text(curves.intervals(report.intervals(rows), marks), encoding="utf-8")
