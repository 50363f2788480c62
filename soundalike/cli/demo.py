"""`soundalike demo`: sounds to try, in a catalogue that holds none."""

from __future__ import annotations

import argparse
from pathlib import Path

from soundalike.cli import common, index


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
    """Write the sounds and index them, unless the catalogue holds something already."""
    from soundalike.datasets.demo import write_demo

    with common.client(args) as services:
        held = sum(facts["items"] for facts in services.recommender.collections())
        if held:
            print(f"The catalogue holds {held} items already; nothing was added.")
            return 0
        folder: Path = args.folder or common.data_dir() / "demo"
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
