"""Tables in files, read a piece at a time: TSV and CSV, compressed or not, and Parquet."""

from __future__ import annotations

import bz2
import csv
import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast

from soundalike.errors import BadRequest

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 1 << 22
BLOCK_ROWS = 1 << 20
MOST_HEADER_BYTES = 1 << 20
PARQUET = ".parquet"
UNREADABLE = (OSError, EOFError, ValueError, zlib.error)
"""How a file shows that it is missing, cut or damaged."""

NameColumns: TypeAlias = Callable[[list[str]], list[str] | None]
"""From a text file's first row to the names of its columns; None where that row holds them."""


def first_row_names(first: list[str]) -> None:
    """Take the first row for the names of the columns."""


class Table:
    """A table in a file.

    Parameters
    ----------
    path : Path
        Text is told from Parquet by the suffix, tabs from commas by the first row.
    name_columns : callable
        Says what the columns of a text file are called.

    Attributes
    ----------
    columns : list of str
    malformed : int
        Rows with another number of columns than the first, which were passed over.

    Raises
    ------
    BadRequest
        It cannot be read.
    """

    def __init__(self, path: Path, name_columns: NameColumns = first_row_names) -> None:
        self.path = path
        self.malformed = 0
        self._parquet = path.suffix == PARQUET
        try:
            if self._parquet:
                self.columns = _parquet_columns(path)
                return
            first, self._delimiter = _first_row(path)
        except UNREADABLE as fault:
            raise self._unreadable(fault) from fault
        names = name_columns(first)
        self._headed = names is None
        self.columns = first if names is None else names

    def batches(self, columns: Sequence[str]) -> Iterator[dict[str, pa.Array]]:
        """Read columns from the beginning.

        Parameters
        ----------
        columns : sequence of str

        Yields
        ------
        dict of str to pyarrow array
            A piece of each column: of a text file bytes, of Parquet whatever type it has.

        Raises
        ------
        BadRequest
            It cannot be read to its end.
        """
        self.malformed = 0
        pieces = self._of_parquet(columns) if self._parquet else self._of_text(columns)
        try:
            for batch in pieces:
                yield {name: batch.column(name) for name in columns}
        except UNREADABLE as fault:
            raise self._unreadable(fault) from fault

    def _of_parquet(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        from pyarrow import parquet

        with parquet.ParquetFile(self.path) as file:
            yield from file.iter_batches(BLOCK_ROWS, columns=list(columns), use_threads=False)

    def _of_text(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        reading = arrow_csv.ReadOptions(
            block_size=BLOCK_BYTES,
            column_names=self.columns,
            skip_rows=int(self._headed),
            use_threads=False,
        )
        # a quotation mark in a tab-separated file is a character like any other
        parsing = arrow_csv.ParseOptions(
            delimiter=self._delimiter,
            quote_char=False if self._delimiter == "\t" else '"',
            invalid_row_handler=self._pass_over,
        )
        converting = arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(self.columns, pa.binary()),
            include_columns=list(columns),
        )
        with (
            _opened(self.path) as file,
            arrow_csv.open_csv(file, reading, parsing, converting) as reader,
        ):
            yield from reader

    def _pass_over(self, row: object) -> str:
        self.malformed += 1
        return "skip"

    def _unreadable(self, fault: Exception) -> BadRequest:
        return BadRequest(f"'{self.path}' cannot be read: {fault}.")


def texts(column: pa.Array) -> pa.Array:
    """Make bytes of a column of ids, whole numbers among them.

    Raises
    ------
    BadRequest
        It holds what cannot be an id, such as numbers with a fraction.
    """
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_binary(kind):
        return column
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind):
        return column.cast(pa.string()).cast(pa.binary())
    raise BadRequest(f"Ids are text or whole numbers, and a column of {kind} is neither.")


def _opened(path: Path) -> BinaryIO:
    # unlike Arrow's own readers these go on behind the end of a first compressed stream
    if path.suffix == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    if path.suffix == ".bz2":
        return cast("BinaryIO", bz2.open(path, "rb"))
    return path.open("rb")


def _first_row(path: Path) -> tuple[list[str], str]:
    """Read the first row of a text file, and find what divides its columns."""
    with _opened(path) as file:
        line = file.readline(MOST_HEADER_BYTES).decode("utf-8-sig").rstrip("\r\n")
    if not line:
        raise ValueError("it is empty")
    delimiter = "\t" if "\t" in line else ","
    return next(csv.reader([line], delimiter=delimiter)), delimiter


def _parquet_columns(path: Path) -> list[str]:
    from pyarrow import parquet

    return list(parquet.read_schema(path).names)
