"""A catalogue in a folder: SQLite keeps it, memory and mapped files answer from it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from soundalike.catalogue import asking, backup, checks, incoming, query, restore, transforms
from soundalike.catalogue.asks import Ask, Query
from soundalike.catalogue.base import DEFAULT_ENGINE, Catalogue
from soundalike.catalogue.keeper import Keeper
from soundalike.catalogue.live import Live, Manner
from soundalike.catalogue.names import Collections, Names, aside_name
from soundalike.catalogue.reader import Reader
from soundalike.catalogue.rows import UnitVectors, unit
from soundalike.catalogue.shelf import Shelf
from soundalike.catalogue.snapshot import EXACT_BELOW
from soundalike.catalogue.statements import Record
from soundalike.catalogue.store import Store
from soundalike.catalogue.told import Answer, CollectionInfo, FittedOn
from soundalike.catalogue.walking import Ends, Step, between
from soundalike.engines.base import RECALL_TARGET
from soundalike.errors import BadRequest, CollectionExists, UnknownCollection, UnknownItem
from soundalike.types import Item, Neighbour

PARSE = json.JSONDecoder().raw_decode  # json.loads takes as long again to look for blanks around


class LocalCatalogue(Catalogue):
    """Keeps its collections in a folder, which several processes may have open at once.

    What one of them has written, the next query to any other sees. Small
    collections are held in memory and searched exactly; of large ones an index
    lies in the folder, is mapped into memory and made anew in the background,
    by one of the processes.

    Parameters
    ----------
    directory : Path
        Made where it is missing.
    engine : str
        Of collections that name none.
    exact_below : int
        Collections of fewer items are searched exactly, whatever their engine.
    recall_target : float
        Share of the true neighbours that an index is to find, in (0, 1].

    Raises
    ------
    CatalogueError
        The file in the folder cannot be read.
    BadRequest
        The recall target makes no sense.
    """

    def __init__(
        self,
        directory: Path,
        *,
        engine: str = DEFAULT_ENGINE,
        exact_below: int = EXACT_BELOW,
        recall_target: float = RECALL_TARGET,
    ) -> None:
        if not 0 < recall_target <= 1:
            raise BadRequest(
                f"The recall target must be above 0 and at most 1, not {recall_target}."
            )
        self._default_engine = engine
        self._naming = threading.Lock()  # collections are named anew one by one
        self._store = Store(directory)
        try:
            shelf, manner = Shelf(directory), Manner(max(1, exact_below), recall_target)
            self._collections = Collections(lambda one: Live(one, shelf, manner))
            self._keeper = Keeper(self._store, shelf, self._collections, manner)
            with self._store.reading() as reader:
                for live in self._collections.names(reader).live.values():
                    with live.alone():
                        live.renew(reader, check=True)
            self._keeper.start()
        except BaseException:
            self._store.close()
            raise

    def create(
        self,
        name: str,
        *,
        space: str,
        dim: int,
        engine: str | None = None,
        model: str | None = None,
        pooling: str | None = None,
        transform: str | None = None,
    ) -> bool:
        """Create a collection, or make sure that it is there; see `Catalogue.create`."""
        facts = {"space": space, "dim": dim, "engine": engine, "model": model}
        facts |= {"pooling": pooling, "transform": transform}
        new = incoming.record(name, facts, self._default_engine)
        if self._names().find(name) is None and self._create_new(new):
            return True
        incoming.agree(self._names().named(name).record, facts)
        return False

    def describe(self, name: str) -> CollectionInfo:
        """Say what a collection is and holds; see `Catalogue.describe`."""
        with self._store.reading() as reader:
            live = self._collections.find(reader, name)
            return _describe(live, self._collections.names(reader).aliases)

    def collections(self) -> list[CollectionInfo]:
        """Describe every collection; see `Catalogue.collections`."""
        with self._store.reading() as reader:
            found = self._collections.all(reader)
            aliases = self._collections.names(reader).aliases
            return [_describe(live, aliases) for live in found]

    def drop(self, name: str) -> None:
        """Delete a collection and everything in it; see `Catalogue.drop`."""
        with self._naming:
            record = self._names().named(name).record  # also where it cannot be searched
            if name != record.name:
                raise BadRequest(
                    f"{name!r} is an alias of {record.name!r}; drop the one or the other."
                )
            self._store.drop(record.id)
        self._keeper.tidy()

    def point(self, alias: str, name: str) -> str | None:
        """Make a name point at a collection; see `Catalogue.point`."""
        checks.collection_name(alias)
        with self._naming:
            names = self._names()
            target, bearer = names.named(name).record, names.live.get(alias)
            if target.name == alias:
                raise BadRequest(f"{alias!r} is the name of that collection itself.")
            aside = None if bearer is None else _set_aside(bearer.record)
            if aside is not None and names.find(aside.name) is not None:
                raise CollectionExists(
                    f"{alias!r} would be set aside as {aside.name!r}, and that name is taken; "
                    "drop what bears it first."
                )
            self._store.point(alias, target.id, aside)
        return None if aside is None else aside.name

    def unpoint(self, alias: str) -> None:
        """Delete an alias; see `Catalogue.unpoint`."""
        with self._naming:
            if alias not in self.aliases():
                raise UnknownCollection(
                    f"There is no alias named {alias[:80]!r}.", alias=alias[:80]
                )
            self._store.unpoint(alias)

    def aliases(self) -> dict[str, str]:
        """List the aliases; see `Catalogue.aliases`."""
        return dict(sorted(self._names().aliases.items()))

    def upsert(self, name: str, items: Sequence[Item], *, space: str | None = None) -> int:
        """Insert or replace items; see `Catalogue.upsert`."""
        live = self._find(name)
        checks.same_space(name, live.record.space, space)
        rows = incoming.rows(items, live.record.dim)
        self._store.upsert(live.record.id, rows)
        self._follow(live, len(rows))
        return len(rows)

    def get(self, name: str, item_id: str) -> Item:
        """Fetch one item; see `Catalogue.get`."""
        checks.item_id(item_id)
        with self._store.reading() as reader:
            return _item(reader, self._collections.find(reader, name).record, item_id)

    def page(self, name: str, *, after: str = "", limit: int = 100) -> list[Item]:
        """List items by rising id; see `Catalogue.page`."""
        checks.in_range("limit", limit, checks.MAX_PAGE)
        with self._store.reading() as reader:
            return reader.page(self._collections.find(reader, name).record.id, after, limit)

    def delete(self, name: str, ids: Sequence[str]) -> int:
        """Delete items; see `Catalogue.delete`."""
        for one in ids:
            checks.item_id(one)
        live = self._find(name)
        deleted = self._store.delete(live.record.id, ids)
        self._follow(live, deleted)
        return deleted

    def recommend(
        self,
        name: str,
        queries: Sequence[Query | Ask],
        k: int = 10,
        *,
        space: str | None = None,
        exact: bool = False,
    ) -> list[Answer]:
        """Find the nearest items of each query; see `Catalogue.recommend`."""
        checks.in_range("k", k, checks.MAX_K)
        plain = [one for one in queries if not isinstance(one, Ask)]
        with self._store.reading() as reader:
            live = self._collections.find(reader, name)
            record, serving = live.record, live.serving
            snapshot, recall = serving.index.snapshot, serving.recall
            checks.same_space(name, record.space, space)
            vectors = [
                _query_unit(reader, record, one, f"query {number}")
                for number, one in enumerate(plain, start=1)
            ]
            aimed = [(one, _aim(reader, record, one)) for one in queries if isinstance(one, Ask)]
        units = checks.stack(vectors, record.dim)
        without = [one if isinstance(one, str) else None for one in plain]
        found = query.search(snapshot, units, k, without=without, exact=exact)
        if found:
            recall.offer(snapshot, units, k, without, found[0])
        if aimed:
            asked = (asking.answer(snapshot, one, aim, k, exact=exact) for one, aim in aimed)
            simple = iter(found)
            found = [next(asked if isinstance(one, Ask) else simple) for one in queries]
        return [_answer(record.space, one, recall.value) for one in found]

    def path(
        self, name: str, start: str, end: str, k: int = 10, *, caps: Mapping[str, int] | None = None
    ) -> list[Step]:
        """Walk from one item to another; see `Catalogue.path`."""
        checks.in_range("k", k, checks.MAX_PATH)
        if k < 2 or start == end:
            raise BadRequest("A path leads from one item to another; k counts both.")
        with self._store.reading() as reader:
            live = self._collections.find(reader, name)
            first, last = (_item(reader, live.record, one) for one in (start, end))
            snapshot = live.snapshot
        ends = Ends(
            (start, end), unit([first.vector, last.vector]), (first.metadata, last.metadata)
        )
        return between(snapshot, ends, k, caps or {})

    def similarity(self, name: str, ids: Sequence[str]) -> npt.NDArray[np.float64]:
        """Compare items with one another; see `Catalogue.similarity`."""
        checks.in_range("The number of ids", len(ids), checks.MAX_COMPARED)
        with self._store.reading() as reader:
            record = self._collections.find(reader, name).record
            vectors = [_query_unit(reader, record, one, one) for one in ids]
        return query.similarity(np.stack(vectors))

    def rebuild(self, name: str) -> CollectionInfo:
        """Build the index anew; see `Catalogue.rebuild`."""
        live = self._find(name)
        self._keeper.rebuild(live)
        return self.describe(live.record.name)

    def set_transform(self, name: str, transform: str | None) -> CollectionInfo:
        """Rank by another transform from now on; see `Catalogue.set_transform`."""
        if transform is not None:
            transforms.parse(transform)
        live = self._find(name)
        self._keeper.set_transform(live, transform)
        return self.describe(live.record.name)

    def snapshot(self, name: str, file: IO[bytes]) -> None:
        """Write a collection into a file; see `Catalogue.snapshot`."""
        with self._store.reading() as reader:
            backup.write(file, reader, self._collections.find(reader, name).record.id)

    def restore(self, name: str, file: IO[bytes]) -> CollectionInfo:
        """Make a collection of a file; see `Catalogue.restore`."""
        checks.collection_name(name)
        if self._names().find(name) is not None:
            raise CollectionExists(f"There is a collection or an alias named {name!r} already.")
        self._store.restore(name, restore.read(file))
        self._keeper.wake()
        return self.describe(name)

    def close(self) -> None:
        """Wait for the writes under way and close the files; see `Catalogue.close`."""
        self._keeper.close()
        self._store.close()

    def _names(self) -> Names:
        with self._store.reading() as reader:
            return self._collections.names(reader)

    def _find(self, name: str) -> Live:
        with self._store.reading() as reader:
            return self._collections.find(reader, name)

    def _create_new(self, record: Record) -> bool:
        """Write a new collection; false where somebody was quicker."""
        try:
            self._store.create(record)
        except CollectionExists:
            return False
        return True

    def _follow(self, live: Live, items: int) -> None:
        """Show now and then what was written here, so that no query has to show very much."""
        if live.lags(items):
            with self._store.reading() as reader:
                self._collections.bring(reader, live)
            if live.due or live.outdated:
                self._keeper.wake()


def _describe(live: Live, aliases: dict[str, str]) -> CollectionInfo:
    record, serving = live.record, live.serving
    snapshot = serving.index.snapshot
    base = snapshot.base
    return CollectionInfo(
        name=record.name,
        space=record.space,
        dim=record.dim,
        engine=record.engine,
        model=record.model,
        pooling=record.pooling,
        created=datetime.fromtimestamp(record.created, UTC),
        sequence=snapshot.sequence,
        count=snapshot.live,
        indexed=snapshot.indexed,
        exact=snapshot.exact,
        recall=1.0 if snapshot.exact else serving.recall.value,
        aliases=tuple(sorted(one for one, name in aliases.items() if name == record.name)),
        transform=record.transform,
        fitted=FittedOn(base.fitted.count, base.fitted_at) if base.fitted else None,
        index=live.index_state,
        note=live.fault or live.note,
    )


def _set_aside(record: Record) -> Record:
    return replace(record, name=aside_name(record))


def _item(reader: Reader, record: Record, item_id: str) -> Item:
    item = reader.get(record.id, item_id)
    if item is None:
        raise UnknownItem(
            f"The collection {record.name!r} has no item {item_id!r}.",
            collection=record.name,
            item=item_id,
        )
    return item


def _query_unit(reader: Reader, record: Record, one: Query, label: str) -> UnitVectors:
    if isinstance(one, str):
        checks.item_id(one)
        one = _item(reader, record, one).vector
    return checks.unit(label, one, record.dim)


def _aim(reader: Reader, record: Record, ask: Ask) -> asking.Aim:
    examples = enumerate(ask.examples, start=1)
    vectors = [_query_unit(reader, record, one.of, f"example {n}") for n, one in examples]
    return asking.aim(ask, checks.stack(vectors, record.dim))


def _answer(space: str, hits: query.Hits, recall: float) -> Answer:
    nothing = [None] * len(hits.ids)
    ranks = nothing if hits.ranks is None else hits.ranks
    same = nothing if hits.same is None else map(tuple, hits.same)
    metadata, _ = PARSE(f"[{','.join(hits.metadata)}]")  # all at once takes half the time
    neighbours = tuple(map(Neighbour, hits.ids, hits.scores, metadata, ranks, same))
    return Answer(space, neighbours, hits.exact, 1.0 if hits.exact else recall)
