"""A collection in use: where it is searched, and how that follows what is written."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from soundalike.catalogue import building, files
from soundalike.catalogue.files import Stored
from soundalike.catalogue.reader import Collection, Reader
from soundalike.catalogue.recall import Recall
from soundalike.catalogue.rows import Base
from soundalike.catalogue.shelf import Shelf
from soundalike.catalogue.snapshot import Index, Snapshot
from soundalike.catalogue.statements import Learned, Record
from soundalike.catalogue.transforms import Fitted
from soundalike.errors import BadRequest, DamagedIndex, UnknownCollection

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 300.0
MOST_UNSHOWN = 256  # items; to show so many takes some milliseconds


@dataclass(frozen=True, slots=True)
class Manner:
    """How all collections of a catalogue are searched.

    Attributes
    ----------
    exact_below : int
        Collections of fewer items have no index.
    recall_target : float
        Share of the true neighbours that an index is to find.
    """

    exact_below: int
    recall_target: float


@dataclass(frozen=True, slots=True)
class Serving:
    """Where a collection is searched, and the recall of what is found there."""

    index: Index
    recall: Recall


class Live:
    """One collection in use.

    It is brought up to date by whoever is about to ask it, and made anew from
    the tables, or from an index that was published, as often as is useful.

    Attributes
    ----------
    described : Collection
        What the tables said of it when they were read last.
    note : str or None
        What is wrong with its index.
    fault : str or None
        Why it cannot be kept up to date.
    """

    def __init__(self, described: Collection, shelf: Shelf, manner: Manner) -> None:
        self.described = described
        self.note: str | None = None
        self.fault: str | None = None
        self._shelf = shelf
        self._manner = manner
        self._serving: Serving | None = None
        self._shown: Collection | None = None
        self._changing = threading.Lock()  # of the index
        self._renewing = threading.Lock()
        self._unshown = 0
        self._failures = 0
        self._retry_s = 0.0

    @property
    def record(self) -> Record:
        """The facts of the collection."""
        return self.described.record

    @property
    def serving(self) -> Serving:
        """What belongs together while others exchange the index; there once it was followed."""
        assert self._serving is not None  # noqa: S101
        return self._serving

    @property
    def index(self) -> Index:
        """Where it is searched."""
        return self.serving.index

    @property
    def snapshot(self) -> Snapshot:
        """All of it as it was when it was last brought up to date."""
        return self.index.snapshot

    @property
    def large(self) -> bool:
        """Whether there are so many items that there should be an index."""
        return self.record.engine != "exact" and self.snapshot.live >= self._manner.exact_below

    @property
    def index_state(self) -> str:
        """Whether it has an index; see `CollectionInfo`."""
        if self.snapshot.base.engine is not None:
            return "ready"
        return "missing" if self.large else "none"

    @property
    def due(self) -> bool:
        """Whether its index or transform should be made anew, and that may be tried."""
        if self._serving is None:
            return False
        base = self.snapshot.base
        wanted = self.large if base.engine is None else self.index.overgrown
        return (wanted or self.index.outgrown) and time.monotonic() >= self._retry_s

    @property
    def outdated(self) -> bool:
        """Whether it should be renewed: another index was published, or too many rows are dead."""
        if self._serving is None or self._shown is None:
            return False
        without_index = self.snapshot.base.engine is None
        return self._differs(self._shown) or (without_index and self.index.overgrown)

    def describe(self, described: Collection) -> None:
        """Take note of what the tables say, if that is news."""
        with self._changing:
            self._describe(described)

    def catch_up(self, reader: Reader) -> None:
        """Show all that was written before.

        Raises
        ------
        UnknownCollection
            It was dropped.
        """
        while not self._follow(reader):
            self.renew(reader)
        self.fault = None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep to this collection what goes wrong with it, so that the others go on."""
        try:
            yield
        except UnknownCollection:
            pass  # another process dropped it just now
        except Exception as error:
            fault = f"It cannot be kept up to date: {error!r}"
            if fault != self.fault:  # once, and not with every attempt
                log.exception("the collection %r fails; others go on", self.record.name)
            self.fault = fault

    def renew(self, reader: Reader, *, check: bool = False) -> None:
        """Begin anew from what the tables say, and from the index that is published.

        Parameters
        ----------
        reader : Reader
        check : bool
            Look into the index first, in a process of its own.
        """
        before = self._serving
        with self._renewing:
            if self._serving is not before:
                return  # while this waited another thread has done it
            described, learned, base = self._open(reader, check=check)
            fresh = Index(base, self._manner.exact_below)
            if not _follow(fresh, reader, described.record):
                # its deletions are forgotten, since a later one has been published
                fresh = Index(_without_index(described, learned), self._manner.exact_below)
                _follow(fresh, reader, described.record)
            self._take(fresh, described, reader)

    def lags(self, items: int) -> bool:
        """Take note that items were written; say whether many have been that are not shown."""
        self._unshown += items
        if self._unshown < MOST_UNSHOWN:
            return False
        self._unshown = 0
        return True

    def measure(self) -> None:
        """Measure the recall of live queries, and search harder where it falls short."""
        serving = self.serving
        engine = serving.index.snapshot.engine
        if engine is None:
            return
        better = serving.recall.measure(engine)
        if better is engine:
            return
        with self._changing:
            # that took its time: an engine over the rows of another index would name wrong items
            if self._serving is not serving or serving.index.snapshot.engine is not engine:
                return
            serving.index.use(better)
        if better is None:
            self.note = "The index missed its recall at any useful effort; every item is compared."

    def succeeded(self) -> None:
        """Take note that an index or a transform was made."""
        self._failures, self.note = 0, None

    def failed(self, why: str) -> None:
        """Take note that none could be made, and let some time pass before the next attempt."""
        self._failures += 1
        self.note = why
        self._retry_s = time.monotonic() + min(2.0**self._failures, LONGEST_PAUSE_S)

    def _follow(self, reader: Reader) -> bool:
        with self._changing:
            if self._serving is None:
                return False
            if self.snapshot.base.transform != self.record.transform:
                return False
            return _follow(self.index, reader, self.record)

    def _take(self, fresh: Index, described: Collection, reader: Reader) -> None:
        """Serve from another index, unless a write came that it cannot follow."""
        with self._changing:
            # what others have shown since must not be lost, so this comes within the lock
            if _follow(fresh, reader, described.record):
                engine = fresh.snapshot.base.engine
                calibrated = 1.0 if engine is None else engine.recall
                self._serving = Serving(fresh, Recall(calibrated, self._manner.recall_target))
                self._shown, self.fault = described, None
                self._describe(described)

    def _describe(self, described: Collection) -> None:
        if described.layout > self.described.layout:
            self.described = described

    def _differs(self, shown: Collection) -> bool:
        now = self.described
        return (now.index, now.fitted_at, now.record.transform) != (
            shown.index,
            shown.fitted_at,
            shown.record.transform,
        )

    def _open(self, reader: Reader, *, check: bool) -> tuple[Collection, Learned | None, Base]:
        """Read what the tables say, and open the index that is published, if that can be used."""
        described, learned = self._described_by(reader)
        while True:
            try:
                return described, learned, self._base(described, learned, check=check)
            except (DamagedIndex, BadRequest) as fault:
                before = described
                described, learned = self._described_by(reader)
                if described.index != before.index:
                    continue  # another was published meanwhile, and this one deleted
                log.warning("the index of %r is not used: %s", described.record.name, fault)
                self.note = f"Every item is compared while the index is made anew: {fault.detail}"
                return described, learned, _without_index(described, learned)

    def _described_by(self, reader: Reader) -> tuple[Collection, Learned | None]:
        with reader.moment():  # parameters of another transform must not come with the name of one
            described = reader.collection(self.record.id)
            learned = reader.learned(self.record.id)
        if described is None:
            raise _dropped(self.record)
        return described, learned

    def _base(self, described: Collection, learned: Learned | None, *, check: bool) -> Base:
        if described.index is None:
            return _without_index(described, learned)
        folder = self._shelf.path(described.record.id, described.index.folder)
        if check:
            building.check(folder)
        stored = files.open_folder(folder)
        _check_fits(stored, described)
        self.note = None
        return Base(
            keys=stored.keys,
            metadata=stored.metadata,
            vectors=stored.vectors,
            places=stored.places,
            engine=stored.engine,
            transform=stored.transform,
            fitted=stored.fitted,
            fitted_at=stored.fitted_at,
            sequence=stored.sequence,
        )


def _follow(index: Index, reader: Reader, record: Record) -> bool:
    """Show in an index all that was written since; False where that is no longer known."""
    since = index.snapshot.sequence
    with reader.moment():
        progress = reader.progress(record.id)
        if progress is None:
            raise _dropped(record)
        sequence, pruned = progress
        if 0 < since < pruned:
            return False
        if sequence > since:
            deleted = reader.deleted(record.id, since) if since else []
            index.apply(sequence, deleted, reader.written(record.id, record.dim, since))
    return True


def _without_index(described: Collection, learned: Learned | None) -> Base:
    return Base.empty(
        described.record.dim,
        transform=described.record.transform,
        fitted=None if learned is None else Fitted.from_bytes(learned.parameters),
        fitted_at=0 if learned is None else learned.sequence,
    )


def _check_fits(stored: Stored, described: Collection) -> None:
    """Refuse the index of another collection, or of another state of it."""
    said, record = stored.manifest, described.record
    own = (record.id, record.space, record.dim, record.engine, record.transform)
    if own != (said.collection, said.space, said.dim, said.engine, said.transform):
        raise DamagedIndex("It is the index of another collection.")


def _dropped(record: Record) -> UnknownCollection:
    return UnknownCollection(
        f"The collection {record.name!r} was dropped meanwhile.", collection=record.name
    )
