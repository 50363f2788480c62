"""The command line: one file a verb, each importing what it needs when it runs."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from soundalike.errors import BadRequest, SoundalikeError, UnknownModel

DONE, SOME_FAILED, WRONG_USE = 0, 1, 2

VERBS = {
    "serve": "start the embedder, the recommender, or both",
    "embed": "print the vectors of sounds",
    "extract": "write what models say of a folder of sounds as arrays, one a sound and model",
    "index": "put a folder of sounds, or AudioSet's records, into a collection",
    "pictures": "draw spectrograms and their like of every sound in a folder",
    "recommend": "find what sounds like a file or an item",
    "similarity": "compare sounds with one another, and draw how alike they are",
    "evaluate": "measure how often neighbours are right ones",
    "audit": "look for duplicates, silence, hubs and lost sources in a collection",
    "train": "train our own embedder, from nothing but synthesised sound",
    "models": "list the embedders, fetch their weights, try them out",
    "demo": "fill an empty catalogue with sounds to try",
    "synthesise": "make sounds of many families, and a sheet of their spectrograms",
}


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="soundalike",
        description="Hand it a sound, get back what sounds like it.",
        epilog="Exit codes: 0 done, 1 some failed, 2 wrong use.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, summary in VERBS.items():
        verb = verbs.add_parser(name, help=summary, description=summary.capitalize() + ".")
        importlib.import_module(f"{__name__}.{name}").add_arguments(verb)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        0 done, 1 some failed, 2 wrong use.
    """
    args = make_parser().parse_args(arguments)
    # as the first process of a container it would not even hear SIGTERM otherwise
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    verb = importlib.import_module(f"{__name__}.{args.verb}")
    try:
        code: int = verb.run(args)
    except SoundalikeError as fault:
        print(f"soundalike {args.verb}: {fault.detail}", file=sys.stderr)
        return WRONG_USE if isinstance(fault, BadRequest | UnknownModel) else SOME_FAILED
    except KeyboardInterrupt:
        return SOME_FAILED
    except BrokenPipeError:  # an OSError, and no fault
        # whoever read the output has seen enough; Python must not complain when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    except OSError as fault:
        print(f"soundalike {args.verb}: {fault}", file=sys.stderr)
        return SOME_FAILED
    return code
