"""Vectors of clips in a Parquet file, read a piece at a time.

Its columns are ``id`` and ``space`` (text), ``vector`` (a list of floats) and, where there is
something to tell of a clip, ``metadata`` (a JSON object as text). All rows are of one space.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from soundalike.errors import BadRecord, BadRequest, SpaceMismatch
from soundalike.types import FloatArray, Item

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

SUFFIX = ".parquet"
NEEDED = ("id", "space", "vector")
METADATA = "metadata"
ROWS_AT_ONCE = 500
SPACES_AT_ONCE = 65_536
BUFFER_BYTES = 1 << 20

Refused = Callable[[str, str], None]
"""Is told which row cannot be used, and why."""


class _Row(NamedTuple):
    id: str | None
    vector: FloatArray | None
    metadata: str | None


class ClipVectors:
    """A Parquet file of clip vectors.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    count : int
        Rows of the file.
    space : str
        What all of its vectors are of.
    dim : int
        Length of the first vector, which all others must have too.

    Raises
    ------
    BadRequest
        It cannot be read, lacks a column, has one of another type, or holds no row.
    SpaceMismatch
        It holds vectors of several spaces.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._opened() as file:
            self.count = file.metadata.num_rows
            self._columns = self._check_columns(file)
            if not self.count:
                raise BadRequest(f"'{path}' holds no vector.")
            self.space = self._read_space(file)
            self.dim = self._read_dim(file)

    def items(self, refused: Refused) -> Iterator[Item]:
        """Go through the rows, in the order of the file.

        Parameters
        ----------
        refused : callable
            Is told the id, or the number, of each row that is passed over, and why.

        Yields
        ------
        Item
            Its vector finite and of the file's dimension.

        Raises
        ------
        BadRequest
            The file cannot be read to its end.
        """
        number = 0
        with self._opened() as file:
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=self._columns, use_threads=False):
                for row in _rows(batch):
                    number += 1
                    try:
                        item = self._item(row)
                    except BadRecord as fault:
                        refused(row.id or f"row {number}", fault.detail)
                    else:
                        yield item

    @contextmanager
    def _opened(self) -> Iterator[parquet.ParquetFile]:
        parquet = _parquet()
        try:
            # read as it is needed: whoever wrote it may have made one row group of it all
            with parquet.ParquetFile(
                self.path, pre_buffer=False, buffer_size=BUFFER_BYTES, memory_map=False
            ) as file:
                yield file
        except (OSError, ValueError) as fault:  # Arrow's own faults are ValueErrors
            raise BadRequest(f"'{self.path}' cannot be read as Parquet: {fault}.") from fault

    def _check_columns(self, file: parquet.ParquetFile) -> list[str]:
        schema = file.schema_arrow
        missing = [name for name in NEEDED if name not in schema.names]
        if missing:
            raise BadRequest(
                f"'{self.path}' has no column {' and no column '.join(map(repr, missing))}; it has "
                f"{', '.join(schema.names)}. Clip vectors are id, space, vector and metadata."
            )
        columns = [*NEEDED, METADATA] if METADATA in schema.names else [*NEEDED]
        for name in columns:
            if not _fits(name, schema.field(name).type):
                wanted = "a list of floats" if name == "vector" else "text"
                raise BadRequest(
                    f"Column '{name}' of '{self.path}' is {schema.field(name).type}, not {wanted}."
                )
        return [name for name in columns if name != "space"]

    def _read_space(self, file: parquet.ParquetFile) -> str:
        spaces: set[str | None] = set()
        for batch in file.iter_batches(SPACES_AT_ONCE, columns=["space"], use_threads=False):
            spaces.update(batch.column(0).unique().to_pylist())
            if len(spaces) > 1:
                names = " and ".join(repr(one) for one in sorted(spaces, key=str)[:2])
                raise SpaceMismatch(
                    f"'{self.path}' holds vectors of {names}, which cannot be compared; a "
                    "collection has one space, so make a file of each."
                )
        (space,) = spaces
        if not space:
            raise BadRequest(f"'{self.path}' does not say of which space its vectors are.")
        return space

    def _read_dim(self, file: parquet.ParquetFile) -> int:
        batches = file.iter_batches(1, columns=["vector"], use_threads=False)
        (first,) = _split(next(batches).column(0))
        if first is None or not len(first):
            raise BadRequest(f"The first row of '{self.path}' has no vector.")
        return len(first)

    def _item(self, row: _Row) -> Item:
        if not row.id:
            raise BadRecord("it has no id")
        if row.vector is None:
            raise BadRecord("it has no vector")
        if len(row.vector) != self.dim:
            raise BadRecord(f"its vector has {len(row.vector)} numbers and the first {self.dim}")
        if not np.isfinite(row.vector).all():
            raise BadRecord("its vector holds NaN or infinity")
        return Item(row.id, row.vector, _object(row.metadata))


def _parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise BadRequest("Parquet needs pyarrow: pip install 'soundalike[evaluation]'.") from None
    return parquet


def _fits(name: str, kind: pa.DataType) -> bool:
    from pyarrow import types

    if name == "vector":
        lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
        return bool(lists and types.is_floating(kind.value_type))
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _rows(batch: pa.RecordBatch) -> Iterator[_Row]:
    ids = batch.column("id").to_pylist()
    has_metadata = METADATA in batch.schema.names
    metadata = batch.column(METADATA).to_pylist() if has_metadata else [None] * len(ids)
    yield from map(_Row, ids, _split(batch.column("vector")), metadata)


def _split(column: pa.Array) -> list[FloatArray | None]:
    """Cut a column of lists into vectors; None where there is none."""
    from pyarrow import compute

    lengths = compute.list_value_length(column).fill_null(-1).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    ends = np.cumsum(np.maximum(lengths, 0))
    return [
        None if length < 0 else values[end - length : end].copy()
        for end, length in zip(ends, lengths, strict=True)
    ]


def _object(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError as fault:
        raise BadRecord(f"its metadata are not JSON: {fault}") from None
    if not isinstance(found, dict):
        raise BadRecord("its metadata are no JSON object")
    return found
