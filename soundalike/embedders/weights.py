"""Where weights come from, and how they are read.

Weights lie in a folder of their own below the models folder, or in the cache
of the model hub's own library. Nothing here goes out to fetch them; see
`soundalike.embedders.pull` for that.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from soundalike.embedders import keras_h5, pickles
from soundalike.embedders.notes import file_digest, note_quarantine, read_note, write_note
from soundalike.embedders.reading import SAFE_SUFFIX, read, read_arrays, save, unusable
from soundalike.errors import BadRequest, LicenceRefused, WeightsMissing
from soundalike.types import FloatArray

if TYPE_CHECKING:
    import torch

    from soundalike.embedders.packages import Archive

WEIGHT_SUFFIXES = (SAFE_SUFFIX, ".bin", ".pt", ".pth", *keras_h5.SUFFIXES, pickles.SUFFIX)
PACKAGED = Path(__file__).with_name("trained")
"""The folder of weights that travel with this package; nothing is ever written there."""
TRUE, FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a model.

    Attributes
    ----------
    name : str
        Its path in the model's repository.
    sha256 : str or None
        Its digest, or as much of its beginning as is known.
    size_bytes : int or None
        Its size, where it is known.
    optional : bool
        True for a file that some releases of the model lack.
    """

    name: str
    sha256: str | None = None
    size_bytes: int | None = None
    optional: bool = False

    @property
    def holds_weights(self) -> bool:
        """Whether the weights themselves are in it."""
        return self.name.endswith(WEIGHT_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the weights of an embedder come from.

    Attributes
    ----------
    repository : str
        Its name on the model hub, or in a package index where there is an `archive`.
    parts : tuple of Part
        The files that are needed. The weights themselves come first, in the
        forms they may have, the best one first; one of them is enough.
    licence : str
        SPDX name of the weights' licence.
    commercial : bool
        Whether it allows commercial use.
    archive : Archive or None
        The package that carries them, where they are not on the hub.
    release : str or None
        Where else their authors put them, in words: ``"release v0.1 of somebody/network"``.
        From there nothing is fetched; the files are taken from whoever got them.
    packaged : bool
        True for weights that travel with this package. Those that somebody put into the models
        folder come before them.
    """

    repository: str
    parts: tuple[Part, ...]
    licence: str
    commercial: bool
    archive: Archive | None = None
    release: str | None = None
    packaged: bool = False

    @property
    def forms(self) -> tuple[Part, ...]:
        """The files any one of which holds the weights, the best one first."""
        return tuple(part for part in self.parts if part.holds_weights)

    @property
    def others(self) -> tuple[Part, ...]:
        """The files beside the weights."""
        return tuple(part for part in self.parts if not part.holds_weights)


def models_dir() -> Path:
    """Give the folder of SOUNDALIKE_MODELS_DIR, `models` in the data folder by default."""
    if chosen := os.environ.get("SOUNDALIKE_MODELS_DIR"):
        return Path(chosen).expanduser()
    data = os.environ.get("SOUNDALIKE_DATA_DIR")
    return (Path(data).expanduser() if data else Path.home() / ".soundalike") / "models"


def commercial_only() -> bool:
    """Tell whether SOUNDALIKE_COMMERCIAL_ONLY refuses weights that may not be used commercially.

    Raises
    ------
    BadRequest
        It is set to something that is neither yes nor no.
    """
    value = os.environ.get("SOUNDALIKE_COMMERCIAL_ONLY", "").strip().lower()
    if value not in TRUE + FALSE:
        raise BadRequest(f"SOUNDALIKE_COMMERCIAL_ONLY is '{value}'; set it to 1 or 0.", got=value)
    return value in TRUE


def folder(key: str, source: Source) -> Path:
    """Find the folder that holds the files of a model.

    Parameters
    ----------
    key : str
        Key of the embedder, which names its folder.
    source : Source
        What has to be there.

    Returns
    -------
    Path

    Raises
    ------
    WeightsMissing
        They are neither in the models folder nor in the hub's cache.
    LicenceRefused
        SOUNDALIKE_COMMERCIAL_ONLY is set and their licence does not allow commercial use.
    """
    check_licence(key, source)
    for place in (models_dir() / key, _packaged(key, source), _hub_cache(source)):
        if place is not None and is_complete(place, source):
            return place
    raise missing(key, source)


def _packaged(key: str, source: Source) -> Path | None:
    return PACKAGED / key if source.packaged else None


def missing(key: str, source: Source) -> WeightsMissing:
    """Make the fault that says how to get the weights of an embedder."""
    name = source.parts[0].name
    if source.archive is not None and name not in source.archive.part_names:
        return WeightsMissing(
            f"'{name}', which this option of '{key}' needs, travels in no package; where you have "
            f"it, put it into '{models_dir() / key}'."
        )
    command = pull_command(key, source)
    if source.release is not None:
        files = " and ".join([name, *(part.name for part in source.others)])
        return WeightsMissing(
            f"The weights of '{key}' are not here. Get {files} from "
            f"{source.release}, and '{command}' takes them.",
            command=command,
        )
    return WeightsMissing(
        f"The weights of '{key}' are not here; '{command}' brings them.", command=command
    )


def check_licence(key: str, source: Source) -> None:
    """Refuse weights whose licence a setting does not allow.

    Raises
    ------
    LicenceRefused
    """
    if commercial_only() and not source.commercial:
        raise LicenceRefused(
            f"The weights of '{key}' are under {source.licence}, which does not allow commercial "
            "use, and SOUNDALIKE_COMMERCIAL_ONLY is set.",
            licence=source.licence,
        )


def pull_command(key: str, source: Source) -> str:
    """Give the command that brings the weights of an embedder."""
    if source.release is not None:
        return f"soundalike models pull --from FOLDER {key}"
    consent = "" if source.commercial else " --accept-noncommercial"
    return f"soundalike models pull {key}{consent}"


def is_complete(place: Path, source: Source) -> bool:
    """Tell whether a folder holds the weights in some form and every file beside them."""
    needed = all(part.optional or (place / part.name).is_file() for part in source.others)
    return needed and weights_file(place, source) is not None


def form_names(source: Source) -> list[str]:
    """Name the files that may hold the weights, as released or converted, the best one first."""
    names: list[str] = []
    for form in source.forms:
        names += [str(PurePosixPath(form.name).with_suffix(SAFE_SUFFIX)), form.name]
    return list(dict.fromkeys(names))


def weights_file(place: Path, source: Source) -> Path | None:
    """Find the weights file in a folder, in the best form there is."""
    paths = (place / name for name in form_names(source))
    return next((path for path in paths if path.is_file()), None)


def _existing_file(place: Path, source: Source) -> Path:
    path = weights_file(place, source)
    if path is None:
        raise WeightsMissing(f"'{place}' holds none of {', '.join(form_names(source))}.")
    return path


def _hub_cache(source: Source) -> Path | None:
    if source.archive is not None or source.release is not None or source.packaged:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    for part in source.parts:
        found = try_to_load_from_cache(source.repository, part.name)
        if isinstance(found, str):
            return Path(found).parents[part.name.count("/")]
    return None


def read_state(place: Path, source: Source) -> dict[str, torch.Tensor]:
    """Read the weights from the folder that `folder` gave.

    Parameters
    ----------
    place : Path
        The folder.
    source : Source
        Which forms the weights may have.

    Returns
    -------
    dict of str to Tensor
        On the CPU, by name.

    Raises
    ------
    Quarantined
        The file is broken, or holds a pickle that would run code.
    """
    return read(_existing_file(place, source))


def read_state_arrays(place: Path, source: Source) -> dict[str, FloatArray]:
    """Read weights that were released as safetensors alone, without torch; see `read_state`.

    Returns
    -------
    dict of str to ndarray of float32
    """
    return read_arrays(_existing_file(place, source))


def make_safe(place: Path, source: Source) -> None:
    """Read weights that were just brought, and convert them where they are not safetensors.

    What they are and were is noted beside them.

    Raises
    ------
    Quarantined
        They cannot be read safely.
    """
    path = _existing_file(place, source)
    state = read(path)
    if path.suffix == SAFE_SUFFIX:
        digest(place, source)
        return
    safe = path.with_suffix(SAFE_SUFFIX)
    save(state, safe)
    write_note(safe, path.name, file_digest(path), file_digest(safe))
    path.unlink()


def digest(place: Path, source: Source) -> str:
    """Tell the SHA-256 of the weights as they were released.

    Weights that were converted keep the digest of the file they were made of.
    The digest is kept beside the file, so that it is read whole only once.

    Parameters
    ----------
    place : Path
        The folder that `folder` gave.
    source : Source
        Which forms the weights may have.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    path = _existing_file(place, source)
    note = read_note(path)
    if note and note.fits(path):
        return note.sha256
    own = file_digest(path)
    if note and note.file_sha256 == own:  # copied, or touched
        name, released = note.name, note.sha256
    else:
        name, released = path.name, own
    if place.parent != PACKAGED:
        with suppress(OSError):  # a folder that may only be read gets no note
            write_note(path, name, released, own)
    return released


def verify(place: Path, source: Source) -> None:
    """Read the weights file whole, and compare it with what is known of it.

    Raises
    ------
    Quarantined
        It is not what it was, or not what was released.
    """
    path = _existing_file(place, source)
    own = file_digest(path, anew=True)
    note = read_note(path)
    # the size and time of a note are those of the file it was written for
    if note and note.fits(path) and note.file_sha256 != own:
        raise unusable(path, "has changed since it was brought")
    released = {form.name: form.sha256 for form in source.forms}
    name, sha256 = (note.name, note.sha256) if note else (path.name, own)
    if not sha256.startswith(released.get(name) or ""):
        raise unusable(path, "is not the file that was released")


def remember_quarantine(key: str, source: Source, reason: str | None) -> None:
    """Note why a model cannot be used, or with None that it can."""
    with suppress(OSError, WeightsMissing):
        place = folder(key, source)
        digest(place, source)
        note_quarantine(_existing_file(place, source), reason)
