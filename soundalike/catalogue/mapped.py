"""A table of strings on disk, of which each is read as it is asked for.

They lie one behind the other in a file of UTF-8, row by row, so that whoever
reads all of a row finds it in one place; another file says where each begins,
and where the last one ends.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self, overload

import numpy as np

from soundalike.engines.arrays import open_array
from soundalike.errors import DamagedIndex

TEXT = ".utf8"
OFFSETS = ".offsets.npy"


class TableWriter:
    """Writes strings as they come, to be read as a `Table`; use it in a `with` statement.

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

    def extend(self, rows: Iterable[Sequence[str]]) -> None:
        """Write more rows behind those that are there, all of the same number of strings."""
        for text in chain.from_iterable(rows):
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


class Table:
    """A table in a folder, mapped into memory.

    Parameters
    ----------
    folder : Path
        What a `TableWriter` wrote to. Its files must not change afterwards.
    name : str
        The name given there.
    rows, columns : int
        How many there are, of which each has as many strings.

    Raises
    ------
    DamagedIndex
        The files are missing, or do not fit each other.
    """

    def __init__(self, folder: Path, name: str, rows: int, columns: int) -> None:
        path, texts = folder / f"{name}{OFFSETS}", folder / f"{name}{TEXT}"
        offsets = open_array(path, np.int64, (rows * columns + 1,))
        try:
            self._text = _map(texts)
        except (OSError, ValueError) as error:
            raise DamagedIndex(f"{texts} cannot be read: {error}.") from error
        self._offsets = offsets.data
        self._columns = columns
        ends = (self._offsets[0], self._offsets[-1])
        if ends != (0, len(self._text)) or (np.diff(offsets) < 0).any():
            raise DamagedIndex(f"{path} does not fit the strings beside it.")

    def column(self, number: int) -> Strings:
        """Give the strings of a column, counted from 0."""
        return Strings(self._text, self._offsets, number, self._columns)


class Strings(Sequence[str]):
    """A column of a table.

    Parameters
    ----------
    text : mmap or bytes
        The strings of all columns, in UTF-8.
    offsets : memoryview of int64
        Where each begins, and where the last one ends.
    column, columns : int
        Which this is, and of how many.
    """

    def __init__(
        self, text: mmap.mmap | bytes, offsets: memoryview, column: int, columns: int
    ) -> None:
        self._text = text
        self._offsets = offsets
        self._column = column
        self._columns = columns

    def __len__(self) -> int:
        return (len(self._offsets) - 1) // self._columns

    @overload
    def __getitem__(self, which: int) -> str: ...

    @overload
    def __getitem__(self, which: slice) -> list[str]: ...

    def __getitem__(self, which: int | slice) -> str | list[str]:
        if isinstance(which, slice):
            return self.pick(range(*which.indices(len(self))))
        return self._bytes(range(len(self))[which]).decode()

    def pick(self, rows: Iterable[int]) -> list[str]:
        """Read some of them, all counted from the first."""
        text, offsets = self._text, self._offsets
        places = [row * self._columns + self._column for row in rows]
        return [text[offsets[place] : offsets[place + 1]].decode() for place in places]

    def rising(self) -> bool:
        """Whether each string comes after the one before it, as a binary search needs."""
        return all(self._bytes(row) < self._bytes(row + 1) for row in range(len(self) - 1))

    def _bytes(self, row: int) -> bytes:
        place = row * self._columns + self._column
        return self._text[self._offsets[place] : self._offsets[place + 1]]


def _map(path: Path) -> mmap.mmap | bytes:
    with path.open("rb") as file:
        if not path.stat().st_size:  # nothing cannot be mapped
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
