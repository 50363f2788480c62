"""What lies below a folder: sounds, where what is made of each belongs, and what is passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from soundalike.audio.containers import SUFFIXES
from soundalike.errors import BadRequest

ARRAY_SUFFIX = ".npy"


@dataclass(frozen=True, slots=True)
class Found:
    """A sound below a folder.

    Attributes
    ----------
    file : str
        Its path below the folder, with slashes.
    path : Path
        The file itself.
    output : str
        Where what a model says of it belongs below that model's folder, ending in ``.npy``.
    size_bytes, modified_ns : int
        As the system tells them; 0 where it does not.
    """

    file: str
    path: Path
    output: str
    size_bytes: int = 0
    modified_ns: int = 0


@dataclass(slots=True)
class Survey:
    """What was found below a folder.

    Attributes
    ----------
    folder : Path
        Where it was looked for.
    sounds : list of Found
        In the order of their names.
    skipped : list of str
        Files that are no sound by their names, as paths below the folder.
    loops : list of str
        Links to folders that they lie in.
    unreadable : list of (str, str)
        Folders that could not be looked into, and why.
    """

    folder: Path
    sounds: list[Found] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    loops: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def survey(folder: Path, *, leave_out: Sequence[Path] = ()) -> Survey:
    """Look for sounds below a folder, through links too.

    What is a sound is told by the ending of its name. Names that begin with a dot are passed
    over without a word. A link to a folder that it lies in is named and not followed.

    Parameters
    ----------
    folder : Path
        Where to begin.
    leave_out : sequence of Path
        Folders that are not looked into.

    Returns
    -------
    Survey

    Raises
    ------
    BadRequest
        There is no such folder.
    """
    if not folder.is_dir():
        raise BadRequest(f"'{folder}' is not a folder.")
    survey = Survey(folder)
    left_out = {path.resolve() for path in leave_out}
    for here, names in _folders(folder, survey, left_out):
        sounds = [name for name in names if Path(name).suffix.lower() in SUFFIXES]
        outputs = output_names(sounds)
        survey.sounds += [_found(folder, here, name, outputs[name]) for name in sounds]
        others = sorted(set(names) - set(sounds))
        survey.skipped += [(here.relative_to(folder) / name).as_posix() for name in others]
    survey.sounds.sort(key=lambda sound: sound.file)
    return survey


def _folders(folder: Path, survey: Survey, left_out: set[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder with the names of its files."""

    def cannot(error: OSError) -> None:
        where = Path(os.fsdecode(error.filename)).relative_to(folder)
        survey.unreadable.append((where.as_posix(), error.strerror or str(error)))

    for place, folders, files in os.walk(folder, onerror=cannot, followlinks=True):
        here = Path(place)
        folders[:] = sorted(
            name for name in folders if _is_entered(folder, here / name, survey, left_out)
        )
        yield here, sorted(name for name in files if not name.startswith("."))


def _is_entered(folder: Path, inner: Path, survey: Survey, left_out: set[Path]) -> bool:
    if inner.name.startswith("."):
        return False
    if inner.is_symlink() and _leads_back(folder, inner):
        survey.loops.append(inner.relative_to(folder).as_posix())
        return False
    return inner.resolve() not in left_out


def _leads_back(folder: Path, link: Path) -> bool:
    """Tell whether a link leads to a folder on the way to it, or to one around that."""
    target = link.resolve()
    on_the_way = [above for above in link.parents if above.is_relative_to(folder)]
    return any(above.resolve().is_relative_to(target) for above in on_the_way)


def _found(folder: Path, here: Path, name: str, output: str) -> Found:
    path, inner = here / name, here.relative_to(folder)
    file, output = (inner / name).as_posix(), (inner / output).as_posix()
    try:
        known = path.stat()
    except OSError:  # a link to nowhere, say; whoever opens it is told
        return Found(file, path, output)
    return Found(file, path, output, known.st_size, known.st_mtime_ns)


def output_names(names: Sequence[str]) -> dict[str, str]:
    """Say what is written for each of the sounds of one folder.

    ``song.mp3`` becomes ``song.npy``. Sounds that would share a name, capitals aside, keep their
    endings instead, ``song.mp3.npy`` and ``song.wav.npy``; so does a sound whose name without its
    ending is the whole name of another. What a name becomes hangs on the names beside it alone.

    Parameters
    ----------
    names : sequence of str
        All different.

    Returns
    -------
    dict of str to str
        All different.
    """
    whole = {name.casefold() for name in names}
    stems = Counter(Path(name).stem.casefold() for name in names)

    def is_alone(stem: str) -> bool:
        return stems[stem] == 1 and stem not in whole

    return {
        name: (Path(name).stem if is_alone(Path(name).stem.casefold()) else name) + ARRAY_SUFFIX
        for name in names
    }


def spread(sounds: Sequence[Found]) -> list[Found]:
    """Put sounds into an order every beginning of which is like the whole.

    Where they are worked off in it, how long a part took tells how long the rest will take,
    whatever it is that costs time. By their sizes, each next one halves a gap between those before
    it (the sequence of van der Corput); the largest comes first, lest at the end all hands but one
    wait for it.

    Parameters
    ----------
    sounds : sequence of Found

    Returns
    -------
    list of Found
        The same ones; the order hangs on their sizes and names alone.
    """
    falling = sorted(sounds, key=lambda sound: (-sound.size_bytes, sound.file))
    digits = max(1, (len(falling) - 1).bit_length())
    ranks = sorted(range(len(falling)), key=lambda rank: f"{rank:0{digits}b}"[::-1])
    return [falling[rank] for rank in ranks]
