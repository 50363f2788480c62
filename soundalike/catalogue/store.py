"""The truth: what a catalogue holds, in one SQLite file; its tables are drawn in `schema`."""

from __future__ import annotations

import fcntl
import sqlite3
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from soundalike.catalogue import restore, statements
from soundalike.catalogue.reader import Reader
from soundalike.catalogue.restore import Backup
from soundalike.catalogue.schema import open_for_writing
from soundalike.catalogue.statements import Learned, Published, Record, Row
from soundalike.catalogue.writer import Writer
from soundalike.errors import CatalogueError

FILE_NAME = "catalogue.sqlite3"


class Lent:
    """A reader until the end of a `with` statement, without the cost of a generator."""

    __slots__ = ("_reader", "_store")

    def __init__(self, store: Store, reader: Reader) -> None:
        self._store = store
        self._reader = reader

    def __enter__(self) -> Reader:
        return self._reader

    def __exit__(self, *_: object) -> None:
        self._store.give_back(self._reader)


class Store:
    """Opens, reads and writes the file, which other processes may do at the same time.

    Parameters
    ----------
    directory : Path
        Made where it is missing.

    Raises
    ------
    CatalogueError
        A newer version of the program wrote it, or it is no such file.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / FILE_NAME
        self._idle: deque[Reader] = deque()
        self._closed = False
        with (directory / "catalogue.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of several that start at once one makes the tables
            self._writer = Writer(open_for_writing(self.path))

    def close(self) -> None:
        """Write what was accepted and close the file; safe to repeat."""
        self._writer.close()
        self._closed = True
        self._close_idle()

    def check_open(self) -> None:
        """Raise `CatalogueError` once closed."""
        if self._closed:
            raise CatalogueError("The catalogue is closed.")

    def create(self, record: Record) -> Record:
        """Write a new collection; the record is returned with the id it got."""

        def change(connection: sqlite3.Connection) -> Record:
            return statements.insert_collection(connection, record)

        return self._writer.write(change)

    def drop(self, collection: int) -> None:
        """Delete a collection and its items."""

        def change(connection: sqlite3.Connection) -> None:
            statements.drop(connection, collection)

        self._writer.write(change)

    def point(self, alias: str, collection: int, aside: Record | None) -> None:
        """Make an alias point at a collection.

        Parameters
        ----------
        alias : str
            Made, or moved.
        collection : int
            What it is to point at.
        aside : Record or None
            The collection that bears the alias's name, under its new one.
        """

        def change(connection: sqlite3.Connection) -> None:
            statements.point(connection, alias, collection, aside)

        self._writer.write(change)

    def unpoint(self, alias: str) -> None:
        """Delete an alias."""

        def change(connection: sqlite3.Connection) -> None:
            statements.unpoint(connection, alias)

        self._writer.write(change)

    def upsert(self, collection: int, rows: Sequence[Row]) -> None:
        """Insert or replace items."""

        def change(connection: sqlite3.Connection) -> None:
            statements.upsert(connection, collection, rows)

        self._writer.write(change)

    def delete(self, collection: int, keys: Sequence[str]) -> int:
        """Delete items; gives how many were there."""

        def change(connection: sqlite3.Connection) -> int:
            return statements.delete(connection, collection, keys)

        return self._writer.write(change)

    def publish(
        self,
        collection: int,
        transform: str | None,
        learned: Learned | None,
        index: Published | None,
    ) -> bool:
        """Replace a collection's transform and index, in one step.

        Parameters
        ----------
        collection : int
        transform : str or None
            The transform's name.
        learned : Learned or None
            What it learned.
        index : Published or None
            The index that was built with it.

        Returns
        -------
        bool
            False where the collection was dropped meanwhile.
        """

        def change(connection: sqlite3.Connection) -> bool:
            return statements.publish(connection, collection, transform, learned, index)

        return self._writer.write(change)

    def restore(self, name: str, found: Backup) -> None:
        """Write a collection with all its items, as one change."""

        def change(connection: sqlite3.Connection) -> None:
            restore.insert(connection, name, found)

        self._writer.write(change)

    def reading(self) -> Lent:
        """Lend a reader, to use in a `with` statement."""
        self.check_open()
        try:
            return Lent(self, self._idle.pop())  # the one last used has seen most
        except IndexError:
            return Lent(self, Reader(self.path))

    def give_back(self, reader: Reader) -> None:
        """Take back a reader that was lent."""
        self._idle.append(reader)
        if self._closed:
            self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:  # another thread took the last
                return
