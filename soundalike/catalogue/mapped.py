"""Many strings on disk, of which each is read as it is asked for.

They lie one behind the other in a file of UTF-8; another file says where each
begins, and where the last one ends.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, overload

import numpy as np

from soundalike.errors import DamagedIndex

TEXT = ".utf8"
OFFSETS = ".offsets.npy"


class StringsWriter:
    """Writes strings as they come, to be read as `Strings`; use it in a `with` statement.

    Parameters
    ----------
    folder : Path
        Where the files go.
    name : str
        What their names begin with.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._offsets = array("q", [0])
        self._offsets_path = folder / f"{name}{OFFSETS}"
        self._text = (folder / f"{name}{TEXT}").open("wb")

    def extend(self, texts: Iterable[str]) -> None:
        """Write more strings behind those that are there."""
        for text in texts:
            encoded = text.encode()
            self._text.write(encoded)
            self._offsets.append(self._offsets[-1] + len(encoded))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._text.close()
        with self._offsets_path.open("wb") as file:
            offsets = np.frombuffer(self._offsets, dtype=np.int64)
            np.lib.format.write_array(file, offsets, allow_pickle=False)


class Strings(Sequence[str]):
    """Strings in a folder, mapped into memory.

    Parameters
    ----------
    folder : Path
        What a `StringsWriter` wrote to. Its files must not change afterwards.
    name : str
        The name given there.

    Raises
    ------
    DamagedIndex
        The files are missing, or do not fit each other.
    """

    def __init__(self, folder: Path, name: str) -> None:
        path = folder / f"{name}{OFFSETS}"
        try:
            offsets = np.load(path, mmap_mode="r", allow_pickle=False)
            self._text = _map(folder / f"{name}{TEXT}")
        except (OSError, ValueError) as error:
            raise DamagedIndex(f"{path.with_suffix('')} cannot be read: {error}.") from error
        if offsets.ndim != 1 or not len(offsets) or offsets.dtype != np.int64:
            raise DamagedIndex(f"{path} does not say where strings begin.")
        self._offsets = memoryview(offsets)
        ends = (self._offsets[0], self._offsets[-1])
        if ends != (0, len(self._text)) or (np.diff(offsets) < 0).any():
            raise DamagedIndex(f"{path} does not fit the strings beside it.")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, which: int) -> str: ...

    @overload
    def __getitem__(self, which: slice) -> list[str]: ...

    def __getitem__(self, which: int | slice) -> str | list[str]:
        if isinstance(which, slice):
            return [self._bytes(row).decode() for row in range(*which.indices(len(self)))]
        return self._bytes(range(len(self))[which]).decode()

    def pick(self, rows: Iterable[int]) -> list[str]:
        """Read some of them, all counted from the first."""
        text, offsets = self._text, self._offsets
        return [text[offsets[row] : offsets[row + 1]].decode() for row in rows]

    def rising(self) -> bool:
        """Whether each string comes after the one before it, as a binary search needs."""
        return all(self._bytes(row) < self._bytes(row + 1) for row in range(len(self) - 1))

    def _bytes(self, row: int) -> bytes:
        return self._text[self._offsets[row] : self._offsets[row + 1]]


def _map(path: Path) -> mmap.mmap | bytes:
    with path.open("rb") as file:
        if not path.stat().st_size:  # nothing cannot be mapped
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
