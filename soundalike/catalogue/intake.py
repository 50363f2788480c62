"""A way into the folder of a catalogue that holds none of it in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from soundalike.catalogue import checks, incoming
from soundalike.catalogue.base import DEFAULT_ENGINE
from soundalike.catalogue.checks import MAX_PAGE
from soundalike.catalogue.reader import Reader
from soundalike.catalogue.statements import Record
from soundalike.catalogue.store import Store
from soundalike.errors import CollectionExists, UnknownCollection
from soundalike.types import Item


class Intake:
    """Writes collections and items into a folder, and answers no query.

    A `LocalCatalogue` shows what it writes, and so holds it in memory until an
    index is made. This writes alone, however much there is. Services may have
    the folder open: their next query sees what was written, and they make the
    index. Use it in a `with` statement.

    Parameters
    ----------
    directory : Path
        Made where it is missing.
    engine : str
        Of collections that are made.

    Raises
    ------
    CatalogueError
        The file in the folder cannot be read.
    """

    def __init__(self, directory: Path, *, engine: str = DEFAULT_ENGINE) -> None:
        self._engine = engine
        self._store = Store(directory)

    def create(
        self,
        name: str,
        *,
        space: str,
        dim: int,
        model: str | None = None,
        pooling: str | None = None,
    ) -> bool:
        """Create a collection, or make sure that it is there; see `Catalogue.create`."""
        facts = {"space": space, "dim": dim, "engine": None, "model": model}
        facts |= {"pooling": pooling, "transform": None}
        new = incoming.record(name, facts, self._engine)
        there = self._find(name)
        if there is None:
            try:
                self._store.create(new)
                return True
            except CollectionExists:  # somebody was quicker
                there = self._record(name)
        incoming.agree(there, facts)
        return False

    def collection(self, name: str) -> dict[str, Any]:
        """Tell the facts of a collection, as they stand in its `Record`.

        Raises
        ------
        UnknownCollection
            There is none of this name, and no such alias.
        """
        return asdict(self._record(name))

    def upsert(self, name: str, items: Sequence[Item], *, space: str | None = None) -> int:
        """Insert or replace items; see `Catalogue.upsert`."""
        own = self._record(name)
        checks.same_space(name, own.space, space)
        rows = incoming.rows(items, own.dim)
        self._store.upsert(own.id, rows)
        return len(rows)

    def items(self, name: str) -> Iterator[dict[str, Any]]:
        """Go through the ids and metadata of a collection's items, by rising id."""
        own, after = self._record(name).id, ""
        while True:
            with self._store.reading() as reader:
                page = reader.page(own, after, MAX_PAGE)
            yield from ({"id": item.id, "metadata": item.metadata} for item in page)
            if len(page) < MAX_PAGE:
                return
            after = page[-1].id

    def close(self) -> None:
        """Wait for the writes under way and close the file; safe to repeat."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _record(self, name: str) -> Record:
        found = self._find(name)
        if found is None:
            raise UnknownCollection(
                f"There is no collection named {name[:80]!r}.", collection=name[:80]
            )
        return found

    def _find(self, name: str) -> Record | None:
        with self._store.reading() as reader:
            return _named(reader, name)


def _named(reader: Reader, name: str) -> Record | None:
    own = reader.aliases().get(name, name)
    return next((one.record for one in reader.collections() if one.record.name == own), None)
