"""The truth: what a catalogue holds, in one SQLite file; its tables are drawn in `schema`."""

from __future__ import annotations

import fcntl
import json
import queue
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from soundalike.catalogue import statements
from soundalike.catalogue.schema import connect, open_for_writing
from soundalike.catalogue.statements import Record, Row, Written
from soundalike.catalogue.writer import Writer
from soundalike.errors import CatalogueError
from soundalike.types import FloatArray, Item

VECTOR_TYPE = np.dtype("<f4")
ROWS_AT_ONCE = 4096


class Store:
    """Opens, reads and writes the file.

    Parameters
    ----------
    directory : Path
        Made where it is missing. One process at a time can have it open.

    Raises
    ------
    CatalogueError
        Another process has it open, or a newer version of the program wrote it.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "catalogue.sqlite3"
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._closed = False
        self._lock = (directory / "catalogue.lock").open("w")
        try:
            self._take_lock(directory)
            self._writer = Writer(open_for_writing(self._path))
        except BaseException:
            self._lock.close()
            raise

    def _take_lock(self, directory: Path) -> None:
        # each process answers from its own memory and would not see what another one writes
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CatalogueError(
                f"Another process is using the catalogue in {directory}; stop it, "
                "or talk to its service instead."
            ) from None

    def close(self) -> None:
        """Write what was accepted and close the file; safe to repeat."""
        self._writer.close()
        self._closed = True
        self._close_idle_readers()
        self._lock.close()

    def check_open(self) -> None:
        """Raise `CatalogueError` once closed."""
        if self._closed:
            raise CatalogueError("The catalogue is closed.")

    def create(self, record: Record, publish: Callable[[Record], None]) -> Record:
        """Write a new collection; the record is returned with the id it got."""

        def change(connection: sqlite3.Connection) -> Record:
            return statements.insert_collection(connection, record)

        return self._writer.write(change, publish)

    def drop(self, collection: int, publish: Callable[[None], None]) -> None:
        """Delete a collection and its items."""

        def change(connection: sqlite3.Connection) -> None:
            statements.raise_sequence(connection, collection)
            connection.execute("DELETE FROM collections WHERE id = ?", (collection,))

        self._writer.write(change, publish)

    def point(
        self, alias: str, collection: int, aside: Record | None, publish: Callable[[None], None]
    ) -> None:
        """Make an alias point at a collection.

        Parameters
        ----------
        alias : str
            Made, or moved.
        collection : int
            What it is to point at.
        aside : Record or None
            The collection that bears the alias's name, under its new one.
        publish : callable
            See `Writer.write`.
        """

        def change(connection: sqlite3.Connection) -> None:
            statements.check_free(connection, alias, but=aside)
            if aside is not None:
                statements.check_free(connection, aside.name)
            statements.raise_sequence(connection, collection)
            if aside is not None:
                connection.execute(
                    "UPDATE collections SET name = ? WHERE id = ?", (aside.name, aside.id)
                )
            connection.execute(
                "INSERT OR REPLACE INTO aliases (name, collection) VALUES (?, ?)",
                (alias, collection),
            )

        self._writer.write(change, publish)

    def unpoint(self, alias: str, publish: Callable[[None], None]) -> None:
        """Delete an alias."""

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM aliases WHERE name = ?", (alias,))

        self._writer.write(change, publish)

    def upsert(
        self, collection: int, rows: Sequence[Row], publish: Callable[[Written], None]
    ) -> Written:
        """Insert or replace items."""

        def change(connection: sqlite3.Connection) -> Written:
            sequence = statements.raise_sequence(connection, collection)
            changed = [
                position
                for position, row in enumerate(rows)
                if statements.upsert_one(connection, collection, sequence, row)
            ]
            return Written(changed, sequence)

        return self._writer.write(change, publish)

    def delete(
        self, collection: int, keys: Sequence[str], publish: Callable[[Written], None]
    ) -> Written:
        """Delete items."""

        def change(connection: sqlite3.Connection) -> Written:
            sequence = statements.raise_sequence(connection, collection)
            changed = [
                position
                for position, key in enumerate(keys)
                if statements.delete_one(connection, collection, key)
            ]
            return Written(changed, sequence)

        return self._writer.write(change, publish)

    def set_transform(
        self,
        collection: int,
        transform: str | None,
        learned: tuple[bytes, int] | None,
    ) -> None:
        """Keep a collection's transform.

        Parameters
        ----------
        collection : int
            Where it was dropped meanwhile, nothing is kept.
        transform : str or None
            Its name.
        learned : bytes and int, or None
            Its parameters, and the write after which they were fitted.
        """

        def change(connection: sqlite3.Connection) -> None:
            statements.set_transform(connection, collection, transform, learned)

        self._writer.write(change, lambda _: None)

    def learned(self, collection: int) -> tuple[bytes, int] | None:
        """Read what a collection's transform learned; see `set_transform`."""
        with self._reading() as connection:
            found: tuple[bytes, int] | None = connection.execute(
                "SELECT parameters, sequence FROM fitted WHERE collection = ?", (collection,)
            ).fetchone()
        return found

    def records(self) -> list[tuple[Record, int]]:
        """Read all collections, each with its sequence."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT id, name, space, dim, engine, model, pooling, created, transform, sequence "
                "FROM collections ORDER BY name"
            ).fetchall()
        return [(Record(*row[:-1]), row[-1]) for row in rows]

    def aliases(self) -> dict[str, str]:
        """Read all aliases, each with the name of its collection."""
        with self._reading() as connection:
            return dict(
                connection.execute(
                    "SELECT aliases.name, collections.name FROM aliases "
                    "JOIN collections ON collections.id = aliases.collection"
                ).fetchall()
            )

    def items(self, collection: int, dim: int) -> Iterator[tuple[list[str], list[str], FloatArray]]:
        """Read all items by rising key, some thousands at once.

        Yields
        ------
        keys, metadata : list of str
            As many as there are rows; the metadata as JSON.
        vectors : ndarray of float32, shape (rows, dim)
            As they were given.
        """
        with self._reading() as connection:
            cursor = connection.execute(
                "SELECT key, metadata, vector FROM items WHERE collection = ? ORDER BY key",
                (collection,),
            )
            while rows := cursor.fetchmany(ROWS_AT_ONCE):
                keys, metadata, blobs = map(list, zip(*rows, strict=True))
                yield keys, metadata, from_bytes(b"".join(blobs)).reshape(len(rows), dim)

    def get(self, collection: int, key: str) -> Item | None:
        """Read one item."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT key, vector, metadata FROM items WHERE collection = ? AND key = ?",
                (collection, key),
            ).fetchone()
        return None if row is None else _item(*row)

    def page(self, collection: int, after: str, limit: int) -> list[Item]:
        """Read the first items whose keys come after one."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT key, vector, metadata FROM items WHERE collection = ? AND key > ? "
                "ORDER BY key LIMIT ?",
                (collection, after, limit),
            ).fetchall()
        return [_item(*row) for row in rows]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        self.check_open()
        try:
            connection = self._readers.get_nowait()
        except queue.Empty:
            connection = connect(self._path)
            connection.execute("PRAGMA query_only = ON")
        try:
            yield connection
        finally:
            self._readers.put(connection)
            if self._closed:
                self._close_idle_readers()

    def _close_idle_readers(self) -> None:
        while True:
            try:
                self._readers.get_nowait().close()
            except queue.Empty:
                return


def to_bytes(vector: FloatArray) -> bytes:
    """Write a vector as it is stored."""
    return vector.astype(VECTOR_TYPE, copy=False).tobytes()


def from_bytes(blob: bytes) -> FloatArray:
    """Read a vector as it was stored."""
    return np.frombuffer(blob, dtype=VECTOR_TYPE).astype(np.float32, copy=False)


def _item(key: str, vector: bytes, metadata: str) -> Item:
    return Item(key, from_bytes(vector), json.loads(metadata))
