"""`soundalike embed FILE...`: the vectors of sounds, or of texts, without a service."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from soundalike.cli.common import one_thread_a_sound, print_json
from soundalike.errors import AudioError, BadRequest

if TYPE_CHECKING:
    from soundalike.extract.extractor import Extractor
    from soundalike.types import FloatArray, Space

SHOWN = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="sounds")
    parser.add_argument(
        "--text",
        action="append",
        metavar="WORDS",
        help="words in place of sounds, where the embedder reads them; may be said again",
    )
    parser.add_argument("--model", default="auto", help="embedder, options after a colon (auto)")
    parser.add_argument(
        "--pooling", default=None, help="mean, meanstd, max, percentiles, flatten10 or none"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, whole")


def run(args: argparse.Namespace) -> int:
    """Embed each file, or each text; a file that fails does not stop the others."""
    one_thread_a_sound()
    from soundalike.extract.loading import Extractors

    if bool(args.files) == bool(args.text):
        raise BadRequest("Name sounds, or give words with --text.")
    extractor = Extractors().get(args.model)
    if args.text:
        return _embed_texts(extractor, args)
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
            _show(file, extraction.space, extraction.values)
    return int(failed > 0)


def _embed_texts(extractor: Extractor, args: argparse.Namespace) -> int:
    if args.pooling:
        raise BadRequest("--pooling is for sounds.")
    space = extractor.space()
    for text, vector in zip(args.text, extractor.embed_texts(args.text), strict=True):
        if args.json:
            told = {"model": extractor.name, "space": str(space), "dim": len(vector)}
            print_json({"text": text, **told, "vector": vector})
        else:
            _show(text, space, vector)
    return 0


def _show(what: Path | str, space: Space, values: FloatArray) -> None:
    numbers = " ".join(f"{value:+.4f}" for value in values.flat[:SHOWN])
    shape = " x ".join(map(str, values.shape))
    print(f"{what}  {space}  {shape}  [{numbers} ...]")
