"""What one collection is searched in: immutable snapshots, and who makes the next one.

A snapshot is a base (a matrix with an engine over it), a tail (rows that came
since, searched exactly) and marks on the rows that are dead. A reader takes
the current snapshot, one reference, and needs no lock. A write makes the next
snapshot cheaply: the tail grows in a buffer that all snapshots share, of which
each sees its own length, and the marks are copied. When the tail is long or
many rows are dead, everything that lives becomes a new base.

Where the collection has a transform, rows are searched in the places to which
it moves them; it is fitted anew with the base.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soundalike import engines
from soundalike.catalogue import transforms
from soundalike.catalogue.rows import Base, Buffer, gather
from soundalike.catalogue.transforms import Fitted
from soundalike.engines.base import Engine, Rows
from soundalike.types import FloatArray

EXACT_BELOW = 10_000  # here an exact scan takes about a millisecond
SHORT_TAIL_ROWS = 2_000
TAIL_SHARE = 0.05
FEW_DEAD_ROWS = 100
DEAD_SHARE = 0.10
LEAST_TO_FIT = 50  # of fewer items a mean says little
OUTGROWN = 2  # times as many items as a transform was fitted on

Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of a collection at one moment.

    Attributes
    ----------
    ids : list of str
        The item of each row, base first; entries past the last row belong to
        snapshots that came after.
    metadata : list of str
        The metadata of each row, as JSON, in a list like `ids`.
    base : Base
        The first rows.
    tail : ndarray of float32, shape (T, D)
        Rows of unit length that came after the base.
    tail_places : ndarray of float32, shape (T, S)
        Where they are looked for.
    dead : ndarray of bool, shape (B + T,)
        Rows that were replaced or deleted.
    live : int
        Rows that are not dead.
    exact : bool
        True where every row has to be compared.
    sequence : int
        The write this shows.
    """

    ids: list[str]
    metadata: list[str]
    base: Base
    tail: FloatArray
    tail_places: FloatArray
    dead: Marks
    live: int
    exact: bool
    sequence: int

    def vectors(self, rows: Rows) -> FloatArray:
        """Gather rows of base and tail; shape (len(rows), D)."""
        return gather(self.base.vectors, self.tail, rows)

    def places(self, rows: Rows) -> FloatArray:
        """Gather where rows of base and tail are looked for; shape (len(rows), S)."""
        return gather(self.base.places, self.tail_places, rows)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A base that may take the place of another.

    Attributes
    ----------
    base : Base
    old : Snapshot
        What it was made from.
    rows : list of int
        Which rows of that it holds, in its own order.
    """

    base: Base
    old: Snapshot
    rows: list[int]

    @property
    def changed(self) -> bool:
        """Whether the transform or what it learned is another."""
        there = self.old.base
        return (self.base.transform, self.base.fitted) != (there.transform, there.fitted)


class Index:
    """The current snapshot of one collection, and the writes that make the next.

    Parameters
    ----------
    engine : str
        Name of the engine that serves once there are `exact_below` items.
    exact_below : int
        With fewer live items every row is compared, whatever the engine.
    dim : int
        Length of each vector.
    transform : str, optional
        The name of the transform that is wanted.
    """

    def __init__(
        self, engine: str, exact_below: int, dim: int, transform: str | None = None
    ) -> None:
        self._wanted = engines.load(engine)
        self._exact_below = max(1, exact_below)
        self._lock = threading.Lock()
        nothing = np.empty((0, dim), dtype=np.float32)
        self.load([], [], nothing, sequence=0, transform=transform)

    @property
    def snapshot(self) -> Snapshot:
        """The newest snapshot."""
        return self._snapshot

    @property
    def due(self) -> bool:
        """Whether the base is so far behind that it should be rebuilt."""
        now = self._snapshot
        unindexed = now.base.engine.exact and not self._engine_for(now.live).exact
        return unindexed or self.outdated

    @property
    def outdated(self) -> bool:
        """Whether much was written since the base, and what is fitted on it, were made."""
        now = self._snapshot
        many_dead = len(now.dead) - now.live > max(FEW_DEAD_ROWS, DEAD_SHARE * len(now.dead))
        long_tail = len(now.tail) > max(SHORT_TAIL_ROWS, TAIL_SHARE * len(now.base.vectors))
        fitted_on = now.base.fitted.count if now.base.fitted else 0
        outgrown = now.live >= max(LEAST_TO_FIT, OUTGROWN * fitted_on)
        return many_dead or long_tail or (now.base.transform is not None and outgrown)

    def load(
        self,
        ids: list[str],
        metadata: list[str],
        vectors: FloatArray,
        *,
        sequence: int,
        transform: str | None = None,
        fitted: tuple[Fitted, int] | None = None,
    ) -> None:
        """Take what is stored, in place of all there is.

        Parameters
        ----------
        ids : list of str
            By rising id.
        metadata : list of str
            Of each item, as JSON.
        vectors : ndarray of float32, shape (len(ids), D)
            Of unit length.
        sequence : int
            The write these show.
        transform : str, optional
            The name of the transform that is wanted.
        fitted : Fitted and int, optional
            The transform, and the write after which it was fitted.
        """
        learned, fitted_at = fitted or (None, 0)
        base = Base.build(
            vectors,
            engines.load("exact"),
            transform=transform,
            fitted=learned,
            fitted_at=fitted_at,
        )
        with self._lock:
            self._take_base(ids, metadata, base)
            self._publish(np.zeros(len(ids), dtype=bool), sequence)

    def put(
        self, ids: Sequence[str], metadata: Sequence[str], vectors: FloatArray, *, sequence: int
    ) -> None:
        """Add items, all different, in place of those of the same ids; see `load`."""
        with self._lock:
            dead = self._append(self._snapshot.dead, ids, metadata, vectors)
            self._publish(dead, sequence)

    def relabel(self, ids: Sequence[str], metadata: Sequence[str]) -> None:
        """Give items that are there other metadata; every snapshot shows it at once."""
        with self._lock:
            for one, text in zip(ids, metadata, strict=True):
                self._metadata[self._row_of[one]] = text

    def remove(self, ids: Sequence[str], *, sequence: int) -> None:
        """Take out items, all of which are there."""
        with self._lock:
            dead = self._snapshot.dead.copy()
            dead[[self._row_of.pop(one) for one in ids]] = True
            self._publish(dead, sequence)

    def rebuild(self, transform: str | None, *, refit: bool = True) -> Rebuilt:
        """Make a new base of everything that lives; the old one serves until `take`.

        Writes go on meanwhile. The caller sees to it that only one rebuild
        runs at a time.

        Parameters
        ----------
        transform : str or None
            The name of the transform that is wanted.
        refit : bool
            Fit it anew, even where it is the one there is.
        """
        old = self._snapshot
        rows = np.flatnonzero(~old.dead).tolist()
        rows.sort(key=old.ids.__getitem__)
        vectors = old.vectors(np.array(rows, dtype=np.int64))
        fitted, fitted_at = old.base.fitted, old.base.fitted_at
        if refit or transform != old.base.transform:
            fitted, fitted_at = _fit(transform, vectors), old.sequence
        base = Base.build(
            vectors,
            self._engine_for(len(rows)),
            transform=transform,
            fitted=fitted,
            fitted_at=fitted_at,
        )
        return Rebuilt(base, old, rows)

    def take(self, rebuilt: Rebuilt) -> None:
        """Serve from a new base, and what was written since it was begun."""
        kept = np.array(rebuilt.rows, dtype=np.int64)
        ids = [rebuilt.old.ids[row] for row in rebuilt.rows]
        with self._lock:
            dead, fresh = self._since(rebuilt.old, kept)
            added = (
                [self._ids[row] for row in fresh.tolist()],
                [self._metadata[row] for row in fresh.tolist()],
                self._snapshot.vectors(fresh),
            )
            # not gathered before: it may have changed while the base was made
            metadata = [self._metadata[row] for row in rebuilt.rows]
            self._take_base(ids, metadata, rebuilt.base)
            for row in np.flatnonzero(dead).tolist():
                del self._row_of[ids[row]]
            dead = self._append(dead, *added)
            self._publish(dead, self._snapshot.sequence)

    def _engine_for(self, items: int) -> type[Engine]:
        return self._wanted if items >= self._exact_below else engines.load("exact")

    def _since(self, old: Snapshot, kept: Rows) -> tuple[Marks, Rows]:
        """Tell what came after a snapshot: which rows kept of it have died, and the new rows."""
        now, size = self._snapshot.dead, len(old.dead)
        return now[kept], size + np.flatnonzero(~now[size:])

    def _take_base(self, ids: list[str], metadata: list[str], base: Base) -> None:
        self._ids = ids
        self._metadata = metadata
        self._base = base
        self._tail = Buffer(base.vectors.shape[1])
        self._tail_places = self._tail if base.fitted is None else Buffer(base.places.shape[1])
        self._row_of = {one: row for row, one in enumerate(ids)}

    def _append(
        self, dead: Marks, ids: Sequence[str], metadata: Sequence[str], vectors: FloatArray
    ) -> Marks:
        """Write rows behind those that snapshots can see; returns the marks for all."""
        used = len(dead) - len(self._base.vectors)
        self._tail.write(used, vectors)
        if self._tail_places is not self._tail:
            self._tail_places.write(used, self._base.place(vectors))
        self._ids.extend(ids)
        self._metadata.extend(metadata)
        extended = np.concatenate([dead, np.zeros(len(ids), dtype=bool)])
        for row, one in enumerate(ids, start=len(dead)):
            before = self._row_of.get(one)
            if before is not None:
                extended[before] = True
            self._row_of[one] = row
        return extended

    def _publish(self, dead: Marks, sequence: int) -> None:
        live = len(dead) - int(np.count_nonzero(dead))
        in_tail = len(dead) - len(self._base.vectors)
        self._snapshot = Snapshot(
            ids=self._ids,
            metadata=self._metadata,
            base=self._base,
            tail=self._tail.rows[:in_tail],
            tail_places=self._tail_places.rows[:in_tail],
            dead=dead,
            live=live,
            exact=self._base.engine.exact or live < self._exact_below,
            sequence=sequence,
        )


def _fit(transform: str | None, vectors: FloatArray) -> Fitted | None:
    if transform is None or len(vectors) < LEAST_TO_FIT:
        return None
    return transforms.fit(transform, vectors)
