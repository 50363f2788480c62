"""What one collection is searched in: immutable snapshots, and who makes the next one.

A snapshot is a base (a matrix with an engine over it), a tail (rows that came
since, searched exactly) and marks on the rows that are dead. A reader takes
the current snapshot, one reference, and needs no lock. A write makes the next
snapshot cheaply: the tail grows in a buffer that all snapshots share, of which
each sees its own length, and the marks are copied. When the tail is long or
many rows are dead, everything that lives becomes a new base.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soundalike import engines
from soundalike.engines.base import Engine, Rows
from soundalike.types import FloatArray

EXACT_BELOW = 10_000  # here an exact scan takes about a millisecond
SHORT_TAIL_ROWS = 2_000
TAIL_SHARE = 0.05
FEW_DEAD_ROWS = 100
DEAD_SHARE = 0.10
LEAST_CAPACITY = 64

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
    base : ndarray of float32, shape (B, D)
        Rows of unit length, by rising id.
    engine : Engine
        Over the base.
    tail : ndarray of float32, shape (T, D)
        Rows of unit length that came after the base.
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
    base: FloatArray
    engine: Engine
    tail: FloatArray
    dead: Marks
    live: int
    exact: bool
    sequence: int

    def vectors(self, rows: Rows) -> FloatArray:
        """Gather rows of base and tail; shape (len(rows), D)."""
        in_base = rows < len(self.base)
        gathered = np.empty((len(rows), self.base.shape[1]), dtype=np.float32)
        gathered[in_base] = self.base[rows[in_base]]
        gathered[~in_base] = self.tail[rows[~in_base] - len(self.base)]
        return gathered


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
    """

    def __init__(self, engine: str, exact_below: int, dim: int) -> None:
        self._wanted = engines.load(engine)
        self._exact_below = max(1, exact_below)
        self._lock = threading.Lock()
        nothing = np.empty((0, dim), dtype=np.float32)
        self.load([], [], nothing, sequence=0)

    @property
    def snapshot(self) -> Snapshot:
        """The newest snapshot."""
        return self._snapshot

    @property
    def due(self) -> bool:
        """Whether the base is so far behind that it should be rebuilt."""
        now = self._snapshot
        many_dead = len(now.dead) - now.live > max(FEW_DEAD_ROWS, DEAD_SHARE * len(now.dead))
        long_tail = len(now.tail) > max(SHORT_TAIL_ROWS, TAIL_SHARE * len(now.base))
        unindexed = now.engine.exact and not self._engine_for(now.live).exact
        return many_dead or long_tail or unindexed

    def load(
        self, ids: list[str], metadata: list[str], vectors: FloatArray, *, sequence: int
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
        """
        with self._lock:
            self._take_base(ids, metadata, vectors, engines.load("exact").build(vectors))
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

    def rebuild(self) -> None:
        """Make everything that lives the new base; the old one serves until then.

        Writes go on meanwhile. The caller sees to it that only one rebuild
        runs at a time.
        """
        old = self._snapshot
        rows = np.flatnonzero(~old.dead).tolist()
        rows.sort(key=old.ids.__getitem__)
        kept = np.array(rows, dtype=np.int64)
        ids = [old.ids[row] for row in rows]
        vectors = old.vectors(kept)
        engine = self._engine_for(len(ids)).build(vectors)
        with self._lock:
            dead, fresh = self._since(old, kept)
            added = (
                [self._ids[row] for row in fresh.tolist()],
                [self._metadata[row] for row in fresh.tolist()],
                self._snapshot.vectors(fresh),
            )
            # not gathered before: it may have changed while the engine was built
            metadata = [self._metadata[row] for row in rows]
            self._take_base(ids, metadata, vectors, engine)
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

    def _take_base(
        self, ids: list[str], metadata: list[str], vectors: FloatArray, engine: Engine
    ) -> None:
        self._ids = ids
        self._metadata = metadata
        self._base = vectors
        self._engine = engine
        self._buffer = np.empty((0, vectors.shape[1]), dtype=np.float32)
        self._row_of = {one: row for row, one in enumerate(ids)}

    def _append(
        self, dead: Marks, ids: Sequence[str], metadata: Sequence[str], vectors: FloatArray
    ) -> Marks:
        """Write rows behind those that snapshots can see; returns the marks for all."""
        used = len(dead) - len(self._base)
        self._reserve(used, used + len(ids))
        self._buffer[used : used + len(ids)] = vectors
        self._ids.extend(ids)
        self._metadata.extend(metadata)
        extended = np.concatenate([dead, np.zeros(len(ids), dtype=bool)])
        for row, one in enumerate(ids, start=len(dead)):
            before = self._row_of.get(one)
            if before is not None:
                extended[before] = True
            self._row_of[one] = row
        return extended

    def _reserve(self, used: int, needed: int) -> None:
        """Make room in the buffer, in a new one where it is full: snapshots keep the old one."""
        if needed <= len(self._buffer):
            return
        capacity = max(needed, 2 * len(self._buffer), LEAST_CAPACITY)
        larger = np.empty((capacity, self._buffer.shape[1]), dtype=np.float32)
        larger[:used] = self._buffer[:used]
        self._buffer = larger

    def _publish(self, dead: Marks, sequence: int) -> None:
        live = len(dead) - int(np.count_nonzero(dead))
        self._snapshot = Snapshot(
            ids=self._ids,
            metadata=self._metadata,
            base=self._base,
            engine=self._engine,
            tail=self._buffer[: len(dead) - len(self._base)],
            dead=dead,
            live=live,
            exact=self._engine.exact or live < self._exact_below,
            sequence=sequence,
        )
