"""What is known of a file of weights, kept beside it: a start must not read it whole each time."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

SUFFIX = ".note.json"


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of a weights file, kept beside it.

    Attributes
    ----------
    name, sha256 : str
        The file that was released, and its SHA-256.
    file_sha256 : str
        SHA-256 of the file beside the note; another one where it was converted.
    size_bytes, mtime_ns : int
        Of the file beside the note, by which it is known again without reading it.
    quarantined : str or None
        Why the model cannot be used, as it was found when it was last loaded.
    """

    name: str
    sha256: str
    file_sha256: str
    size_bytes: int
    mtime_ns: int
    quarantined: str | None = None

    def fits(self, path: Path) -> bool:
        """Tell whether the file is still the one that the note is about."""
        status = path.stat()
        return (self.size_bytes, self.mtime_ns) == (status.st_size, status.st_mtime_ns)


def read_note(path: Path) -> Note | None:
    """Read the note beside a weights file; None where there is none that can be read."""
    try:
        return Note(**json.loads(_note_path(path).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def copy_note(path: Path, copy: Path) -> None:
    """Copy the note beside a weights file to beside its copy, where there is one."""
    with suppress(FileNotFoundError):
        shutil.copyfile(_note_path(path), _note_path(copy))


def write_note(path: Path, name: str, sha256: str, file_sha256: str) -> None:
    """Write the note of a weights file that was released under a name with a digest."""
    status = path.stat()
    note = Note(name, sha256, file_sha256, status.st_size, status.st_mtime_ns)
    _save(note, path)


def note_quarantine(path: Path, reason: str | None) -> None:
    """Add to a note why the model cannot be used, or with None that it can."""
    note = read_note(path)
    if note and note.quarantined != reason:
        _save(replace(note, quarantined=reason), path)


def _save(note: Note, path: Path) -> None:
    """Write a note whole or not at all: it may be all that is known of the released file."""
    unfinished = _note_path(path).with_suffix(".unfinished")
    try:
        unfinished.write_text(json.dumps(asdict(note)))
        unfinished.replace(_note_path(path))
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def file_digest(path: Path, *, anew: bool = False) -> str:
    """Tell the SHA-256 of a file, as 64 hexadecimal digits.

    Parameters
    ----------
    path : Path
        The file.
    anew : bool
        Read it even where this process has read it before and its size and time are the same.
    """
    if anew:
        _file_digest.cache_clear()
    status = path.stat()
    return _file_digest(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _file_digest(path: Path, size_bytes: int, mtime_ns: int) -> str:
    """Read a file once, as long as it stays what it is."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _note_path(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)
