"""`soundalike similarity FILE...`: how alike sounds are, every two of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from soundalike.cli.common import one_thread_a_sound, print_json
from soundalike.errors import AudioError, BadRequest

if TYPE_CHECKING:
    from soundalike.extract.extraction import Extraction
    from soundalike.pictures.heatmap import Similarities
    from soundalike.types import Clip

MOST_SECONDS = 3600.0
LONGEST_HEADING, NARROWEST_COLUMN = 12, 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="sounds")
    parser.add_argument("--model", default="auto", help="embedder, options after a colon (auto)")
    parser.add_argument(
        "--pooling", default=None, help="mean, meanstd, max, percentiles or flatten10"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=None,
        help="cut every sound to this length, or fill it up with silence; whole sounds otherwise",
    )
    parser.add_argument("--svg", type=Path, metavar="OUT", help="draw a heatmap as SVG")
    parser.add_argument("--png", type=Path, metavar="OUT", help="draw it as PNG")
    parser.add_argument("--json", action="store_true", help="the matrix as JSON")


def run(args: argparse.Namespace) -> int:
    """Embed the sounds, print their cosines and draw them; one that fails is left out."""
    one_thread_a_sound()
    _check(args)
    heard, failed = _hear(args)
    for file, reason in failed.items():
        print(f"{file}: {reason}", file=sys.stderr)
    if not heard:
        return 1
    matrix = _cosines(list(heard.values()))
    names = _names(list(heard))
    if args.json:
        one = next(iter(heard.values()))
        print_json(
            {
                "model": one.model,
                "space": str(one.space),
                "files": [str(file) for file in heard],
                "similarity": matrix,
                "failed": [{"file": str(file), "reason": why} for file, why in failed.items()],
            }
        )
    else:
        print(table(matrix, names))
    _draw(args, matrix, names)
    return int(bool(failed))


def _check(args: argparse.Namespace) -> None:
    from soundalike.pooling import NO_POOLING

    if args.pooling == NO_POOLING:
        raise BadRequest("Sounds are compared by their vectors, so there must be a pooling.")
    if args.seconds is not None and not 0 < args.seconds <= MOST_SECONDS:
        raise BadRequest(
            f"--seconds is {args.seconds:g}, and must be above 0 and at most {MOST_SECONDS:g}."
        )


def _hear(args: argparse.Namespace) -> tuple[dict[Path, Extraction], dict[Path, str]]:
    """Embed each file once; gives what came of them, and why others failed."""
    from tqdm import tqdm

    from soundalike.audio.decode import decode
    from soundalike.extract.loading import Extractors

    extractor = Extractors().get(args.model)
    heard: dict[Path, Extraction] = {}
    failed: dict[Path, str] = {}
    for file in tqdm(dict.fromkeys(args.files), unit="file", disable=None):
        try:
            clip = decode(file, first_s=args.seconds, mono=True)
            heard[file] = extractor.extract(_filled(clip, args.seconds), args.pooling)
        except (AudioError, OSError) as fault:
            failed[file] = str(fault)
    return heard, failed


def _filled(clip: Clip, seconds: float | None) -> Clip:
    """Add silence to a sound that is shorter."""
    from dataclasses import replace

    import numpy as np

    missing = round((seconds or 0) * clip.sample_rate) - clip.samples.shape[1]
    if missing <= 0:
        return clip
    return replace(clip, samples=np.pad(clip.samples, ((0, 0), (0, missing))))


def _cosines(heard: Sequence[Extraction]) -> Similarities:
    import numpy as np

    units = np.stack([one.values for one in heard]).astype(np.float64)
    matrix: Similarities = np.clip(units @ units.T, -1, 1)
    return matrix


def _names(files: Sequence[Path]) -> list[str]:
    """Call files by their names without endings, or by their paths where these are not unique."""
    stems = [file.stem for file in files]
    return stems if len(set(stems)) == len(stems) else [str(file) for file in files]


def table(matrix: Similarities, names: Sequence[str]) -> str:
    """Lay out a matrix with a row and a column a name; long names are cut in the heading.

    Parameters
    ----------
    matrix : ndarray of float, shape (N, N)
    names : sequence of str, length N

    Returns
    -------
    str
        N + 1 lines.
    """
    headings = [name[-LONGEST_HEADING:] for name in names]
    widths = [max(NARROWEST_COLUMN, len(heading)) for heading in headings]
    first = max(map(len, names))
    rows = [headings, *([f"{value:.3f}" for value in row] for row in matrix)]
    return "\n".join(
        "  ".join([name.ljust(first), *(c.rjust(w) for c, w in zip(row, widths, strict=True))])
        for name, row in zip(["", *names], rows, strict=True)
    )


def _draw(args: argparse.Namespace, matrix: Similarities, names: Sequence[str]) -> None:
    from soundalike.pictures import heatmap

    if args.svg:
        args.svg.expanduser().write_text(heatmap.svg(matrix, names), encoding="utf-8")
    if args.png:
        args.png.expanduser().write_bytes(heatmap.png(matrix, names))
