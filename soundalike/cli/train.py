"""`soundalike train mini FOLDER`: train our own embedder, from nothing but synthesised sound."""

from __future__ import annotations

import argparse
import math
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundalike.cli.common import print_json
from soundalike.errors import BadRequest

if TYPE_CHECKING:
    from soundalike.training.train import Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("what", choices=["mini"], help="the embedder")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the run is kept")
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="TOML (that of the release)")
    parser.add_argument("--seed", type=int, help="in place of the recipe's")
    parser.add_argument("--steps", type=int, help="in place of the recipe's")
    parser.add_argument("--pairs", type=int, help="how many, in place of the recipe's")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was killed")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
    parser.add_argument(
        "--threads", type=int, help="of torch, and processes that make sounds (all cores)"
    )
    parser.add_argument("--json", action="store_true", help="print the card, and no progress")


def run(args: argparse.Namespace) -> int:
    """Train; what is written lies in the folder."""
    for package in ("torch", "scipy", "safetensors"):
        if find_spec(package) is None:
            raise BadRequest(
                f"Training needs {package}, which is not installed: "
                "pip install 'soundalike[training]'."
            )
    from soundalike.embedders.runtime import cores
    from soundalike.evaluation.recommenders.training import device_named
    from soundalike.training import recipe
    from soundalike.training.run import run as train

    how = (recipe.read(args.recipe) if args.recipe else recipe.read()).but(
        seed=args.seed, steps=args.steps, pairs=args.pairs
    )
    threads = cores() if args.threads is None else args.threads
    if threads < 1:
        raise BadRequest(f"--threads is 1 or more, not {threads}.")
    bars = _Bars(quiet=args.json)
    try:
        card = train(
            args.folder,
            how,
            device=device_named(args.device),
            threads=threads,
            resume=args.resume,
            watcher=bars,
        )
    finally:
        bars.close()
    if args.json:
        print_json(card)
    else:
        print(f"{card['steps']} steps, {card['partners_found'][-1][1]:.1%} of partners found.")
        print(f"Weights, standards and card are in '{args.folder}'.")
    return 0


class _Bars:
    """A progress bar for pairs, for steps and for clips, one after the other."""

    def __init__(self, *, quiet: bool) -> None:
        self._disable = True if quiet else None
        self._bar: Any = None
        self._what: str | None = None

    def made(self, what: str, more: int, total: int) -> None:
        self._open(what, total).update(more)

    def trained(self, progress: Progress, steps: int) -> None:
        bar = self._open("steps", steps)
        bar.update(progress.step - bar.n)
        found = progress.found[-1][1] if progress.found else math.nan
        bar.set_postfix_str(f"loss {progress.loss:.3f}, found {found:.3f}", refresh=False)

    def _open(self, what: str, total: int) -> Any:
        from tqdm import tqdm

        if self._what != what:
            self.close()
            self._what = what
            self._bar = tqdm(total=total, desc=what, disable=self._disable)
        return self._bar

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
