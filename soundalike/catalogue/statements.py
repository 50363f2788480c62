"""What is written to the tables of `schema`, statement by statement, inside a transaction."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from soundalike.errors import CollectionExists, UnknownCollection

HASH_BYTES = 16
DELETIONS_KEPT = 10_000  # writes; who is further behind reads everything again
PRUNED_EVERY = 256  # writes


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
class Published:
    """An index on disk: the name of its folder, and the write that it shows."""

    folder: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Learned:
    """What a transform learned, and the write after which it was fitted."""

    parameters: bytes
    sequence: int


def insert_collection(connection: sqlite3.Connection, record: Record) -> Record:
    """Write a new collection; gives it with its id."""
    check_free(connection, record.name)
    check_no_alias(connection, record.name)
    change_layout(connection)
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


def drop(connection: sqlite3.Connection, collection: int) -> None:
    """Delete a collection and all that is kept of it."""
    raise_sequence(connection, collection)
    change_layout(connection)
    connection.execute("DELETE FROM collections WHERE id = ?", (collection,))


def point(
    connection: sqlite3.Connection, alias: str, collection: int, aside: Record | None
) -> None:
    """Make an alias point at a collection; see `Store.point`."""
    check_free(connection, alias, but=aside)
    raise_sequence(connection, collection)
    change_layout(connection)
    if aside is not None:
        check_free(connection, aside.name)
        check_no_alias(connection, aside.name)
        rename = "UPDATE collections SET name = ? WHERE id = ?"
        connection.execute(rename, (aside.name, aside.id))
    connection.execute(
        "INSERT OR REPLACE INTO aliases (name, collection) VALUES (?, ?)", (alias, collection)
    )


def unpoint(connection: sqlite3.Connection, alias: str) -> None:
    """Delete an alias."""
    change_layout(connection)
    connection.execute("DELETE FROM aliases WHERE name = ?", (alias,))


def check_free(connection: sqlite3.Connection, name: str, *, but: Record | None = None) -> None:
    """Refuse a name that a collection bears; that of one collection may be taken over."""
    row = connection.execute("SELECT id FROM collections WHERE name = ?", (name,)).fetchone()
    if row is not None and (but is None or row[0] != but.id):
        raise CollectionExists(f"There is a collection named {name!r} already.")


def check_no_alias(connection: sqlite3.Connection, name: str) -> None:
    """Refuse a name that points at a collection."""
    if connection.execute("SELECT 1 FROM aliases WHERE name = ?", (name,)).fetchone():
        raise CollectionExists(f"{name!r} is an alias already.")


def change_layout(connection: sqlite3.Connection) -> None:
    """Make everybody read the names, the transforms and the indexes again."""
    connection.execute("UPDATE layout SET version = version + 1")


def raise_sequence(connection: sqlite3.Connection, collection: int) -> int:
    """Count a write to a collection, and now and then forget old deletions."""
    row = connection.execute(
        "UPDATE collections SET sequence = sequence + 1 WHERE id = ? RETURNING sequence",
        (collection,),
    ).fetchone()
    if row is None:
        raise UnknownCollection("The collection was dropped meanwhile.")
    sequence: int = row[0]
    if sequence % PRUNED_EVERY == 0:
        prune(connection, collection, sequence - DELETIONS_KEPT)
    return sequence


def prune(connection: sqlite3.Connection, collection: int, oldest: int) -> None:
    """Forget deletions up to a write, but for those that came after the published index."""
    connection.execute(
        "UPDATE collections SET pruned = max(pruned, min(?2, coalesce("
        "(SELECT sequence FROM indexes WHERE collection = ?1), ?2))) WHERE id = ?1",
        (collection, oldest),
    )
    connection.execute(
        "DELETE FROM deletions WHERE collection = ?1 AND sequence <= "
        "(SELECT pruned FROM collections WHERE id = ?1)",
        (collection,),
    )


def upsert(connection: sqlite3.Connection, collection: int, rows: Iterable[Row]) -> None:
    """Write items."""
    sequence = raise_sequence(connection, collection)
    for row in rows:
        _upsert_one(connection, collection, sequence, row)


def _upsert_one(connection: sqlite3.Connection, collection: int, sequence: int, row: Row) -> None:
    digest = hashlib.blake2b(row.vector, digest_size=HASH_BYTES).digest()
    # one that says nothing new is not written, so nobody has to read it again
    connection.execute(
        "INSERT INTO items (collection, key, vector, metadata, hash, sequence) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (collection, key) DO UPDATE SET "
        "vector = excluded.vector, metadata = excluded.metadata, hash = excluded.hash, "
        "sequence = excluded.sequence "
        "WHERE hash != excluded.hash OR metadata != excluded.metadata",
        (collection, row.key, row.vector, row.metadata, digest, sequence),
    )


def delete(connection: sqlite3.Connection, collection: int, keys: Sequence[str]) -> int:
    """Delete items; gives how many were there."""
    sequence = raise_sequence(connection, collection)
    gone = [key for key in keys if _delete_one(connection, collection, key)]
    connection.executemany(
        "INSERT OR REPLACE INTO deletions (collection, key, sequence) VALUES (?, ?, ?)",
        [(collection, key, sequence) for key in gone],
    )
    return len(gone)


def _delete_one(connection: sqlite3.Connection, collection: int, key: str) -> bool:
    cursor = connection.execute(
        "DELETE FROM items WHERE collection = ? AND key = ?", (collection, key)
    )
    return cursor.rowcount > 0


def publish(
    connection: sqlite3.Connection,
    collection: int,
    transform: str | None,
    learned: Learned | None,
    index: Published | None,
) -> bool:
    """Replace a collection's transform and index; false where it was dropped meanwhile."""
    change_layout(connection)
    for table in ("fitted", "indexes"):
        connection.execute(f"DELETE FROM {table} WHERE collection = ?", (collection,))  # noqa: S608
    found = connection.execute(
        "UPDATE collections SET transform = ? WHERE id = ?", (transform, collection)
    )
    if not found.rowcount:
        return False
    if learned is not None:
        connection.execute(
            "INSERT INTO fitted (collection, parameters, sequence) VALUES (?, ?, ?)",
            (collection, learned.parameters, learned.sequence),
        )
    if index is not None:
        connection.execute(
            "INSERT INTO indexes (collection, folder, sequence) VALUES (?, ?, ?)",
            (collection, index.folder, index.sequence),
        )
        prune(connection, collection, index.sequence)
    return True
