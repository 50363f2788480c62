"""The demo library: a few of each kind of sound, made here and free to use."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.errors import BadRequest
from soundalike.synthesis.kinds import KINDS
from soundalike.synthesis.kinds.kind import Kind
from soundalike.synthesis.ranges import Bag
from soundalike.synthesis.take import Take
from soundalike.synthesis.wav import comment_chunk, wav

SECONDS = 3.0
SAMPLE_RATE = 44_100
SOURCE = "soundalike demo"
LICENCE = "CC0-1.0"

# Parameters that a person understands are named after what they count.
_TELLING = ("_hz", "_bpm", "_s", "_cm", "_per_minute", "rpm", "cylinders", "people")


@dataclass(frozen=True, slots=True)
class DemoSound:
    """One sound of the demo library.

    Attributes
    ----------
    path : Path
        Its WAV file.
    metadata : dict
        A JSON object: ``label``, ``title``, ``seconds``, ``source``,
        ``licence``, and the parameters that a person understands, such as
        ``pitch_hz`` or ``tempo_bpm``, where the sound has them.
    """

    path: Path
    metadata: dict[str, Any]


def write_demo(
    folder: Path,
    seed: int = 0,
    per_kind: int = 8,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[DemoSound]:
    """Write the demo library, or what is missing of it.

    Files are called ``<label>/<label>-01.wav`` and so on: 3 seconds, mono,
    16 bits at 44,100 Hz. Each appears under its name only once it is whole, and
    carries its metadata as a comment; a file that is whole and has the right
    comment is left alone.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    seed : int
        Not negative. The same seed gives the same bytes, and a larger
        `per_kind` adds sounds without changing the others.
    per_kind : int
        How many sounds of each kind, at least 1.
    on_progress : callable, optional
        Called after each sound with how many stand and how many there will be.

    Returns
    -------
    list of DemoSound
        Kind by kind.

    Raises
    ------
    BadRequest
        If `seed` is negative or `per_kind` is below 1.
    OSError
        If a file cannot be written.
    """
    if seed < 0:
        raise BadRequest(f"A seed is 0 or more, not {seed}.", limit=0, got=seed)
    if per_kind < 1:
        raise BadRequest(f"Ask for 1 of each kind or more, not {per_kind}.", limit=1, got=per_kind)
    wanted = [(kind, n) for kind in KINDS.values() for n in range(1, per_kind + 1)]
    sounds = []
    for kind, number in wanted:
        sounds.append(_write_sound(folder, kind, number, seed))
        if on_progress is not None:
            on_progress(len(sounds), len(wanted))
    return sounds


def _write_sound(folder: Path, kind: Kind, number: int, seed: int) -> DemoSound:
    # A stream of its own for each sound: others may be skipped, added or renamed.
    rng = np.random.default_rng([seed, zlib.crc32(kind.name.encode()), number])
    bag = kind.draw(rng)
    sound = DemoSound(
        folder / kind.name / f"{kind.name}-{number:02d}.wav", _metadata(kind, number, bag)
    )
    comment = comment_chunk(json.dumps(sound.metadata, sort_keys=True))
    if not _is_whole(sound.path, comment):
        samples = kind.render(bag, Take(SECONDS, SAMPLE_RATE, rng))
        _write_at_once(sound.path, wav(samples, SAMPLE_RATE, comment))
    return sound


def _metadata(kind: Kind, number: int, bag: Bag) -> dict[str, Any]:
    return {
        "label": kind.name,
        "title": f"{kind.name.capitalize().replace('-', ' ')} {number}",
        **{name: value for name, value in bag.items() if name.endswith(_TELLING)},
        "seconds": SECONDS,
        "source": SOURCE,
        "licence": LICENCE,
    }


def _is_whole(path: Path, comment: bytes) -> bool:
    # The comment is the end of the file, and tells one seed from another.
    return path.is_file() and path.read_bytes().endswith(comment)


def _write_at_once(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(content)
    unfinished.replace(path)
