"""The plays of a log gathered by user and item, in memory that hangs on the pairs alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from soundalike.datasets.listening import Log, Numbers, Plays
from soundalike.errors import BadRequest

START, TEST, END = "2018-02-20", "2019-01-20", "2019-02-20"
PAPER_START, PAPER_TEST = "2019-02-20", "2020-02-20"
FOREVER_MS = np.iinfo(np.int64).max
ITEM_BITS = 32
LEAST_BUFFER = 1 << 19
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Dates:
    """Between which moments plays count, in milliseconds since 1970, UTC.

    The training period goes from `start` to before `test`, the test period from
    `test` to before `end`.
    """

    start: int
    test: int
    end: int = FOREVER_MS

    @classmethod
    def parse(cls, start: str = START, test: str = TEST, end: str | None = END) -> Dates:
        """Read dates such as ``2019-01-20``, each meaning its first moment, UTC; None is no end.

        Raises
        ------
        BadRequest
            One is no date, or they are not in order.
        """
        moments = [_moment(text) for text in (start, test)]
        moments.append(FOREVER_MS if end is None else _moment(end))
        if not moments[0] < moments[1] < moments[2]:
            raise BadRequest(f"Dates are in order: start {start}, test {test}, end {end}.")
        return cls(*moments)

    def as_dict(self) -> dict[str, str | None]:
        """Lay the dates out as a JSON object."""
        end = None if self.end == FOREVER_MS else told(self.end)
        return {"start": told(self.start), "test": told(self.test), "end": end}


def _moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"'{text}' is no date; write it as {TEST}.") from None
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (zoned - EPOCH) // timedelta(milliseconds=1)


def told(moment_ms: int) -> str:
    """Write a moment for a person: the date alone where it is midnight."""
    text = (EPOCH + timedelta(milliseconds=moment_ms)).isoformat(sep=" ")
    return text.removesuffix("+00:00").removesuffix(" 00:00:00")


@dataclass(frozen=True, slots=True)
class Heard:
    """Which user played which item in the window, and when.

    Attributes
    ----------
    user_ids, item_ids : sequence of str
        In any order, those outside the window among them.
    users, items : ndarray of int64, shape (N,)
        One row a pair, places in the ids.
    first, first_test : ndarray of int64, shape (N,)
        The first play in the window, and the first in the test period, in milliseconds since
        1970; `FOREVER_MS` where there is none.
    train_plays, test_plays : ndarray of int64, shape (N,)
        How many plays are in either period.
    dates : Dates
    plays : int
        In the whole log.
    earliest, latest : int
        The first and the last play of the whole log.
    """

    user_ids: Sequence[str]
    item_ids: Sequence[str]
    users: Numbers
    items: Numbers
    first: Numbers
    first_test: Numbers
    train_plays: Numbers
    test_plays: Numbers
    dates: Dates
    plays: int
    earliest: int
    latest: int

    @property
    def plays_in_window(self) -> int:
        """How many plays are in the window."""
        return int(self.train_plays.sum() + self.test_plays.sum())

    def told(self) -> str:
        """Say in a sentence what there is."""
        if not self.plays:
            return "the log holds no play."
        return (
            f"of {self.plays} plays between {told(self.earliest)} and {told(self.latest)}, "
            f"{int(self.train_plays.sum())} are in the training period and "
            f"{int(self.test_plays.sum())} in the test period."
        )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Pairs, each perhaps several times; `key` holds user and item."""

    key: Numbers
    first: Numbers
    first_test: Numbers
    train_plays: Numbers
    test_plays: Numbers

    @classmethod
    def of(cls, plays: Plays, dates: Dates) -> _Rows:
        inside = (plays.times >= dates.start) & (plays.times < dates.end)
        times, counts = plays.times[inside], plays.counts[inside]
        users, items = plays.users[inside], plays.items[inside]
        late = times >= dates.test
        return cls(
            key=(users.astype(np.int64) << ITEM_BITS) | items,
            first=times,
            first_test=np.where(late, times, FOREVER_MS),
            train_plays=np.where(late, 0, counts),
            test_plays=np.where(late, counts, 0),
        )

    @classmethod
    def gathered(cls, parts: Sequence[_Rows]) -> _Rows:
        """Bring each pair together into one row."""
        keys = np.concatenate([part.key for part in parts])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        begins = np.flatnonzero(np.diff(keys, prepend=-1))

        def reduced(how: np.ufunc, columns: Iterable[Numbers]) -> Numbers:
            values = np.concatenate(list(columns))[order]
            found: Numbers = how.reduceat(values, begins) if len(begins) else values
            return found

        return cls(
            keys[begins],
            reduced(np.minimum, (part.first for part in parts)),
            reduced(np.minimum, (part.first_test for part in parts)),
            reduced(np.add, (part.train_plays for part in parts)),
            reduced(np.add, (part.test_plays for part in parts)),
        )


@dataclass(slots=True)
class _Gathering:
    """Rows as they come in, brought together whenever as many are new as are old."""

    dates: Dates
    parts: list[_Rows] = field(default_factory=list)
    new: int = 0
    plays: int = 0
    earliest: int = FOREVER_MS
    latest: int = -FOREVER_MS

    def add(self, plays: Plays) -> None:
        self.plays += int(plays.counts.sum())
        self.earliest = min(self.earliest, int(plays.times.min()))
        self.latest = max(self.latest, int(plays.times.max()))
        rows = _Rows.gathered([_Rows.of(plays, self.dates)])
        self.parts.append(rows)
        self.new += len(rows.key)
        if self.new > max(LEAST_BUFFER, len(self.parts[0].key)):
            self.rows()

    def rows(self) -> _Rows:
        nothing = np.zeros(0, dtype=np.int64)
        self.parts = [_Rows.gathered(self.parts or [_Rows(*[nothing] * 5)])]
        self.new = 0
        return self.parts[0]


def gather(log: Log, dates: Dates, on_rows: Callable[[int], object] | None = None) -> Heard:
    """Read a log and gather its plays by user and item.

    Parameters
    ----------
    log : Log
    dates : Dates
    on_rows : callable
        Called with how many more rows have been read, for whoever waits.

    Returns
    -------
    Heard
        In memory are the pairs of the window, some 40 bytes each, and the ids.

    Raises
    ------
    BadRequest, BadRecord
        As `Log.plays` does.
    """
    gathering = _Gathering(dates)
    for plays in log.plays():
        gathering.add(plays)
        if on_rows is not None:
            on_rows(len(plays.users))
    rows = gathering.rows()
    return Heard(
        user_ids=log.users,
        item_ids=log.items,
        users=rows.key >> ITEM_BITS,
        items=rows.key & ((1 << ITEM_BITS) - 1),
        first=rows.first,
        first_test=rows.first_test,
        train_plays=rows.train_plays,
        test_plays=rows.test_plays,
        dates=dates,
        plays=gathering.plays,
        earliest=gathering.earliest,
        latest=gathering.latest,
    )
