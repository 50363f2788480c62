"""What is written to the tables of `schema`, statement by statement, inside a transaction."""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass, replace

from soundalike.errors import CollectionExists, UnknownCollection

HASH_BYTES = 16


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
    transform: str | None = None


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


def insert_collection(connection: sqlite3.Connection, record: Record) -> Record:
    """Write a new collection; gives it with its id."""
    check_free(connection, record.name)
    pointing = connection.execute("SELECT 1 FROM aliases WHERE name = ?", (record.name,))
    if pointing.fetchone():
        raise CollectionExists(f"{record.name!r} is an alias already.")
    (made,) = connection.execute(
        "INSERT INTO collections (name, space, dim, engine, model, pooling, created, transform) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            record.name,
            record.space,
            record.dim,
            record.engine,
            record.model,
            record.pooling,
            record.created,
            record.transform,
        ),
    ).fetchone()
    return replace(record, id=made)


def check_free(connection: sqlite3.Connection, name: str, *, but: Record | None = None) -> None:
    """Refuse a name that a collection bears; that of one collection may be taken over."""
    row = connection.execute("SELECT id FROM collections WHERE name = ?", (name,)).fetchone()
    if row is not None and (but is None or row[0] != but.id):
        raise CollectionExists(f"There is a collection named {name!r} already.")


def raise_sequence(connection: sqlite3.Connection, collection: int) -> int:
    """Count a write to a collection."""
    row = connection.execute(
        "UPDATE collections SET sequence = sequence + 1 WHERE id = ? RETURNING sequence",
        (collection,),
    ).fetchone()
    if row is None:
        raise UnknownCollection("The collection was dropped meanwhile.")
    sequence: int = row[0]
    return sequence


def upsert_one(connection: sqlite3.Connection, collection: int, sequence: int, row: Row) -> bool:
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


def delete_one(connection: sqlite3.Connection, collection: int, key: str) -> bool:
    """Delete one item; true where it was there."""
    cursor = connection.execute(
        "DELETE FROM items WHERE collection = ? AND key = ?", (collection, key)
    )
    return cursor.rowcount > 0


def set_transform(
    connection: sqlite3.Connection,
    collection: int,
    transform: str | None,
    learned: tuple[bytes, int] | None,
) -> None:
    """Replace a collection's transform; see `Store.set_transform`."""
    connection.execute("DELETE FROM fitted WHERE collection = ?", (collection,))
    found = connection.execute(
        "UPDATE collections SET transform = ? WHERE id = ?", (transform, collection)
    )
    if learned is not None and found.rowcount:
        connection.execute(
            "INSERT INTO fitted (collection, parameters, sequence) VALUES (?, ?, ?)",
            (collection, *learned),
        )
