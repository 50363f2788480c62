"""The interface of every catalogue."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Self

import numpy as np
import numpy.typing as npt

from soundalike.catalogue.asks import Ask, Query
from soundalike.catalogue.told import Answer, CollectionInfo
from soundalike.catalogue.walking import Step
from soundalike.types import Item

DEFAULT_ENGINE = "annoy"


class Catalogue(ABC):
    """A set of named collections, each of items of one embedding space.

    Any number of threads may use it at once. A write that has returned is on
    disk, and every query that starts afterwards sees it. Close it when done,
    or use it in a `with` statement. Once closed, every call raises
    `CatalogueError`; every call that names a collection raises
    `UnknownCollection` where there is none.
    """

    @abstractmethod
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
        """Create a collection, or make sure that it is there.

        Parameters
        ----------
        name : str
            1 to 64 of the characters A-Z a-z 0-9 . _ -, not starting with a dot.
        space : str
            The embedding space of all its vectors.
        dim : int
            Length of each vector.
        engine : str, optional
            Name of an engine; the catalogue's default where a new collection names none.
        model, pooling : str, optional
            What to ask the embedder service for, to get vectors of this space.
        transform : str, optional
            What to do to vectors before they are compared, see `transforms`.

        Returns
        -------
        bool
            False where it was there already.

        Raises
        ------
        CollectionExists
            It is there already, and differs in one of the facts given.
        BadRequest
            The name or a fact makes no sense.
        """

    @abstractmethod
    def describe(self, name: str) -> CollectionInfo:
        """Say what a collection is and holds."""

    @abstractmethod
    def collections(self) -> list[CollectionInfo]:
        """Describe every collection, by name."""

    @abstractmethod
    def drop(self, name: str) -> None:
        """Delete a collection and everything in it, and the aliases that point at it.

        Raises
        ------
        BadRequest
            The name is an alias.
        """

    @abstractmethod
    def point(self, alias: str, name: str) -> str | None:
        """Make a name point at a collection from now on, in one step.

        Parameters
        ----------
        alias : str
            Where a collection bears this name, that one is set aside under
            another. Where it is an alias already, it is moved.
        name : str
            The collection, or an alias of it.

        Returns
        -------
        str or None
            The new name of the collection that was set aside.

        Raises
        ------
        BadRequest
            The collection bears that very name.
        """

    @abstractmethod
    def unpoint(self, alias: str) -> None:
        """Delete an alias; what it pointed at stays."""

    @abstractmethod
    def aliases(self) -> dict[str, str]:
        """List the aliases, each with the name of its collection."""

    @abstractmethod
    def upsert(self, name: str, items: Sequence[Item], *, space: str | None = None) -> int:
        """Insert items, or replace those whose ids are there: all of them or none.

        Parameters
        ----------
        name : str
            The collection.
        items : sequence of Item
            Of several with the same id the last one stays.
        space : str, optional
            The space the vectors are said to be of.

        Returns
        -------
        int
            How many different ids were written.

        Raises
        ------
        BadVector
            A vector of the wrong length, not finite, or all zeros.
        BadRequest
            An id or metadata that cannot be kept.
        SpaceMismatch
            The vectors are of another space.
        StorageFull
            The disk is full; nothing was written.
        """

    @abstractmethod
    def get(self, name: str, item_id: str) -> Item:
        """Fetch one item.

        Raises
        ------
        UnknownItem
            There is no item of this id.
        """

    @abstractmethod
    def page(self, name: str, *, after: str = "", limit: int = 100) -> list[Item]:
        """List items by rising id.

        Parameters
        ----------
        name : str
            The collection.
        after : str
            The last id of the page before; empty for the first page.
        limit : int
            The most items to list, 1 to 1000.

        Returns
        -------
        list of Item
            Fewer than `limit` on the last page.
        """

    @abstractmethod
    def delete(self, name: str, ids: Sequence[str]) -> int:
        """Delete items; ids that are not there are passed over.

        Returns
        -------
        int
            How many were there.
        """

    @abstractmethod
    def recommend(
        self,
        name: str,
        queries: Sequence[Query | Ask],
        k: int = 10,
        *,
        space: str | None = None,
        exact: bool = False,
    ) -> list[Answer]:
        """Find the nearest items of each query.

        Parameters
        ----------
        name : str
            The collection.
        queries : sequence of str, ndarray or Ask
            Ids of items, which their own answers leave out, or vectors; or what demands more.
        k : int
            How many neighbours to find for each, 1 to 1000.
        space : str, optional
            The space the vectors are said to be of.
        exact : bool
            Compare with every item, whatever the engine.

        Returns
        -------
        list of Answer
            One a query, each of k neighbours or all that there are and that meet its demands.

        Raises
        ------
        BadVector
            A vector of the wrong length, not finite, or all zeros; likes and dislikes that
            cancel each other out.
        UnknownItem
            There is no item of an id.
        SpaceMismatch
            The vectors are of another space.
        BadRequest
            A k out of range.
        """

    @abstractmethod
    def path(
        self, name: str, start: str, end: str, k: int = 10, *, caps: Mapping[str, int] | None = None
    ) -> list[Step]:
        """Walk from one item to another, by items that lie between them.

        Parameters
        ----------
        name : str
            The collection.
        start, end : str
            Ids of two items.
        k : int
            How many items the walk has, both ends counted, 2 to 100; it has fewer where there
            are no more.
        caps : mapping of str to int, optional
            The most items with one value of a metadata field.

        Returns
        -------
        list of Step
            None of them twice.

        Raises
        ------
        UnknownItem
            There is no item of an id.
        BadRequest
            Both ends are one item, or k is out of range.
        """

    @abstractmethod
    def similarity(self, name: str, ids: Sequence[str]) -> npt.NDArray[np.float64]:
        """Compare items with one another.

        Parameters
        ----------
        name : str
            The collection.
        ids : sequence of str
            Of its items, 1 to 500.

        Returns
        -------
        ndarray of float64, shape (len(ids), len(ids))
            Cosines of the stored vectors, to seven decimals.

        Raises
        ------
        UnknownItem
            There is no item of an id.
        BadRequest
            Too many ids, or none.
        """

    @abstractmethod
    def set_transform(self, name: str, transform: str | None) -> CollectionInfo:
        """Rank by another transform from now on, in one step; returns when it serves.

        Parameters
        ----------
        name : str
            The collection.
        transform : str or None
            See `transforms`; it is fitted on all items.

        Raises
        ------
        BadRequest
            There is no such transform.
        Overloaded
            Another call waits to do this, or to rebuild the same collection.
        """

    @abstractmethod
    def rebuild(self, name: str) -> CollectionInfo:
        """Fit and index all items anew; returns when that serves.

        Raises
        ------
        Overloaded
            Another call waits to do this to the same collection.
        """

    @abstractmethod
    def snapshot(self, name: str, file: IO[bytes]) -> None:
        """Write a collection as it is at one moment into a file; see `backup` for its form.

        Parameters
        ----------
        name : str
            The collection.
        file : binary file
            Empty, readable, writable and seekable.

        Raises
        ------
        StorageFull
            There is no room for the file.
        """

    @abstractmethod
    def restore(self, name: str, file: IO[bytes]) -> CollectionInfo:
        """Make a collection of what `snapshot` wrote, in one step; its index is built anew.

        Parameters
        ----------
        name : str
            Which no collection and no alias bears.
        file : binary file
            Readable and seekable; it is read twice and must not change.

        Raises
        ------
        CollectionExists
            The name is taken.
        BadBackup
            The file is damaged, of another kind, or of an unknown version; nothing was written.
        StorageFull
            The disk is full; nothing was written.
        """

    @abstractmethod
    def close(self) -> None:
        """Wait for the writes under way and release everything; safe to repeat."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
