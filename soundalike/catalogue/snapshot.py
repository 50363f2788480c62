"""What one collection is searched in: immutable snapshots, and how the next one is made.

A snapshot is a base (rows that are indexed), a tail (rows that came since,
searched exactly) and marks on the rows that are dead. A reader takes the
current snapshot, one reference, and needs no lock. What was written, by
whichever process, makes the next snapshot cheaply: the tail grows in a buffer
that all snapshots share, of which each sees its own length, and the marks are
copied.

Where the collection has a transform, rows are searched in the places to which
it moves them; it is fitted anew with the base.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from soundalike.catalogue.columns import Columns
from soundalike.catalogue.rows import Base, Tail, gather, pick, unit
from soundalike.engines.base import Engine, Rows
from soundalike.types import FloatArray

EXACT_BELOW = 10_000  # here an exact scan takes about a millisecond
SHORT_TAIL_ROWS = 2_000
LONG_TAIL_ROWS = 10_000
TAIL_SHARE = 0.05
FEW_DEAD_ROWS = 100
DEAD_SHARE = 0.10
LEAST_TO_FIT = 50  # of fewer items a mean says little
OUTGROWN = 2  # times as many items as a transform was fitted on

Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Items:
    """Items as they are read: keys, metadata as JSON, and vectors of shape (rows, dim)."""

    keys: Sequence[str]
    metadata: Sequence[str]
    vectors: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The metadata of rows as it is now; it knows no more, so that nothing leads in a circle.

    Attributes
    ----------
    base : sequence of str
        Of the first rows, as it was when they were indexed.
    relabelled : dict of int to str
        Of those of them that were given other since.
    tail : list of str
        Of the rows that came after.
    """

    base: Sequence[str]
    relabelled: dict[int, str]
    tail: list[str]

    def of(self, rows: Sequence[int]) -> list[str]:
        """Give the metadata of rows, as JSON."""
        if not self.tail and not self.relabelled:
            return pick(self.base, rows)
        base, changed, size = self.base, self.relabelled, len(self.base)
        return [
            self.tail[row - size]
            if row >= size
            else (changed[row] if row in changed else base[row])
            for row in rows
        ]

    def change(self, row: int, text: str) -> None:
        """Give a row other metadata."""
        if row < len(self.base):
            self.relabelled[row] = text
        else:
            self.tail[row - len(self.base)] = text


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All of a collection at one moment.

    Rows are numbered through base and tail.

    Attributes
    ----------
    base : Base
        The first rows.
    tail : ndarray of float32, shape (T, D)
        Rows of unit length that came after the base.
    tail_places : ndarray of float32, shape (T, S)
        Where they are looked for.
    tail_keys : list of str
        The items of the tail; entries past the last row belong to snapshots
        that came after.
    labels : Labels
        The metadata of all rows, and of those of snapshots that came after.
    columns : Columns
        The metadata of all rows, by field.
    dead : ndarray of bool, shape (B + T,)
        Rows that were replaced or deleted.
    gone : int
        How many rows of the base are dead.
    live : int
        Rows that are not dead.
    engine : Engine or None
        Over the places of the base; None where every row has to be compared.
    sequence : int
        The write this shows.
    """

    base: Base
    tail: FloatArray
    tail_places: FloatArray
    tail_keys: list[str]
    labels: Labels
    columns: Columns
    dead: Marks
    gone: int
    live: int
    engine: Engine | None
    sequence: int

    @property
    def exact(self) -> bool:
        """Whether every answer is right."""
        return self.engine is None

    @property
    def indexed(self) -> int:
        """How many items are in the index."""
        return len(self.base.vectors) - self.gone

    def vectors(self, rows: Rows) -> FloatArray:
        """Gather rows of base and tail; shape (len(rows), D)."""
        return gather(self.base.vectors, self.tail, rows)

    def places(self, rows: Rows) -> FloatArray:
        """Gather where rows of base and tail are looked for; shape (len(rows), S)."""
        return gather(self.base.places, self.tail_places, rows)

    def keys(self, rows: Sequence[int]) -> list[str]:
        """Name the items of rows."""
        if not len(self.tail):
            return pick(self.base.keys, rows)
        base, size = self.base.keys, len(self.base.vectors)
        return [base[row] if row < size else self.tail_keys[row - size] for row in rows]

    def metadata(self, rows: Sequence[int]) -> list[str]:
        """Give the metadata of rows, as JSON."""
        return self.labels.of(rows)


class Index:
    """The current snapshot of one collection, and the writes that make the next.

    Any number of threads may take the snapshot; one at a time may change it.

    Parameters
    ----------
    base : Base
        What is indexed.
    exact_below : int
        With fewer live items every row is compared.
    """

    def __init__(self, base: Base, exact_below: int) -> None:
        self._exact_below = exact_below
        self._tail = Tail(base)
        self._labels = Labels(base.metadata, {}, self._tail.metadata)
        self._engine = base.engine
        self._columns = Columns(self._labels.of)
        self._snapshot = Snapshot(
            base=base,
            tail=self._tail.vectors,
            tail_places=self._tail.places,
            tail_keys=self._tail.keys,
            labels=self._labels,
            columns=self._columns,
            dead=np.zeros(len(base.vectors), dtype=bool),
            gone=0,
            live=len(base.vectors),
            engine=self._engine_for(len(base.vectors)),
            sequence=base.sequence,
        )

    @property
    def snapshot(self) -> Snapshot:
        """The newest snapshot."""
        return self._snapshot

    @property
    def overgrown(self) -> bool:
        """Whether so much was written since the base was made that it should be made anew."""
        now = self._snapshot
        base, tail = len(now.base.vectors), len(now.tail)
        stale = len(now.dead) - now.live + len(now.labels.relabelled)
        long_tail = min(max(SHORT_TAIL_ROWS, TAIL_SHARE * base), LONG_TAIL_ROWS)
        indexed = now.base.engine is not None
        return stale > max(FEW_DEAD_ROWS, DEAD_SHARE * len(now.dead)) or (
            indexed and tail > long_tail
        )

    @property
    def outgrown(self) -> bool:
        """Whether there are so many more items than its transform knew that it should be fitted."""
        base, live = self._snapshot.base, self._snapshot.live
        fitted_on = base.fitted.count if base.fitted else 0
        return base.transform is not None and live >= max(LEAST_TO_FIT, OUTGROWN * fitted_on)

    def apply(self, sequence: int, deleted: Sequence[str], written: Iterable[Items]) -> None:
        """Show what was written since the newest snapshot.

        Parameters
        ----------
        sequence : int
            The write that this leads up to.
        deleted : sequence of str
            Keys; those that are not there are passed over.
        written : iterable of Items
            Those that are new, or were written again; read after the deletions.
        """
        dead = self._snapshot.dead.copy()
        dead[[row for row in map(self._take, deleted) if row is not None]] = True
        for items in written:
            dead = self._put(items, dead)
        self._publish(dead, sequence)

    def use(self, engine: Engine | None) -> None:
        """Search the base by another engine from now on; compare every row where there is none."""
        self._engine = engine
        live = self._snapshot.live
        self._snapshot = replace(self._snapshot, engine=self._engine_for(live))

    def _take(self, key: str) -> int | None:
        """Find the row of an item that is to go, and know it no longer."""
        row = self._find(key, self._snapshot.dead)
        self._tail.forget(key)
        return row

    def _find(self, key: str, dead: Marks) -> int | None:
        row = self._tail.find(key)
        if row is None:
            row = self._snapshot.base.find(key)
        return None if row is None or dead[row] else row

    def _put(self, items: Items, dead: Marks) -> Marks:
        """Add items in place of those of the same keys; gives the marks of all rows."""
        units = unit(items.vectors).astype(np.float32)
        before = [self._find(key, dead) for key in items.keys]
        moved = self._moved(before, units)
        for place in np.flatnonzero(~moved).tolist():
            self._relabel(before[place], items.metadata[place])
        new = np.flatnonzero(moved).tolist()
        dead[[row for place in new if (row := before[place]) is not None]] = True
        self._tail.append(
            [items.keys[place] for place in new],
            [items.metadata[place] for place in new],
            units[new],
        )
        return np.concatenate([dead, np.zeros(len(new), dtype=bool)])

    def _moved(self, before: Sequence[int | None], units: FloatArray) -> Marks:
        """Tell which items have another vector than the row where they were."""
        moved = np.ones(len(before), dtype=bool)
        there = [place for place, row in enumerate(before) if row is not None]
        if there:
            rows = np.array([before[place] for place in there], dtype=np.int64)
            base = self._snapshot.base.vectors
            moved[there] = (gather(base, self._tail.vectors, rows) != units[there]).any(axis=1)
        return moved

    def _relabel(self, row: int | None, text: str) -> None:
        """Give a row other metadata; every snapshot shows it at once."""
        assert row is not None  # noqa: S101
        self._labels.change(row, text)
        self._columns.change(row)

    def _engine_for(self, live: int) -> Engine | None:
        few = live < self._exact_below
        return None if few or self._engine is None or self._engine.exact else self._engine

    def _publish(self, dead: Marks, sequence: int) -> None:
        base = len(self._snapshot.base.vectors)
        live = len(dead) - int(np.count_nonzero(dead))
        self._snapshot = replace(
            self._snapshot,
            tail=self._tail.vectors,
            tail_places=self._tail.places,
            dead=dead,
            gone=int(np.count_nonzero(dead[:base])),
            live=live,
            engine=self._engine_for(live),
            sequence=sequence,
        )
