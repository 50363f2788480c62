"""`soundalike models list`: the embedders and their facts."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from soundalike.cli.common import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("action", nargs="?", choices=["list"], default="list", help="what to do")
    parser.add_argument("--json", action="store_true", help="every fact, as JSON")


def run(args: argparse.Namespace) -> int:
    """List the embedders."""
    from soundalike import embedders

    cards = embedders.cards()
    if args.json:
        print_json([asdict(card) for card in cards.values()])
        return 0
    for card in cards.values():
        licence = card.weights.licence if card.weights else "no weights"
        print(f"{card.key:<14} {card.dim:>5} numbers  {card.sample_rate:>6} Hz  {licence}")
        print(f"{'':<14} {card.summary}")
    return 0
