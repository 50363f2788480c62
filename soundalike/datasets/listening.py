"""Listening logs: who played what and when, read a piece at a time.

A log is TSV, CSV (also .gz or .bz2) or Parquet with a column each for user,
item and time, under the names in `ALIASES`, and optionally how many plays a
row stands for. ``userid_trackid_timestamp.tsv.bz2`` of Music4All-Onion is one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from soundalike.datasets import timestamps
from soundalike.datasets.repeats import RepeatCounter
from soundalike.datasets.tables import Table, texts
from soundalike.errors import BadRecord, BadRequest

if TYPE_CHECKING:
    import pyarrow as pa

Codes: TypeAlias = npt.NDArray[np.int32]
Numbers: TypeAlias = npt.NDArray[np.int64]

ALIASES = {
    "user": ("user", "user_id", "userid"),
    "item": ("item", "item_id", "track_id", "trackid"),
    "time": ("timestamp", "time", "ts"),
    "count": ("count",),
}
NEEDED = ("user", "item", "time")
BAD_SHARE = 0.01
"""Rows that may be unusable before a log is refused."""


@dataclass(frozen=True, slots=True)
class Plays:
    """A piece of a log.

    Attributes
    ----------
    users, items : ndarray of int32, shape (N,)
        Places in the log's `users` and `items`.
    times : ndarray of int64, shape (N,)
        Milliseconds since 1970, UTC.
    counts : ndarray of int64, shape (N,)
        How many plays each row stands for.
    """

    users: Codes
    items: Codes
    times: Numbers
    counts: Numbers


@dataclass(slots=True)
class Report:
    """What was found while reading a log, in rows.

    Attributes
    ----------
    rows : int
        All but the header.
    used : int
        Those that were handed on.
    malformed : int
        With another number of columns than the header.
    no_user, no_item, bad_time, bad_count : int
        With a field that is empty or cannot be read; a row counts under the first of them.
    future : int
        With a time after now.
    repeated : int
        Equal to an earlier row in user, item and time. They count as plays; see `RepeatCounter`
        for when this is an estimate.
    """

    rows: int = 0
    used: int = 0
    malformed: int = 0
    no_user: int = 0
    no_item: int = 0
    bad_time: int = 0
    bad_count: int = 0
    future: int = 0
    repeated: int = 0

    @property
    def bad(self) -> int:
        """How many rows could not be used."""
        return self.rows - self.used

    def as_dict(self) -> dict[str, int]:
        """Lay the counts out as a JSON object."""
        return asdict(self)


@dataclass(slots=True)
class _Names:
    """The ids of users or items in the order of their first appearance, always as text."""

    ids: list[str] = field(default_factory=list)
    places: dict[bytes, int] = field(default_factory=dict)

    def codes(self, column: pa.Array) -> Codes:
        """Give numbers to the ids of a column; -1 where there is none."""
        encoded = column.dictionary_encode()
        names = encoded.dictionary.to_pylist()
        known = list(map(self.places.get, names))
        places = [
            self._add(name) if place is None else place
            for name, place in zip(names, known, strict=True)
        ]
        of_dictionary = np.array([*places, -1], dtype=np.int32)  # the last is for nulls
        found: Codes = of_dictionary[encoded.indices.fill_null(len(places)).to_numpy()]
        return found

    def _add(self, name: bytes) -> int:
        try:
            text = name.decode().strip()
        except UnicodeDecodeError:
            return -1
        if not text:
            return -1
        # ' a' and 'a' are one id, and so are one place
        place = self.places.setdefault(text.encode(), len(self.ids))
        if place == len(self.ids):
            self.ids.append(text)
        self.places[name] = place
        return place


class Log:
    """A listening log in a file.

    Memory hangs on how many users and items there are, not on how many rows.

    Parameters
    ----------
    path : Path
    now_s : float, optional
        Seconds since 1970; rows after it are not used. The clock's time by default.
    bad_share : float
        What share of rows may be unusable.

    Attributes
    ----------
    users, items : list of str
        Ids by their numbers in `Plays`; complete once all plays were read.
    report : Report
        Of the last reading.
    """

    def __init__(
        self, path: Path, *, now_s: float | None = None, bad_share: float = BAD_SHARE
    ) -> None:
        self.path = path
        self.bad_share = bad_share
        self.report = Report()
        self._now_ms = int((time.time() if now_s is None else now_s) * 1000)
        self._users, self._items = _Names(), _Names()
        self._repeats = RepeatCounter()

    @property
    def users(self) -> list[str]:
        """Ids of users."""
        return self._users.ids

    @property
    def items(self) -> list[str]:
        """Ids of items."""
        return self._items.ids

    def plays(self) -> Iterator[Plays]:
        """Read the log from its beginning.

        Yields
        ------
        Plays
            About a million rows or fewer, as they stand in the file.

        Raises
        ------
        BadRequest
            It cannot be read, or its columns are not those of a log.
        BadRecord
            More of its rows than `bad_share` are unusable.
        """
        self.report, self._repeats = Report(), RepeatCounter()
        table = Table(self.path, lambda first: _names_of(self.path, first))
        columns = _columns(self.path, table.columns)
        for batch in table.batches(list(columns.values())):
            plays = self._piece({name: batch[column] for name, column in columns.items()})
            if len(plays.users):
                yield plays
        self.report.malformed = table.malformed
        self.report.rows += table.malformed
        self.report.repeated = self._repeats.repeated
        self._refuse_bad()

    def _piece(self, columns: dict[str, pa.Array]) -> Plays:
        users = self._users.codes(texts(columns["user"]))
        items = self._items.codes(texts(columns["item"]))
        times = timestamps.parse(columns["time"])
        counts = _counts(columns.get("count"), len(users))
        good = self._good(users, items, times, counts)
        plays = Plays(users[good], items[good], times[good], counts[good])
        self._repeats.add(plays.users, plays.items, plays.times)
        return plays

    def _good(
        self, users: Codes, items: Codes, times: Numbers, counts: Numbers
    ) -> npt.NDArray[np.bool_]:
        """Tell which rows can be used, and count why others cannot."""
        good = np.ones(len(users), dtype=bool)
        reasons = {
            "no_user": users < 0,
            "no_item": items < 0,
            "bad_time": times == timestamps.NONE,
            "bad_count": counts < 1,
            "future": times > self._now_ms,
        }
        for name, wrong in reasons.items():
            found = int(np.count_nonzero(good & wrong))
            setattr(self.report, name, getattr(self.report, name) + found)
            good &= ~wrong
        self.report.rows += len(users)
        self.report.used += int(np.count_nonzero(good))
        return good

    def _refuse_bad(self) -> None:
        report = self.report
        if report.bad > self.bad_share * report.rows:
            told = ", ".join(f"{name} {count}" for name, count in report.as_dict().items() if count)
            raise BadRecord(
                f"{report.bad} of {report.rows} rows of '{self.path}' cannot be used ({told}), and "
                f"{self.bad_share:.1%} may be; mend the file, or allow more.",
                limit=self.bad_share,
                **report.as_dict(),
            )


def _counts(column: pa.Array | None, rows: int) -> Numbers:
    """Read how many plays rows stand for; 0 where that cannot be read."""
    if column is None:
        return np.ones(rows, dtype=np.int64)
    return timestamps.integers(column)


def _names_of(path: Path, first: list[str]) -> list[str] | None:
    """Name the columns of a text file by its first row; None where that row names them."""
    if _places(first).keys() >= set(NEEDED):
        return None
    if len(first) == len(NEEDED) and timestamps.parse_one(first[2]) != timestamps.NONE:
        return list(NEEDED)
    raise _not_a_log(path, first)


def _columns(path: Path, names: list[str]) -> dict[str, str]:
    places = _places(names)
    if not places.keys() >= set(NEEDED):
        raise _not_a_log(path, names)
    return places


def _places(names: list[str]) -> dict[str, str]:
    """Find which column is the user, the item, the time and the count."""
    plain = {name.strip().lower(): name for name in reversed(names)}
    found = {
        meaning: next((plain[alias] for alias in aliases if alias in plain), None)
        for meaning, aliases in ALIASES.items()
    }
    return {meaning: name for meaning, name in found.items() if name is not None}


def _not_a_log(path: Path, names: list[str]) -> BadRequest:
    wanted = "; ".join(f"{meaning}: {', '.join(ALIASES[meaning])}" for meaning in NEEDED)
    found = ", ".join(repr(name[:40]) for name in names[:20])
    return BadRequest(f"'{path}' is no listening log. It needs columns {wanted}; found {found}.")
