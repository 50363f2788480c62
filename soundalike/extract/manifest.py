"""What stands beside the folder of a model: one JSON object a line for each file it was given.

Lines are only ever added. The last one of a file holds, and what was being
written when the power went is not a line.
"""

from __future__ import annotations

import base64
import fcntl
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from soundalike.errors import BadRequest
from soundalike.types import FloatArray

SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept in memory of a line.

    Attributes
    ----------
    file : str
        Path of the sound below its folder.
    output : str
        Path of the array below the folder of the model.
    sha256 : str
        Of the sound's bytes; empty where they could not be read.
    size_bytes, modified_ns : int
        Of the sound, when it was heard.
    space : str
        What the vector may be compared with.
    shape : tuple of int
        Of the array.
    dtype : str
        Of the array.
    error : str or None
        Why there is no array.
    offset : int
        Where the line begins.
    """

    file: str
    output: str
    sha256: str
    size_bytes: int
    modified_ns: int
    space: str
    shape: tuple[int, ...]
    dtype: str
    error: str | None
    offset: int

    @classmethod
    def of(cls, record: Mapping[str, Any], offset: int) -> Entry:
        """Take what is needed of a record; raises KeyError, TypeError or ValueError."""
        if record["error"] is None:
            decoded(record["vector"])
        return cls(
            file=str(record["file"]),
            output=str(record["output"]),
            sha256=str(record["sha256"]),
            size_bytes=int(record["bytes"]),
            modified_ns=int(record["modified_ns"]),
            space=str(record["space"]),
            shape=tuple(map(int, record["shape"])),
            dtype=str(record["dtype"]),
            error=None if record["error"] is None else str(record["error"]),
            offset=offset,
        )


class Manifest:
    """The lines of one model, as they are now.

    Parameters
    ----------
    path : Path
        The file, which may be growing.

    Attributes
    ----------
    entries : dict of str to Entry
        What holds of each file.

    Raises
    ------
    OSError
        It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        self._owners: dict[str, str] = {}  # which file an array belongs to
        self._end = 0  # of the last whole line
        self._reader: BinaryIO = path.open("rb")
        for line in self._reader:
            if not line.endswith(b"\n"):
                break
            self._take(line)

    def record(self, entry: Entry) -> dict[str, Any]:
        """Read all that stands in the line of an entry."""
        self._reader.seek(entry.offset)
        record: dict[str, Any] = json.loads(self._reader.readline())
        return record

    def records(self) -> Iterator[dict[str, Any]]:
        """Read all that stands in the line of each file, in the order of their names."""
        for file in sorted(self.entries):
            yield self.record(self.entries[file])

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def _take(self, line: bytes) -> None:
        """Note what a line says; one that is damaged, or not ours, says nothing."""
        offset, self._end = self._end, self._end + len(line)
        try:
            entry = Entry.of(json.loads(line), offset)
        except (KeyError, TypeError, ValueError):
            return
        if entry.error is None:
            # where names have changed, an array may have become another file's
            before = self._owners.get(entry.output, entry.file)
            if before != entry.file:
                self.entries.pop(before, None)
            self._owners[entry.output] = entry.file
        self.entries[entry.file] = entry


class Journal(Manifest):
    """A manifest that is added to, by one process at a time.

    Parameters
    ----------
    path : Path
        Made where it is not there; half a line at its end is cut off.

    Raises
    ------
    BadRequest
        Another process is adding to it.
    OSError
        It cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = path.open("ab", buffering=0)
        try:
            fcntl.flock(self._writer, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._writer.close()
            raise BadRequest(
                f"Another extraction is writing to '{path.parent}'; wait for it, or choose "
                "another folder."
            ) from None
        super().__init__(path)
        self._writer.truncate(self._end)

    def add(self, record: Mapping[str, Any]) -> Entry:
        """Add a line, whole or not at all."""
        line = json.dumps(record).encode() + b"\n"
        try:
            left = memoryview(line)
            while left:
                left = left[self._writer.write(left) :]
        except OSError:
            self._writer.truncate(self._end)
            raise
        self._take(line)
        return self.entries[record["file"]]

    def close(self) -> None:
        """Let go of the file, and let others add to it."""
        super().close()
        self._writer.close()


def encoded(vector: FloatArray) -> str:
    """Write a vector as base64 of its little-endian float32, to the last bit."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def decoded(text: str) -> FloatArray:
    """Read what `encoded` wrote; raises ValueError."""
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
