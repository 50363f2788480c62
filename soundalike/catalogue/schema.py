"""The tables that a catalogue is kept in, and how their file is opened.

::

    collections   id, name, its facts, the sequence of its last write, and `pruned`
    items         id, collection, key, vector, metadata, hash, sequence
    deletions     collection, key, sequence
    aliases       name, collection
    fitted        collection, what its transform learned, and after which write
    indexes       collection, the folder of its index, and the write that it shows
    layout        one row: a number that rises whenever another table than items
                  or deletions changes

An item's `key` is the id its owner gave it, `id` a small number of our own.
Vectors are float32, little-endian, as they were given; `hash` is a digest of
those bytes, by which an upsert that changes nothing is told from one that
does.

Whoever holds a collection in memory catches up by reading what bears a
sequence above its own, in `items` and in `deletions`. Deletions up to `pruned`
have been forgotten: who is further behind reads everything again.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from soundalike.errors import CatalogueError

SCHEMA_VERSION = 3
PAGE_BYTES = 16_384  # a vector of 512 numbers wastes 42 % of a 4 KB page and 14 % of this
BUSY_S = 30.0

COLLECTIONS_AND_ITEMS = """
CREATE TABLE collections (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    space TEXT NOT NULL,
    dim INTEGER NOT NULL,
    engine TEXT NOT NULL,
    model TEXT,
    pooling TEXT,
    created REAL NOT NULL,
    sequence INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE items (
    id INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    vector BLOB NOT NULL,
    metadata TEXT NOT NULL,
    hash BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    UNIQUE (collection, key)
);
"""

# parameters are large and have a table to themselves, since SQLite writes a whole row again
# where one column of it changes
ALIASES_AND_TRANSFORMS = """
ALTER TABLE collections ADD COLUMN transform TEXT;
CREATE TABLE IF NOT EXISTS aliases (
    name TEXT PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE
);
CREATE TABLE fitted (
    collection INTEGER PRIMARY KEY REFERENCES collections (id) ON DELETE CASCADE,
    parameters BLOB NOT NULL,
    sequence INTEGER NOT NULL
);
"""

CATCHING_UP = """
ALTER TABLE collections ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;
CREATE INDEX items_by_sequence ON items (collection, sequence);
CREATE TABLE deletions (
    collection INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (collection, key)
) WITHOUT ROWID;
CREATE INDEX deletions_by_sequence ON deletions (collection, sequence);
CREATE TABLE indexes (
    collection INTEGER PRIMARY KEY REFERENCES collections (id) ON DELETE CASCADE,
    folder TEXT NOT NULL,
    sequence INTEGER NOT NULL
);
CREATE TABLE layout (version INTEGER NOT NULL);
INSERT INTO layout VALUES (0);
UPDATE collections SET pruned = sequence;
"""

# what leads from each version to the next
MIGRATIONS = (COLLECTIONS_AND_ITEMS, ALIASES_AND_TRANSFORMS, CATCHING_UP)


def connect(path: Path) -> sqlite3.Connection:
    """Open the file in autocommit mode, for use in one thread at a time."""
    connection = sqlite3.connect(
        path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open the file so that a commit is on disk when it returns, and give it today's tables.

    Raises
    ------
    CatalogueError
        A newer version of the program wrote it, or it is no such file.
    """
    connection = connect(path)
    try:
        _prepare(connection, path)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise CatalogueError(f"{path} cannot be used as a catalogue: {error}.") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise CatalogueError(
            f"{path} was written by a newer soundalike (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); upgrade, or use another data directory.",
            limit=SCHEMA_VERSION,
            got=version,
        )
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if version < SCHEMA_VERSION:
        steps = "".join(MIGRATIONS[version:])
        connection.executescript(f"BEGIN; {steps} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
