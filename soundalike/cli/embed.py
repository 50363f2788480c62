"""`soundalike embed FILE...`: the vectors of sounds, without a service."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from soundalike.cli.common import print_json
from soundalike.errors import AudioError

SHOWN = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="sounds")
    parser.add_argument("--model", default="auto", help="embedder, options after a colon (auto)")
    parser.add_argument(
        "--pooling", default=None, help="mean, meanstd, max, percentiles, flatten10 or none"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, whole")


def run(args: argparse.Namespace) -> int:
    """Embed each file; one that fails does not stop the others."""
    from soundalike.extract.loading import Extractors

    extractor = Extractors().get(args.model)
    failed = 0
    for file in args.files:
        try:
            extraction = extractor.extract(file, args.pooling)
        except (AudioError, OSError) as fault:
            failed += 1
            print(f"{file}: {fault}", file=sys.stderr)
            continue
        if args.json:
            print_json({"file": str(file), **extraction.as_dict()})
        else:
            numbers = " ".join(f"{value:+.4f}" for value in extraction.values.flat[:SHOWN])
            shape = " x ".join(map(str, extraction.values.shape))
            print(f"{file}  {extraction.space}  {shape}  [{numbers} ...]")
    return int(failed > 0)
