"""`soundalike recommend FILE-or-id`: what sounds like it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.cli.common import add_collection, add_services, client, print_json
from soundalike.cli.demands import add_demands, demands

if TYPE_CHECKING:
    from soundalike.client import Recommendation, RecommenderClient
    from soundalike.types import Neighbour


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("sound", nargs="?", metavar="FILE-or-id", help="a sound, or an item's id")
    asked.add_argument("--text", metavar="WORDS", help="words, where the embedder reads them")
    parser.add_argument(
        "--phrasings", action="store_true", help="with --text: average several phrasings"
    )
    parser.add_argument("-k", type=int, default=10, help="how many neighbours (%(default)s)")
    parser.add_argument("--json", action="store_true", help="the answer as JSON")
    add_collection(parser)
    add_demands(parser)
    add_services(parser)


def run(args: argparse.Namespace) -> int:
    """Ask the recommender and print what it finds."""
    with client(args) as services:
        answer = _ask(services.recommender, args)
    if args.json:
        results = [_plain(one) for one in answer.results]
        print_json({"collection": answer.collection, "space": answer.space, "results": results})
        return 0
    for one in answer.results:
        print("  ".join([f"{one.score:.4f}", one.id, *_links(one.metadata)]))
    return 0


def _plain(one: Neighbour) -> dict[str, Any]:
    """Lay a result out as the service does: what the query made no use of is left out."""
    told = {"id": one.id, "score": one.score, "metadata": one.metadata}
    if one.rank_score is not None:
        told["rank_score"] = one.rank_score
    if one.same is not None:
        told["same"] = [{"id": item, "score": score} for item, score in one.same]
    return told


def _links(metadata: dict[str, Any]) -> list[str]:
    """Give where an item can be heard, where its metadata tell."""
    url = metadata.get("url")
    return [url] if isinstance(url, str) and url.isprintable() else []


def _ask(recommender: RecommenderClient, args: argparse.Namespace) -> Recommendation:
    """Ask by words, by a sound where the argument is a file here, by an item's id otherwise."""
    how = {"k": args.k, "collection": args.collection, **demands(args)}
    if args.text is not None:
        return recommender.recommend_text(args.text, phrasings=args.phrasings, **how)
    path = Path(args.sound)
    if path.is_file():
        return recommender.recommend_audio(path, **how)
    return recommender.recommend(id=args.sound, **how)
