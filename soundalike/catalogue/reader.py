"""What is read from the tables of `schema`, on a connection that remembers what it has seen."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.catalogue.schema import connect
from soundalike.catalogue.snapshot import Items
from soundalike.catalogue.statements import Learned, Published, Record
from soundalike.types import FloatArray, Item

VECTOR_TYPE = np.dtype("<f4")
ROWS_AT_ONCE = 4096
COLLECTIONS = """
SELECT id, name, space, dim, engine, model, pooling, created, transform,
    indexes.folder, indexes.sequence, coalesce(fitted.sequence, 0), (SELECT version FROM layout)
FROM collections
LEFT JOIN indexes ON indexes.collection = collections.id
LEFT JOIN fitted ON fitted.collection = collections.id
"""


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection as the file describes it.

    Attributes
    ----------
    record : Record
    index : Published or None
    fitted_at : int
        The write after which its transform was fitted; 0 where it is not.
    layout : int
        When it was read; see `Reader.layout`.
    """

    record: Record
    index: Published | None
    fitted_at: int
    layout: int


class Reader:
    """One connection to the file, for one thread at a time.

    Attributes
    ----------
    seen : dict of int to int
        For each collection, or 0 for the names, the `version` up to which
        memory was brought. It means nothing to another connection.
    """

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)
        self._connection.execute("PRAGMA query_only = ON")
        self._ask = self._connection.cursor().execute
        self.seen: dict[int, int] = {}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def version(self) -> int:
        """Give a number that is another once anybody has committed anything since."""
        version: int = self._ask("PRAGMA data_version").fetchone()[0]
        return version

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Read everything as it is at one moment."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("COMMIT")

    def layout(self) -> int:
        """Give the number of the last change to names, transforms and indexes."""
        version: int = self._ask("SELECT version FROM layout").fetchone()[0]
        return version

    def collections(self) -> list[Collection]:
        """Read what all collections are, by name."""
        return [
            _collection(row) for row in self._connection.execute(f"{COLLECTIONS} ORDER BY name")
        ]

    def collection(self, collection: int) -> Collection | None:
        """Read what a collection is now; None where it is gone."""
        row = self._ask(f"{COLLECTIONS} WHERE id = ?", (collection,)).fetchone()
        return None if row is None else _collection(row)

    def aliases(self) -> dict[str, str]:
        """Read all aliases, each with the name of its collection."""
        return dict(
            self._connection.execute(
                "SELECT aliases.name, collections.name FROM aliases "
                "JOIN collections ON collections.id = aliases.collection"
            ).fetchall()
        )

    def learned(self, collection: int) -> Learned | None:
        """Read what a collection's transform learned."""
        row = self._connection.execute(
            "SELECT parameters, sequence FROM fitted WHERE collection = ?", (collection,)
        ).fetchone()
        return None if row is None else Learned(*row)

    def progress(self, collection: int) -> tuple[int, int] | None:
        """Give the last write to a collection, and the last whose deletions may be forgotten.

        None where the collection is gone.
        """
        found: tuple[int, int] | None = self._ask(
            "SELECT sequence, pruned FROM collections WHERE id = ?", (collection,)
        ).fetchone()
        return found

    def deleted(self, collection: int, since: int) -> list[str]:
        """Read the keys that were deleted after a write, some of which may be there again."""
        rows = self._connection.execute(
            "SELECT key FROM deletions WHERE collection = ? AND sequence > ?", (collection, since)
        )
        return [key for (key,) in rows]

    def written(self, collection: int, dim: int, since: int) -> Iterator[Items]:
        """Read the items that were written after a write, some thousands at once."""
        cursor = self._connection.execute(
            "SELECT key, metadata, vector FROM items WHERE collection = ? AND sequence > ? "
            "ORDER BY sequence",
            (collection, since),
        )
        return _some_thousands(cursor, dim)

    def items(self, collection: int, dim: int) -> Iterator[Items]:
        """Read all items by rising key, some thousands at once."""
        cursor = self._connection.execute(
            "SELECT key, metadata, vector FROM items WHERE collection = ? ORDER BY key",
            (collection,),
        )
        return _some_thousands(cursor, dim)

    def get(self, collection: int, key: str) -> Item | None:
        """Read one item."""
        row = self._ask(
            "SELECT key, vector, metadata FROM items WHERE collection = ? AND key = ?",
            (collection, key),
        ).fetchone()
        return None if row is None else _item(*row)

    def page(self, collection: int, after: str, limit: int) -> list[Item]:
        """Read the first items whose keys come after one."""
        rows = self._connection.execute(
            "SELECT key, vector, metadata FROM items WHERE collection = ? AND key > ? "
            "ORDER BY key LIMIT ?",
            (collection, after, limit),
        ).fetchall()
        return [_item(*row) for row in rows]


def to_bytes(vector: FloatArray) -> bytes:
    """Write a vector as it is stored."""
    return vector.astype(VECTOR_TYPE, copy=False).tobytes()


def from_bytes(blob: bytes) -> FloatArray:
    """Read a vector as it was stored."""
    return np.frombuffer(blob, dtype=VECTOR_TYPE).astype(np.float32, copy=False)


def _collection(row: tuple[Any, ...]) -> Collection:
    *facts, folder, sequence, fitted_at, layout = row
    index = None if folder is None else Published(folder, sequence)
    return Collection(Record(*facts), index, fitted_at, layout)


def _some_thousands(cursor: sqlite3.Cursor, dim: int) -> Iterator[Items]:
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        keys, metadata, blobs = map(list, zip(*rows, strict=True))
        yield Items(keys, metadata, from_bytes(b"".join(blobs)).reshape(len(rows), dim))


def _item(key: str, vector: bytes, metadata: str) -> Item:
    return Item(key, from_bytes(vector), json.loads(metadata))
