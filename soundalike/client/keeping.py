"""What can be asked of the recommender about collections and their items."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from soundalike.client.batches import bodies, item_object
from soundalike.client.requests import JSON, Request, given, place
from soundalike.client.services import Service, Steps, call
from soundalike.errors import RecommenderUnavailable
from soundalike.types import Item

AUDIT_TIMEOUT_S = 3600.0


class KeepingCalls(Service):
    """What keeps collections, whichever way it is asked."""

    name = "recommender"
    unreachable = RecommenderUnavailable

    @call
    def collections(self) -> Steps[list[dict[str, Any]]]:
        """List the collections."""
        told = yield Request("GET", "/collections")
        listed: list[dict[str, Any]] = told["collections"]
        return listed

    @call
    def collection(self, name: str) -> Steps[dict[str, Any]]:
        """Describe a collection.

        Raises
        ------
        UnknownCollection
        """
        described: dict[str, Any] = yield Request("GET", place("collections", name))
        return described

    @call
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
    ) -> Steps[dict[str, Any]]:
        """Create a collection; creating it again with the same facts changes nothing.

        Raises
        ------
        CollectionExists
            The name belongs to a collection of other facts.
        """
        body = given(space=space, dim=dim, engine=engine, model=model, pooling=pooling)
        body |= given(transform=transform)
        described: dict[str, Any] = yield Request("PUT", place("collections", name), json=body)
        return described

    @call
    def drop(self, name: str) -> Steps[None]:
        """Drop a collection with all its items."""
        yield Request("DELETE", place("collections", name), again=False)

    @call
    def set_transform(self, name: str, transform: str | None) -> Steps[dict[str, Any]]:
        """Rank by another transform from now on; returns when it serves."""
        path = place("collections", name, "transform")
        described: dict[str, Any] = yield Request("PUT", path, json={"transform": transform})
        return described

    @call
    def rebuild(self, name: str) -> Steps[dict[str, Any]]:
        """Build the index of a collection anew; returns when it serves."""
        described: dict[str, Any] = yield Request("POST", place("collections", name, "rebuild"))
        return described

    @call
    def audit(
        self, name: str, *, k: int | None = None, limit: int | None = None
    ) -> Steps[dict[str, Any]]:
        """Look for what is wrong in a collection; nothing is changed.

        Parameters
        ----------
        name : str
            The collection.
        k : int, optional
            How many neighbours of each item count; the service's default otherwise.
        limit : int, optional
            How many of each kind are named; the service's default otherwise.

        Returns
        -------
        dict
            As `GET /collections/{name}/audit` answers it.
        """
        path = place("collections", name, "audit")
        parameters = {"k": k, "limit": limit}
        told: dict[str, Any] = yield Request(
            "GET", path, params=parameters, again=False, timeout_s=AUDIT_TIMEOUT_S
        )
        return told

    @call
    def point(self, alias: str, collection: str) -> Steps[dict[str, Any]]:
        """Make a name point at a collection; `set_aside` names one that bore it before."""
        body = {"collection": collection}
        told: dict[str, Any] = yield Request("PUT", place("aliases", alias), json=body, again=False)
        return told

    @call
    def upsert(self, name: str, items: Iterable[Item], *, space: str | None = None) -> Steps[int]:
        """Add items or replace those of the same id.

        Parameters
        ----------
        name : str
            The collection.
        items : iterable of Item
            Sent in as many requests as the service's limit on bytes makes of them; of each
            request all or none are written.
        space : str, optional
            Refused where it is not the collection's.

        Returns
        -------
        int
            How many were written.
        """
        limits = yield from self.read_limits()
        path, written = place("collections", name, "items"), 0
        objects, most = map(item_object, items), limits.get("max_items")
        most_bytes, beside = limits["max_upload_bytes"], given(space=space)
        for body in bodies("items", objects, beside, most=most, most_bytes=most_bytes):
            told = yield Request("PUT", path, content=body, headers=JSON)
            written += int(told["upserted"])
        return written

    @call
    def delete(self, name: str, ids: Iterable[str]) -> Steps[int]:
        """Delete items, in as many requests as needed; give how many of them were there."""
        limits = yield from self.read_limits()
        path, deleted = place("collections", name, "items", "delete"), 0
        most, most_bytes = limits.get("max_items"), limits["max_upload_bytes"]
        for body in bodies("ids", ids, {}, most=most, most_bytes=most_bytes):
            told = yield Request("POST", path, content=body, headers=JSON, again=False)
            deleted += int(told["deleted"])
        return deleted

    @call
    def snapshot(self, name: str, path: Path) -> Steps[None]:
        """Write a collection into a file, which appears there when all of it has come."""
        yield Request("POST", place("collections", name, "snapshot"), into=path)

    @call
    def restore(self, name: str, path: Path) -> Steps[dict[str, Any]]:
        """Make a collection of a file that `snapshot` wrote, and describe it.

        Raises
        ------
        CollectionExists
            The name is taken.
        BadBackup
            The file is damaged or foreign.
        """
        route = place("collections", name, "restore")
        described: dict[str, Any] = yield Request("POST", route, file=path, again=False)
        return described
