"""`soundalike audit COLLECTION`: what is wrong in a collection."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.cli.common import add_services, client, print_json

if TYPE_CHECKING:
    from soundalike.client import RecommenderClient

SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "collection", nargs="?", default="default", metavar="COLLECTION", help="(%(default)s)"
    )
    parser.add_argument(
        "-k", type=int, help="how many neighbours of each item count; the service's 10 by default"
    )
    parser.add_argument("--limit", type=int, help=f"how many of each kind to list ({SHOWN})")
    parser.add_argument(
        "--files",
        action="store_true",
        help="look whether the files are still where they were indexed from, on this machine",
    )
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    add_services(parser)


def run(args: argparse.Namespace) -> int:
    """Have the collection looked at and print what was found."""
    limit = SHOWN if args.limit is None else args.limit
    with client(args) as services:
        told = services.recommender.audit(args.collection, k=args.k, limit=limit)
        if args.files:
            lost = list(lost_files(services.recommender, args.collection))
            told["lost_files"] = {"count": len(lost), "listed": lost[:limit]}
    if args.json:
        print_json(told)
    else:
        print("\n".join(report(told)))
    return 0


def lost_files(recommender: RecommenderClient, collection: str) -> Iterator[str]:
    """Name the items whose files are not where their metadata say."""
    for item in recommender.items(collection):
        path = item["metadata"].get("path")
        if isinstance(path, str) and not Path(path).is_file():
            yield item["id"]


def report(told: dict[str, Any]) -> Iterator[str]:
    """Lay out what the recommender told, a line a finding.

    Parameters
    ----------
    told : dict
        The answer of `GET /collections/{name}/audit`, and `lost_files` where those were looked for.
    """
    yield f"{told['collection']}: {told['items']:,} items of {told['space']}"
    yield (
        f"  {told['dim']} numbers each, {_megabytes(told['vector_bytes'])} of vectors, "
        f"{_megabytes(told['metadata_bytes'])} of metadata, {told['seconds'] / 3600:,.1f} hours"
    )
    recall, hubs = told["recall"], told["hubs"]
    yield (
        f"  recall {recall['value']:.3f} over {recall['queries']} queries, by {told['engine']}"
        if recall["queries"]
        else "  every query is compared with every item"
    )
    yield (
        f"  {hubs['never']:,} items are among nobody's {hubs['k']} nearest; "
        f"skewness {hubs['skewness']:.2f}"
    )
    for heading, found, show in _sections(told):
        yield f"{heading}: {found['count']:,}"
        yield from (f"  {show(one)}" for one in found["listed"])


def _sections(told: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    yield "groups of exact duplicates", told["exact_duplicates"], _group
    yield "pairs of near duplicates", told["near_duplicates"], _pair
    yield "pairs alike, without the fingerprints to tell", told["alike"], _pair
    yield "hubs, near to very many others", told["hubs"], _hub
    yield "silent items", told["silent"], str
    yield "vectors that many different sounds have", told["constant"], _constant
    yield "items without a source", told["without_source"], str
    yield "items without a fingerprint", told["without_fingerprint"], str
    if "lost_files" in told:
        yield "items whose files are gone", told["lost_files"], str


def _group(one: dict[str, Any]) -> str:
    return f"{' = '.join(one['ids'])} ({one['proof']})"


def _pair(one: dict[str, Any]) -> str:
    wrong = one["bit_error_rate"]
    differing = "" if wrong is None else f", {wrong:.1%} of bits differ"
    return f"{' ~ '.join(one['ids'])} (cosine {one['score']:.4f}{differing})"


def _hub(one: dict[str, Any]) -> str:
    return f"{one['id']} ({one['occurrences']:,} times)"


def _constant(one: dict[str, Any]) -> str:
    return f"{one['items']:,} items: {', '.join(one['ids'])}, ..."


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
