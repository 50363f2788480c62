"""What stands beside the folder of a model: one JSON object a line for each file it was given.

Lines are only ever added. The last one of a file holds, and what was being
written when the power went is not a line.
"""

from __future__ import annotations

import base64
import fcntl
import json
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

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
        return _record(self._reader, entry.offset)

    def records(self) -> Iterator[dict[str, Any]]:
        """Read all that stands in the line of each file, in the order of their names."""
        for file in sorted(self.entries):
            yield self.record(self.entries[file])

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def _take(self, line: bytes) -> None:
        """Note what a line says."""
        offset, self._end = self._end, self._end + len(line)
        entry = _entry(line, offset)
        if entry is None:
            return
        if entry.error is None:
            # where names have changed, an array may have become another file's
            before = self.entries.get(self._owners.get(entry.output, entry.file))
            if before and before.error is None and before.output == entry.output:
                del self.entries[before.file]
            self._owners[entry.output] = entry.file
        self.entries[entry.file] = entry


class Latest:
    """The lines that hold of a manifest, for who goes through them once.

    Of each line 24 bytes are in memory, where `Manifest` keeps a thousand.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    OSError
        It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._newest: int | None = None  # where the last line with an array begins
        said, end = array("Q"), 0
        with path.open("rb") as lines:
            for line in lines:
                offset, end = end, end + len(line)
                entry = _entry(line, offset) if line.endswith(b"\n") else None
                if entry is not None:
                    is_good = entry.error is None
                    said.extend((_digest(entry.file), is_good * _digest(entry.output), offset))
                    self._newest = offset if is_good else self._newest
        self._offsets = _holding(np.frombuffer(said, np.uint64).reshape(-1, 3))

    def __len__(self) -> int:
        return len(self._offsets)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Read all that stands in each, in their order."""
        with self.path.open("rb") as lines:
            for offset in self._offsets.tolist():
                yield _record(lines, offset)

    def newest(self) -> dict[str, Any] | None:
        """Read the last one that tells of an array."""
        if self._newest is None:
            return None
        with self.path.open("rb") as lines:
            return _record(lines, self._newest)


def _holding(said: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Choose among rows of file, array (0 where there is none) and offset; gives the offsets.

    The last one of a file holds, unless its array has become another file's.
    """
    lasts = _lasts(said[:, 0])
    with_array = np.flatnonzero(said[:, 1])
    owners = with_array[_lasts(said[with_array, 1])]
    holds = (said[lasts, 1] == 0) | np.isin(lasts, owners)
    return np.sort(said[lasts[holds], 2])


def _lasts(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
    """Find where each key stands for the last time."""
    _, found = np.unique(keys[::-1], return_index=True)
    lasts: npt.NDArray[np.intp] = len(keys) - 1 - found
    return lasts


def _digest(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest())


def _entry(line: bytes, offset: int) -> Entry | None:
    """Read a line; one that is damaged, or not ours, says nothing."""
    try:
        return Entry.of(json.loads(line), offset)
    except (KeyError, TypeError, ValueError):
        return None


def _record(lines: BinaryIO, offset: int) -> dict[str, Any]:
    lines.seek(offset)
    record: dict[str, Any] = json.loads(lines.readline())
    return record


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
