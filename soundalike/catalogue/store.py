"""The truth: what a catalogue holds, in one SQLite file; its tables are drawn in `schema`."""

from __future__ import annotations

import fcntl
import hashlib
import json
import queue
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from soundalike.catalogue.schema import connect, open_for_writing
from soundalike.catalogue.writer import Writer
from soundalike.errors import CatalogueError, CollectionExists, UnknownCollection
from soundalike.types import FloatArray, Item

VECTOR_TYPE = np.dtype("<f4")
HASH_BYTES = 16
ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Record:
    """A row of the table of collections; see `CollectionInfo`. `created` is in Unix seconds."""

    id: int
    name: str
    space: str
    dim: int
    engine: str
    model: str | None
    pooling: str | None
    created: float


@dataclass(frozen=True, slots=True)
class Row:
    """An item as it is written: its key, vector bytes and metadata as JSON."""

    key: str
    vector: bytes
    metadata: str


@dataclass(frozen=True, slots=True)
class Written:
    """What an upsert or a deletion changed.

    Attributes
    ----------
    changed : list of int
        Positions, in what was asked, of the rows whose vectors are new, or
        which were there to be deleted.
    sequence : int
        The collection's sequence afterwards.
    """

    changed: list[int]
    sequence: int


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
            return _insert_collection(connection, record)

        return self._writer.write(change, publish)

    def drop(self, collection: int, publish: Callable[[None], None]) -> None:
        """Delete a collection and its items."""

        def change(connection: sqlite3.Connection) -> None:
            _raise_sequence(connection, collection)
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
            _check_free(connection, alias, but=aside)
            if aside is not None:
                _check_free(connection, aside.name)
            _raise_sequence(connection, collection)
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
            sequence = _raise_sequence(connection, collection)
            changed = [
                position
                for position, row in enumerate(rows)
                if _upsert_one(connection, collection, sequence, row)
            ]
            return Written(changed, sequence)

        return self._writer.write(change, publish)

    def delete(
        self, collection: int, keys: Sequence[str], publish: Callable[[Written], None]
    ) -> Written:
        """Delete items."""

        def change(connection: sqlite3.Connection) -> Written:
            sequence = _raise_sequence(connection, collection)
            changed = [
                position
                for position, key in enumerate(keys)
                if _delete_one(connection, collection, key)
            ]
            return Written(changed, sequence)

        return self._writer.write(change, publish)

    def records(self) -> list[tuple[Record, int]]:
        """Read all collections, each with its sequence."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT id, name, space, dim, engine, model, pooling, created, sequence "
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


def _insert_collection(connection: sqlite3.Connection, record: Record) -> Record:
    _check_free(connection, record.name)
    pointing = connection.execute("SELECT 1 FROM aliases WHERE name = ?", (record.name,))
    if pointing.fetchone():
        raise CollectionExists(f"{record.name!r} is an alias already.")
    (made,) = connection.execute(
        "INSERT INTO collections (name, space, dim, engine, model, pooling, created) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            record.name,
            record.space,
            record.dim,
            record.engine,
            record.model,
            record.pooling,
            record.created,
        ),
    ).fetchone()
    return replace(record, id=made)


def _check_free(connection: sqlite3.Connection, name: str, *, but: Record | None = None) -> None:
    """Refuse a name that a collection bears; that of one collection may be taken over."""
    row = connection.execute("SELECT id FROM collections WHERE name = ?", (name,)).fetchone()
    if row is not None and (but is None or row[0] != but.id):
        raise CollectionExists(f"There is a collection named {name!r} already.")


def _raise_sequence(connection: sqlite3.Connection, collection: int) -> int:
    row = connection.execute(
        "UPDATE collections SET sequence = sequence + 1 WHERE id = ? RETURNING sequence",
        (collection,),
    ).fetchone()
    if row is None:
        raise UnknownCollection("The collection was dropped meanwhile.")
    sequence: int = row[0]
    return sequence


def _upsert_one(connection: sqlite3.Connection, collection: int, sequence: int, row: Row) -> bool:
    """Write one item; true where its vector is not the one that was there."""
    digest = hashlib.blake2b(row.vector, digest_size=HASH_BYTES).digest()
    before = connection.execute(
        "SELECT hash FROM items WHERE collection = ? AND key = ?", (collection, row.key)
    ).fetchone()
    connection.execute(
        "INSERT INTO items (collection, key, vector, metadata, hash, sequence) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (collection, key) DO UPDATE SET "
        "vector = excluded.vector, metadata = excluded.metadata, hash = excluded.hash, "
        "sequence = excluded.sequence",
        (collection, row.key, row.vector, row.metadata, digest, sequence),
    )
    return before is None or bool(before[0] != digest)


def _delete_one(connection: sqlite3.Connection, collection: int, key: str) -> bool:
    cursor = connection.execute(
        "DELETE FROM items WHERE collection = ? AND key = ?", (collection, key)
    )
    return cursor.rowcount > 0


def _item(key: str, vector: bytes, metadata: str) -> Item:
    return Item(key, from_bytes(vector), json.loads(metadata))
