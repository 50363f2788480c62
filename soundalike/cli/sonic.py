"""`sonic embed` and `sonic run-model`: the commands of the SONIC project over our own modules."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from soundalike.cli import DONE, SOME_FAILED, WRONG_USE, recommenders
from soundalike.cli.index import find_sounds
from soundalike.cli.listening import add_data
from soundalike.errors import AudioError, BadRequest, SoundalikeError, UnknownModel

if TYPE_CHECKING:
    from soundalike.extract.extractor import Extractor
    from soundalike.types import FloatArray

EMBEDDERS = {
    "MFCC": "mfcc",
    "MERT": "mert",
    "EncodecMAE": "encodecmae",
    "M2V": "music2vec",
    "dino_vits16": "dino-vits16",
    "dino_vits8": "dino-vits8",
    "dino_vitb16": "dino-vitb16",
    "dino_vitb8": "dino-vitb8",
    "Lyrical": "lyrics",
}
"""From SONIC's names to ours."""
LYRICS, TEXT_SUFFIX = "lyrics", ".txt"
POOLINGS = {"MFCC": "mean"}
"""Where SONIC's vector is not the embedder's usual one."""
MODELS = ("knn", "snn", "bert4rec")
FILE_NAME = "{}_embeddings.parquet"


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of both commands."""
    parser = argparse.ArgumentParser(
        prog="sonic",
        description="Embed music, and find out which embedding recommends it best.",
        epilog="Exit codes: 0 done, 1 some failed, 2 wrong use.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_embed(commands.add_parser("embed", help="make vectors of a folder of sounds or lyrics"))
    _add_run_model(commands.add_parser("run-model", help="measure a recommender"))
    return parser


def _add_embed(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(do=_embed)
    parser.add_argument(
        "--audio-dir", type=Path, required=True, metavar="DIR",
        help="sounds; with Lyrical the words of songs in .txt files",
    )  # fmt: skip
    parser.add_argument(
        "--model-type", required=True, metavar="NAME",
        help=f"{', '.join(EMBEDDERS)}, or any embedder of soundalike",
    )  # fmt: skip
    parser.add_argument(
        "--batch-size", type=int, default=32, help="sounds that are in hand at once (%(default)s)"
    )
    parser.add_argument("--stride", help="an embedder's option 'stride', where it has one")
    parser.add_argument("--level", help="an embedder's option 'layer', where it has one")
    parser.add_argument("--profile", action="store_true", help="tell where the time went")
    parser.add_argument(
        "--embeddings-dir", type=Path, default=Path("embeddings"), metavar="DIR",
        help="where the vectors go, as DIR/<name>_embeddings.parquet (%(default)s)",
    )  # fmt: skip


def _add_run_model(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(do=_run_model)
    parser.add_argument("--model-name", required=True, help="knn, snn or bert4rec")
    parser.add_argument(
        "--embedding", required=True, help="such as mfcc_104; several with + between are joined"
    )
    parser.add_argument("--mode", default="val", help="val or test users (%(default)s)")
    parser.add_argument("--k", type=int, default=50, help="how long lists are (%(default)s)")
    parser.add_argument(
        "--events", type=Path, default=Path("userid_trackid_timestamp.tsv.bz2"), metavar="LOG",
        help="who played what and when (%(default)s)",
    )  # fmt: skip
    add_data(parser)


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
    try:
        code: int = args.do(args)
    except SoundalikeError as fault:
        print(f"sonic {args.command}: {fault.detail}", file=sys.stderr)
        return WRONG_USE if isinstance(fault, BadRequest | UnknownModel) else SOME_FAILED
    except OSError as fault:
        print(f"sonic {args.command}: {fault}", file=sys.stderr)
        return SOME_FAILED
    except KeyboardInterrupt:
        return SOME_FAILED
    return code


def _run_model(args: argparse.Namespace) -> int:
    """Measure one recommender on one embedding, beside the baselines."""
    if args.model_name.partition(":")[0] not in MODELS:
        raise BadRequest(f"--model-name is one of {', '.join(MODELS)}, not '{args.model_name}'.")
    more = {
        "log": args.events,
        "model": [args.model_name],
        "embedding": [args.embedding],
        "k": [args.k],
        "no_baselines": False,
    }
    return recommenders.run(argparse.Namespace(**vars(args) | more))


def _embed(args: argparse.Namespace) -> int:
    """Make the vectors of a folder; what fails is named and does not stop the rest."""
    import numpy as np

    from soundalike.datasets import item_vectors
    from soundalike.extract.loading import Extractors

    if args.batch_size < 1:
        raise BadRequest(f"--batch-size is {args.batch_size}, and must be 1 or more.")
    key = EMBEDDERS.get(args.model_type, args.model_type)
    chosen = _with_options(key, args)
    extractor = Extractors().get(chosen)
    vectors: dict[str, FloatArray] = {}
    seconds: dict[str, float] = {}
    failed = 0
    for path, vector in _embedded(extractor, key, args, seconds):
        if isinstance(vector, Exception):
            failed += 1
            print(f"{path}: {vector}", file=sys.stderr)
        elif path.stem in vectors:
            raise BadRequest(f"Two files are called '{path.stem}', which is to be an item's id.")
        else:
            vectors[path.stem] = vector
    if not vectors:
        raise BadRequest(f"Nothing in '{args.audio_dir}' could be embedded.")
    rows = np.stack(list(vectors.values()))
    name = _name_of(chosen)
    asked = f"{name}_{rows.shape[1]}"
    out = args.embeddings_dir.expanduser() / FILE_NAME.format(
        name if args.model_type in EMBEDDERS else asked
    )
    item_vectors.write(out, list(vectors), rows)
    print(f"{out}: {len(vectors)} vectors; --embedding {asked}")
    if args.profile:
        for stage, spent in seconds.items():
            print(f"  {stage}: {spent:.1f} s")
    return SOME_FAILED if failed else DONE


def _name_of(chosen: str) -> str:
    """Name an embedding for its embedder and the values of its options: ``"crepe_tiny"``."""
    key, _, options = chosen.partition(":")
    values = [pair.partition("=")[2] for pair in options.split(",") if pair]
    return "_".join([key, *values]).replace("-", "_")


def _with_options(key: str, args: argparse.Namespace) -> str:
    """Name the embedder with the options that SONIC's flags stand for."""
    from soundalike import embedders

    card = embedders.cards(hidden=True).get(key)
    known = card.options if card else {}
    wanted = {"stride": args.stride, "layer": args.level}
    given = {option: value for option, value in wanted.items() if value is not None}
    for option in given:
        if option not in known:
            flag = "--level" if option == "layer" else "--stride"
            raise BadRequest(f"{flag} does not go with {args.model_type}, which has one alone.")
    options = ",".join(f"{option}={value}" for option, value in given.items())
    return ":".join(filter(None, (key, options)))


def _embedded(
    extractor: Extractor, key: str, args: argparse.Namespace, seconds: dict[str, float]
) -> Iterator[tuple[Path, FloatArray | Exception]]:
    """Embed files in the order of their names, several in hand at once."""
    from tqdm import tqdm

    folder = args.audio_dir.expanduser()
    paths = _texts(folder) if key == LYRICS else [sound.path for sound in find_sounds(folder)]

    def one(path: Path) -> tuple[Path, FloatArray | Exception]:
        try:
            if key == LYRICS:
                return path, extractor.embed_texts([path.read_text(encoding="utf-8")])[0]
            found = extractor.extract(path, POOLINGS.get(args.model_type), normalize=False)
        except (AudioError, OSError, UnicodeDecodeError) as fault:
            return path, fault
        for stage, spent in found.ms.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent / 1000
        return path, found.values

    with ThreadPoolExecutor(min(args.batch_size, os.cpu_count() or 1)) as threads:
        for begin in tqdm(range(0, len(paths), args.batch_size), unit="batch", disable=None):
            yield from threads.map(one, paths[begin : begin + args.batch_size])


def _texts(folder: Path) -> list[Path]:
    paths = sorted(folder.rglob(f"*{TEXT_SUFFIX}"))
    if not paths:
        raise BadRequest(f"There are no words of songs ({TEXT_SUFFIX}) below '{folder}'.")
    return paths
