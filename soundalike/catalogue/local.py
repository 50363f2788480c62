"""A catalogue in a folder: SQLite keeps it, memory answers from it."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from soundalike import engines
from soundalike.catalogue import checks, query, transforms
from soundalike.catalogue.base import (
    DEFAULT_ENGINE,
    Answer,
    Catalogue,
    CollectionInfo,
    FittedOn,
    Query,
)
from soundalike.catalogue.names import Live, Names, aside_name
from soundalike.catalogue.rows import Base
from soundalike.catalogue.snapshot import EXACT_BELOW, Index, Snapshot
from soundalike.catalogue.statements import Record, Row, Written
from soundalike.catalogue.store import Store, to_bytes
from soundalike.catalogue.transforms import Fitted
from soundalike.errors import BadRequest, CollectionExists, UnknownCollection, UnknownItem
from soundalike.types import FloatArray, Item, Neighbour

log = logging.getLogger(__name__)


class LocalCatalogue(Catalogue):
    """Keeps its collections in a folder, and all it needs for answers in memory as well.

    Parameters
    ----------
    directory : Path
        Made where it is missing. One process at a time can have it open.
    engine : str
        Of collections that name none.
    exact_below : int
        Collections of fewer items are searched exactly, whatever their engine.

    Raises
    ------
    CatalogueError
        Another process has the folder open, or its file cannot be read.
    """

    def __init__(
        self, directory: Path, *, engine: str = DEFAULT_ENGINE, exact_below: int = EXACT_BELOW
    ) -> None:
        self._default_engine = engine
        self._exact_below = exact_below
        self._one_build = threading.Lock()
        self._naming = threading.Lock()  # collections are made, named and dropped one by one
        self._store = Store(directory)
        try:
            live = {
                record.name: Live(record, self._load(record, sequence))
                for record, sequence in self._store.records()
            }
            # only the store's writer replaces this, after each commit and in its order
            self._names = Names(live, self._store.aliases())
        except BaseException:
            self._store.close()
            raise
        for one in live.values():
            self._rebuild_if_due(one)

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
        checks.collection_name(name)
        for label, text in {"space": space, "model": model, "pooling": pooling}.items():
            checks.fact(label, text)
        checks.in_range("dim", dim, checks.MAX_DIM)
        engines.load(engine or self._default_engine)
        if transform is not None:
            transforms.parse(transform)
        self._store.check_open()
        given = {"space": space, "dim": dim, "engine": engine, "model": model}
        given |= {"pooling": pooling, "transform": transform}
        if self._names.find(name) is None and self._create_new(name, given):
            return True
        there = self._find(name)
        _agree(replace(there.record, transform=there.index.snapshot.base.transform), given)
        return False

    def describe(self, name: str) -> CollectionInfo:
        """Say what a collection is and holds; see `Catalogue.describe`."""
        live = self._find(name)
        return self._describe(live.record, live.index.snapshot)

    def collections(self) -> list[CollectionInfo]:
        """Describe every collection; see `Catalogue.collections`."""
        self._store.check_open()
        found = sorted(self._names.live.items())
        return [self._describe(live.record, live.index.snapshot) for _, live in found]

    def drop(self, name: str) -> None:
        """Delete a collection and everything in it; see `Catalogue.drop`."""
        with self._naming:
            live = self._find(name)
            if name != live.record.name:
                raise BadRequest(
                    f"{name!r} is an alias of {live.record.name!r}; drop the one or the other."
                )
            self._store.drop(live.record.id, lambda _: self._forget(name))

    def point(self, alias: str, name: str) -> str | None:
        """Make a name point at a collection; see `Catalogue.point`."""
        checks.collection_name(alias)
        with self._naming:
            return self._point(alias, name)

    def _point(self, alias: str, name: str) -> str | None:
        target, bearer = self._find(name).record, self._names.live.get(alias)
        if target.name == alias:
            raise BadRequest(f"{alias!r} is the name of that collection itself.")
        aside = None if bearer is None else replace(bearer.record, name=aside_name(bearer.record))
        if aside is not None and self._names.find(aside.name) is not None:
            raise CollectionExists(
                f"{alias!r} would be set aside as {aside.name!r}, and that name is taken; "
                "drop what bears it first."
            )

        def publish(_: None) -> None:
            renamed = self._names if aside is None else self._names.renamed(alias, aside)
            self._names = replace(renamed, aliases=renamed.aliases | {alias: target.name})

        self._store.point(alias, target.id, aside, publish)
        return None if aside is None else aside.name

    def unpoint(self, alias: str) -> None:
        """Delete an alias; see `Catalogue.unpoint`."""

        def publish(_: None) -> None:
            others = {one: name for one, name in self._names.aliases.items() if one != alias}
            self._names = replace(self._names, aliases=others)

        with self._naming:
            if alias not in self.aliases():
                raise UnknownCollection(
                    f"There is no alias named {alias[:80]!r}.", alias=alias[:80]
                )
            self._store.unpoint(alias, publish)

    def aliases(self) -> dict[str, str]:
        """List the aliases; see `Catalogue.aliases`."""
        self._store.check_open()
        return dict(sorted(self._names.aliases.items()))

    def upsert(self, name: str, items: Sequence[Item], *, space: str | None = None) -> int:
        """Insert or replace items; see `Catalogue.upsert`."""
        live = self._find(name)
        checks.same_space(name, live.record.space, space)
        checked = [_check(item, live.record.dim) for item in items]
        latest = {item.id: (item.vector, text) for item, text in checked}
        rows = [Row(one, to_bytes(vector), text) for one, (vector, text) in latest.items()]
        vectors = _unit([vector for vector, _ in latest.values()], live.record.dim)

        def publish(written: Written) -> None:
            new = set(written.changed)
            same = [row for position, row in enumerate(rows) if position not in new]
            live.index.relabel([row.key for row in same], [row.metadata for row in same])
            live.index.put(
                [rows[position].key for position in written.changed],
                [rows[position].metadata for position in written.changed],
                vectors[written.changed],
                sequence=written.sequence,
            )

        self._store.upsert(live.record.id, rows, publish)
        self._rebuild_if_due(live)
        return len(rows)

    def get(self, name: str, item_id: str) -> Item:
        """Fetch one item; see `Catalogue.get`."""
        checks.item_id(item_id)
        return self._item(self._find(name).record, item_id)

    def page(self, name: str, *, after: str = "", limit: int = 100) -> list[Item]:
        """List items by rising id; see `Catalogue.page`."""
        checks.in_range("limit", limit, checks.MAX_PAGE)
        return self._store.page(self._find(name).record.id, after, limit)

    def delete(self, name: str, ids: Sequence[str]) -> int:
        """Delete items; see `Catalogue.delete`."""
        live = self._find(name)
        for one in ids:
            checks.item_id(one)

        def publish(written: Written) -> None:
            gone = [ids[position] for position in written.changed]
            live.index.remove(gone, sequence=written.sequence)

        written = self._store.delete(live.record.id, ids, publish)
        self._rebuild_if_due(live)
        return len(written.changed)

    def recommend(
        self,
        name: str,
        queries: Sequence[Query],
        k: int = 10,
        *,
        space: str | None = None,
        exact: bool = False,
    ) -> list[Answer]:
        """Find the nearest items of each query; see `Catalogue.recommend`."""
        live = self._find(name)
        checks.same_space(name, live.record.space, space)
        checks.in_range("k", k, checks.MAX_K)
        vectors = [
            self._query_vector(live.record, one, f"query {number}")
            for number, one in enumerate(queries, start=1)
        ]
        units = query.unit(checks.stack(vectors, live.record.dim))
        without = [one if isinstance(one, str) else None for one in queries]
        snapshot = live.index.snapshot
        found = query.search(snapshot, units, k, without=without, exact=exact)
        return [_answer(live.record.space, hits, snapshot.base.engine.recall) for hits in found]

    def similarity(self, name: str, ids: Sequence[str]) -> npt.NDArray[np.float64]:
        """Compare items with one another; see `Catalogue.similarity`."""
        live = self._find(name)
        checks.in_range("The number of ids", len(ids), checks.MAX_COMPARED)
        vectors = [self._query_vector(live.record, one, one) for one in ids]
        return query.similarity(query.unit(vectors))

    def rebuild(self, name: str) -> CollectionInfo:
        """Build the index anew; see `Catalogue.rebuild`."""
        live = self._find(name)
        with live.rebuilding:
            self._rebuild(live, live.index.snapshot.base.transform)
        self._rebuild_if_due(live)  # what came meanwhile could not begin one
        return self._describe(live.record, live.index.snapshot)

    def set_transform(self, name: str, transform: str | None) -> CollectionInfo:
        """Rank by another transform from now on; see `Catalogue.set_transform`."""
        live = self._find(name)
        if transform is not None:
            transforms.parse(transform)
        with live.rebuilding:
            self._rebuild(live, transform)
        self._rebuild_if_due(live)
        return self._describe(live.record, live.index.snapshot)

    def close(self) -> None:
        """Wait for the writes under way and close the files; see `Catalogue.close`."""
        self._store.close()

    def _find(self, name: str) -> Live:
        self._store.check_open()
        live = self._names.find(name)
        if live is None:
            raise UnknownCollection(
                f"There is no collection named {name[:80]!r}.", collection=name[:80]
            )
        return live

    def _create_new(self, name: str, given: dict[str, Any]) -> bool:
        """Write a new collection; false where somebody was quicker."""
        facts = given | {"engine": given["engine"] or self._default_engine}
        record = Record(id=0, name=name, created=time.time(), **facts)  # the store gives it an id
        try:
            self._store.create(record, self._open_new)
        except CollectionExists:
            return False
        return True

    def _open_new(self, record: Record) -> None:
        live = Live(record, self._index(record))
        self._names = replace(self._names, live=self._names.live | {record.name: live})

    def _forget(self, name: str) -> None:
        live = {one: held for one, held in self._names.live.items() if one != name}
        aliases = {one: held for one, held in self._names.aliases.items() if held != name}
        self._names = Names(live, aliases)

    def _describe(self, record: Record, snapshot: Snapshot) -> CollectionInfo:
        aliases = sorted(one for one, name in self._names.aliases.items() if name == record.name)
        base = snapshot.base
        on = FittedOn(base.fitted.count, base.fitted_at) if base.fitted else None
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
            indexed=0 if base.engine.exact else _living(snapshot),
            exact=snapshot.exact,
            recall=1.0 if snapshot.exact else base.engine.recall,
            aliases=tuple(aliases),
            transform=base.transform,
            fitted=on,
        )

    def _index(self, record: Record) -> Index:
        return Index(record.engine, self._exact_below, record.dim, record.transform)

    def _load(self, record: Record, sequence: int) -> Index:
        ids: list[str] = []
        metadata: list[str] = []
        matrices = [checks.stack([], record.dim)]
        for keys, texts, vectors in self._store.items(record.id, record.dim):
            ids += keys
            metadata += texts
            matrices.append(query.unit(vectors).astype(np.float32))
        learned = self._store.learned(record.id)
        index = self._index(record)
        index.load(
            ids,
            metadata,
            np.concatenate(matrices),
            sequence=sequence,
            transform=record.transform,
            fitted=learned and (Fitted.from_bytes(learned[0]), learned[1]),
        )
        return index

    def _item(self, record: Record, item_id: str) -> Item:
        item = self._store.get(record.id, item_id)
        if item is None:
            raise UnknownItem(
                f"The collection {record.name!r} has no item {item_id!r}.",
                collection=record.name,
                item=item_id,
            )
        return item

    def _query_vector(self, record: Record, one: Query, label: str) -> FloatArray:
        if isinstance(one, str):
            checks.item_id(one)
            return self._item(record, one).vector
        return checks.vector(label, one, record.dim)

    def _rebuild(self, live: Live, transform: str | None, *, refit: bool = True) -> None:
        """Serve from a new base, once what its transform learned is on disk."""
        with self._one_build:
            made = live.index.rebuild(transform, refit=refit)
            if made.changed:
                self._keep_transform(live, made.base)
            live.index.take(made)

    def _keep_transform(self, live: Live, base: Base) -> None:
        learned = None if base.fitted is None else (base.fitted.to_bytes(), base.fitted_at)
        self._store.set_transform(live.record.id, base.transform, learned)

    def _rebuild_if_due(self, live: Live) -> None:
        if live.index.due and live.rebuilding.acquire(blocking=False):
            thread = threading.Thread(
                target=self._rebuild_while_due, args=(live,), name="catalogue-rebuild", daemon=True
            )
            thread.start()

    def _rebuild_while_due(self, live: Live) -> None:
        try:
            while live.index.due:
                transform = live.index.snapshot.base.transform
                self._rebuild(live, transform, refit=live.index.outdated)
        except Exception:
            log.exception("no new index for %r; the old one goes on serving", live.record.name)
        finally:
            live.rebuilding.release()


def _check(item: Item, dim: int) -> tuple[Item, str]:
    """Make sure that an item can be kept; returns it with its vector checked, and its metadata."""
    checks.item_id(item.id)
    vector = checks.vector(f"item {item.id!r}", item.vector, dim)
    return replace(item, vector=vector), checks.metadata_text(item.id, item.metadata)


def _living(snapshot: Snapshot) -> int:
    """Count the rows of the base that were not replaced or deleted."""
    dead = snapshot.dead[: len(snapshot.base.vectors)]
    return len(dead) - int(np.count_nonzero(dead))


def _unit(vectors: Sequence[FloatArray], dim: int) -> FloatArray:
    return query.unit(checks.stack(vectors, dim)).astype(np.float32)


def _agree(there: Record, given: dict[str, Any]) -> None:
    """Refuse facts, where they are given, that are not those of the collection."""
    for label, said in given.items():
        own = getattr(there, label)
        if said is not None and own != said:
            raise CollectionExists(
                f"The collection {there.name!r} is there already, with {label} {own!r} and not "
                f"{said!r}; choose another name, or drop it first.",
                fact=label,
                expected=own,
                got=said,
            )


def _answer(space: str, hits: query.Hits, recall: float) -> Answer:
    ranks: Sequence[float | None] = hits.ranks or [None] * len(hits.ids)
    neighbours = tuple(
        Neighbour(one, score, json.loads(text), rank)
        for one, score, text, rank in zip(hits.ids, hits.scores, hits.metadata, ranks, strict=True)
    )
    return Answer(space, neighbours, hits.exact, 1.0 if hits.exact else recall)
