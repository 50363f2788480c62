"""Embeddings of items in files, as the tools that make them leave them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from soundalike.datasets.tables import Table, texts
from soundalike.errors import BadRequest
from soundalike.types import FloatArray

if TYPE_CHECKING:
    import pyarrow as pa

Flags: TypeAlias = npt.NDArray[np.bool_]

ID_COLUMNS = ("track_id", "trackid", "item_id", "item", "id", "__index_level_0__")
SUFFIXES = ("_embeddings.parquet", ".parquet", ".tsv", ".tsv.bz2", ".tsv.gz", ".csv", ".npy")
SOUNDS = frozenset({".mp3", ".wav", ".flac", ".ogg", ".m4a", ".aac", ".opus", ".wma", ".aiff"})
ONION = "id_"
PLACES_NAME = "ids.csv"
"""Beside .npy files: ``idx,trackid``, which row belongs to which item."""


@dataclass(frozen=True, slots=True)
class ItemVectors:
    """Vectors of items.

    Attributes
    ----------
    ids : sequence of str, length N
    values : ndarray of float32, shape (N, D)
        Finite, no row of one number alone.
    dropped : int
        Rows of the file that were neither.
    """

    ids: Sequence[str]
    values: FloatArray
    dropped: int = 0

    def rows(self, item_ids: Sequence[str], fitted_on: int) -> tuple[FloatArray, Flags]:
        """Look up items.

        Parameters
        ----------
        item_ids : sequence of str, length M
        fitted_on : int
            How many of them, from the first, anything may be learned from; nothing is here.

        Returns
        -------
        values : ndarray of float32, shape (M, D)
            Zeros where there is no vector.
        there : ndarray of bool, shape (M,)
        """
        place = {name: number for number, name in enumerate(self.ids)}
        places = np.array([place.get(name, -1) for name in item_ids], dtype=np.int64)
        there = places >= 0
        return np.where(there[:, np.newaxis], self.values[places], np.float32(0)), there


def find(folder: Path, name: str) -> Path | None:
    """Find the file of an embedding, such as ``mfcc_104``: by that name, or without the number.

    The files of Music4All-Onion are found with and without their ``id_``.
    """
    short = name.rpartition("_")[0] if name.rpartition("_")[2].isdigit() else ""
    bases = [start + base for base in (name, short) if base for start in ("", ONION)]
    names = [base + suffix for base in bases for suffix in SUFFIXES]
    return next((folder / one for one in names if (folder / one).is_file()), None)


def read(path: Path) -> ItemVectors:
    """Read vectors from Parquet or text with a column of ids, or from .npy beside ``ids.csv``.

    An id that ends like the name of a sound file is taken without that ending.

    Parameters
    ----------
    path : Path

    Returns
    -------
    ItemVectors

    Raises
    ------
    BadRequest
        It cannot be read, has no column of ids, names an item twice, or nothing in it is usable.
    """
    ids, values = _matrix(path) if path.suffix == ".npy" else _table(path)
    usable = _usable(values)
    names = [_bare(name) for name, good in zip(ids, usable, strict=True) if good]
    if not names:
        raise BadRequest(f"There is no usable vector in '{path}'.")
    if len(set(names)) < len(names):
        raise BadRequest(f"'{path}' has several vectors for one item.")
    return ItemVectors(names, values[usable].astype(np.float32), len(ids) - len(names))


def _usable(values: npt.NDArray[np.float64]) -> Flags:
    """Tell which rows are finite as float32 and say something."""
    finite = np.all(np.abs(values) <= np.finfo(np.float32).max, axis=1)
    constant = np.all(values == values[:, :1], axis=1) & (values.shape[1] > 1)
    return np.asarray(finite & ~constant)


def write(path: Path, ids: Sequence[str], values: FloatArray) -> None:
    """Write vectors as `read` reads them: Parquet, one column a dimension, float32."""
    import pyarrow as pa
    from pyarrow import parquet

    columns = {str(number): column for number, column in enumerate(values.T)}
    table = pa.table({ID_COLUMNS[0]: pa.array(list(ids), pa.string())} | columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)


def _table(path: Path) -> tuple[list[str], npt.NDArray[np.float64]]:
    import pyarrow as pa

    table = Table(path)
    key = next((name for name in ID_COLUMNS if name in table.columns), None)
    others = [name for name in table.columns if name != key]
    if key is None or not others:
        wanted = ", ".join(ID_COLUMNS[:-1])
        raise BadRequest(f"'{path}' has no column of ids ({wanted}) beside columns of numbers.")
    ids: list[str] = []
    parts = []
    try:
        for batch in table.batches(table.columns):
            ids += [one.decode() for one in texts(batch[key]).to_pylist()]
            parts.append(np.stack([_doubles(batch[name]) for name in others], axis=1))
    except (pa.ArrowInvalid, AttributeError, UnicodeDecodeError) as fault:
        raise BadRequest(f"'{path}' does not hold one number a column: {fault}.") from fault
    return ids, np.concatenate(parts) if parts else np.zeros((0, len(others)))


def _doubles(column: pa.Array) -> npt.NDArray[np.float64]:
    import pyarrow as pa

    if pa.types.is_binary(column.type):
        column = column.cast(pa.string())
    numbers = column.cast(pa.float64()).fill_null(np.nan)
    found: npt.NDArray[np.float64] = numbers.to_numpy(zero_copy_only=False)
    return found


def _matrix(path: Path) -> tuple[list[str], npt.NDArray[np.float64]]:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as fault:
        raise BadRequest(f"'{path}' cannot be read: {fault}.") from fault
    table = Table(path.with_name(PLACES_NAME))
    if not {"idx", "trackid"} <= set(table.columns):
        raise BadRequest(f"'{table.path}' has no columns 'idx' and 'trackid'.")
    rows = [
        (int(place), name.decode())
        for batch in table.batches(["idx", "trackid"])
        for place, name in zip(batch["idx"].to_pylist(), batch["trackid"].to_pylist(), strict=True)
    ]
    ids = [name for _, name in sorted(rows)]
    if values.ndim != 2 or [place for place, _ in sorted(rows)] != list(range(len(values))):
        raise BadRequest(
            f"'{path}' of shape {values.shape} has not one row for each of '{table.path}'."
        )
    return ids, values


def _bare(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in SOUNDS else name
