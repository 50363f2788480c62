"""`soundalike recommend FILE-or-id`: what sounds like it."""

from __future__ import annotations

import argparse
from pathlib import Path

from soundalike.cli.common import add_collection, add_services, client, print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("sound", metavar="FILE-or-id", help="a sound, or an item's id")
    parser.add_argument("-k", type=int, default=10, help="how many neighbours (%(default)s)")
    parser.add_argument("--json", action="store_true", help="the answer as JSON")
    add_collection(parser)
    add_services(parser)


def run(args: argparse.Namespace) -> int:
    """Ask the recommender; what is a file here is sent, anything else is an id."""
    path = Path(args.sound)
    with client(args) as services:
        ask = services.recommender
        if path.is_file():
            answer = ask.recommend_audio(path, k=args.k, collection=args.collection)
        else:
            answer = ask.recommend(id=args.sound, k=args.k, collection=args.collection)
    if args.json:
        results = [
            {"id": one.id, "score": one.score, "metadata": one.metadata} for one in answer.results
        ]
        print_json({"collection": answer.collection, "space": answer.space, "results": results})
        return 0
    for one in answer.results:
        print(f"{one.score:.4f}  {one.id}")
    return 0
