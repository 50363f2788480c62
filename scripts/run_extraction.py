#!/usr/bin/env python3
"""Extract OpenL3, CREPE, madmom and MERT embeddings from a folder of sounds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from soundalike.cli import main as soundalike

MODELS = ("openl3", "crepe", "madmom", "mert")


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the script's own flags."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--audio_dir", default="audio_files", help="folder with audio files (%(default)s)"
    )
    parser.add_argument(
        "--output_base",
        default="output/embeddings",
        help="folder the embeddings go to, one below it for each model (%(default)s)",
    )
    parser.add_argument(
        "--models",
        nargs="+",
        choices=MODELS,
        default=list(MODELS),
        metavar="MODEL",
        help=f"which models to use, of {', '.join(MODELS)} (all)",
    )
    parser.add_argument(
        "--skip_existing", action="store_true", help="skip files that already have embeddings"
    )
    parser.add_argument(
        "--verbose", action="store_true", help="print detailed output with embedding shapes"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Have `soundalike extract` do it; see there for what the exit code means."""
    args = make_parser().parse_args(arguments)
    flags = [f"--{name}" for name in ("skip_existing", "verbose") if getattr(args, name)]
    out = ["--out", args.output_base]
    return soundalike(["extract", *flags, *out, "--models", *args.models, "--", args.audio_dir])


if __name__ == "__main__":
    sys.exit(main())
