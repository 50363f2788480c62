"""`soundalike demo`: sounds to try, in a catalogue that holds none."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from soundalike.cli import common, index
from soundalike.errors import UnknownCollection

if TYPE_CHECKING:
    from soundalike.client import RecommenderClient


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "--folder",
        type=Path,
        default=None,
        help="where the WAV files go (demo/ of the data folder)",
    )
    common.add_collection(parser)
    common.add_services(parser)


def run(args: argparse.Namespace) -> int:
    """Write the sounds and index them, unless the catalogue holds something else already."""
    from soundalike.datasets.demo import write_demo

    folder: Path = args.folder or common.data_dir() / "demo"
    with common.client(args) as services:
        others = _others(services.recommender, args.collection)
        if others:
            print(f"The catalogue holds {others} items already; nothing was added.")
            return 0
        print(f"Writing sounds to {folder} ...")
        sounds = [
            index.Sound(
                sound.path.relative_to(folder).as_posix(),
                sound.path,
                {**sound.metadata, "path": str(sound.path.resolve())},
            )
            for sound in write_demo(folder)
        ]
        report = index.index_sounds(services, sounds, args.collection)
    return index.tell(report, args.collection)


def _others(recommender: RecommenderClient, collection: str) -> int:
    """Count the items that are not of the demo; one that was interrupted is to be finished."""
    from soundalike.datasets.demo import SOURCE

    held: int = sum(facts["items"] for facts in recommender.collections())
    if not held:
        return 0
    try:
        sources = [item["metadata"].get("source") for item in recommender.items(collection)]
    except UnknownCollection:
        return held
    return held - sources.count(SOURCE)
