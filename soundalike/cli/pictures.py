"""`soundalike pictures DIR`: pictures of every sound in a folder."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from soundalike.cli.common import print_json
from soundalike.cli.index import find_sounds
from soundalike.pictures.settings import KINDS, USUAL_KINDS, Settings

if TYPE_CHECKING:
    from soundalike.pictures.folder import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="every sound below it")
    parser.add_argument(
        "--out", type=Path, default=Path("pictures"), help="where they go (%(default)s)"
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=list(KINDS),
        default=list(USUAL_KINDS),
        metavar="KIND",
        help=f"{', '.join(KINDS)} ({' '.join(USUAL_KINDS)})",
    )
    parser.add_argument("--bare", action="store_true", help="the colours alone, without axes")
    parser.add_argument("--force", action="store_true", help="draw again what is there")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    for one in fields(Settings):
        parser.add_argument(
            f"--{one.name.replace('_', '-')}",
            type=type(one.default),
            default=one.default,
            help=f"{one.metadata['help']} (%(default)s)",
        )


def run(args: argparse.Namespace) -> int:
    """Draw what is missing and say what became of it."""
    # the processes share the cores among them; threads within each would only stand in the way
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from tqdm import tqdm

    from soundalike.errors import BadRequest
    from soundalike.pictures.folder import Job, Order, draw_all

    if args.jobs < 1:
        raise BadRequest(f"--jobs is {args.jobs}, and must be 1 or more.")
    settings = Settings(**{one.name: getattr(args, one.name) for one in fields(Settings)})
    order = Order(args.out.expanduser(), args.kinds, settings, args.bare, args.force)
    jobs = [Job(one.path, Path(one.id)) for one in find_sounds(args.folder.expanduser())]
    drawing = draw_all(jobs, order, min(args.jobs, len(jobs)))
    outcomes = list(tqdm(drawing, total=len(jobs), unit="file", disable=None))
    return _tell(outcomes, order.out, as_json=args.json)


def _tell(outcomes: list[Outcome], out: Path, *, as_json: bool) -> int:
    """Print what became of the sounds; give the exit code that belongs to it."""
    drawn = sum(one.drawn for one in outcomes)
    there = sum(one.there for one in outcomes)
    failed = [(str(one.job.target), one.fault) for one in outcomes if one.fault]
    if as_json:
        reasons = [{"file": name, "reason": reason} for name, reason in failed]
        print_json({"out": str(out), "drawn": drawn, "there": there, "failed": reasons})
    else:
        print(f"{drawn} drawn, {there} there already, {len(failed)} sounds failed, in '{out}'.")
        for name, reason in failed:
            print(f"  {name}: {reason}", file=sys.stderr)
    return int(bool(failed))
