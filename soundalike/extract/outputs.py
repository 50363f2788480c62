"""What one model makes of a folder: arrays, the manifest beside them, and a table of vectors.

::

    <out>/crepe_capacity=tiny/rock/song.npy    the frames of rock/song.mp3
    <out>/crepe_capacity=tiny.jsonl            a line for each file, see `ModelOutput`
    <out>/crepe_capacity=tiny.parquet          the vectors of whole clips, where they are wanted

An array appears under its name only once it is whole and on the disk, and its
line after that; so whatever has a line and an array that fits it is done.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from soundalike.errors import StorageFull
from soundalike.extract import table
from soundalike.extract.found import Found
from soundalike.extract.listener import Fault, Told
from soundalike.extract.manifest import Entry, Journal, encoded

MANIFEST_SUFFIX, TABLE_SUFFIX = ".jsonl", ".parquet"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ARRIVING = ".arriving"


@dataclass(frozen=True, slots=True)
class Model:
    """An embedder as a folder is heard by it.

    Attributes
    ----------
    name : str
        The embedder's own name, with options that differ from the defaults.
    space : str
        Of its clip vectors.
    settings : mapping of str to str
        The value of each of its options, and its pooling.
    weights_bytes : int
        How much its weights take on disk.
    """

    name: str
    space: str
    settings: Mapping[str, str] = field(default_factory=dict)
    weights_bytes: int = 0

    @property
    def folder(self) -> str:
        """What its folder is called: its name, without what means something to a shell."""
        return self.name.replace(":", "_").replace(",", "_")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one file with one model.

    Attributes
    ----------
    state : str
        ``"done"``; ``"skipped"``, it was there; ``"copied"``, that of a file with the same content
        was; or ``"failed"``.
    shape : tuple of int
        Of the array.
    reason : str or None
        Why it failed.
    """

    state: Literal["done", "skipped", "copied", "failed"]
    shape: tuple[int, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What a file held when it was read."""

    sha256: str
    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> Content:
        """Read a file through; raises OSError."""
        if not path.is_file():  # a pipe would never end
            path.stat()  # whatever is not there says so
            raise OSError(errno.EINVAL, "it is no file", str(path))
        with path.open("rb") as file:
            known = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(digest, known.st_size, known.st_mtime_ns)


class ModelOutput:
    """The folder, the manifest and the table of one model; one process at a time may write them.

    Each line of the manifest holds `file` and `path` of the sound, its `sha256`, `bytes` and
    `modified_ns`, how many `seconds` it lasts, its `format`, `silent` share and `fingerprint`;
    `output`, `shape` and `dtype` of the array; `space`, `model`, `settings` and `vector` (base64 of
    float32); or in place of array and vector the `error`.

    Parameters
    ----------
    out : Path
        The folder of all models.
    model : Model
        Which one.
    resume : bool
        Whether what was made in earlier runs may be copied.

    Raises
    ------
    BadRequest
        Another process is writing.
    OSError
        The folder cannot be written.
    """

    def __init__(self, out: Path, model: Model, *, resume: bool = False) -> None:
        self.model = model
        self.folder = out / model.folder
        self.table = out / (model.folder + TABLE_SUFFIX)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(out / (model.folder + MANIFEST_SUFFIX))
        earlier = self.journal.entries.values() if resume else ()
        self._made = {entry.sha256: entry for entry in earlier if self._is_good(entry)}
        self._failed: dict[str, str] = {}  # in this run, by content

    def has_failed(self, found: Found) -> bool:
        """Tell whether the last that is known of a file is that it failed."""
        entry = self.journal.entries.get(found.file)
        return entry is not None and entry.error is not None

    def is_done(self, found: Found) -> bool:
        """Tell whether a file that looks unchanged has its whole array, in this space.

        The sound is not read: where its size or time is another, its content has to be compared.
        """
        entry = self.journal.entries.get(found.file)
        return (
            entry is not None
            and (entry.size_bytes, entry.modified_ns) == (found.size_bytes, found.modified_ns)
            and entry.output == found.output
            and self._is_good(entry)
            and self._is_whole(entry)
        )

    def take_over(self, found: Found, content: Content) -> Result | None:
        """Give a file what was made of the same content; None where nothing was.

        Raises
        ------
        StorageFull
        """
        entry = self._made.get(content.sha256)
        if entry is None or self.journal.entries.get(entry.file) is not entry:
            failed = self._failed.get(content.sha256)
            return None if failed is None else self.fail(found, content, failed)
        if not self._is_whole(entry):
            return None
        is_there = entry.output == found.output
        unwritten = None if is_there else self._write_copy(found, entry)
        if unwritten:
            return self.fail(found, content, unwritten)
        record = self.journal.record(entry) | _identity(found, content)
        with self._room():
            self._made[content.sha256] = self.journal.add(record)
        return Result("skipped" if is_there else "copied", entry.shape)

    def write(self, found: Found, content: Content, told: Told) -> Result:
        """Write what was heard in a file, or that nothing was.

        Raises
        ------
        StorageFull
            Nothing of it is there then.
        """
        answer = told.by_model[self.model.name]
        if isinstance(answer, Fault):
            self._failed[content.sha256] = answer.reason
            return self.fail(found, content, answer.reason, told)
        frames = answer.frames
        unwritten = self._write_array(found, lambda file: np.save(file, frames, allow_pickle=False))
        if unwritten:
            return self.fail(found, content, unwritten, told)
        record = self._record(found, content, told) | {
            "shape": frames.shape,
            "dtype": str(frames.dtype),
            "settings": {**self.model.settings, **answer.place},
            "vector": encoded(answer.vector),
        }
        with self._room():
            self._made[content.sha256] = self.journal.add(record)
        return Result("done", frames.shape)

    def fail(
        self, found: Found, content: Content | None, reason: str, told: Told | None = None
    ) -> Result:
        """Note why there is nothing of a file.

        Raises
        ------
        StorageFull
        """
        with self._room():
            record = self._record(found, content, told or Told({})) | {"error": reason}
            self.journal.add(record)
        return Result("failed", reason=reason)

    def write_table(self) -> None:
        """Write the vectors of all files as Parquet, in the order of their names.

        Raises
        ------
        StorageFull
        """
        entries = self.journal.entries
        good = (entries[file] for file in sorted(entries) if self._is_good(entries[file]))
        records = (self.journal.record(entry) for entry in good)
        with self._room():
            self._place(self.table, lambda file: table.write(file, records))

    def close(self) -> None:
        """Let others write."""
        (self.folder / ARRIVING).unlink(missing_ok=True)
        self.journal.close()

    def _is_good(self, entry: Entry) -> bool:
        return entry.error is None and entry.space == self.model.space

    def _is_whole(self, entry: Entry) -> bool:
        try:
            # mapped, it is compared with the size of the file and not read
            array = np.load(self.folder / entry.output, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return False
        return array.shape == entry.shape and str(array.dtype) == entry.dtype

    def _record(self, found: Found, content: Content | None, told: Told) -> dict[str, Any]:
        return {
            **_identity(found, content),
            "seconds": told.seconds,
            **told.facts,
            "shape": [],
            "dtype": "",
            "model": self.model.name,
            "space": self.model.space,
            "settings": dict(self.model.settings),
            "vector": None,
            "error": None,
        }

    def _write_copy(self, found: Found, entry: Entry) -> str | None:
        with (self.folder / entry.output).open("rb") as source:
            return self._write_array(found, lambda file: shutil.copyfileobj(source, file))

    def _write_array(self, found: Found, write: Callable[[BinaryIO], object]) -> str | None:
        """Write the array of a file; say why that cannot be done, where its name is at fault."""
        try:
            with self._room():
                self._place(self.folder / found.output, write)
        except OSError as error:  # its name is too long, say, or that of a folder
            return f"Its array cannot be written: {error.strerror or error}."
        return None

    def _place(self, path: Path, write: Callable[[BinaryIO], object]) -> None:
        """Put a file into its place once all of it is on the disk."""
        arriving = self.folder / ARRIVING
        with arriving.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        path.parent.mkdir(parents=True, exist_ok=True)
        arriving.replace(path)

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Turn what the system says of a full disk into a fault of ours."""
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise StorageFull(
                f"The disk of '{self.folder.parent}' is full. What was written is whole; make room "
                "and go on with --skip_existing."
            ) from error


def _identity(found: Found, content: Content | None) -> dict[str, Any]:
    """Tell which file it is, and what it held; without content it could not be read."""
    return {
        "file": found.file,
        "path": str(found.path.absolute()),
        "output": found.output,
        "sha256": content.sha256 if content else "",
        "bytes": content.size_bytes if content else 0,
        "modified_ns": content.modified_ns if content else 0,
    }
