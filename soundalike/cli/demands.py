"""What else an answer of the recommender is to be like, on the command line."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add_demands(parser: argparse.ArgumentParser) -> None:
    """Add an option for each that the client takes."""
    group = parser.add_argument_group("what is demanded of the answer")
    group.add_argument(
        "--like", action="append", metavar="ID", dest="positive", help="an item that is liked too"
    )
    group.add_argument(
        "--dislike", action="append", metavar="ID", dest="negative", help="one that pushes away"
    )
    group.add_argument(
        "--filter", type=_filter, metavar="JSON", help='what metadata must be: {"genre": "jazz"}'
    )
    group.add_argument("--exclude", action="append", metavar="ID", help="an item to leave out")
    group.add_argument("--min-score", type=float, metavar="COSINE", help="the least score")
    group.add_argument(
        "--diversity", type=float, metavar="SHARE", help="from 0, the nearest, to 1, variety"
    )
    group.add_argument(
        "--cap", action="append", type=_cap, metavar="FIELD:N", dest="caps",
        help="the most results with one value of a field",
    )  # fmt: skip
    group.add_argument(
        "--collapse", type=float, metavar="COSINE", help="from which two results count as one"
    )
    group.add_argument("--exact", action="store_true", default=None, help="compare with every item")


def demands(args: argparse.Namespace) -> dict[str, Any]:
    """Give what `add_demands` read, as the client takes it."""
    from soundalike.client.demands import Demands

    read = {name: getattr(args, name) for name in Demands.__annotations__}
    told = {name: value for name, value in read.items() if value is not None}
    if args.caps is not None:
        told["caps"] = dict(args.caps)
    return told


def _filter(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise argparse.ArgumentTypeError(
            f"""{text!r} is no JSON object such as {{"genre": "jazz"}}"""
        )
    return parsed


def _cap(text: str) -> tuple[str, int]:
    field, _, most = text.rpartition(":")
    if not (field and most.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no field and number such as artist:2")
    return field, int(most)
