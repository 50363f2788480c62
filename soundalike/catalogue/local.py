"""A catalogue in a folder: SQLite keeps it, memory answers from it."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from soundalike import engines
from soundalike.catalogue import checks, query
from soundalike.catalogue.base import DEFAULT_ENGINE, Answer, Catalogue, CollectionInfo, Query
from soundalike.catalogue.snapshot import EXACT_BELOW, Index, Snapshot
from soundalike.catalogue.store import Record, Row, Store, Written, to_bytes
from soundalike.errors import CollectionExists, UnknownCollection, UnknownItem
from soundalike.types import FloatArray, Item, Neighbour

log = logging.getLogger(__name__)

TRIES = 10


@dataclass(frozen=True, slots=True)
class _Live:
    """A collection in use: what it is, where it is searched, and whether that is being rebuilt."""

    record: Record
    index: Index
    rebuilding: threading.Lock = field(default_factory=threading.Lock)


class LocalCatalogue(Catalogue):
    """Keeps its collections in a folder and their vectors in memory as well.

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
        self._store = Store(directory)
        # only the store's writer changes this, after each commit and in its order
        self._live: dict[str, _Live] = {}
        try:
            for record, sequence in self._store.records():
                self._live[record.name] = _Live(record, self._load(record, sequence))
        except BaseException:
            self._store.close()
            raise
        for live in list(self._live.values()):
            self._rebuild_if_due(live)

    def create(
        self,
        name: str,
        *,
        space: str,
        dim: int,
        engine: str | None = None,
        model: str | None = None,
        pooling: str | None = None,
    ) -> bool:
        """Create a collection, or make sure that it is there; see `Catalogue.create`."""
        checks.collection_name(name)
        for label, text in {"space": space, "model": model, "pooling": pooling}.items():
            checks.fact(label, text)
        checks.in_range("dim", dim, checks.MAX_DIM)
        engines.load(engine or self._default_engine)
        self._store.check_open()
        wanted = Record(
            id=0,  # the store gives it one
            name=name,
            space=space,
            dim=dim,
            engine=engine or self._default_engine,
            model=model,
            pooling=pooling,
            created=time.time(),
        )
        if name not in self._live:
            try:
                self._store.create(wanted, self._open_new)
            except CollectionExists:
                pass  # somebody was quicker: then it is there
            else:
                return True
        unsaid = {"engine": engine, "model": model, "pooling": pooling}
        _agree(
            self._find(name).record,
            wanted,
            facts=["space", "dim", *(label for label, fact in unsaid.items() if fact is not None)],
        )
        return False

    def describe(self, name: str) -> CollectionInfo:
        """Say what a collection is and holds; see `Catalogue.describe`."""
        live = self._find(name)
        return _describe(live.record, live.index.snapshot)

    def collections(self) -> list[CollectionInfo]:
        """Describe every collection; see `Catalogue.collections`."""
        self._store.check_open()
        found = sorted(self._live.items())
        return [_describe(live.record, live.index.snapshot) for _, live in found]

    def drop(self, name: str) -> None:
        """Delete a collection and everything in it; see `Catalogue.drop`."""
        self._store.drop(self._find(name).record.id, lambda _: self._forget(name))

    def upsert(self, name: str, items: Sequence[Item], *, space: str | None = None) -> int:
        """Insert or replace items; see `Catalogue.upsert`."""
        live = self._find(name)
        checks.same_space(name, live.record.space, space)
        checked = [_check(item, live.record.dim) for item in items]
        latest = {item.id: (item.vector, text) for item, text in checked}
        ids = list(latest)
        rows = [Row(one, to_bytes(vector), text) for one, (vector, text) in latest.items()]
        vectors = _unit([vector for vector, _ in latest.values()], live.record.dim)

        def publish(written: Written) -> None:
            new = [ids[position] for position in written.changed]
            live.index.put(new, vectors[written.changed], written.sequence)

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
            live.index.remove([ids[position] for position in written.changed], written.sequence)

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
        for _ in range(TRIES):
            snapshot = live.index.snapshot
            found = query.search(snapshot, units, k, without=without, exact=exact)
            ids = {one for hits in found for one in hits.ids}
            metadata = self._store.metadata(live.record.id, list(ids))
            if len(metadata) == len(ids):
                break  # none of them was deleted meanwhile
        return [_answer(hits, metadata, snapshot.engine.recall) for hits in found]

    def rebuild(self, name: str) -> CollectionInfo:
        """Build the index anew; see `Catalogue.rebuild`."""
        live = self._find(name)
        with live.rebuilding, self._one_build:
            live.index.rebuild()
        return _describe(live.record, live.index.snapshot)

    def close(self) -> None:
        """Wait for the writes under way and close the files; see `Catalogue.close`."""
        self._store.close()

    def _find(self, name: str) -> _Live:
        self._store.check_open()
        try:
            return self._live[name]
        except KeyError:
            raise UnknownCollection(
                f"There is no collection named {name[:80]!r}.", collection=name[:80]
            ) from None

    def _open_new(self, record: Record) -> None:
        empty = checks.stack([], record.dim)
        index = Index(record.engine, self._exact_below, [], empty, sequence=0)
        self._live[record.name] = _Live(record, index)

    def _forget(self, name: str) -> None:
        del self._live[name]

    def _load(self, record: Record, sequence: int) -> Index:
        ids: list[str] = []
        matrices = [checks.stack([], record.dim)]
        for keys, vectors in self._store.vectors(record.id, record.dim):
            ids += keys
            matrices.append(query.unit(vectors).astype(np.float32))
        return Index(record.engine, self._exact_below, ids, np.concatenate(matrices), sequence)

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

    def _rebuild_if_due(self, live: _Live) -> None:
        if live.index.due and live.rebuilding.acquire(blocking=False):
            thread = threading.Thread(
                target=self._rebuild_while_due, args=(live,), name="catalogue-rebuild", daemon=True
            )
            thread.start()

    def _rebuild_while_due(self, live: _Live) -> None:
        try:
            while live.index.due:
                with self._one_build:
                    live.index.rebuild()
        except Exception:
            log.exception("no new index for %r; the old one goes on serving", live.record.name)
        finally:
            live.rebuilding.release()


def _check(item: Item, dim: int) -> tuple[Item, str]:
    """Make sure that an item can be kept; returns it with its vector checked, and its metadata."""
    checks.item_id(item.id)
    vector = checks.vector(f"item {item.id!r}", item.vector, dim)
    return replace(item, vector=vector), checks.metadata_text(item.id, item.metadata)


def _unit(vectors: Sequence[FloatArray], dim: int) -> FloatArray:
    return query.unit(checks.stack(vectors, dim)).astype(np.float32)


def _agree(there: Record, wanted: Record, facts: Sequence[str]) -> None:
    for label in facts:
        own, said = getattr(there, label), getattr(wanted, label)
        if own != said:
            raise CollectionExists(
                f"The collection {there.name!r} is there already, with {label} {own!r} and not "
                f"{said!r}; choose another name, or drop it first.",
                fact=label,
                expected=own,
                got=said,
            )


def _describe(record: Record, snapshot: Snapshot) -> CollectionInfo:
    indexed = 0 if snapshot.engine.exact else len(snapshot.base)
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
        indexed=indexed,
        exact=snapshot.exact,
        recall=1.0 if snapshot.exact else snapshot.engine.recall,
    )


def _answer(hits: query.Hits, metadata: dict[str, str], recall: float) -> Answer:
    neighbours = tuple(
        Neighbour(one, score, json.loads(metadata[one]))
        for one, score in zip(hits.ids, hits.scores, strict=True)
        if one in metadata
    )
    return Answer(neighbours, hits.exact, 1.0 if hits.exact else recall)
