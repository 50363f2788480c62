"""`soundalike synthesise DIR`: sounds of our own making, and a sheet of their spectrograms."""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

from soundalike.errors import BadRequest

MOST_SECONDS = 600.0
# What is drawn of a longer sound.
DRAWN_SECONDS = 30.0
DRAWN_RATE_HZ = 48_000
# A mel spectrogram of 4 s in a cell of a sheet that a screen can show.
CELL = {"width": 160, "height": 100, "fft_size": 1024, "hop_samples": 256, "mel_bands": 100}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the WAV files go")
    parser.add_argument(
        "--families", nargs="+", metavar="FAMILY", help="which kinds of sound (all of them)"
    )
    parser.add_argument("--count", type=int, default=8, help="of each family (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each sound (%(default)s)")
    parser.add_argument("--rate-hz", type=int, default=16_000, help="sample rate (%(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="another one, other sounds (%(default)s)"
    )
    parser.add_argument(
        "--sheet", type=Path, metavar="PNG", help="mel spectrograms (sheet.png of the folder)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the sounds, then draw them, a row a family."""
    from tqdm import tqdm

    from soundalike.synthesis import FAMILIES

    _check(args)
    folder = args.folder.expanduser()
    families = list(dict.fromkeys(args.families or FAMILIES))
    rows = [
        [_write(folder, family, number, args) for number in range(1, args.count + 1)]
        for family in tqdm(families, unit="family", disable=None)
    ]
    sheet = (args.sheet or folder / "sheet.png").expanduser()
    sheet.write_bytes(_drawn(rows, args))
    print(f"{sum(map(len, rows))} sounds in '{folder}'; '{sheet}' shows, from the top:")
    print("\n".join(f"  {family}" for family in families))
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.count < 1 or args.seed < 0:
        raise BadRequest("--count must be 1 or more, and --seed 0 or more.")
    if not args.seconds <= MOST_SECONDS:
        raise BadRequest(
            f"--seconds is {args.seconds:g}, and may be {MOST_SECONDS:g} at most.",
            limit=MOST_SECONDS,
            got=args.seconds,
        )


def _write(folder: Path, family: str, number: int, args: argparse.Namespace) -> Path:
    import numpy as np

    from soundalike.synthesis import draw, render
    from soundalike.synthesis.wav import wav

    # A stream of its own for each sound: more of them, or fewer families, change no other.
    patch = draw(np.random.default_rng([args.seed, zlib.crc32(family.encode()), number]), family)
    samples = render(patch, args.seconds, args.rate_hz)
    path = folder / family / f"{family}-{number:02d}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav(samples, args.rate_hz))
    return path


def _drawn(rows: list[list[Path]], args: argparse.Namespace) -> bytes:
    from soundalike.pictures.settings import Settings
    from soundalike.pictures.sheet import contact_sheet
    from soundalike.pictures.spectrograms import compute

    settings = Settings(
        **CELL,
        seconds=min(args.seconds, DRAWN_SECONDS),
        rate_hz=min(args.rate_hz, DRAWN_RATE_HZ),
    )
    return contact_sheet(
        [[compute(path, ["mel"], settings)["mel"] for path in row] for row in rows]
    )
