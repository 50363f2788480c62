"""What is known of items beside their sound, made into vectors."""

from __future__ import annotations

import ast
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from soundalike.datasets.item_vectors import ID_COLUMNS
from soundalike.datasets.tables import Table, texts
from soundalike.errors import BadRequest
from soundalike.types import FloatArray

if TYPE_CHECKING:
    import pyarrow as pa

Flags: TypeAlias = npt.NDArray[np.bool_]
Doubles: TypeAlias = npt.NDArray[np.float64]

MOST_CATEGORIES = 64
DIVIDER = ","
LITERALS = {"{": "}", "[": "]"}
MOST_LITERAL = 100_000
"""Characters of a cell that is read as a dictionary or a list."""


@dataclass(frozen=True, slots=True)
class ItemMetadata:
    """Columns of items, as text.

    Attributes
    ----------
    ids : sequence of str, length N
    columns : dict of str to list of str
        An empty text where nothing is known.
    dropped : int
        Items of which no column tells anything, and which count as not there.
    """

    ids: Sequence[str]
    columns: dict[str, list[str]]
    dropped: int = 0

    def rows(self, item_ids: Sequence[str], fitted_on: int) -> tuple[FloatArray, Flags]:
        """Make vectors of items.

        A column of numbers has mean 0 and deviation 1 over the first items. Of any other, each
        category that the first items have is a number, 0 or 1; where there are more than 64,
        categories share 64 numbers by a checksum. A cell may hold several, with commas between or
        as the list ``['rock', 'pop']``, or the dictionary ``{'rock': 100, 'pop': 40}`` of tags and
        weights, which count in shares of the largest.

        Parameters
        ----------
        item_ids : sequence of str, length M
        fitted_on : int
            How many of them, from the first, means and categories are learned from.

        Returns
        -------
        values : ndarray of float32, shape (M, D)
            Zeros where nothing is known of an item.
        there : ndarray of bool, shape (M,)
        """
        place = {name: number for number, name in enumerate(self.ids)}
        there = np.array([name in place for name in item_ids])
        parts = []
        for column in self.columns.values():
            cells = [column[place[name]] if name in place else "" for name in item_ids]
            numbers = _numbers(cells)
            if numbers is not None:
                parts.append(_scaled(numbers, fitted_on))
            else:
                parts.append(_categories(cells, fitted_on))
        return np.concatenate(parts, axis=1).astype(np.float32), there


def read(path: Path, columns: Sequence[str] = ()) -> ItemMetadata:
    """Read a table of items, of tabs or commas.

    ``id_information``, ``id_metadata``, ``id_genres``, ``id_tags`` and ``id_lang`` of Music4All are
    such tables, and ``id_tags_dict`` of Music4All-Onion.

    Parameters
    ----------
    path : Path
    columns : sequence of str
        Those to be used; all by default.

    Returns
    -------
    ItemMetadata

    Raises
    ------
    BadRequest
        It cannot be read, lacks a column, or names an item twice.
    """
    table = Table(path)
    key = next((name for name in ID_COLUMNS if name in table.columns), None)
    chosen = list(columns) or [name for name in table.columns if name != key]
    missing = [name for name in chosen if name not in table.columns]
    if key is None or missing or not chosen:
        raise BadRequest(
            f"'{path}' has not all the columns asked for; it needs one of ids "
            f"({', '.join(ID_COLUMNS[:-1])}) and has {', '.join(table.columns)}."
        )
    ids: list[str] = []
    found: dict[str, list[str]] = {name: [] for name in chosen}
    for batch in table.batches([key, *chosen]):
        ids += _texts(batch[key])
        for name in chosen:
            found[name] += _texts(batch[name])
    if len(set(ids)) < len(ids):
        raise BadRequest(f"'{path}' has several rows for one item.")
    told = [place for place in range(len(ids)) if any(cells[place] for cells in found.values())]
    columns_told = {name: [cells[place] for place in told] for name, cells in found.items()}
    return ItemMetadata([ids[place] for place in told], columns_told, len(ids) - len(told))


def beside_each_other(tables: Sequence[ItemMetadata]) -> ItemMetadata:
    """Make one table of several.

    Raises
    ------
    BadRequest
        Two have a column of one name.
    """
    names = [name for table in tables for name in table.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadRequest(f"Several tables tell of {', '.join(twice)}; choose columns: FILE:a,b.")
    ids = list(dict.fromkeys(name for table in tables for name in table.ids))
    columns: dict[str, list[str]] = {}
    for table in tables:
        place = {name: number for number, name in enumerate(table.ids)}
        for column, cells in table.columns.items():
            columns[column] = [cells[place[name]] if name in place else "" for name in ids]
    return ItemMetadata(ids, columns, sum(table.dropped for table in tables))


def _texts(column: pa.Array) -> list[str]:
    import pyarrow as pa

    if pa.types.is_floating(column.type):
        column = column.cast(pa.string()).cast(pa.binary())
    return [(one or b"").decode(errors="replace").strip() for one in texts(column).to_pylist()]


def _numbers(cells: Sequence[str]) -> Doubles | None:
    """Read cells as numbers, NaN where they are empty; None where one is none."""
    try:
        numbers = np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return None
    return None if np.isinf(numbers).any() or np.isnan(numbers).all() else numbers


def _scaled(numbers: Doubles, fitted_on: int) -> Doubles:
    known = numbers[:fitted_on][~np.isnan(numbers[:fitted_on])]
    mean, deviation = (known.mean(), known.std()) if len(known) else (0.0, 0.0)
    scaled = (numbers - mean) / (deviation or 1.0)
    return np.nan_to_num(scaled, nan=0.0)[:, np.newaxis]


def _categories(cells: Sequence[str], fitted_on: int) -> Doubles:
    found = [_weights(cell) for cell in cells]
    names = sorted(set().union(*found[:fitted_on]))
    if len(names) > MOST_CATEGORIES:
        place = {name: zlib.crc32(name.encode()) % MOST_CATEGORIES for name in set().union(*found)}
    else:
        place = {name: number for number, name in enumerate(names)}
    values = np.zeros((len(cells), min(len(names), MOST_CATEGORIES)))
    for row, of_item in zip(values, found, strict=True):
        for name, weight in of_item.items():
            if name in place:
                row[place[name]] = max(row[place[name]], weight)
    return values


def _weights(cell: str) -> Mapping[str, float]:
    """Read the categories of a cell, and what each counts, from 0 to 1."""
    found = _literal(cell)
    if found is None:
        return dict.fromkeys({one.strip() for one in cell.split(DIVIDER)} - {""}, 1.0)
    largest = max(found.values(), default=1.0)
    return {name: weight / largest for name, weight in found.items()}


def _literal(cell: str) -> Mapping[str, float] | None:
    """Read a dictionary of weights above 0, or a list of names; None where a cell is neither."""
    if len(cell) > MOST_LITERAL or LITERALS.get(cell[:1]) != cell[-1:]:
        return None
    try:
        # literals alone: nothing in the cell is called or looked up
        value = ast.literal_eval(cell)
        pairs = value.items() if isinstance(value, dict) else ((name, 1) for name in value)
        found = {str(name).strip(): float(weight) for name, weight in pairs}
    except (ValueError, SyntaxError, TypeError, OverflowError, MemoryError, RecursionError):
        return None
    if not all(map(math.isfinite, found.values())):
        return None
    return {name: weight for name, weight in found.items() if weight > 0}
