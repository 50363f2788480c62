"""What a query demands of metadata.

::

    {"genre": "jazz"}                       equal; null: the field is not there
    {"year": {"gte": 1990, "lt": 2000}}     gt, gte, lt, lte: numbers, or texts as they sort
    {"genre": {"in": ["jazz", "blues"]}}    one of these
    {"label": {"exists": true}}             there, and not null
    {"and": [...]}  {"or": [...]}  {"not": {...}}

Several in one object must all hold. A field is a key of the metadata, or the
keys on the way into nested objects joined by dots. Where a field holds a
list, it is enough that one of its values meets a demand. A number equals the
same number however it is written; true and false are no numbers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from soundalike.catalogue.columns import Columns, Scalar, key_of
from soundalike.errors import BadRequest

MAX_DEPTH = 16
MAX_DEMANDS = 1000
MAX_CHOICES = 10_000
MAX_FIELDS = 32  # each is read out of all items when it is first named
BOUNDS = ("gt", "gte", "lt", "lte")

Marks = npt.NDArray[np.bool_]


class Filter(ABC):
    """A demand that an item meets or does not."""

    @abstractmethod
    def marks(self, columns: Columns, rows: int) -> Marks:
        """Tell which of the first rows meet it.

        Parameters
        ----------
        columns : Columns
            The metadata of the items.
        rows : int
            How many of them are asked for.

        Returns
        -------
        ndarray of bool, shape (rows,)
        """


@dataclass(frozen=True, slots=True)
class _OneOf(Filter):
    field: str
    choices: frozenset[tuple[str, Scalar]]

    def marks(self, columns: Columns, rows: int) -> Marks:
        return columns.equal(self.field, self.choices, rows)


@dataclass(frozen=True, slots=True)
class _Between(Filter):
    field: str
    bounds: Mapping[str, float | str]

    def marks(self, columns: Columns, rows: int) -> Marks:
        return columns.between(self.field, self.bounds, rows)


@dataclass(frozen=True, slots=True)
class _Exists(Filter):
    field: str

    def marks(self, columns: Columns, rows: int) -> Marks:
        return columns.there(self.field, rows)


@dataclass(frozen=True, slots=True)
class _All(Filter):
    parts: Sequence[Filter]

    def marks(self, columns: Columns, rows: int) -> Marks:
        met = np.ones(rows, dtype=bool)
        for part in self.parts:
            met &= part.marks(columns, rows)
        return met


@dataclass(frozen=True, slots=True)
class _Any(Filter):
    parts: Sequence[Filter]

    def marks(self, columns: Columns, rows: int) -> Marks:
        met = np.zeros(rows, dtype=bool)
        for part in self.parts:
            met |= part.marks(columns, rows)
        return met


@dataclass(frozen=True, slots=True)
class _Not(Filter):
    part: Filter

    def marks(self, columns: Columns, rows: int) -> Marks:
        return ~self.part.marks(columns, rows)


def parse(demands: Any) -> Filter:
    """Read a filter.

    Parameters
    ----------
    demands : object
        As JSON gives it.

    Returns
    -------
    Filter

    Raises
    ------
    BadRequest
        It is not a filter; says where.
    """
    return _Reader().read(demands, "filter", MAX_DEPTH)


class _Reader:
    """Reads one filter, and counts what it demands."""

    def __init__(self) -> None:
        self._left = MAX_DEMANDS
        self._fields: set[str] = set()

    def read(self, demands: Any, where: str, depth: int) -> Filter:
        if not isinstance(demands, dict):
            raise BadRequest(f'The {where} must be an object such as {{"genre": "jazz"}}.')
        if not depth:
            raise BadRequest(f"A filter may be {MAX_DEPTH} objects deep.", limit=MAX_DEPTH)
        self._left -= max(1, len(demands))
        if self._left < 0:
            raise BadRequest(f"A filter may make {MAX_DEMANDS} demands.", limit=MAX_DEMANDS)
        parts = [self._part(name, what, where, depth - 1) for name, what in demands.items()]
        return parts[0] if len(parts) == 1 else _All(parts)

    def _part(self, name: str, what: Any, where: str, depth: int) -> Filter:
        here = f"{where}.{name}"
        if name == "not":
            return _Not(self.read(what, here, depth))
        if name in ("and", "or"):
            if not isinstance(what, list):
                raise BadRequest(f"The {here} must be a list of filters.")
            parts = [self.read(one, f"{here}[{i}]", depth) for i, one in enumerate(what)]
            return _All(parts) if name == "and" else _Any(parts)
        self._fields.add(name)
        if len(self._fields) > MAX_FIELDS:
            raise BadRequest(f"A filter may name {MAX_FIELDS} fields.", limit=MAX_FIELDS)
        return _field(name, what, here)


def _field(name: str, what: Any, where: str) -> Filter:
    if what is None:
        return _Not(_Exists(name))
    if not isinstance(what, dict):
        return _OneOf(name, frozenset([_choice(what, where)]))
    unknown = sorted(set(what) - {*BOUNDS, "in", "exists"})
    if unknown or not what:
        raise BadRequest(
            f"The {where} must be a value or an object of {', '.join(BOUNDS)}, in, exists; "
            f"it holds {', '.join(map(repr, unknown)) or 'nothing'}."
        )
    parts: list[Filter] = []
    if "in" in what:
        parts.append(_OneOf(name, _choices(what["in"], f"{where}.in")))
    if "exists" in what:
        parts.append(_existence(name, what["exists"], f"{where}.exists"))
    if bounds := {bound: what[bound] for bound in BOUNDS if bound in what}:
        parts.append(_Between(name, _checked(bounds, where)))
    return parts[0] if len(parts) == 1 else _All(parts)


def _choice(value: Any, where: str) -> tuple[str, Scalar]:
    if not isinstance(value, str | bool | int | float):
        raise BadRequest(f"The {where} must be a text, a number, true or false.")
    return key_of(value)


def _choices(values: Any, where: str) -> frozenset[tuple[str, Scalar]]:
    if not isinstance(values, list) or len(values) > MAX_CHOICES:
        raise BadRequest(f"The {where} must be a list of at most {MAX_CHOICES} values.")
    return frozenset(_choice(one, where) for one in values)


def _existence(name: str, wanted: Any, where: str) -> Filter:
    if not isinstance(wanted, bool):
        raise BadRequest(f"The {where} must be true or false.")
    return _Exists(name) if wanted else _Not(_Exists(name))


def _checked(bounds: Mapping[str, Any], where: str) -> dict[str, float | str]:
    numbers = [
        isinstance(one, int | float) and not isinstance(one, bool) for one in bounds.values()
    ]
    texts = [isinstance(one, str) for one in bounds.values()]
    if not (all(numbers) or all(texts)):
        raise BadRequest(f"The bounds of {where} must all be numbers, or all be texts.")
    if any(isinstance(one, float) and math.isnan(one) for one in bounds.values()):
        raise BadRequest(f"The bounds of {where} must not be NaN.")
    return dict(bounds)
